"""Posting registers: many rows, a handful of reads, one answer a row.

In this order for each row: whose session it is (another provider's looks like one that does not exist), who the
learner is, and then one decision on their enrolment, which hears what speaks against the unit as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from catalogue.model import Programme
from enrolment.application.cohorts import cohorts_of, programmes_of
from enrolment.domain.attendance import Attended, Mark, Unscheduled
from enrolment.domain.cohort import Cohort
from enrolment.domain.enrolment import ENROLMENT, Enrolment, EnrolmentCommand, MarkAttendance, enrolment_stream
from enrolment.domain.register import Judged, record_of, session_of
from enrolment.domain.values import civil_date
from enrolment.views.enrolments import by_reference
from eventcore.decider import Refusal
from eventcore.execute import Request
from eventcore.outcome import Outcome
from servicekit.kernel import NOT_FOUND, Kernel
from servicekit.scope import Scope

Persons: TypeAlias = Mapping[str, Mapping[str, Sequence[str]]]  # by cohort and the provider's reference

UNKNOWN_REFERENCE: Final = Refusal(
    "not-enrolled",
    "no learner of this cohort has this reference of yours: look at the register template",
    (("learner_reference", "names nobody"),),
)
AMBIGUOUS_REFERENCE: Final = Refusal(
    "reference-ambiguous",
    "several learners of this cohort have this reference of yours: name the learner by person_id",
    (("learner_reference", "names more than one learner"),),
)


@dataclass(frozen=True)
class RegisterRow:
    """One of `person_id` and `learner_reference`, one of `session_id` and `unscheduled`; the other is None."""

    command_id: str
    cohort_id: str
    person_id: str | None
    learner_reference: str | None
    session_id: str | None
    unscheduled: Unscheduled | None
    value: Attended
    replaces: int | None
    reason_code: str | None


@dataclass(frozen=True)
class RegisterAnswer:
    """`current` is what stands after the row; None when nothing does or the row could not be placed."""

    outcome: Outcome[Enrolment | None]
    current: Mark | None


async def post_attendance(
    kernel: Kernel, scope: Scope, provider_id: str, rows: Sequence[RegisterRow | Refusal], *, dry_run: bool
) -> list[RegisterAnswer]:
    """Each row of the provider's register."""
    given = [row for row in rows if isinstance(row, RegisterRow)]
    mine = given if scope.sees_provider(provider_id) else []
    cohorts = {
        cohort_id: cohort
        for cohort_id, cohort in (await cohorts_of(kernel, [row.cohort_id for row in mine])).items()
        if provider_id in cohort.provider_ids
    }
    programmes = await programmes_of(kernel, [(c.programme_id, c.programme_version) for c in cohorts.values()])
    persons = await _persons(kernel, provider_id, [row for row in mine if row.cohort_id in cohorts])

    def request(row: RegisterRow | Refusal) -> Request[EnrolmentCommand] | Refusal:
        if isinstance(row, Refusal):
            return row
        cohort = cohorts.get(row.cohort_id)
        if cohort is None:
            return NOT_FOUND
        programme = programmes[cohort.programme_id, cohort.programme_version]
        judged = _judged(kernel, cohort, programme, provider_id, row)
        if isinstance(judged, Refusal):
            return judged
        person_id = _person(persons, row)
        if isinstance(person_id, Refusal):
            return person_id
        command = MarkAttendance(
            unit=judged.unit,
            value=row.value,
            provider_id=provider_id,
            replaces=row.replaces,
            reason_code=row.reason_code,
            on=judged.on,
            objection=judged.objection,
            cohort_starts_on=cohort.starts_on,
            max_months=programme.duration.max_months,
            by=scope.actor,
        )
        return kernel.request(enrolment_stream(row.cohort_id, person_id), command, row.command_id)

    requests = [request(row) for row in rows]
    outcomes = await kernel.execute(ENROLMENT, requests, dry_run=dry_run)
    return [
        RegisterAnswer(outcome, None if isinstance(asked, Refusal) else _current(asked.command, outcome, provider_id))
        for asked, outcome in zip(requests, outcomes, strict=True)
    ]


def _judged(
    kernel: Kernel, cohort: Cohort, programme: Programme, provider_id: str, row: RegisterRow
) -> Judged | Refusal:
    today = civil_date(kernel.clock(), cohort.zone)
    if row.unscheduled is not None:
        return record_of(cohort, programme, row.unscheduled, row.value, today)
    planned = cohort.sessions.get(row.session_id or "")
    if planned is None or planned.session.provider_id != provider_id:
        return NOT_FOUND
    return session_of(planned, programme, row.value, today)


async def _persons(kernel: Kernel, provider_id: str, rows: Sequence[RegisterRow]) -> Persons:
    """Whom the provider's references name, in the cohorts whose rows use them."""
    cohort_ids = {row.cohort_id for row in rows if row.learner_reference is not None}
    return {cohort_id: await by_reference(kernel, cohort_id, provider_id) for cohort_id in sorted(cohort_ids)}


def _person(persons: Persons, row: RegisterRow) -> str | Refusal:
    if row.learner_reference is None:
        return row.person_id or ""
    named = persons[row.cohort_id].get(row.learner_reference, ())
    match named:
        case [person_id]:
            return person_id
        case []:
            return UNKNOWN_REFERENCE
        case _:
            return AMBIGUOUS_REFERENCE


def _current(command: EnrolmentCommand, outcome: Outcome[Enrolment | None], provider_id: str) -> Mark | None:
    assert isinstance(command, MarkAttendance)
    mark = outcome.state.standing(command.unit.key) if outcome.state is not None else None
    # A record id that another provider uses: what stands there is not the caller's to see.
    hidden = mark is not None and mark.unit.unscheduled is not None and mark.provider_id != provider_id
    return None if hidden else mark
