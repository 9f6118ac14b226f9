"""The whole service in one process, spoken to as its callers do: a desk, and a small course to enrol on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import date, timedelta
from typing import Any

from catalogue.model import (
    Always,
    Attribute,
    Award,
    CohortDefaults,
    Duration,
    ExcuseCode,
    Organisation,
    Programme,
    TimetableSession,
    UnitKind,
)
from catalogue.proto import programme_to_proto
from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import attendance_pb2, catalogue_pb2, cohorts_pb2, enrolments_pb2, people_pb2
from enrolment.api.attendance import AttendanceApi
from enrolment.api.catalogue import CatalogueApi
from enrolment.api.cohorts import CohortApi
from enrolment.api.enrolments import EnrolmentApi
from enrolment.api.people import PeopleApi
from enrolment.main import PARTS
from servicekit.kernel import Kernel
from servicekit.testing import World

COURSE = Programme(
    credence=1,
    id="course",
    version=1,
    title="Course",
    owner=Organisation(id="owner", title="Owner"),
    awarding_body=Organisation(id="body", title="Body"),
    duration=Duration(min_months=1, max_months=3),
    unit_kinds=(
        UnitKind(id="half-day", title="Half-day", kind="scheduled"),
        UnitKind(
            id="shadowing",
            title="Placement",
            kind="unscheduled",
            minutes=420,
            attributes=(Attribute(id="sector", title="Sector", values=("public", "private", "third")),),
        ),
    ),
    timetable=tuple(
        TimetableSession(
            id=f"s{n}",
            title=f"Half-day {n}",
            unit_kind="half-day",
            day=day,
            start="09:30",
            minutes=180,
            provider="provider-b" if n == 3 else None,
        )
        for n, day in ((1, 0), (2, 7), (3, 14), (4, 56))
    ),
    cohort=CohortDefaults(capacity=2, waiting_list=True),
    excuse_codes=(ExcuseCode(id="illness", title="Illness", treatment="absent"),),
    awards=(Award(id="done", title="Done", kind="completion", rule=Always(check="always"), confirmation="automatic"),),
)
STARTS_ON = date(2024, 9, 1)  # s1; the clock says 1 October, so that s4 is still to come


class Desk:
    """Calls the service's RPCs as admissions, importers and providers; `settle` lets all loops come to rest."""

    def __init__(self) -> None:
        self.world = World(PARTS)
        self.kernel: Kernel = self.world.kernel("enrolment")
        self.catalogue, self.people = CatalogueApi(self.kernel), PeopleApi(self.kernel)
        self.cohorts, self.enrolments = CohortApi(self.kernel), EnrolmentApi(self.kernel)
        self.attendance = AttendanceApi(self.kernel)

    async def call(self, method: Callable[..., Awaitable[Any]], request: Any, role: str, **who: Any) -> Any:
        return await self.world.call(method, request, roles={role}, **who)

    async def settle(self) -> None:
        await self.world.settle()

    async def load(self, *programmes: Programme, dry_run: bool = False) -> outcome_pb2.BatchResponse:
        request = catalogue_pb2.LoadProgrammesRequest(
            programmes=[programme_to_proto(each) for each in programmes], dry_run=dry_run
        )
        answer: outcome_pb2.BatchResponse = await self.call(self.catalogue.LoadProgrammes, request, "operator")
        return answer

    async def open(self, cohort_id: str = "c1", **said: Any) -> outcome_pb2.BatchResponse:
        row: dict[str, Any] = {"cohort_id": cohort_id, "programme_id": "course", "programme_version": 1}
        row |= {"starts_on": STARTS_ON.isoformat(), "provider_id": "provider-a"}
        request = cohorts_pb2.OpenCohortsRequest(rows=[cohorts_pb2.OpenCohort(**(row | said))])
        answer: outcome_pb2.BatchResponse = await self.call(self.cohorts.OpenCohorts, request, "admissions")
        return answer

    async def register(self, *person_ids: str) -> None:
        rows = [people_pb2.RegisterPerson(person_id=each) for each in person_ids]
        await self.call(self.people.RegisterPeople, people_pb2.RegisterPeopleRequest(rows=rows), "importer")

    async def enrol(self, *rows: Any, role: str = "importer") -> outcome_pb2.BatchResponse:
        """Rows are person ids, placed from the cohort's first day on, or whole rows."""
        whole = [request(row, reference=f"ref {row}") if isinstance(row, str) else row for row in rows]
        batch = enrolments_pb2.RequestEnrolmentsRequest(rows=whole)
        answer: outcome_pb2.BatchResponse = await self.call(self.enrolments.RequestEnrolments, batch, role)
        return answer

    async def withdraw(
        self, person_id: str, on: date | None = None, *, role: str = "admissions", **who: Any
    ) -> outcome_pb2.BatchResponse:
        row = enrolments_pb2.WithdrawEnrolment(
            cohort_id="c1",
            person_id=person_id,
            reason_code="changed-job",
            effective_on=on.isoformat() if on else "",
        )
        request = enrolments_pb2.WithdrawEnrolmentsRequest(rows=[row])
        answer: outcome_pb2.BatchResponse = await self.call(self.enrolments.WithdrawEnrolments, request, role, **who)
        return answer

    async def enrolment(
        self, person_id: str, *, token: str = "", role: str = "admissions", cohort_id: str = "c1", **who: Any
    ) -> enrolments_pb2.Enrolment:
        request = enrolments_pb2.GetEnrolmentRequest(cohort_id=cohort_id, person_id=person_id, token=token)
        answer: enrolments_pb2.Enrolment = await self.call(self.enrolments.GetEnrolment, request, role, **who)
        return answer

    async def post(
        self,
        *rows: attendance_pb2.AttendanceRow,
        provider: str = "provider-a",
        dry_run: bool = False,
        role: str = "provider",
        subject: str = "tutor-1",
    ) -> attendance_pb2.PostAttendanceResponse:
        request = attendance_pb2.PostAttendanceRequest(rows=rows, dry_run=dry_run)
        if role == "importer":
            request.provider_id = provider
        answer: attendance_pb2.PostAttendanceResponse = await self.call(
            self.attendance.PostAttendance, request, role, providers={provider}, subject=subject
        )
        return answer

    async def course(self, *person_ids: str, capacity: int = 0) -> None:
        """The course with an open cohort c1 and these learners, all at rest. Capacity 0: unlimited."""
        await self.load(COURSE)
        await self.open(capacity=capacity)
        await self.register(*person_ids)
        await self.enrol(*person_ids)
        await self.settle()


