"""Learners on the running platform, and providers that mark them: what the benchmarks of the whole stack send."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc

from bench.harness import CannotRun
from catalogue.proto import programme_to_proto
from credence.accreditation.v1 import standings_pb2, standings_pb2_grpc
from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import (
    attendance_pb2,
    attendance_pb2_grpc,
    catalogue_pb2,
    cohorts_pb2,
    cohorts_pb2_grpc,
    enrolments_pb2,
    enrolments_pb2_grpc,
    people_pb2,
    people_pb2_grpc,
)
from credence_cli.client import Client
from credence_cli.commands.catalogue import checked
from credence_cli.commands.catalogue import stub as catalogue_stub
from credence_cli.identity import LIFETIME_SECONDS, Identity, mint

PROGRAMME = "r14-commissioners-course"
PROVIDER = "ipc"
SESSIONS = ("s1", "s2", "s3", "s4", "s5", "s6")
LEARNERS_A_COHORT = 25
TODAY = datetime.now(UTC).date()  # read once: a benchmark may go on beyond midnight
BEGAN_DAYS_AGO = 70  # all sessions were held
SIGNED_SECONDS = LIFETIME_SECONDS / 3
SECONDS_MAX = 60.0  # for one call, the waiting for a token included
_FINE = frozenset({outcome_pb2.OUTCOME_STATUS_ACCEPTED, outcome_pb2.OUTCOME_STATUS_UNCHANGED})
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Learner:
    cohort: str
    person: str


@dataclass(frozen=True)
class Answered:
    """When, in monotonic seconds, the provider had its answer and the two views had what it wrote."""

    command: float
    register: float
    standing: float


class Failure(CannotRun):
    """A call or a row without an answer, which a client sends again: where a machine is overrun it is what is measured,
    and ends a benchmark only where nothing may fail."""


class Scene:
    """The platform as its clients see it. Tokens are signed every few minutes: a real client does not sign each call
    either, and no service takes one that lives for longer than a quarter of an hour."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self.client = Client(Identity.of("importer"), dict(addresses))
        self._signed: dict[Identity, tuple[float, Metadata]] = {}
        self.attendance = self.client.stub(attendance_pb2_grpc.AttendanceServiceStub, "enrolment")
        self.enrolments = self.client.stub(enrolments_pb2_grpc.EnrolmentServiceStub, "enrolment")
        self.standings = self.client.stub(standings_pb2_grpc.StandingServiceStub, "accreditation")

    async def close(self) -> None:
        await self.client.close()

    @property
    def provider(self) -> Metadata:
        return self._bearer(Identity.of("provider", providers=[PROVIDER]))

    @property
    def importer(self) -> Metadata:
        return self._bearer(Identity.of("importer"))

    @property
    def admissions(self) -> Metadata:
        return self._bearer(Identity.of("admissions"))

    def _bearer(self, identity: Identity) -> Metadata:
        now = time.monotonic()
        signed, bearer = self._signed.get(identity, (-math.inf, ()))
        if now - signed > SIGNED_SECONDS:
            bearer = (("authorization", f"Bearer {mint(identity)}"),)
            self._signed[identity] = now, bearer
        return bearer

    async def enrolled(self, run: str, many: int) -> list[Learner]:
        """Learners with a place, in cohorts of 25, known to accreditation as well."""
        programmes = checked(None).programmes.values()
        loading = catalogue_pb2.LoadProgrammesRequest(programmes=[programme_to_proto(p) for p in programmes])
        operator = Identity.of("operator")
        await self.client.call(catalogue_stub(self.client).LoadProgrammes, loading, identity=operator)
        learners = [Learner(f"{run}-{i // LEARNERS_A_COHORT}", f"{run}-p{i}") for i in range(many)]
        await self._open(sorted({learner.cohort for learner in learners}))
        people = self.client.stub(people_pb2_grpc.PeopleServiceStub, "enrolment")
        began = _day(BEGAN_DAYS_AGO)
        token = ""
        for part in (learners[i : i + 500] for i in range(0, many, 500)):
            named = people_pb2.RegisterPeopleRequest(rows=[people_pb2.RegisterPerson(person_id=p.person) for p in part])
            _must_be_fine(await self.client.call(people.RegisterPeople, named))
            rows = [
                enrolments_pb2.RequestEnrolment(cohort_id=p.cohort, person_id=p.person, effective_on=began)
                for p in part
            ]
            wanted = enrolments_pb2.RequestEnrolmentsRequest(rows=rows)
            answer = await self.client.call(self.enrolments.RequestEnrolments, wanted)
            _must_be_fine(answer)
            token = answer.token
        for learner in learners[-500:]:
            await self.call(self.standings.GetStanding, self.standing_of(learner, token), self.importer)
        return learners

    async def _open(self, cohorts: list[str]) -> None:
        stub = self.client.stub(cohorts_pb2_grpc.CohortServiceStub, "enrolment")
        rows = [
            cohorts_pb2.OpenCohort(
                cohort_id=cohort,
                programme_id=PROGRAMME,
                programme_version=1,
                starts_on=_day(BEGAN_DAYS_AGO),
                provider_id=PROVIDER,
                capacity=0,
            )
            for cohort in cohorts
        ]
        _must_be_fine(await self.client.call(stub.OpenCohorts, cohorts_pb2.OpenCohortsRequest(rows=rows)))

    async def mark(self, learner: Learner, session: str) -> Answered:
        """Posts one mark and asks both views with its token. Raises Failure, or CannotRun for a refusal."""
        row = attendance_pb2.AttendanceRow(
            cohort_id=learner.cohort,
            person_id=learner.person,
            session_id=session,
            value=attendance_pb2.AttendanceValue(state=attendance_pb2.ATTENDANCE_STATE_PRESENT),
        )
        _, answered = await self.posted(learner, session, row)
        return answered

    async def posted(
        self, learner: Learner, session: str, row: attendance_pb2.AttendanceRow
    ) -> tuple[outcome_pb2.Outcome, Answered]:
        """Posts a learner's row and asks both views with its token. Raises as `mark` does."""
        posting = attendance_pb2.PostAttendanceRequest(provider_id=PROVIDER, rows=[row])
        answer = await self.call(self.attendance.PostAttendance, posting, self.provider)
        command, outcome = time.monotonic(), answer.answers[0].outcome
        if outcome.status == outcome_pb2.OUTCOME_STATUS_UNKNOWN:
            raise Failure(outcome.message)
        if outcome.status not in _FINE:
            raise CannotRun(f"a mark was refused: {outcome.message}")

        async def asked(method: Any, request: Any, metadata: Metadata) -> float:
            await self.call(method, request, metadata)
            return time.monotonic()

        register, standing = await asyncio.gather(
            asked(self.attendance.GetRegister, self.register_of(learner, session, answer.token), self.provider),
            asked(self.standings.GetStanding, self.standing_of(learner, answer.token), self.importer),
        )
        return outcome, Answered(command, register, standing)

    @staticmethod
    def register_of(learner: Learner, session: str, token: str = "") -> attendance_pb2.GetRegisterRequest:
        return attendance_pb2.GetRegisterRequest(
            cohort_id=learner.cohort, provider_id=PROVIDER, session_id=session, token=token
        )

    @staticmethod
    def standing_of(learner: Learner, token: str = "") -> standings_pb2.GetStandingRequest:
        return standings_pb2.GetStandingRequest(cohort_id=learner.cohort, person_id=learner.person, token=token)

    @staticmethod
    async def call(method: Any, request: Any, metadata: Metadata) -> Any:
        """The answer of a stub's method. Raises Failure."""
        try:
            return await method(request, timeout=SECONDS_MAX, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise Failure(f"{error.code().name} ({error.details()})") from error


def marks_of(learners: list[Learner]) -> Iterator[tuple[Learner, str]]:
    """Session by session, so that one learner's marks do not follow one another."""
    return ((learner, session) for session in SESSIONS for learner in learners)


def learners_for(marks: int) -> int:
    return -(-marks // len(SESSIONS))


def _day(days_ago: int) -> str:
    return (TODAY - timedelta(days=days_ago)).isoformat()


def _must_be_fine(answer: outcome_pb2.BatchResponse) -> None:
    for outcome in answer.outcomes:
        if outcome.status not in _FINE:
            raise CannotRun(f"the scene could not be set: {outcome.message}")
