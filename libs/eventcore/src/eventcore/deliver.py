"""Deliver: the store is the outbox. Each append is folded into the service's own views and published, independently.

Two deliverers at once are harmless: folds are guarded by version, and each sends a stream's records from its first
unpublished one on, so whatever is sent twice was sent in order before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from eventcore.decider import Decider, category_of
from eventcore.event import Recorded, StoredByNewer
from eventcore.fold import Folder, Gap
from eventcore.record import PublicEvent, Record, encode
from eventcore.store import Append, AppendStore, Mark
from eventcore.trace import Span, no_span

# Appends a step takes.
PAGE = 1_000


class Bus(Protocol):
    async def send(self, records: Sequence[Record]) -> list[bool]:
        """Sends records of distinct streams at once; True where the broker acknowledged (acks=all). Never raises."""
        ...

    async def renew(self) -> None:
        """Gives up whatever is in flight: after a failed send nothing queued before may overtake what comes next."""
        ...


class Undelivered(Exception):
    """The broker did not acknowledge, or a newer release must deliver; the marks stand until somebody does."""


def own_events(deciders: Mapping[str, Decider[Any, Any, Any]], append: Append) -> list[Recorded[Any]]:
    """An append's events, decoded. Raises StoredByNewer."""
    decider = deciders.get(category_of(append.stream))
    if decider is None:
        raise StoredByNewer(f"nothing here decides {append.stream}: a newer release stored it")
    traces = {v: step.traceparent for step in append.steps for v in range(step.first, step.last + 1)}
    return [
        Recorded(append.stream, version, decider.codec.decode(stored), append.recorded, traces.get(version, ""))
        for version, stored in enumerate(append.events, start=append.first)
    ]


_Readable: TypeAlias = dict[str, list[tuple[Append, list[Recorded[Any]]]]]


def _readable(
    deciders: Mapping[str, Decider[Any, Any, Any]], appends: Sequence[Append]
) -> tuple[_Readable, dict[str, StoredByNewer]]:
    """Each stream's appends with their events; and the streams that are left to a newer release, from the first append
    on that this one cannot read: what comes after it must not overtake it."""
    readable: _Readable = {}
    left: dict[str, StoredByNewer] = {}
    for append in appends:
        if append.stream in left:
            continue
        try:
            events = own_events(deciders, append)
        except StoredByNewer as error:
            left[append.stream] = error
        else:
            readable.setdefault(append.stream, []).append((append, events))
    return readable, left


def _events(readable: _Readable) -> dict[str, list[Recorded[Any]]]:
    return {stream: [event for _, events in found for event in events] for stream, found in readable.items()}


def _say_left(left: Mapping[str, StoredByNewer]) -> None:
    """Raises Undelivered when streams are left to a newer release."""
    for error in left.values():
        raise Undelivered(f"{len(left)} streams wait for an instance of the newer release: {error}")


class OwnFold:
    """Folds appends into the service's own views."""

    def __init__(
        self, store: AppendStore, deciders: Mapping[str, Decider[Any, Any, Any]], folder: Folder, *, limit: int = PAGE
    ) -> None:
        self._store = store
        self._deciders = deciders
        self._folder = folder
        self._limit = limit

    async def step(self, hints: Sequence[str] = ()) -> int:
        """Folds the hinted streams' pending appends, or of those that wait; gives how many appends it folded.

        Raises Undelivered, after folding the rest, when streams are left to a newer release.
        """
        appends = await _next(self._store, "unfolded", hints, self._limit)
        if not appends:
            return 0
        readable, left = _readable(self._deciders, appends)
        try:
            await self._folder.fold(_events(readable))
        except Gap:
            # A view that is younger than the stream: it has not seen what was folded before it existed.
            whole = await self._store.load(list(readable))
            before, unread = _readable(self._deciders, [append for found in whole.values() for append in found])
            await self._folder.fold(_events(before))
            readable = {stream: found for stream, found in readable.items() if stream in left or stream not in unread}
            left = unread | left
        folded = [append for found in readable.values() for append, _ in found]
        if folded:
            # Only now: a crash before this line folds again, which is harmless; after it, nothing would.
            await self._store.clear("unfolded", folded)
        _say_left(left)
        return len(folded)


class Publisher:
    """Publishes appends, one record per event, each stream strictly in order."""

    def __init__(
        self,
        store: AppendStore,
        deciders: Mapping[str, Decider[Any, Any, Any]],
        public: Callable[[Recorded[Any]], PublicEvent | None],
        bus: Bus,
        *,
        topic: str,
        source: str,
        limit: int = PAGE,
        span: Span = no_span,
    ) -> None:
        self._store = store
        self._deciders = deciders
        self._public = public
        self._bus = bus
        self._topic = topic
        self._source = source
        self._limit = limit
        self._span = span

    async def step(self, hints: Sequence[str] = ()) -> int:
        """Publishes the hinted streams' pending appends, or of those that wait; gives how many appends went out.

        A failed send holds up its own stream only, as does an event of a newer release; when all else is out it raises
        Undelivered: call again later, it reads the store anew.
        """
        appends = await _next(self._store, "unpublished", hints, self._limit)
        readable, left = _readable(self._deciders, appends)
        queues = {
            stream: deque((self._record(event), append) for append, events in found for event in events)
            for stream, found in readable.items()
        }
        failed: set[str] = set()
        sent = 0
        while queues:
            # One record per stream in flight: aiokafka may let a later record of a key overtake a failed one.
            heads = [queue.popleft() for queue in queues.values()]
            acknowledged = await self._bus.send([record for record, _ in heads])
            done = []
            for (record, append), ok in zip(heads, acknowledged, strict=True):
                if not ok:
                    # Its stream's later records must not overtake it. Other streams' may, being other keys: while one
                    # partition is away, the rest goes on.
                    failed.add(append.stream)
                if ok and (trace := record.headers.get("traceparent")):
                    with self._span("publish", trace):
                        pass  # a moment in the trace: that it is out
                if ok and record.headers["ce_sequence"] == str(append.last):
                    done.append(append)
            if done:
                await self._store.clear("unpublished", done)
                sent += len(done)
            queues = {stream: queue for stream, queue in queues.items() if queue and stream not in failed}
        if failed:
            await self._bus.renew()
            raise Undelivered(f"the broker did not acknowledge a record of {len(failed)} streams; they wait")
        _say_left(left)
        return sent

    def _record(self, event: Recorded[Any]) -> Record:
        return encode(event, self._public(event), topic=self._topic, source=self._source, epoch=self._store.epoch)


async def _next(store: AppendStore, mark: Mark, hints: Sequence[str], limit: int) -> list[Append]:
    """The marked appends of the hinted streams, or of those that wait.

    Which streams wait is asked without an order; their appends are then read in the one order in which a later
    version is never met without the marked ones before it, even while others insert.
    """
    streams = list(dict.fromkeys(hints)) or await store.waiting(mark, limit=limit)
    return await store.pending(mark, streams=streams, limit=limit) if streams else []
