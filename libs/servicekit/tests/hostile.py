"""Hostile clients and the process they are let loose on. Each attack goes on for a while, hangs up and returns; while
it lasts and after it, `Victim` looks at what it costs."""

from __future__ import annotations

import asyncio
import itertools
import resource
import struct
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import psutil
from google.protobuf.wrappers_pb2 import StringValue

from libs.servicekit.tests import wire
from libs.servicekit.tests.wire import Wire

MIB = 2**20
SAY = "/credence.testing.v1.Echo/Say"
HEALTH = "/grpc.health.v1.Health/Check"
# What a process may grow by under any of these, and what of it may stay: an allocator keeps some for the next time.
GROWTH_BYTES_MAX = 160 * MIB
KEPT_BYTES_MAX = 96 * MIB
# That it is served, not how fast: beside other tests on a busy machine a call takes seconds without an attack too.
SERVED_SECONDS_MAX = 10.0


class NotServed(AssertionError):
    """The well-behaved client had no answer while another attacked."""


@dataclass
class Victim:
    """A process under attack, reached at its ports. `path` is an RPC that takes a StringValue, or what looks like one
    on the wire; `echoes`: and gives it back."""

    process: psutil.Process
    grpc_port: int
    http_port: int
    hostile: str
    honest: str
    path: str = SAY
    echoes: bool = True
    grown: int = 0
    served: int = 0
    _wires: list[Wire] = field(default_factory=list)
    _answered: asyncio.Event = field(default_factory=asyncio.Event)
    _watching: asyncio.Task[None] | None = None

    def watch(self, watching: asyncio.Task[None]) -> None:
        """Of this loop; `goes_on` ends with it."""
        self.grown = self.served = 0
        self._answered, self._watching = asyncio.Event(), watching
        watching.add_done_callback(lambda _: self._answered.set())

    def answered(self) -> None:
        self.served += 1
        self._answered.set()

    async def wire(self, **kwargs: Any) -> Wire:
        opened = await Wire.open(self.grpc_port, **kwargs)
        self._wires.append(opened)
        return opened

    async def hang_up(self) -> None:
        for opened in self._wires:
            await opened.close()
        self._wires.clear()

    async def goes_on(self, calls: int) -> None:
        """Keeps the attack up until so many more calls of the well-behaved client were answered."""
        enough = self.served + calls
        async with asyncio.timeout(3 * SERVED_SECONDS_MAX):
            while self.served < enough:
                self._answered.clear()
                assert self._watching is not None
                if self._watching.done():
                    await self._watching  # raises what it ended with
                await self._answered.wait()

    def headers(self, *extra: tuple[str, str], token: str | None = None) -> list[tuple[str, str]]:
        return wire.request(self.path, self.hostile if token is None else token, extra)

    def held(self) -> tuple[int, int]:
        """Bytes of its own, and open files."""
        return self.process.memory_full_info().uss, self.process.num_fds()


@asynccontextmanager
async def watched(victim: Victim) -> AsyncIterator[None]:
    """A well-behaved client that goes on calling; then what was taken must be given back."""
    uss, files = victim.held()
    over = asyncio.Event()
    watching = asyncio.create_task(_goes_on(victim, over))
    growing = asyncio.create_task(_grows(victim, uss))
    victim.watch(watching)
    try:
        try:
            yield
        finally:
            over.set()
            await victim.hang_up()
        await watching
    finally:
        growing.cancel()
    assert victim.grown <= GROWTH_BYTES_MAX, f"it grew by {victim.grown / MIB:.0f} MiB"
    async with asyncio.timeout(30):
        while True:
            now, open_now = victim.held()
            if now - uss <= KEPT_BYTES_MAX and open_now <= files + 4:
                return
            await asyncio.sleep(0.1)


async def _grows(victim: Victim, uss: int) -> None:
    """Looks without waiting for an answer: what a call costs may be gone again when the next one is answered."""
    while True:
        victim.grown = max(victim.grown, victim.held()[0] - uss)
        await asyncio.sleep(0.02)


