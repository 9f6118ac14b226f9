"""The log in a backup, or in a database: is it whole, and what is its digest?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from eventcore.mongo.backup import decode
from servicekit.limits import BACKUP_FAULTS_MAX


@dataclass
class Streams:
    """Told every append in order of (stream, first). `digest` rests on every byte of every stream, and on which streams
    there are. `faults` are versions that are missing or there twice, and steps that do not cover their events."""

    count: int = 0
    faults: list[str] = field(default_factory=list)
    _stream: str = ""
    _version: int = 0
    _one: Any = None
    _all: Any = field(default_factory=hashlib.sha256)

    def add(self, appends: Iterable[bytes]) -> None:
        for raw in appends:
            append = decode(raw)
            if append["stream"] != self._stream:
                if append["stream"] < self._stream:
                    self._fault(f"{append['_id']} comes after {self._stream}")
                self._end()
                self.count += 1
                self._stream, self._version, self._one = append["stream"], 0, hashlib.sha256()
            self._one.update(raw)
            self._check(append)
            self._version = append["last"]

    @property
    def digest(self) -> str:
        self._end()
        return str(self._all.hexdigest())

    def _end(self) -> None:
        if self._one is not None:
            self._all.update(f"{self._stream} {self._one.hexdigest()}\n".encode())
            self._one = None

    def _check(self, append: dict[str, Any]) -> None:
        first, last, events = append["first"], append["last"], append["events"]
        if append["_id"] != f"{append['stream']}@{first}" or last != first + len(events) - 1 or not events:
            self._fault(f"{append['_id']} says {first} to {last} and holds {len(events)} events")
        if first != self._version + 1:
            self._fault(f"{append['_id']} comes after version {self._version}")
        if [v for step in append["steps"] for v in range(step["first"], step["last"] + 1)] != [*range(first, last + 1)]:
            self._fault(f"the steps of {append['_id']} do not cover its events")

    def _fault(self, what: str) -> None:
        if len(self.faults) < BACKUP_FAULTS_MAX:
            self.faults.append(what)
