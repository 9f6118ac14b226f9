"""Batches in, outcomes out: the same limits and the same answers in every service."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Protocol, TypeVar

from credence.common.v1 import outcome_pb2
from servicekit.errors import InvalidArgument
from servicekit.limits import ROWS_MAX

Row = TypeVar("Row")


class Refused(Protocol):
    """Why a command stored nothing; the kernel's `Refusal` is one."""

    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def fields(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def conflict(self) -> bool: ...


class Decided(Protocol):
    """The answer to one command; the kernel's `Outcome` is one. The status's value is a word such as "accepted"."""

    @property
    def status(self) -> Enum: ...
    @property
    def stream(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def refusal(self) -> Refused | None: ...


_STATUS = {
    "accepted": (outcome_pb2.OUTCOME_STATUS_ACCEPTED, "", ""),
    "unchanged": (outcome_pb2.OUTCOME_STATUS_UNCHANGED, "", ""),
    "replayed": (outcome_pb2.OUTCOME_STATUS_REPLAYED, "", ""),
    "refused": (outcome_pb2.OUTCOME_STATUS_REFUSED, "refused", "refused"),
    "conflict": (
        outcome_pb2.OUTCOME_STATUS_CONFLICT,
        "id-reused",
        "this command id was used before with another body: send the same body, or a new id",
    ),
    "dropped": (
        outcome_pb2.OUTCOME_STATUS_ABORTED,
        "version-changed",
        "the version it was decided on is no longer current: read it again and decide anew",
    ),
    "unknown": (
        outcome_pb2.OUTCOME_STATUS_UNKNOWN,
        "outcome-unknown",
        "the store did not answer: send it again with the same id",
    ),
    "aborted": (
        outcome_pb2.OUTCOME_STATUS_ABORTED,
        "contended",
        "other writers kept winning this stream: send it again with the same id",
    ),
}


def rows(given: Sequence[Row], limit: int = ROWS_MAX) -> Sequence[Row]:
    """The rows of a batch, 1 to `limit` of them. Raises InvalidArgument."""
    if not given:
        raise InvalidArgument([("rows", "the batch is empty: send at least one row")])
    if len(given) > limit:
        raise InvalidArgument([("rows", f"{len(given)} rows: send at most {limit} in one batch")])
    return given


def decided(row: int, outcome: Decided) -> outcome_pb2.Outcome:
    """The message for the kernel's answer to the command of row `row` (from 0)."""
    status, code, message = _STATUS[outcome.status.value]
    answer = outcome_pb2.Outcome(
        row=row, status=status, code=code, message=message, stream=outcome.stream, version=outcome.version
    )
    if outcome.refusal is not None:
        if outcome.refusal.conflict:
            answer.status = outcome_pb2.OUTCOME_STATUS_CONFLICT
        answer.code, answer.message = outcome.refusal.code, outcome.refusal.message
        answer.violations.extend(
            outcome_pb2.FieldViolation(field=field, description=text) for field, text in outcome.refusal.fields
        )
    return answer


def batch_response(outcomes: Iterable[outcome_pb2.Outcome], token: str) -> outcome_pb2.BatchResponse:
    """The whole answer, in the request's order. Raises ValueError when a row has no answer or two."""
    ordered = sorted(outcomes, key=lambda outcome: outcome.row)
    if [outcome.row for outcome in ordered] != list(range(len(ordered))):
        raise ValueError("a batch needs exactly one outcome for each row")
    return outcome_pb2.BatchResponse(outcomes=ordered, token=token)
