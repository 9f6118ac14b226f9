"""Sends a plan through the public contracts, in batches, a few at a time; a second run finds the first one's rows.

Each row's command id is made of what the row is about, so a repeat after a kill gets the first answer and stores
nothing, and a row that says something else this time is a conflict. That alone makes the import restartable; nothing
is kept on this side.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import grpc

from catalogue.proto import programme_to_proto
from credence.accreditation.v1 import assessments_pb2, assessments_pb2_grpc
from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import (
    catalogue_pb2,
    catalogue_pb2_grpc,
    cohorts_pb2,
    cohorts_pb2_grpc,
    enrolments_pb2,
    enrolments_pb2_grpc,
    people_pb2,
    people_pb2_grpc,
)
from credence_cli.client import CallFailed, Client
from credence_cli.exits import CommandFailed, Exit
from credence_cli.limits import ROWS_MAX
from credence_cli.oulad.plan import Category, Cohort, Enrolment, Key, Plan, Work
from credence_cli.progress import Meter, Report

IN_FLIGHT: Final = 4
# A token names every stream of its batch, and accreditation looks for each while it waits: a few hundred are light.
GROUP_LEARNERS: Final = 200
# Longer than any server of the platform is away in its fault model (60 s), so that a restart is outlived.
PATIENCE_SECONDS: Final = 150.0
# Facts on their way from one service to the other arrive as fast as the slower one folds, and no faster.
ARRIVAL_SECONDS: Final = 900.0
CALL_SECONDS: Final = 60.0
_PAUSES_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

_STORED: Final = {outcome_pb2.OUTCOME_STATUS_ACCEPTED}
_THERE: Final = {outcome_pb2.OUTCOME_STATUS_REPLAYED, outcome_pb2.OUTCOME_STATUS_UNCHANGED}
_UNSETTLED: Final = {outcome_pb2.OUTCOME_STATUS_UNKNOWN, outcome_pb2.OUTCOME_STATUS_ABORTED}
# Every row names only what this run has seen stored, so these can only mean that it has not arrived there yet.
_NOT_YET: Final = frozenset({"not-found", "not-ready", "not-caught-up"})

M = TypeVar("M")
Send = Callable[[Sequence[M]], Awaitable[outcome_pb2.BatchResponse]]


@dataclass(frozen=True, slots=True)
class Row(Generic[M]):
    """One row to send, and what it is about. `step` tells several rows of one key apart."""

    message: M
    category: Category
    key: Key
    where: str
    step: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that the platform did not take. `conflict`: it holds something else instead."""

    category: Category
    key: Key
    where: str
    step: str
    code: str
    message: str
    conflict: bool


@dataclass
class Tally:
    """One category's rows: newly stored, there already, not taken; and how long they took."""

    stored: int = 0
    already: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        return self.stored + self.already + self.refused.total()


