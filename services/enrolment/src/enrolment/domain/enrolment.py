"""A learner on a cohort, with their attendance: stream `enrolment-<cohort id>--<person id>`.

Placed, withdrawn and attended are one decision, so that a mark can never slip past a withdrawal. Where places are
limited this stream asks and the cohort's pool answers; the evaluation in `placing.py` carries the answers over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, ClassVar, Final, Literal, TypeAlias, assert_never

from pydantic import Field

from catalogue.ids import join_id
from catalogue.periods import last_day
from enrolment.domain.attendance import Attended, Mark, Unit
from enrolment.domain.limits import ENROLMENT_EVENTS_MAX, MARKS_MAX
from enrolment.domain.values import LOOKED_UP, Value, civil_date
from eventcore.decider import Command, Decider, Refusal, invalid
from eventcore.event import Event, Upcast
from eventcore.personal import Sealed

CATEGORY: Final = "enrolment"


def enrolment_stream(cohort_id: str, person_id: str) -> str:
    return f"{CATEGORY}-{join_id(cohort_id, person_id)}"


class Reference(Value):
    """What a provider calls this learner."""

    provider_id: str
    reference: Sealed


# Events


def _without_keys(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """v1 kept a keyed hash of each reference, which would outlive the person's key."""
    references = [{name: each[name] for name in ("provider_id", "reference")} for each in data["references"]]
    return {**data, "references": references}


class EnrolmentRequested(Event):
    stored_type: ClassVar[str] = "enrolment.requested.v2"
    upcasts: ClassVar[Mapping[str, Upcast]] = {"enrolment.requested.v1": _without_keys}
    cohort_id: str
    person_id: str
    programme_id: str
    programme_version: int
    employer_id: str | None
    references: tuple[Reference, ...]
    effective_on: date
    limited: bool  # places are limited: the pool decides


class EnrolmentPlaced(Event):
    stored_type: ClassVar[str] = "enrolment.placed.v1"
    placed_on: date


class EnrolmentWaitlisted(Event):
    stored_type: ClassVar[str] = "enrolment.waitlisted.v1"


class EnrolmentDeclined(Event):
    stored_type: ClassVar[str] = "enrolment.declined.v1"


class EnrolmentWithdrawn(Event):
    stored_type: ClassVar[str] = "enrolment.withdrawn.v1"
    ends: ClassVar[bool] = True
    withdrawn_on: date  # the first civil date on which the learner is no longer enrolled
    reason_code: str


class AttendanceRecorded(Event):
    stored_type: ClassVar[str] = "enrolment.attendance-recorded.v1"
    unit: Unit
    value: Attended
    provider_id: str
    by: str
    at: datetime


class AttendanceCorrected(Event):
    stored_type: ClassVar[str] = "enrolment.attendance-corrected.v1"
    unit: Unit
    value: Attended
    provider_id: str
    by: str
    at: datetime
    replaces: int
    reason_code: str


EnrolmentEvent: TypeAlias = (
    EnrolmentRequested
    | EnrolmentPlaced
    | EnrolmentWaitlisted
    | EnrolmentDeclined
    | EnrolmentWithdrawn
    | AttendanceRecorded
    | AttendanceCorrected
)


# State

Status: TypeAlias = Literal["requested", "waiting", "placed", "declined", "withdrawn"]


class Enrolment(Value):
    """`asked` is the version of the request that counts. `marks` holds every value of every unit by the unit's key,
    the oldest first: the last one stands."""

    cohort_id: str
    person_id: str
    programme_id: str
    programme_version: int
    employer_id: str | None
    references: tuple[Reference, ...]
    effective_on: date
    limited: bool
    asked: int
    status: Status = "requested"
    placed_on: date | None = None
    withdrawn_on: date | None = None
    withdrawn_reason_code: str | None = None
    marks: dict[str, tuple[Mark, ...]] = Field(default_factory=dict)

    def standing(self, key: str) -> Mark | None:
        """The value that stands for a unit."""
        values = self.marks.get(key, ())
        return values[-1] if values else None

    def enrolled_on(self, day: date) -> bool:
        placed = self.placed_on is not None and self.placed_on <= day
        return placed and (self.withdrawn_on is None or day < self.withdrawn_on)


