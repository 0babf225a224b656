"""Every form of raw data and every format of pictures, from all valid to all broken."""

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.common.errors import InputError
from stages.common.params import Encode, Ingest, Params
from stages.common.paths import MANIFEST
from stages.common.tables import read_json, read_table
from stages.ingest.__main__ import main
from tests.archives import tarred, zipped

PER_CLASS = 6
CLASSES = ["cats", "dogs", "emus"]
RAW = Path("data/raw")
SUMMARY, REJECTED = Path("reports/ingest/summary.json"), Path("reports/ingest/rejected.csv")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_WORKERS", "1")
    RAW.mkdir(parents=True)


def draw(seed: int) -> np.ndarray:
    """Coarse noise, unlike any other seed's even once it is 8 px wide; uint8 (24, 24, 3)."""
    cells = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return cells.repeat(3, axis=0).repeat(3, axis=1)


def encoded(pixels: np.ndarray, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


Photo = tuple[str, int, bytes]
"""Class, number and bytes."""


def photos(broken: Callable[[int], bool]) -> list[Photo]:
    numbers = range(PER_CLASS * len(CLASSES))
    return [
        (CLASSES[number % 3], number, b"no photo" if broken(number) else encoded(draw(number)))
        for number in numbers
    ]


def write(name: str, content: bytes | str) -> None:
    (RAW / name).parent.mkdir(parents=True, exist_ok=True)
    (RAW / name).write_bytes(content.encode() if isinstance(content, str) else content)


def in_folders(some: list[Photo], above: str = "") -> dict[str, bytes]:
    return {f"{above}{label}/{number:02}.png": content for label, number, content in some}


def write_folders(some: list[Photo]) -> None:
    for name, content in in_folders(some).items():
        write(name, content)


def write_wrapped(some: list[Photo]) -> None:
    for name, content in in_folders(some, "download/pets v2/").items():
        write(name, content)


def write_deep(some: list[Photo]) -> None:
    above = {"cats": "animals/small/", "dogs": "animals/", "emus": "birds/flightless/large/"}
    for label, number, content in some:
        write(f"{above[label]}{label}/{number:02}.png", content)


def write_formats(some: list[Photo]) -> None:
    """One photo in six in each format without loss; of broken ones the first half."""
    options = {"WEBP": {"lossless": True}}
    for label, number, content in some:
        file_format = ["PNG", "BMP", "TIFF", "PPM", "WEBP", "JPEG2000"][number // 3]
        whole = encoded(draw(number), file_format, **options.get(file_format, {}))
        kept = len(whole) // 2 if content == b"no photo" else len(whole)
        write(f"{label}/{number:02}", whole[:kept])


def write_sides(some: list[Photo]) -> None:
    sides = ["Training", "valid", "test"]
    for label, number, content in some:
        write(f"{sides[number // 3 % 3]}/{label}/{number:02}.png", content)


def write_zip(some: list[Photo]) -> None:
    write("pets.zip", zipped(in_folders(some, "pets/")))


def write_tar(some: list[Photo]) -> None:
    write("pets.tar", tarred(in_folders(some), "w"))


def write_tar_gz(some: list[Photo]) -> None:
    write("pets.tar.gz", tarred(in_folders(some), "w:gz"))


def write_archive_a_class(some: list[Photo]) -> None:
    for label in CLASSES:
        members = {f"{number}.png": content for one, number, content in some if one == label}
        write(f"{label}.zip", zipped(members))


def write_several(some: list[Photo]) -> None:
    write("a.zip", zipped(in_folders(some[0::3] + some[1::3][:2])))
    write("b.tar.gz", tarred(in_folders(some[1::3][2:]), "w:gz"))
    for name, content in in_folders(some[2::3]).items():
        write(name, content)


def write_csv(some: list[Photo], delimiter: str = ",", suffix: str = "csv") -> None:
    lines = [" File Name , Label ".replace(",", delimiter)]
    for label, number, content in some:
        write(f"all/{number:02}.png", content)
        path = [f"all/{number:02}.png", f"{number:02}", f"ALL\\{number:02}.PNG", f"{number:02}.jpg"]
        lines.append(f"{path[number % 4]}{delimiter}{label}")
    write(f"labels.{suffix}", "\n".join(lines))


def write_tsv(some: list[Photo]) -> None:
    write_csv(some, "\t", "tsv")


def write_csv_in_zip(some: list[Photo]) -> None:
    members = {f"images/{number}.png": content for _, number, content in some}
    rows = "".join(f"{number},{label}\n" for label, number, _ in some)
    write("pets.zip", zipped({**members, "train.csv": f"id,label\n{rows}".encode()}))


def write_excel(some: list[Photo]) -> None:
    rows = [["image", "diagnosis"], *([f"{number:02}.png", label] for label, number, _ in some)]
    write("labels.xlsx", workbook(rows))
    for _, number, content in some:
        write(f"scans/{number:02}.png", content)


def workbook(rows: list[list[str]]) -> bytes:
    """The smallest file that is an Excel workbook of texts."""
    cells = "".join(
        "<row>" + "".join(f'<c t="inlineStr"><is><t>{cell}</t></is></c>' for cell in row) + "</row>"
        for row in rows
    )
    main_space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    return zipped(
        {
            "[Content_Types].xml": f'<Types xmlns="{package}/content-types"/>'.encode(),
            "_rels/.rels": (
                f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
                f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
            ).encode(),
            "xl/workbook.xml": (
                f'<workbook xmlns="{main_space}" xmlns:r="{relations}"><sheets>'
                '<sheet name="Sheet1" sheetId="1" r:id="r1"/></sheets></workbook>'
            ).encode(),
            "xl/_rels/workbook.xml.rels": (
                f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
                f'Type="{relations}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>'
            ).encode(),
            "xl/worksheets/sheet1.xml": (
                f'<worksheet xmlns="{main_space}"><sheetData>{cells}</sheetData></worksheet>'
            ).encode(),
        }
    )


def write_names(some: list[Photo]) -> None:
    for label, number, content in some:
        write(f"{label}{number:02}.pgm", content)


def grey(number: int, broken: bool) -> list[str]:
    values = list(map(str, draw(number)[..., 0].reshape(-1)))
    return [*values[:-1], "300"] if broken else values


def write_pixel_text(some: list[Photo]) -> None:
    sides = ["Training", "PublicTest", "PrivateTest"]
    lines = ["emotion,pixels,Usage"]
    for label, number, content in some:
        pixels = " ".join(grey(number, content == b"no photo"))
        lines.append(f"{label},{pixels},{sides[number // 3 % 3]}")
    write("fer2013.csv", "\n".join(lines))


def write_pixel_columns(some: list[Photo], last: bool = False, colour: bool = False) -> None:
    count = 24 * 24 * (3 if colour else 1)
    names = [f"pixel{one}" for one in range(count)]
    lines = [",".join([*names, "class"] if last else ["label", *names])]
    for label, number, content in some:
        broken = content == b"no photo"
        values = list(map(str, draw(number).reshape(-1))) if colour else grey(number, broken)
        values = [*values[:-1], "300"] if broken else values
        lines.append(",".join([*values, label] if last else [label, *values]))
    write("train.csv", "\n".join(lines))


def write_pixel_columns_label_last(some: list[Photo]) -> None:
    write_pixel_columns(some, last=True)


def write_pixel_columns_of_colour(some: list[Photo]) -> None:
    write_pixel_columns(some, colour=True)


FORMS: dict[Callable[[list[Photo]], None], dict[str, object]] = {
    write_folders: {},
    write_wrapped: {},
    write_deep: {},
    write_formats: {},
    write_sides: {},
    write_zip: {},
    write_tar: {},
    write_tar_gz: {},
    write_archive_a_class: {},
    write_several: {},
    write_csv: {},
    write_tsv: {},
    write_csv_in_zip: {},
    write_excel: {},
    write_names: {"pattern": "^([a-z]+)"},
    write_pixel_text: {},
    write_pixel_columns: {},
    write_pixel_columns_label_last: {},
    write_pixel_columns_of_colour: {},
}
REASONS = {form: "bad_row" for form in FORMS if "pixel" in form.__name__}
REASONS[write_formats] = "truncated"
WITH_SIDES = {write_sides, write_pixel_text}


def run(**options: object) -> None:
    options = {"size": (24, 24), "max_rejected": 1, **options}
    main(Params.model_construct(ingest=Ingest(**options), encode=Encode()))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("share", ["none", "some", "all"])
def test_each_form_ends_in_the_right_counts_and_reasons(form, share):
    broken = {"none": lambda _: False, "some": lambda one: one in (4, 8, 12), "all": lambda _: True}
    some = photos(broken[share])
    lost = {number for _, number, content in some if content == b"no photo"}
    reason = REASONS.get(form, "not_an_image")
    form(some)
    if share == "all":
        found = f"{len(some)} unusable.*{reason}"
        if form is write_pixel_text:  # a column of pixels is known by texts that are some
            found = "1 unusable.*unrelated_table"
        said = rf"^data/raw: expected .*{found}.*; (remove|copy) [^\n]*$"
        with pytest.raises(InputError, match=said):
            run(**FORMS[form])
        assert not MANIFEST.exists()
        return
    run(**FORMS[form])
    manifest, rejected = read_table(MANIFEST), read_table(REJECTED)
    labels = Counter(label for label, number, _ in some if number not in lost)
    assert Counter(manifest["label"]) == labels
    assert rejected["reason"].tolist() == [reason] * len(lost)
    facts = read_json(SUMMARY)
    assert facts["found"] == len(some) == facts["used"] + facts["rejected"]
    assert facts["images_per_class"] == labels
    sides = {"train", "validation", "test"} if form in WITH_SIDES else {""}
    assert set(manifest["given_split"]) == sides
    for label, images in manifest.groupby("label"):
        drawn = {
            pictured(form, number).tobytes()
            for one, number, _ in some
            if one == label and number not in lost
        }
        stored = {
            np.load(Path("data/images") / part)[row].tobytes()
            for part, row in zip(images["part"], images["row"], strict=True)
        }
        assert stored == drawn


def pictured(form: Callable, number: int) -> np.ndarray:
    """What becomes of a drawing: tables of pixels without colour hold its red alone."""
    grey_form = form in (write_pixel_text, write_pixel_columns, write_pixel_columns_label_last)
    return draw(number)[..., :1].repeat(3, axis=2) if grey_form else draw(number)


def test_a_messy_folder_is_used_as_far_as_it_can_be_and_every_file_is_accounted_for():
    for label, number, content in photos(lambda _: False):
        write(f"{label}/{number}.png", content)
    whole = encoded(draw(100), "JPEG")
    hostile = [
        "=1+1.png",
        "<script>alert(1)<script>.png",
        'a"b\n,c.png',
        "-rf\t.png",
        "\x1b[31m.png",
    ]
    for number, name in enumerate(hostile):
        write(f"cats/{name}", encoded(draw(200 + number)))
    files = {
        "dogs/cut.jpg": (whole[: len(whole) // 2], "truncated"),
        "dogs/empty.jpg": (b"", "empty_file"),
        "dogs/tiny.png": (encoded(draw(101)[:4, :4]), "too_small"),
        "dogs/huge.pgm": (b"P5 100000 100000 255\n\0", "too_large"),
        "dogs/pointer.jpg": (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "git_lfs_pointer",
        ),
        "dogs/page.jpg": (b"<html>", "not_an_image"),
        "dogs/inner.png": (zipped({"a": b"a"}), "archive"),
        "lone.png": (encoded(draw(102)), "no_label"),
        "README.md": (b"Pets", "not_an_image"),
        "notes.csv": (b"city,people\nUlm,1\n", "unrelated_table"),
        "old.rar": (b"Rar!", "unsupported_archive"),
        "bad.zip": (b"PK nothing", "broken_archive"),
        "cats/same.png": (encoded(draw(103)), "conflicting_label"),
        "dogs/same.bmp": (encoded(draw(103), "BMP"), "conflicting_label"),
    }
    for name, (content, _) in files.items():
        write(name, content)
    (RAW / "cats/nowhere.png").symlink_to("missing.png")
    write("more.zip", zipped({"../../escaped.png": whole, "emus/in.zip": zipped({"a": b"a"})}))
    run()
    rejected = read_table(REJECTED)
    expected = {name: reason for name, (_, reason) in files.items()} | {
        "cats/nowhere.png": "link",
        "more.zip/../../escaped.png": "unsafe_name",
        "more.zip/emus/in.zip": "nested_archive",
    }
    assert dict(zip(rejected["source"], rejected["reason"], strict=True)) == expected
    manifest = read_table(MANIFEST)
    assert len(manifest) == PER_CLASS * len(CLASSES) + len(hostile)
    assert {f"cats/{name}" for name in hostile} <= set(manifest["source"])
    facts = read_json(SUMMARY)
    assert facts["found"] == facts["used"] + facts["rejected"] == len(manifest) + len(expected)
    assert not list(Path().rglob("escaped*"))
    lines = MANIFEST.read_text().splitlines()
    assert not [line for line in lines if any(cell.startswith("=") for cell in line.split(","))]


def test_groups_of_a_table_join_the_repeats_of_their_images():
    rows = ["path,label,patient_id"]
    for number in range(12):
        write(f"{number}.png", encoded(draw(number % 11)))  # the last is the first once more
        rows.append(f"{number}.png,{CLASSES[number % 11 % 3]},p{number // 3}")
    write("labels.csv", "\n".join(rows))
    run()
    manifest = read_table(MANIFEST).set_index("source")
    assert manifest["given_group"]["4.png"] == "patient_id=p1"
    groups = [set(images) for _, images in manifest.groupby("group").groups.items()]
    joined = {f"{number}.png" for number in [0, 1, 2, 9, 10, 11]}
    assert sorted(map(sorted, groups)) == sorted(
        map(sorted, [joined, {"3.png", "4.png", "5.png"}, {"6.png", "7.png", "8.png"}])
    )
