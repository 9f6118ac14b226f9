"""A mentor's profile, in sentences."""

from __future__ import annotations

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


def register(profile: Profile) -> RegisterMentor:
    return RegisterMentor(person_id="mentor-a", profile=profile)


def test_a_mentor_is_registered_once() -> None:
    registered = MentorRegistered(person_id="mentor-a", profile=PROFILE)
    given(MENTOR).when(register(PROFILE)).then(registered)
    given(MENTOR, registered).when(register(PROFILE)).then_nothing()


def test_registering_again_with_other_words_replaces_the_profile() -> None:
    registered = MentorRegistered(person_id="mentor-a", profile=PROFILE)
    given(MENTOR, registered).when(register(RETIRED)).then(MentorProfileChanged(profile=RETIRED))
    given(MENTOR, registered, MentorProfileChanged(profile=RETIRED)).when(register(RETIRED)).then_nothing()