async def _goes_on(victim: Victim, over: asyncio.Event) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{victim.grpc_port}") as channel:
        rpc: Any = channel.unary_unary(
            victim.path,
            request_serializer=StringValue.SerializeToString,
            response_deserializer=StringValue.FromString,
        )
        for n in itertools.count():
            answer = await _answer(rpc, f"call-{n}", victim.honest)
            assert answer.value == f"call-{n}" or not victim.echoes
            victim.answered()
            if over.is_set():
                return
            await asyncio.sleep(0.02)


async def _answer(rpc: Any, value: str, token: str) -> Any:
    """Sends again what gRPC turned away since too many calls waited (PENDING_CALLS_MAX), as docs/limits.md says."""
    deadline = time.monotonic() + SERVED_SECONDS_MAX
    while True:
        try:
            return await rpc(
                StringValue(value=value),
                metadata=[("authorization", f"Bearer {token}")],
                timeout=max(0.0, deadline - time.monotonic()),
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.CANCELLED or time.monotonic() > deadline:
                raise NotServed(f"{error.code().name}: {error.details()}") from None
        await asyncio.sleep(0.05)


# --- requests that lie about their size ---------------------------------------------------------------------------


async def a_length_that_is_never_reached(victim: Victim) -> None:
    opened = await victim.wire()
    for n in range(1, 200, 2):
        stream = opened.call(n, victim.headers(), wire.message(b"\x0a\x02hi", says=1_000_000))
        if n % 20 == 1:
            await opened.until_over(stream)
            assert _refused(opened, stream), stream


async def a_length_of_four_gigabytes(victim: Victim) -> None:
    opened = await victim.wire()
    for n in range(1, 200, 2):
        stream = opened.call(n, victim.headers(), wire.message(b"\x0a\x02hi", says=2**32 - 1), end=False)
        if n % 20 == 1:
            await opened.until_over(stream)
            assert _refused(opened, stream, "8"), stream  # RESOURCE_EXHAUSTED: it was not waited for


async def more_bytes_than_the_length_says(victim: Victim) -> None:
    opened = await victim.wire()
    for n in range(1, 40, 2):
        stream = opened.call(n, victim.headers(), wire.message(b"\x0a\x02hi", says=2) + b"\xff" * 200_000)
        await opened.until_over(stream)


async def a_content_length_that_lies(victim: Victim) -> None:
    opened = await victim.wire()
    for n, length in zip(range(1, 100, 2), itertools.cycle(["0", "1", "99999999999", "-1", "x"]), strict=False):
        stream = opened.call(n, victim.headers(("content-length", length)), wire.message(b"\x0a\x02hi"))
        await opened.until_over(stream)


def bomb(gigabytes: float) -> bytes:
    """So many zeros as gzip, about a thousandth of their size."""
    part = bytes(MIB)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = deflate.compress(part) + deflate.flush(zlib.Z_FULL_FLUSH)
    again = deflate.compress(part) + deflate.flush(zlib.Z_FULL_FLUSH)
    many, sum_ = round(gigabytes * 1024), 0
    for _ in range(many):
        sum_ = zlib.crc32(part, sum_)
    body = head + again * (many - 1) + deflate.flush()
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + body + struct.pack("<II", sum_, many * MIB % 2**32)


async def a_gigabyte_of_zeros_in_a_megabyte(victim: Victim) -> None:
    # First: a client that is silent while it packs is hung up on.
    body = wire.message(bomb(1), compressed=True)
    assert len(body) < 4 * MIB
    opened = await victim.wire()
    for n in (1, 3):
        stream = opened.call(n, victim.headers(("grpc-encoding", "gzip")), body)
        await opened.until_over(stream, 30)
        assert stream.status != "0"


# --- requests that never end ---------------------------------------------------------------------------------------


async def half_a_head(victim: Victim) -> None:
    """HEADERS without their end, on a hundred connections."""
    wires = [await victim.wire() for _ in range(100)]
    for opened in wires:
        opened.send(wire.frame(wire.HEADERS, 0, 1, wire.block(victim.headers())[:20]))
    await _closed(wires)


async def silence(victim: Victim) -> None:
    """Connections that say nothing, and some that say hello and no more."""
    await _closed([await victim.wire(speak=n % 2 == 0) for n in range(100)])


async def half_a_message(victim: Victim) -> None:
    """As many as there is room for, and more, by strangers and by one who is signed in."""
    wires = [await victim.wire() for _ in range(30)]
    for n, opened in enumerate(wires):
        token = "" if n % 2 else victim.hostile
        path = HEALTH if n % 3 == 0 else victim.path
        for stream in range(1, 120, 2):
            opened.call(stream, wire.request(path, token), wire.message(b"\x0a\x02hi", says=100), end=False)
        await opened.drain()
    await victim.goes_on(3)


async def a_byte_at_a_time(victim: Victim) -> None:
    wires = [await victim.wire() for _ in range(20)]
    for opened in wires:
        opened.call(1, victim.headers(), struct.pack(">BI", 0, 100_000), end=False)
    for _ in range(20):
        for opened in wires:
            opened.send(wire.frame(wire.DATA, 0, 1, b"\x0a"))
            await opened.drain()
        await victim.goes_on(1)


# --- too many ------------------------------------------------------------------------------------------------------


async def thousands_of_streams_on_one_connection(victim: Victim) -> None:
    opened = await victim.wire()
    await opened.until_over(opened.call(1, victim.headers(), wire.message(b"\x0a\x02hi")))
    allowed = opened.settings.get(wire.MAX_CONCURRENT_STREAMS, 2**32)
    assert allowed <= 256, f"{allowed} streams are allowed"
    for n in range(3, 10_000, 2):
        opened.call(n, victim.headers(), wire.message(b"\x0a\x04wait"))
        if n % 500 == 1:
            await opened.drain()
    await victim.goes_on(3)


async def hundreds_of_connections(victim: Victim) -> None:
    """More than are let in: those beyond must be closed."""
    wires = []
    for _ in range(800):
        try:
            wires.append(await victim.wire())
        except OSError:
            continue
    await _all_but(512, [each.closed.wait() for each in wires])


async def ten_thousand_calls(victim: Victim) -> None:
    """By one caller, over forty connections, each with as many at once as it may have; what ends makes room for the
    next, so that the pressure stays for as long as the others are looked at."""
    wires = [await victim.wire() for _ in range(40)]
    streams: list[wire.Stream] = []

    async def pressing(opened: Wire) -> None:
        open_: list[wire.Stream] = []
        for n in range(1, 500, 2):
            open_.append(opened.call(n, victim.headers(), wire.message(b"\x0a\x04wait")))
            streams.append(open_[-1])
            if len(open_) > 60:
                await opened.until_over(open_.pop(0), 30)

    pressed = [asyncio.create_task(pressing(each)) for each in wires]
    try:
        # Only once it has all that it gets: on a slow machine others are answered before that, whoever may take what.
        async with asyncio.timeout(3 * SERVED_SECONDS_MAX):
            while not any(stream.status == "8" for stream in streams):
                await victim.goes_on(1)
        await victim.goes_on(3)
    finally:
        for each in pressed:
            each.cancel()
    statuses = {stream.status for stream in streams}
    assert "0" not in statuses
    assert "8" in statuses


async def calls_without_a_deadline(victim: Victim) -> None:
    opened = await victim.wire()
    streams = [opened.call(n, victim.headers(), wire.message(b"\x0a\x04wait")) for n in range(1, 100, 2)]
    for stream in streams:
        await opened.until_over(stream, 10)
        assert stream.status == "4", stream  # DEADLINE_EXCEEDED: the service's own


# --- floods --------------------------------------------------------------------------------------------------------


async def headers_without_end(victim: Victim) -> None:
    """A head that goes on in CONTINUATION frames for 64 MiB."""
    opened = await victim.wire()
    opened.send(wire.frame(wire.HEADERS, 0, 1, wire.block(victim.headers())))
    part = wire.frame(wire.CONTINUATION, 0, 1, wire.block([("x-filler", "x" * 16_000)]))
    for _ in range(4_000):
        opened.send(part)
        await opened.drain()
        if opened.closed.is_set():
            break


async def rapid_resets(victim: Victim) -> None:
    opened = await victim.wire()
    head = wire.block(victim.headers())
    for n in range(1, 20_000, 2):
        opened.send(wire.frame(wire.HEADERS, wire.END_HEADERS, n, head))
        opened.send(wire.frame(wire.RST_STREAM, 0, n, struct.pack(">I", wire.CANCEL)))
        if n % 200 == 1:
            await opened.drain()
            if opened.closed.is_set():
                break


async def pings_and_settings(victim: Victim) -> None:
    opened = await victim.wire()
    for _ in range(5_000):
        opened.send(wire.frame(wire.PING, 0, 0, bytes(8)) + wire.frame(wire.SETTINGS, 0, 0))
        await opened.drain()
        if opened.closed.is_set():
            return
    await _closed([opened])


async def a_megabyte_of_metadata(victim: Victim) -> None:
    for _ in range(5):
        opened = await victim.wire()
        stream = wire.Stream()
        opened.streams[1] = stream
        head = wire.block(victim.headers(*((f"x-{n}", "x" * 10_000) for n in range(100))))
        parts = [head[i : i + 16_000] for i in range(0, len(head), 16_000)]
        opened.send(wire.frame(wire.HEADERS, 0, 1, parts[0]))
        for part in parts[1:-1]:
            opened.send(wire.frame(wire.CONTINUATION, 0, 1, part))
        opened.send(wire.frame(wire.CONTINUATION, wire.END_HEADERS, 1, parts[-1]))
        opened.send(wire.frame(wire.DATA, wire.END_STREAM, 1, wire.message(b"\x0a\x02hi")))
        await opened.until_over(stream)
        assert _refused(opened, stream, "8"), stream


async def answers_that_nobody_reads(victim: Victim) -> None:
    """Calls for megabytes each, in windows that stay shut: beyond one caller's share they are refused."""
    wires = [await victim.wire(window=0) for _ in range(10)]
    wanted = wire.message(StringValue(value="2000000").SerializeToString())
    streams = [(each, each.call(n, victim.headers(), wanted)) for each in wires for n in range(1, 32, 2)]
    await _all_but(64, [each.until_over(stream, 60) for each, stream in streams])
    assert {stream.status for _, stream in streams} == {"", "8"}
    await victim.goes_on(5)


async def half_requests_to_the_status_port(victim: Victim) -> None:
    """More than it serves at a time, kept open, while a probe asks."""
    held = []
    try:
        for _ in range(300):
            reader, writer = await asyncio.open_connection("127.0.0.1", victim.http_port)
            writer.write(b"GET /ready HTTP/1.1\r\nHost:")
            held.append(writer)
        for path in ("/live", "/ready", "/metrics"):
            reader, writer = await asyncio.open_connection("127.0.0.1", victim.http_port)
            held.append(writer)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            async with asyncio.timeout(2):
                assert (await reader.read()).startswith(b"HTTP/1.1 200"), path
    finally:
        for writer in held:
            writer.transport.abort()


def _refused(opened: Wire, stream: wire.Stream, status: str = "") -> bool:
    """Told so, with this status if it is given, or hung up on: a client that is slow to answer is not kept either."""
    return opened.closed.is_set() or (stream.status not in ("", "0") and status in ("", stream.status))


async def _closed(wires: list[Wire]) -> None:
    async with asyncio.timeout(6):
        for opened in wires:
            await opened.closed.wait()


async def _all_but(most: int, ends: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Until no more than so many are still to come."""
    open_ = {asyncio.create_task(end) for end in ends}
    async with asyncio.timeout(15):
        while len(open_) > most:
            _, open_ = await asyncio.wait(open_, return_when=asyncio.FIRST_COMPLETED)
    for end in open_:
        end.cancel()


ATTACKS: tuple[Callable[[Victim], Awaitable[None]], ...] = (
    a_length_that_is_never_reached,
    a_length_of_four_gigabytes,
    more_bytes_than_the_length_says,
    a_content_length_that_lies,
    a_gigabyte_of_zeros_in_a_megabyte,
    half_a_head,
    silence,
    half_a_message,
    a_byte_at_a_time,
    thousands_of_streams_on_one_connection,
    hundreds_of_connections,
    ten_thousand_calls,
    calls_without_a_deadline,
    headers_without_end,
    rapid_resets,
    pings_and_settings,
    a_megabyte_of_metadata,
    answers_that_nobody_reads,
    half_requests_to_the_status_port,
)


@contextmanager
def many_files(most: int = 4_096) -> Iterator[None]:
    """This process opens hundreds of connections at once: more than some shells allow by default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
