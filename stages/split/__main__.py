"""Stage `split`: each image gets a side (train, validation, test) and a fold in each repeat."""

import numpy as np
import pandas as pd

from stages.common.encoding import truth
from stages.common.errors import InputError
from stages.common.log import log
from stages.common.params import Params, Split
from stages.common.paths import CLASSES, MANIFEST, REPORTS, SPLITS, TARGETS
from stages.common.previous import previous_table
from stages.common.stage import run
from stages.common.tables import read_json, read_table, write_json, write_table
from stages.split.assign import fold_columns, share_out
from stages.split.balance import compare_ratios, count, filled_folds, largest_deviation, missing
from stages.split.drawing import draw_balance
from stages.split.given import SIDES, allowed_sides, given_sides, list_leaks, refuse_leaks
from stages.split.moves import describe_moves
from stages.split.strata import find_strata

FOLDER = REPORTS / "split"
_NAMED = 5  # in a line of the log


def main(params: Params) -> None:
    """Share out the images of the manifest; test images stand in no fold."""
    split, manifest, facts = params.split, read_table(MANIFEST), read_json(CLASSES)
    task, groups = facts["task"], manifest["group"].to_numpy()
    targets = read_table(TARGETS).drop(columns="id").to_numpy()
    strata, names = find_strata(
        truth(targets, task, facts["encoder"]), task, facts["classes"], groups
    )
    if split.given == "ignore":
        manifest["given_split"] = ""
    given = given_sides(groups, manifest["given_split"].to_numpy())
    leaks = list_leaks(manifest, given, split.leaks)
    refuse_leaks(leaks, split)
    sides, folds = share_out(groups, strata, allowed_sides(given, split.leaks), split)
    # Where there is no side, -1 takes the last name.
    table = manifest[["id"]].assign(split=np.array([*SIDES, ""], dtype=object)[sides])
    table[fold_columns(split.repeats)] = folds
    ratios = compare_ratios(table, strata, names, split)
    # Where a hash or other people decide, a class may be missing on a side; the log says so.
    decided_here = split.assignment == "stratified" and not given.any()
    if decided_here and split.stratify and task != "regression":
        _refuse_missing(missing(ratios), groups, strata, names)
    _refuse_empty(table, manifest, split)
    found = _summarise(manifest, table, leaks, ratios, split)
    write_table(table, SPLITS)
    write_table(count(table, groups, strata, names), FOLDER / "summary.csv")
    write_table(ratios, FOLDER / "ratios.csv")
    write_table(leaks, FOLDER / "leaks.csv")
    write_json(found, FOLDER / "summary.json")
    draw_balance(ratios, FOLDER / "balance.svg")
    _log(table, found)


def _refuse_missing(
    gaps: list[dict], groups: np.ndarray, strata: np.ndarray, names: list[str]
) -> None:
    """Refuse a class or label that is missing on a side."""
    if gaps:
        name = gaps[0]["label"]
        members = strata[:, names.index(name)].astype(bool)
        raise InputError(
            f"class {name!r}: expected photos enough for each of {', '.join(SIDES)}, found "
            f"{members.sum()} in {len(set(groups[members]))} groups of repeats; "
            "add photos, remove the class, or set split.stratify: false"
        )


def _refuse_empty(table: pd.DataFrame, manifest: pd.DataFrame, split: Split) -> None:
    """Refuse a side or fold without images: no stage after this one could work with it."""
    remedies = ["add photos"]
    if split.assignment == "stable":
        remedies.append("take another split.seed or split.assignment: stratified")
    if manifest["given_split"].any():
        remedies.append("set split.given: ignore")
    remedy = ", or ".join(remedies)
    empty = [side for side in SIDES if not (table["split"] == side).any()]
    if empty:
        raise InputError(
            f"split: expected images for each of {', '.join(SIDES)}, found none for "
            f"{' and '.join(empty)} among {len(manifest)} in {manifest['group'].nunique()} groups "
            f"of repeats; {remedy}"
        )
    filled = filled_folds(table[fold_columns(split.repeats)].to_numpy())
    if filled < split.folds:
        raise InputError(
            f"split.folds: expected at most {filled}, since there are so few groups of images "
            f"beside the test images, received {split.folds}; lower it, or {remedy}"
        )


def _summarise(
    manifest: pd.DataFrame,
    table: pd.DataFrame,
    leaks: pd.DataFrame,
    ratios: pd.DataFrame,
    split: Split,
) -> dict:
    given = manifest["given_split"]
    return {
        "assignment": split.assignment,
        "images": {side: int((table["split"] == side).sum()) for side in SIDES},
        "left_out": int((table["split"] == "").sum()),
        "given": int((given != "").sum()),
        "given_kept": int(((given != "") & (given == table["split"])).sum()),
        "leaks": split.leaks,
        "leaking_groups": int(leaks["group"].nunique()),
        "leaking_images": len(leaks),
        "missing": missing(ratios),
        "largest_deviation": largest_deviation(ratios),
    }


def _log(table: pd.DataFrame, found: dict) -> None:
    """Say what came out, and how it differs from the last run."""
    log("split: " + ", ".join(f"{side} {images}" for side, images in found["images"].items()))
    if found["given"]:
        kept, given = found["given_kept"], found["given"]
        log(f"split: {kept:,} of {given:,} images stand on the side that they were given")
    if found["leaking_groups"]:
        done = "left out" if found["leaks"] == "drop" else "put into train"
        log(
            f"split: {found['leaking_images']:,} images in {found['leaking_groups']:,} groups that "
            f"stand on two given sides, {done}; see {FOLDER / 'leaks.csv'}"
        )
    if found["missing"]:
        named = [f"{gap['label']!r} in {gap['side']}" for gap in found["missing"]]
        more = f" and {len(named) - _NAMED:,} more" if len(named) > _NAMED else ""
        log(f"split: warning: no images of {', '.join(named[:_NAMED])}{more}")
    before = previous_table(SPLITS)
    if before is not None:
        log(f"split: {describe_moves(before, table)}")


if __name__ == "__main__":
    run(main)
