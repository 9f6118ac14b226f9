"""Appends per second through the Executor on MongoDB, beside the bare driver.

The bare driver inserts documents equal to those the kernel stored, into a collection with the same indexes. It is shown
twice: the insert alone, and with the read of the stream that any optimistic lock needs first.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import uvloop

from bench.bare import database
from bench.harness import Benchmark, Figures, Options, Table, main, median, number, ratio, running_servers, tell
from bench.sample import MARK, MARKS
from eventcore.execute import Executor, Request
from eventcore.limits import IN_MAX
from eventcore.mongo import connect
from eventcore.outcome import Status
from tests.servers import Servers

ROUNDS = 5
CASES = ((1, 1), (1, 16), (1000, 1))  # commands a batch, batches at a time
NAMES = ("kernel", "insert", "read and insert")

Batch = Callable[[int], Awaitable[None]]
"""Stores this many appends, each to a stream of its own."""


@dataclass
class Ids:
    """Streams that were never used before."""

    kind: str
    count: itertools.count[int]

    def take(self, many: int) -> list[str]:
        return [f"sample-{self.kind}-{next(self.count)}" for _ in range(many)]


def run(options: Options) -> Figures:
    with running_servers(options) as servers:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            rows = runner.run(_measure(servers, options))
    note = (
        "Medians of rates measured in turns; every append is one event in a new stream. *Read and insert* is what the "
        "Executor asks of the database: the stream's appends (majority), then the insert (majority and journal)."
    )
    columns = ("commands × batches at a time", *(f"{name}/s" for name in NAMES), "kernel : insert", "kernel : both")
    return Figures(servers.software, [Table("Appends", columns, rows, note)])


async def _measure(servers: Servers, options: Options) -> list[list[str]]:
    stores = await connect(servers.mongo_uri, "bench_kernel")
    twin = await connect(servers.mongo_uri, "bench_bare")  # makes the same indexes
    bare = database(servers.mongo_uri, "bench_bare")
    try:
        executor = Executor(stores.appends, b"benchmark")
        example = await _example(executor, servers)
        collection = bare["appends"]
        ids = {name: Ids(name.replace(" ", "-"), itertools.count()) for name in NAMES}

        async def kernel(size: int) -> None:
            now = datetime.now(UTC)
            requests = [Request(stream, "1", MARK, "bench", now) for stream in ids["kernel"].take(size)]
            outcomes = await executor.execute(MARKS, requests)
            assert all(outcome.status is Status.ACCEPTED for outcome in outcomes)

        async def insert(size: int, streams: list[str] | None = None) -> None:
            documents = [_like(example, stream) for stream in streams or ids["insert"].take(size)]
            if size == 1:
                await collection.insert_one(documents[0])
            else:
                await collection.insert_many(documents, ordered=False)

        async def both(size: int) -> None:
            streams = ids["read and insert"].take(size)
            parts = [streams[i : i + IN_MAX] for i in range(0, size, IN_MAX)]
            finds = [collection.find({"stream": {"$in": p}}).sort([("stream", 1), ("first", 1)]) for p in parts]
            await asyncio.gather(*(find.to_list(None) for find in finds))
            await insert(size, streams)

        ways: dict[str, Batch] = dict(zip(NAMES, (kernel, insert, both), strict=True))
        return [await _case(ways, size, at_a_time, options) for size, at_a_time in CASES]
    finally:
        bare.client.close()
        await twin.close()
        await stores.close()


async def _example(executor: Executor, servers: Servers) -> Mapping[str, Any]:
    """A document as the kernel stores it."""
    now = datetime.now(UTC)
    await executor.execute(MARKS, [Request("sample-example", "1", MARK, "bench", now)])
    kernels = database(servers.mongo_uri, "bench_kernel")
    try:
        found: Mapping[str, Any] | None = await kernels["appends"].find_one({"stream": "sample-example"})
    finally:
        kernels.client.close()
    assert found is not None
    return found


def _like(example: Mapping[str, Any], stream: str) -> dict[str, Any]:
    return {**copy.deepcopy(dict(example)), "_id": f"{stream}@1", "stream": stream}


async def _case(ways: Mapping[str, Batch], size: int, at_a_time: int, options: Options) -> list[str]:
    slice_seconds = options.seconds / (len(CASES) * len(ways) * ROUNDS)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        await way(size)  # connections are made, code is warm
    for _ in range(ROUNDS):
        for name, way in ways.items():
            rates[name].append(await _rate(way, size, at_a_time, slice_seconds))
    kernel, insert, both = (median(rates[name]) for name in ways)
    tell(f"{size} x {at_a_time}: done")
    label = f"{size:,} × {at_a_time}"
    return [label, number(kernel), number(insert), number(both), ratio(kernel, insert), ratio(kernel, both)]


async def _rate(way: Batch, size: int, at_a_time: int, seconds: float) -> float:
    """Appends a second, over whole batches, for about this long."""
    began = time.monotonic()
    batches = 0

    async def worker() -> None:
        nonlocal batches
        while batches == 0 or time.monotonic() - began < seconds:
            await way(size)
            batches += 1

    await asyncio.gather(*(worker() for _ in range(at_a_time)))
    return batches * size / (time.monotonic() - began)


BENCHMARK = Benchmark("Appends per second beside the bare driver", 40, 9, run)

if __name__ == "__main__":
    main(BENCHMARK)
