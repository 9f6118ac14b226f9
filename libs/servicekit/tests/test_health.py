"""What the process says about itself, and the little HTTP server that says it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from servicekit.health import TICK_SECONDS, Health, State
from servicekit.limits import STATUS_CONNECTIONS_MAX
from servicekit.status_server import StatusServer


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def running(health: Health, clock: Clock, seconds: float) -> None:
    """The event loop runs for so long."""
    for _ in range(round(seconds / TICK_SECONDS)):
        clock.now += TICK_SECONDS
        health.tick()


def test_what_never_reports_is_never_green() -> None:
    health = Health()
    health.check("store")
    assert health.readiness().state is State.FAILING


def test_the_worst_check_decides() -> None:
    health = Health()
    health.check("store").ok()
    assert health.readiness().state is State.OK
    health.check("bus").degraded("away")
    assert health.readiness().state is State.DEGRADED
    health.check("consumer").failing("stopped at a gap")
    report = health.readiness()
    assert report.state is State.FAILING
    assert report.checks["consumer"].detail == "stopped at a gap"


def test_a_check_that_falls_silent_turns_failing() -> None:
    clock = Clock()
    health = Health(clock)
    check = health.check("lag", max_age_seconds=5)
    check.ok()
    running(health, clock, 4)
    assert health.readiness().state is State.OK
    running(health, clock, 2)
    report = health.readiness().checks["lag"]
    assert report.state is State.FAILING
    assert report.age_seconds == pytest.approx(6)


def test_a_watchdog_without_a_beat_is_stale() -> None:
    clock = Clock()
    health = Health(clock)
    dog = health.watchdog("poll", 10)
    running(health, clock, 9)
    assert health.stale() == []
    running(health, clock, 2)
    assert health.stale() == ["poll"]
    assert health.liveness().state is State.FAILING
    dog.beat()
    assert health.liveness().state is State.OK


def test_a_process_that_was_paused_for_a_minute_does_not_take_its_work_for_stuck() -> None:
    clock = Clock()
    health = Health(clock)
    health.watchdog("poll", 10)
    running(health, clock, 5)
    clock.now += 60  # SIGSTOP, SIGCONT
    assert health.stale() == []
    health.tick()
    running(health, clock, 4)
    assert health.stale() == []
    running(health, clock, 2)
    assert health.stale() == ["poll"]


def test_a_blocked_event_loop_is_not_alive() -> None:
    clock = Clock()
    health = Health(clock)
    assert health.liveness().state is State.OK
    clock.now += 16
    assert health.liveness().state is State.FAILING


def test_a_process_that_stops_stays_unready() -> None:
    health = Health()
    health.check("store").ok()
    health.stopping()
    assert health.readiness().state is State.FAILING
    assert health.liveness().state is State.OK


# --- HTTP ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def port() -> AsyncIterator[int]:
    health = Health()
    health.check("store").ok()
    server = StatusServer("sample", health, CollectorRegistry(), request_seconds_max=0.5)
    yield await server.start("127.0.0.1", 0)
    await server.close()


async def ask(port: int, request: bytes, *, hang_up: bool = False) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        if hang_up:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /live HTTP/1.1", b"200"),
        (b"GET /ready?verbose=1 HTTP/1.1", b"200"),
        (b"GET /metrics HTTP/1.0", b"200"),
        (b"GET /secrets HTTP/1.1", b"404"),
        (b"GET /../live HTTP/1.1", b"404"),
        (b"POST /ready HTTP/1.1", b"405"),
        (b"GET /live", b"400"),
        (b"GET  /live HTTP/1.1", b"400"),
        (b"\x16\x03\x01\x02\x00", b"400"),
        (b"", b"400"),
    ],
)
async def test_each_request_gets_its_status(port: int, request_line: bytes, status: bytes) -> None:
    assert (await ask(port, request_line + b"\r\n\r\n")).split(b" ")[1] == status


async def test_a_head_request_gets_no_body(port: int) -> None:
    answer = await ask(port, b"HEAD /live HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")


async def test_garbage_of_any_size_does_not_stop_it(port: int) -> None:
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    chance = random.Random(20)
    for size in (0, 1, 100, 8_191, 8_192, 8_193, 200_000):
        await ask(port, chance.randbytes(size), hang_up=True)
        await ask(port, b"A" * size + b"\r\n\r\n", hang_up=True)
    assert (await ask(port, b"GET /live HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert unhandled == []


async def test_slow_clients_are_dropped_and_others_still_served(port: int) -> None:
    slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(STATUS_CONNECTIONS_MAX - 2)]
    for _, writer in slow:
        writer.write(b"GET /live HT")
    assert (await ask(port, b"GET /live HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200")
    for reader, writer in slow:
        try:
            assert await asyncio.wait_for(reader.read(), 10) == b""
        except ConnectionResetError:
            pass
        finally:
            writer.close()


async def test_where_there_are_too_many_the_one_that_waits_longest_goes(port: int) -> None:
    slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(STATUS_CONNECTIONS_MAX)]
    for _, writer in slow:
        writer.write(b"GET")
    assert (await ask(port, b"GET /live HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200")
    reader, _ = slow[0]
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 2) == b""
    for _, writer in slow:
        writer.close()
