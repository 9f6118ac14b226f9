"""What is behind is told with how much and since when; what cannot be looked at, and a lookout that stopped, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from eventcore.event import StoredEvent
from eventcore.memory import MemoryAppends, MemoryTargets
from eventcore.store import Append, Finding
from eventcore.testing import NOON
from servicekit.health import Behind, Health, State
from servicekit.health_metrics import HealthMetrics
from servicekit.limits import COUNTED_MAX
from servicekit.lookout import Look, Lookout, TargetsBehind, appends_behind


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servicekit.lookout.LOOK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr("servicekit.lookout.LOOK_AGAIN_SECONDS", 0.02)
    monkeypatch.setattr("servicekit.lookout.LOOK_SECONDS_MAX", 0.1)


@asynccontextmanager
async def looking(look: Look) -> AsyncIterator[Health]:
    health = Health()
    task = asyncio.create_task(Lookout(health, {"fold": look}).run())
    try:
        yield health
    finally:
        task.cancel()


def answers(behind: Behind) -> Look:
    async def look() -> Behind:
        return behind

    return look


async def state(kit: Any, health: Health, wanted: State) -> str:
    """The check's words once it is in this state."""
    await kit.wait_until(lambda: "fold-lag" in health.readiness().checks)
    await kit.wait_until(lambda: health.readiness().checks["fold-lag"].state is wanted)
    return health.readiness().checks["fold-lag"].detail


@pytest.mark.parametrize(
    ("behind", "wanted", "words"),
    [
        (Behind(0, 0.0), State.OK, ""),
        (Behind(700, 2.4), State.OK, ""),
        (Behind(3, 2.6), State.DEGRADED, "behind by 2.6 s; 3 waiting"),
        (Behind(None, None), State.DEGRADED, "it has not caught up since this process started"),
    ],
)
async def test_behind_is_told_by_its_age(kit: Any, behind: Behind, wanted: State, words: str) -> None:
    async with looking(answers(behind)) as health:
        assert await state(kit, health, wanted) == words


async def test_what_is_behind_is_well_again_when_it_has_caught_up(kit: Any) -> None:
    now = Behind(3, 60.0)

    async def look() -> Behind:
        return now

    async with looking(look) as health:
        await state(kit, health, State.DEGRADED)
        now = Behind(0, 0.0)
        await state(kit, health, State.OK)


async def test_more_than_is_counted_for_long_is_behind_however_young_the_counted_are(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servicekit.lookout.BEHIND_SECONDS_MAX", 0.1)
    async with looking(answers(Behind(1000, 0.0, more=True))) as health:
        assert "1000 or more waiting" in await state(kit, health, State.DEGRADED)


@pytest.mark.parametrize("why", [OSError("nobody listens"), None])
async def test_what_cannot_be_looked_at_is_not_called_well(kit: Any, why: Exception | None) -> None:
    async def look() -> Behind:
        if why is None:
            await asyncio.Event().wait()
        raise why or AssertionError

    async with looking(look) as health:
        assert "not known how far it is behind" in await state(kit, health, State.DEGRADED)


async def test_a_lookout_that_stops_looking_turns_failing(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servicekit.lookout.SILENCE_SECONDS_MAX", 0.2)
    async with looking(answers(Behind(0, 0.0))) as health:
        await state(kit, health, State.OK)

    def ticked() -> bool:
        health.tick()
        return health.readiness().checks["fold-lag"].state is State.FAILING

    await kit.wait_until(ticked)


async def test_waiting_appends_are_counted_in_events_and_aged_by_the_oldest() -> None:
    store = MemoryAppends()
    for n, age in enumerate((5, 90, 30)):
        events = (StoredEvent("a", {}), StoredEvent("b", {}))
        store.store(Append(f"tally-{n}", 1, (), events, NOON - timedelta(seconds=age)))
    look = appends_behind(store, "unpublished", lambda: NOON)
    assert await look() == Behind(6, 90.0)
    await store.clear("unpublished", await store.pending("unpublished", limit=10))
    assert await look() == Behind(0, 0.0)


async def test_a_target_is_aged_from_when_it_was_seen_unless_it_was_looked_at_since(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = MemoryTargets()
    look = TargetsBehind(targets, "standing", lambda: NOON)
    clock = _clock(monkeypatch)
    assert await look() == Behind(0, 0.0)
    await targets.mark("standing", ["p1", "p2"])
    assert await look() == Behind(2, 0.0)
    clock(4.0)
    assert await look() == Behind(2, 4.0)
    due = await targets.due("standing", NOON, limit=10)
    assert await targets.finish("standing", [Finding("p1", due["p1"], {}, {}, None)]) == [True]
    await targets.mark("standing", ["p1", "p2"])  # p1 was evaluated in between, and p2 was not
    clock(1.0)
    assert await look() == Behind(2, 0.0)
    clock(2.0)
    assert await look() == Behind(2, 2.0)


async def test_more_targets_than_are_counted_are_told_as_more() -> None:
    targets = MemoryTargets()
    await targets.mark("standing", [f"p{n}" for n in range(COUNTED_MAX + 5)])
    look = TargetsBehind(targets, "standing", lambda: NOON)
    seen = await look()
    assert (seen.waiting, seen.more) == (COUNTED_MAX, True)


def _clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [100.0]
    monkeypatch.setattr("servicekit.lookout.time.monotonic", lambda: now[0])

    def pass_time(seconds: float) -> None:
        now[0] += seconds

    return pass_time


def test_metrics_say_what_readiness_says_and_nothing_of_what_is_not_known() -> None:
    health, registry = Health(), CollectorRegistry()
    registry.register(HealthMetrics(health))
    health.check("kafka", dependency=True).degraded("away")
    health.check("fold-lag").ok()
    health.tell_behind("fold", Behind(7, 1.5, held_streams=2, oldest_held_seconds=60.0))
    health.tell_behind("credence.enrolment.v1", Behind(None, None))
    told = generate_latest(registry).decode()
    assert 'credence_check_state{check="kafka"} 1.0' in told
    assert 'credence_check_state{check="fold-lag"} 0.0' in told
    assert 'credence_consumer_lag_events{consumer="fold"} 7.0' in told
    assert 'credence_consumer_held_streams{consumer="fold"} 2.0' in told
    assert 'credence_consumer_oldest_held_seconds{consumer="fold"} 60.0' in told
    assert 'credence_consumer_age_seconds{consumer="credence.enrolment.v1"}' not in told
