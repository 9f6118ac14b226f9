"""Failures an RPC can answer with, as google.rpc rich status (AIP-193).

A handler raises one of these; the interceptor turns it into the status. A stable code is spelt the same everywhere:
`cohort-full` in an Outcome, in `ErrorInfo.reason` and in `PreconditionFailure.type`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, cast

from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped, unused-ignore]

from servicekit.limits import ERROR_BYTES_MAX, ERROR_CHARS_MAX

DOMAIN = "credence"
Fields = Mapping[str, str] | Iterable[tuple[str, str]]


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


class RpcFailure(Exception):
    """What a handler may raise; `status()` is what the client gets.

    `reason` is the stable code, `fields` what a program needs to know (ids, limits, the current value).
    """

    code: ClassVar[code_pb2.Code]

    def __init__(
        self, reason: str, message: str, *, fields: Fields = (), retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.fields = dict(fields)
        self.retry_after_seconds = retry_after_seconds

    def _details(self) -> Message | None:
        """One more google.rpc detail of this kind of failure; its own size is bounded."""
        return None

    def status(self) -> status_pb2.Status:
        """The google.rpc.Status: ErrorInfo first, then details while they fit into ERROR_BYTES_MAX."""
        status = status_pb2.Status(code=self.code, message=_cut(self.message, ERROR_CHARS_MAX))
        info = error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN)
        budget = ERROR_BYTES_MAX // 2
        for field, value in self.fields.items():
            budget -= len(field.encode()) + len(value.encode())
            if budget < 0:
                break
            info.metadata[field] = value
        status.details.add().Pack(info)
        if self.retry_after_seconds is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(round(self.retry_after_seconds * 1000))
            status.details.add().Pack(retry)
        extra = self._details()
        if extra is not None and status.ByteSize() + extra.ByteSize() <= ERROR_BYTES_MAX:
            status.details.add().Pack(extra)
        return status


class InvalidArgument(RpcFailure):
    """Malformed input; `violations` are (field path, what is wrong and what to do), all of them at once."""

    code = code_pb2.INVALID_ARGUMENT

    def __init__(self, violations: Iterable[tuple[str, str]]) -> None:
        self.violations = tuple(violations)
        first = ", ".join(dict.fromkeys(field for field, _ in self.violations[:10]))
        count = len(self.violations)
        super().__init__("invalid-argument", f"{count} invalid field{'' if count == 1 else 's'}: {first}")

    def _details(self) -> Message | None:
        bad = error_details_pb2.BadRequest()
        budget = ERROR_BYTES_MAX // 2
        for told, (field, description) in enumerate(self.violations):
            budget -= len(field.encode()) + len(description.encode()) + 8
            if budget < 0:
                more = len(self.violations) - told
                bad.field_violations.add(field="*", description=f"and {more} more: mend these and send it again")
                break
            bad.field_violations.add(field=field, description=description)
        return cast(Message, bad)


class NotFound(RpcFailure):
    """There is no such object, or it is not the caller's: the answer is the same, so that nobody can probe for ids."""

    code = code_pb2.NOT_FOUND

    def __init__(self, what: str) -> None:
        super().__init__("not-found", f"no such {what}")


class Unauthenticated(RpcFailure):
    """Nobody is signed in: no token, or one that does not hold."""

    code = code_pb2.UNAUTHENTICATED

    def __init__(self, message: str) -> None:
        super().__init__("unauthenticated", message)


class PermissionDenied(RpcFailure):
    """Signed in, but not for this."""

    code = code_pb2.PERMISSION_DENIED

    def __init__(self, message: str) -> None:
        super().__init__("permission-denied", message)


class FailedPrecondition(RpcFailure):
    """A full cohort, an unmet rule, a bad state: `reason` is the stable code (`cohort-full`); nothing is stored."""

    code = code_pb2.FAILED_PRECONDITION

    def __init__(self, reason: str, message: str, fields: Fields = ()) -> None:
        super().__init__(reason, message, fields=fields)

    def _details(self) -> Message | None:
        failure = error_details_pb2.PreconditionFailure()
        subject = next(iter(self.fields), "")
        failure.violations.add(type=self.reason, subject=subject, description=_cut(self.message, ERROR_CHARS_MAX))
        return cast(Message, failure)


class Conflict(RpcFailure):
    """It differs from what is stored (the same id with another body): ALREADY_EXISTS."""

    code = code_pb2.ALREADY_EXISTS

    def __init__(self, reason: str, message: str, fields: Fields = ()) -> None:
        super().__init__(reason, message, fields=fields)


class Aborted(RpcFailure):
    """Other writers kept winning: send it again with the same id. `fields` carry the current version."""

    code = code_pb2.ABORTED

    def __init__(self, message: str, fields: Fields = (), *, retry_after_seconds: float = 0.1) -> None:
        super().__init__("contended", message, fields=fields, retry_after_seconds=retry_after_seconds)


class Unavailable(RpcFailure):
    """A server this service needs is away; the outcome is unknown: send it again with the same id."""

    code = code_pb2.UNAVAILABLE

    def __init__(self, message: str, *, reason: str = "unavailable", retry_after_seconds: float = 1.0) -> None:
        super().__init__(reason, message, retry_after_seconds=retry_after_seconds)


class TooMuch(RpcFailure):
    """More at once than this process takes on; nothing was done: send it again a little later."""

    code = code_pb2.RESOURCE_EXHAUSTED

    def __init__(self, reason: str, message: str, *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(reason, message, retry_after_seconds=retry_after_seconds)


class DeadlineExceeded(RpcFailure):
    """It did not happen within the caller's deadline; for a command the outcome is unknown."""

    code = code_pb2.DEADLINE_EXCEEDED

    def __init__(self, message: str, *, reason: str = "deadline-exceeded") -> None:
        super().__init__(reason, message)


class Internal(RpcFailure):
    """A defect of ours. The client gets a reference to the log entry and nothing of what went wrong inside."""

    code = code_pb2.INTERNAL

    def __init__(self, reference: str) -> None:
        super().__init__(
            "internal", f"an internal error; report it with the reference {reference}", fields={"reference": reference}
        )
