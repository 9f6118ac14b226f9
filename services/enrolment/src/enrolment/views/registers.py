"""Registers, read: what a provider has to fill in, what stands, and what is outstanding.

Who is expected in a session is who was enrolled on its day: the same words as when a mark is decided.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from enrolment.domain.attendance import Mark, Unit
from enrolment.domain.cohort import Cohort, Session
from enrolment.domain.enrolment import Enrolment
from enrolment.views.enrolments import of_cohorts, open_reference
from servicekit.errors import FailedPrecondition
from servicekit.kernel import Kernel

T = TypeVar("T")
ANSWER_ROWS_MAX = 10_000  # of one answer: below gRPC's 4 MiB


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


async def template(kernel: Kernel, cohort: Cohort, provider_id: str, session_ids: Collection[str]) -> list[Line]:
    """A line for every session of the provider (of those named, if any) and every learner enrolled on its day, in the
    sessions' order. The caller must be allowed to see the cohort and to speak for the provider."""
    enrolments = await of_cohorts(kernel.reader, [cohort.cohort_id])
    sessions = [s for s in sessions_of(cohort, provider_id) if not session_ids or s.session_id in session_ids]
    return _bounded([line for session in sessions for line in _lines(session, enrolments)])


async def register(kernel: Kernel, cohort: Cohort, provider_id: str, session_id: str) -> list[Marked]:
    """Everything posted for the provider (empty: for any), or for one session of it; cancelled sessions' marks too."""
    own = {p.session.session_id for p in cohort.sessions.values() if provider_id in ("", p.session.provider_id)}
    return _bounded(
        [
            Marked(enrolment, values)
            for enrolment in await of_cohorts(kernel.reader, [cohort.cohort_id])
            for values in enrolment.marks.values()
            if _in_register(values[-1], own, provider_id, session_id)
        ]
    )


async def outstanding(
    kernel: Kernel, cohorts: Mapping[str, Cohort], provider_id: str, until: Mapping[str, date]
) -> list[Outstanding]:
    """The sessions of the provider (empty: of any) up to a civil date, by cohort, whose registers have gaps."""
    by_cohort: dict[str, list[Enrolment]] = {}
    for enrolment in await of_cohorts(kernel.reader, cohorts.keys()):
        by_cohort.setdefault(enrolment.cohort_id, []).append(enrolment)
    found = []
    for cohort_id, cohort in sorted(cohorts.items()):
        for session in sessions_of(cohort, provider_id):
            lines = list(_lines(session, by_cohort.get(cohort_id, ()))) if session.on <= until[cohort_id] else []
            unmarked = tuple(line.enrolment.person_id for line in lines if line.current is None)
            if unmarked:
                found.append(Outstanding(cohort_id, session, len(lines), unmarked))
    _bounded([person_id for each in found for person_id in each.unmarked_person_ids])
    return found


async def references_of(kernel: Kernel, enrolments: Collection[Enrolment], provider_id: str) -> dict[str, str]:
    """The provider's own words for these learners, by person; those without one are left out."""
    return {
        enrolment.person_id: await open_reference(kernel, reference)
        for enrolment in enrolments
        for reference in enrolment.references
        if reference.provider_id == provider_id
    }


def sessions_of(cohort: Cohort, provider_id: str) -> list[Session]:
    """The sessions that are on, of the provider (empty: of any), in the order of their days."""
    on = [p.session for p in cohort.sessions.values() if p.cancelled is None]
    own = [session for session in on if provider_id in ("", session.provider_id)]
    return sorted(own, key=lambda session: (session.on, session.start, session.session_id))


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
