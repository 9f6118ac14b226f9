"""Logs, traces and their link: one JSON object a line on stderr, W3C trace context in and out.

Personal data must never reach a log. So: a line is an event name and ids; values other than plain scalars are dropped;
and a traceback shows frames and exception types, the exception's text only where it comes from the operating system
or the network, since others (a validation error, a duplicate key) quote the value they choked on.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import Span, SpanKind, format_span_id, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.typing import EventDict, WrappedLogger

from servicekit.limits import LOG_CAUSES_MAX, LOG_FRAMES_MAX, LOG_VALUE_CHARS_MAX, LOG_VALUES_MAX

# What the kernel's own lines carry. Nothing else of a record is taken: a library may put anything there.
EXTRA = ("ce_id", "error", "group", "reason", "stream", "target")
QUIET = ("aiokafka", "faststream", "grpc", "kafka", "pymongo", "asyncio")

_propagator = TraceContextTextMapPropagator()


def _trace_ids(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format_trace_id(context.trace_id)
        event["span_id"] = format_span_id(context.span_id)
    return event


def describe_exception(error: BaseException) -> list[str]:
    """An exception and its causes, the outermost first: type, text where it is safe, then file:line function."""
    lines: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(seen) < LOG_CAUSES_MAX:
        seen.add(id(current))
        text = f": {current}" if isinstance(current, OSError) else ""
        lines.append(f"{type(current).__module__}.{type(current).__qualname__}{text}")
        lines += [
            f"  {f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(current.__traceback__)[-LOG_FRAMES_MAX:]
        ]
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return lines


def _exception_without_payload(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    error = given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = "\n".join(describe_exception(error))
    return event


def _scalars_only(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Drops what is not a scalar (or a short list of names): an object's repr is how payloads get into logs."""
    kept: EventDict = {}
    for key, value in event.items():
        if isinstance(value, str) and key != "exception":
            kept[key] = value[:LOG_VALUE_CHARS_MAX]
        elif value is None or isinstance(value, str | bool | int | float):
            kept[key] = value
        elif isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            kept[key] = [item[:LOG_VALUE_CHARS_MAX] for item in value[:LOG_VALUES_MAX]]
        elif not key.startswith("_"):
            kept[key] = f"<{type(value).__name__} dropped>"
    return kept


def start_logging(service: str, level: str = "INFO") -> None:
    """Sends structlog's and the standard library's logs as JSON lines to stderr; library chatter from WARNING up.

    Keys: event, level, timestamp (UTC), service, logger, trace_id and span_id inside a span, and what the caller names.
    """

    def _service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _service,
        _trace_ids,
        _exception_without_payload,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(allow=EXTRA), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _scalars_only,
                structlog.processors.JSONRenderer(),
            ],
            # Otherwise the formatter would append the standard library's own traceback, text and all.
            keep_exc_info=False,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        library = logging.getLogger(name)
        library.setLevel(max(logging.WARNING, root.level))
        # FastStream brings a handler of its own, whose lines are no JSON.
        library.handlers.clear()
        library.propagate = True


def start_tracing(service: str, processors: Sequence[SpanProcessor] = ()) -> TracerProvider:
    """Sets the process's tracer provider (OpenTelemetry allows that once) and returns it.

    Without a processor nothing is exported: spans still carry the context through logs, events and calls.
    """
    current = trace.get_tracer_provider()
    provider = current if isinstance(current, TracerProvider) else None
    if provider is None:
        provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}))
        trace.set_tracer_provider(provider)
    for processor in processors:
        provider.add_span_processor(processor)
    return provider


def traceparent() -> str:
    """The current span as a W3C traceparent header, or "" outside a span."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent", "")


@contextmanager
def span_from(parent: str | None, name: str, *, kind: SpanKind = SpanKind.INTERNAL) -> Iterator[Span]:
    """A span that continues the trace of `parent` (a traceparent); the current span's, when `parent` is empty.

    A malformed parent starts a new trace. An exception marks the span by its type, without its text.
    """
    context = _propagator.extract({"traceparent": parent}) if parent else None
    tracer = trace.get_tracer("servicekit")
    with tracer.start_as_current_span(
        name, context=context, kind=kind, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise
