"""What the clients did and were told: every row of every call, with all of its answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from google.protobuf.message import Message

from credence.common.v1 import outcome_pb2
from credence_cli.identity import Identity
from tests.system.evidence import Acknowledged
from tests.system.platform import ACCEPTED, REPLAYED, UNCHANGED

Kind = Literal["ok", "refused", "unknown"]

ABORTED = outcome_pb2.OUTCOME_STATUS_ABORTED
UNKNOWN = outcome_pb2.OUTCOME_STATUS_UNKNOWN
UNSETTLED = (UNKNOWN, ABORTED)


@dataclass
class Row:
    """One command of one client: what it was, and each answer there was to it, in order.

    An answer is (status, stream, version, code). `calls` counts the times it was sent; a call without an answer leaves
    more calls than answers.
    """

    service: str
    id: str
    calls: int = 0
    answers: list[tuple[int, str, int, str]] = field(default_factory=list)
    answered_at: float = 0.0  # monotonic, of the first answer that says it is stored

    @property
    def stored_at(self) -> set[Acknowledged]:
        """Where the answers say it is stored: one place, or something is wrong."""
        return {Acknowledged(self.id, s, v) for status, s, v, _ in self.answers if status in (ACCEPTED, REPLAYED)}

    @property
    def kind(self) -> Kind:
        """By the last answer that settled it. Unchanged is ok, but stored nothing."""
        settled = [status for status, *_ in self.answers if status not in UNSETTLED]
        if self.stored_at or (settled and settled[-1] == UNCHANGED):
            return "ok"
        return "refused" if settled else "unknown"

    @property
    def surely_refused(self) -> bool:
        """Refused, and no call of it went without an answer: then nothing of it may ever be stored."""
        settled = self.kind == "refused" and self.calls == len(self.answers)
        return settled and not any(status == UNKNOWN for status, *_ in self.answers)


@dataclass(frozen=True)
class Batch:
    """A request that was answered, to be sent once more."""

    service: str
    request: Message
    who: Identity


class History:
    """Written by many clients at once."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}
        self._lock = threading.Lock()
        self.batches: list[Batch] = []
        self.acknowledged = 0
        self.moved = threading.Condition(self._lock)

    def sent(self, service: str, rows: Sequence[Any]) -> None:
        with self._lock:
            for each in rows:
                row = self._rows.setdefault((service, each.command_id), Row(service, each.command_id))
                row.calls += 1

    def answered(self, service: str, rows: Sequence[Any], outcomes: Sequence[outcome_pb2.Outcome]) -> None:
        with self._lock:
            for each, outcome in zip(rows, outcomes, strict=True):
                row = self._rows[service, each.command_id]
                row.answers.append((outcome.status, outcome.stream, outcome.version, outcome.code))
                if outcome.status in (ACCEPTED, REPLAYED, UNCHANGED) and not row.answered_at:
                    row.answered_at = time.monotonic()
                    self.acknowledged += 1
            self.moved.notify_all()

    def settled(self, batch: Batch) -> None:
        with self._lock:
            self.batches.append(batch)

    def rows(self, service: str | None = None) -> list[Row]:
        with self._lock:
            return [row for row in self._rows.values() if service in (None, row.service)]

    def await_acknowledged(self, count: int, seconds: float) -> bool:
        """Whether so many rows in all were acknowledged within this time."""
        with self.moved:
            return self.moved.wait_for(lambda: self.acknowledged >= count, timeout=seconds)

    def counted(self) -> dict[Kind, int]:
        found: dict[Kind, int] = {"ok": 0, "refused": 0, "unknown": 0}
        for row in self.rows():
            found[row.kind] += 1
        return found

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows())
