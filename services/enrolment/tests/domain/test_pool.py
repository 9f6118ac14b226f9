from datetime import date, timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from enrolment.domain import limits
from enrolment.domain.pool import (
    POOL,
    Join,
    Leave,
    PlaceDeclined,
    PlaceReleased,
    PlaceTaken,
    Pool,
    PoolCommand,
    PoolEvent,
    QueueJoined,
    QueueLeft,
)
from eventcore.decider import Refusal
from eventcore.testing import NOON, given

OCTOBER, NOVEMBER, DECEMBER = date(2024, 10, 1), date(2024, 11, 1), date(2024, 12, 1)


def join(person: str, *, capacity: int = 1, waiting_list: bool = True, request: int = 1, on: date = OCTOBER) -> Join:
    return Join(person_id=person, request=request, on=on, capacity=capacity, waiting_list=waiting_list)


def taken(person: str, on: date = OCTOBER, freed_on: date | None = None) -> PlaceTaken:
    return PlaceTaken(person_id=person, request=1, on=on, freed_on=freed_on)


def queued(person: str, on: date = OCTOBER) -> QueueJoined:
    return QueueJoined(person_id=person, request=1, on=on)


def test_a_free_place_is_taken() -> None:
    given(POOL).when(join("a")).then(taken("a"))


def test_a_full_pool_puts_the_next_on_the_waiting_list() -> None:
    given(POOL, taken("a")).when(join("b")).then(queued("b"))


def test_a_full_pool_without_a_waiting_list_declines() -> None:
    given(POOL, taken("a")).when(join("b", waiting_list=False)).then(PlaceDeclined(person_id="b", request=1))


def test_nobody_is_in_twice() -> None:
    given(POOL, taken("a")).when(join("a")).then_nothing()
    given(POOL, taken("a"), queued("b")).when(join("b")).then_nothing()


def test_a_declined_request_stays_declined_and_a_new_one_is_a_new_question() -> None:
    before = (taken("a"), PlaceDeclined(person_id="b", request=1), PlaceReleased(person_id="a", on=OCTOBER))
    given(POOL, *before).when(join("b", waiting_list=False)).then_nothing()
    asked_again = given(POOL, *before).when(join("b", waiting_list=False, request=3))
    asked_again.then(PlaceTaken(person_id="b", request=3, on=OCTOBER, freed_on=OCTOBER))


def test_a_released_place_goes_to_the_first_who_waits_in_the_same_append() -> None:
    given(POOL, taken("a"), queued("b"), queued("c")).when(Leave(person_id="a", on=NOVEMBER)).then(
        PlaceReleased(person_id="a", on=NOVEMBER), taken("b", NOVEMBER, freed_on=NOVEMBER)
    )


def test_whoever_waits_for_a_later_day_gets_the_place_from_that_day() -> None:
    given(POOL, taken("a"), queued("b", DECEMBER)).when(Leave(person_id="a", on=NOVEMBER)).then(
        PlaceReleased(person_id="a", on=NOVEMBER), taken("b", DECEMBER, freed_on=NOVEMBER)
    )


def test_a_place_released_from_a_later_day_is_free_from_that_day_only() -> None:
    given(POOL, taken("a"), PlaceReleased(person_id="a", on=DECEMBER)).when(join("b")).then(
        taken("b", DECEMBER, freed_on=DECEMBER)
    )


def test_a_place_given_up_before_it_began_is_free_when_it_would_have_begun() -> None:
    """Until then it is still that of whoever held it before."""
    before = (taken("a"), PlaceReleased(person_id="a", on=DECEMBER), taken("b", DECEMBER, freed_on=DECEMBER))
    given(POOL, *before).when(Leave(person_id="b", on=NOVEMBER)).then(PlaceReleased(person_id="b", on=DECEMBER))


def test_somebody_who_waits_leaves_the_queue_and_frees_no_place() -> None:
    given(POOL, taken("a"), queued("b")).when(Leave(person_id="b", on=NOVEMBER)).then(QueueLeft(person_id="b"))


def test_whoever_is_not_in_the_pool_leaves_without_a_trace() -> None:
    given(POOL, taken("a")).when(Leave(person_id="b", on=NOVEMBER)).then_nothing()


def test_the_queue_has_an_end() -> None:
    full = Pool(
        placed=given(POOL, taken("a")).state.placed,
        waiting=given(POOL, queued("b")).state.waiting * limits.WAITING_MAX,
    )
    assert POOL.decide(join("c"), full, NOON) == [PlaceDeclined(person_id="c", request=1)]


def declined(person: str) -> PlaceDeclined:
    return PlaceDeclined(person_id=person, request=1)


def test_so_many_declined_requests_are_remembered_and_one_that_was_forgotten_is_answered_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("enrolment.domain.pool.DECLINED_KEPT", 2)
    full = (taken("a"), declined("b"), declined("c"))
    for known in "bc":
        given(POOL, *full).when(join(known, waiting_list=False)).then_nothing()

    one_more = (*full, declined("d"))
    assert list(given(POOL, *one_more).state.declined) == ["c", "d"]
    for known in "cd":
        given(POOL, *one_more).when(join(known, waiting_list=False)).then_nothing()
    given(POOL, *one_more).when(join("b", waiting_list=False)).then(declined("b"))


PERSONS = st.sampled_from("abcde")
DAYS = st.integers(0, 6).map(lambda days: OCTOBER + timedelta(days=days))


@for_all(
    capacity=st.integers(1, 3),
    waiting_list=st.booleans(),
    moves=st.lists(st.tuples(st.booleans(), PERSONS, DAYS), max_size=40),
)
def test_any_interleaving_of_joins_and_leaves_shares_out_the_places_fairly(
    capacity: int, waiting_list: bool, moves: list[tuple[bool, str, date]]
) -> None:
    """Never more than the capacity, on any day; nobody twice; a released place goes to the head of the queue."""
    state, events = POOL.initial, list[PoolEvent]()
    for request, (joins, person, day) in enumerate(moves, start=1):
        command: PoolCommand = (
            join(person, capacity=capacity, waiting_list=waiting_list, request=request, on=day)
            if joins
            else Leave(person_id=person, on=day)
        )
        head, free_places = state.waiting[:1], capacity - len(state.placed)
        decision = POOL.decide(command, state, NOON)
        assert not isinstance(decision, Refusal)
        for event in decision:
            state = POOL.evolve(state, event, len(events) + 1)
            events.append(event)
        members = [member.person_id for member in (*state.placed, *state.waiting)]
        assert len(members) == len(set(members))
        assert len(state.placed) <= capacity
        if any(isinstance(event, PlaceReleased) for event in decision) and head:
            assert state.placed[-1].person_id == head[0].person_id
        assert not (state.waiting and len(state.placed) < capacity), "somebody waits beside a free place"
        assert free_places >= 0
    assert all(_held_on(events, day) <= capacity for day in (OCTOBER + timedelta(days=i) for i in range(8)))


def _held_on(events: list[PoolEvent], day: date) -> int:
    """How many places are somebody's on a civil date, told from the whole history."""
    from_day: dict[str, date] = {}
    spells: list[tuple[date, date]] = []
    for event in events:
        if isinstance(event, PlaceTaken):
            from_day[event.person_id] = event.on
        elif isinstance(event, PlaceReleased):
            spells.append((from_day.pop(event.person_id), event.on))
    spells += [(first, date.max) for first in from_day.values()]
    return sum(first <= day < end for first, end in spells)
