"""What the rows of every batch are checked for, beyond what `Violations` knows."""

from __future__ import annotations

import re

from servicekit.violations import Violations

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


def clock(found: Violations, field: str, value: str) -> None:
    if not _CLOCK.fullmatch(value):
        found.add(field, "must be a local time, written like 09:30")


def count(found: Violations, field: str, given: int, most: int) -> bool:
    """Whether a list is short enough to look at its items."""
    if given > most:
        found.add(field, f"has {given} items: send at most {most}")
    return given <= most