@dataclass
class Imported:
    """What became of a plan. `tokens`, by cohort, name everything that was written."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    tokens: dict[str, list[str]] = field(default_factory=dict)

    def lost(self, category: Category) -> set[Key]:
        """What is not there; with a conflict something is, only not the same."""
        return {refused.key for refused in self.refused if refused.category == category and not refused.conflict}


@dataclass
class _Group:
    """Learners of one cohort whose enrolments travel in one batch, so that one token tells of all of them."""

    enrolments: tuple[Enrolment, ...]
    token: str = ""


@dataclass
class Importer:
    """Sends plans as the client's identity. Every wait of one batch has a bound: `patience_seconds` for a server that
    is away, `arrival_seconds` for what one service has not heard from the other yet."""

    client: Client
    report: Report
    in_flight: int = IN_FLIGHT
    patience_seconds: float = PATIENCE_SECONDS
    arrival_seconds: float = ARRIVAL_SECONDS
    pauses_seconds: Sequence[float] = _PAUSES_SECONDS
    result: Imported = field(default_factory=Imported)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.in_flight)

    async def run(self, plan: Plan) -> Imported:
        """Everything, in an order in which each row finds what it names.

        Raises CommandFailed where a programme or a cohort is refused, or a server stays away; what was acknowledged
        until then is kept, and `result` says what it is.
        """
        await self._programmes(plan)
        await self._cohorts(plan.cohorts)
        await self._people(plan.people)
        groups = _groups(plan.enrolments)
        await self._enrolments(groups)
        # Before the results: whether a submission still counts is decided by what is known of the enrolment.
        await self._withdrawals(groups)
        await self._results(groups, plan)
        return self.result

    # -- the categories -----------------------------------------------------------------------------------------------

    async def _programmes(self, plan: Plan) -> None:
        stub = self.client.stub(catalogue_pb2_grpc.CatalogueServiceStub, "enrolment")
        rows = [
            Row(programme_to_proto(each), "programmes", (each.id, str(each.version)), "mapping")
            for each in plan.programmes
        ]

        async def send(messages: Sequence[Any]) -> outcome_pb2.BatchResponse:
            request = catalogue_pb2.LoadProgrammesRequest(programmes=messages)
            return await self.client.call(stub.LoadProgrammes, request, deadline=CALL_SECONDS)

        await self._all("programmes", [rows], send)
        self._require_none_refused("programmes", "another import may have used another mapping")

    async def _cohorts(self, cohorts: Sequence[Cohort]) -> None:
        stub = self.client.stub(cohorts_pb2_grpc.CohortServiceStub, "enrolment")

        async def send(messages: Sequence[cohorts_pb2.OpenCohort]) -> outcome_pb2.BatchResponse:
            request = cohorts_pb2.OpenCohortsRequest(rows=messages)
            return await self.client.call(stub.OpenCohorts, request, deadline=CALL_SECONDS)

        rows = [Row(_cohort(each), "cohorts", (each.cohort,), each.where) for each in cohorts]
        await self._all("cohorts", [rows], send)
        self._require_none_refused("cohorts", "it was opened before with other dates or another programme")

    async def _people(self, people: Sequence[str]) -> None:
        stub = self.client.stub(people_pb2_grpc.PeopleServiceStub, "enrolment")

        async def send(messages: Sequence[people_pb2.RegisterPerson]) -> outcome_pb2.BatchResponse:
            request = people_pb2.RegisterPeopleRequest(rows=messages)
            return await self.client.call(stub.RegisterPeople, request, deadline=CALL_SECONDS)

        rows: list[Row[people_pb2.RegisterPerson]] = [
            Row(people_pb2.RegisterPerson(command_id=command_id("register"), person_id=person), "people", (person,), "")
            for person in people
        ]
        await self._all("people", chunks(rows, ROWS_MAX), send)

    async def _enrolments(self, groups: Sequence[_Group]) -> None:
        stub = self.client.stub(enrolments_pb2_grpc.EnrolmentServiceStub, "enrolment")

        async def send(messages: Sequence[enrolments_pb2.RequestEnrolment]) -> outcome_pb2.BatchResponse:
            request = enrolments_pb2.RequestEnrolmentsRequest(rows=messages)
            return await self.client.call(stub.RequestEnrolments, request, deadline=CALL_SECONDS)

        batches = [[_enrolment(each) for each in group.enrolments] for group in groups]
        tokens = await self._all("enrolments", batches, send)
        for group, token in zip(groups, tokens, strict=True):
            group.token = token
            self._remember(group.enrolments[0].cohort, token)

    async def _withdrawals(self, groups: Sequence[_Group]) -> None:
        stub = self.client.stub(enrolments_pb2_grpc.EnrolmentServiceStub, "enrolment")
        lost = self.result.lost("enrolments")

        async def send(messages: Sequence[enrolments_pb2.WithdrawEnrolment]) -> outcome_pb2.BatchResponse:
            request = enrolments_pb2.WithdrawEnrolmentsRequest(rows=messages)
            return await self.client.call(stub.WithdrawEnrolments, request, deadline=CALL_SECONDS)

        batches = {
            i: [
                _withdrawal(each)
                for each in group.enrolments
                if each.withdrawn_on is not None
                and not self._unsent(lost, "withdrawals", (each.cohort, each.person), each.where)
            ]
            for i, group in enumerate(groups)
        }
        leaving = {i: rows for i, rows in batches.items() if rows}
        tokens = await self._all("withdrawals", list(leaving.values()), send)
        for i, token in zip(leaving, tokens, strict=True):
            # A withdrawal is a later version of the same enrolment: whoever has seen it has seen both.
            groups[i].token = token or groups[i].token
            self._remember(groups[i].enrolments[0].cohort, token)

    async def _results(self, groups: Sequence[_Group], plan: Plan) -> None:
        stub = self.client.stub(assessments_pb2_grpc.AssessmentServiceStub, "accreditation")
        lost = self.result.lost("enrolments")

        def sending(token: str) -> Send[assessments_pb2.RecordAssessment]:
            async def send(messages: Sequence[assessments_pb2.RecordAssessment]) -> outcome_pb2.BatchResponse:
                request = assessments_pb2.RecordAssessmentsRequest(rows=messages, token=token)
                return await self.client.call(stub.RecordAssessments, request, deadline=CALL_SECONDS)

            return send

        by_group = [list(_packed(self._learners(group, plan, lost))) for group in groups]

        async def one(group: _Group, batches: Sequence[Sequence[Row[Any]]], meter: Meter) -> None:
            cohort = group.enrolments[0].cohort
            # The first batch waits until the group's enrolments have arrived; after it, they have. One group waits at
            # a time: the waiting is work for the very service that is to catch up, and they arrive in order anyway.
            async with arrival:
                token = await self._batch(batches[0], sending(group.token), meter, awaits=True)
                self._remember(cohort, token)
            for token in await _gathered(self._batch(rows, sending(""), meter) for rows in batches[1:]):
                self._remember(cohort, token)

        arrival = asyncio.Lock()
        total = sum(len(rows) for batches in by_group for rows in batches)
        with self._metered("results", total) as meter:
            await _gathered(one(group, rows, meter) for group, rows in zip(groups, by_group, strict=True) if rows)

    def _learners(
        self, group: _Group, plan: Plan, lost: set[Key]
    ) -> Iterator[list[Row[assessments_pb2.RecordAssessment]]]:
        for enrolment in group.enrolments:
            rows: list[Row[assessments_pb2.RecordAssessment]] = []
            for work in plan.work.get((enrolment.cohort, enrolment.person), ()):
                if not self._unsent(lost, work.category, work.key, work.where):
                    rows += _steps(work)
            if rows:
                yield rows

    # -- sending ------------------------------------------------------------------------------------------------------

    async def _all(self, title: str, batches: Iterable[Sequence[Row[M]]], send: Send[M]) -> list[str]:
        """Every batch's token, in order."""
        batches = [batch for batch in batches if batch]
        with self._metered(title, sum(map(len, batches))) as meter:
            return await _gathered(self._batch(batch, send, meter) for batch in batches)

    async def _batch(self, rows: Sequence[Row[M]], send: Send[M], meter: Meter, *, awaits: bool = False) -> str:
        """Sends one batch until every row is answered for good, and gives its token.

        It is always sent again whole: a row whose outcome is unknown may be what a later row of its learner rests on,
        the rows that were stored are answered as repeats, and the last answer's token then names all of them.
        `awaits`: it carries a token, so the service answers once it has heard of what the token names.
        """
        async with self._slots:
            pauses, started, stored = self._pauses(), time.monotonic(), set[int]()
            while True:
                try:
                    answer = await send([row.message for row in rows])
                except CallFailed as failure:
                    if failure.exit_code is not Exit.UNAVAILABLE:
                        raise
                    # A service that waits in vain may say so too late: then it is the deadline that ends the wait.
                    late = awaits and failure.status is grpc.StatusCode.DEADLINE_EXCEEDED
                    problem, arriving = str(failure), late or failure.code in _NOT_YET
                else:
                    stored |= {outcome.row for outcome in answer.outcomes if outcome.status in _STORED}
                    unsettled = [o for o in answer.outcomes if o.status in _UNSETTLED or o.code in _NOT_YET]
                    if not unsettled:
                        self._record(rows, answer.outcomes, stored, meter)
                        return answer.token
                    problem = f"{len(unsettled)} rows without an answer, the first: {unsettled[0].message}"
                    arriving = all(o.code in _NOT_YET for o in unsettled)
                waited = time.monotonic() - started
                if waited >= (self.arrival_seconds if arriving else self.patience_seconds):
                    raise CommandFailed(
                        Exit.UNAVAILABLE,
                        f"{meter.title}: given up after {waited:.0f} s: {problem}",
                        ("what was acknowledged is kept; run it again to go on",),
                    )
                meter.note(f"waiting: {problem}")
                await asyncio.sleep(next(pauses))

    def _pauses(self) -> Iterator[float]:
        """Longer and longer, then for ever the longest."""
        yield from self.pauses_seconds
        while True:
            yield self.pauses_seconds[-1]

    def _record(
        self, rows: Sequence[Row[Any]], outcomes: Sequence[outcome_pb2.Outcome], stored: set[int], meter: Meter
    ) -> None:
        already = 0
        for row, outcome in zip(rows, outcomes, strict=True):
            tally = self.result.tallies.setdefault(row.category, Tally())
            if outcome.row in stored:
                tally.stored += 1
            elif outcome.status in _THERE:
                tally.already += 1
                already += 1
            else:
                tally.refused[outcome.code] += 1
                details = "; ".join(f"{each.field}: {each.description}" for each in outcome.violations)
                self.result.refused.append(
                    Refused(
                        row.category,
                        row.key,
                        row.where,
                        row.step,
                        outcome.code,
                        f"{outcome.message} ({details})" if details else outcome.message,
                        outcome.status == outcome_pb2.OUTCOME_STATUS_CONFLICT,
                    )
                )
        meter.advance(len(rows), already)

    def _unsent(self, lost: set[Key], category: Category, key: Key, where: str) -> bool:
        """Whether a row rests on an enrolment that was refused; then it is listed, and not sent."""
        if key[:2] not in lost:
            return False
        message = "its enrolment was refused"
        self.result.tallies.setdefault(category, Tally()).refused["no-enrolment"] += 1
        self.result.refused.append(Refused(category, key, where, "", "no-enrolment", message, conflict=False))
        return True

    def _remember(self, cohort: str, token: str) -> None:
        if token:
            self.result.tokens.setdefault(cohort, []).append(token)

    def _require_none_refused(self, category: Category, why: str) -> None:
        first = next((each for each in self.result.refused if each.category == category), None)
        if first is not None:
            what = " version ".join(first.key)
            raise CommandFailed(Exit.REFUSED, f"{what} was refused: {first.message}", (f"{first.code}: {why}",))

    def _metered(self, title: str, total: int) -> _Metered:
        return _Metered(self, title, total)


