"""Registering mentors: seal what is personal, then execute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eventcore.decider import Refusal
from eventcore.execute import Request
from eventcore.outcome import Outcome
from eventcore.store import KeyErased
from mentoring.domain.mentor import CATEGORY, MENTOR, Background, Profile, RegisterMentor, Sector
from servicekit.kernel import NOT_FOUND, Kernel
from servicekit.scope import Scope


@dataclass(frozen=True)
class MentorWish:
    """A row as understood; `pen_portrait` in the clear, empty for none."""

    command_id: str
    person_id: str
    background: Background
    sector: Sector
    in_post: bool
    corporate_experience: bool
    employer_id: str
    pen_portrait: str


async def register_mentors(
    kernel: Kernel, scope: Scope, wishes: Sequence[MentorWish | Refusal]
) -> list[Outcome[Profile | None]]:
    rows = [wish if isinstance(wish, Refusal) else await _request(kernel, scope, wish) for wish in wishes]
    return await kernel.execute(MENTOR, rows)


async def _request(kernel: Kernel, scope: Scope, wish: MentorWish) -> Request[RegisterMentor] | Refusal:
    if not scope.sees_person(wish.person_id):
        return NOT_FOUND
    try:
        portrait = (
            await kernel.keyring.seal(wish.person_id, "pen-portrait", wish.pen_portrait) if wish.pen_portrait else None
        )
    except KeyErased:
        return Refusal("person-erased", "this person was erased: nothing personal is kept of them again")
    profile = Profile(
        background=wish.background,
        sector=wish.sector,
        in_post=wish.in_post,
        corporate_experience=wish.corporate_experience,
        employer_id=wish.employer_id,
        pen_portrait=portrait,
    )
    command = RegisterMentor(person_id=wish.person_id, profile=profile)
    return kernel.request(f"{CATEGORY}-{wish.person_id}", command, wish.command_id)
