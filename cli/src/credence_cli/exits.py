"""The exit codes of `credence`, the same for every command, and the error that carries one."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    SOME_REFUSED = 1  # it ran; some rows were refused or in conflict, or a check found faults
    USAGE = 2  # the command line or a file it names is wrong
    NOT_FOUND = 3  # no such object, or not yours
    REFUSED = 4  # the whole request was refused
    NOT_ALLOWED = 5  # not signed in, or not for this role
    UNAVAILABLE = 6  # a server is away, or did not answer in time: run it again
    FAILED = 7  # a defect: the message has a reference for the log
    UNCONFIRMED = 8  # it waits for a confirmation: run it again with --yes, or at a terminal
    INTERRUPTED = 130  # Ctrl-C
    OUTPUT_CLOSED = 141  # whoever read the output has stopped, as with `| head`; the shells' own number for it


INTERRUPTED = "Interrupted. What was acknowledged is kept; run it again to go on."


class CommandFailed(Exception):
    """Ends the command with one message that says what to do next."""

    def __init__(self, exit_code: Exit, message: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.details = details
