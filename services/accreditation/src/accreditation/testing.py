"""For tests: this service alone in memory, and the others' public events told to it by hand.

    scene = Scene()
    scene.programme("r14-commissioners-course")
    scene.cohort("autumn", "r14-commissioners-course", date(2024, 10, 1))
    scene.placed("autumn", "p1", date(2024, 10, 1))
    await scene.settle()

What is told are real records, read by the real consumer; sample people only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from accreditation.api.assessments import AssessmentApi
from accreditation.api.awards import AwardApi
from accreditation.api.standings import StandingApi
from accreditation.domain.assessment import ASSESSMENT
from accreditation.main import PARTS
from catalogue.files import check
from catalogue.ids import join_id
from catalogue.model import Programme
from catalogue.proto import programme_to_proto
from credence.accreditation.v1 import assessments_pb2, awards_pb2, standings_pb2
from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import attendance_pb2, cohorts_pb2
from credence.enrolment.v1 import events_pb2 as enrolment
from credence.mentoring.v1 import events_pb2 as mentoring
from eventcore.decider import Command
from eventcore.event import Recorded
from eventcore.execute import Request
from eventcore.record import PublicEvent, Record, encode
from servicekit.testing import World

START = datetime(2024, 12, 2, 12, 0, tzinfo=UTC)
BODY = "oxford-brookes"
STATES: dict[str, attendance_pb2.AttendanceState.ValueType] = {
    "present": attendance_pb2.ATTENDANCE_STATE_PRESENT,
    "late": attendance_pb2.ATTENDANCE_STATE_LATE,
    "partial": attendance_pb2.ATTENDANCE_STATE_PARTIAL,
    "excused": attendance_pb2.ATTENDANCE_STATE_EXCUSED,
    "absent": attendance_pb2.ATTENDANCE_STATE_ABSENT,
}


@cache
def schemes() -> Mapping[str, Programme]:
    """The programmes of this repository's catalogue, by id."""
    known = Path("catalogue", "r14-commissioners-course.yaml")
    root = next(folder for folder in Path(__file__).parents if (folder / known).is_file())
    return {programme.id: programme for programme in check([root / "catalogue"]).programmes.values()}


class Told:
    """The records that enrolment and mentoring would publish, in the order told."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.now = START
        self._versions: dict[str, int] = {}

    def tell(self, stream: str, message: Message) -> int:
        """The version it got in its stream."""
        version = self._versions[stream] = self._versions.get(stream, 0) + 1
        package = message.DESCRIPTOR.file.package
        service = package.split(".")[1]
        self.records.append(
            encode(
                Recorded(stream, version, message, self.now),
                PublicEvent(message.DESCRIPTOR.full_name, message.SerializeToString()),
                topic=package,
                source=f"credence/{service}",
                epoch="told",
            )
        )
        return version

    def programme(self, programme: Programme) -> None:
        stream = f"programme-{join_id(programme.id, str(programme.version))}"
        self.tell(stream, enrolment.ProgrammePublished(programme=programme_to_proto(programme)))

    def person(self, person: str, *, named: bool) -> None:
        self.tell(f"person-{person}", enrolment.PersonRegistered(person_id=person, named=named))

    def cohort(self, cohort: str, programme: Programme, starts_on: date) -> None:
        """Opened with the programme's timetable."""
        sessions = [
            cohorts_pb2.Session(
                session_id=each.id,
                unit_kind=each.unit_kind,
                module_id=each.module or "",
                on=(starts_on + timedelta(days=each.day)).isoformat(),
                start=each.start,
                minutes=each.minutes,
            )
            for each in programme.timetable
        ]
        opened = enrolment.CohortOpened(
            cohort_id=cohort,
            programme_id=programme.id,
            programme_version=programme.version,
            starts_on=starts_on.isoformat(),
            sessions=sessions,
        )
        self.tell(f"cohort-{cohort}", opened)

    def requested(self, cohort: str, person: str, programme: Programme, on: date) -> None:
        asked = enrolment.EnrolmentRequested(
            cohort_id=cohort,
            person_id=person,
            programme_id=programme.id,
            programme_version=programme.version,
            effective_on=on.isoformat(),
        )
        self.tell(f"enrolment-{join_id(cohort, person)}", asked)

    def placed(self, cohort: str, person: str, programme: Programme, on: date) -> None:
        self.requested(cohort, person, programme, on)
        self.tell(f"enrolment-{join_id(cohort, person)}", enrolment.EnrolmentPlaced(placed_on=on.isoformat()))

    def withdrawn(self, cohort: str, person: str, on: date) -> None:
        left = enrolment.EnrolmentWithdrawn(withdrawn_on=on.isoformat(), reason_code="changed-job")
        self.tell(f"enrolment-{join_id(cohort, person)}", left)

    def attended(self, cohort: str, person: str, session: str, state: str = "present", *, replaces: int = 0) -> int:
        value = attendance_pb2.AttendanceValue(state=STATES[state])
        stream = f"enrolment-{join_id(cohort, person)}"
        if replaces:
            corrected = enrolment.AttendanceCorrected(
                session_id=session, value=value, provider_id="provider", replaces=replaces, reason_code="wrong-learner"
            )
            return self.tell(stream, corrected)
        return self.tell(stream, enrolment.AttendanceRecorded(session_id=session, value=value, provider_id="provider"))

    def unit(
        self,
        cohort: str,
        person: str,
        kind: str,
        record: str,
        on: date,
        *,
        minutes: int = 120,
        attended: int = 0,
        **attributes: str,
    ) -> int:
        """A record of that length, attended whole, or so many of its minutes."""
        made = attendance_pb2.UnscheduledUnit(
            unit_kind=kind, record_id=record, on=on.isoformat(), attributes=attributes, minutes=minutes
        )
        value = attendance_pb2.AttendanceValue(state=STATES["partial" if attended else "present"], minutes=attended)
        recorded = enrolment.AttendanceRecorded(unscheduled=made, value=value, provider_id="provider")
        return self.tell(f"enrolment-{join_id(cohort, person)}", recorded)

    def matched(self, cohort: str, person: str, on: date, until: date) -> None:
        stream = f"match-{join_id(cohort, person)}"
        self.tell(stream, mentoring.ShortlistOffered(mentor_ids=["m1", "m2", "m3"]))
        chosen = mentoring.MentorChosen(mentor_id="m2", matched_on=on.isoformat(), window_ends_on=until.isoformat())
        self.tell(stream, chosen)

    def met(self, cohort: str, person: str, meeting: str, on: date) -> None:
        held = mentoring.MeetingHeld(meeting_id=meeting, on=on.isoformat())
        self.tell(f"match-{join_id(cohort, person)}", held)


