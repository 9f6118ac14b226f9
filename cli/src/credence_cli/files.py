"""Files named on the command line: one that cannot be read or written is a usage error in one sentence."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from credence_cli.exits import CommandFailed, Exit
from credence_cli.limits import SHEET_BYTES_MAX
from credence_cli.spreadsheet import Line, SheetUnreadable, read_lines


def read_sheet_bytes(file: Path) -> bytes:
    """The file's content, standard input's for "-"; of one that is too large a byte more than is taken.

    Raises CommandFailed.
    """
    try:
        if str(file) == "-":
            return sys.stdin.buffer.read(SHEET_BYTES_MAX + 1)
        with file.open("rb") as stream:
            return stream.read(SHEET_BYTES_MAX + 1)
    except OSError as error:
        raise CommandFailed(Exit.USAGE, f"{file} cannot be read: {error.strerror}") from error


def read_sheet(file: Path) -> list[Line]:
    """The lines of a CSV file. Raises CommandFailed."""
    try:
        return read_lines(read_sheet_bytes(file))
    except SheetUnreadable as error:
        raise CommandFailed(Exit.USAGE, f"{file}: {error}") from error


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Raises CommandFailed where the file cannot be written; a full disk is told as one."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise CommandFailed(Exit.USAGE, f"{file} cannot be written: {error.strerror}") from error


def write_secret(file: Path, text: str) -> None:
    """A file that nobody else may read, not even for a moment. Raises as `writing` does."""
    with writing(file):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8") as stream:
            os.fchmod(opened, 0o600)  # it may have been there before
            stream.write(text)


def keep_what_is_there(file: Path) -> None:
    """Raises CommandFailed where writing would lose what somebody may have put into this file."""
    if file.is_file():
        raise CommandFailed(
            Exit.USAGE,
            f"{file} is there already, and may be filled in: name another file, or write over it with --force",
        )


def write_text(file: Path, text: str) -> None:
    """Raises as `writing` does."""
    with writing(file):
        file.write_text(text, encoding="utf-8")


def try_to_write(file: Path) -> None:
    """Before the long work that it is for: what is in it stays. Raises as `writing` does."""
    with writing(file), file.open("a"):
        pass