def evolve(state: Enrolment | None, event: EnrolmentEvent, version: int) -> Enrolment | None:
    if isinstance(event, EnrolmentRequested):
        said = {name: getattr(event, name) for name in type(event).model_fields}
        return Enrolment(**said, asked=version)
    assert state is not None, "an enrolment's stream begins with its request"
    match event:
        case EnrolmentPlaced(placed_on=placed_on):
            return state.model_copy(update={"status": "placed", "placed_on": placed_on})
        case EnrolmentWaitlisted():
            return state.model_copy(update={"status": "waiting"})
        case EnrolmentDeclined():
            return state.model_copy(update={"status": "declined"})
        case EnrolmentWithdrawn(withdrawn_on=on, reason_code=reason_code):
            return state.model_copy(
                update={"status": "withdrawn", "withdrawn_on": on, "withdrawn_reason_code": reason_code}
            )
        case AttendanceRecorded() | AttendanceCorrected():
            said = {name: getattr(event, name) for name in type(event).model_fields}
            values = (*state.marks.get(event.unit.key, ()), Mark(version=version, **said))
            return state.model_copy(update={"marks": state.marks | {event.unit.key: values}})
        case _:
            assert_never(event)


# Commands


class RequestEnrolment(Command):
    """Asks for a place. `effective_on` None: today. Unlimited cohorts place at once."""

    cohort_id: str
    person_id: str
    employer_id: str | None
    references: tuple[Reference, ...]
    effective_on: date | None
    programme_id: str = LOOKED_UP
    programme_version: int = LOOKED_UP
    limited: bool = LOOKED_UP
    cohort_ends_on: date = LOOKED_UP
    zone: str = LOOKED_UP
    may_backdate: bool = LOOKED_UP


class Place(Command):
    placed_on: date


class Waitlist(Command):
    pass


class Decline(Command):
    pass


class Withdraw(Command):
    """`effective_on` None: today."""

    effective_on: date | None
    reason_code: str
    cohort_ends_on: date = LOOKED_UP
    zone: str = LOOKED_UP
    may_backdate: bool = LOOKED_UP


class MarkAttendance(Command):
    """One row of a register. A correction names the version of the value it `replaces`, and why.

    `on` is the unit's civil date as it stands, `objection` what the cohort and the programme have against the row
    (`register.py`), `by` the subject who posts it; `max_months` is the programme's longest duration.
    """

    unit: Unit
    value: Attended
    provider_id: str
    replaces: int | None
    reason_code: str | None
    on: date = LOOKED_UP
    objection: Refusal | None = LOOKED_UP
    cohort_starts_on: date = LOOKED_UP
    max_months: int = LOOKED_UP
    by: str = LOOKED_UP


EnrolmentCommand: TypeAlias = RequestEnrolment | Place | Waitlist | Decline | Withdraw | MarkAttendance

NOT_ENROLLED: Final = Refusal("not-enrolled", "this learner is not enrolled on this cohort: enrol them first")
WAITING: Final = Refusal("waiting", "this learner has no place on this cohort yet: wait until one is given")


# Decide


def decide(command: EnrolmentCommand, state: Enrolment | None, now: datetime) -> Sequence[EnrolmentEvent] | Refusal:
    if isinstance(command, RequestEnrolment):
        return _request(command, state, now)
    if state is None:
        return (command.objection if isinstance(command, MarkAttendance) else None) or NOT_ENROLLED
    match command:
        case Place(placed_on=placed_on):
            return _answer(state, EnrolmentPlaced(placed_on=placed_on))
        case Waitlist():
            return _answer(state, EnrolmentWaitlisted())
        case Decline():
            return _answer(state, EnrolmentDeclined())
        case Withdraw():
            return _withdraw(command, state, now)
        case MarkAttendance():
            return _mark(command, state, now)
        case _:
            assert_never(command)


