"""`/live`, `/ready` and `/metrics` over HTTP/1.1, for probes and Prometheus.

Three fixed answers need no framework, but they do need bounds: a request has 5 seconds, 8 KiB and one answer, and
no more than 64 are served at a time. Where there are more, the oldest goes: a probe says all at once what it wants, so
whoever is still there keeps the server waiting.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from servicekit.health import ConsumerReport, Health, Report, State
from servicekit.limits import STATUS_CONNECTIONS_MAX, STATUS_REQUEST_BYTES_MAX, STATUS_SECONDS_MAX

_JSON = "application/json"


def _health_body(service: str, report: Report, consumers: Mapping[str, ConsumerReport]) -> bytes:
    checks = {
        name: {
            "state": check.state,
            "since_seconds": round(check.since_seconds, 3),
            "age_seconds": round(check.age_seconds, 3),
            "detail": check.detail,
        }
        for name, check in report.checks.items()
    }
    behind = {
        name: {
            "waiting": known.behind.waiting,
            "more": known.behind.more,
            "age_seconds": _rounded(known.behind.age_seconds),
            "held_streams": known.behind.held_streams,
            "oldest_held_seconds": _rounded(known.behind.oldest_held_seconds),
            "seen_seconds": _rounded(known.seen_seconds),
        }
        for name, known in consumers.items()
    }
    body = {"service": service, "status": report.state, "checks": checks, "consumers": behind}
    return json.dumps(body).encode() + b"\n"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


class StatusServer:
    """Serves the three paths on one port until closed."""

    def __init__(
        self,
        service: str,
        health: Health,
        registry: CollectorRegistry,
        *,
        request_seconds_max: float = STATUS_SECONDS_MAX,
    ) -> None:
        self._service = service
        self._health = health
        self._registry = registry
        self._request_seconds_max = request_seconds_max
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, None] = {}  # the oldest first

    async def start(self, host: str, port: int) -> int:
        """Listens and returns the port (port 0: a free one). Raises OSError when it is taken."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=STATUS_REQUEST_BYTES_MAX)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Stops listening and drops what is open."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= STATUS_CONNECTIONS_MAX:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()
        self._open[writer] = None
        try:
            async with asyncio.timeout(self._request_seconds_max):
                writer.write(self._answer(await self._request_line(reader)))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, EOFError):
            writer.transport.abort()
        finally:
            self._open.pop(writer, None)

    async def _request_line(self, reader: asyncio.StreamReader) -> bytes:
        """The first line, once the whole head has come; empty when there is no proper head."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return b""
        return head.split(b"\r\n", 1)[0]

    def _answer(self, request_line: bytes) -> bytes:
        parts = request_line.split(b" ")
        if len(parts) != 3 or not parts[2].startswith(b"HTTP/1."):
            return _response(HTTPStatus.BAD_REQUEST, b"bad request\n")
        method, path = parts[0], parts[1].split(b"?", 1)[0]
        if method not in (b"GET", b"HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, b"GET only\n")
        match path:
            case b"/live":
                answer = self._health_answer(self._health.liveness(), {})
            case b"/ready":
                answer = self._health_answer(self._health.readiness(), self._health.consumers())
            case b"/metrics":
                answer = _response(HTTPStatus.OK, generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4)
            case _:
                answer = _response(HTTPStatus.NOT_FOUND, b"there are /live, /ready and /metrics\n")
        return answer.split(b"\r\n\r\n", 1)[0] + b"\r\n\r\n" if method == b"HEAD" else answer

    def _health_answer(self, report: Report, consumers: Mapping[str, ConsumerReport]) -> bytes:
        status = HTTPStatus.SERVICE_UNAVAILABLE if report.state is State.FAILING else HTTPStatus.OK
        return _response(status, _health_body(self._service, report, consumers), _JSON)


def _response(status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8") -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
