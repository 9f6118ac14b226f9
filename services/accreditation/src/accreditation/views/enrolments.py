"""Enrolments as enrolment tells them: status and attendance, every value kept with when it was recorded."""

from __future__ import annotations

from datetime import date
from typing import Any

from accreditation.domain.facts import EnrolmentRecord, EnrolmentStatus, Mark, StatusChange, Unscheduled
from accreditation.domain.rules import AttendanceState
from catalogue.ids import join_id
from credence.enrolment.v1 import attendance_pb2, events_pb2
from eventcore.event import Recorded
from eventcore.fold import View

CATEGORY = "enrolment"

_STATES: dict[int, AttendanceState] = {
    attendance_pb2.ATTENDANCE_STATE_PRESENT: "present",
    attendance_pb2.ATTENDANCE_STATE_LATE: "late",
    attendance_pb2.ATTENDANCE_STATE_PARTIAL: "partial",
    attendance_pb2.ATTENDANCE_STATE_EXCUSED: "excused",
    attendance_pb2.ATTENDANCE_STATE_ABSENT: "absent",
}


def fold(document: EnrolmentRecord | None, event: Recorded[Any]) -> EnrolmentRecord:
    message = event.event
    if isinstance(message, events_pb2.EnrolmentRequested):
        return EnrolmentRecord(
            cohort_id=message.cohort_id,
            person_id=message.person_id,
            programme=join_id(message.programme_id, str(message.programme_version)),
            statuses=(_status(event, "requested", date.fromisoformat(message.effective_on)),),
        )
    if document is None:
        raise ValueError(f"{event.id} is {type(message).__name__}, before any request")
    asked_on = document.statuses[-1].on  # to wait and to be declined count from what they answer
    match message:
        case events_pb2.EnrolmentPlaced():
            change = _status(event, "placed", date.fromisoformat(message.placed_on))
        case events_pb2.EnrolmentWaitlisted():
            change = _status(event, "waiting", asked_on)
        case events_pb2.EnrolmentDeclined():
            change = _status(event, "declined", asked_on)
        case events_pb2.EnrolmentWithdrawn():
            change = _status(event, "withdrawn", date.fromisoformat(message.withdrawn_on))
        case events_pb2.AttendanceRecorded() | events_pb2.AttendanceCorrected():
            return document.model_copy(update={"marks": (*document.marks, _mark(event, message))})
        case _:
            raise ValueError(f"an enrolment's stream holds {type(message).__name__} at {event.id}")
    return document.model_copy(update={"statuses": (*document.statuses, change)})


def _status(event: Recorded[Any], status: EnrolmentStatus, on: date) -> StatusChange:
    return StatusChange(version=event.version, recorded=event.recorded, status=status, on=on)


def _mark(event: Recorded[Any], message: events_pb2.AttendanceRecorded | events_pb2.AttendanceCorrected) -> Mark:
    unscheduled = None
    if message.HasField("unscheduled"):
        unit = message.unscheduled
        unscheduled = Unscheduled(
            unit_kind=unit.unit_kind,
            record_id=unit.record_id,
            on=date.fromisoformat(unit.on),
            attributes=tuple(sorted(unit.attributes.items())),
            minutes=unit.minutes or None,
        )
    state = _STATES[message.value.state]
    return Mark(
        version=event.version,
        recorded=event.recorded,
        session_id=None if unscheduled is not None else message.session_id,
        unscheduled=unscheduled,
        state=state,
        minutes=message.value.minutes if state == "partial" else None,
        excuse=message.value.excuse_code or None,
    )


ENROLMENTS = View(
    name="enrolments",
    category=CATEGORY,
    document=EnrolmentRecord,
    fold=fold,
    indexes=(("cohort_id",), ("person_id",), ("programme",)),
)
