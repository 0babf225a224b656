"""What the commands for people share: a parser with short errors, and an end without a trace."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from stages.common.errors import InputError, printable
from stages.common.names import unknown_name


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line.

    Args:
        command: The module, as in `python -m stages.<command>`.
        description, epilog: Before and after the arguments in the help, as they are.
    """

    def __init__(self, command: str, description: str, epilog: str):
        super().__init__(
            prog=f"python -m stages.{command}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see --help\n")


def one_of(what: str, names: list[str]) -> Callable[[str], str]:
    """A type of argument that takes some names; it refuses another one with the nearest."""

    def check(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(unknown_name(what, text, names))
        return text

    return check


def run_command(
    main: Callable[[argparse.Namespace], int | None],
    parse: Callable[[Sequence[str]], argparse.Namespace],
) -> NoReturn:
    """Run a command with the arguments of this process and exit with what `main` returns."""
    # A name that is not UTF-8 comes out with escapes, in JSON with those that mean its bytes.
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")
    try:
        sys.exit(main(parse(sys.argv[1:])))
    except InputError as error:
        sys.exit(f"error: {printable(str(error))}")
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
