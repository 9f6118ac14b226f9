"""The one door every RPC comes through: who calls, what they may, by when; and what became of it.

In order: trace and request id, deadline, room, token, roles, the request, the handler, the answer or its failure; then
one log line and one measurement. Parsing happens here, behind the token, so that strangers cannot make us parse, and
so that a malformed message is the client's fault (INVALID_ARGUMENT), not an internal error.
"""

from __future__ import annotations

import asyncio
import math
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, NoReturn, cast

import grpc
import structlog
from google.protobuf.message import DecodeError
from google.rpc import code_pb2  # type: ignore[import-untyped, unused-ignore]
from grpc_status import rpc_status
from opentelemetry.trace import Span, SpanKind
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from servicekit.access import is_exempt, is_query
from servicekit.auth import TokenVerifier
from servicekit.call import Call, enter_call
from servicekit.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    PermissionDenied,
    RpcFailure,
    TooMuch,
    Unauthenticated,
)
from servicekit.limits import METADATA_BYTES_MAX, STRANGERS_SECONDS_MAX
from servicekit.load import Load, Share
from servicekit.scope import Principal, Scope
from servicekit.telemetry import span_from, traceparent

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]
Translate = Callable[[Exception], RpcFailure | None]
_Serving = tuple[Share, asyncio.Timeout]
_Context = Any  # grpc.aio.ServicerContext[Any, Any]: its stubs know neither optional deadlines nor abort's metadata

# Trailing metadata of a query's answer: the views of other services' events hold all that was published before so many
# seconds, or "unknown".
AGE = "credence-age-seconds"
EOF = cast(Any, grpc.aio).EOF  # which its stubs do not know
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = structlog.get_logger("servicekit.rpc")


