"""The loops, on real parts: whoever waits gets a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from eventcore.deliver import Publisher
from eventcore.event import Recorded
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