class _Metered:
    """A meter on the screen whose time is kept in the tallies, also when the block fails."""

    def __init__(self, importer: Importer, title: str, total: int) -> None:
        self._importer, self._title = importer, title
        self._drawn = importer.report.meter(title, total)

    def __enter__(self) -> Meter:
        self._meter = self._drawn.__enter__()
        return self._meter

    def __exit__(self, *error: Any) -> None:
        tally = self._importer.result.tallies.setdefault(self._title, Tally())
        tally.seconds = self._meter.seconds
        self._drawn.__exit__(*error)


# -- rows -------------------------------------------------------------------------------------------------------------


def command_id(*what: str) -> str:
    """ "oulad.submit.1752": once in its stream, which is the learner's on one cohort, the person's or the cohort's."""
    return ".".join(("oulad", *what))


def _cohort(cohort: Cohort) -> cohorts_pb2.OpenCohort:
    return cohorts_pb2.OpenCohort(
        command_id=command_id("open"),
        cohort_id=cohort.cohort,
        programme_id=cohort.programme,
        programme_version=cohort.version,
        starts_on=cohort.starts_on.isoformat(),
        ends_on=cohort.ends_on.isoformat(),
        capacity=0,
        provider_id=cohort.provider,
    )


def _enrolment(enrolment: Enrolment) -> Row[enrolments_pb2.RequestEnrolment]:
    message = enrolments_pb2.RequestEnrolment(
        command_id=command_id("enrol"),
        cohort_id=enrolment.cohort,
        person_id=enrolment.person,
        effective_on=enrolment.on.isoformat(),
    )
    return Row(message, "enrolments", (enrolment.cohort, enrolment.person), enrolment.where)