class RpcMetrics:
    """Latency by method and code, calls in flight, refused sign-ins."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.duration = Histogram(
            "credence_rpc_duration_seconds",
            "Time from the request's arrival to its answer",
            ("method", "code"),
            registry=registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )
        self.in_flight = Gauge("credence_rpcs_in_flight", "Calls being served", registry=registry)
        self.internal_errors = Counter(
            "credence_rpc_internal_errors_total", "Calls that met a defect", ("method",), registry=registry
        )


def _untranslated(_: Exception) -> RpcFailure | None:
    return None


class RpcInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc, type-arg, unused-ignore]
    """Guards every RPC but health and reflection.

    `access` names the roles of each method (`check_every_rpc_declares_access`); a method it does not know is closed.
    `translate` turns an exception of the layers below (a store that is away) into a failure, or gives None.
    A client's deadline holds up to `longest_deadline_seconds`, of an answer that is a stream up to
    `longest_stream_seconds`; without one, `default_deadline_seconds` does. `age_seconds`: how old what queries are
    answered from may be; each of their answers carries it (AGE).
    """

    def __init__(
        self,
        *,
        verifier: TokenVerifier,
        access: Mapping[str, frozenset[str]],
        metrics: RpcMetrics,
        default_deadline_seconds: float,
        longest_deadline_seconds: float,
        longest_stream_seconds: float,
        answer_bytes_max: int,
        load: Load,
        age_seconds: Callable[[], float] | None = None,
        translate: Translate = _untranslated,
    ) -> None:
        self._verifier = verifier
        self._access = access
        self._metrics = metrics
        self._default_deadline = default_deadline_seconds
        self._longest_deadline = longest_deadline_seconds
        self._longest_stream = longest_stream_seconds
        self._answer_bytes_max = answer_bytes_max
        self._age = age_seconds
        self._load = load
        self._translate = translate

    async def intercept_service(self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = str(handler_call_details.method)
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        if is_exempt(method):
            return self._for_strangers(handler)
        longest = self._longest_stream if handler.response_streaming else self._longest_deadline

        # On the wire an RPC with one request and one answer is a stream of one each way. As a stream it reads its
        # request only once the token was checked, and within the deadline: otherwise whoever sends half a message
        # keeps a place for ever. And it counts until its answer was taken, since gRPC holds it for that long: whoever
        # never reads uses up their own share.
        async def serve(_: Any, context: _Context) -> None:
            async with self._serving(method, context, longest) as (share, timer):
                received = await _received(context)
                with share.holding(len(received)):
                    request = _parsed(handler, received)
                    if handler.response_streaming:
                        async with aclosing(handler.unary_stream(request, context)) as parts:
                            async for part in parts:
                                await self._write(context, share, handler.response_serializer(part))
                        return
                    answer = handler.response_serializer(await handler.unary_unary(request, context))
                # A status after the deadline would only wait behind the answer.
                timer.reschedule(None)
                await self._write(context, share, answer)

        # No (de)serialisers: `serve` parses, and sees when an answer cannot be written.
        return grpc.stream_stream_rpc_method_handler(serve)

    async def _write(self, context: _Context, share: Share, answer: bytes) -> None:
        if len(answer) > self._answer_bytes_max:
            # gRPC would refuse it as well, after the client waited, and in words that do not help.
            message = f"the answer has {len(answer)} bytes, over {self._answer_bytes_max}: ask for less at once"
            raise FailedPrecondition("answer-too-large", message)
        with share.holding(len(answer)):
            try:
                await context.write(answer)
            except grpc.aio.BaseError:
                raise asyncio.CancelledError from None  # the client hung up

    def _for_strangers(self, handler: Any) -> Any:
        """Health and reflection: without a token and without the deadlines of others, so with bounds of their own."""

        async def serve(requests: Any, context: _Context) -> None:
            try:
                with self._load.stranger():
                    if handler.request_streaming:
                        async for part in handler.stream_stream(requests, context):
                            await context.write(part)
                        return
                    async with _bounded(STRANGERS_SECONDS_MAX):
                        request = await _received(context)
                    if handler.response_streaming:
                        await handler.unary_stream(request, context)
                    else:
                        await context.write(await handler.unary_unary(request, context))
            except RpcFailure as failure:
                await _abort(context, failure)

        return grpc.stream_stream_rpc_method_handler(serve, handler.request_deserializer, handler.response_serializer)

    @asynccontextmanager
    async def _serving(self, method: str, context: _Context, longest: float) -> AsyncIterator[_Serving]:
        """Around one call: admits it, bounds it, and makes whatever is raised within the client's status."""
        started = time.monotonic()
        metadata = _text_metadata(context)
        given_id = metadata.get("x-request-id", "")
        request_id = given_id if _REQUEST_ID.fullmatch(given_id) else secrets.token_hex(8)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        code = "OK"
        with span_from(metadata.get("traceparent"), method.lstrip("/"), kind=SpanKind.SERVER) as span:
            told = [("x-request-id", request_id), ("traceparent", traceparent())]
            if self._age is not None and is_query(method):
                # Before the views are read: what they hold then, they also hold later.
                told.append((AGE, _age(self._age())))
            context.set_trailing_metadata(tuple(told))
            self._metrics.in_flight.inc()
            try:
                _check_metadata(context)
                remaining = context.time_remaining()
                limit = min(self._default_deadline, longest) if remaining is None else min(remaining, longest)
                async with _bounded(limit) as timer:
                    with self._load.call():
                        principal = await self._verifier.verify(_bearer(metadata))
                        with self._load.caller(principal.subject) as share:
                            self._enter(method, principal, request_id, started + limit)
                            yield share, timer
            except grpc.aio.AbortError:
                # The handler's own abort: its status is set, and swallowing this would answer twice.
                code = _code_name(context)
                raise
            except asyncio.CancelledError:
                code = "CANCELLED"
                raise
            except Exception as error:  # noqa: BLE001 - the edge: whatever it is, the client gets a status and no more
                failure = self._failure(method, error)
                code = code_pb2.Code.Name(failure.code)
                try:
                    await _abort(context, failure)
                finally:
                    # It holds this frame by its traceback, and the frames below, request and answer with them: in a
                    # cycle they would stay until the collector comes by.
                    del failure
            finally:
                self._metrics.in_flight.dec()
                self._note(method, code, time.monotonic() - started, span)

    def _enter(self, method: str, principal: Principal, request_id: str, deadline: float) -> None:
        scope = self._admit(method, principal)
        structlog.contextvars.bind_contextvars(actor=principal.subject)
        enter_call(Call(method, principal, scope, request_id, deadline))

    def _admit(self, method: str, principal: Principal) -> Scope:
        allowed = self._access.get(method, frozenset())
        scope = Scope.of(principal, allowed)
        if not scope.roles:
            raise PermissionDenied(
                f"this call is for the roles {', '.join(sorted(allowed)) or '(none)'}; your token has "
                f"{', '.join(sorted(principal.roles))}: ask whoever issues your tokens for one of them"
            )
        return scope

    def _failure(self, method: str, error: Exception) -> RpcFailure:
        failure = error if isinstance(error, RpcFailure) else self._translate(error)
        if failure is not None:
            return failure
        reference = secrets.token_hex(6)
        _log.error("rpc-defect", method=method, reference=reference, exc_info=error)
        self._metrics.internal_errors.labels(method).inc()
        return Internal(reference)

    def _note(self, method: str, code: str, seconds: float, span: Span) -> None:
        self._metrics.duration.labels(method, code).observe(seconds)
        span.set_attribute("rpc.method", method)
        span.set_attribute("rpc.response.status_code", code)
        _log.info("rpc", method=method, code=code, duration_ms=round(seconds * 1000, 2))


