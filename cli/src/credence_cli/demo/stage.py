"""What the demo's scenes share: the platform, this run's ids, and how a step is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from rich.markup import escape

from credence.accreditation.v1 import assessments_pb2, assessments_pb2_grpc, awards_pb2, awards_pb2_grpc, standings_pb2
from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import (
    attendance_pb2,
    cohorts_pb2,
    cohorts_pb2_grpc,
    enrolments_pb2,
    enrolments_pb2_grpc,
    people_pb2,
    people_pb2_grpc,
)
from credence_cli import outcomes
from credence_cli.client import Client
from credence_cli.commands.attendance import post_rows, read_file, render
from credence_cli.commands.attendance import stub as attendance_stub
from credence_cli.commands.standing import get_standing
from credence_cli.exits import CommandFailed, Exit
from credence_cli.identity import Identity
from credence_cli.output import out
from credence_cli.registers import RegisterRow, write_template
from credence_cli.state import remember

IMPORTER = Identity.of("importer")
ADMISSIONS = Identity.of("admissions")
BODY = "oxford-brookes"
LOOKS = 100
LOOK_SECONDS = 0.1


@dataclass
class Stage:
    """`run` makes this run's ids its own, so that a second run meets a platform that has seen the first.

    `folder` keeps the registers that were posted. `token` names what was written last: every query passes it back.
    """

    client: Client
    run: str
    folder: Path
    today: date
    steps: int = 0
    token: str = ""
    surprises: list[str] = field(default_factory=list)

    # Showing

    def scene(self, title: str) -> None:
        out.print()
        out.rule(f"[bold]{escape(title)}[/]", align="left")

    def step(self, text: str, command: str = "") -> None:
        """Says what happens now, and the command that would do it by hand."""
        self.steps += 1
        out.print(f"\n[bold cyan]{self.steps}.[/] {escape(text)}")
        if command:
            out.print(f"   [dim]$ credence {escape(command)}[/]")

    def expect(self, holds: bool, what: str) -> None:
        """A demo that shows something else than it says has failed: the surprise is told, and ends in exit code 7."""
        if not holds:
            self.surprises.append(what)
            out.print(f"[red]   unexpected: {escape(what)}[/]")

    # Ids and days

    def id(self, name: str) -> str:
        return f"{name}-{self.run}"

    def ago(self, days: int) -> date:
        return self.today - timedelta(days=days)

    # Writing

    def report(self, answer: outcome_pb2.BatchResponse, labels: Sequence[str], *, refused: bool = False) -> None:
        """Shows a batch's answer; unless `refused`, all of it must be fine."""
        self.wrote(answer.token)
        for outcome, label in zip(answer.outcomes, labels, strict=True):
            outcomes.line(outcome, label)
        self.expect(
            (outcomes.exit_of(answer.outcomes) is Exit.OK) != refused,
            "rows that should be refused were not" if refused else "rows that should be fine were not",
        )

    def wrote(self, token: str) -> None:
        self.token = token or self.token
        remember(self.token, self.client.addresses)

    async def open_cohort(self, cohort: str, programme: str, starts_on: date, provider: str, capacity: int = 0) -> None:
        row = cohorts_pb2.OpenCohort(
            cohort_id=cohort,
            programme_id=programme,
            programme_version=1,
            starts_on=starts_on.isoformat(),
            provider_id=provider,
            capacity=capacity,
            waiting_list=bool(capacity),
        )
        stub = self.client.stub(cohorts_pb2_grpc.CohortServiceStub, "enrolment")
        answer = await self.client.call(stub.OpenCohorts, cohorts_pb2.OpenCohortsRequest(rows=[row]), identity=IMPORTER)
        self.report(answer, [f"{cohort}: {programme} from {starts_on}, {capacity or 'no limit of'} places"])

    async def enrol(
        self, cohort: str, people: Sequence[str], effective_on: date, *, provider: str = "", employer: str = ""
    ) -> list[enrolments_pb2.Enrolment]:
        """Registers the people (without names) and enrols them with past effect, as an importer may."""
        people_stub = self.client.stub(people_pb2_grpc.PeopleServiceStub, "enrolment")
        registration = people_pb2.RegisterPeopleRequest(rows=[people_pb2.RegisterPerson(person_id=p) for p in people])
        await self.client.call(people_stub.RegisterPeople, registration, identity=IMPORTER)
        rows = [
            enrolments_pb2.RequestEnrolment(
                cohort_id=cohort,
                person_id=person,
                employer_id=employer,
                effective_on=effective_on.isoformat(),
                references=[enrolments_pb2.LearnerReference(provider_id=provider, reference=f"REF-{i:03}")]
                if provider
                else [],
            )
            for i, person in enumerate(people, start=1)
        ]
        stub = self.client.stub(enrolments_pb2_grpc.EnrolmentServiceStub, "enrolment")
        request = enrolments_pb2.RequestEnrolmentsRequest(rows=rows)
        answer = await self.client.call(stub.RequestEnrolments, request, identity=IMPORTER)
        self.wrote(answer.token)
        self.expect(outcomes.exit_of(answer.outcomes) is Exit.OK, "an enrolment was refused")
        for person in people:
            # Waits until it is decided who is placed and who waits.
            wanted = enrolments_pb2.GetEnrolmentRequest(cohort_id=cohort, person_id=person, token=answer.token)
            await self.client.call(stub.GetEnrolment, wanted, identity=IMPORTER)
        return await self.enrolments(cohort)

    async def enrolments(self, cohort: str) -> list[enrolments_pb2.Enrolment]:
        request = enrolments_pb2.ListEnrolmentsRequest(cohort_id=cohort, token=self.token, page_size=1000)
        stub = self.client.stub(enrolments_pb2_grpc.EnrolmentServiceStub, "enrolment")
        answer = await self.client.call(stub.ListEnrolments, request, identity=IMPORTER)
        return list(answer.enrolments)

    # Registers

    async def template(self, cohort: str, provider: str, sessions: Iterable[str]) -> list[attendance_pb2.TemplateRow]:
        request = attendance_pb2.GetRegisterTemplateRequest(
            cohort_id=cohort, provider_id=provider, session_ids=list(sessions), token=self.token
        )
        identity = Identity.of("provider", providers=[provider])
        answer = await self.client.call(attendance_stub(self.client).GetRegisterTemplate, request, identity=identity)
        return list(answer.rows)

    def save(self, name: str, text: str) -> Path:
        """Writes a register where it can be looked at."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def save_template(self, name: str, rows: list[attendance_pb2.TemplateRow]) -> Path:
        return self.save(name, write_template(rows))

    async def post(
        self, provider: str, file: Path, *, quiet: bool = False
    ) -> tuple[tuple[RegisterRow, ...], list[attendance_pb2.AttendanceAnswer]]:
        """Posts a register file as its provider and shows every answer."""
        rows = read_file(file)
        identity = Identity.of("provider", providers=[provider])
        poster = self.client.speaking_as(identity)
        try:
            answers = await post_rows(poster, provider, rows, wrote=self.wrote)
        finally:
            await poster.close()
        if quiet:
            out.print(f"  {outcomes.summary([a.outcome for a in answers])}")
        else:
            render(rows, answers)
        return rows, answers

    # Assessed work, awards, standings

    async def assess(
        self, cohort: str, person: str, row: assessments_pb2.RecordAssessment, text: str, body: str = BODY
    ) -> None:
        row.cohort_id, row.person_id = cohort, person
        marks = row.WhichOneof("step") in ("assess", "revise", "carry_over")
        identity = Identity.of("assessor", bodies=[body]) if marks else Identity.of("learner", person=person)
        stub = self.client.stub(assessments_pb2_grpc.AssessmentServiceStub, "accreditation")
        request = assessments_pb2.RecordAssessmentsRequest(rows=[row], token=self.token)
        self.report(await self.client.call(stub.RecordAssessments, request, identity=identity), [text])

    async def confirm(self, cohort: str, person: str, award: str) -> None:
        row = awards_pb2.ConfirmAward(cohort_id=cohort, person_id=person, award_id=award)
        stub = self.client.stub(awards_pb2_grpc.AwardServiceStub, "accreditation")
        request = awards_pb2.ConfirmAwardsRequest(rows=[row], token=self.token)
        answer = await self.client.call(
            stub.ConfirmAwards, request, identity=Identity.of("awarding-body", bodies=[BODY])
        )
        self.report(answer, [f"{person} {award}: confirmed by the board"])

    async def standing(self, cohort: str, person: str, known_at: str | None = None) -> standings_pb2.Standing:
        return await get_standing(self.client, cohort, person, token=self.token, known_at=known_at)

    async def award(
        self, cohort: str, person: str, award: str, *states: standings_pb2.AwardState.ValueType
    ) -> standings_pb2.AwardStanding:
        """One award as it stands after everything written, once it is in one of `states`."""
        found = standings_pb2.AwardStanding()
        for _ in range(LOOKS):
            standing = await self.standing(cohort, person)
            if award not in {a.award_id for a in standing.awards}:
                raise CommandFailed(Exit.FAILED, f"the programme of {cohort} has no award {award}")
            found = next(a for a in standing.awards if a.award_id == award)
            if found.state in states and not standing.pending:
                return found
            # An award comes back to the standing as a fact; what it caused carries its own version.
            await asyncio.sleep(LOOK_SECONDS)
        self.expect(False, f"{award} of {person} never came into the state it should")
        return found

    async def until_placed(self, cohort: str, person: str) -> list[enrolments_pb2.Enrolment]:
        """The cohort's enrolments once this person has a place."""
        found: list[enrolments_pb2.Enrolment] = []
        for _ in range(LOOKS):
            found = await self.enrolments(cohort)
            if any(e.person_id == person and e.status == enrolments_pb2.ENROLMENT_STATUS_PLACED for e in found):
                return found
            await asyncio.sleep(LOOK_SECONDS)
        self.expect(False, f"{person} never got the freed place")
        return found
