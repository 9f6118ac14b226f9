"""Trace context through the kernel: each event carries the traceparent of the step that stored it.

A document keeps that of the last event folded into it, so an evaluation can go on with the trace of the fact that
changed. The kernel knows no tracing library: a service passes in how to open a span.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

# `span(name, parent)` continues the trace of `parent` (a W3C traceparent) and gives the new span's own.
Span = Callable[[str, str], AbstractContextManager[str]]


def no_span(name: str, parent: str) -> AbstractContextManager[str]:
    """Opens nothing and passes the parent on."""
    return nullcontext(parent)
