"""HTTP/2 by hand, to say what no honest client would. Only what is read back goes through a library (HPACK)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from hpack import Decoder
from hpack.exceptions import HPACKError

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
REFUSED_STREAM, CANCEL = 0x7, 0x8
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 0x3, 0x4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block(headers: Iterable[tuple[str, str]]) -> bytes:
    """Headers as HPACK literals, none of them indexed (RFC 7541, 6.2.2)."""
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers)


def _text(text: str) -> bytes:
    raw, length, prefix = text.encode(), len(text.encode()), b""
    if length < 127:
        return bytes([length]) + raw
    length -= 127
    prefix = b"\x7f"
    while length >= 128:
        prefix += bytes([length % 128 + 128])
        length //= 128
    return prefix + bytes([length]) + raw


def request(path: str, token: str = "", extra: Iterable[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    bearer = [("authorization", f"Bearer {token}")] if token else []
    head = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "test")]
    return [*head, ("te", "trailers"), ("content-type", "application/grpc"), *bearer, *extra]


def message(body: bytes, *, says: int | None = None, compressed: bool = False) -> bytes:
    """A gRPC message; `says` is the length it claims."""
    return struct.pack(">BI", compressed, len(body) if says is None else says) + body


@dataclass
class Stream:
    headers: dict[str, str] = field(default_factory=dict)
    received: int = 0
    reset: int | None = None
    ended: bool = False

    @property
    def status(self) -> str:
        """The grpc-status, "" while there is none."""
        return self.headers.get("grpc-status", "")


class Wire:
    """One connection. What the server says is read in the background; windows are never opened further."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._decoder = Decoder()
        self._decoder.max_header_list_size = 2**24
        self.streams: dict[int, Stream] = {}
        self.settings: dict[int, int] = {}
        self.goaway: bytes | None = None
        self.closed = asyncio.Event()
        self._moved = asyncio.Event()
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, port: int, *, window: int | None = None, speak: bool = True) -> Wire:
        """`window` is how much of each answer may be sent before it is read; not `speak`: nothing is said at all."""
        wire = cls(*await asyncio.open_connection("127.0.0.1", port))
        if speak:
            said = b"" if window is None else struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
            wire.send(PREFACE + frame(SETTINGS, 0, 0, said))
        return wire

    def send(self, raw: bytes) -> None:
        self._writer.write(raw)

    async def drain(self) -> None:
        """Waits until the socket took it; nothing is raised when it is gone."""
        with suppress(OSError):
            await self._writer.drain()

    def call(self, stream: int, headers: Iterable[tuple[str, str]], body: bytes = b"", *, end: bool = True) -> Stream:
        """Headers and, in frames of 16 KiB, a body. Beyond the server's window it is sent all the same."""
        self.streams[stream] = Stream()
        self.send(frame(HEADERS, END_HEADERS, stream, block(headers)))
        parts = [body[i : i + 16_384] for i in range(0, len(body), 16_384)]
        for part in parts:
            self.send(frame(DATA, 0, stream, part))
        if end:
            self.send(frame(DATA, END_STREAM, stream))
        return self.streams[stream]

    async def until_over(self, stream: Stream, seconds: float = 10) -> None:
        """Until the stream, or the whole connection, is over."""
        async with asyncio.timeout(seconds):
            while not (stream.ended or stream.reset is not None or self.closed.is_set()):
                self._moved.clear()
                await self._moved.wait()

    async def close(self) -> None:
        self._task.cancel()
        self._writer.transport.abort()
        with suppress(OSError, asyncio.CancelledError):
            await self._writer.wait_closed()

    async def _read(self) -> None:
        with suppress(OSError, EOFError, asyncio.CancelledError, HPACKError):
            while True:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
                self._take(head[3], head[4], int.from_bytes(head[5:], "big"), payload)
                self._moved.set()
        self.closed.set()
        self._moved.set()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        known = self.streams.setdefault(stream, Stream())
        match kind:
            case 0:
                known.received += len(payload)
            case 1:
                known.headers |= {_str(k): _str(v) for k, v in self._decoder.decode(payload)}
            case 3:
                known.reset = int.from_bytes(payload, "big")
            case 4 if not flags & ACK:
                self.settings |= dict(struct.iter_unpack(">HI", payload))
                self.send(frame(SETTINGS, ACK, 0))
            case 6 if not flags & ACK:
                self.send(frame(PING, ACK, 0, payload))
            case 7:
                self.goaway = payload[8:]
        known.ended = known.ended or (kind in (DATA, HEADERS) and bool(flags & END_STREAM))


def _str(text: str | bytes) -> str:
    return text.decode(errors="replace") if isinstance(text, bytes) else text