class Scene(Told):
    """The accreditation service in memory, told of others' facts, called through its API."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(PARTS, now=START)
        self.kernel = self.world.kernel("accreditation")

    async def settle(self) -> None:
        """Delivers what was told and lets everything come to rest."""
        self.world.now = max(self.world.now, self.now)
        self.world.log.records += self.records
        self.records = []
        await self.world.settle()

    def pass_days(self, days: int) -> None:
        self.now += timedelta(days=days)
        self.world.now = self.now

    async def record(
        self, *rows: assessments_pb2.RecordAssessment, roles: Iterable[str] = ("importer",), **caller: Any
    ) -> outcome_pb2.BatchResponse:
        request = assessments_pb2.RecordAssessmentsRequest(rows=rows)
        return await self._call(AssessmentApi(self.kernel).RecordAssessments, request, roles=roles, **caller)

    async def standing(
        self, cohort: str, learner: str, *, roles: Iterable[str] = ("importer",), **rest: Any
    ) -> standings_pb2.Standing:
        """`rest`: the caller's `person` and `bodies`, and the request's `known_at`, `true_at`, `token`."""
        caller = {k: rest.pop(k) for k in ("person", "bodies") if k in rest}
        request = standings_pb2.GetStandingRequest(cohort_id=cohort, person_id=learner, **rest)
        return await self.world.call(StandingApi(self.kernel).GetStanding, request, roles=roles, **caller)

    async def confirm(self, cohort: str, person: str, award: str, body: str = BODY) -> outcome_pb2.Outcome:
        row = awards_pb2.ConfirmAward(cohort_id=cohort, person_id=person, award_id=award)
        request = awards_pb2.ConfirmAwardsRequest(rows=[row])
        return await self._board(AwardApi(self.kernel).ConfirmAwards, request, body)

    async def review(
        self, cohort: str, person: str, award: str, decision: awards_pb2.ReviewDecision.ValueType, body: str = BODY
    ) -> outcome_pb2.Outcome:
        shown = (await self.standing(cohort, person)).awards
        row = awards_pb2.DecideReview(
            cohort_id=cohort,
            person_id=person,
            award_id=award,
            review_id=next(each.review_id for each in shown if each.award_id == award),
            decision=decision,
            reason_code="board-minutes",
        )
        request = awards_pb2.DecideReviewsRequest(rows=[row])
        return await self._board(AwardApi(self.kernel).DecideReviews, request, body)

    async def _board(self, method: Any, request: Any, body: str) -> outcome_pb2.Outcome:
        return (await self._call(method, request, roles=["awarding-body"], bodies=[body])).outcomes[0]

    async def _call(self, method: Any, request: Any, **caller: Any) -> outcome_pb2.BatchResponse:
        answer: outcome_pb2.BatchResponse = await self.world.call(method, request, **caller)
        await self.world.settle()
        return answer

    async def decide(self, cohort: str, person: str, command: Command) -> None:
        """An assessment command straight to its decider, for facts that no row needs to carry."""
        stream = f"assessment-{join_id(cohort, person)}"
        request: Request[Any] = Request(stream, command.model_dump_json()[:120], command, "tester", self.world.now)
        await self.kernel.executor.execute(ASSESSMENT, [request])
