"""The command line of `compare`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages.common.command_line import Parser, one_of

FORMATS = ["table", "json"]
_DESCRIPTION = """\
Show how the data of the project changed since a revision of Git: images that
were added, removed, relabelled, renamed, or moved to another side or fold of
the split; files that are rejected since then or no longer; and what became of
the figures. It compares what `dvc repro` made, so run that first. Images are
the same if the bytes of their files are."""
_EPILOG = """\
examples:
  python -m stages.compare                    # workspace and last commit
  python -m stages.compare main               # workspace and branch main
  python -m stages.compare v1.0 HEAD~2        # two revisions
  python -m stages.compare --format json main > changes.json

What the old revision held is taken from DVC's cache, or downloaded from the
remote: tables, and of pictures the files with images that are shown.

exit code:
  0  compared, whether or not anything differs
  1  it could not be compared (one line says why)
  2  the command line is wrong
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read and check the command line; a wrong one ends the program."""
    parser = Parser("compare", _DESCRIPTION, _EPILOG)
    parser.add_argument(
        "before",
        nargs="?",
        default="HEAD",
        metavar="REV",
        help="a commit, branch, tag or experiment to compare with (default: HEAD)",
    )
    parser.add_argument(
        "after", nargs="?", metavar="REV2", help="another revision (default: the workspace)"
    )
    parser.add_argument(
        "--output",
        default="compared",
        metavar="FOLDER",
        help="where to put the page with the pictures (default: compared)",
    )
    parser.add_argument(
        "--no-page",
        action="store_true",
        help="make no page; then no picture is needed, in the cache or remote either",
    )
    parser.add_argument(
        "--format",
        type=one_of("format", FORMATS),
        default="table",
        metavar="FORMAT",
        help="of the summary on standard output: table, or json with every image that changed "
        "(default: table)",
    )
    options = parser.parse_args(arguments)
    if Path(options.output).is_file():
        parser.error(f"expected --output with a folder, received the file {options.output!r}")
    return options
