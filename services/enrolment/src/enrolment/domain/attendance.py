"""What a register says: of which unit, what, and which value stands. Part of the enrolment's stream."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal, TypeAlias

from enrolment.domain.values import Value

State: TypeAlias = Literal["present", "late", "partial", "excused", "absent"]


class Attended(Value):
    """What a register says of one learner and one unit: `minutes` with partial, else 0; `excuse_code` with excused."""

    state: State
    minutes: int = 0
    excuse_code: str | None = None

    def __str__(self) -> str:
        match self.state:
            case "partial":
                return f"partial, {self.minutes} minutes"
            case "excused":
                return f"excused, {self.excuse_code}"
            case _:
                return self.state


class Unscheduled(Value):
    """A coaching session, a placement: the record creates the unit. `minutes` is the unit's length."""

    unit_kind: str
    record_id: str
    on: date
    attributes: dict[str, str]
    minutes: int


class Unit(Value):
    """What is marked: a session of the cohort, or an unscheduled unit."""

    session_id: str | None = None
    unscheduled: Unscheduled | None = None

    @property
    def key(self) -> str:
        """The identity of a row within its enrolment."""
        if self.unscheduled is not None:
            return f"record/{self.unscheduled.unit_kind}/{self.unscheduled.record_id}"
        return f"session/{self.session_id}"


class Mark(Value):
    """A value in its place: `version` of the enrolment's stream, posted by `by` (a subject) for `provider_id` at `at`
    (UTC). `replaces` is the version of the value before it (None: it was the first), `reason_code` says why."""

    version: int
    unit: Unit
    value: Attended
    provider_id: str
    by: str
    at: datetime
    replaces: int | None = None
    reason_code: str | None = None

    def __str__(self) -> str:
        """For people, in refusals."""
        unit = self.unit.unscheduled
        return str(self.value) if unit is None else f"{self.value}, on {unit.on} for {unit.minutes} minutes"
