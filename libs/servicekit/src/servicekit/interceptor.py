"""The one door every RPC comes through: who calls, what they may, by when; and what became of it.

In order: trace and request id, token, roles, deadline, parsing, the handler, the answer or its failure; then one log
line and one measurement. Parsing happens here, behind the token, so that strangers cannot make us parse, and so that
a malformed message is the client's fault (INVALID_ARGUMENT), not an internal error.
"""

from __future__ import annotations

import asyncio
import math
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn

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
    Internal,
    InvalidArgument,
    PermissionDenied,
    RpcFailure,
    Unauthenticated,
)
from servicekit.scope import Principal, Scope
from servicekit.telemetry import span_from, traceparent

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]
Translate = Callable[[Exception], RpcFailure | None]
_Context = Any  # grpc.aio.ServicerContext[Any, Any]: its stubs know neither optional deadlines nor abort's metadata

# Trailing metadata of a query's answer: the views of other services' events hold all that was published before so many
# seconds, or "unknown".
AGE = "credence-age-seconds"
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
        age_seconds: Callable[[], float] | None = None,
        translate: Translate = _untranslated,
    ) -> None:
        self._verifier = verifier
        self._access = access
        self._metrics = metrics
        self._default_deadline = default_deadline_seconds
        self._longest_deadline = longest_deadline_seconds
        self._longest_stream = longest_stream_seconds
        self._age = age_seconds
        self._translate = translate

    async def intercept_service(self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = str(handler_call_details.method)
        handler = await continuation(handler_call_details)
        if handler is None or is_exempt(method):
            return handler

        # No (de)serialisers: these parse after the token was checked, and see when an answer cannot be written.
        async def answer(request: bytes, context: _Context) -> bytes:
            async with self._serving(method, context, self._longest_deadline):
                written: bytes = handler.response_serializer(
                    await handler.unary_unary(_parsed(handler, request), context)
                )
                return written

        async def stream(request: bytes, context: _Context) -> AsyncIterator[bytes]:
            async with self._serving(method, context, self._longest_stream):
                async for part in handler.unary_stream(_parsed(handler, request), context):
                    yield handler.response_serializer(part)

        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(answer)

    @asynccontextmanager
    async def _serving(self, method: str, context: _Context, longest: float) -> AsyncIterator[None]:
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
                remaining = context.time_remaining()
                limit = min(self._default_deadline, longest) if remaining is None else min(remaining, longest)
                async with _bounded(limit):
                    await self._enter(method, metadata, request_id, started + limit)
                    yield
            except grpc.aio.AbortError:
                # The handler's own abort: its status is set, and swallowing this would answer twice.
                code = _code_name(context)
                raise
            except (asyncio.CancelledError, GeneratorExit):
                code = "CANCELLED"
                raise
            except Exception as error:  # noqa: BLE001 - the edge: whatever it is, the client gets a status and no more
                failure = self._failure(method, error)
                code = code_pb2.Code.Name(failure.code)
                await _abort(context, failure)
            finally:
                self._metrics.in_flight.dec()
                self._note(method, code, time.monotonic() - started, span)

    async def _enter(self, method: str, metadata: Mapping[str, str], request_id: str, deadline: float) -> None:
        principal = await self._verifier.verify(_bearer(metadata))
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
async def _bounded(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds) as timer:
            yield
    except TimeoutError:
        if not timer.expired():
            raise  # the handler's own, about something else
        raise DeadlineExceeded(f"no answer within {seconds:g} s; what it did is unknown: ask again") from None


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
