"""Opening cohorts from their programmes, and scheduling and cancelling their sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from catalogue.model import Programme
from catalogue.periods import last_day
from enrolment.domain.cohort import (
    COHORT,
    NOT_OPENED,
    CancelSession,
    Cohort,
    CohortCommand,
    OpenCohort,
    ScheduleSession,
    Session,
    cohort_stream,
)
from enrolment.domain.limits import CAPACITY_MAX
from enrolment.domain.programme import PROGRAMME, programme_stream
from enrolment.domain.timetable import faults, from_programme
from eventcore.decider import Refusal, invalid
from eventcore.execute import Request
from eventcore.outcome import Outcome
from servicekit.kernel import NOT_FOUND, Kernel
from servicekit.scope import Scope


@dataclass(frozen=True)
class OpenWish:
    """`capacity` None: the programme's; 0: no limit. No sessions: the programme's timetable. A session without a
    provider is the cohort's."""

    command_id: str
    cohort_id: str
    programme_id: str
    programme_version: int
    starts_on: date
    ends_on: date | None
    capacity: int | None
    waiting_list: bool | None
    provider_id: str
    sessions: tuple[Session, ...]


@dataclass(frozen=True)
class ScheduleWish:
    command_id: str
    cohort_id: str
    session: Session


@dataclass(frozen=True)
class CancelWish:
    command_id: str
    cohort_id: str
    session_id: str
    reason_code: str


async def open_cohorts(
    kernel: Kernel, scope: Scope, wishes: Sequence[OpenWish | Refusal]
) -> list[Outcome[Cohort | None]]:
    named = [(w.programme_id, w.programme_version) for w in wishes if isinstance(w, OpenWish)]
    programmes = await programmes_of(kernel, named)

    def request(wish: OpenWish | Refusal) -> Request[CohortCommand] | Refusal:
        if isinstance(wish, Refusal):
            return wish
        if not scope.unrestricted:
            return NOT_FOUND
        programme = programmes.get((wish.programme_id, wish.programme_version))
        if programme is None:
            fields = (("programme_version", "is not loaded"),)
            return Refusal("programme-unknown", "there is no such programme version: load it first", fields)
        command = _opening(wish, programme)
        if isinstance(command, Refusal):
            return command
        return kernel.request(cohort_stream(wish.cohort_id), command, wish.command_id)

    return await kernel.execute(COHORT, [request(wish) for wish in wishes])


def _opening(wish: OpenWish, programme: Programme) -> OpenCohort | Refusal:
    """What the wish leaves open comes from the programme."""
    ends_on = wish.ends_on or last_day(wish.starts_on, programme.duration.max_months)
    if ends_on < wish.starts_on:
        return invalid(("ends_on", "must not be before starts_on"))
    sessions = tuple(_owned(session, wish.provider_id) for session in wish.sessions)
    sessions = sessions or from_programme(programme, wish.starts_on, wish.provider_id)
    found = [
        (f"sessions[{i}].{field}", text) for i, each in enumerate(sessions) for field, text in faults(each, programme)
    ]
    found += [
        (f"sessions[{i}].on", f"must be from {wish.starts_on} to {ends_on}, the cohort's days")
        for i, each in enumerate(sessions)
        if not wish.starts_on <= each.on <= ends_on
    ]
    capacity = programme.cohort.capacity if wish.capacity is None else wish.capacity
    # The catalogue's own bound is wider: what was loaded under it stays readable.
    if capacity is not None and capacity > CAPACITY_MAX:
        text = f"must be at most {CAPACITY_MAX}, and the programme says {capacity}: state it, or 0 for no limit"
        found.append(("capacity", text))
    if found:
        return invalid(*found)
    return OpenCohort(
        cohort_id=wish.cohort_id,
        programme_id=wish.programme_id,
        programme_version=wish.programme_version,
        zone=programme.zone,
        starts_on=wish.starts_on,
        ends_on=ends_on,
        capacity=capacity or None,
        waiting_list=programme.cohort.waiting_list if wish.waiting_list is None else wish.waiting_list,
        provider_id=wish.provider_id or None,
        sessions=sessions,
    )


async def schedule_sessions(
    kernel: Kernel, scope: Scope, wishes: Sequence[ScheduleWish | Refusal]
) -> list[Outcome[Cohort | None]]:
    named = [w.cohort_id for w in wishes if isinstance(w, ScheduleWish)]
    cohorts = await cohorts_of(kernel, named)
    programmes = await programmes_of(kernel, [(c.programme_id, c.programme_version) for c in cohorts.values()])

    def request(wish: ScheduleWish | Refusal) -> Request[CohortCommand] | Refusal:
        if isinstance(wish, Refusal):
            return wish
        if not scope.unrestricted:
            return NOT_FOUND
        cohort = cohorts.get(wish.cohort_id)
        if cohort is None:
            return NOT_OPENED
        session = _owned(wish.session, cohort.provider_id or "")
        programme = programmes[cohort.programme_id, cohort.programme_version]
        found = [(f"session.{field}", text) for field, text in faults(session, programme)]
        if found:
            return invalid(*found)
        return kernel.request(cohort_stream(wish.cohort_id), ScheduleSession(session=session), wish.command_id)

    return await kernel.execute(COHORT, [request(wish) for wish in wishes])


async def cancel_sessions(
    kernel: Kernel, scope: Scope, wishes: Sequence[CancelWish | Refusal]
) -> list[Outcome[Cohort | None]]:
    def request(wish: CancelWish | Refusal) -> Request[CohortCommand] | Refusal:
        if isinstance(wish, Refusal):
            return wish
        if not scope.unrestricted:
            return NOT_FOUND
        command = CancelSession(session_id=wish.session_id, reason_code=wish.reason_code)
        return kernel.request(cohort_stream(wish.cohort_id), command, wish.command_id)

    return await kernel.execute(COHORT, [request(wish) for wish in wishes])


async def cohorts_of(kernel: Kernel, cohort_ids: Sequence[str]) -> dict[str, Cohort]:
    """These cohorts as they stand in the store, in one read; unknown ones are left out."""
    ids = list(dict.fromkeys(cohort_ids))
    states = await kernel.executor.states(COHORT, [cohort_stream(each) for each in ids])
    found = {each: states[cohort_stream(each)][1] for each in ids}
    return {each: cohort for each, cohort in found.items() if cohort is not None}


async def programmes_of(kernel: Kernel, versions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Programme]:
    """These programme versions as they stand in the store, in one read; unknown ones are left out."""
    wanted = list(dict.fromkeys(versions))
    states = await kernel.executor.states(PROGRAMME, [programme_stream(*each) for each in wanted])
    found = {each: states[programme_stream(*each)][1].programme for each in wanted}
    return {each: programme for each, programme in found.items() if programme is not None}


def _owned(session: Session, provider_id: str) -> Session:
    return session if session.provider_id else session.model_copy(update={"provider_id": provider_id})
