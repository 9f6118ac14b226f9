"""A TCP proxy that does to a connection what networks do: one process, one link for each way to be disturbed.

    python -m tests.reliability.proxy name:listen:target ...

It takes one JSON line per order on stdin, `{"link": name, "mode": ..., "amount": ...}`, answers each with a line on
stdout, and ends when stdin does. Modes:

    pass        bytes go through
    delay       every byte arrives `amount` seconds later, both ways
    slow        `amount` bytes a second, both ways
    half-open   what is sent is swallowed and nothing is ever answered, as by a peer whose cable was pulled
    refuse      connections are reset and new ones are refused
    cut         the connections of this moment are reset; new ones pass
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from credence_cli.embedded.ports import LOOPBACK

Mode = Literal["pass", "delay", "slow", "half-open", "refuse", "cut"]

CHUNK_BYTES = 65_536
QUEUED_MAX = 64  # chunks on their way; beyond it the sender has to wait, as behind a full window
SLOW_STEP_SECONDS = 0.05
CLOSE_SECONDS = 2.0
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Way:
    """One link: clients come to `listen` and reach `target`, both on loopback."""

    listen: int
    target: int


class Link:
    """One link at work."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._server: asyncio.Server | None = None
        self._mode: Mode = "pass"
        self._amount = 0.0
        self._open: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Event()

    async def set(self, mode: Mode, amount: float) -> None:
        if mode in ("cut", "refuse") or self._mode == "half-open":
            # A connection whose bytes were swallowed can never go on where it was.
            self._reset()
        if mode == "refuse":
            await self._close()
        self._mode, self._amount = ("pass" if mode == "cut" else mode), amount
        self._changed.set()
        self._changed = asyncio.Event()
        if mode != "refuse" and self._server is None:
            self._server = await asyncio.start_server(self._serve, LOOPBACK, self._way.listen, reuse_address=True)

    async def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _reset(self) -> None:
        for writer in tuple(self._open):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        upstream: asyncio.StreamWriter | None = None
        try:
            while self._mode == "half-open":
                await self._changed.wait()
            up_reader, upstream = await asyncio.open_connection(LOOPBACK, self._way.target)
            self._open.add(upstream)
            pumps = [asyncio.create_task(self._pump(a, b)) for a, b in ((reader, upstream), (up_reader, writer))]
            # Either end closing closes both: neither protocol half-closes.
            _, left = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in left:
                pump.cancel()
        except OSError:
            _reset(writer)  # nobody behind: the client sees what it would see without the proxy
        finally:
            for each in (writer, upstream):
                if each is not None:
                    await self._closed(each)

    async def _closed(self, writer: asyncio.StreamWriter) -> None:
        """What was passed on still arrives, unless nobody takes it."""
        writer.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()
        finally:
            self._open.discard(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction. What was read waits in a queue until it is due, so that a delay costs time, not bandwidth."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_MAX)

        async def read() -> None:
            with suppress(OSError):
                while chunk := await reader.read(CHUNK_BYTES):
                    if self._mode == "half-open":
                        continue
                    await queue.put((loop.time() + (self._amount if self._mode == "delay" else 0.0), chunk))
            await queue.put((0.0, b""))

        reading = asyncio.create_task(read())
        try:
            while True:
                due, chunk = await queue.get()
                if not chunk:
                    return
                if (wait := due - loop.time()) > 0:
                    await asyncio.sleep(wait)
                await self._send(writer, chunk)
        except OSError:
            return
        finally:
            reading.cancel()

    async def _send(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        while chunk:
            if self._mode == "half-open":
                return
            size = len(chunk)
            if self._mode == "slow":
                size = max(1, round(self._amount * SLOW_STEP_SECONDS))
                await asyncio.sleep(SLOW_STEP_SECONDS)
            writer.write(chunk[:size])
            await writer.drain()
            chunk = chunk[size:]


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST, not FIN: as when a host is gone."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def run(ways: Mapping[str, Way]) -> None:
    links = {name: Link(way) for name, way in ways.items()}
    for link in links.values():
        await link.set("pass", 0.0)
    print("ready", flush=True)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        order = json.loads(line)
        await links[order["link"]].set(order["mode"], order["amount"])
        print("done", flush=True)


class Proxies:
    """The proxy process, from the harness's side; to be closed."""

    def __init__(self, ways: Mapping[str, Way]) -> None:
        self.ways = dict(ways)
        self._lock = threading.Lock()
        named = [f"{name}:{way.listen}:{way.target}" for name, way in ways.items()]
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *named],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is the harness's to handle; its end closes stdin, which ends this too
        )
        self._heard("ready")

    def set(self, link: str, mode: Mode, amount: float = 0.0) -> None:
        """Returns when it is so. `amount`: seconds of a delay, bytes a second of a slow link."""
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"link": link, "mode": mode, "amount": amount}) + "\n")
            self._process.stdin.flush()
            self._heard("done")

    def close(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait(timeout=10)

    def _heard(self, word: str) -> None:
        assert self._process.stdout is not None
        heard = self._process.stdout.readline().strip()
        if heard != word:
            raise RuntimeError(f"the proxies ended: {heard or self._process.poll()}")


def _main(words: list[str]) -> None:
    ways = {}
    for word in words:
        name, listen, target = word.rsplit(":", 2)
        ways[name] = Way(int(listen), int(target))
    asyncio.run(run(ways))


if __name__ == "__main__":
    _main(sys.argv[1:])
