"""Turns: writers of one stream in one process go on one at a time, once they have met; nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import pytest

from eventcore.execute import Executor
from eventcore.memory import MemoryAppends
from eventcore.outcome import Status
from eventcore.store import Append, Insert
from eventcore.turns import Turns

from .sample import JAR, drop

JAR_1 = "jar-1--a"
WRITERS = 50


class Counted(MemoryAppends):
    """A store that gives everybody else time between any two lines, and counts what is asked of it."""

    loads = 0

    async def load(self, streams: Sequence[str]) -> dict[str, list[Append]]:
        self.loads += 1
        await asyncio.sleep(0)
        found = await super().load(streams)
        await asyncio.sleep(0)
        return found

    async def insert(self, appends: Sequence[Append]) -> list[Insert]:
        await asyncio.sleep(0)
        return await super().insert(appends)


async def fifty_writers(executor: Executor) -> set[Status]:
    answers = await asyncio.gather(*(executor.execute(JAR, [drop(JAR_1, f"w{n}")]) for n in range(WRITERS)))
    return {outcome.status for (outcome,) in answers}


async def test_fifty_writers_of_one_stream_are_all_through_after_two_tries_each() -> None:
    store = Counted()

    assert await fifty_writers(Executor(store, b"key", turns=Turns().take)) == {Status.ACCEPTED}

    assert store.loads <= 2 * WRITERS


async def test_without_turns_most_of_them_are_aborted() -> None:
    store = Counted()

    assert Status.ABORTED in await fifty_writers(Executor(store, b"key"))

    assert store.loads > 6 * WRITERS


async def waits(turns: Turns, streams: Collection[str], inside: list[str], name: str, leave: asyncio.Event) -> None:
    async with turns.take(streams, streams):
        inside.append(name)
        await leave.wait()


async def one_inside(turns: Turns, inside: list[str], leave: asyncio.Event) -> asyncio.Task[None]:
    task = asyncio.create_task(waits(turns, ["a"], inside, "first", leave))
    await asyncio.sleep(0)
    assert inside == ["first"]
    return task


async def test_whoever_lost_waits_for_those_before_and_a_stream_that_nobody_met_at_costs_nothing() -> None:
    turns, inside, leave = Turns(), list[str](), asyncio.Event()
    first = await one_inside(turns, inside, leave)
    second = asyncio.create_task(waits(turns, ["a", "b"], inside, "second", leave))

    async with turns.take(["c"], []):
        assert inside == ["first"]
    leave.set()
    await asyncio.gather(first, second)

    assert inside == ["first", "second"]
    assert not turns._lines, "nothing is kept"


async def test_whoever_comes_to_a_line_stands_in_it_without_having_lost() -> None:
    turns, inside, leave = Turns(), list[str](), asyncio.Event()
    first = await one_inside(turns, inside, leave)

    async def comes() -> None:
        async with turns.take(["a"], []):
            inside.append("comes")

    second = asyncio.create_task(comes())
    for _ in range(10):
        await asyncio.sleep(0)
    assert inside == ["first"]
    leave.set()
    await asyncio.gather(first, second)


async def test_those_who_want_the_same_streams_do_not_wait_for_each_other() -> None:
    turns, inside, leave = Turns(), list[str](), asyncio.Event()
    leave.set()

    async with asyncio.timeout(10):
        await asyncio.gather(
            *(waits(turns, ["a", "b", "c"][:: 1 - 2 * (n % 2)], inside, str(n), leave) for n in range(20))
        )

    assert len(inside) == 20


@pytest.mark.parametrize("who", ["first", "second"])
async def test_whoever_is_cancelled_leaves_the_line(who: str) -> None:
    turns, inside, leave = Turns(), list[str](), asyncio.Event()
    tasks = {"first": await one_inside(turns, inside, leave)}
    tasks["second"] = asyncio.create_task(waits(turns, ["a"], inside, "second", leave))
    await asyncio.sleep(0)

    tasks.pop(who).cancel()
    leave.set()
    await asyncio.gather(*tasks.values())

    assert not turns._lines
