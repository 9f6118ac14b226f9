"""Ids and how they are joined, so that every service forms and takes apart the same composite id."""

from __future__ import annotations

import re
from typing import Final

from catalogue.limits import ID_MAX_LENGTH

# `\Z`, not `$`: `$` would let a trailing newline through into stream names.
ID_PATTERN: Final = r"^[a-z0-9]+(-[a-z0-9]+)*\Z"
SEPARATOR: Final = "--"

_ID: Final = re.compile(ID_PATTERN)


def is_id(text: str) -> bool:
    """True for an id of the catalogue: lower-case words and digits joined by single hyphens, at most 30 characters."""
    return len(text) <= ID_MAX_LENGTH and _ID.match(text) is not None


def join_id(*parts: str) -> str:
    """`join_id("r1-leadership", "1")` is `r1-leadership--1`. Raises ValueError when a part is no id.

    A part never holds `--` and never begins or ends with a hyphen, so `split_id` finds the same parts again: two
    different lists of parts can never share a stream.
    """
    if not parts:
        raise ValueError("an id needs at least one part")
    for part in parts:
        if _ID.match(part) is None:
            raise ValueError(f"{part!r} is not an id: lower-case letters and digits joined by single hyphens")
    return SEPARATOR.join(parts)


def split_id(joined: str) -> tuple[str, ...]:
    """The parts `join_id` was given. Raises ValueError when `joined` is no such id."""
    parts = tuple(joined.split(SEPARATOR))
    if any(_ID.match(part) is None for part in parts):
        raise ValueError(f"{joined!r} is not made of ids joined by {SEPARATOR!r}")
    return parts
