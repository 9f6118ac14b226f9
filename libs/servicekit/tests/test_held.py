"""What is held is said: to a query that waits for it, in metrics and in health."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from google.rpc import code_pb2
from prometheus_client import CollectorRegistry

from eventcore.event import Recorded
from eventcore.fold import MARKER, Folder, Undecodable
from eventcore.held import Holding
from eventcore.memory import MemoryHeld, MemoryViews
from eventcore.store import Entry
from servicekit.arrivals import Arrivals
from servicekit.errors import Unavailable
from servicekit.health import Health
from servicekit.health_metrics import HealthMetrics
from servicekit.held import sweeping

from .test_arrivals import NOON, SEEN, TOKENS, Counting, NoMarks, kernel_of


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


async def test_what_is_held_shows_in_metrics_and_health_until_it_is_released(kit: Any) -> None:
    views, health, registry = MemoryViews(), Health(), CollectorRegistry()
    registry.register(HealthMetrics(health))
    aside = holding(views)
    await hold(aside, "sample-1", 2, b"fine")
    told: dict[str, str | None] = {}
    [work] = sweeping([aside], health, lambda name: lambda problem: told.update({name: problem}))

    def held() -> float | None:
        return registry.get_sample_value("credence_consumer_held_streams", {"consumer": "sample.facts"})

    async def shows(count: float, problem: str | None) -> None:
        await kit.wait_until(lambda: (held(), told.get("held-sample.facts", "")) == (count, problem))

    running = asyncio.create_task(work.run())
    await shows(1.0, "sample.facts holds 1 streams aside: see `credence held list`")
    oldest = "credence_consumer_oldest_held_seconds"
    assert registry.get_sample_value(oldest, {"consumer": "sample.facts"}) == 0
    assert health.consumers()["sample.facts"].behind.held_streams == 1
    await hold(aside, "sample-1", 1, b"fine")
    await shows(0.0, None)
    running.cancel()
