"""CohortService: proto to command, document to proto."""

from __future__ import annotations

from datetime import date
from typing import Any

import grpc

from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import cohorts_pb2, cohorts_pb2_grpc
from enrolment.api import checks
from enrolment.application.cohorts import (
    CancelWish,
    OpenWish,
    ScheduleWish,
    cancel_sessions,
    open_cohorts,
    schedule_sessions,
)
from enrolment.application.publishing import session_to_proto
from enrolment.domain.cohort import Session
from enrolment.domain.limits import CAPACITY_MAX, MINUTES_MAX, NAME_CHARS_MAX, SESSIONS_MAX, VERSION_MAX
from enrolment.views.cohorts import COHORTS
from enrolment.views.enrolments import ENROLMENTS
from enrolment.views.queries import CohortEntry, find_cohort
from eventcore.decider import Refusal
from servicekit.batches import rows
from servicekit.call import current_scope
from servicekit.errors import NotFound
from servicekit.kernel import Kernel, malformed
from servicekit.violations import Violations


class CohortApi(cohorts_pb2_grpc.CohortServiceServicer):
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def OpenCohorts(
        self, request: cohorts_pb2.OpenCohortsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> outcome_pb2.BatchResponse:
        wishes = [_opening(row) for row in rows(request.rows)]
        return self._kernel.answer(await open_cohorts(self._kernel, current_scope(), wishes))

    async def ScheduleSessions(
        self, request: cohorts_pb2.ScheduleSessionsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> outcome_pb2.BatchResponse:
        wishes = [_scheduling(row) for row in rows(request.rows)]
        return self._kernel.answer(await schedule_sessions(self._kernel, current_scope(), wishes))

    async def CancelSessions(
        self, request: cohorts_pb2.CancelSessionsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> outcome_pb2.BatchResponse:
        wishes = [_cancelling(row) for row in rows(request.rows)]
        return self._kernel.answer(await cancel_sessions(self._kernel, current_scope(), wishes))

    async def GetCohort(
        self, request: cohorts_pb2.GetCohortRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> cohorts_pb2.Cohort:
        found = Violations()
        found.id("cohort_id", request.cohort_id)
        found.raise_if_any()
        await self._kernel.caught_up(request.token, views=[COHORTS, ENROLMENTS])
        entry = await find_cohort(self._kernel.reader, current_scope(), request.cohort_id)
        if entry is None:
            raise NotFound("cohort")
        return _cohort(entry)


def _opening(row: cohorts_pb2.OpenCohort) -> OpenWish | Refusal:
    found = Violations()
    found.command_id(row.command_id)
    found.id("cohort_id", row.cohort_id)
    found.id("programme_id", row.programme_id)
    found.integer("programme_version", row.programme_version, minimum=1, maximum=VERSION_MAX)
    starts_on = found.date("starts_on", row.starts_on)
    ends_on = found.date("ends_on", row.ends_on, optional=True)
    found.integer("capacity", row.capacity, minimum=0, maximum=CAPACITY_MAX)
    found.id("provider_id", row.provider_id, optional=True)
    sessions = []
    if checks.count(found, "sessions", len(row.sessions), SESSIONS_MAX):
        sessions = [_session(found, f"sessions[{i}]", session) for i, session in enumerate(row.sessions)]
    ids = [session.session_id for session in row.sessions]
    for i, session_id in enumerate(ids):
        if session_id in ids[:i]:
            found.add(f"sessions[{i}].session_id", "is used twice: each names one session")
    if found or starts_on is None:
        return malformed(found)
    return OpenWish(
        command_id=row.command_id,
        cohort_id=row.cohort_id,
        programme_id=row.programme_id,
        programme_version=row.programme_version,
        starts_on=starts_on,
        ends_on=ends_on,
        capacity=row.capacity if row.HasField("capacity") else None,
        waiting_list=row.waiting_list if row.HasField("waiting_list") else None,
        provider_id=row.provider_id,
        sessions=tuple(session for session in sessions if session is not None),
    )


def _scheduling(row: cohorts_pb2.ScheduleSession) -> ScheduleWish | Refusal:
    found = Violations()
    found.command_id(row.command_id)
    found.id("cohort_id", row.cohort_id)
    session = _session(found, "session", row.session)
    return malformed(found) if session is None or found else ScheduleWish(row.command_id, row.cohort_id, session)


def _cancelling(row: cohorts_pb2.CancelSession) -> CancelWish | Refusal:
    found = Violations()
    found.command_id(row.command_id)
    found.id("cohort_id", row.cohort_id)
    found.id("session_id", row.session_id)
    found.id("reason_code", row.reason_code)
    return malformed(found) if found else CancelWish(row.command_id, row.cohort_id, row.session_id, row.reason_code)


def _session(found: Violations, path: str, row: cohorts_pb2.Session) -> Session | None:
    """The session at `path`; None when something is wrong with it. Its provider may still be empty."""
    before = len(found.items)
    found.id(f"{path}.session_id", row.session_id)
    found.text(f"{path}.title", row.title, NAME_CHARS_MAX)
    found.id(f"{path}.unit_kind", row.unit_kind)
    found.id(f"{path}.event_id", row.event_id, optional=True)
    found.id(f"{path}.module_id", row.module_id, optional=True)
    on = found.date(f"{path}.on", row.on)
    checks.clock(found, f"{path}.start", row.start)
    found.integer(f"{path}.minutes", row.minutes, minimum=1, maximum=MINUTES_MAX)
    found.text(f"{path}.place", row.place, NAME_CHARS_MAX, optional=True)
    found.id(f"{path}.provider_id", row.provider_id, optional=True)
    if len(found.items) > before or on is None:
        return None
    return Session(
        session_id=row.session_id,
        title=row.title,
        unit_kind=row.unit_kind,
        event_id=row.event_id or None,
        module_id=row.module_id or None,
        on=on,
        start=row.start,
        minutes=row.minutes,
        place=row.place or None,
        provider_id=row.provider_id,
    )


def _cohort(entry: CohortEntry) -> cohorts_pb2.Cohort:
    cohort = entry.cohort
    return cohorts_pb2.Cohort(
        cohort_id=cohort.cohort_id,
        programme_id=cohort.programme_id,
        programme_version=cohort.programme_version,
        starts_on=_day(cohort.starts_on),
        ends_on=_day(cohort.ends_on),
        capacity=cohort.capacity or 0,
        waiting_list=cohort.waiting_list,
        sessions=[
            cohorts_pb2.CohortSession(
                session=session_to_proto(planned.session), cancelled_reason_code=planned.cancelled or ""
            )
            for planned in cohort.sessions.values()
        ],
        placed=entry.placed,
        waiting=entry.waiting,
    )


def _day(day: date) -> str:
    return day.isoformat()
