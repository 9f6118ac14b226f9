"""The one error of this package, so that a command can print it and stop without a traceback."""

from credence_cli.exits import CommandFailed, Exit


class EmbeddedError(CommandFailed):
    """Something the person at the keyboard can act on: one sentence that says what is wrong and what to do next.

    Running it again may help, unless its exit code says something else.
    """

    def __init__(self, message: str, exit_code: Exit = Exit.UNAVAILABLE) -> None:
        super().__init__(exit_code, message)
