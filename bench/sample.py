"""A small stream and its view, made of an enrolment's public events: what kernel and bare library both work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from credence.enrolment.v1 import attendance_pb2, events_pb2
from eventcore.decider import Command, Decider
from eventcore.event import Event, Recorded
from eventcore.fold import View

SESSIONS = ("s1", "s2", "s3", "s4", "s5", "s6")


class Marked(Event):
    stored_type = "sample.marked.v1"
    session_id: str
    state: str
    provider_id: str
    by: str


class Mark(Command):
    session_id: str
    state: str
    provider_id: str
    by: str


def _decide(command: Mark, _state: int, _now: datetime) -> Sequence[Marked]:
    return [Marked(session_id=command.session_id, state=command.state, provider_id=command.provider_id, by=command.by)]


MARKS: Decider[int, Mark, Marked] = Decider("sample", (Marked,), 0, lambda state, _event, _version: state + 1, _decide)
MARK = Mark(session_id="s1", state="present", provider_id="ipc", by="bench")


def history(cohort: str, person: str) -> list[Any]:
    """An enrolment as enrolment tells it: asked for, placed, and six half-days attended."""
    attended = [
        events_pb2.AttendanceRecorded(
            session_id=session,
            value=attendance_pb2.AttendanceValue(state=attendance_pb2.ATTENDANCE_STATE_PRESENT),
            provider_id="ipc",
        )
        for session in SESSIONS
    ]
    asked = events_pb2.EnrolmentRequested(
        cohort_id=cohort,
        person_id=person,
        programme_id="r14-commissioners-course",
        programme_version=1,
        effective_on="2024-09-01",
    )
    return [asked, events_pb2.EnrolmentPlaced(placed_on="2024-09-01"), *attended]


class Summary(BaseModel):
    """A document of constant size, whoever folds it."""

    events: int
    attended: int
    last_session: str


def fold(document: Summary | None, record: Recorded[Any]) -> Summary:
    before = document or Summary(events=0, attended=0, last_session="")
    return Summary.model_validate(step(before.model_dump(), record.event))


def step(body: Mapping[str, Any], event: Any) -> dict[str, Any]:
    """The fold itself, which the bare loop does too."""
    attended = isinstance(event, events_pb2.AttendanceRecorded)
    return {
        "events": body["events"] + 1,
        "attended": body["attended"] + attended,
        "last_session": event.session_id if attended else body["last_session"],
    }


EMPTY: Mapping[str, Any] = {"events": 0, "attended": 0, "last_session": ""}
SUMMARIES = View("summaries", "enrolment", Summary, fold)
