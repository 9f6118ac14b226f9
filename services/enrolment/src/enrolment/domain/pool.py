"""The places of a cohort and the queue for them: stream `pool-<cohort id>`.

The order of the queue is the order of the stream; no clock has a say in it. A cohort without a limit has no pool.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from datetime import date, datetime
from typing import ClassVar, Final, TypeAlias, assert_never

from pydantic import Field

from enrolment.domain.limits import DECLINED_KEPT, POOL_EVENTS_MAX, WAITING_MAX
from enrolment.domain.values import Value
from eventcore.decider import Command, Decider, Refusal
from eventcore.event import Event

CATEGORY: Final = "pool"


def pool_stream(cohort_id: str) -> str:
    return f"{CATEGORY}-{cohort_id}"


# Events. `request` is the version of the request in the learner's enrolment: it says which question was answered, so
# that whoever was declined can ask again.


class PlaceTaken(Event):
    stored_type: ClassVar[str] = "pool.place-taken.v1"
    person_id: str
    request: int
    on: date  # the civil date from which the place is theirs
    freed_on: date | None  # of the released place it is, None for one that nobody had before


class QueueJoined(Event):
    stored_type: ClassVar[str] = "pool.queue-joined.v1"
    person_id: str
    request: int
    on: date  # the civil date from which a place was asked for


class PlaceDeclined(Event):
    stored_type: ClassVar[str] = "pool.place-declined.v1"
    person_id: str
    request: int


class PlaceReleased(Event):
    stored_type: ClassVar[str] = "pool.place-released.v1"
    ends: ClassVar[bool] = True
    person_id: str
    on: date  # the first civil date on which it is free


class QueueLeft(Event):
    stored_type: ClassVar[str] = "pool.queue-left.v1"
    ends: ClassVar[bool] = True
    person_id: str


PoolEvent: TypeAlias = PlaceTaken | QueueJoined | PlaceDeclined | PlaceReleased | QueueLeft


# State


class Member(Value):
    """Who holds a place, or waits for one, from which civil date."""

    person_id: str
    request: int
    on: date


class Pool(Value):
    """`waiting` is in the queue's order; `free_from` are the first free days of released places that nobody took yet;
    `declined` holds the request that was declined last, by person."""

    placed: tuple[Member, ...] = ()
    waiting: tuple[Member, ...] = ()
    free_from: tuple[date, ...] = ()
    declined: dict[str, int] = Field(default_factory=dict)

    def holds(self, person_id: str) -> bool:
        return any(member.person_id == person_id for member in (*self.placed, *self.waiting))

    def place_of(self, person_id: str) -> Member | None:
        return next((member for member in self.placed if member.person_id == person_id), None)

    def position_of(self, person_id: str) -> int:
        """From 1; 0 for somebody who does not wait."""
        return next((i for i, member in enumerate(self.waiting, start=1) if member.person_id == person_id), 0)


def evolve(state: Pool, event: PoolEvent, version: int) -> Pool:
    match event:
        case PlaceTaken(person_id=person_id, request=request, on=on, freed_on=freed_on):
            left = list(state.free_from)
            if freed_on is not None:
                left.remove(freed_on)
            placed = (*state.placed, Member(person_id=person_id, request=request, on=on))
            return state.model_copy(
                update={
                    "placed": placed,
                    "waiting": _without(state.waiting, person_id),
                    "free_from": tuple(left),
                }
            )
        case QueueJoined(person_id=person_id, request=request, on=on):
            member = Member(person_id=person_id, request=request, on=on)
            return state.model_copy(update={"waiting": (*state.waiting, member)})
        case PlaceDeclined(person_id=person_id, request=request):
            others = {person: asked for person, asked in state.declined.items() if person != person_id}
            kept = dict([*others.items(), (person_id, request)][-DECLINED_KEPT:])
            return state.model_copy(update={"declined": kept})
        case PlaceReleased(person_id=person_id, on=on):
            free_from = list(state.free_from)
            insort(free_from, on)
            return state.model_copy(update={"placed": _without(state.placed, person_id), "free_from": tuple(free_from)})
        case QueueLeft(person_id=person_id):
            return state.model_copy(update={"waiting": _without(state.waiting, person_id)})
        case _:
            assert_never(event)


def _without(members: tuple[Member, ...], person_id: str) -> tuple[Member, ...]:
    """Sliced around the one: a comparison of every member, for every event of a large pool, takes seconds."""
    at = next((i for i, member in enumerate(members) if member.person_id == person_id), None)
    return members if at is None else members[:at] + members[at + 1 :]


# Commands


class Join(Command):
    """Asks for a place from `on`. The limit is the cohort's, fixed when it was opened."""

    person_id: str
    request: int
    on: date
    capacity: int
    waiting_list: bool


class Leave(Command):
    """Gives up the place, or the place in the queue. `on` is the first civil date on which it is free."""

    person_id: str
    on: date


PoolCommand: TypeAlias = Join | Leave


# Decide


def decide(command: PoolCommand, state: Pool, now: datetime) -> Sequence[PoolEvent] | Refusal:
    match command:
        case Join():
            return _join(command, state)
        case Leave():
            return _leave(command, state)
        case _:
            assert_never(command)


def _join(command: Join, state: Pool) -> Sequence[PoolEvent]:
    person_id, request = command.person_id, command.request
    if state.holds(person_id) or state.declined.get(person_id) == request:
        return []
    # Whoever waits comes before whoever comes now.
    if len(state.placed) < command.capacity and not state.waiting:
        return [_take(command, state)]
    if command.waiting_list and len(state.waiting) < WAITING_MAX:
        return [QueueJoined(person_id=person_id, request=request, on=command.on)]
    return [PlaceDeclined(person_id=person_id, request=request)]


def _take(command: Join, state: Pool) -> PlaceTaken:
    """A place that nobody had, else the one that is free first, from that day on: its holder may still be coming."""
    fresh = len(state.placed) + len(state.free_from) < command.capacity
    freed_on = None if fresh else state.free_from[0]
    on = max(command.on, freed_on) if freed_on else command.on
    return PlaceTaken(person_id=command.person_id, request=command.request, on=on, freed_on=freed_on)


def _leave(command: Leave, state: Pool) -> Sequence[PoolEvent]:
    if state.position_of(command.person_id):
        return [QueueLeft(person_id=command.person_id)]
    place = state.place_of(command.person_id)
    if place is None:
        return []
    # A place that was theirs only from a later day is not free before it: until then it is still another's.
    free = max(command.on, place.on)
    released = PlaceReleased(person_id=command.person_id, on=free)
    if not state.waiting:
        return [released]
    # In the same append: between the two nobody else can take the place.
    first = state.waiting[0]
    taken = PlaceTaken(person_id=first.person_id, request=first.request, on=max(first.on, free), freed_on=free)
    return [released, taken]


POOL: Decider[Pool, PoolCommand, PoolEvent] = Decider(
    category=CATEGORY,
    events=(PlaceTaken, QueueJoined, PlaceDeclined, PlaceReleased, QueueLeft),
    initial=Pool(),
    evolve=evolve,
    decide=decide,
    events_max=POOL_EVENTS_MAX,
)
