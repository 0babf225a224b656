"""The one exception that means: the input is wrong, not the program."""


class InputError(ValueError):
    """Wrong params, images or artifacts.

    Its message is one line for the user: what was expected, what was received, what to do.
    A stage that raises it prints that line and exits with 1, without a stack trace.
    """


def one_line(error: BaseException, limit: int = 500) -> str:
    """What an error of a library says, as part of one line, cut to `limit` characters."""
    return " ".join(str(error).split())[:limit]


def printable(text: str) -> str:
    """A text as a terminal can show it: names from strangers may hold what would command it."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def shown(value: object, limit: int = 100) -> str:
    """A value as it is shown to the user, cut to `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}..."
