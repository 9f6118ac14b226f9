"""From a command to what the views show, at 10 and at 50 commands a second.

Arrivals are open-loop: the n-th command is due n/rate after the start whatever became of the others, and every latency
counts from when it was due, so that a stall is counted for all who came during it (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import uvloop

from bench import processes
from bench.bare import database
from bench.harness import (
    Benchmark,
    CannotRun,
    Figures,
    Options,
    Table,
    main,
    ms,
    number,
    percentile,
    ratio,
    running_stack,
    tell,
)
from bench.scene import Answered, Failure, Scene, learners_for, marks_of
from credence_cli.embedded.stack import Stack

RATE = 50
# The lower one shows the way of one command; the higher one whether the machine keeps up.
RATES = (10, RATE)
WARM_UP = 100
T = TypeVar("T")
Late = tuple[float, T]
"""When it was due (monotonic seconds), and what became of it."""


def run(options: Options) -> Figures:
    with running_stack(options) as stack:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return Figures(stack.software, runner.run(_measure(stack, options)))


async def _measure(stack: Stack, options: Options) -> list[Table]:
    scene = Scene(stack.addresses.grpc)
    many = {rate: round(options.seconds / len(RATES) * rate) for rate in RATES}
    tables = []
    try:
        learners = await scene.enrolled("lat", learners_for(WARM_UP + sum(many.values())))
        tell(f"{len(learners)} learners enrolled; marks at {' and '.join(map(str, RATES))} a second")
        marks = marks_of(learners)
        await at_rate(WARM_UP, lambda _: scene.mark(*next(marks)))
        for rate in RATES:
            before = processes.cpu_seconds(stack)
            began = time.monotonic()
            found = await at_rate(many[rate], lambda _: scene.mark(*next(marks)), rate=rate)
            achieved = many[rate] / (time.monotonic() - began)
            used = {name: after - before[name] for name, after in processes.cpu_seconds(stack).items()}
            bare = await _bare(stack, many[rate], rate)
            tables += [_latency(rate, achieved, found, bare), _cpu(rate, used, many[rate])]
    finally:
        await scene.close()
    return tables


def _latency(
    rate: int, achieved: float, found: Sequence[Late[Answered | Failure]], bare: Sequence[Late[float | Failure]]
) -> Table:
    answered = [(due, each) for due, each in found if isinstance(each, Answered)]
    if not answered:
        raise CannotRun(f"no mark was answered: {found[0][1]!r}")
    floor = [end - due for due, end in bare if isinstance(end, float)]
    rows = [
        _row("bare driver: one insert, one find", floor, floor),
        _row("command answered", [each.command - due for due, each in answered], floor),
        _row("command to GetRegister (enrolment's own view)", [each.register - due for due, each in answered], floor),
        _row(
            "command to GetStanding (through Kafka, evaluated)", [each.standing - due for due, each in answered], floor
        ),
    ]
    note = (
        f"{len(found)} commands, from when each was due; {len(found) - len(answered)} without an answer; "
        f"{number(achieved)} a second until the last had all its answers. Well below {rate}, the machine cannot "
        "keep up and what is shown is a queue. The bare driver ran at the same rate on the same servers right after. "
        "The client shares the machine's cores."
    )
    columns = ("from the moment it was due", "p50 ms", "p90 ms", "p99 ms", "max ms", "p50 : bare", "p99 : bare")
    return Table(f"Command to view at {rate} a second", columns, rows, note)


def _cpu(rate: int, used: Mapping[str, float], commands: int) -> Table:
    """Unlike a latency, this hardly depends on who else uses the machine."""
    total = sum(used.values())
    rows = [[name, ms(seconds / commands), f"{seconds / total:.0%}"] for name, seconds in used.items()]
    note = "User and system time while the commands ran, each with its two queries: 20 ms a command fill one core."
    return Table(
        "CPU per command", ("process", "ms a command", "share"), [*rows, ["all", ms(total / commands), ""]], note
    )


def _row(label: str, seconds: Sequence[float], floor: Sequence[float]) -> list[str]:
    at = {share: percentile(seconds, share) for share in (0.5, 0.9, 0.99, 1.0)}
    against = [ratio(at[share], percentile(floor, share)) for share in (0.5, 0.99)]
    return [label, *(ms(value) for value in at.values()), *against]


async def at_rate(many: int, work: Callable[[int], Awaitable[T]], *, rate: float = RATE) -> list[Late[T | Failure]]:
    """Starts `work` on time, however late the others are; waits for all. A failed call is its own result."""
    began = time.monotonic()
    tasks = []

    async def one(n: int) -> T | Failure:
        try:
            return await work(n)
        except Failure as failure:
            return failure

    for n in range(many):
        await asyncio.sleep(max(0.0, began + n / rate - time.monotonic()))
        tasks.append(asyncio.create_task(one(n)))
    done = await asyncio.gather(*tasks)
    return [(began + n / rate, result) for n, result in enumerate(done)]


async def _bare(stack: Stack, many: int, rate: float) -> list[Late[float | Failure]]:
    """The floor: an insert and a find with the same guarantees, at the same rate."""
    bare = database(stack.addresses.mongo_uri, f"bench_floor_{rate:g}")
    collection = bare["appends"]
    count = itertools.count()

    async def one(_: int) -> float:
        name = f"sample-{next(count)}"
        events = [{"type": "sample.marked.v1", "data": {"session_id": "s1", "state": "present", "provider_id": "ipc"}}]
        await collection.insert_one({"_id": name, "stream": name, "events": events, "recorded": datetime.now(UTC)})
        await collection.find_one({"_id": name})
        return time.monotonic()

    try:
        await asyncio.gather(*(one(0) for _ in range(8)))
        return await at_rate(many, one, rate=rate)
    finally:
        bare.client.close()


BENCHMARK = Benchmark("Latency from a command to the views, at 10 and 50 commands a second", 40, 10, run)

if __name__ == "__main__":
    main(BENCHMARK)
