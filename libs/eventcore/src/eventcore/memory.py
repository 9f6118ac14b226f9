"""The stores in memory, for tests and for the simulation.

`switch(operation)` is awaited before every operation takes effect: the place where a simulation lets another process
run, crashes this one, or raises StoreUnavailable.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from eventcore.decider import category_of
from eventcore.generations import Catalogue, Instance, PinnedViews, view_of
from eventcore.limits import INSTANCES_KEPT_SECONDS
from eventcore.store import (
    ABSENT,
    Append,
    Backlog,
    Discard,
    Entry,
    Finding,
    Head,
    HeldGroup,
    HeldKind,
    Insert,
    KeyErased,
    Mark,
    Operation,
    Slot,
    Target,
    Tombstone,
    Unstorable,
    Versioned,
    Write,
    grouped,
)

Switch = Callable[[str], Awaitable[None]]


async def no_switch(_operation: str) -> None:
    """Nobody else runs."""


@dataclass
class MemoryAppends:
    epoch: str = "memory"
    switch: Switch = no_switch
    streams: dict[str, dict[int, Append]] = field(default_factory=dict)
    marked: dict[Mark, set[Slot]] = field(default_factory=lambda: {"unfolded": set(), "unpublished": set()})

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

    async def waiting(
        self, mark: Mark, *, limit: int, without: Collection[str] = (), before: datetime | None = None
    ) -> list[str]:
        await self.switch(f"find {mark}")
        slots = [slot for slot in sorted(self.marked[mark]) if slot[0] not in without and self.older(slot, before)]
        return list(dict.fromkeys(stream for stream, _ in slots[:limit]))

    def older(self, slot: Slot, before: datetime | None) -> bool:
        """Whether what is stored there was recorded before that, if it matters."""
        stream, first = slot
        return before is None or self.streams[stream][first].recorded < before

    async def pending(self, mark: Mark, *, streams: Sequence[str] | None = None, limit: int) -> list[Append]:
        await self.switch(f"read {mark}")
        slots = sorted(s for s in self.marked[mark] if streams is None or s[0] in streams)
        return [self.streams[stream][first] for stream, first in slots[:limit]]

    async def clear(self, mark: Mark, appends: Sequence[Append]) -> None:
        await self.switch(f"clear {mark}")
        for append in appends:
            self.unmark(mark, append)

    def unmark(self, mark: Mark, append: Append) -> None:
        """The atomic part of a clear."""
        stored = self.streams[append.stream][append.first]
        if mark == "unpublished" and stored.again != append.again:
            return
        self.marked[mark].discard((append.stream, append.first))
        if mark == "unpublished":
            self.streams[append.stream][append.first] = replace(stored, again="")

    async def backlog(self, mark: Mark, *, limit: int) -> Backlog:
        await self.switch(f"count {mark}")
        found = [self.streams[stream][first] for stream, first in sorted(self.marked[mark])]
        counted = found[:limit]
        oldest = min((a.recorded for a in counted), default=None)
        return Backlog(sum(len(a.events) for a in counted), len(found) > limit, oldest)

    async def slots(self, *, category: str = "", after: Slot = ("", 0), limit: int) -> list[tuple[str, int, int]]:
        await self.switch("list appends")
        wanted = f"{category}-" if category else ""
        found = [a for slots in self.streams.values() for a in slots.values() if a.stream.startswith(wanted)]
        beyond = sorted((a.stream, a.first, a.last) for a in found if (a.stream, a.first) > after)
        return beyond[:limit]

    async def ask_again(self, streams: Sequence[str], republication: str) -> None:
        for stream in streams:
            await self.switch("ask again")
            self.ask(stream, republication)

    def ask(self, stream: str, republication: str) -> None:
        """The atomic part of asking again."""
        slots = self.streams.get(stream, {})
        if 1 in slots:
            slots[1] = replace(slots[1], again=republication)
            self.marked["unpublished"].add((stream, 1))

    async def asked(self, republication: str) -> int:
        await self.switch("count asked")
        return sum(a.again == republication for slots in self.streams.values() for a in slots.values())

    async def list_streams(self, category: str, *, after: str = "", limit: int) -> list[str]:
        await self.switch("list streams")
        return [s for s in self._of(category) if s > after][:limit]

    async def count_streams(self, category: str) -> int:
        await self.switch("count streams")
        return len(self._of(category))

    def _of(self, category: str) -> list[str]:
        return sorted(s for s, slots in self.streams.items() if slots and category_of(s) == category)


@dataclass
class MemoryViews:
    switch: Switch = no_switch
    documents: dict[str, dict[str, Versioned]] = field(default_factory=dict)
    epochs: dict[str, str] = field(default_factory=dict)
    retired: dict[str, tuple[str, ...]] = field(default_factory=dict)

    async def pinned(self) -> PinnedViews:
        return PinnedViews(self, Catalogue())

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

    async def names(self, view: str, where: Mapping[str, Any], *, after: str = "", limit: int) -> list[str]:
        return [stream for stream, _ in await self.find(view, where, after=after, limit=limit)]

    async def count(self, view: str, where: Mapping[str, Any]) -> int:
        return len(await self.find(view, where, limit=sys.maxsize))

    async def bind_epoch(self, source: str, epoch: str) -> str:
        await self.switch("bind epoch")
        return self.epochs.setdefault(source, epoch)

    async def open_room(self, room: str, indexes: Sequence[tuple[str, ...]]) -> None:
        await self.switch(f"open {room}")

    async def rooms_of(self, view: str) -> list[str]:
        await self.switch(f"list rooms of {view}")
        return sorted(r for r, documents in self.documents.items() if documents and view_of(r) == view)

    async def drop_room(self, room: str) -> None:
        await self.switch(f"drop {room}")
        self.documents.pop(room, None)

    async def histories(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        await self.switch("read histories")
        return {source: (epoch, self.retired.get(source, ())) for source, epoch in self.epochs.items()}

    async def rebind(self, source: str, epoch: str, retired: Sequence[str]) -> None:
        await self.switch("bind epoch")
        self.epochs[source], self.retired[source] = epoch, tuple(retired)


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

    async def mark_again(self, evaluation: str, targets: Sequence[str]) -> None:
        await self.mark(evaluation, [name for name in targets if name in self.targets.get(evaluation, {})])

    async def count(self, evaluation: str) -> int:
        await self.switch(f"count {evaluation}")
        return len(self.targets.get(evaluation, {}))

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

    async def bases(self, evaluation: str, targets: Sequence[str]) -> dict[str, Mapping[str, int]]:
        found = await self.read(evaluation, targets)
        return {t: target.basis for t, target in found.items() if target.result is not None}

    async def known(self, evaluation: str, targets: Sequence[str]) -> set[str]:
        return set(await self.read(evaluation, targets))

    async def names(self, evaluation: str, *, after: str = "", limit: int) -> list[str]:
        await self.switch(f"list {evaluation}")
        return [t for t in sorted(self.targets.get(evaluation, {})) if t > after][:limit]


@dataclass
class MemoryGenerations:
    switch: Switch = no_switch
    catalogue: Catalogue = field(default_factory=Catalogue)
    noted: dict[str, Instance] = field(default_factory=dict)

    async def read(self) -> Catalogue:
        await self.switch("read generations")
        return self.catalogue

    async def swap(self, seen: Catalogue, new: Catalogue) -> bool:
        await self.switch("swap generations")
        return self.store(seen.revision, new)

    async def note(self, instance: Instance) -> None:
        kept = instance.at - timedelta(seconds=INSTANCES_KEPT_SECONDS)
        self.noted = {n: i for n, i in self.noted.items() if i.at >= kept} | {instance.name: instance}

    async def instances(self, since: datetime) -> list[Instance]:
        return [instance for instance in self.noted.values() if instance.at >= since]

    def store(self, revision: int, new: Catalogue) -> bool:
        """The atomic part of a swap."""
        if self.catalogue.revision != revision:
            return False
        self.catalogue = new.model_copy(update={"revision": revision + 1})
        return True


@dataclass
class MemoryKeys:
    switch: Switch = no_switch
    keys: dict[str, bytes | Tombstone] = field(default_factory=dict)

    async def read(self, persons: Sequence[str]) -> dict[str, bytes | Tombstone]:
        await self.switch("read keys")
        return {p: self.keys[p] for p in persons if p in self.keys}

    async def create_key(self, person: str, wrapped: bytes) -> bytes:
        await self.switch("create key")
        stored = self.keys.setdefault(person, wrapped)
        if isinstance(stored, Tombstone):
            raise KeyErased(person)
        return stored

    async def destroy_keys(self, persons: Sequence[str], at: datetime) -> None:
        for person in persons:
            await self.switch("destroy key")
            self.bury(person, at)

    def bury(self, person: str, at: datetime) -> None:
        """The atomic part of a destruction."""
        if not isinstance(self.keys.get(person), Tombstone):
            self.keys[person] = Tombstone(at)

    async def tombstones(self, *, after: str = "", limit: int) -> list[tuple[str, Tombstone]]:
        await self.switch("list tombstones")
        found = [(p, k) for p, k in sorted(self.keys.items()) if p > after and isinstance(k, Tombstone)]
        return found[:limit]


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


EntryKey = tuple[str, str, str, int]


def key_of(entry: Entry) -> EntryKey:
    return (entry.consumer, entry.epoch, entry.stream, entry.version)


@dataclass
class MemoryHeld:
    switch: Switch = no_switch
    kept: dict[EntryKey, Entry] = field(default_factory=dict)
    standing: dict[tuple[str, str], Head] = field(default_factory=dict)
    discarded: dict[tuple[str, str, int], Discard] = field(default_factory=dict)

    async def keep(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            await self.switch("keep entry")
            self.store(entry)

    def store(self, entry: Entry) -> None:
        """The atomic part of a keep."""
        if entry.version >= 1 << 63:
            raise Unstorable("OverflowError")  # as MongoDB's numbers
        self.kept[key_of(entry)] = entry

    async def park(self, heads: Sequence[Head]) -> None:
        for head in heads:
            await self.switch("park head")
            self.lift(head)

    def lift(self, head: Head) -> None:
        """The atomic part of a park."""
        found = self.standing.get((head.consumer, head.stream))
        if found is not None:
            head = replace(found, revision=found.revision + 1, attempts=found.attempts + 1, last=head.last)
        self.standing[head.consumer, head.stream] = head

    async def heads(self, consumer: str, streams: Sequence[str]) -> dict[str, Head]:
        await self.switch("load heads")
        return {s: self.standing[consumer, s] for s in streams if (consumer, s) in self.standing}

    async def entries(self, consumer: str, epoch: str, stream: str, *, after: int = 0, limit: int) -> list[Entry]:
        await self.switch("load entries")
        return self._behind((consumer, epoch, stream), after)[:limit]

    def _behind(self, where: tuple[str, str, str], after: int) -> list[Entry]:
        return [self.kept[key] for key in sorted(self.kept) if key[:3] == where and key[3] > after]

    async def drop(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            await self.switch("drop entry")
            self.lose(entry)

    def lose(self, entry: Entry) -> None:
        """The atomic part of a drop."""
        self.kept.pop(key_of(entry), None)

    def stands(self, head: Head) -> bool:
        """Whether nobody changed it since it was read."""
        found = self.standing.get((head.consumer, head.stream))
        return found is not None and (found.life, found.revision) == (head.life, head.revision)

    async def move(self, head: Head) -> bool:
        await self.switch("move head")
        return self.relocate(head)

    def relocate(self, head: Head) -> bool:
        """The atomic part of a move."""
        if not self.stands(head):
            return False
        self.standing[head.consumer, head.stream] = replace(head, revision=head.revision + 1)
        return True

    async def remove(self, head: Head) -> bool:
        await self.switch("remove head")
        return self.take_away(head)

    def take_away(self, head: Head) -> bool:
        """The atomic part of a remove."""
        if not self.stands(head):
            return False
        del self.standing[head.consumer, head.stream]
        return True

    async def orphans(self, consumer: str, *, limit: int) -> list[Entry]:
        await self.switch("find orphans")
        first: dict[str, Entry] = {}
        for (of, _, stream, _), entry in sorted(self.kept.items()):
            if of == consumer and (consumer, stream) not in self.standing:
                first.setdefault(stream, entry)
        return list(first.values())[:limit]

    async def forget(self, consumer: str, epoch: str) -> None:
        await self.switch("forget epoch")
        self.standing = {k: h for k, h in self.standing.items() if (h.consumer, h.epoch) != (consumer, epoch)}
        self.kept = {k: e for k, e in self.kept.items() if (e.consumer, e.epoch) != (consumer, epoch)}

    async def find(
        self,
        *,
        consumer: str = "",
        kind: HeldKind | None = None,
        error: str = "",
        after: tuple[str, str] = ("", ""),
        limit: int,
    ) -> list[Head]:
        await self.switch("find heads")
        found = [
            head
            for key, head in sorted(self.standing.items())
            if key > after
            and consumer in ("", head.consumer)
            and kind in (None, head.kind)
            and error in ("", head.error)
        ]
        return found[:limit]

    async def stalest(self, consumer: str, kind: HeldKind, *, limit: int) -> list[Head]:
        await self.switch("find heads")
        mine = [h for h in self.standing.values() if (h.consumer, h.kind) == (consumer, kind)]
        return sorted(mine, key=lambda head: head.last)[:limit]

    async def groups(self) -> list[HeldGroup]:
        await self.switch("find heads")
        return grouped(self.standing.values())

    async def held(self, consumer: str) -> tuple[int, datetime | None]:
        await self.switch("count heads")
        firsts = [head.first for head in self.standing.values() if head.consumer == consumer]
        return len(firsts), min(firsts, default=None)

    async def discard(self, discards: Sequence[Discard]) -> None:
        for one in discards:
            await self.switch("discard")
            self.discarded.setdefault((one.epoch, one.stream, one.version), one)

    async def discards(self, epoch: str | None, stream: str) -> list[Discard]:
        await self.switch("load discards")
        found = [d for d in self.discarded.values() if d.stream == stream and epoch in (None, d.epoch)]
        return sorted(found, key=lambda d: d.version)
