"""The one error of this package, so that a command can print it and stop without a traceback."""


class EmbeddedError(Exception):
    """Something the person at the keyboard can act on: one sentence that says what is wrong and what to do next."""
