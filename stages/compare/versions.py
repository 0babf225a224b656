"""Versions of the project: the workspace, and any revision of Git with what DVC kept for it."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from stages.common.errors import InputError, one_line

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.index import DataIndexEntry


class Version(Protocol):
    """Files of the project as they were at some time.

    Attributes:
        name: What people call this version.
        hint: What to do if it lacks a file.
    """

    name: str
    hint: str

    def find(self, names: Sequence[str]) -> dict[str, Path]:
        """Where those of some files lie on this machine that this version has."""


class Workspace:
    """What lies in the project's folder now."""

    name = "the workspace"
    hint = "run dvc repro, or dvc pull if a colleague did"

    def find(self, names: Sequence[str]) -> dict[str, Path]:
        return {name: Path(name) for name in names if Path(name).is_file()}


class Revision:
    """What Git and DVC hold of a revision.

    Args:
        repo: DVC's view of the project, switched to the revision.
        name: What people call the revision.
        folder: Where to put what only Git holds.
    """

    hint = "the pipeline had not run there, or dvc.lock was not committed; name another revision"

    def __init__(self, repo: Repo, name: str, folder: Path):
        self._repo = repo
        self._folder = folder
        self.name = name

    def find(self, names: Sequence[str]) -> dict[str, Path]:
        """Where those of some files lie on this machine that the revision has.

        What lies in DVC's cache stays where it is; what does not is downloaded into the cache,
        file by file, also out of a folder that is tracked as a whole.

        Raises:
            InputError: A file is tracked, but neither the cache nor the remote holds it.
        """
        found = {name: path for name in names if (path := self._from_git(name))}
        entries = {
            name: entry
            for name in names
            if name not in found and (entry := self._entry(name)) is not None
        }
        lacking = [name for name, entry in entries.items() if not self._cached(entry).is_file()]
        if lacking:
            self._fetch(lacking)
        found |= {name: self._cached(entry) for name, entry in entries.items()}
        for name in lacking:
            if not found[name].is_file():
                raise self._lost(name)
        return found

    def _from_git(self, name: str) -> Path | None:
        source = self._repo.fs.join(self._repo.root_dir, name)
        if not self._repo.fs.isfile(source):
            return None
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._repo.fs.get_file(source, os.fspath(path))
        return path

    def _entry(self, name: str) -> DataIndexEntry | None:
        """What DVC knows of a file that it tracks, itself or as part of a folder."""
        from dvc.exceptions import DvcException
        from dvc_data.index import DataIndexDirError

        try:
            entry = self._repo.index.data["repo"].info(tuple(name.split("/")))["entry"]
        except KeyError:
            return None
        except DataIndexDirError as error:  # the list of the files in the folder
            raise self._lost(name, error.__cause__) from None
        except DvcException as error:
            raise InputError(f"{self.name}: DVC cannot read it: {one_line(error)}") from None
        return entry if entry is not None and entry.hash_info else None

    def _cached(self, entry: DataIndexEntry) -> Path:
        return Path(self._repo.index.data["repo"].storage_map.get_cache(entry)[1])

    def _fetch(self, names: list[str]) -> None:
        try:
            self._repo.fetch(targets=names)
        except Exception as error:  # libraries of remotes raise whatever they like
            raise self._lost(names[0], error) from None

    def _lost(self, name: str, error: BaseException | None = None) -> InputError:
        known = error is None or isinstance(error, FileNotFoundError)
        why = "" if known else f" ({type(error).__name__}: {one_line(error)})"
        return InputError(
            f"{name} of {self.name}: expected it in DVC's cache or remote, found it in neither"
            f"{why}; ask who made it to dvc push --all-commits"
        )


@contextmanager
def open_version(revision: str | None) -> Iterator[Version]:
    """The workspace (None), or a revision; what had to be copied is removed at the end.

    Raises:
        InputError: The folder is no project in Git and DVC, or there is no such revision.
    """
    if revision is None:
        yield Workspace()
        return
    repo = _open_project()
    with (
        tempfile.TemporaryDirectory() as folder,
        repo,
        repo.switch(_resolve(repo, revision)) as sha,
    ):
        name = sha[:7] if sha.startswith(revision) else f"{revision} ({sha[:7]})"
        yield Revision(repo, name, Path(folder))


def _open_project() -> Repo:
    """DVC's view of the project, with the remotes and credentials of today at any revision."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import NoSCM, SCMError

    # What they say line by line, one line of our own says.
    logging.getLogger("dvc").setLevel(logging.ERROR)
    for name in ["dvc_data", "dvc_objects"]:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with Repo() as repo:
            here, in_git, config = repo.root_dir, not isinstance(repo.scm, NoSCM), repo.config
        if not in_git or not Path(here).samefile("."):
            raise SCMError(f"the project is {here}" if in_git else "DVC runs without Git")
        return Repo(config=config)
    except (DvcException, SCMError) as error:
        raise InputError(
            "expected to run in the folder of a project in Git and DVC, received "
            f"{Path.cwd()}: {one_line(error)}"
        ) from None


def _resolve(repo: Repo, revision: str) -> str:
    from dvc.scm import RevError, resolve_rev
    from scmrepo.exceptions import SCMError  # of a repository without a commit

    try:
        return resolve_rev(repo.scm, revision)
    except (RevError, SCMError):
        raise InputError(
            f"expected a revision of Git (a commit, branch, tag or experiment), received "
            f"{revision!r}; git log --oneline and git branch list them"
        ) from None
