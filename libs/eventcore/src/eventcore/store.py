"""What the kernel asks of a database, and the shapes it keeps there.

Two implementations pass one contract suite (`tests/store_contract.py`): `memory.py` and `mongo/`. Where a view's
documents are at the moment is the business of `generations.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, Protocol

from eventcore.event import StoredEvent

if TYPE_CHECKING:
    from eventcore.generations import PinnedViews

Mark = Literal["unfolded", "unpublished"]


class StoreUnavailable(Exception):
    """The database did not answer. What was asked may or may not have happened."""


class Unstorable(Exception):
    """A document that the database cannot hold, however often it is tried: too large, a number beyond 64 bits."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one command added to an append: events `first`..`last`, decided for `actor`."""

    id: str
    digest: str
    actor: str
    correlation: str
    causation: str
    traceparent: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Append:
    """One document: the events `first`..`last` of `stream`, stored whole or not at all.

    Its id `<stream>@<first>` is the optimistic lock: the second writer of a slot is refused. `again` names the
    republication that asks for this stream, whole, from this append on; empty: none does.
    """

    stream: str
    first: int
    steps: tuple[Step, ...]
    events: tuple[StoredEvent, ...]
    recorded: datetime
    again: str = ""

    @property
    def id(self) -> str:
        return f"{self.stream}@{self.first}"

    @property
    def last(self) -> int:
        return self.first + len(self.events) - 1


Slot = tuple[str, int]
"""(stream, first) of an append."""


class Insert(Enum):
    STORED = "stored"
    TAKEN = "taken"  # another append holds this slot
    UNKNOWN = "unknown"  # no answer: it may be stored, may land later, or never


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits, of `events` in all; `more`: that is only what was counted. `oldest`: when the oldest of them was
    recorded, None where nothing waits."""

    events: int
    more: bool
    oldest: datetime | None


class AppendStore(Protocol):
    """The log. Reads see only what a majority holds (else a failover could roll back what was published)."""

    @property
    def epoch(self) -> str:
        """Random at the store's creation; a log from another epoch is another history."""
        ...

    async def load(self, streams: Sequence[str]) -> dict[str, list[Append]]:
        """Every append of each stream, in order of `first`; an unknown stream gives no entry."""
        ...

    async def insert(self, appends: Sequence[Append]) -> list[Insert]:
        """All at once, unordered; one answer each. Marks them unfolded and unpublished.

        Does not raise for the database: that is UNKNOWN. Values the store cannot hold at all raise.
        """
        ...

    async def waiting(
        self, mark: Mark, *, limit: int, without: Collection[str] = (), before: datetime | None = None
    ) -> list[str]:
        """Streams of `limit` marked appends that are not among `without`, and were recorded before that instant where
        one is given; whichever the store comes upon first: where to look, not in what order."""
        ...

    async def pending(self, mark: Mark, *, streams: Sequence[str] | None = None, limit: int) -> list[Append]:
        """Marked appends in order of (stream, first), of `streams` only, or of all.

        This order matters: it alone guarantees that an append is never seen without its marked predecessors,
        even while others insert during the scan.
        """
        ...

    async def clear(self, mark: Mark, appends: Sequence[Append]) -> None:
        """Done with these. `unpublished` stays on what was asked for again since it was read (`Append.again`): a clear
        that comes late must not take for done what is to go out once more."""
        ...


class Outbox(Protocol):
    """The log as whoever runs the service looks at it: what of it has not gone out."""

    async def backlog(self, mark: Mark, *, limit: int) -> Backlog:
        """How much waits, looking at no more than `limit` marked appends, whichever the store comes upon first."""
        ...

    async def slots(self, *, category: str = "", after: Slot = ("", 0), limit: int) -> list[tuple[str, int, int]]:
        """(stream, first, last) of appends in order of (stream, first), beyond `after`; of one category, or of all."""
        ...

    async def ask_again(self, streams: Sequence[str], republication: str) -> None:
        """Marks the first append of each stream `unpublished`, and as asked for by this republication: one document a
        stream, so that a stream is asked for or not, and never in part. An unknown stream is passed over."""
        ...

    async def asked(self, republication: str) -> int:
        """How many streams this republication asked for have not gone out yet."""
        ...


