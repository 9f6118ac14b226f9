"""The loops, on real parts: whoever waits gets a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from eventcore import loops
from eventcore.deliver import Publisher
from eventcore.event import Recorded
from eventcore.limits import BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS
from eventcore.loops import Wake, deliver_forever
from eventcore.memory import MemoryAppends
from eventcore.record import PublicEvent, Record
from eventcore.store import Append, Mark, StoreUnavailable

from .kafka_rig import until
from .sample import JAR, drop, executor, public
from .test_deliver import SampleBus, publisher, stored

BACKLOG = 200
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


async def test_a_backlog_goes_out_though_there_is_always_something_fresher() -> None:
    """Each send is at once followed by a fresh append, so that the hints never end."""
    store, wake, number = await stored(*((f"jar-{n}--a", 1) for n in range(BACKLOG))), Wake(), count()

    class Busy:
        async def send(self, records: Sequence[Record]) -> list[bool]:
            await asyncio.sleep(0)
            stream = f"jar-{next(number)}--live"
            await executor(store).execute(JAR, [drop(stream, "k", 1)])
            wake([stream])
            return [True] * len(records)

        async def renew(self) -> None:
            return None

    work = Publisher(store, {"jar": JAR}, public, Busy(), topic="jars.v1", source="sample", limit=5)
    running = asyncio.create_task(deliver_forever(work, wake, report=lambda _: None, done=lambda _: None))
    try:
        await until(lambda: not any(s.endswith("--a") for s, _ in store.marked["unpublished"]), "the backlog is out")
    finally:
        running.cancel()


@dataclass
class Fails(MemoryAppends):
    """A database that is away for the first few reads of what waits."""

    away: int = 3

    async def pending(self, mark: Mark, *, streams: Sequence[str] | None = None, limit: int) -> list[Append]:
        self.away -= 1
        if self.away >= 0:
            raise StoreUnavailable("away")
        return await super().pending(mark, streams=streams, limit=limit)


async def test_what_was_hinted_at_while_the_database_was_away_is_not_forgotten() -> None:
    """Nobody else looks at it before it is old."""
    store, wake, bus = Fails(), Wake(), SampleBus()
    await executor(store).execute(JAR, [drop("jar-1--a", "k", 1)])
    work = publisher(store, bus, left_before=lambda: LONG_AGO)
    wake(["jar-1--a"])
    running = asyncio.create_task(deliver_forever(work, wake, report=lambda _: None, done=lambda _: None))
    try:
        await until(lambda: bool(bus.topic), "it is out")
    finally:
        running.cancel()


@dataclass
class Asked(MemoryAppends):
    """Counts how often it is asked what waits."""

    times: int = 0

    async def waiting(self, *args: Any, **more: Any) -> list[str]:
        self.times += 1
        return await super().waiting(*args, **more)


async def test_the_store_is_not_asked_what_else_waits_after_each_stream_that_is_hinted_at() -> None:
    store, wake, bus = Asked(), Wake(), SampleBus()
    work = publisher(store, bus)
    forever = deliver_forever(work, wake, poll_seconds=3600, report=lambda _: None, done=lambda _: None)
    running = asyncio.create_task(forever)
    try:
        await until(lambda: store.times == 1, "it asked what was there before it")
        for n in range(20):
            await executor(store).execute(JAR, [drop(f"jar-{n}--a", "k", 1)])
            wake([f"jar-{n}--a"])
            await until(lambda n=n: len(bus.topic) == n + 1, "it is out")  # type: ignore[misc]
    finally:
        running.cancel()
    assert store.times == 1


async def test_what_is_hinted_at_goes_out_though_more_streams_fail_than_can_stand_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every page then meets one that fails, and the pause after it is longer than the time between two pages."""
    monkeypatch.setattr("eventcore.deliver.ASIDE_MAX", 2)
    monkeypatch.setattr("eventcore.loops.BACKOFF_FIRST_SECONDS", 0.02)
    failing, live = [f"jar-{n}--a" for n in range(6)], [f"jar-{n}--live" for n in range(9)]
    store, wake, bus = await stored(*((stream, 1) for stream in (*failing, *live))), Wake(), SampleBus()

    def refusing(event: Recorded[Any]) -> PublicEvent | None:
        if event.stream in failing:
            raise ValueError("Sample Learner 01")
        return public(event)

    work = Publisher(store, {"jar": JAR}, refusing, bus, topic="jars.v1", source="sample", limit=2)
    forever = deliver_forever(work, wake, poll_seconds=0.01, report=lambda _: None, done=lambda _: None)
    running = asyncio.create_task(forever)
    try:
        for stream in live:
            wake([stream])
            await until(lambda s=stream: f"{s}@1" in bus.topic, "it is out")  # type: ignore[misc]
    finally:
        running.cancel()
    assert work.problem


def hinted(wake: Wake, *numbers: int) -> list[int]:
    wake([f"jar-{n}--a" for n in numbers])
    return [int(stream[4:-3]) for stream in wake.streams]


def test_no_more_streams_are_hinted_at_than_the_limit_however_many_come_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loops, "HINTS_MAX", 3)
    wake = Wake()

    assert hinted(wake, 0, 1) == [0, 1]
    assert hinted(wake, 0, 1, 2) == [0, 1, 2], "those that are there already take no room"
    assert hinted(wake, 2, 3) == [0, 1, 2]
    assert hinted(Wake(), 0, 1, 2, 3) == [0, 1, 2], "many at once are no more than one by one"
    assert wake.event.is_set()


async def test_what_is_beyond_the_hints_is_found_in_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "HINTS_MAX", 3)
    names = [f"jar-{n}--a" for n in range(5)]
    store, wake, bus = await stored(*((name, 1) for name in names)), Wake(), SampleBus()
    forever = deliver_forever(
        publisher(store, bus), wake, poll_seconds=0.01, report=lambda _: None, done=lambda _: None
    )

    wake(names)
    running = asyncio.create_task(forever)
    try:
        await until(lambda: not store.marked["unpublished"], "all of it is out")
    finally:
        running.cancel()
    assert sorted(bus.topic) == [f"{name}@1" for name in names]


def test_a_step_takes_so_many_hints_and_leaves_the_rest_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "HINTS_A_STEP_MAX", 3)
    for many in (3, 4):
        wake = Wake()
        wake([f"jar-{n}--a" for n in range(many)])
        assert [len(wake.take()) for _ in range(3)] == [3, many - 3, 0]


async def test_between_two_tries_is_twice_the_pause_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is tried for as long as the process runs: here until the database is back."""
    pauses: list[float] = []

    async def passes(seconds: float) -> None:
        pauses.append(seconds)
        await slept(0)

    slept = asyncio.sleep
    monkeypatch.setattr("eventcore.loops.asyncio.sleep", passes)
    store, wake, bus = Fails(away=10), Wake(), SampleBus()
    await executor(store).execute(JAR, [drop("jar-1--a", "k", 1)])
    told: list[str | None] = []
    running = asyncio.create_task(deliver_forever(publisher(store, bus), wake, report=told.append, done=lambda _: None))
    try:
        while not bus.topic:
            await slept(0)
    finally:
        running.cancel()
    assert pauses == [min(BACKOFF_FIRST_SECONDS * 2**n, BACKOFF_LAST_SECONDS) for n in range(10)]
    assert pauses[-3:] == [BACKOFF_LAST_SECONDS] * 3
    assert told[:10] == ["away"] * 10
