"""Stored events are read for decades: every type has a golden file, which is added once and never edited.

A missing file is written by the failing test for you to look at and commit; a changed shape needs a new type name.
"""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from catalogue.model import Always, Award, Duration, Organisation, Programme
from enrolment.domain.attendance import Attended, Unit, Unscheduled
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
from enrolment.domain.person import PERSON, PersonNamed, PersonRegistered
from enrolment.domain.pool import POOL, PlaceDeclined, PlaceReleased, PlaceTaken, QueueJoined, QueueLeft
from enrolment.domain.programme import PROGRAMME, ProgrammeLoaded
from eventcore.event import Event
from eventcore.personal import Sealed
from eventcore.testing import check_golden, check_golden_complete

GOLDEN = Path(__file__).parent / "golden"
DAY, NOON = date(2024, 10, 1), datetime(2024, 10, 1, 12, 0, tzinfo=UTC)
SEALED = Sealed(person="learner-01", field="name", box="Ym94")
SESSION = Session(
    session_id="s1",
    title="Half-day 1",
    unit_kind="half-day",
    event_id="october",
    module_id=None,
    on=DAY,
    start="09:30",
    minutes=180,
    place="online",
    provider_id="provider-a",
)
RECORD = Unscheduled(unit_kind="shadowing", record_id="r1", on=DAY, attributes={"sector": "third"}, minutes=420)
SAMPLES: list[Event] = [
    PersonRegistered(name=SEALED, email=None, email_index=None),
    PersonNamed(name=SEALED),
    ProgrammeLoaded(
        programme=Programme(
            credence=1,
            id="course",
            version=1,
            title="Course",
            owner=Organisation(id="owner", title="Owner"),
            duration=Duration(min_months=1, max_months=3),
            awards=(
                Award(
                    id="done",
                    title="Done",
                    kind="completion",
                    rule=Always(check="always"),
                    confirmation="automatic",
                ),
            ),
        )
    ),
    CohortOpened(
        cohort_id="c1",
        programme_id="course",
        programme_version=1,
        zone="Europe/London",
        starts_on=DAY,
        ends_on=date(2024, 12, 31),
        capacity=26,
        waiting_list=True,
        provider_id="provider-a",
        sessions=(SESSION,),
    ),
    SessionScheduled(session=SESSION),
    SessionCancelled(session_id="s1", reason_code="snow"),
    PlaceTaken(person_id="learner-01", request=1, on=DAY, freed_on=None),
    QueueJoined(person_id="learner-01", request=1, on=DAY),
    PlaceDeclined(person_id="learner-01", request=1),
    PlaceReleased(person_id="learner-01", on=DAY),
    QueueLeft(person_id="learner-01"),
    EnrolmentRequested(
        cohort_id="c1",
        person_id="learner-01",
        programme_id="course",
        programme_version=1,
        employer_id="e06000001",
        references=(Reference(provider_id="provider-a", reference=SEALED, key="index"),),
        effective_on=DAY,
        limited=True,
    ),
    EnrolmentPlaced(placed_on=DAY),
    EnrolmentWaitlisted(),
    EnrolmentDeclined(),
    EnrolmentWithdrawn(withdrawn_on=DAY, reason_code="changed-job"),
    AttendanceRecorded(
        unit=Unit(session_id="s1"),
        value=Attended(state="partial", minutes=90),
        provider_id="provider-a",
        by="tutor-1",
        at=NOON,
    ),
    AttendanceCorrected(
        unit=Unit(unscheduled=RECORD),
        value=Attended(state="excused", excuse_code="illness"),
        provider_id="provider-a",
        by="tutor-1",
        at=NOON,
        replaces=3,
        reason_code="wrong-learner",
    ),
]
DECIDERS = (PERSON, PROGRAMME, COHORT, POOL, ENROLMENT)
# What the golden file of an older version is read as today.
OLDER: dict[str, Event] = {}


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: event.stored_type)
def test_an_event_is_stored_and_read_as_its_golden_file_says(event: Event) -> None:
    check_golden(GOLDEN, DECIDERS, event)


@pytest.mark.parametrize(("stored_type", "event"), OLDER.items(), ids=OLDER)
def test_an_older_version_is_read_as_todays_event(stored_type: str, event: Event) -> None:
    check_golden(GOLDEN, DECIDERS, event, stored_type=stored_type)


def test_every_type_has_its_golden_file_and_every_golden_file_its_type() -> None:
    check_golden_complete(GOLDEN, DECIDERS, SAMPLES, OLDER)
