"""Reads a rich status as a client would, for the tests of what servers answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped, unused-ignore]

_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """A failed call, read.

    `code` is the gRPC status name (`FAILED_PRECONDITION`), `reason` the stable code (`cohort-full`; empty when the
    answer came from a server or network that sends no details), `violations` are (field, description).
    """

    code: str
    reason: str
    message: str
    fields: dict[str, str] = field(default_factory=dict)
    violations: tuple[tuple[str, str], ...] = ()
    retry_after_seconds: float | None = None


def _status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    trailing: Iterable[tuple[str, str | bytes]] = cast(Any, error.trailing_metadata()) or ()
    for key, value in trailing:
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:  # a proxy may have cut it; the plain code still holds
                return None
    return None


def describe(error: grpc.aio.AioRpcError) -> ErrorReport:
    """The report of a failed call; never raises, whatever a proxy did to the details."""
    code, message = error.code().name, error.details() or ""
    status = _status_of(error)
    if status is None:
        return ErrorReport(code, "", message)
    reason, retry, fields, violations = "", None, {}, []
    info, bad, retry_info = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(info):
            reason, fields = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            violations = [(v.field, v.description) for v in bad.field_violations]
        elif detail.Unpack(retry_info):
            retry = retry_info.retry_delay.ToMilliseconds() / 1000
    return ErrorReport(code, reason, message, fields, tuple(violations), retry)
