"""Stored events are read for decades: every type has a golden file, which is added once and never edited.

A missing file is written by the failing test for you to look at and commit; a changed shape needs a new type name.
"""

from datetime import date
from pathlib import Path

import pytest

from eventcore.event import Event
from eventcore.personal import Sealed
from eventcore.testing import check_golden, check_golden_complete
from mentoring.domain.match import MATCH, MeetingConfirmed, MeetingHeld, MentorChosen, ShortlistOffered
from mentoring.domain.mentor import MENTOR, MentorProfileChanged, MentorRegistered, Profile

GOLDEN = Path(__file__).parent / "golden"
DECIDERS = (MENTOR, MATCH)
PROFILE = Profile(
    background="children",
    sector="public",
    in_post=True,
    corporate_experience=False,
    employer_id="e06000001",
    pen_portrait=Sealed(person="mentor-a", field="pen-portrait", box="Ym94"),
)
SAMPLES: list[Event] = [
    MentorRegistered(person_id="mentor-a", profile=PROFILE),
    MentorProfileChanged(profile=PROFILE.model_copy(update={"in_post": False, "pen_portrait": None})),
    ShortlistOffered(mentor_ids=("mentor-a", "mentor-b", "mentor-c")),
    MentorChosen(mentor_id="mentor-a", matched_on=date(2024, 10, 1), window_ends_on=date(2025, 10, 1)),
    MeetingConfirmed(meeting_id="m1", on=date(2024, 11, 1), side="mentee"),
    MeetingHeld(meeting_id="m1", on=date(2024, 11, 1)),
]
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
