"""What the rows of every batch have in common: their id, the enrolment they name, codes and marks."""

from __future__ import annotations

from decimal import Decimal

from accreditation.domain.limits import MARK_MAX, MARK_PLACES_MAX, REASON_CODE_CHARS_MAX
from catalogue.ids import ID_MAX_LENGTH
from servicekit.kernel import COMMAND_ID
from servicekit.violations import Violations


def check_names(found: Violations, command_id: str, **ids: str) -> None:
    """The command id, when there is one, and ids that must be stated."""
    if command_id and not COMMAND_ID.fullmatch(command_id):
        found.add("command_id", "must be 1 to 128 characters of A-Z a-z 0-9 . _ : @ -")
    for field, value in ids.items():
        short_id(found, field, value)


def short_id(found: Violations, field: str, value: str, *, optional: bool = False) -> str | None:
    """An id that others are joined with, so it is shorter than any stream's."""
    if len(value) > ID_MAX_LENGTH:
        found.add(field, f"must be at most {ID_MAX_LENGTH} characters")
        return None
    return found.id(field, value, optional=optional)


def reason_code(found: Violations, field: str, value: str) -> str:
    if len(value) > REASON_CODE_CHARS_MAX:
        found.add(field, f"must be a code of at most {REASON_CODE_CHARS_MAX} characters")
        return ""
    return found.id(field, value) or ""


def mark(found: Violations, field: str, value: str) -> Decimal | None:
    """A mark of 100; empty is none. `60.0` is `60`, so that the same mark written twice is a repeat."""
    number = found.decimal(field, value, minimum=0, optional=True)
    if number is None:
        return None
    plain = number.normalize()
    if plain > MARK_MAX or -int(plain.as_tuple().exponent) > MARK_PLACES_MAX:
        found.add(field, f"must be at most {MARK_MAX}, with at most {MARK_PLACES_MAX} decimal places")
        return None
    return plain.quantize(Decimal(1)) if plain == plain.to_integral_value() else plain