def _request(command: RequestEnrolment, state: Enrolment | None, now: datetime) -> Sequence[EnrolmentEvent] | Refusal:
    if state is not None and state.status == "withdrawn":
        return Refusal("withdrawn", "this learner withdrew from this cohort for good: enrol them on another one")
    if state is not None and state.status != "declined":
        return _repeated(command, state)
    effective_on = _effective(command, now)
    if isinstance(effective_on, Refusal):
        return effective_on
    if effective_on > command.cohort_ends_on:
        return Refusal("cohort-over", f"the cohort ended on {command.cohort_ends_on}: enrol them on a later one")
    requested = EnrolmentRequested(
        cohort_id=command.cohort_id,
        person_id=command.person_id,
        programme_id=command.programme_id,
        programme_version=command.programme_version,
        employer_id=command.employer_id,
        references=command.references,
        effective_on=effective_on,
        limited=command.limited,
    )
    return [requested] if command.limited else [requested, EnrolmentPlaced(placed_on=effective_on)]


def _repeated(command: RequestEnrolment, state: Enrolment) -> Sequence[EnrolmentEvent] | Refusal:
    differing = [
        (name, "differs from what was asked for")
        for name in ("employer_id", "references")
        if getattr(command, name) != getattr(state, name)
    ]
    if command.effective_on not in (None, state.effective_on):
        differing.append(("effective_on", f"the enrolment counts from {state.effective_on}"))
    if not differing:
        return []
    return Refusal(
        "enrolment-differs", "this learner is on this cohort with other details", tuple(differing), conflict=True
    )


def _effective(command: RequestEnrolment | Withdraw, now: datetime) -> date | Refusal:
    today = civil_date(now, command.zone)
    wanted = command.effective_on or today
    if wanted < today and not command.may_backdate:
        return Refusal(
            "past-date",
            "only an importer may name a past date: leave it out or ask for an import",
            (("effective_on", f"must not be before today, {today}"),),
        )
    return wanted


def _answer(
    state: Enrolment, answer: EnrolmentPlaced | EnrolmentWaitlisted | EnrolmentDeclined
) -> Sequence[EnrolmentEvent] | Refusal:
    """The pool's answer, for a learner who still waits for one."""
    if state.status == "requested" or (state.status == "waiting" and isinstance(answer, EnrolmentPlaced)):
        return [answer]
    return Refusal("not-asking", f"this enrolment is {state.status}: there is nothing to answer")


def _withdraw(command: Withdraw, state: Enrolment, now: datetime) -> Sequence[EnrolmentEvent] | Refusal:
    if state.status == "declined":
        return NOT_ENROLLED
    if state.status == "withdrawn":
        same = (command.effective_on or state.withdrawn_on, command.reason_code)
        if same == (state.withdrawn_on, state.withdrawn_reason_code):
            return []
        message = f"withdrawn already, on {state.withdrawn_on} ({state.withdrawn_reason_code}): nothing is left to do"
        return Refusal("withdrawn", message, conflict=True)
    withdrawn_on = _effective(command, now)
    if isinstance(withdrawn_on, Refusal):
        return withdrawn_on
    if state.placed_on is not None and withdrawn_on < state.placed_on:
        return Refusal(
            "before-placement",
            "nobody can leave before they came",
            (("effective_on", f"must not be before {state.placed_on}, the day of the placement"),),
        )
    if (withdrawn_on - command.cohort_ends_on).days > 1:
        # The freed place is given from that day: far in the future it would be nobody's for good.
        message = f"the cohort ends on {command.cohort_ends_on}: nobody can leave it later than the day after"
        violation = ("effective_on", f"must not be later than the day after {command.cohort_ends_on}")
        return Refusal("after-cohort", message, (violation,))
    return [EnrolmentWithdrawn(withdrawn_on=withdrawn_on, reason_code=command.reason_code)]


