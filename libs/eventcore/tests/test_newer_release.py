"""Release N beside N+1 on one log: what only N+1 can read is left to it, in order, and stops nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

import pytest

from eventcore.decider import Decider
from eventcore.deliver import Publisher, Undelivered
from eventcore.event import StoredByNewer
from eventcore.memory import MemoryAppends, MemoryViews
from eventcore.outcome import Status
from eventcore.record import PublicEvent

from .sample import JAR, Drop, Dropped, Jar, JarCommand, JarEvent, drop, executor, jar_of, own_fold, seal
from .test_deliver import SampleBus

OTHER, NEWER = "jar-1--a", "jar-2--a"


class DroppedBy(JarEvent):
    stored_type: ClassVar[str] = "jar.dropped.v2"
    upcasts: ClassVar[Any] = {Dropped.stored_type: lambda data: {**data, "by": "somebody"}}
    coins: int
    by: str


def decide(command: JarCommand, state: Jar, now: datetime) -> Sequence[JarEvent]:
    assert isinstance(command, Drop)
    return [DroppedBy(coins=command.coins, by="a sample")]


def evolve(state: Jar, event: JarEvent, version: int) -> Jar:
    assert isinstance(event, DroppedBy)
    return Jar(state.coins + event.coins, state.sealed)


NEXT: Decider[Jar, JarCommand, JarEvent] = replace(JAR, events=(DroppedBy,), evolve=evolve, decide=decide)


def public(_: object) -> PublicEvent:
    return PublicEvent("sample", b"")


async def shared() -> MemoryAppends:
    """A log on which this release and the next have both been writing."""
    store = MemoryAppends()
    await executor(store).execute(JAR, [drop(OTHER, "k1", 1), drop(NEWER, "k2", 1)])
    await executor(store).execute(NEXT, [drop(NEWER, "k3", 2)])
    return store


async def test_a_command_on_a_stream_of_the_newer_release_is_unknown_here_and_answered_there() -> None:
    store = await shared()

    other, newer = await executor(store).execute(JAR, [drop(OTHER, "k4", 1), drop(NEWER, "k3", 2)])

    assert other.status is Status.ACCEPTED
    assert newer.status is Status.UNKNOWN
    assert newer.refusal is not None
    assert newer.refusal.code == "newer-release"
    [there] = await executor(store).execute(NEXT, [drop(NEWER, "k3", 2)])
    assert (there.status, there.version) == (Status.REPLAYED, 2)


async def test_its_state_cannot_be_asked_for_here() -> None:
    with pytest.raises(StoredByNewer, match=r"jar\.dropped\.v2"):
        await executor(await shared()).states(JAR, [NEWER])


async def test_own_views_go_on_up_to_what_only_the_newer_release_can_read() -> None:
    store, views = await shared(), MemoryViews()
    fold = own_fold(store, views)

    with pytest.raises(Undelivered, match="newer release"):
        await fold.step()

    assert (jar_of(views, OTHER)[0], jar_of(views, NEWER)[0]) == (1, 1)
    assert store.marked["unfolded"] == {(NEWER, 2)}


async def test_a_young_view_is_not_said_to_have_what_it_could_not_read() -> None:
    store = await shared()
    await executor(store).execute(NEXT, [drop(NEWER, "k5", 1)])
    await store.clear("unfolded", [a for a in (await store.load([NEWER]))[NEWER] if a.first <= 2])
    # As if the newer release had left a type alone that this one knows too.
    known = replace(store.streams[NEWER][3], events=(JAR.codec.encode(Dropped(coins=1)),))
    store.streams[NEWER][3] = known
    views = MemoryViews()

    with pytest.raises(Undelivered, match="newer release"):
        await own_fold(store, views).step()

    assert jar_of(views, NEWER)[0] == 1
    assert store.marked["unfolded"] == {(NEWER, 3)}


async def test_nothing_of_the_newer_release_is_published_here_nor_anything_behind_it() -> None:
    store, bus = await shared(), SampleBus()

    with pytest.raises(Undelivered, match="newer release"):
        await Publisher(store, {"jar": JAR}, public, bus, topic="jars.v1", source="sample").step()

    assert sorted(bus.topic) == [f"{OTHER}@1", f"{NEWER}@1"]
    assert store.marked["unpublished"] == {(NEWER, 2)}


async def test_the_newer_release_delivers_what_was_left_to_it() -> None:
    store, bus = await shared(), SampleBus()

    await Publisher(store, {"jar": NEXT}, public, bus, topic="jars.v1", source="sample").step()

    assert sorted(bus.topic) == [f"{OTHER}@1", f"{NEWER}@1", f"{NEWER}@2"]
    assert store.marked["unpublished"] == set()


async def test_what_the_newer_release_delivered_is_no_problem_here_any_more() -> None:
    """Also when nothing else is stored for a long time: health would else stay degraded for as long."""
    store, bus = await shared(), SampleBus()
    fold = own_fold(store, MemoryViews())
    publish = Publisher(store, {"jar": JAR}, public, bus, topic="jars.v1", source="sample")
    for work in (fold, publish):
        with pytest.raises(Undelivered):
            await work.step()
        assert "newer release" in (work.problem or "")

    await own_fold(store, MemoryViews(), deciders={"jar": NEXT}).step()
    await Publisher(store, {"jar": NEXT}, public, bus, topic="jars.v1", source="sample").step()

    for work in (fold, publish):
        assert await work.step() == 0
        assert work.problem is None


async def test_a_stream_kind_that_only_the_newer_release_has_is_left_to_it() -> None:
    store = await shared()

    with pytest.raises(Undelivered, match="newer release"):
        await own_fold(store, MemoryViews(), deciders={}).step()

    assert store.marked["unfolded"] == {(OTHER, 1), (NEWER, 1), (NEWER, 2)}


async def test_a_sealed_jar_is_no_newer_release() -> None:
    [outcome] = await executor(await shared()).execute(JAR, [seal(OTHER, "k6")])
    assert outcome.status is Status.ACCEPTED
