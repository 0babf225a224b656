"""Command `compare`: the review of a change of data, for people."""

import argparse
import os
import sys
from pathlib import Path

from stages.common.errors import InputError, printable
from stages.compare.changes import compare
from stages.compare.command_line import parse
from stages.compare.contents import read_contents
from stages.compare.page import write_page
from stages.compare.text import to_json, to_text
from stages.compare.versions import open_version


def main(options: argparse.Namespace) -> None:
    """Compare two versions, write the page and print the summary."""
    with open_version(options.before) as old, open_version(options.after) as new:
        before, after = read_contents(old), read_contents(new)
        changes = compare(before, after)
        page = None if options.no_page else write_page(before, after, changes, Path(options.output))
    if options.format == "json":
        sys.stdout.write(to_json(before, after, changes))
    else:
        sys.stdout.write(to_text(before, after, changes))
        sys.stdout.write(f"\nPictures: {printable(str(page))}\n" if page else "")
    sys.stdout.flush()


def _run() -> None:
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")
    try:
        main(parse(sys.argv[1:]))
    except InputError as error:
        sys.exit(f"error: {printable(str(error))}")
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    _run()