def _mark(command: MarkAttendance, state: Enrolment, now: datetime) -> Sequence[EnrolmentEvent] | Refusal:
    current = state.standing(command.unit.key)
    if current is not None and command.unit.unscheduled is not None and current.provider_id != command.provider_id:
        # Without a word about the value, which is the other provider's.
        return Refusal("record-id-taken", "this record id is in use for this learner: give the record another one")
    if current is not None and (current.unit, current.value) == (command.unit, command.value):
        return []  # it is so already, whatever the row says it replaces
    refusal = _objection(command, state) or _not_there(state, command.on) or _no_right_replacement(command, current)
    if refusal is not None:
        return refusal
    said = {"unit": command.unit, "value": command.value, "provider_id": command.provider_id, "by": command.by}
    if sum(len(values) for values in state.marks.values()) >= MARKS_MAX:
        return Refusal("too-many-marks", f"an enrolment holds at most {MARKS_MAX} marks: nothing can be added to it")
    if current is None:
        return [AttendanceRecorded(**said, at=now)]
    return [AttendanceCorrected(**said, at=now, replaces=current.version, reason_code=command.reason_code or "")]


def _objection(command: MarkAttendance, state: Enrolment) -> Refusal | None:
    """What the cohort and the programme have against the row, and that a record is after the learner's own months.

    They run as accreditation counts them: from the placing or the cohort's start, whichever is later. Whoever is placed
    late has them whole, though the cohort's last day comes before.
    """
    record = command.unit.unscheduled
    if record is None or state.placed_on is None:
        return command.objection
    last = last_day(max(command.cohort_starts_on, state.placed_on), command.max_months)
    if record.on <= last:
        return command.objection
    # Together with the other faults of the row; that it is still to come, say, is not worth saying any more.
    said = command.objection if command.objection is not None and command.objection.code == "invalid-argument" else None
    others = said.fields if said is not None else ()
    return invalid(*others, ("unscheduled.on", f"must not be after {last}, the last day that counts for this learner"))


def _not_there(state: Enrolment, on: date) -> Refusal | None:
    """Why the learner was not enrolled on the unit's day, None when they were."""
    if state.enrolled_on(on):
        return None
    if state.withdrawn_on is not None and state.withdrawn_on <= on:
        return Refusal("withdrawn", f"this learner withdrew on {state.withdrawn_on}, and the unit is of {on}")
    if state.placed_on is not None:
        return Refusal("placed-later", f"this learner was placed on {state.placed_on}, and the unit is of {on}")
    return WAITING if state.status in ("requested", "waiting") else NOT_ENROLLED


def _no_right_replacement(command: MarkAttendance, current: Mark | None) -> Refusal | None:
    """Why the row may not take the place of what stands, None when it may."""
    if current is None:
        if command.replaces is None:
            return None
        return Refusal(
            "nothing-to-replace",
            "this learner has no value for this unit: send the row without replaces",
            (("replaces", "must be left out"),),
        )
    if command.replaces == current.version:
        return None
    stands = f"{current} stands as version {current.version}, posted by {current.by} at {current.at:%Y-%m-%d %H:%MZ}"
    if command.replaces is None:
        message = f"{stands}: to correct it send replaces: {current.version} and a reason code"
        return Refusal("value-differs", message, conflict=True)
    message = f"{stands}, not version {command.replaces}: look at it, then correct that one"
    return Refusal("replaces-not-current", message, (("replaces", f"is not {current.version}"),), conflict=True)


ENROLMENT: Decider[Enrolment | None, EnrolmentCommand, EnrolmentEvent] = Decider(
    category=CATEGORY,
    events=(
        EnrolmentRequested,
        EnrolmentPlaced,
        EnrolmentWaitlisted,
        EnrolmentDeclined,
        EnrolmentWithdrawn,
        AttendanceRecorded,
        AttendanceCorrected,
    ),
    initial=None,
    evolve=evolve,
    decide=decide,
    events_max=ENROLMENT_EVENTS_MAX,
)
