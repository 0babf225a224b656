"""The one exception that means: the input is wrong, not the program."""


class InputError(ValueError):
    """Wrong params, images or artifacts.

    Its message is one line for the user: what was expected, what was received, what to do.
    A stage that raises it prints that line and exits with 1, without a stack trace.
    """
