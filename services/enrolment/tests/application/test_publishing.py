"""What leaves the service: a message for every event others may see, and nothing personal in any."""

from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

from credence.enrolment.v1 import events_pb2
from enrolment.application.publishing import public
from enrolment.domain.attendance import Attended, Unit, Unscheduled
from enrolment.domain.enrolment import AttendanceCorrected, EnrolmentRequested, Reference
from enrolment.domain.person import PersonNamed, PersonRegistered
from enrolment.domain.pool import QueueLeft
from enrolment.main import PARTS
from eventcore.event import Event, Recorded
from eventcore.personal import Sealed

NOW = datetime(2024, 10, 1, 12, 0, tzinfo=UTC)
SECRET = Sealed(person="learner-01", field="name", box="c2VjcmV0")


def told(stream: str, event: Event) -> Any:
    return public(Recorded(stream, 4, event, NOW))


def test_of_a_person_others_learn_only_whether_a_name_is_on_file() -> None:
    registered = PersonRegistered(name=SECRET, email=SECRET)
    assert told("person-learner-01", registered) == events_pb2.PersonRegistered(person_id="learner-01", named=True)
    assert told("person-learner-01", PersonNamed(name=SECRET)) == events_pb2.PersonNamed(person_id="learner-01")


def test_of_a_request_others_do_not_learn_the_providers_references() -> None:
    requested = EnrolmentRequested(
        cohort_id="c1",
        person_id="learner-01",
        programme_id="course",
        programme_version=2,
        employer_id=None,
        references=(Reference(provider_id="provider-a", reference=SECRET),),
        effective_on=date(2024, 10, 1),
        limited=True,
    )
    message = told("enrolment-c1--learner-01", requested)
    assert message == events_pb2.EnrolmentRequested(
        cohort_id="c1",
        person_id="learner-01",
        programme_id="course",
        programme_version=2,
        effective_on="2024-10-01",
    )
    assert SECRET.box.encode() not in message.SerializeToString()


def test_a_correction_is_told_with_what_it_replaces_and_without_who_posted_it() -> None:
    unit = Unscheduled(
        unit_kind="shadowing", record_id="r1", on=date(2024, 10, 1), attributes={"sector": "third"}, minutes=420
    )
    corrected = AttendanceCorrected(
        unit=Unit(unscheduled=unit),
        value=Attended(state="partial", minutes=90),
        provider_id="provider-a",
        by="tutor-1",
        at=NOW,
        replaces=3,
        reason_code="left-early",
    )
    message = told("enrolment-c1--learner-01", corrected)
    assert (message.replaces, message.reason_code, message.value.minutes) == (3, "left-early", 90)
    assert dict(message.unscheduled.attributes) == {"sector": "third"}
    assert b"tutor-1" not in message.SerializeToString()


def test_how_places_are_shared_out_goes_out_as_a_bare_marker() -> None:
    assert told("pool-c1", QueueLeft(person_id="learner-01")) is None


def test_every_stored_event_has_a_case() -> None:
    for decider in PARTS.deciders:
        for event in decider.events:
            empty = event.model_construct(**dict.fromkeys(event.model_fields))
            with suppress(AttributeError):  # its case was found, and stumbled over the empty fields
                told(f"{decider.category}-x", empty)
