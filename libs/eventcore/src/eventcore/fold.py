"""Fold: a view document is the fold of exactly one stream, guarded by that stream's version.

The same code folds a service's own appends and what comes from Kafka.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from eventcore.decider import category_of
from eventcore.event import Recorded
from eventcore.generations import Catalogue, PinnedViews, open_gate
from eventcore.limits import TOLD_CHARS_MAX
from eventcore.store import ABSENT, StoreUnavailable, Unstorable, Versioned, ViewStore, Write

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


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a stream cannot go on: `version` is the next one that its views need. `reason` speaks of the code alone
    and never quotes a record, so that faults may be counted, grouped, logged and shown."""

    stream: str
    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class Poison(Fault):
    """That version is here and cannot be decoded or folded."""


@dataclass(frozen=True, slots=True)
class Gap(Fault):
    """That version is missing, and later ones are here."""


def told(error: BaseException) -> str:
    """An error by its class and place. Never by its text, which may quote what the record holds."""
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = "".join(f" at {Path(frame.filename).name}:{frame.lineno}" for frame in where)
    if isinstance(error, ValidationError):
        # Names of fields and of what is wrong with them; pydantic's own text shows the values.
        fields = error.errors(include_url=False, include_context=False, include_input=False)[:3]
        place += "".join(f", {'.'.join(map(str, f['loc']))}: {f['type']}" for f in fields)
    return f"{type(error).__name__}{place}"[:TOLD_CHARS_MAX]


Records: TypeAlias = Mapping[str, Sequence[Recorded[Any]]]  # by stream


async def nothing_else(_records: Records) -> None:
    """Nothing is being built."""


class Marks(Protocol):
    async def mark(
        self, view: View[Any], documents: Mapping[str, BaseModel | None], repeated: Mapping[str, int]
    ) -> None:
        """Marks every evaluation that depends on these documents (by stream), as they now stand in the store.

        `repeated`: of which of them nothing new came, and the version they stand at. They may have been marked before;
        whoever died between a fold and its marks did not.
        """
        ...


