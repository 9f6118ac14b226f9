"""Every limit of the command, in one place: of what it reads and of what it sends.

Each says below it what it bounds and what happens beyond it; `docs/limits.md` is made of these words. What services
take is theirs to say; the two that the command must know are held equal by a test.
"""

from __future__ import annotations

from typing import Final

ROWS_MAX: Final = 1_000
"""Rows that it sends in one batch, as many as services take. Beyond: it sends several batches, or says so."""

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""One request or answer, as large as services take. Beyond: the call fails and says so: ask for less."""

SHEET_BYTES_MAX: Final = 32 * 1024 * 1024
"""A register or a list of people as a file. Beyond: it is not read: split it."""

SHEET_LINES_MAX: Final = 200_000
"""Lines of a file. Beyond: it is not read: split it."""

CELL_CHARS_MAX: Final = 100
"""A cell of a register; a thousand rows of the longest ones still fit into one message. Beyond: the line is refused by
its number and column, nothing of it is sent."""

ATTRIBUTES_CHARS_MAX: Final = 300
"""The cell of a record's attributes. Beyond: the line is refused by its number and column, nothing of it is sent."""

SHOWN_CHARS_MAX: Final = 40
"""A cell that an error shows. Beyond: it is cut."""

SHOWN_BYTES_MAX: Final = 200
"""The bytes of a held record that are shown. Beyond: it is cut; `--json` has them all."""

DATA_SET_BYTES_MAX: Final = 256 * 1024 * 1024
"""One file of the Open University's data. Beyond: it is not that data set."""

DATA_SET_DAYS_MAX: Final = 5_000
"""Days before or after a presentation's start; far beyond any of the data. Beyond: the line is refused."""

LOG_BYTES_MAX: Final = 8 * 1024 * 1024
"""The log of an embedded server. Beyond: it begins anew at the next start, and the one before is kept."""
