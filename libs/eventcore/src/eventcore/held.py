"""Hold: a stream that cannot go on stands aside, whole and in order, and every other stream goes on.

What cannot be folded is stored as it came, with everything of its stream that comes behind it, before it counts as
handled. One head for each (consumer, stream) says that this is so and is the lock between all that hold and release:

- To hold: first the entries, then the head is created or its revision raised, and only then may the record count as
  handled. After that the stream is released as far as it goes, since what it waited for may have come meanwhile.
- To release: the revision is read before the entries; entries are dropped only once they are folded and their
  dependants marked; the head is removed only at the revision that was read. Whoever holds something more meanwhile
  raises it, and then it is done again.
- A consumer looks for heads after it has folded a batch. So either it sees a head that another process raised, or
  that process, which looks at the documents after it raised it, sees this fold. One of the two goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from eventcore.decider import category_of
from eventcore.event import Recorded
from eventcore.fold import MARKER, Fault, Folder, Gap, Poison, Undecodable
from eventcore.generations import PinnedViews
from eventcore.limits import (
    HELD_BATCH_MIN,
    HELD_PAGE_MAX,
    HELD_REHEARSED_MAX,
    HELD_SHARE_MAX,
    HELD_STREAMS_MAX,
    HELD_SWEPT_MAX,
    RACE_ATTEMPTS_MAX,
)
from eventcore.personal import telling_of_erasures
from eventcore.store import Discard, Entry, Head, HeldKind, HeldStore, StoreUnavailable


@dataclass(frozen=True)
class HoldLimits:
    """`streams` held at once by one consumer; the `share` of a batch of at least `batch` streams that may be poison at
    once; how many entries are read at a time (`page`) and how many streams one sweep tries again (`sweep`)."""

    streams: int = HELD_STREAMS_MAX
    share: float = HELD_SHARE_MAX
    batch: int = HELD_BATCH_MIN
    page: int = HELD_PAGE_MAX
    sweep: int = HELD_SWEPT_MAX


LIMITS = HoldLimits()


class TooManyFaults(Exception):
    """So much cannot be folded that the release is at fault, or the log, and not the records: the consumer stops
    instead."""


@dataclass(frozen=True, slots=True)
class Released:
    """What became of a held stream: how many entries were folded, and where it is stuck still (None: nowhere)."""

    stream: str
    folded: int
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Holdings:
    """How many streams a consumer holds, and for how long the oldest has been held (0 when there is none)."""

    streams: int
    oldest_seconds: float


class NotStuckThere(Exception):
    """Only the version at which a stream is stuck can be discarded. `head` is where that is; None: nowhere."""

    def __init__(self, stream: str, version: int, head: Head | None) -> None:
        place = f"it is stuck at version {head.version}" if head else "it is not held"
        super().__init__(f"{stream} is not stuck at version {version}: {place}; look again and name that one")
        self.head = head


class NeverDiscarded(Exception):
    """The stream tells of erasures. Of a gap, or a record whose bytes or headers are damaged, nobody knows whether it
    is one; gone on without it, this service would keep the person's key. Whatever holds it up can be mended."""

    def __init__(self, stream: str, version: int) -> None:
        super().__init__(
            f"{stream} tells of erasures: gone on without version {version}, this service could keep the key of "
            "somebody who was erased"
        )


