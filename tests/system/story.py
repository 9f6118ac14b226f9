"""The words that the whole-system tests are written in: one scheme's people, registers, assessed work and standings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from credence.accreditation.v1 import assessments_pb2 as work
from credence.accreditation.v1 import awards_pb2, standings_pb2
from credence.enrolment.v1 import attendance_pb2, cohorts_pb2, enrolments_pb2, people_pb2
from credence_cli.identity import Identity
from tests.system.platform import (
    ADMISSIONS,
    IMPORTER,
    NOT_READY,
    Platform,
    all_stored,
    outcomes_of,
    row_with,
    settled,
    suffix,
    told,
)

BODY = "oxford-brookes"
PRESENT = attendance_pb2.ATTENDANCE_STATE_PRESENT
ABSENT = attendance_pb2.ATTENDANCE_STATE_ABSENT


TODAY = datetime.now(UTC).date()
"""The day (UTC) all dates of the tests are counted from: read once, since a run may go on beyond midnight, and a unit
would then be of the day before the learner's first."""


def ago(days: int) -> str:
    """A civil date, this many days before today."""
    return (TODAY - timedelta(days=days)).isoformat()


@dataclass
class Story:
    """One cohort that began in the past, in ids of its own; `token` names what was written last."""

    platform: Platform
    programme: str
    provider: str
    began_days_ago: int
    run: str = field(default_factory=suffix)
    body: str = BODY
    token: str = ""

    def id(self, name: str) -> str:
        return f"{name}-{self.run}"

    @property
    def cohort(self) -> str:
        return self.id("cohort")

    def asks(self, request: Any, who: Identity) -> Any:
        return self.platform.ask(request, who)

    def writes(self, request: Any, who: Identity) -> Any:
        """Sends a batch all of which must be stored."""
        answer = all_stored(self.asks(request, who))
        self.token = answer.token
        return answer

    # Cohort and places

    def opens(self, capacity: int | None = None, *, version: int = 1) -> None:
        row = cohorts_pb2.OpenCohort(
            cohort_id=self.cohort,
            programme_id=self.programme,
            programme_version=version,
            starts_on=ago(self.began_days_ago),
            provider_id=self.provider,
            capacity=capacity,
            waiting_list=True,
        )
        self.writes(cohorts_pb2.OpenCohortsRequest(rows=[row]), ADMISSIONS)

    def enrols(self, *people: str) -> dict[str, int]:
        """Registers the people without names, asks for their places from the first day, gives each one's status."""
        self.writes(
            people_pb2.RegisterPeopleRequest(rows=[people_pb2.RegisterPerson(person_id=p) for p in people]), IMPORTER
        )
        rows = [
            enrolments_pb2.RequestEnrolment(
                cohort_id=self.cohort,
                person_id=person,
                effective_on=ago(self.began_days_ago),
                references=[enrolments_pb2.LearnerReference(provider_id=self.provider, reference=f"ref-{person}")],
            )
            for person in people
        ]
        self.writes(enrolments_pb2.RequestEnrolmentsRequest(rows=rows), IMPORTER)
        return {person: self.enrolment(person, token=self.token).status for person in people}

    def enrolment(self, person: str, *, token: str = "") -> enrolments_pb2.Enrolment:
        request = enrolments_pb2.GetEnrolmentRequest(cohort_id=self.cohort, person_id=person, token=token)
        answer: enrolments_pb2.Enrolment = self.asks(request, IMPORTER)
        return answer

    # Registers

    @property
    def as_provider(self) -> Identity:
        return Identity.of("provider", providers=[self.provider])

    def posts(self, rows: Sequence[attendance_pb2.AttendanceRow], who: Identity | None = None) -> Any:
        request = attendance_pb2.PostAttendanceRequest(provider_id=self.provider, rows=rows)
        answer = self.asks(request, who or self.as_provider)
        self.token = answer.token or self.token
        return answer

    def attends(self, person: str, sessions: Iterable[str]) -> None:
        """Present at each of these sessions."""
        all_stored(self.posts([self.mark(person, session) for session in sessions]))

    def mark(
        self, person: str, session: str, state: attendance_pb2.AttendanceState.ValueType = PRESENT, **more: Any
    ) -> attendance_pb2.AttendanceRow:
        value = attendance_pb2.AttendanceValue(state=state)
        return attendance_pb2.AttendanceRow(
            cohort_id=self.cohort, person_id=person, session_id=session, value=value, **more
        )

    def corrects(self, person: str, session: str, state: attendance_pb2.AttendanceState.ValueType) -> None:
        """Replaces what stands, and says why."""
        row = self.mark(person, session, state, replaces=self.standing_mark(person, session).version)
        row.reason_code = "wrong-learner"
        answer = all_stored(self.posts([row])).answers[0]
        assert answer.current.value.state == state

    def standing_mark(self, person: str, session: str) -> attendance_pb2.StandingValue:
        entry = row_with(self.register(session), person_id=person)
        current: attendance_pb2.StandingValue = entry.current
        return current

    def register(self, session: str = "") -> Sequence[attendance_pb2.RegisterEntry]:
        request = attendance_pb2.GetRegisterRequest(
            cohort_id=self.cohort, provider_id=self.provider, session_id=session, token=self.token
        )
        entries: Sequence[attendance_pb2.RegisterEntry] = self.asks(request, self.as_provider).entries
        return entries

    # Assessed work and awards

    def records(self, person: str, component: str, who: Identity, **step: Any) -> None:
        """One step: register, submit, assess, carry_over or revise.

        Sent again while its programme is still on the way, as that answer asks: the token waits for the enrolment, and
        a programme comes by another partition.
        """
        row = work.RecordAssessment(cohort_id=self.cohort, person_id=person, component_id=component, **step)
        request = work.RecordAssessmentsRequest(rows=[row], token=self.token)

        answer = self._asks_past(NOT_READY, f"{component} of {person} can be recorded", request, who)
        self.token = all_stored(answer).token

    def assesses(self, person: str, component: str, result: work.Result.ValueType, who: Identity | None = None) -> None:
        step = work.RecordAssessment.Assess(result=result)
        self.records(person, component, who or Identity.of("assessor", bodies=[self.body]), assess=step)

    def submits(self, person: str, component: str, who: Identity | None = None) -> None:
        step = work.RecordAssessment.Submit()
        self.records(person, component, who or Identity.of("learner", person=person), submit=step)

    def confirms(self, person: str, award: str) -> list[str]:
        """The board's word, in its answer's: sent again while the standing is being looked at, as that answer asks."""
        row = awards_pb2.ConfirmAward(cohort_id=self.cohort, person_id=person, award_id=award)
        request = awards_pb2.ConfirmAwardsRequest(rows=[row], token=self.token)
        board = Identity.of("awarding-body", bodies=[self.body])
        return told(
            outcomes_of(self._asks_past("standing-pending", f"{award} of {person} can be confirmed", request, board))
        )

    def _asks_past(self, code: str, what: str, request: Any, who: Identity) -> Any:
        """Sends one row again while this is its answer; gives the first other one."""

        def look() -> Any:
            answer = self.asks(request, who)
            return None if told(outcomes_of(answer)) == [code] else answer

        return settled(what, look)

    def standing(self, person: str, **cut: Any) -> standings_pb2.Standing:
        """As the learner sees it, resting on what was written last."""
        request = standings_pb2.GetStandingRequest(cohort_id=self.cohort, person_id=person, token=self.token, **cut)
        answer: standings_pb2.Standing = self.asks(request, Identity.of("learner", person=person))
        return answer

    def standing_at_rest(self, person: str) -> standings_pb2.Standing:
        """As the learner sees it once nothing it rests on is being looked at, as after every rebuild."""

        def look() -> standings_pb2.Standing | None:
            standing = self.standing(person)
            return None if standing.pending else standing

        return settled(f"the standing of {person} has been looked at", look)

    def award(
        self, person: str, award: str, state: standings_pb2.AwardState.ValueType | None = None
    ) -> standings_pb2.AwardStanding:
        """How the award stands; with `state`, once it stands so: an award comes back to the standing as a fact."""
        seen = ""

        def look() -> standings_pb2.AwardStanding | None:
            nonlocal seen
            standing = self.standing(person)
            if standing.pending:
                seen = "being looked at"
                return None
            found: standings_pb2.AwardStanding = row_with(standing.awards, award_id=award)
            seen = standings_pb2.AwardState.Name(found.state)
            return found if state in (None, found.state) else None

        try:
            return settled(f"{award} of {person} in the state {state}", look)
        except AssertionError as error:
            raise AssertionError(f"{error}; it was {seen}") from None


def current_state(answer: Any) -> attendance_pb2.AttendanceState.ValueType:
    """What stands after the only row of a register."""
    assert len(outcomes_of(answer)) == 1
    state: attendance_pb2.AttendanceState.ValueType = answer.answers[0].current.value.state
    return state