def _age(seconds: float) -> str:
    return "unknown" if math.isinf(seconds) else f"{seconds:.1f}"


@asynccontextmanager
async def _bounded(seconds: float) -> AsyncIterator[asyncio.Timeout]:
    try:
        async with asyncio.timeout(seconds) as timer:
            yield timer
    except TimeoutError:
        if not timer.expired():
            raise  # the handler's own, about something else
        raise DeadlineExceeded(f"no answer within {seconds:g} s; what it did is unknown: ask again") from None


async def _received(context: _Context) -> Any:
    request: Any = await context.read()
    if request is EOF:
        raise InvalidArgument([("request", "is missing: the call ended before its message came")])
    return request


def _parsed(handler: Any, request: bytes) -> Any:
    try:
        return handler.request_deserializer(request)
    except (DecodeError, UnicodeDecodeError):
        raise InvalidArgument([("request", "is not a message of this RPC: rebuild the client from proto/")]) from None


def _bearer(metadata: Mapping[str, str]) -> str:
    scheme, _, token = metadata.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("not signed in: send a token as metadata `authorization: Bearer <token>`")
    return token.strip()


def _text_metadata(context: _Context) -> dict[str, str]:
    pairs = context.invocation_metadata() or ()
    return {key: value for key, value in pairs if isinstance(value, str)}


def _check_metadata(context: _Context) -> None:
    """Raises TooMuch. gRPC's own limit does not hold for a client that has not acknowledged it yet."""
    size = sum(len(key) + len(value) for key, value in context.invocation_metadata() or ())
    if size > METADATA_BYTES_MAX:
        message = f"{size} bytes of metadata, over {METADATA_BYTES_MAX}: send the token, and little else"
        raise TooMuch("too-much-metadata", message)


def _code_name(context: _Context) -> str:
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else grpc_code_name(code)


def grpc_code_name(code: int | None) -> str:
    """The name of a numeric status code; UNKNOWN when there is none of that number."""
    return code_pb2.Code.Name(code) if code in code_pb2.Code.values() else "UNKNOWN"


async def _abort(context: _Context, failure: RpcFailure) -> NoReturn:
    status = rpc_status.to_status(failure.status())
    trailing = tuple(context.trailing_metadata() or ()) + tuple(status.trailing_metadata)
    await context.abort(status.code, status.details, trailing)
    raise AssertionError("abort always raises")