class StreamStore(Protocol):
    """The log as a rebuild reads it: stream by stream."""

    @property
    def epoch(self) -> str:
        """As AppendStore's."""
        ...

    async def list_streams(self, category: str, *, after: str = "", limit: int) -> list[str]:
        """The category's streams beyond `after`, in order, at most `limit`."""
        ...

    async def count_streams(self, category: str) -> int: ...

    async def load(self, streams: Sequence[str]) -> dict[str, list[Append]]:
        """As AppendStore's."""
        ...


@dataclass(frozen=True, slots=True)
class Versioned:
    """A view document as stored: the fold of versions 1..`version` of one stream.

    `trace` is the last folded event's; it is no part of the document's content.
    """

    version: int
    body: Mapping[str, Any] | None
    trace: str = ""


ABSENT = Versioned(0, None)


@dataclass(frozen=True, slots=True)
class Write:
    """Replace the document of `stream` if its version is still `seen`."""

    stream: str
    seen: int
    version: int
    body: Mapping[str, Any] | None
    trace: str = ""


class ViewStore(Protocol):
    async def pinned(self) -> PinnedViews:
        """The same store by the pointers of this moment (see `generations`), read from the primary."""
        ...

    async def load(self, view: str, streams: Sequence[str]) -> dict[str, Versioned]:
        """The documents of these streams, from the primary; absent ones give no entry."""
        ...

    async def write(self, view: str, writes: Sequence[Write]) -> list[bool]:
        """Guarded by each document's version; False where the guard missed. Raises StoreUnavailable; Unstorable, and
        then any of them may have been written."""
        ...

    async def find(
        self,
        view: str,
        where: Mapping[str, Any],
        *,
        after: str = "",
        limit: int,
    ) -> list[tuple[str, Versioned]]:
        """Documents whose fields equal `where` (dotted paths; a list value means "any of these"; an array field
        matches when it contains the value), in order of stream, of streams beyond `after`, at most `limit`."""
        ...

    async def names(self, view: str, where: Mapping[str, Any], *, after: str = "", limit: int) -> list[str]:
        """The streams whose documents `find` would give, without reading them."""
        ...

    async def count(self, view: str, where: Mapping[str, Any]) -> int:
        """How many documents have fields that equal `where` (plain values only), without reading them."""
        ...

    async def bind_epoch(self, source: str, epoch: str) -> str:
        """Remembers the first epoch seen of a source and gives back the remembered one."""
        ...


