"""What the rows of every batch are checked for, beyond what `Violations` knows."""

from __future__ import annotations

import re

from enrolment.domain.limits import SHORT_ID_CHARS_MAX
from servicekit.kernel import COMMAND_ID
from servicekit.violations import Violations

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


def command_id(found: Violations, value: str) -> None:
    if value and not COMMAND_ID.fullmatch(value):
        found.add("command_id", "must be 1 to 128 characters of A-Z a-z 0-9 . _ : @ -, or empty")


def short_id(found: Violations, field: str, value: str, *, optional: bool = False) -> None:
    """An id that is joined with another one into a stream's name."""
    if found.id(field, value, optional=optional) is not None and len(value) > SHORT_ID_CHARS_MAX:
        found.add(field, f"must be at most {SHORT_ID_CHARS_MAX} characters")


def clock(found: Violations, field: str, value: str) -> None:
    if not _CLOCK.fullmatch(value):
        found.add(field, "must be a local time, written like 09:30")


def count(found: Violations, field: str, given: int, most: int) -> bool:
    """Whether a list is short enough to look at its items."""
    if given > most:
        found.add(field, f"has {given} items: send at most {most}")
    return given <= most
