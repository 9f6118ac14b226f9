"""Collects what is wrong with an input, all of it, so that the sender mends it once."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date
from decimal import Decimal, InvalidOperation

from catalogue.ids import is_id
from catalogue.limits import ID_MAX_LENGTH
from servicekit.errors import InvalidArgument

# Days and months are added to dates: far from the calendar's ends that never fails.
DATE_MIN = date(1900, 1, 1)
DATE_MAX = date(2200, 12, 31)

# ASCII digits only: \d alone also takes the digits of every other script, and Decimal would read them.
_COMMAND_ID = re.compile(r"[A-Za-z0-9._:@-]{1,128}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,12}(\.\d{1,6})?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Violations:
    """One input's faults. Each check returns the value, parsed, or None when it noted a violation.

    `items` are (field path, what is wrong and what to do). An optional field is checked only when it is not empty.
    """

    def __init__(self) -> None:
        self.items: list[tuple[str, str]] = []

    def __bool__(self) -> bool:
        return bool(self.items)

    def add(self, field: str, description: str) -> None:
        """Notes a violation no other method covers."""
        self.items.append((field, description))

    def id(self, field: str, value: str, *, optional: bool = False) -> str | None:
        """A Credence id: words of a-z and 0-9 joined by single hyphens, at most 30 characters."""
        if self._absent(field, value, optional):
            return None
        if not is_id(value):
            self.add(field, f"must be words of a-z and 0-9 joined by hyphens, at most {ID_MAX_LENGTH} characters")
            return None
        return value

    def command_id(self, value: str) -> str | None:
        """A client's own id for a command, or none."""
        if value and not _COMMAND_ID.fullmatch(value):
            self.add("command_id", "must be empty, or 1 to 128 characters of A-Z a-z 0-9 . _ : @ -")
            return None
        return value

    def date(self, field: str, value: str, *, optional: bool = False) -> date | None:
        """A civil date from 1900 to 2200, ISO 8601: 2026-01-31."""
        if self._absent(field, value, optional):
            return None
        try:
            found = date.fromisoformat(value) if _DATE.fullmatch(value) else None
        except ValueError:
            found = None
        if found is None:
            self.add(field, "must be a date that exists, written like 2026-01-31")
        elif not DATE_MIN <= found <= DATE_MAX:
            self.add(field, f"must be a date from {DATE_MIN} to {DATE_MAX}")
            return None
        return found

    def decimal(
        self, field: str, value: str, *, minimum: Decimal | int | None = None, optional: bool = False
    ) -> Decimal | None:
        """A plain decimal, up to 12 digits before the point and 6 after; never a float, for credits and fees."""
        if self._absent(field, value, optional):
            return None
        try:
            number = Decimal(value) if _DECIMAL.fullmatch(value) else None
        except InvalidOperation:
            number = None
        if number is None:
            self.add(field, "must be a plain decimal, written like 20 or 7.5")
        elif minimum is not None and number < minimum:
            self.add(field, f"must be at least {minimum}")
            return None
        return number

    def integer(self, field: str, value: int, *, minimum: int, maximum: int) -> int | None:
        """A whole number within bounds, both included."""
        if minimum <= value <= maximum:
            return value
        self.add(field, f"must be from {minimum} to {maximum}")
        return None

    def one_of(self, field: str, value: str, allowed: Collection[str], *, optional: bool = False) -> str | None:
        """One of a closed set of codes."""
        if self._absent(field, value, optional):
            return None
        if value not in allowed:
            self.add(field, f"must be one of {', '.join(sorted(allowed))}")
            return None
        return value

    def enum(self, field: str, value: int, allowed: Collection[int]) -> int | None:
        """A proto enum value that is stated (not 0) and known."""
        if value == 0:
            self.add(field, "is missing: state it")
            return None
        if value not in allowed:
            self.add(field, "is not a value this version knows")
            return None
        return value

    def text(self, field: str, value: str, max_len: int, *, optional: bool = False) -> str | None:
        """Free text of at most `max_len` characters, with no control character but tab and line feed."""
        if self._absent(field, value.strip(), optional):
            return None
        if len(value) > max_len:
            self.add(field, f"must be at most {max_len} characters, not {len(value)}")
            return None
        if _CONTROL.search(value):
            self.add(field, "must not contain control characters")
            return None
        return value

    def raise_if_any(self) -> None:
        """Raises InvalidArgument with everything noted."""
        if self.items:
            raise InvalidArgument(self.items)

    def _absent(self, field: str, value: str, optional: bool) -> bool:
        if value:
            return False
        if not optional:
            self.add(field, "is missing: state it")
        return True
