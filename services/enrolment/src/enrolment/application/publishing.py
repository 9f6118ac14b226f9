"""Stored event to public event: the only place where what is ours becomes what others may see.

Ids and closed codes only. What gets no message goes out as a bare marker, so that versions stay dense.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from google.protobuf.message import Message

from catalogue.proto import programme_to_proto
from credence.enrolment.v1 import attendance_pb2, cohorts_pb2, events_pb2
from enrolment.domain.attendance import Attended, State, Unscheduled
from enrolment.domain.cohort import CATEGORY as COHORT_CATEGORY
from enrolment.domain.cohort import CohortOpened, Session, SessionCancelled, SessionScheduled
from enrolment.domain.enrolment import (
    AttendanceCorrected,
    AttendanceRecorded,
    EnrolmentDeclined,
    EnrolmentPlaced,
    EnrolmentRequested,
    EnrolmentWaitlisted,
    EnrolmentWithdrawn,
)
from enrolment.domain.person import CATEGORY as PERSON_CATEGORY
from enrolment.domain.person import PersonErased, PersonNamed, PersonRegistered
from enrolment.domain.pool import PlaceDeclined, PlaceReleased, PlaceTaken, QueueJoined, QueueLeft
from enrolment.domain.programme import ProgrammeLoaded
from eventcore.event import Recorded, UnknownEventType

STATES: dict[State, attendance_pb2.AttendanceState.ValueType] = {
    "present": attendance_pb2.ATTENDANCE_STATE_PRESENT,
    "late": attendance_pb2.ATTENDANCE_STATE_LATE,
    "partial": attendance_pb2.ATTENDANCE_STATE_PARTIAL,
    "excused": attendance_pb2.ATTENDANCE_STATE_EXCUSED,
    "absent": attendance_pb2.ATTENDANCE_STATE_ABSENT,
}


def public(recorded: Recorded[Any]) -> Message | None:
    """The message others may see; None for what they may only count. Raises UnknownEventType."""
    match recorded.event:
        case PersonRegistered(name=name):
            return events_pb2.PersonRegistered(person_id=_id(recorded, PERSON_CATEGORY), named=name is not None)
        case PersonNamed():
            return events_pb2.PersonNamed(person_id=_id(recorded, PERSON_CATEGORY))
        case PersonErased():
            return events_pb2.PersonErased(person_id=_id(recorded, PERSON_CATEGORY))
        case ProgrammeLoaded(programme=programme):
            return events_pb2.ProgrammePublished(programme=programme_to_proto(programme))
        case CohortOpened() as opened:
            return events_pb2.CohortOpened(
                cohort_id=opened.cohort_id,
                programme_id=opened.programme_id,
                programme_version=opened.programme_version,
                starts_on=opened.starts_on.isoformat(),
                ends_on=opened.ends_on.isoformat(),
                sessions=[_planned(session) for session in opened.sessions],
            )
        case SessionScheduled(session=session):
            return events_pb2.SessionScheduled(cohort_id=_id(recorded, COHORT_CATEGORY), session=_planned(session))
        case SessionCancelled(session_id=session_id, reason_code=reason_code):
            return events_pb2.SessionCancelled(
                cohort_id=_id(recorded, COHORT_CATEGORY), session_id=session_id, reason_code=reason_code
            )
        case EnrolmentRequested() as requested:
            return events_pb2.EnrolmentRequested(
                cohort_id=requested.cohort_id,
                person_id=requested.person_id,
                programme_id=requested.programme_id,
                programme_version=requested.programme_version,
                employer_id=requested.employer_id or "",
                effective_on=requested.effective_on.isoformat(),
            )
        case EnrolmentPlaced(placed_on=placed_on):
            return events_pb2.EnrolmentPlaced(placed_on=placed_on.isoformat())
        case EnrolmentWaitlisted():
            return events_pb2.EnrolmentWaitlisted()
        case EnrolmentDeclined():
            return events_pb2.EnrolmentDeclined()
        case EnrolmentWithdrawn(withdrawn_on=withdrawn_on, reason_code=reason_code):
            return events_pb2.EnrolmentWithdrawn(withdrawn_on=withdrawn_on.isoformat(), reason_code=reason_code)
        case AttendanceRecorded(unit=unit, value=value, provider_id=provider_id):
            return events_pb2.AttendanceRecorded(
                session_id=unit.session_id or "",
                unscheduled=unscheduled_to_proto(unit.unscheduled),
                value=value_to_proto(value),
                provider_id=provider_id,
            )
        case AttendanceCorrected(unit=unit, value=value, provider_id=provider_id) as corrected:
            return events_pb2.AttendanceCorrected(
                session_id=unit.session_id or "",
                unscheduled=unscheduled_to_proto(unit.unscheduled),
                value=value_to_proto(value),
                provider_id=provider_id,
                replaces=corrected.replaces,
                reason_code=corrected.reason_code,
            )
        case PlaceTaken() | QueueJoined() | PlaceDeclined() | PlaceReleased() | QueueLeft():
            return None  # how places are shared out is this service's own business; enrolments say what came of it
        case unknown:
            raise UnknownEventType(f"{type(unknown).__name__}: decide here what others may see of it")


def _planned(session: Session) -> cohorts_pb2.Session:
    """Without its title and place: words, which may be about somebody, and would stay on the topic for good."""
    told = session_to_proto(session)
    told.ClearField("title")
    told.ClearField("place")
    return told


def session_to_proto(session: Session) -> cohorts_pb2.Session:
    return cohorts_pb2.Session(
        session_id=session.session_id,
        title=session.title,
        unit_kind=session.unit_kind,
        event_id=session.event_id or "",
        module_id=session.module_id or "",
        on=session.on.isoformat(),
        start=session.start,
        minutes=session.minutes,
        place=session.place or "",
        provider_id=session.provider_id,
    )


def unscheduled_to_proto(unit: Unscheduled | None) -> attendance_pb2.UnscheduledUnit | None:
    if unit is None:
        return None
    return attendance_pb2.UnscheduledUnit(
        unit_kind=unit.unit_kind,
        record_id=unit.record_id,
        on=unit.on.isoformat(),
        attributes=unit.attributes,
        minutes=unit.minutes,
    )


def value_to_proto(value: Attended) -> attendance_pb2.AttendanceValue:
    return attendance_pb2.AttendanceValue(
        state=STATES[value.state], minutes=value.minutes, excuse_code=value.excuse_code or ""
    )


def day_to_proto(day: date | None) -> str:
    return day.isoformat() if day else ""


def _id(recorded: Recorded[Any], category: str) -> str:
    """The id in a stream's name."""
    return recorded.stream.removeprefix(f"{category}-")
