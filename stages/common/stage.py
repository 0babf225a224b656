"""What every stage does around its work: check the params, report errors in one line."""

import os
import sys
from collections.abc import Callable

from stages.common.errors import InputError
from stages.common.params import Params, load_params


def run(main: Callable[[Params], None]) -> None:
    """Read `params.yaml`, check all of it, and run `main` with it.

    An `InputError` becomes one line on standard error and exit code 1. Whatever ends `main`
    early, outputs of the last good run that DVC removed are put back.
    """
    try:
        main(load_params("params.yaml"))
    except InputError as error:
        _restore_outputs()
        sys.exit(f"error: {error}")
    except BaseException:
        _restore_outputs()
        raise


def log(message: str) -> None:
    """Say something to the person who watches the run."""
    print(message, flush=True)


def _restore_outputs() -> None:
    """Check out what `dvc.lock` says that this stage wrote last.

    DVC removes the outputs of a stage before it runs the stage, so a refused parameter would
    otherwise cost the team the model that stood there.
    """
    name = os.environ.get("DVC_STAGE")
    if name is None:
        return
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with Repo() as repo:
        for out in repo.stage.load_one(name=name).outs:
            if out.hash_info and not out.exists:
                # DVC keeps a copy of metrics and plots that live in Git too, for its run cache.
                out.use_cache = True
                try:
                    out.checkout()
                except (DvcException, OSError):
                    log(f"{out}: removed by DVC before this run; `dvc checkout` may restore it")
