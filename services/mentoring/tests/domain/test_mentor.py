"""A mentor's profile, in sentences."""

from __future__ import annotations

from eventcore.decider import Refusal
from eventcore.testing import given
from mentoring.domain.mentor import MENTOR, MentorProfileChanged, MentorRegistered, Profile, RegisterMentor

PROFILE = Profile(
    background="children",
    sector="public",
    in_post=True,
    corporate_experience=False,
    employer_id="e1",
    pen_portrait=None,
)
RETIRED = PROFILE.model_copy(update={"in_post": False})


ERASED = Refusal("person-erased", "this person was erased")


def register(profile: Profile, objection: Refusal | None = None) -> RegisterMentor:
    return RegisterMentor(person_id="mentor-a", profile=profile, objection=objection)


def test_a_mentor_is_registered_once() -> None:
    registered = MentorRegistered(person_id="mentor-a", profile=PROFILE)
    given(MENTOR).when(register(PROFILE)).then(registered)
    given(MENTOR, registered).when(register(PROFILE)).then_nothing()


def test_registering_again_with_other_words_replaces_the_profile() -> None:
    registered = MentorRegistered(person_id="mentor-a", profile=PROFILE)
    given(MENTOR, registered).when(register(RETIRED)).then(MentorProfileChanged(profile=RETIRED))
    given(MENTOR, registered, MentorProfileChanged(profile=RETIRED)).when(register(RETIRED)).then_nothing()


def test_whoever_was_erased_is_not_registered_and_their_profile_stays_as_it_is() -> None:
    registered = MentorRegistered(person_id="mentor-a", profile=PROFILE)
    given(MENTOR).when(register(PROFILE, ERASED)).then_refused("person-erased")
    given(MENTOR, registered).when(register(RETIRED, ERASED)).then_refused("person-erased")
    given(MENTOR, registered).when(register(PROFILE, ERASED)).then_nothing()


def test_an_erasure_is_no_part_of_what_was_sent() -> None:
    assert register(PROFILE, ERASED).model_dump(mode="json") == register(PROFILE).model_dump(mode="json")
