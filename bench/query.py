"""Query latency beside a bare gRPC server that answers with one find, as a process of its own on the same database.

The bare server checks no token, no role, no scope and validates nothing; it answers with the stored document as it is.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import uvloop

from bench.bare_server import METHOD
from bench.harness import (
    ROOT,
    Benchmark,
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
from bench.scene import SESSIONS, Learner, Scene
from credence.enrolment.v1 import enrolments_pb2
from credence_cli.embedded.stack import Stack

LEARNERS = 50  # two cohorts
AT_A_TIME = 16
STOP_SECONDS = 5.0
SECONDS_MAX = 30.0

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Pair:
    """A query of the platform and the find that is at the bottom of it."""

    label: str
    platform: Call
    bare: Call


def run(options: Options) -> Figures:
    with running_stack(options) as stack, _bare_server(stack) as address:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            tables = runner.run(_measure(stack, address, options))
    return Figures(stack.software, tables)


@contextmanager
def _bare_server(stack: Stack) -> Iterator[str]:
    command = [sys.executable, "-m", "bench.bare_server", stack.addresses.mongo_uri]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


async def _measure(stack: Stack, address: str, options: Options) -> list[Table]:
    scene = Scene(stack.addresses.grpc)
    channel = grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
    try:
        learners = await scene.enrolled("qry", LEARNERS)
        for session in SESSIONS[:2]:
            await asyncio.gather(*(scene.mark(learner, session) for learner in learners))
        tell(f"{len(learners)} learners with two marks each")
        pairs = _pairs(scene, channel, learners[0])
        seconds = options.seconds / (2 * len(pairs))
        one_by_one = [await _in_turns(pair, seconds) for pair in pairs]
        together = [[pair.label, *await _throughput(pair, seconds)] for pair in pairs]
    finally:
        await channel.close(None)
        await scene.close()
    columns = ("query", "p50 ms", "p99 ms", "bare p50 ms", "bare p99 ms", "p50 : bare", "p99 : bare")
    note = "One call at a time, platform and bare server in turns."
    return [
        Table("Latency of a query", columns, one_by_one, note),
        Table(
            f"Queries a second, {AT_A_TIME} at a time",
            ("query", "platform/s", "bare/s", "platform : bare"),
            together,
            "Server, database and client share the machine's cores.",
        ),
    ]


def _pairs(scene: Scene, channel: grpc.aio.Channel, learner: Learner) -> list[Pair]:
    bare: Any = channel.unary_unary(METHOD, _as_it_is, _as_it_is)
    target = f"{learner.cohort}--{learner.person}"
    enrolment = enrolments_pb2.GetEnrolmentRequest(cohort_id=learner.cohort, person_id=learner.person)

    def platform(method: Any, request: Any, metadata: Any) -> Call:
        return lambda: method(request, timeout=SECONDS_MAX, metadata=metadata)

    def find(*what: str) -> Call:
        return lambda: bare("\n".join(what).encode(), timeout=SECONDS_MAX)

    return [
        Pair(
            "GetEnrolment: one document",
            platform(scene.enrolments.GetEnrolment, enrolment, scene.importer),
            find("credence_enrolment", "view_enrolments", "_id", f"enrolment-{target}"),
        ),
        Pair(
            "GetStanding: one result with its trees",
            platform(scene.standings.GetStanding, scene.standing_of(learner), scene.importer),
            find("credence_accreditation", "targets_standing", "_id", target),
        ),
        Pair(
            "GetRegister: a session of 25 learners",
            platform(scene.attendance.GetRegister, scene.register_of(learner, SESSIONS[0]), scene.provider),
            find("credence_enrolment", "view_enrolments", "body.cohort_id", learner.cohort),
        ),
    ]


def _as_it_is(data: bytes) -> bytes:
    return data


async def _in_turns(pair: Pair, seconds: float) -> list[str]:
    took: dict[Call, list[float]] = {pair.platform: [], pair.bare: []}
    for call in took:
        for _ in range(20):
            await call()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for call, times in took.items():
            began = time.perf_counter()
            await call()
            times.append(time.perf_counter() - began)
    mine, bare = ([percentile(times, share) for share in (0.5, 0.99)] for times in took.values())
    return [pair.label, *map(ms, mine), *map(ms, bare), *(ratio(m, b) for m, b in zip(mine, bare, strict=True))]


async def _throughput(pair: Pair, seconds: float) -> list[str]:
    """In four turns each, so that a change of the machine's load meets both."""
    rounds = 4
    rates: dict[Call, list[float]] = {pair.platform: [], pair.bare: []}
    for _ in range(rounds):
        for call, found in rates.items():
            found.append(await _rate(call, seconds / (2 * rounds)))
    mine, bare = (sum(found) / rounds for found in rates.values())
    return [number(mine), number(bare), ratio(mine, bare)]


async def _rate(call: Call, seconds: float) -> float:
    began = time.monotonic()
    calls = 0

    async def worker() -> None:
        nonlocal calls
        while time.monotonic() - began < seconds:
            await call()
            calls += 1

    await asyncio.gather(*(worker() for _ in range(AT_A_TIME)))
    return calls / (time.monotonic() - began)


BENCHMARK = Benchmark("Latency of queries beside a bare gRPC call with a find", 30, 6, run)

if __name__ == "__main__":
    main(BENCHMARK)
