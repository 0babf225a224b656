"""Command `compare`: the review of a change of data, for people."""

import argparse
import sys
from pathlib import Path

from stages.common.command_line import run_command
from stages.common.errors import printable
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


if __name__ == "__main__":
    run_command(main, parse)
