"""A whole service process for the hostile clients: `python -m libs.servicekit.tests.echo_service`.

Real but for what is behind the door: no database, no Kafka. ECHO_CARELESS plants the one mistake that a checker must
find.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import StringValue

from libs.servicekit.tests.conftest import registering
from servicekit import grpc_server, interceptor, limits, status_server
from servicekit.process import Kit, Service, run_service
from servicekit.settings import ServiceSettings


class EchoSettings(ServiceSettings):
    grpc_port: int = 0
    http_port: int = 0


async def say(request: StringValue, context: Any) -> StringValue:
    """`3000000` gives that many characters; `wait` never answers; anything else gives itself."""
    if request.value == "wait":
        await asyncio.Event().wait()
    if request.value.isdecimal():
        return StringValue(value="x" * int(request.value))
    return request


async def build(settings: EchoSettings, kit: Kit) -> Service:
    return Service(register=registering(handler=say))


PATIENCE = ("grpc.max_connection_idle_ms", "grpc.server_handshake_timeout_ms", "grpc.http2.settings_timeout")


def _without(*names: str, **instead: int) -> None:
    kept = grpc_server.options

    def options(settings: ServiceSettings) -> tuple[tuple[str, int], ...]:
        return (*((name, value) for name, value in kept(settings) if name not in names), *instead.items())

    grpc_server.options = options


def _reads_before_the_token() -> None:
    """As gRPC does by itself, and most services with it: the whole request, then the handler."""
    guarded = interceptor.RpcInterceptor.intercept_service

    async def careless(self: Any, continuation: Any, details: Any) -> Any:
        found = await continuation(details)
        if found is None:
            return None
        serve = (await guarded(self, continuation, details)).stream_stream

        async def answer(request: bytes, context: Any) -> bytes:
            written: list[bytes] = []

            class Whole:
                def __getattr__(self, name: str) -> Any:
                    return getattr(context, name)

                async def read(self) -> bytes:
                    return request

                async def write(self, part: bytes) -> None:
                    written.append(part)

            await serve(None, Whole())
            return written[0]

        return grpc.unary_unary_rpc_method_handler(answer)

    interceptor.RpcInterceptor.intercept_service = careless  # type: ignore[method-assign, assignment]


def _one_caller_takes_all() -> None:
    limits.CALLS_SHARE_OF_ONE_CALLER = 1  # type: ignore[misc]


def _bytes_uncounted() -> None:
    limits.BYTES_AT_ONCE_MAX = 2**40  # type: ignore[misc]


def _no_deadline() -> None:
    @asynccontextmanager
    async def endless(seconds: float) -> AsyncIterator[asyncio.Timeout]:
        async with asyncio.timeout(None) as timer:
            yield timer

    interceptor._bounded = endless


def _any_metadata() -> None:
    _without("grpc.max_metadata_size", "grpc.absolute_max_metadata_size")
    interceptor._check_metadata = lambda context: None


def _newest_turned_away() -> None:
    async def serve(self: Any, reader: Any, writer: Any) -> None:
        if len(self._open) >= limits.STATUS_CONNECTIONS_MAX:
            writer.transport.abort()
        else:
            await kept(self, reader, writer)

    kept: Callable[[Any, Any, Any], Awaitable[None]] = status_server.StatusServer._serve
    status_server.StatusServer._serve = serve  # type: ignore[method-assign]


CARELESS: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "no-message-limit": lambda: _without("grpc.max_receive_message_length", **{"grpc.max_receive_message_length": -1}),
    "no-stream-limit": lambda: _without("grpc.max_concurrent_streams"),
    "no-connection-limit": lambda: _without("grpc.max_allowed_incoming_connections", *PATIENCE),
    "no-idle-limit": lambda: _without(*PATIENCE),
    "any-metadata": _any_metadata,
    "no-deadline": _no_deadline,
    "bytes-uncounted": _bytes_uncounted,
    "reads-before-the-token": _reads_before_the_token,
    "one-caller-takes-all": _one_caller_takes_all,
    "newest-turned-away": _newest_turned_away,
}

if __name__ == "__main__":
    # Short enough for a test to see them pass.
    limits.IDLE_SECONDS_MAX = 2  # type: ignore[misc]
    limits.HANDSHAKE_SECONDS_MAX = 2  # type: ignore[misc]
    CARELESS[os.environ.get("ECHO_CARELESS", "")]()
    sys.exit(run_service("echo", build, EchoSettings))