def _withdrawal(enrolment: Enrolment) -> Row[enrolments_pb2.WithdrawEnrolment]:
    assert enrolment.withdrawn_on is not None
    message = enrolments_pb2.WithdrawEnrolment(
        command_id=command_id("withdraw"),
        cohort_id=enrolment.cohort,
        person_id=enrolment.person,
        effective_on=enrolment.withdrawn_on.isoformat(),
        # The data says that, and when, but never why.
        reason_code="not-stated",
    )
    return Row(message, "withdrawals", (enrolment.cohort, enrolment.person), enrolment.where)


_RESULTS: Final = {"passed": assessments_pb2.RESULT_PASSED, "failed": assessments_pb2.RESULT_FAILED}


def _steps(work: Work) -> list[Row[assessments_pb2.RecordAssessment]]:
    """One row for a carried-over result; else the submission and, where there is a result, its assessment."""
    on = work.on.isoformat()
    mark = "" if work.mark is None else format(work.mark, "f")
    result = None if work.result is None else _RESULTS[work.result]

    def row(step: str, **said: Any) -> Row[assessments_pb2.RecordAssessment]:
        message = assessments_pb2.RecordAssessment(
            command_id=command_id(step, work.component),
            cohort_id=work.cohort,
            person_id=work.person,
            component_id=work.component,
            **said,
        )
        return Row(message, work.category, work.key, work.where, step)

    said = assessments_pb2.RecordAssessment
    if work.banked:
        assert result is not None, "a carried-over result without a score is left out of the plan"
        return [row("carry-over", carry_over=said.CarryOver(result=result, mark=mark, carried_on=on))]
    submitted = row("submit", submit=said.Submit(submitted_on=on))
    if result is None:
        return [submitted]
    return [submitted, row("assess", assess=said.Assess(result=result, mark=mark, assessed_on=on))]


# -- batches ----------------------------------------------------------------------------------------------------------


def _groups(enrolments: Sequence[Enrolment]) -> list[_Group]:
    """By cohort, and within it who leaves apart from who stays: so a group's last token names all its learners."""
    found: dict[tuple[str, bool], list[Enrolment]] = {}
    for enrolment in enrolments:
        found.setdefault((enrolment.cohort, enrolment.withdrawn_on is not None), []).append(enrolment)
    return [_Group(tuple(part)) for learners in found.values() for part in chunks(learners, GROUP_LEARNERS)]


def _packed(learners: Iterable[list[Row[M]]]) -> Iterator[list[Row[M]]]:
    """Batches that hold each learner whole, so that a learner's rows are decided together and in order."""
    batch: list[Row[M]] = []
    for rows in learners:
        if batch and len(batch) + len(rows) > ROWS_MAX:
            yield batch
            batch = []
        batch = [*batch, *rows]
    if batch:
        yield batch


T = TypeVar("T")


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in order, at most `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def _gathered(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All at once, answers in order; the first failure ends the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
