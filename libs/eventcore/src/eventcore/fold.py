"""Fold: a view document is the fold of exactly one stream, guarded by that stream's version.

The same code folds a service's own appends and what comes from Kafka.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from eventcore.decider import category_of
from eventcore.event import Recorded
from eventcore.store import ABSENT, Versioned, ViewStore, Write

D = TypeVar("D", bound=BaseModel)


class _Marker:
    """An event that others must not see: it moves the version and nothing else."""


MARKER = _Marker()


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Stands where an event should: its bytes could not be read. Harmless where its version is folded already."""

    reason: str


@dataclass(frozen=True)
class View(Generic[D]):
    """A view: `fold(document or None, event)` gives the next document of the event's stream.

    `name` is its collection; `category` the streams it folds; `indexes` the field lists its queries need.
    `fold` must be total over its stream's events and raise on one it does not know: a fault, never a skip.
    """

    name: str
    category: str
    document: type[D]
    fold: Callable[[D | None, Recorded[Any]], D | None]
    indexes: Sequence[tuple[str, ...]] = field(default=())

    def read(self, stored: Versioned) -> D | None:
        return None if stored.body is None else self.document.model_validate(stored.body)


class Fault(Exception):
    """A record that cannot be folded. `stream` and `version` say which; `reason` says why."""

    def __init__(self, stream: str, version: int, reason: str) -> None:
        super().__init__(f"{stream}@{version}: {reason}")
        self.stream, self.version, self.reason = stream, version, reason


class Poison(Fault):
    """The record is here and cannot be decoded or folded."""


class Gap(Fault):
    """The record before this one is missing."""


class Marks(Protocol):
    async def mark(self, view: View[Any], documents: Mapping[str, BaseModel | None]) -> None:
        """Marks every evaluation that depends on these documents (by stream), as they now stand in the store."""
        ...


class Folder:
    """Folds records into views and marks what depends on them."""

    def __init__(self, views: Sequence[View[Any]], store: ViewStore, marks: Marks) -> None:
        self._store = store
        self._marks = marks
        self._by_category: dict[str, list[View[Any]]] = {}
        for view in views:
            self._by_category.setdefault(view.category, []).append(view)

    @property
    def categories(self) -> Collection[str]:
        return self._by_category.keys()

    async def fold(self, records: Mapping[str, Sequence[Recorded[Any]]]) -> None:
        """Folds each stream's records (any order, repetitions welcome). Returns when all is written and marked.

        Raises Poison or Gap for the first stream that cannot go on, after folding what could be folded;
        StoreUnavailable, and then nothing may be acknowledged.
        """
        faults: list[Fault] = []
        for category, views in self._by_category.items():
            mine = {s: records[s] for s in records if category_of(s) == category}
            for view in views:
                if mine:
                    faults += await self._fold_view(view, mine)
        if faults:
            raise faults[0]

    async def _fold_view(self, view: View[Any], records: Mapping[str, Sequence[Recorded[Any]]]) -> list[Fault]:
        faults: list[Fault] = []
        todo = dict(records)
        while todo:
            loaded = await self._store.load(view.name, list(todo))
            folded: dict[str, BaseModel | None] = {}
            writes = []
            for stream, waiting in todo.items():
                seen = loaded.get(stream, ABSENT)
                version, document, fault = _advance(view, seen, waiting)
                folded[stream] = document
                if fault is not None:
                    faults.append(fault)
                if version > seen.version:
                    body = None if document is None else document.model_dump(mode="json")
                    trace = next(r.trace for r in waiting if r.version == version)
                    writes.append(Write(stream, seen.version, version, body, trace))
            written = await self._store.write(view.name, writes) if writes else []
            missed = {w.stream for w, ok in zip(writes, written, strict=True) if not ok}
            # A duplicate is not folded again, but its dependants are marked again: a crash may have come between
            # its fold and its marks.
            await self._marks.mark(view, {s: document for s, document in folded.items() if s not in missed})
            # The guard missed: someone else folded in between. Load again and fold what is still new.
            todo = {s: waiting for s, waiting in todo.items() if s in missed}
            faults = [f for f in faults if f.stream not in missed]
        return faults


def _advance(
    view: View[Any], seen: Versioned, waiting: Sequence[Recorded[Any]]
) -> tuple[int, BaseModel | None, Fault | None]:
    """Folds on from `seen` as far as the records reach without a gap."""
    by_version = {r.version: r for r in waiting}
    version, document = seen.version, view.read(seen)
    while (record := by_version.get(version + 1)) is not None:
        if isinstance(record.event, Undecodable):
            return version, document, Poison(record.stream, record.version, record.event.reason)
        if record.event is not MARKER:
            try:
                document = view.fold(document, record)
            except Exception as error:  # noqa: BLE001 (whatever a fold raises, its record is the poison)
                return (
                    version,
                    document,
                    Poison(record.stream, record.version, f"{view.name} cannot fold it: {error!r}"),
                )
        version += 1
    beyond = [v for v in by_version if v > version]
    if beyond:
        stream, first = waiting[0].stream, min(beyond)
        return version, document, Gap(stream, first, f"version {version + 1} has not come to {view.name}")
    return version, document, None
