"""The stores in memory, for tests and for the simulation.

`switch(operation)` is awaited before every operation takes effect: the place where a simulation lets another process
run, crashes this one, or raises StoreUnavailable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from eventcore.store import (
    ABSENT,
    Append,
    Finding,
    Insert,
    KeyErased,
    Mark,
    Operation,
    Target,
    Versioned,
    Write,
)

Switch = Callable[[str], Awaitable[None]]


async def no_switch(_operation: str) -> None:
    """Nobody else runs."""


@dataclass
class MemoryAppends:
    epoch: str = "memory"
    switch: Switch = no_switch
    streams: dict[str, dict[int, Append]] = field(default_factory=dict)
    marked: dict[Mark, set[tuple[str, int]]] = field(default_factory=lambda: {"unfolded": set(), "unpublished": set()})

    async def load(self, streams: Sequence[str]) -> dict[str, list[Append]]:
        await self.switch("load appends")
        found = {s: self.streams.get(s) for s in streams}
        return {s: [slots[first] for first in sorted(slots)] for s, slots in found.items() if slots}

    async def insert(self, appends: Sequence[Append]) -> list[Insert]:
        results = []
        for append in appends:
            await self.switch("insert append")
            results.append(self.store(append))
        return results

    def store(self, append: Append) -> Insert:
        """The atomic part of an insert."""
        slots = self.streams.setdefault(append.stream, {})
        if append.first in slots:
            return Insert.TAKEN
        slots[append.first] = append
        for pending in self.marked.values():
            pending.add((append.stream, append.first))
        return Insert.STORED

    async def waiting(self, mark: Mark, *, limit: int) -> list[str]:
        await self.switch(f"find {mark}")
        return list(dict.fromkeys(stream for stream, _ in sorted(self.marked[mark])[:limit]))

    async def pending(
        self, mark: Mark, *, after: str = "", streams: Sequence[str] | None = None, limit: int
    ) -> list[Append]:
        await self.switch(f"read {mark}")
        slots = sorted(s for s in self.marked[mark] if s[0] > after and (streams is None or s[0] in streams))
        return [self.streams[stream][first] for stream, first in slots[:limit]]

    async def clear(self, mark: Mark, appends: Sequence[Append]) -> None:
        await self.switch(f"clear {mark}")
        self.marked[mark] -= {(a.stream, a.first) for a in appends}


@dataclass
class MemoryViews:
    switch: Switch = no_switch
    documents: dict[str, dict[str, Versioned]] = field(default_factory=dict)
    epochs: dict[str, str] = field(default_factory=dict)

    async def load(self, view: str, streams: Sequence[str]) -> dict[str, Versioned]:
        await self.switch(f"load {view}")
        stored = self.documents.get(view, {})
        return {s: stored[s] for s in streams if s in stored}

    async def write(self, view: str, writes: Sequence[Write]) -> list[bool]:
        results = []
        for write in writes:
            await self.switch(f"write {view}")
            results.append(self.replace(view, write))
        return results

    def replace(self, view: str, write: Write) -> bool:
        """The atomic part of a write."""
        stored = self.documents.setdefault(view, {})
        if stored.get(write.stream, ABSENT).version != write.seen:
            return False
        stored[write.stream] = Versioned(write.version, write.body, write.trace)
        return True

    async def find(
        self, view: str, where: Mapping[str, Any], *, after: str = "", limit: int
    ) -> list[tuple[str, Versioned]]:
        await self.switch(f"find {view}")
        stored = self.documents.get(view, {})
        found = [
            (s, v) for s, v in sorted(stored.items()) if s > after and v.body is not None and matches(v.body, where)
        ]
        return found[:limit]

    async def bind_epoch(self, source: str, epoch: str) -> str:
        await self.switch("bind epoch")
        return self.epochs.setdefault(source, epoch)


def matches(body: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    """The query language of ViewStore.find, as MongoDB answers it."""
    for path, wanted in where.items():
        values = _reach(body, path.split("."))
        accepted = wanted if isinstance(wanted, list) else [wanted]
        if not any(value in accepted for value in values):
            return False
    return True


def _reach(value: Any, path: Sequence[str]) -> list[Any]:
    """Every value at a dotted path; an array stands for itself and for each of its elements."""
    if not path:
        return [value, *value] if isinstance(value, list) else [value]
    if isinstance(value, list):
        return [found for element in value for found in _reach(element, path)]
    if isinstance(value, Mapping):
        return _reach(value.get(path[0]), path[1:])
    return [None]


@dataclass
class MemoryTargets:
    switch: Switch = no_switch
    targets: dict[str, dict[str, Target]] = field(default_factory=dict)

    async def mark(self, evaluation: str, targets: Sequence[str]) -> None:
        for name in targets:
            await self.switch(f"mark {evaluation}")
            self.dirty(evaluation, name)

    def dirty(self, evaluation: str, name: str) -> None:
        """The atomic part of a mark."""
        stored = self.targets.setdefault(evaluation, {})
        target = stored.get(name, Target(0, False, None, {}, None))
        stored[name] = replace(target, dirty=True, revision=target.revision + 1)

    async def due(self, evaluation: str, now: datetime, *, limit: int) -> dict[str, int]:
        await self.switch(f"read due {evaluation}")
        stored = self.targets.get(evaluation, {})
        ready = [n for n, t in stored.items() if t.dirty or (t.evaluate_at is not None and t.evaluate_at <= now)]
        return {n: stored[n].revision for n in ready[:limit]}

    async def finish(self, evaluation: str, findings: Sequence[Finding]) -> list[bool]:
        results = []
        for finding in findings:
            await self.switch(f"finish {evaluation}")
            results.append(self.settle(evaluation, finding))
        return results

    def settle(self, evaluation: str, finding: Finding) -> bool:
        """The atomic part of a finish."""
        stored = self.targets[evaluation]
        if stored[finding.target].revision != finding.revision:
            return False
        stored[finding.target] = Target(
            finding.revision + 1, False, finding.evaluate_at, dict(finding.basis), finding.result
        )
        return True

    async def read(self, evaluation: str, targets: Sequence[str]) -> dict[str, Target]:
        await self.switch(f"read {evaluation}")
        stored = self.targets.get(evaluation, {})
        return {t: stored[t] for t in targets if t in stored}


@dataclass
class MemoryKeys:
    switch: Switch = no_switch
    keys: dict[str, bytes | None] = field(default_factory=dict)  # None: a tombstone

    async def key(self, person: str) -> bytes | None:
        await self.switch("read key")
        return self._stored(person)

    async def create_key(self, person: str, wrapped: bytes) -> bytes:
        await self.switch("create key")
        self.keys.setdefault(person, wrapped)
        stored = self._stored(person)
        assert stored is not None
        return stored

    async def destroy_key(self, person: str, at: datetime) -> None:
        await self.switch("destroy key")
        self.keys[person] = None

    def _stored(self, person: str) -> bytes | None:
        if person in self.keys and self.keys[person] is None:
            raise KeyErased(person)
        return self.keys.get(person)


@dataclass
class MemoryOperations:
    switch: Switch = no_switch
    kept: dict[str, Operation] = field(default_factory=dict)

    async def record(self, action: str, subject: str, actor: str, reason: str, at: datetime) -> Operation:
        await self.switch("record operation")
        operation = Operation.new(action, subject, actor, reason, at)
        self.kept[operation.id] = operation
        return operation

    async def list(self, *, before: str = "", limit: int) -> list[Operation]:
        await self.switch("list operations")
        ids = [i for i in sorted(self.kept, reverse=True) if not before or i < before]
        return [self.kept[i] for i in ids[:limit]]
