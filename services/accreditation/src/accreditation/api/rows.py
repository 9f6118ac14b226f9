"""What the rows of every batch have in common: their id, the enrolment they name, codes and marks."""

from __future__ import annotations

from decimal import Decimal

from accreditation.domain.limits import MARK_MAX, MARK_PLACES_MAX, REASON_CODE_CHARS_MAX
from servicekit.violations import Violations


def check_names(found: Violations, command_id: str, **ids: str) -> None:
    """The command id, when there is one, and ids that must be stated."""
    found.command_id(command_id)
    for field, value in ids.items():
        found.id(field, value)


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