class Rooms(ViewStore, Protocol):
    """The view store below the generations: here a view's name is that of a room (see `generations.room`).

    By itself it serves every view from its first room.
    """

    async def open_room(self, room: str, indexes: Sequence[tuple[str, ...]]) -> None:
        """Creates what is missing: its indexes."""
        ...

    async def rooms_of(self, view: str) -> list[str]:
        """Every room of this view that holds anything, the first one included."""
        ...

    async def drop_room(self, room: str) -> None: ...

    async def histories(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Of each source that was ever heard: the epoch its views are folded from, and those given up for it."""
        ...

    async def rebind(self, source: str, epoch: str, retired: Sequence[str]) -> None:
        """From now on the views are folded from that epoch."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """What an evaluation last found: `basis` says on which version of which stream."""

    revision: int
    dirty: bool
    evaluate_at: datetime | None
    basis: Mapping[str, int]
    result: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Finding:
    """A result to write if the target's revision is still `revision`."""

    target: str
    revision: int
    result: Mapping[str, Any]
    basis: Mapping[str, int]
    evaluate_at: datetime | None


class TargetStore(Protocol):
    async def mark(self, evaluation: str, targets: Sequence[str]) -> None:
        """dirty, and revision + 1, creating what is missing."""
        ...

    async def mark_again(self, evaluation: str, targets: Sequence[str]) -> None:
        """As `mark`, of many that are there, and cheaper; what is missing is not created."""
        ...

    async def count(self, evaluation: str) -> int:
        """How many targets there are, about."""
        ...

    async def due(self, evaluation: str, now: datetime, *, limit: int) -> dict[str, int]:
        """Targets that are dirty or whose `evaluate_at` has come, with their revisions."""
        ...

    async def finish(self, evaluation: str, findings: Sequence[Finding]) -> list[bool]:
        """Guarded by the revision, which it increments; clears dirty. False where the guard missed."""
        ...

    async def read(self, evaluation: str, targets: Sequence[str]) -> dict[str, Target]: ...

    async def bases(self, evaluation: str, targets: Sequence[str]) -> dict[str, Mapping[str, int]]:
        """What each result rests on, and nothing else of it; no entry for a target that has none."""
        ...

    async def known(self, evaluation: str, targets: Sequence[str]) -> set[str]:
        """Those of these that there are, without reading them: a result may be large."""
        ...

    async def names(self, evaluation: str, *, after: str = "", limit: int) -> list[str]:
        """Every target beyond `after`, in order, at most `limit`."""
        ...


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Where a key was, or might have come to be, until `at`."""

    at: datetime


class KeyStore(Protocol):
    """Wrapped keys, one a person; a tombstone is for ever."""

    async def read(self, persons: Sequence[str]) -> dict[str, bytes | Tombstone]:
        """What there is of these persons, from the primary; of whom there never was anything, no entry."""
        ...

    async def create_key(self, person: str, wrapped: bytes) -> bytes:
        """Stores it unless one is there, and gives back what is stored. Raises KeyErased at a tombstone."""
        ...

    async def destroy_keys(self, persons: Sequence[str], at: datetime) -> None:
        """A tombstone for each, also for whom there never was a key. The first one's date stays.

        Raises StoreUnavailable: some may be destroyed, do it again.
        """
        ...

    async def tombstones(self, *, after: str = "", limit: int) -> list[tuple[str, Tombstone]]:
        """Who was erased, in order of person, of persons beyond `after`, at most `limit`."""
        ...


class KeyErased(Exception):
    """The person was erased: there is no key and never will be one."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What somebody did to the running system, and why. `id` grows with `at`, so it also says where a page ends.

    `action` is a verb of the operators' commands ("redrive"), `subject` what it was done to, in ids. `reason` is a
    person's own words and is kept for ever, so it must name nobody.
    """

    id: str
    action: str
    subject: str
    actor: str
    reason: str
    at: datetime

    @classmethod
    def new(cls, action: str, subject: str, actor: str, reason: str, at: datetime) -> Operation:
        """With an id of its own: its instant, and chance against a twin."""
        moment = f"{at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"
        return cls(f"{moment}-{secrets.token_hex(6)}", action, subject, actor, reason, at)


class OperationLog(Protocol):
    """Who intervened. Nothing in it is ever changed or removed."""

    async def record(self, action: str, subject: str, actor: str, reason: str, at: datetime) -> Operation:
        """Kept once this returns. Raises StoreUnavailable: then it may be kept or not, and the operation must not
        begin."""
        ...

    async def list(self, *, before: str = "", limit: int) -> list[Operation]:
        """The newest first, of those older than the operation with the id `before` (empty: all), at most `limit`."""
        ...


# ---- what is held


@dataclass(frozen=True, slots=True)
class Entry:
    """A held record, whole, as it came: its own bytes, key and headers, and where it stood.

    Own events that cannot be folded are held alike: topic `appends`, the stored event's JSON as the value.
    """

    consumer: str
    epoch: str
    stream: str
    version: int
    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    value: bytes | None
    at: datetime  # when it was held


HeldKind = Literal["poison", "gap"]


@dataclass(frozen=True, slots=True)
class Head:
    """Says that a stream is held by a consumer, and where it is stuck; one for each (consumer, stream).

    `version` is the next one its views need: it cannot be folded (poison) or has not come (gap). `error` names it in
    terms of the code and never quotes the record, so that errors can be counted, grouped and shown. `revision` is the
    lock: whatever is held or changed raises it, and a head is removed only at the revision at which nothing was left
    behind it. `life` tells a head from an earlier one of its stream: a slow process must not take one for the other,
    though both count from 1.
    """

    consumer: str
    stream: str
    epoch: str
    kind: HeldKind
    version: int
    error: str
    first: datetime
    last: datetime
    attempts: int = 1
    revision: int = 1
    life: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class Discard:
    """A version that somebody decided to go on without: wherever it is a fault, it is folded as a bare marker."""

    epoch: str
    stream: str
    version: int
    reason: str
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class HeldGroup:
    """The held streams of one consumer that share an error."""

    consumer: str
    kind: HeldKind
    error: str
    streams: int
    oldest: datetime


def grouped(heads: Iterable[Head]) -> list[HeldGroup]:
    """All of these heads, grouped by error, the largest group first."""

    def kind(head: Head) -> tuple[str, HeldKind, str]:
        return (head.consumer, head.kind, head.error)

    groups = []
    for (consumer, of, error), found in groupby(sorted(heads, key=kind), kind):
        firsts = [head.first for head in found]
        groups.append(HeldGroup(consumer, of, error, len(firsts), min(firsts)))
    return sorted(groups, key=lambda group: -group.streams)


class HeldStore(Protocol):
    """Records that wait until their stream can be folded again. All raise StoreUnavailable."""

    async def keep(self, entries: Sequence[Entry]) -> None:
        """Stores them under (consumer, epoch, stream, version); what is stored there already is replaced.

        Raises Unstorable for a version that no number of the store's holds: it must not come so far."""
        ...

    async def park(self, heads: Sequence[Head]) -> None:
        """Creates these heads; of one that is there, only revision, attempts and `last` are raised."""
        ...

    async def heads(self, consumer: str, streams: Sequence[str]) -> dict[str, Head]:
        """The heads of these streams, from the primary. Cheap while the consumer holds nothing."""
        ...

    async def entries(self, consumer: str, epoch: str, stream: str, *, after: int = 0, limit: int) -> list[Entry]:
        """A stream's entries beyond version `after`, in order of version."""
        ...

    async def drop(self, entries: Sequence[Entry]) -> None: ...

    async def move(self, head: Head) -> bool:
        """Writes the head's new place, and raises its revision, if it still stands at `head.revision`."""
        ...

    async def remove(self, head: Head) -> bool:
        """Removes the head if it still stands at `head.revision`."""
        ...

    async def orphans(self, consumer: str, *, limit: int) -> list[Entry]:
        """The first entry of each stream that has entries and no head: a process died while it held them."""
        ...

    async def forget(self, consumer: str, epoch: str) -> None:
        """Drops all that is held of an epoch: for views that are folded anew from another history."""
        ...

    async def find(
        self,
        *,
        consumer: str = "",
        kind: HeldKind | None = None,
        error: str = "",
        after: tuple[str, str] = ("", ""),
        limit: int,
    ) -> list[Head]:
        """Heads in order of (consumer, stream), beyond `after`; empty means any."""
        ...

    async def stalest(self, consumer: str, kind: HeldKind, *, limit: int) -> list[Head]:
        """The heads that were tried longest ago, those first."""
        ...

    async def groups(self) -> list[HeldGroup]:
        """All that is held; see `grouped`."""
        ...

    async def held(self, consumer: str) -> tuple[int, datetime | None]:
        """How many streams a consumer holds, and since when the oldest."""
        ...

    async def discard(self, discards: Sequence[Discard]) -> None:
        """Remembers them for ever; the first decision about a version stands."""
        ...

    async def discards(self, epoch: str | None, stream: str) -> list[Discard]:
        """Those of a stream, by version; without an epoch those of any."""
        ...