class Holding:
    """One consumer's fold, and what it holds.

    `decode(entry)` gives a held record's event again (Undecodable where it cannot); it may raise WrongEpoch.
    `again(entry)` handles, as if it had just come, a record that could not even be placed when it was held.
    """

    def __init__(
        self,
        consumer: str,
        folder: Folder,
        store: HeldStore,
        decode: Callable[[Entry], Awaitable[Recorded[Any]]],
        clock: Callable[[], datetime],
        *,
        again: Callable[[Entry], Awaitable[None]] | None = None,
        limits: HoldLimits = LIMITS,
    ) -> None:
        self.consumer = consumer
        self._folder = folder
        self._store = store
        self._decode = decode
        self._clock = clock
        self._again = again
        self._limits = limits

    async def fold(
        self,
        records: Mapping[str, Sequence[Recorded[Any]]],
        entry: Callable[[Recorded[Any]], Entry],
        pinned: PinnedViews | None = None,
    ) -> None:
        """Returns when everything is folded and marked, or held as `entry(record)`. `pinned` as for `Folder.fold`.

        Raises StoreUnavailable; TooManyFaults, and then nothing is held.
        """
        await self.settle(records, await self._folder.fold(records, pinned), entry)

    async def settle(
        self,
        records: Mapping[str, Sequence[Recorded[Any]]],
        faults: Mapping[str, Fault],
        entry: Callable[[Recorded[Any]], Entry],
    ) -> None:
        """The same for what was folded just now, with these faults."""
        faults = {**faults, **self._unplaced(records)}
        for stream in list(faults):
            epoch = entry(records[stream][0]).epoch
            fault = await self._but_for_discards(self._fold, epoch, records[stream], faults.pop(stream))
            if fault is not None:
                faults[stream] = fault
        heads = await self._store.heads(self.consumer, list(records))
        if faults:
            await self._refuse_too_many([f for s, f in faults.items() if s not in heads], len(records))
            await self._park(
                faults, [entry(r) for s, fault in faults.items() for r in records[s] if r.version >= fault.version]
            )
        for stream in sorted({*faults, *heads}):
            await self._release(stream, retried=stream not in faults)

    async def sweep(self, *, everything: bool = False) -> None:
        """Tries gaps again, those first that were tried longest ago, and what a killed process left without a head.

        With `everything` poison too: at a start, which may be that of the release that mends it.
        """
        limit = self._limits.sweep
        orphans = await self._store.orphans(self.consumer, limit=limit)
        for orphan in orphans:
            await self._park(
                {orphan.stream: Gap(orphan.stream, orphan.version, "held by a process that ended")}, [orphan]
            )
        heads = await self._store.stalest(self.consumer, "gap", limit=limit)
        if everything:
            heads += await self._store.stalest(self.consumer, "poison", limit=self._limits.streams)
        for stream in dict.fromkeys([e.stream for e in orphans] + [h.stream for h in heads]):
            await self._release(stream)

    async def count(self) -> Holdings:
        streams, oldest = await self._store.held(self.consumer)
        return Holdings(streams, max(0.0, (self._clock() - oldest).total_seconds()) if oldest else 0.0)

    async def holds(self, versions: Mapping[str, int]) -> list[str]:
        """Of these streams those that are stuck at or before the version named."""
        heads = await self._store.heads(self.consumer, list(versions))
        return sorted(s for s, head in heads.items() if head.version <= versions[s])

    async def redrive(self, streams: Sequence[str], *, dry_run: bool = False) -> list[Released]:
        """Tries held streams again; one that is not held gives no entry. A dry run folds in memory only."""
        tried = [await (self._rehearse(s) if dry_run else self._release(s)) for s in dict.fromkeys(streams)]
        return [released for released in tried if released is not None]

    async def discard(self, stream: str, version: int, *, reason: str, actor: str, dry_run: bool = False) -> Released:
        """Goes on without the version at which the stream is stuck, for ever: here, and wherever it faults again.

        Done already, it says where the stream is now. Raises as `check_discard`.
        """
        head = await self.check_discard(stream, version)
        if head is None:
            return Released(stream, 0, None)
        if head.version != version:
            return Released(stream, 0, Fault(stream, head.version, head.error))
        discard = Discard(head.epoch, stream, version, reason, actor, self._clock())
        if not dry_run:
            await self._store.discard([discard])
        done = await (self._rehearse(stream, [discard]) if dry_run else self._release(stream))
        return done or Released(stream, 0, None)

    async def check_discard(self, stream: str, version: int) -> Head | None:
        """Whether that version can be gone on without, or was: gives the head, None when the stream is held no more.

        Raises NeverDiscarded, NotStuckThere.
        """
        if category_of(stream) in {view.category for view in telling_of_erasures(self._folder.views)}:
            raise NeverDiscarded(stream, version)
        head = (await self._store.heads(self.consumer, [stream])).get(stream)
        if head is not None and head.version == version:
            return head
        # Whoever did not get the answer asks again, and the stream has gone on.
        done = await self._store.discards(head.epoch if head else None, stream)
        if version not in {discard.version for discard in done}:
            raise NotStuckThere(stream, version, head)
        return head

    # ---- holding

    def _unplaced(self, records: Mapping[str, Sequence[Recorded[Any]]]) -> dict[str, Fault]:
        """Streams that no view folds, but of which a record cannot be read: so nobody can say that it is not needed."""
        return {
            s: Poison(s, r.version, r.event.reason)
            for s, found in records.items()
            if category_of(s) not in self._folder.categories
            for r in sorted(found, key=lambda r: -r.version)
            if isinstance(r.event, Undecodable)
        }

    async def _refuse_too_many(self, fresh: Sequence[Fault], streams: int) -> None:
        if not fresh:
            return
        held, _ = await self._store.held(self.consumer)
        limits = self._limits
        # Of the share only poison: no release makes gaps. A log that lost records does, and what fills them comes
        # behind this batch, so whoever stopped at it would never see them filled.
        poison = sum(isinstance(fault, Poison) for fault in fresh)
        if held + len(fresh) <= limits.streams and (streams < limits.batch or poison <= limits.share * streams):
            return
        [(common, _)] = Counter(fault.reason for fault in fresh).most_common(1)
        raise TooManyFaults(
            f"{len(fresh)} of {streams} streams at once, with {held} held before, mostly: {common}. "
            + self._way_out(gaps=2 * poison <= len(fresh))
        )

    def _way_out(self, *, gaps: bool) -> str:
        service, _, kind = self.consumer.partition(".")
        if not gaps:
            return (
                "Start a release that can fold them; or see `credence held list`, redrive or discard, and start again"
            )
        if kind == "own":
            return f"The views lack what the log has: `credence views rebuild {service}`, and start again"
        # A rebuild reads the same topic, with as many gaps in it.
        return (
            "The topic lost records of too many streams: make it anew (delete it, then `credence republish`, then "
            "`credence topics create`), and start again"
        )

    async def _park(self, faults: Mapping[str, Fault], entries: Sequence[Entry]) -> None:
        now = self._clock()
        epochs = {entry.stream: entry.epoch for entry in entries}
        heads = [
            Head(self.consumer, stream, epochs[stream], _kind(fault), fault.version, fault.reason, now, now)
            for stream, fault in faults.items()
        ]
        # The entries first: a head without them could be removed before they come, and nobody would look for them.
        await self._store.keep(entries)
        await self._store.park(heads)

    # ---- releasing

    async def _release(self, stream: str, *, retried: bool = True) -> Released | None:
        """Folds what is held of a stream as far as it goes; None when nothing is held.

        `retried` says that this try is to be counted: it is not the one that belongs to the parking itself.
        """
        folded = 0
        for _ in range(RACE_ATTEMPTS_MAX):
            # The revision first: whatever is held after this line raises it, and then the head is not removed.
            head = (await self._store.heads(self.consumer, [stream])).get(stream)
            if head is None:
                return Released(stream, folded, None) if folded else None
            done, fault = await self._fold_entries(head)
            folded += done
            if fault is None:
                if await self._store.remove(head):
                    return Released(stream, folded, None)
            else:
                stuck = replace(head, kind=_kind(fault), version=fault.version, error=fault.reason)
                if stuck == head and not retried:
                    return Released(stream, folded, fault)
                if await self._store.move(replace(stuck, attempts=head.attempts + 1, last=self._clock())):
                    return Released(stream, folded, fault)
        raise StoreUnavailable(f"what is held of {stream} kept changing")

    async def _fold_entries(self, head: Head) -> tuple[int, Fault | None]:
        """Folds and drops entries from the first on; gives how many, and where it is stuck."""
        folded, after = 0, 0
        while True:
            page = await self._entries(head, after)
            fault = await self._fold_page(head, page)
            done = [e for e in page if fault is None or e.version < fault.version]
            # Only now: they are folded and their dependants marked. Before, a crash would leave them nowhere.
            await self._store.drop(done)
            folded += len(done)
            if fault is not None or len(page) < self._limits.page:
                return folded, fault
            after = page[-1].version

    async def _fold_page(self, head: Head, page: Sequence[Entry]) -> Fault | None:
        records = []
        for entry in page:
            record = await self._decode(entry)
            if record.stream == head.stream:
                records.append(record)
            elif self._again is not None:  # it could not be placed when it came, and now it can
                await self._again(entry)
        return await self._but_for_discards(self._fold, head.epoch, records, await self._fold(records))

    async def _rehearse(self, stream: str, discards: Sequence[Discard] = ()) -> Released | None:
        """What `_release` would do, in memory, as far as HELD_REHEARSED_MAX entries tell."""
        head = (await self._store.heads(self.consumer, [stream])).get(stream)
        if head is None:
            return None
        entries: list[Entry] = []
        while len(entries) <= HELD_REHEARSED_MAX and (page := await self._entries(head, _last(entries))):
            entries += page
        beyond, entries = entries[HELD_REHEARSED_MAX:], entries[:HELD_REHEARSED_MAX]
        decoded = [await self._decode(e) for e in entries]
        records = [r for r in decoded if r.stream == stream]
        fault = await self._but_for_discards(
            self._rehearsal, head.epoch, records, await self._rehearsal(records), discards
        )
        if fault is None and beyond:
            fault = Fault(stream, beyond[0].version, f"a dry run looks at {HELD_REHEARSED_MAX} records, no further")
        return Released(stream, sum(fault is None or e.version < fault.version for e in entries), fault)

    async def _entries(self, head: Head, after: int) -> list[Entry]:
        return await self._store.entries(self.consumer, head.epoch, head.stream, after=after, limit=self._limits.page)

    async def _fold(self, records: Sequence[Recorded[Any]]) -> Fault | None:
        return await self._one(self._folder.fold, records)

    async def _rehearsal(self, records: Sequence[Recorded[Any]]) -> Fault | None:
        return await self._one(self._folder.rehearse, records)

    async def _one(
        self,
        fold: Callable[[Mapping[str, Sequence[Recorded[Any]]]], Awaitable[dict[str, Fault]]],
        records: Sequence[Recorded[Any]],
    ) -> Fault | None:
        if not records:
            return None
        of_stream = {records[0].stream: records}
        return {**await fold(of_stream), **self._unplaced(of_stream)}.get(records[0].stream)

    async def _but_for_discards(
        self,
        fold: Callable[[Sequence[Recorded[Any]]], Awaitable[Fault | None]],
        epoch: str,
        records: Sequence[Recorded[Any]],
        fault: Fault | None,
        more: Sequence[Discard] = (),
    ) -> Fault | None:
        if fault is None:
            return None
        return await but_for_discards(fold, [*await self._store.discards(epoch, fault.stream), *more], records, fault)


async def but_for_discards(
    fold: Callable[[Sequence[Recorded[Any]]], Awaitable[Fault | None]],
    discards: Sequence[Discard],
    records: Sequence[Recorded[Any]],
    fault: Fault,
) -> Fault | None:
    """Folds a stream's records on behind versions that were discarded: each as a bare marker, whether it is here or
    missing. Gives where the stream is stuck still."""
    by_version = {discard.version: discard for discard in discards}
    left: Fault | None = fault
    while left is not None and (discard := by_version.pop(left.version, None)) is not None:
        records = [r for r in records if r.version != discard.version]
        records.append(Recorded(left.stream, discard.version, MARKER, discard.at))
        left = await fold(records)
    return left


def _last(entries: Sequence[Entry]) -> int:
    return entries[-1].version if entries else 0


def _kind(fault: Fault) -> HeldKind:
    return "gap" if isinstance(fault, Gap) else "poison"