class Folder:
    """Folds records into views and marks what depends on them.

    `also` is given the records first: it folds them into what is being built of these views. `gate` raises
    StoreUnavailable while they are being switched. For both, and the order of things here, see `rebuild`.
    """

    def __init__(
        self,
        views: Sequence[View[Any]],
        store: ViewStore,
        marks: Marks,
        *,
        also: Callable[[Records], Awaitable[None]] = nothing_else,
        gate: Callable[[Catalogue], Awaitable[None]] = open_gate,
    ) -> None:
        self._store = store
        self._marks = marks
        self._also = also
        self._gate = gate
        self._by_category: dict[str, list[View[Any]]] = {}
        for view in views:
            self._by_category.setdefault(view.category, []).append(view)

    @property
    def categories(self) -> Collection[str]:
        return self._by_category.keys()

    @property
    def views(self) -> list[View[Any]]:
        return [view for views in self._by_category.values() for view in views]

    async def fold(self, records: Records, pinned: PinnedViews | None = None) -> dict[str, Fault]:
        """Folds each stream's records (any order, repetitions welcome). Returns when all is written and marked.

        `pinned` are pointers that were read after the records were. Gives the streams that cannot go on; what came
        before each fault is folded. Raises StoreUnavailable, and then nothing may be acknowledged.
        """
        await self._also(records)
        # Read anew, after the records were. One pointer for all of a fold, or a document could be read from one
        # generation and written to another.
        pinned = pinned or await self._store.pinned()
        await self._gate(pinned.catalogue)
        at = self._at(pinned)
        faults = await at._each(records, at._fold_view)
        # And once more: what is acknowledged was folded while its generation served, and before a switch began to ask
        # whether everything is in the new one. Otherwise it comes again, and is folded into that.
        after = await self._store.pinned()
        await self._gate(after.catalogue)
        if after.catalogue.generations() != pinned.catalogue.generations():
            raise StoreUnavailable("views were switched to a new generation meanwhile")
        return faults

    async def rehearse(self, records: Records) -> dict[str, Fault]:
        """What `fold` would give. Writes and marks nothing."""
        at = self._at(await self._store.pinned())
        return await at._each(records, at._rehearse_view)

    def _at(self, pinned: PinnedViews) -> Folder:
        """The same by these pointers. A view that was never built is not folded live: all its streams were gaps."""
        at = copy(self)
        at._store = pinned
        at._by_category = {c: [v for v in views if pinned.serves(v.name)] for c, views in self._by_category.items()}
        return at

    async def _each(self, records: Mapping[str, Sequence[Recorded[Any]]], fold: _FoldView) -> dict[str, Fault]:
        """One fault a stream: the earliest of its views'."""
        faults: dict[str, Fault] = {}
        for category, views in self._by_category.items():
            mine = {s: records[s] for s in records if category_of(s) == category}
            for view in views:
                for fault in await fold(view, mine) if mine else ():
                    known = faults.setdefault(fault.stream, fault)
                    if fault.version < known.version:
                        faults[fault.stream] = fault
        return faults

    async def _rehearse_view(self, view: View[Any], records: Mapping[str, Sequence[Recorded[Any]]]) -> list[Fault]:
        loaded = await self._store.load(view.name, list(records))
        folded = [_advance(view, s, loaded.get(s, ABSENT), waiting) for s, waiting in records.items()]
        return [f.fault for f in folded if f.fault is not None]

    async def _fold_view(self, view: View[Any], records: Mapping[str, Sequence[Recorded[Any]]]) -> list[Fault]:
        faults: list[Fault] = []
        todo = dict(records)
        while todo:
            loaded = await self._store.load(view.name, list(todo))
            folded = {s: _advance(view, s, loaded.get(s, ABSENT), waiting) for s, waiting in todo.items()}
            bad: dict[str, str] = {}
            writes = [write for f in folded.values() if (write := _write(f, bad)) is not None]
            written = await self._store_writes(view, writes, bad)
            missed = {w.stream for w, ok in zip(writes, written, strict=True) if not ok} - bad.keys()
            done = {s: f for s, f in folded.items() if s not in missed and s not in bad}
            # A duplicate is not folded again, but its marks are made good: a crash may have come between its fold and
            # them. Only of the last version that was folded: whoever folded that marked, or its record comes again.
            # What only waits behind a fault changed nothing.
            moved = {s: f for s, f in done.items() if any(r.version == f.version for r in todo[s])}
            repeated = {s: f.version for s, f in moved.items() if f.version == f.seen.version}
            await self._marks.mark(view, {s: f.document for s, f in moved.items()}, repeated)
            faults += [f.fault for f in done.values() if f.fault is not None]
            for stream, reason in bad.items():
                faults += await self._one_by_one(view, folded[stream], todo[stream], reason)
            # The guard missed: someone else folded in between. Load again and fold what is still new.
            todo = {s: todo[s] for s in missed}
        return faults

    async def _store_writes(self, view: View[Any], writes: Sequence[Write], bad: dict[str, str]) -> list[bool]:
        """Notes in `bad` which documents the database cannot hold at all: they must not keep back the others."""
        if not writes:
            return []
        try:
            return await self._store.write(view.name, writes)
        except Unstorable as error:
            if len(writes) == 1:
                bad[writes[0].stream] = str(error)
                return [False]
        return [ok for write in writes for ok in await self._store_writes(view, [write], bad)]

    async def _one_by_one(
        self, view: View[Any], folded: _Folded, waiting: Sequence[Recorded[Any]], reason: str
    ) -> list[Fault]:
        """A document that cannot be stored: which version makes it so is found by storing each."""
        stream, version = folded.stream, folded.seen.version + 1
        if folded.version == version:
            return [Poison(stream, version, f"{view.name} cannot be stored with it: {reason}")]
        for record in sorted(waiting, key=lambda r: r.version):
            if faults := await self._fold_view(view, {stream: [record]}):
                return faults
        return []


_FoldView: TypeAlias = Callable[[View[Any], Mapping[str, Sequence[Recorded[Any]]]], Awaitable[list[Fault]]]


@dataclass(frozen=True, slots=True)
class _Folded:
    stream: str
    seen: Versioned
    version: int
    document: BaseModel | None
    trace: str
    fault: Fault | None


def _advance(view: View[Any], stream: str, seen: Versioned, waiting: Sequence[Recorded[Any]]) -> _Folded:
    """Folds on from `seen` as far as the records reach without a gap."""
    by_version = {r.version: r for r in waiting}
    version, document, trace = seen.version, view.read(seen), ""
    fault: Fault | None = None
    while (record := by_version.get(version + 1)) is not None:
        if isinstance(record.event, Undecodable):
            fault = Poison(stream, record.version, record.event.reason)
            break
        if record.event is not MARKER:
            try:
                document = view.fold(document, record)
            except Exception as error:  # noqa: BLE001 (whatever a fold raises, its record is the poison)
                fault = Poison(stream, record.version, f"{view.name} cannot fold it: {told(error)}")
                break
        version, trace = record.version, record.trace
    if fault is None and any(v > version for v in by_version):
        fault = Gap(stream, version + 1, f"{view.name} waits for a version that has not come")
    return _Folded(stream, seen, version, document, trace, fault)


def _write(folded: _Folded, bad: dict[str, str]) -> Write | None:
    """What to write, if anything. Notes in `bad` that the document cannot even be written down."""
    if folded.version == folded.seen.version:
        return None
    try:
        body = None if folded.document is None else folded.document.model_dump(mode="json")
    except Exception as error:  # noqa: BLE001 (as for the fold itself)
        bad[folded.stream] = told(error)
        return None
    return Write(folded.stream, folded.seen.version, folded.version, body, folded.trace)
