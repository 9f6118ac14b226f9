"""A row of a register against the cohort and its programme: which unit it marks, and what speaks against it.

Pure, and before the enrolment's own decision: what follows from the cohort and the programme alone is judged here.
An objection is carried into that decision rather than answered here, for a repeated row gets its first answer even
though its session was cancelled or moved since.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from catalogue.model import Programme
from enrolment.domain.attendance import Attended, Unit, Unscheduled
from enrolment.domain.cohort import Cohort, Planned
from eventcore.decider import Refusal, invalid


@dataclass(frozen=True)
class Judged:
    """The unit a row marks, its civil date, and why the row cannot be (None: it can)."""

    unit: Unit
    on: date
    objection: Refusal | None


def session_of(planned: Planned, programme: Programme, value: Attended, today: date) -> Judged:
    """A scheduled unit."""
    session = planned.session
    faults = tuple(_value_faults(value, session.minutes, programme))
    objection = None
    if planned.cancelled is not None:
        objection = Refusal("session-cancelled", f"this session was cancelled ({planned.cancelled}): leave it out")
    elif session.on > today:
        objection = _not_held(session.on)
    elif faults:
        objection = invalid(*faults)
    return Judged(Unit(session_id=session.session_id), session.on, objection)


def record_of(cohort: Cohort, programme: Programme, record: Unscheduled, value: Attended, today: date) -> Judged:
    """An unscheduled unit, which the row creates; without minutes it has its kind's usual length."""
    kind = programme.unit_kind(record.unit_kind)
    minutes = record.minutes or (kind.minutes if kind else None) or 0
    faults = (*_record_faults(cohort, programme, record), *_value_faults(value, minutes, programme))
    objection = None
    if faults:
        objection = invalid(*faults)
    elif record.on > today:
        objection = _not_held(record.on)
    return Judged(Unit(unscheduled=record.model_copy(update={"minutes": minutes})), record.on, objection)


def _not_held(on: date) -> Refusal:
    return Refusal("session-not-held", f"this is on {on}: post it on that day or later")


def _record_faults(cohort: Cohort, programme: Programme, record: Unscheduled) -> Iterator[tuple[str, str]]:
    kinds = {kind.id: kind for kind in programme.unit_kinds if kind.kind == "unscheduled"}
    kind = kinds.get(record.unit_kind)
    if kind is None:
        known = ", ".join(sorted(kinds)) or "it has none"
        yield "unscheduled.unit_kind", f"must be an unscheduled unit kind of the programme: {known}"
        return
    # Until when is not the cohort's to say but the learner's own months, which their enrolment knows.
    if record.on < cohort.starts_on:
        yield "unscheduled.on", f"must not be before {cohort.starts_on}, the cohort's first day"
    if not (record.minutes or kind.minutes):
        yield "unscheduled.minutes", "is missing, and the unit kind has no usual length: state it"
    stated = {attribute.id: attribute.values for attribute in kind.attributes}
    for name, values in stated.items():
        if record.attributes.get(name) not in values:
            yield f"unscheduled.attributes.{name}", f"must be one of {', '.join(values)}"
    for name in sorted(record.attributes.keys() - stated.keys()):
        yield f"unscheduled.attributes.{name}", f"is not stated of a {kind.unit}: leave it out"


def _value_faults(value: Attended, unit_minutes: int, programme: Programme) -> Iterator[tuple[str, str]]:
    if value.state == "partial":
        if not 1 <= value.minutes < unit_minutes:
            yield "value.minutes", f"must be from 1 to {unit_minutes - 1} of the unit's {unit_minutes} minutes"
    elif value.minutes:
        yield "value.minutes", f"goes with partial, not with {value.state}: leave it out"
    if value.state == "excused":
        if programme.excuse(value.excuse_code or "") is None:
            codes = ", ".join(code.id for code in programme.excuse_codes) or "it has none"
            yield "value.excuse_code", f"must be an excuse code of the programme: {codes}"
    elif value.excuse_code is not None:
        yield "value.excuse_code", f"goes with excused, not with {value.state}: leave it out"
