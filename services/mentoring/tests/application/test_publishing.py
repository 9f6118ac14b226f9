"""What others learn of mentoring's events, and what they must not."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

from credence.mentoring.v1 import events_pb2
from eventcore.event import Recorded
from eventcore.personal import Sealed
from mentoring.application.publishing import public
from mentoring.domain.match import MeetingConfirmed, MeetingHeld, MentorChosen, ShortlistOffered
from mentoring.domain.mentor import MentorProfileChanged, MentorRegistered, Profile
from mentoring.main import PARTS

NOW = datetime(2024, 10, 1, 12, 0, tzinfo=UTC)
MATCH = "match-c1--mentee-01"
PROFILE = Profile(
    background="children",
    sector="public",
    in_post=True,
    corporate_experience=True,
    employer_id="e06000001",
    pen_portrait=Sealed(person="mentor-a", field="pen-portrait", box="Ym94"),
)


def told(stream: str, event: Any) -> Any:
    return public(Recorded(stream, 4, event, NOW))


def test_of_a_mentor_others_learn_the_id_and_nothing_of_the_profile() -> None:
    registered = MentorRegistered(person_id="mentor-a", profile=PROFILE)
    assert told("mentor-mentor-a", registered) == events_pb2.MentorRegistered(person_id="mentor-a")


def test_a_changed_profile_and_one_sides_word_go_out_as_bare_markers() -> None:
    assert told("mentor-mentor-a", MentorProfileChanged(profile=PROFILE)) is None
    assert told(MATCH, MeetingConfirmed(meeting_id="m1", on=date(2024, 11, 1), side="mentee")) is None


def test_a_match_is_told_by_ids_and_civil_dates() -> None:
    offered = ShortlistOffered(mentor_ids=("mentor-a", "mentor-b"))
    assert told(MATCH, offered) == events_pb2.ShortlistOffered(mentor_ids=["mentor-a", "mentor-b"])
    chosen = MentorChosen(mentor_id="mentor-a", matched_on=date(2024, 10, 1), window_ends_on=date(2025, 10, 1))
    assert told(MATCH, chosen) == events_pb2.MentorChosen(
        mentor_id="mentor-a", matched_on="2024-10-01", window_ends_on="2025-10-01"
    )
    held = MeetingHeld(meeting_id="m1", on=date(2024, 11, 1))
    assert told(MATCH, held) == events_pb2.MeetingHeld(meeting_id="m1", on="2024-11-01")


def test_every_other_stored_event_is_told() -> None:
    for decider in PARTS.deciders:
        for event in {*decider.events} - {MentorProfileChanged, MeetingConfirmed}:
            empty = event.model_construct(**dict.fromkeys(event.model_fields))
            with suppress(AttributeError):  # its case was found, and stumbled over the empty fields
                assert told(f"{decider.category}-x", empty) is not None, event.stored_type
