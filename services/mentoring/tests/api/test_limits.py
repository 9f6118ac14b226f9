"""What a row may say: at each limit it is taken, beyond it it is refused naming the field, and nothing is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from credence.common.v1 import outcome_pb2
from credence.mentoring.v1 import matches_pb2, mentors_pb2
from mentoring.api.matches import MatchApi
from mentoring.api.mentors import MentorApi
from mentoring.domain import limits
from mentoring.main import PARTS
from servicekit.testing import World

Send = Callable[[World, int], Awaitable[outcome_pb2.BatchResponse]]


async def registered(world: World, portrait: str) -> outcome_pb2.BatchResponse:
    row = mentors_pb2.RegisterMentor(person_id="m1", background="children", sector="public", pen_portrait=portrait)
    api = MentorApi(world.kernel("mentoring"))
    request = mentors_pb2.RegisterMentorsRequest(rows=[row])
    return await world.call(api.RegisterMentors, request, roles={"admissions"})


async def offered(world: World, mentors: int) -> outcome_pb2.BatchResponse:
    named = [f"m{n}" for n in range(mentors)]
    row = matches_pb2.OfferShortlist(cohort_id="c1", person_id="p1", mentor_ids=named)
    api: Any = MatchApi(world.kernel("mentoring"))
    request = matches_pb2.OfferShortlistsRequest(rows=[row])
    answer: outcome_pb2.BatchResponse = await world.call(api.OfferShortlists, request, roles={"admissions"})
    return answer


# The limit's field, its value, a row that is as long, and what becomes of that: a shortlist is read whole, and is of a
# cohort that nobody has heard of.
TABLE: tuple[tuple[str, int, Send, str], ...] = (
    ("pen_portrait", limits.PORTRAIT_CHARS_MAX, lambda world, n: registered(world, "x" * n), ""),
    ("mentor_ids", limits.MENTORS_MAX, offered, "not-found"),
)


@pytest.mark.parametrize(("field", "most", "send", "code"), TABLE, ids=[field for field, *_ in TABLE])
async def test_a_row_at_the_limit_is_read_and_one_beyond_it_is_refused_by_name(
    field: str, most: int, send: Send, code: str
) -> None:
    world = World(PARTS)
    [refused] = (await send(world, most + 1)).outcomes
    assert refused.code == "invalid-argument"
    assert [violation.field for violation in refused.violations] == [field]
    assert world["mentoring"].appends.streams == {}
    [taken] = (await send(world, most)).outcomes
    assert taken.code == code, taken
