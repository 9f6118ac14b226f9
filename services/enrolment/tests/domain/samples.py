"""A sample of every stored event: with everything it may say, with no more than it must, and what excludes that."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from catalogue.model import (
    AllOf,
    Always,
    AnyOf,
    Assessment,
    AssessmentPassed,
    AtLeast,
    Attended,
    Attribute,
    AttributeValue,
    Award,
    AwardReference,
    CohortDefaults,
    Credit,
    CreditsHeld,
    Duration,
    ExcuseCode,
    MeetingsHeld,
    Mentoring,
    Module,
    Organisation,
    Programme,
    Qualification,
    Rule,
    ShareOfSessions,
    TimetableSession,
    Treatment,
    UnitKind,
)
from catalogue.model import Event as Grouping
from enrolment.domain.attendance import Attended as AttendedValue
from enrolment.domain.attendance import Unit, Unscheduled
from enrolment.domain.cohort import COHORT, CohortOpened, Session, SessionCancelled, SessionScheduled
from enrolment.domain.enrolment import (
    ENROLMENT,
    AttendanceCorrected,
    AttendanceRecorded,
    EnrolmentDeclined,
    EnrolmentPlaced,
    EnrolmentRequested,
    EnrolmentWaitlisted,
    EnrolmentWithdrawn,
    Reference,
)
from enrolment.domain.person import PERSON, PersonErased, PersonNamed, PersonRegistered
from enrolment.domain.pool import POOL, PlaceDeclined, PlaceReleased, PlaceTaken, QueueJoined, QueueLeft
from enrolment.domain.programme import PROGRAMME, ProgrammeLoaded
from eventcore.goldens import Goldens
from eventcore.personal import Sealed

DAY, NOON = date(2024, 10, 1), datetime(2024, 10, 1, 12, 0, tzinfo=UTC)
SEALED = Sealed(person="learner-01", field="name", box="Ym94")
ADDRESS = Sealed(person="learner-01", field="email", box="Ym94")
BARE_SESSION = Session(
    session_id="s1",
    title="Half-day 1",
    unit_kind="half-day",
    event_id=None,
    module_id=None,
    on=DAY,
    start="09:30",
    minutes=180,
    place=None,
    provider_id="provider-a",
)
SESSION = BARE_SESSION.model_copy(update={"event_id": "october", "place": "online"})
WHOLE_SESSION = SESSION.model_copy(update={"module_id": "module-1"})
RECORD = Unscheduled(unit_kind="shadowing", record_id="r1", on=DAY, attributes={"sector": "third"}, minutes=420)
BARE_RECORD = RECORD.model_copy(update={"attributes": {}})
BARE_PROGRAMME = Programme(
    credence=1,
    id="course",
    version=1,
    title="Course",
    owner=Organisation(id="owner", title="Owner"),
    duration=Duration(min_months=1, max_months=3),
    awards=(Award(id="done", title="Done", kind="completion", rule=Always(check="always"), confirmation="automatic"),),
)
AWARD = AwardReference(programme="course", award="credit")
COUNTED = Treatment(
    late="counts-not",
    partial="threshold",
    threshold_minutes=90,
    threshold_share=Decimal("0.5"),
    excused="leaves-denominator",
)
# Every kind of node, each with all it may say and with no more than it must.
RULE: Rule = AllOf(
    check="all-of",
    id="everything",
    title="Everything",
    of=(
        Always(check="always", id="always", title="Always"),
        AnyOf(
            check="any-of",
            id="some",
            title="Some",
            of=(
                Attended(
                    check="attended",
                    id="seen",
                    title="Seen",
                    unit_kind="half-day",
                    module="module-1",
                    where=(AttributeValue(attribute="sector", value="third"),),
                    at_least=2,
                    treatment=COUNTED,
                ),
                Attended(check="attended", unit_kind="half-day", at_least=1),
                AllOf(check="all-of", of=(Always(check="always"),)),
                AnyOf(check="any-of", of=(Always(check="always"),)),
                AtLeast(check="at-least", at_least=1, of=(Always(check="always"),)),
            ),
        ),
        AtLeast(
            check="at-least",
            id="enough",
            title="Enough",
            at_least=3,
            of=(
                ShareOfSessions(
                    check="share-of-sessions",
                    id="share",
                    title="Share",
                    unit_kind="half-day",
                    module="module-1",
                    at_least=Decimal("0.75"),
                    treatment=COUNTED,
                ),
                ShareOfSessions(check="share-of-sessions", at_least=Decimal("1")),
                MeetingsHeld(check="meetings-held", id="met", title="Met", at_least=8, within_months=12),
                MeetingsHeld(check="meetings-held", at_least=1),
                AssessmentPassed(
                    check="assessment-passed", id="passed", title="Passed", component="project", carried_over=True
                ),
                AssessmentPassed(check="assessment-passed", component="project"),
                CreditsHeld(
                    check="credits",
                    id="held",
                    title="Held",
                    at_least=Decimal("60"),
                    of_which=Decimal("40"),
                    level=7,
                    from_awards=(AWARD,),
                ),
                CreditsHeld(check="credits", at_least=Decimal("20")),
            ),
        ),
    ),
)
PROGRAMME_SAID = Programme(
    credence=1,
    id="course",
    version=2,
    title="Course",
    owner=Organisation(id="owner", title="Owner"),
    awarding_body=Organisation(id="body", title="Body"),
    zone="Europe/Dublin",
    duration=Duration(min_months=1, max_months=3),
    notional_hours=200,
    modules=(Module(id="module-1", title="Module 1"),),
    unit_kinds=(
        UnitKind(id="half-day", title="Half-day", kind="scheduled"),
        UnitKind(
            id="shadowing",
            title="Shadowing",
            kind="unscheduled",
            unit="day",
            units="days",
            minutes=420,
            attributes=(Attribute(id="sector", title="Sector", values=("public", "third")),),
        ),
    ),
    events=(Grouping(id="october", title="October"),),
    timetable=(
        TimetableSession(
            id="s1",
            title="Half-day 1",
            unit_kind="half-day",
            event="october",
            module="module-1",
            day=0,
            start="09:30",
            minutes=180,
            place="online",
            provider="provider-a",
        ),
        TimetableSession(id="s2", title="Half-day 2", unit_kind="half-day", day=7, start="09:30", minutes=180),
    ),
    cohort=CohortDefaults(capacity=26, waiting_list=True),
    assessments=(
        Assessment(
            id="project", title="Project", kind="project", optional=True, max_attempts=3, pass_mark=Decimal("50")
        ),
        Assessment(id="exam", title="Exam", kind="exam"),
    ),
    excuse_codes=(ExcuseCode(id="illness", title="Illness", treatment="counts"),),
    mentoring=Mentoring(shortlist=3, choices=1, meetings=8, within_months=12, mentor_standing=AWARD),
    awards=(
        Award(
            id="credit",
            title="Credit",
            kind="credit",
            rule=RULE,
            confirmation="board",
            credit=Credit(credits=Decimal("20"), scheme="CATS", level=7, ects=Decimal("10"), transferable=True),
            qualification=Qualification(
                title="Certificate", claim="contributes", credits=Decimal("60"), of_which=Decimal("40"), level=7
            ),
            rank=1,
            certificate=True,
        ),
    ),
    credit_cap=Decimal("120"),
)


def opened(*, whole: bool, sessions: tuple[Session, ...]) -> CohortOpened:
    return CohortOpened(
        cohort_id="c1",
        programme_id="course",
        programme_version=1,
        zone="Europe/London",
        starts_on=DAY,
        ends_on=date(2024, 12, 31),
        capacity=26 if whole else None,
        waiting_list=whole,
        provider_id="provider-a" if whole else None,
        sessions=sessions,
    )


def requested(employer_id: str | None, *references: Reference) -> EnrolmentRequested:
    return EnrolmentRequested(
        cohort_id="c1",
        person_id="learner-01",
        programme_id="course",
        programme_version=1,
        employer_id=employer_id,
        references=references,
        effective_on=DAY,
        limited=bool(references),
    )


def recorded(unit: Unit, value: AttendedValue) -> AttendanceRecorded:
    return AttendanceRecorded(unit=unit, value=value, provider_id="provider-a", by="tutor-1", at=NOON)


def corrected(unit: Unit, value: AttendedValue) -> AttendanceCorrected:
    return AttendanceCorrected(
        unit=unit,
        value=value,
        provider_id="provider-a",
        by="tutor-1",
        at=NOON,
        replaces=3,
        reason_code="wrong-learner",
    )


REGISTERED = PersonRegistered(name=SEALED, email=ADDRESS)
NAMED = PersonRegistered(name=SEALED, email=None)
NAMELESS = PersonRegistered(name=None, email=None)
REQUESTED = requested("e06000001", Reference(provider_id="provider-a", reference=SEALED))
UNREFERENCED = requested(None)
GOLDENS: Final = Goldens(
    Path(__file__).parent / "golden",
    (PERSON, PROGRAMME, COHORT, POOL, ENROLMENT),
    {
        "full": [
            REGISTERED,
            PersonNamed(name=SEALED),
            PersonErased(reason_code="person-asked"),
            ProgrammeLoaded(programme=PROGRAMME_SAID),
            opened(whole=True, sessions=(WHOLE_SESSION,)),
            SessionScheduled(session=WHOLE_SESSION),
            SessionCancelled(session_id="s1", reason_code="snow"),
            PlaceTaken(person_id="learner-01", request=1, on=DAY, freed_on=DAY),
            QueueJoined(person_id="learner-01", request=1, on=DAY),
            PlaceDeclined(person_id="learner-01", request=1),
            PlaceReleased(person_id="learner-01", on=DAY),
            QueueLeft(person_id="learner-01"),
            REQUESTED,
            EnrolmentPlaced(placed_on=DAY),
            EnrolmentWaitlisted(),
            EnrolmentDeclined(),
            EnrolmentWithdrawn(withdrawn_on=DAY, reason_code="changed-job"),
            recorded(Unit(unscheduled=RECORD), AttendedValue(state="excused", excuse_code="illness")),
            corrected(Unit(unscheduled=RECORD), AttendedValue(state="partial", minutes=90)),
        ],
        "required": [
            NAMELESS,
            ProgrammeLoaded(programme=BARE_PROGRAMME),
            opened(whole=False, sessions=()),
            SessionScheduled(session=BARE_SESSION),
            PlaceTaken(person_id="learner-01", request=1, on=DAY, freed_on=None),
            UNREFERENCED,
            recorded(Unit(session_id="s1"), AttendedValue(state="present")),
            corrected(Unit(session_id="s1"), AttendedValue(state="absent")),
        ],
        "named": [NAMED],
        "without-module": [opened(whole=True, sessions=(SESSION,)), SessionScheduled(session=SESSION)],
        "bare-session": [opened(whole=True, sessions=(BARE_SESSION,))],
        "partial": [recorded(Unit(session_id="s1"), AttendedValue(state="partial", minutes=90))],
        "late": [recorded(Unit(unscheduled=BARE_RECORD), AttendedValue(state="late"))],
        "excused": [corrected(Unit(unscheduled=RECORD), AttendedValue(state="excused", excuse_code="illness"))],
    },
    older={
        "person.registered.v1.full": REGISTERED,
        "person.registered.v1.named": NAMED,
        "person.registered.v1.required": NAMELESS,
        "enrolment.requested.v1.full": REQUESTED,
        "enrolment.requested.v1.required": UNREFERENCED,
    },
)
