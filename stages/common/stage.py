"""What every stage does around its work: check the params, report errors in one line."""

import os
import sys
from collections.abc import Callable

from stages.common.errors import InputError, one_line, printable
from stages.common.log import log
from stages.common.params import Params, load_params


def run(main: Callable[[Params], None]) -> None:
    """Read `params.yaml`, check all of it, and run `main` with it.

    An `InputError`, or an artifact that is not there, becomes one line on standard error and exit
    code 1. Whatever ends `main` early, what the last good run wrote is put back.
    """
    try:
        main(load_params("params.yaml"))
    except InputError as error:
        _restore_outputs()
        sys.exit(printable(f"error: {error}"))
    except FileNotFoundError as error:
        _restore_outputs()
        if not str(error.filename).startswith(("data/", "models/", "reports/")):
            raise
        sys.exit(
            f"error: {error.filename}: expected an artifact of an earlier stage, found none; "
            "run dvc repro"
        )
    except BaseException:
        _restore_outputs()
        raise


def _restore_outputs() -> None:
    """Check out what `dvc.lock` says that this stage wrote last.

    DVC removes the outputs of a stage before it runs the stage, so a refused parameter would
    otherwise cost the team the model that stood there.
    """
    name = os.environ.get("DVC_STAGE")
    if name is None:
        return
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            for out in repo.stage.load_one(name=name).outs:
                if out.hash_info and (not out.exists or out.changed_checksum()):
                    # DVC keeps a copy of what lives in Git too, for its run cache.
                    out.use_cache = True
                    out.checkout(force=True)
    except Exception as error:  # whatever DVC raises must not hide why the stage failed
        log(f"{name}: its last outputs could not be put back ({one_line(error)}); try dvc checkout")
