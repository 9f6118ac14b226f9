"""A mentor's profile: what a match is made on. Whether a mentor stands is an award, decided by accreditation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Literal, TypeAlias, assert_never

from pydantic import BaseModel, ConfigDict

from eventcore.decider import Command, Decider, Refusal
from eventcore.event import Event
from eventcore.personal import Sealed
from mentoring.domain.limits import MENTOR_EVENTS_MAX
from mentoring.domain.values import LOOKED_UP

CATEGORY = "mentor"
BACKGROUNDS = ("children", "adults", "health", "education", "corporate", "other")
SECTORS = ("public", "private", "third")

Background: TypeAlias = Literal["children", "adults", "health", "education", "corporate", "other"]
Sector: TypeAlias = Literal["public", "private", "third"]


class Profile(BaseModel):
    """What mentees and admissions choose by. The pen portrait is free text about a person: sealed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    background: Background
    sector: Sector
    in_post: bool
    corporate_experience: bool
    employer_id: str
    pen_portrait: Sealed | None


# Events


class MentorRegistered(Event):
    stored_type: ClassVar[str] = "mentor.registered.v1"
    person_id: str
    profile: Profile


class MentorProfileChanged(Event):
    stored_type: ClassVar[str] = "mentor.profile-changed.v1"
    profile: Profile


MentorEvent: TypeAlias = MentorRegistered | MentorProfileChanged


# State: the profile, None before registration


def evolve(state: Profile | None, event: MentorEvent, version: int) -> Profile | None:
    match event:
        case MentorRegistered() | MentorProfileChanged():
            return event.profile
        case _:
            assert_never(event)


# Commands


class RegisterMentor(Command):
    """Registers a mentor, or replaces the profile of one; `objection` is that the person was erased."""

    person_id: str
    profile: Profile
    objection: Refusal | None = LOOKED_UP


def decide(command: RegisterMentor, state: Profile | None, now: datetime) -> Sequence[MentorEvent] | Refusal:
    if command.profile == state:
        return []
    if command.objection is not None:
        return command.objection
    if state is None:
        return [MentorRegistered(person_id=command.person_id, profile=command.profile)]
    return [MentorProfileChanged(profile=command.profile)]


MENTOR: Decider[Profile | None, RegisterMentor, MentorEvent] = Decider(
    category=CATEGORY,
    events=(MentorRegistered, MentorProfileChanged),
    initial=None,
    evolve=evolve,
    decide=decide,
    events_max=MENTOR_EVENTS_MAX,
)
