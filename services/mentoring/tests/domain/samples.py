"""A sample of every stored event: with everything it may say, and with no more than it must."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Final

from eventcore.goldens import Goldens
from eventcore.personal import Sealed
from mentoring.domain.match import MATCH, MeetingConfirmed, MeetingHeld, MentorChosen, ShortlistOffered
from mentoring.domain.mentor import MENTOR, MentorProfileChanged, MentorRegistered, Profile

PROFILE = Profile(
    background="children",
    sector="public",
    in_post=True,
    corporate_experience=False,
    employer_id="e06000001",
    pen_portrait=Sealed(person="mentor-a", field="pen-portrait", box="Ym94"),
)
BARE_PROFILE = PROFILE.model_copy(update={"in_post": False, "pen_portrait": None})

GOLDENS: Final = Goldens(
    Path(__file__).parent / "golden",
    (MENTOR, MATCH),
    {
        "full": [
            MentorRegistered(person_id="mentor-a", profile=PROFILE),
            MentorProfileChanged(profile=PROFILE),
            ShortlistOffered(mentor_ids=("mentor-a", "mentor-b", "mentor-c")),
            MentorChosen(mentor_id="mentor-a", matched_on=date(2024, 10, 1), window_ends_on=date(2025, 10, 1)),
            MeetingConfirmed(meeting_id="m1", on=date(2024, 11, 1), side="mentee"),
            MeetingHeld(meeting_id="m1", on=date(2024, 11, 1)),
        ],
        "required": [
            MentorRegistered(person_id="mentor-a", profile=BARE_PROFILE),
            MentorProfileChanged(profile=BARE_PROFILE),
        ],
        "without-portrait": [
            MentorProfileChanged(profile=PROFILE.model_copy(update={"in_post": False, "pen_portrait": None}))
        ],
    },
)
