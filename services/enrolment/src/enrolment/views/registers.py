"""Registers, read: what a provider has to fill in, what stands, and what is outstanding.

Who is expected in a session is who was enrolled on its day: the same words as when a mark is decided.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from enrolment.domain.attendance import Mark, Unit
from enrolment.domain.cohort import Cohort, Session
from enrolment.domain.enrolment import Enrolment
from enrolment.domain.limits import ANSWER_ROWS_MAX
from enrolment.domain.values import civil_date
from enrolment.views.cohorts import posted_cohort, posted_cohorts
from enrolment.views.enrolments import of_cohorts, open_references
from eventcore.personal import Erased
from servicekit.errors import FailedPrecondition, NotFound
from servicekit.kernel import Kernel
from servicekit.scope import Scope

T = TypeVar("T")


@dataclass(frozen=True)
class Line:
    """A learner in a session's register. `current` None: not marked yet."""

    session: Session
    enrolment: Enrolment
    current: Mark | None


@dataclass(frozen=True)
class Marked:
    """A unit of a learner: every value, the oldest first; the last one stands."""

    enrolment: Enrolment
    values: tuple[Mark, ...]


@dataclass(frozen=True)
class Outstanding:
    """A session that was held and whose register has gaps."""

    cohort_id: str
    session: Session
    expected: int
    unmarked_person_ids: tuple[str, ...]


async def template(
    kernel: Kernel, scope: Scope, *, cohort_id: str, provider_id: str, session_ids: Collection[str]
) -> list[Line]:
    """A line for every session of the provider (of those named, if any) and every learner enrolled on its day, in the
    sessions' order. Raises NotFound for a cohort or session that is not the provider's, or the provider not the
    caller's."""
    cohort = await _cohort(kernel, scope, cohort_id, provider_id)
    _must_be_own(cohort, provider_id, session_ids)
    enrolments = await of_cohorts(kernel.reader, [cohort_id])
    sessions = [s for s in _sessions(cohort, provider_id) if not session_ids or s.session_id in session_ids]
    return _bounded([line for session in sessions for line in _lines(session, enrolments)])


async def register(kernel: Kernel, scope: Scope, *, cohort_id: str, provider_id: str, session_id: str) -> list[Marked]:
    """Everything posted for the provider (empty: for any), or for one session of it; cancelled sessions' marks too.
    Raises NotFound as `template` does."""
    cohort = await _cohort(kernel, scope, cohort_id, provider_id)
    _must_be_own(cohort, provider_id, [session_id] if session_id else [])
    own = {p.session.session_id for p in cohort.sessions.values() if provider_id in ("", p.session.provider_id)}
    return _bounded(
        [
            Marked(enrolment, values)
            for enrolment in await of_cohorts(kernel.reader, [cohort_id])
            for values in enrolment.marks.values()
            if _in_register(values[-1], own, provider_id, session_id)
        ]
    )


async def outstanding(
    kernel: Kernel, scope: Scope, *, cohort_id: str, provider_id: str, until: date | None
) -> list[Outstanding]:
    """The sessions of the provider up to `until` (None, and at the latest: today in each cohort's zone) whose
    registers have gaps; of one cohort, or of every one the provider posts for. Raises NotFound as `template` does."""
    if cohort_id:
        cohorts = {cohort_id: await _cohort(kernel, scope, cohort_id, provider_id)}
    else:
        cohorts = await posted_cohorts(kernel.reader, scope, provider_id)
    # Enrolments are many and large: only those of cohorts that have held a session are loaded.
    held = {
        each: sessions
        for each, cohort in sorted(cohorts.items())
        if (sessions := _held(cohort, provider_id, civil_date(kernel.clock(), cohort.zone), until))
    }
    by_cohort: dict[str, list[Enrolment]] = {}
    for enrolment in await of_cohorts(kernel.reader, held.keys()):
        by_cohort.setdefault(enrolment.cohort_id, []).append(enrolment)
    found = []
    for each, sessions in held.items():
        for session in sessions:
            lines = list(_lines(session, by_cohort.get(each, ())))
            unmarked = tuple(line.enrolment.person_id for line in lines if line.current is None)
            if unmarked:
                found.append(Outstanding(each, session, len(lines), unmarked))
    _bounded([person_id for each in found for person_id in each.unmarked_person_ids])
    return found


async def _cohort(kernel: Kernel, scope: Scope, cohort_id: str, provider_id: str) -> Cohort:
    cohort = await posted_cohort(kernel.reader, scope, cohort_id, provider_id)
    if cohort is None:
        raise NotFound("cohort")
    return cohort


def _must_be_own(cohort: Cohort, provider_id: str, session_ids: Collection[str]) -> None:
    """Another provider's session looks exactly like one that does not exist."""
    for session_id in session_ids:
        planned = cohort.sessions.get(session_id)
        if planned is None or provider_id not in ("", planned.session.provider_id):
            raise NotFound("session")


async def references_of(kernel: Kernel, enrolments: Collection[Enrolment], provider_id: str) -> dict[str, str | Erased]:
    """The provider's own words for these learners, by person; those without one are left out."""
    different = list({enrolment.person_id: enrolment for enrolment in enrolments}.values())
    opened = await open_references(kernel, different)
    return {
        enrolment.person_id: named[provider_id]
        for enrolment, named in zip(different, opened, strict=True)
        if provider_id in named
    }


def _sessions(cohort: Cohort, provider_id: str) -> list[Session]:
    """The sessions that are on, of the provider (empty: of any), in the order of their days."""
    on = [p.session for p in cohort.sessions.values() if p.cancelled is None]
    own = [session for session in on if provider_id in ("", session.provider_id)]
    return sorted(own, key=lambda session: (session.on, session.start, session.session_id))


def _held(cohort: Cohort, provider_id: str, today: date, until: date | None) -> list[Session]:
    """The sessions of the provider that are due by `until`, and at the latest today."""
    last = min(until or today, today)
    return [session for session in _sessions(cohort, provider_id) if session.on <= last]


def _lines(session: Session, enrolments: Sequence[Enrolment]) -> Iterator[Line]:
    key = Unit(session_id=session.session_id).key
    for enrolment in enrolments:
        if enrolment.enrolled_on(session.on):
            yield Line(session, enrolment, enrolment.standing(key))


def _in_register(mark: Mark, own_sessions: Collection[str], provider_id: str, session_id: str) -> bool:
    if mark.unit.session_id is not None:
        return mark.unit.session_id in own_sessions and session_id in ("", mark.unit.session_id)
    return not session_id and provider_id in ("", mark.provider_id)


def _bounded(rows: list[T]) -> list[T]:
    if len(rows) > ANSWER_ROWS_MAX:
        raise FailedPrecondition(
            "too-many-rows",
            f"the answer has {len(rows)} rows, more than {ANSWER_ROWS_MAX}: ask for one cohort, or for single sessions",
        )
    return rows
