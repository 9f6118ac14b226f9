"""Asking for places and giving them up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from enrolment.application.cohorts import cohorts_of
from enrolment.application.people import sealing
from enrolment.domain.cohort import NOT_OPENED, Cohort
from enrolment.domain.enrolment import (
    ENROLMENT,
    Enrolment,
    EnrolmentCommand,
    Reference,
    RequestEnrolment,
    Withdraw,
    enrolment_stream,
)
from enrolment.domain.person import PERSON, PERSON_ERASED, person_stream
from enrolment.domain.placing import join
from enrolment.domain.pool import POOL, PoolCommand, pool_stream
from eventcore.decider import Refusal
from eventcore.execute import Request
from eventcore.outcome import Outcome
from servicekit.kernel import NOT_FOUND, Kernel
from servicekit.scope import Scope


@dataclass(frozen=True)
class RequestWish:
    """`references` are (provider, its word for the learner), in the clear. `effective_on` None: today."""

    command_id: str
    cohort_id: str
    person_id: str
    employer_id: str
    references: tuple[tuple[str, str], ...]
    effective_on: date | None


@dataclass(frozen=True)
class WithdrawWish:
    command_id: str
    cohort_id: str
    person_id: str
    effective_on: date | None
    reason_code: str


async def request_enrolments(
    kernel: Kernel, scope: Scope, wishes: Sequence[RequestWish | Refusal]
) -> list[Outcome[Enrolment | None]]:
    named = [wish for wish in wishes if isinstance(wish, RequestWish)]
    cohorts = await cohorts_of(kernel, [wish.cohort_id for wish in named])
    people = await kernel.executor.states(PERSON, [person_stream(wish.person_id) for wish in named])

    async def request(wish: RequestWish) -> Request[EnrolmentCommand] | Refusal:
        cohort = cohorts.get(wish.cohort_id)
        if not scope.sees_person(wish.person_id):
            return NOT_FOUND
        if cohort is None:
            return NOT_OPENED
        person = people[person_stream(wish.person_id)][1]
        if person.erased and (wish.references or not person.registered):
            # Nobody can register them any more, and nothing personal is sealed of them again. What they were enrolled
            # for without a reference goes on, under their id.
            return PERSON_ERASED
        if not person.registered:
            fields = (("person_id", "is nobody's"),)
            return Refusal("person-unknown", "nobody is registered with this id: register the person first", fields)
        command = RequestEnrolment(
            cohort_id=wish.cohort_id,
            person_id=wish.person_id,
            employer_id=wish.employer_id or None,
            references=tuple([await _reference(kernel, wish.person_id, *each) for each in wish.references]),
            effective_on=wish.effective_on,
            programme_id=cohort.programme_id,
            programme_version=cohort.programme_version,
            limited=cohort.capacity is not None,
            cohort_ends_on=cohort.ends_on,
            zone=cohort.zone,
            may_backdate="importer" in scope.roles,
        )
        return kernel.request(enrolment_stream(wish.cohort_id, wish.person_id), command, wish.command_id)

    outcomes = await kernel.execute(ENROLMENT, await sealing(wishes, request))
    await _ask_pools(kernel, cohorts, outcomes)
    return outcomes


async def _ask_pools(kernel: Kernel, cohorts: dict[str, Cohort], outcomes: Sequence[Outcome[Enrolment | None]]) -> None:
    """Puts the requests to the pools in the order of the rows, so that the queue is in the order of asking.

    If this is lost in a crash, the evaluation `places` does it. The outcomes are the pool's own affair: the
    evaluation carries them to the enrolments.
    """
    asking = {o.stream: o.state for o in outcomes if o.state is not None and o.state.status == "requested"}
    joins: list[Request[PoolCommand] | Refusal] = [
        kernel.request(pool_stream(enrolment.cohort_id), join(enrolment, cohorts[enrolment.cohort_id]))
        for enrolment in asking.values()
        if enrolment.limited
    ]
    if joins:
        await kernel.execute(POOL, joins)


async def withdraw_enrolments(
    kernel: Kernel, scope: Scope, wishes: Sequence[WithdrawWish | Refusal]
) -> list[Outcome[Enrolment | None]]:
    """The place is given back by the evaluation `places`, which also gives it to the first who waits."""
    named = [wish for wish in wishes if isinstance(wish, WithdrawWish)]
    cohorts = await cohorts_of(kernel, [wish.cohort_id for wish in named])
    # To a learner, a cohort they never asked for looks like one that does not exist.
    streams = [] if scope.unrestricted else [enrolment_stream(wish.cohort_id, wish.person_id) for wish in named]
    asked = await kernel.executor.states(ENROLMENT, streams)
    strangers = {stream for stream, (_, enrolment) in asked.items() if enrolment is None}

    def request(wish: WithdrawWish | Refusal) -> Request[EnrolmentCommand] | Refusal:
        if isinstance(wish, Refusal):
            return wish
        cohort = cohorts.get(wish.cohort_id)
        if cohort is None or not scope.sees_person(wish.person_id):
            return NOT_FOUND
        if enrolment_stream(wish.cohort_id, wish.person_id) in strangers:
            return NOT_FOUND
        command = Withdraw(
            effective_on=wish.effective_on,
            reason_code=wish.reason_code,
            cohort_ends_on=cohort.ends_on,
            zone=cohort.zone,
            may_backdate="importer" in scope.roles,
        )
        return kernel.request(enrolment_stream(wish.cohort_id, wish.person_id), command, wish.command_id)

    return await kernel.execute(ENROLMENT, [request(wish) for wish in wishes])


async def _reference(kernel: Kernel, person_id: str, provider_id: str, reference: str) -> Reference:
    return Reference(provider_id=provider_id, reference=await kernel.keyring.seal(person_id, "reference", reference))
