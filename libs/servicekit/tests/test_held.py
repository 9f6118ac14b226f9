"""What is held is said: to a query that waits for it, in metrics and in health."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from google.rpc import code_pb2
from prometheus_client import CollectorRegistry

from eventcore.event import Recorded
from eventcore.fold import MARKER, Folder, Undecodable
from eventcore.held import Holding
from eventcore.loops import Report
from eventcore.memory import MemoryHeld, MemoryViews
from eventcore.rebuild import NoMarks
from eventcore.store import Entry
from servicekit.arrivals import Arrivals
from servicekit.errors import Unavailable
from servicekit.health import Health
from servicekit.health_metrics import HealthMetrics
from servicekit.held import count_forever, holding_work
from servicekit.lookout import SILENCE_SECONDS_MAX

from .test_arrivals import NOON, SEEN, TOKENS, Counting, kernel_of


def holding(views: MemoryViews) -> Holding:
    async def decoded(entry: Entry) -> Recorded[Any]:
        event: Any = Undecodable("sample cannot be read: ValueError") if entry.value == b"broken" else MARKER
        return Recorded(entry.stream, entry.version, event, NOON)

    return Holding("sample.facts", Folder([SEEN], views, NoMarks()), MemoryHeld(), decoded, lambda: NOON)


async def hold(aside: Holding, stream: str, version: int, value: bytes) -> None:
    entry = Entry("sample.facts", "e1", stream, version, "samples.v1", 0, version, None, (), value, NOON)
    await aside.fold({stream: [await aside._decode(entry)]}, lambda _record: entry)


async def test_a_query_for_what_is_held_is_answered_at_once_and_says_so() -> None:
    views = Counting()
    aside = holding(views)
    await hold(aside, "sample-1", 1, b"broken")
    kernel = kernel_of(views, Arrivals(), deadline_seconds=30, holdings=[aside])
    began = time.monotonic()

    with pytest.raises(Unavailable, match="sample-1 is held: what you wrote is stored") as refused:
        await kernel.caught_up(TOKENS.encode({"sample-1": 2}), views=[SEEN])

    assert (refused.value.reason, refused.value.code) == ("view-held", code_pb2.UNAVAILABLE)
    assert time.monotonic() - began < 20, "long before the deadline"


async def test_a_query_for_what_was_folded_before_it_was_held_is_answered() -> None:
    views = Counting()
    aside = holding(views)
    await hold(aside, "sample-1", 1, b"fine")
    await hold(aside, "sample-1", 2, b"broken")
    kernel = kernel_of(views, Arrivals(), deadline_seconds=30, holdings=[aside])

    await kernel.caught_up(TOKENS.encode({"sample-1": 1}), views=[SEEN])


@asynccontextmanager
async def working(aside: Holding, health: Health, told: dict[str, str | None]) -> AsyncIterator[None]:
    works = holding_work([aside], health, lambda name: lambda problem: told.update({name: problem}))
    running = [asyncio.create_task(work.run()) for work in works]
    try:
        yield
    finally:
        for task in running:
            task.cancel()


async def test_what_is_held_shows_in_metrics_and_health_until_it_is_released(kit: Any) -> None:
    views, health, registry = MemoryViews(), Health(), CollectorRegistry()
    registry.register(HealthMetrics(health))
    aside = holding(views)
    await hold(aside, "sample-1", 2, b"fine")
    told: dict[str, str | None] = {}

    def of(metric: str) -> float | None:
        return registry.get_sample_value(f"credence_consumer_{metric}", {"consumer": "sample.facts"})

    async def shows(count: float, problem: str | None) -> None:
        await kit.wait_until(lambda: (of("held_streams"), told.get("held-sample.facts", "")) == (count, problem))

    async with working(aside, health, told):
        await shows(1.0, "sample.facts holds 1 streams aside: see `credence held list`")
        assert of("oldest_held_seconds") == 0
        assert (of("lag_events"), of("age_seconds")) == (None, None), "nobody knows: its topics' are told"
        assert health.consumers()["sample.facts"].behind.held_streams == 1
        await hold(aside, "sample-1", 1, b"fine")
        await shows(0.0, None)


async def told_while_it_sweeps(kit: Any, *, within: float) -> bool:
    """Whether it is told what is held, though the first sweep hangs at the first of many streams."""
    aside, told = holding(MemoryViews()), dict[str, str | None]()
    for n in range(300):
        await hold(aside, f"sample-{n}", 2, b"fine")
    reached = asyncio.Event()

    async def hangs(operation: str) -> None:
        if operation == "load entries":
            reached.set()
            await asyncio.Event().wait()

    aside._store.switch = hangs  # type: ignore[attr-defined]
    async with working(aside, Health(), told):
        await asyncio.wait_for(reached.wait(), 5)
        with suppress(TimeoutError):
            await kit.wait_until(lambda: "held-sample.facts" in told, seconds=within)
    return told.get("held-sample.facts") == "sample.facts holds 300 streams aside: see `credence held list`"


async def test_what_is_held_is_told_at_a_start_while_it_is_tried_again(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await told_while_it_sweeps(kit, within=5)

    async def after_a_sweep(aside: Holding, health: Health, report: Report) -> None:
        await aside.sweep(everything=True)
        await count_forever(aside, health, report)

    monkeypatch.setattr("servicekit.held.count_forever", after_a_sweep)
    assert not await told_while_it_sweeps(kit, within=0.5)


async def test_a_count_that_falls_silent_is_told_and_a_sweep_may_take_long() -> None:
    counting, sweeping = holding_work([holding(MemoryViews())], Health(), lambda _name: lambda _problem: None)

    assert counting.silence_seconds_max == SILENCE_SECONDS_MAX
    assert sweeping.silence_seconds_max is None
