"""Registering mentors: look who was erased, seal what is personal, then execute."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from eventcore.decider import Refusal
from eventcore.execute import Request
from eventcore.outcome import Outcome
from eventcore.store import KeyErased
from mentoring.domain.mentor import CATEGORY, MENTOR, Background, Profile, RegisterMentor, Sector
from mentoring.views import people
from mentoring.views.people import PEOPLE
from servicekit.kernel import NOT_FOUND, Kernel
from servicekit.scope import Scope

PERSON_ERASED: Final = Refusal(
    "person-erased", "this person was erased: nothing personal is kept of them again, so leave it out"
)


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
    streams = {f"{people.CATEGORY}-{wish.person_id}" for wish in wishes if isinstance(wish, MentorWish)}
    known = await kernel.reader.get(PEOPLE, sorted(streams))
    # Without a portrait nothing is sealed, and no key that is gone would tell.
    erased = {stream for stream, fact in known.items() if fact.document is not None and fact.document.erased}
    rows = [wish if isinstance(wish, Refusal) else await _request(kernel, scope, wish, erased) for wish in wishes]
    return await kernel.execute(MENTOR, rows)


async def _request(
    kernel: Kernel, scope: Scope, wish: MentorWish, erased: Collection[str]
) -> Request[RegisterMentor] | Refusal:
    if not scope.sees_person(wish.person_id):
        return NOT_FOUND
    try:
        portrait = (
            await kernel.keyring.seal(wish.person_id, "pen-portrait", wish.pen_portrait) if wish.pen_portrait else None
        )
    except KeyErased:
        return PERSON_ERASED
    profile = Profile(
        background=wish.background,
        sector=wish.sector,
        in_post=wish.in_post,
        corporate_experience=wish.corporate_experience,
        employer_id=wish.employer_id,
        pen_portrait=portrait,
    )
    objection = PERSON_ERASED if f"{people.CATEGORY}-{wish.person_id}" in erased else None
    command = RegisterMentor(person_id=wish.person_id, profile=profile, objection=objection)
    return kernel.request(f"{CATEGORY}-{wish.person_id}", command, wish.command_id)
