"""A cohort, one run of a programme version, and its sessions: stream `cohort-<cohort id>`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, ClassVar, Final, TypeAlias, assert_never

from enrolment.domain.limits import COHORT_EVENTS_MAX, SESSIONS_MAX
from enrolment.domain.values import Value, civil_date
from eventcore.decider import Command, Decider, Refusal, invalid
from eventcore.event import Event

CATEGORY: Final = "cohort"


def cohort_stream(cohort_id: str) -> str:
    return f"{CATEGORY}-{cohort_id}"


class Session(Value):
    """The smallest thing a register marks. `on` is a civil date and `start` local time in the programme's zone."""

    session_id: str
    title: str
    unit_kind: str
    event_id: str | None
    module_id: str | None
    on: date
    start: str
    minutes: int
    place: str | None
    provider_id: str


# Events


class CohortOpened(Event):
    stored_type: ClassVar[str] = "cohort.opened.v1"
    cohort_id: str
    programme_id: str
    programme_version: int
    zone: str
    starts_on: date
    ends_on: date  # the last day, included
    capacity: int | None  # None: no limit, and then no pool
    waiting_list: bool
    provider_id: str | None
    sessions: tuple[Session, ...]


class SessionScheduled(Event):
    """A new session, or one that moved."""

    stored_type: ClassVar[str] = "cohort.session-scheduled.v1"
    session: Session


class SessionCancelled(Event):
    """Its marks stop counting and stay on file."""

    stored_type: ClassVar[str] = "cohort.session-cancelled.v1"
    session_id: str
    reason_code: str


CohortEvent: TypeAlias = CohortOpened | SessionScheduled | SessionCancelled


# State


class Planned(Value):
    """A session as it stands; `cancelled` is the reason code, None while it is on."""

    session: Session
    cancelled: str | None = None


class Cohort(Value):
    """A cohort as it stands. `sessions` by id; `provider_ids` are all who post or posted a register here; `opening`
    is a fingerprint of what it was opened with."""

    cohort_id: str
    programme_id: str
    programme_version: int
    zone: str
    starts_on: date
    ends_on: date
    capacity: int | None
    waiting_list: bool
    provider_id: str | None
    sessions: dict[str, Planned]
    provider_ids: tuple[str, ...]
    opening: str


def evolve(state: Cohort | None, event: CohortEvent, version: int) -> Cohort | None:
    if isinstance(event, CohortOpened):
        said: dict[str, Any] = {name: getattr(event, name) for name in type(event).model_fields}
        sessions = {s.session_id: Planned(session=s) for s in event.sessions}
        providers = _providers(event.provider_id, sessions)
        return Cohort(
            **(said | {"sessions": sessions}), provider_ids=providers, opening=_fingerprint(event.model_dump_json())
        )
    assert state is not None, "a cohort's stream begins with its opening"
    match event:
        case SessionScheduled(session=session):
            sessions = state.sessions | {session.session_id: Planned(session=session)}
            everybody = (*state.provider_ids, *_providers(None, sessions))
            return state.model_copy(update={"sessions": sessions, "provider_ids": tuple(dict.fromkeys(everybody))})
        case SessionCancelled(session_id=session_id, reason_code=reason_code):
            cancelled = state.sessions[session_id].model_copy(update={"cancelled": reason_code})
            return state.model_copy(update={"sessions": state.sessions | {session_id: cancelled}})
        case _:
            assert_never(event)


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _providers(of_cohort: str | None, sessions: dict[str, Planned]) -> tuple[str, ...]:
    named = ([of_cohort] if of_cohort else []) + [p.session.provider_id for p in sessions.values()]
    return tuple(dict.fromkeys(named))


# Commands


class OpenCohort(Command):
    cohort_id: str
    programme_id: str
    programme_version: int
    zone: str
    starts_on: date
    ends_on: date
    capacity: int | None
    waiting_list: bool
    provider_id: str | None
    sessions: tuple[Session, ...]


class ScheduleSession(Command):
    """Adds the session, or moves the one that has its id and is still to come."""

    session: Session


class CancelSession(Command):
    session_id: str
    reason_code: str


CohortCommand: TypeAlias = OpenCohort | ScheduleSession | CancelSession

NOT_OPENED: Final = Refusal("cohort-unknown", "there is no such cohort: open it first")


# Decide


def decide(command: CohortCommand, state: Cohort | None, now: datetime) -> Sequence[CohortEvent] | Refusal:
    if isinstance(command, OpenCohort):
        return _open(command, state)
    if state is None:
        return NOT_OPENED
    match command:
        case ScheduleSession(session=session):
            return _schedule(session, state, now)
        case CancelSession():
            return _cancel(command, state)
        case _:
            assert_never(command)


def _open(command: OpenCohort, state: Cohort | None) -> Sequence[CohortEvent] | Refusal:
    opened = CohortOpened(**{name: getattr(command, name) for name in type(command).model_fields})
    if state is None:
        return [opened]
    # Against what it was opened with, not as it stands: the same opening again is harmless though sessions moved.
    if state.opening == _fingerprint(opened.model_dump_json()):
        return []
    return Refusal(
        "cohort-differs",
        f"{command.cohort_id} is open already and differs: change its sessions with ScheduleSessions and "
        "CancelSessions, or open another cohort",
        conflict=True,
    )


def _schedule(session: Session, state: Cohort, now: datetime) -> Sequence[CohortEvent] | Refusal:
    planned = state.sessions.get(session.session_id)
    if planned is None and len(state.sessions) >= SESSIONS_MAX:
        return Refusal("too-many-sessions", f"a cohort has at most {SESSIONS_MAX} sessions: open another cohort")
    if planned is not None:
        if planned.cancelled is not None:
            return Refusal("session-cancelled", "this session was cancelled: schedule one with another id")
        if planned.session == session:
            return []
        # From its day on it may be marked: of whoever was enrolled on that day, which on another might be others, and
        # moved to a day still to come it would count before it was held, and its marks could not be corrected.
        if planned.session.on != session.on and planned.session.on <= civil_date(now, state.zone):
            return Refusal("session-held", "this session's day has come: cancel it and schedule one with another id")
    if not state.starts_on <= session.on <= state.ends_on:
        return invalid(("session.on", f"must be from {state.starts_on} to {state.ends_on}, the cohort's days"))
    return [SessionScheduled(session=session)]


def _cancel(command: CancelSession, state: Cohort) -> Sequence[CohortEvent] | Refusal:
    planned = state.sessions.get(command.session_id)
    if planned is None:
        return Refusal("session-unknown", "the cohort has no such session: look at its sessions")
    # Also afterwards: that the trainer never came is often known only then.
    return (
        [] if planned.cancelled else [SessionCancelled(session_id=command.session_id, reason_code=command.reason_code)]
    )


COHORT: Decider[Cohort | None, CohortCommand, CohortEvent] = Decider(
    category=CATEGORY,
    events=(CohortOpened, SessionScheduled, SessionCancelled),
    initial=None,
    evolve=evolve,
    decide=decide,
    events_max=COHORT_EVENTS_MAX,
)
