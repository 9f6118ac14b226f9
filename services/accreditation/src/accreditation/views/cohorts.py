"""Cohorts as enrolment tells them: when they run, and their sessions with every move and cancellation."""

from __future__ import annotations

from datetime import date
from typing import Any

from accreditation.domain.facts import CohortRecord, Session, SessionChange
from credence.enrolment.v1 import cohorts_pb2, events_pb2
from eventcore.event import Recorded
from eventcore.fold import View

CATEGORY = "cohort"


def fold(document: CohortRecord | None, event: Recorded[Any]) -> CohortRecord:
    message = event.event
    if isinstance(message, events_pb2.CohortOpened):
        return CohortRecord(
            cohort_id=message.cohort_id,
            recorded=event.recorded,
            starts_on=date.fromisoformat(message.starts_on),
            changes=tuple(_scheduled(event, session) for session in message.sessions),
        )
    if document is None:
        raise ValueError(f"{event.id} is {type(message).__name__}, before the cohort was opened")
    match message:
        case events_pb2.SessionScheduled():
            change = _scheduled(event, message.session)
        case events_pb2.SessionCancelled():
            change = SessionChange(
                version=event.version, recorded=event.recorded, session_id=message.session_id, session=None
            )
        case _:
            raise ValueError(f"a cohort's stream holds {type(message).__name__} at {event.id}")
    return document.model_copy(update={"changes": (*document.changes, change)})


def _scheduled(event: Recorded[Any], session: cohorts_pb2.Session) -> SessionChange:
    plan = Session(
        session_id=session.session_id,
        unit_kind=session.unit_kind,
        module=session.module_id or None,
        on=date.fromisoformat(session.on),
        minutes=session.minutes,
    )
    return SessionChange(version=event.version, recorded=event.recorded, session_id=session.session_id, session=plan)


COHORTS = View(name="cohorts", category=CATEGORY, document=CohortRecord, fold=fold)