def request(
    person_id: str, cohort_id: str = "c1", *, reference: str = "", on: date = STARTS_ON
) -> enrolments_pb2.RequestEnrolment:
    """A row that asks for a place from `on`; `reference` is provider-a's word for the learner."""
    references = [enrolments_pb2.LearnerReference(provider_id="provider-a", reference=reference)] if reference else []
    return enrolments_pb2.RequestEnrolment(
        cohort_id=cohort_id, person_id=person_id, effective_on=on.isoformat(), references=references
    )


PRESENT = attendance_pb2.AttendanceValue(state=attendance_pb2.ATTENDANCE_STATE_PRESENT)


def mark(person_id: str | None = "p1", session_id: str | None = "s1", **said: Any) -> attendance_pb2.AttendanceRow:
    """A row of a register: present, unless it says otherwise; None leaves a field out."""
    row: dict[str, Any] = {"cohort_id": "c1", "person_id": person_id, "session_id": session_id, "value": PRESENT}
    return attendance_pb2.AttendanceRow(**{name: value for name, value in (row | said).items() if value is not None})


def codes(outcomes: Iterable[outcome_pb2.Outcome]) -> list[str]:
    """What became of each row: its code, or its status when it has none."""
    return [each.code or outcome_pb2.OutcomeStatus.Name(each.status)[15:].lower() for each in outcomes]


def days_after_start(days: int) -> date:
    return STARTS_ON + timedelta(days=days)
