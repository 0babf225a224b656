"""What a stage wrote when it last ran to its end, as `dvc.lock` knows it."""

import os
from pathlib import Path

import pandas as pd

from stages.common.tables import read_table


def previous_table(path: Path) -> pd.DataFrame | None:
    """The table that the running stage wrote last time, read from DVC's cache.

    DVC removes the outputs of a stage before it runs the stage, so the file itself is gone. What
    comes from here may go into the log alone: an artifact must not depend on what was there before.

    Args:
        path: The output of the stage, one file, relative to the root of the project.

    Returns:
        None outside of DVC, in a first run, and where the cache lacks the file.
    """
    name = os.environ.get("DVC_STAGE")
    if name is None:
        return None
    try:
        from dvc.repo import Repo

        with Repo() as repo:
            for out in repo.stage.load_one(name=name).outs:
                if Path(out.fs_path) == path.resolve() and out.hash_info:
                    return read_table(Path(out.cache_path))
    except Exception:  # whatever DVC raises must not end a run over a line in its log
        return None
    return None
