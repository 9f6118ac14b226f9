"""A list in parts: of what is read or written there is a most that is asked for at once (see `limits`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def parts(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """In order, each of at most `size`."""
    return (list(items[start : start + size]) for start in range(0, len(items), size))
