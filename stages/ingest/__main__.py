"""Stage `ingest`: raw photos become arrays of one size, and what cannot be used is listed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.common.errors import InputError
from stages.common.files import publish
from stages.common.params import Ingest, Params
from stages.common.paths import IMAGES, INDEX, MANIFEST, RAW, REPORTS
from stages.common.pictures import contact_sheet, save_photo
from stages.common.shard_map import Task, map_shards
from stages.common.shards import cut_shards, part_name, read_shard
from stages.common.stage import log, run
from stages.common.tables import write_json, write_table
from stages.ingest.develop_shard import develop_shard
from stages.ingest.duplicates import find_groups
from stages.ingest.labels import UNRELATED, label_photos
from stages.ingest.sources import Rejected, Source, find_sources, image_ids

_SHEET_GROUPS = 40
_SHEET_IMAGES = 8


@dataclass
class Shard:
    """The usable photos of one shard: their table, fingerprints and the file of their pixels."""

    table: pd.DataFrame
    fingerprints: np.ndarray
    pixels: Path


def main(params: Params) -> None:
    """Develop all photos below `data/raw`."""
    files, rejected = find_sources(RAW) if RAW.is_dir() else ([], [])
    labelled = label_photos(files, params.ingest.table)
    rejected += labelled.rejected
    if not labelled.photos:
        raise InputError(
            f"{RAW}: expected a folder per class with photos, zips of such folders, or a table of "
            f"paths and labels; found {_found(rejected)}; copy photos to {RAW}/<class>/"
        )
    sources, ids, unreadable = _identify(labelled.photos)
    shards, broken = _develop(sources, ids, params.ingest)
    rejected = sorted([*rejected, *unreadable, *broken], key=lambda one: one.source)
    _refuse_too_many(rejected, sum(len(shard.table) for shard in shards), params.ingest)
    table = _group(shards, params.ingest)
    if labelled.tables:
        log(f"ingest: labels of {', '.join(labelled.tables)}")
    else:
        _refuse_lost_classes({source.label for source in sources} - set(table["label"]), rejected)
    _write(table, shards, rejected)


def _found(rejected: list[Rejected]) -> str:
    if not rejected:
        return "no files"
    first = rejected[0]
    return f"{len(rejected)} unusable, first {first.source} ({first.reason}: {first.detail})"


def _identify(sources: list[Source]) -> tuple[list[Source], list[str], list[Rejected]]:
    """The photos whose bytes can be read, their ids, and the others."""
    readable, unreadable = [], []

    def contents() -> Iterator[bytes]:
        for source in tqdm(sources, desc="ingest: reading", unit="file", mininterval=1):
            try:
                content = source.read()
            except Exception as error:  # members of a zip fail in many ways: password, CRC, ...
                detail = f"{type(error).__name__}: {error}"
                unreadable.append(Rejected(source.name, "unreadable", detail))
            else:
                readable.append(source)
                yield content

    ids = image_ids(contents())
    return readable, ids, unreadable


def _develop(
    sources: list[Source], ids: list[str], ingest: Ingest
) -> tuple[list[Shard], list[Rejected]]:
    """Every shard with a usable photo, and the photos that could not be decoded."""
    settings = {"size": list(ingest.size), "color": ingest.color, "fit": ingest.fit}
    cuts = cut_shards(ids)
    tasks = [Task((sources[cut],), tuple(ids[cut])) for cut in cuts]
    shards, broken = [], []
    for cut, folder in zip(cuts, map_shards(develop_shard, tasks, settings, "ingest"), strict=True):
        reasons, details = np.load(folder / "reason.npy"), np.load(folder / "detail.npy")
        usable = [number for number, reason in enumerate(reasons) if not reason]
        broken += [
            Rejected(source.name, str(reason), str(detail))
            for source, reason, detail in zip(sources[cut], reasons, details, strict=True)
            if reason
        ]
        if usable:
            shards.append(
                _read(
                    folder, [sources[cut][one] for one in usable], [ids[cut][one] for one in usable]
                )
            )
    return shards, broken


def _read(folder: Path, sources: list[Source], ids: list[str]) -> Shard:
    size = np.load(folder / "size.npy")
    table = pd.DataFrame(
        {
            "id": ids,
            "source": [source.name for source in sources],
            "label": [source.label for source in sources],
            "part": part_name(ids),
            "row": range(len(ids)),
            "width": size[:, 0],
            "height": size[:, 1],
            "exact": np.load(folder / "exact.npy"),
        }
    )
    return Shard(table, np.load(folder / "fingerprint.npy"), folder / "images.npy")


def _refuse_too_many(rejected: list[Rejected], used: int, ingest: Ingest) -> None:
    # A table of something else is listed, but costs no photo.
    lost = [one for one in rejected if one.reason != UNRELATED]
    if not used or len(lost) > ingest.max_rejected * (used + len(lost)):
        raise InputError(
            f"{RAW}: expected at most {ingest.max_rejected:.0%} unusable files "
            f"(ingest.max_rejected), found {_found(lost)}, beside {used} usable ones; "
            "remove or repair them"
        )


def _refuse_lost_classes(lost: set[str], rejected: list[Rejected]) -> None:
    if lost:
        raise InputError(
            f"{RAW}: expected usable photos of every class, found none of {sorted(lost)}; of all "
            f"files {_found(rejected)}; repair them or remove the folder"
        )


def _group(shards: list[Shard], ingest: Ingest) -> pd.DataFrame:
    """The table of all images, with the smallest id of its group for each."""
    table = pd.concat([shard.table for shard in shards], ignore_index=True)
    fingerprints = np.concatenate([shard.fingerprints for shard in shards])
    numbers = find_groups(fingerprints, table["exact"].to_numpy(), ingest.near_duplicate)
    table["group"] = table["id"].groupby(numbers).transform("min")
    return table


def _write(table: pd.DataFrame, shards: list[Shard], rejected: list[Rejected]) -> None:
    publish(((shard.pixels, Path(shard.table["part"][0])) for shard in shards), IMAGES)
    by_id = table.sort_values("id")
    write_table(by_id[["id", "part", "row"]], INDEX)
    columns = ["id", "source", "label", "part", "row", "width", "height", "group"]
    write_table(by_id[columns], MANIFEST)

    repeated = table[table.duplicated("group", keep=False)].sort_values(["group", "source"])
    folder = REPORTS / "ingest"
    write_table(repeated[["group", "id", "source", "label", "exact"]], folder / "groups.csv")
    columns = ["source", "reason", "detail"]
    write_table(pd.DataFrame(map(vars, rejected), columns=columns), folder / "rejected.csv")
    facts = {
        "found": len(table) + len(rejected),
        "used": len(table),
        "rejected": len(rejected),
        "images_per_class": table["label"].value_counts().to_dict(),
        "groups_of_repeats": int(repeated["group"].nunique()),
        "images_in_groups": len(repeated),
        "exact_copies": int(table.duplicated("exact").sum()),
    }
    write_json(facts, folder / "summary.json")
    save_photo(contact_sheet(list(_group_rows(repeated))), folder / "duplicates.jpg")
    log(
        f"ingest: {facts['used']} images with {len(facts['images_per_class'])} labels, "
        f"{facts['rejected']} files rejected, {facts['images_in_groups']} images in "
        f"{facts['groups_of_repeats']} groups of repeats"
    )


def _group_rows(repeated: pd.DataFrame) -> Iterable[tuple[str, list[np.ndarray]]]:
    """Caption and images of the largest groups, for the contact sheet."""
    sizes = repeated["group"].value_counts(sort=False).sort_values(ascending=False, kind="stable")
    for group in sizes.index[:_SHEET_GROUPS]:
        members = repeated[repeated["group"] == group]
        shown = members[:_SHEET_IMAGES]
        images = [
            read_shard(IMAGES / part)[row]
            for part, row in zip(shown["part"], shown["row"], strict=True)
        ]
        yield f"{len(members)} images: {members['source'].iloc[0]}, ...", images


if __name__ == "__main__":
    run(main)
