"""Deliver: the store is the outbox. Each append is folded into the service's own views and published, independently.

Two deliverers at once are harmless: folds are guarded by version, and each sends a stream's records from its first
unpublished one on, so whatever is sent twice was sent in order before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from eventcore.decider import Decider, category_of
from eventcore.event import Recorded, UnknownEventType
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
    """The broker did not acknowledge; the marks stand and delivery goes on when it does."""


def own_events(deciders: Mapping[str, Decider[Any, Any, Any]], append: Append) -> list[Recorded[Any]]:
    """An append's events, decoded. Raises UnknownEventType."""
    decider = deciders.get(category_of(append.stream))
    if decider is None:
        raise UnknownEventType(f"no decider for {append.stream}")
    traces = {v: step.traceparent for step in append.steps for v in range(step.first, step.last + 1)}
    return [
        Recorded(append.stream, version, decider.codec.decode(stored), append.recorded, traces.get(version, ""))
        for version, stored in enumerate(append.events, start=append.first)
    ]


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
        """Folds the hinted streams' pending appends, or of those that wait; gives how many appends it folded."""
        appends = await _next(self._store, "unfolded", hints, self._limit)
        if not appends:
            return 0
        records: dict[str, list[Recorded[Any]]] = {}
        for append in appends:
            records.setdefault(append.stream, []).extend(own_events(self._deciders, append))
        try:
            await self._folder.fold(records)
        except Gap:
            # A view that is younger than the stream: it has not seen what was folded before it existed.
            whole = await self._store.load(list(records))
            await self._folder.fold(
                {s: [r for a in found for r in own_events(self._deciders, a)] for s, found in whole.items()}
            )
        # Only now: a crash before this line folds again, which is harmless; after it, nothing would.
        await self._store.clear("unfolded", appends)
        return len(appends)


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

        A failed send holds up its own stream only; when all else is out it raises Undelivered: call again later, it
        reads the store anew.
        """
        appends = await _next(self._store, "unpublished", hints, self._limit)
        queues: dict[str, deque[tuple[Record, Append]]] = {}
        for append in appends:
            queues.setdefault(append.stream, deque()).extend(self._records(append))
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
        return sent

    def _records(self, append: Append) -> list[tuple[Record, Append]]:
        return [(self._record(event), append) for event in own_events(self._deciders, append)]

    def _record(self, event: Recorded[Any]) -> Record:
        return encode(event, self._public(event), topic=self._topic, source=self._source, epoch=self._store.epoch)


async def _next(store: AppendStore, mark: Mark, hints: Sequence[str], limit: int) -> list[Append]:
    """The marked appends of the hinted streams, or of those that wait.

    Which streams wait is asked without an order; their appends are then read in the one order in which a later
    version is never met without the marked ones before it, even while others insert.
    """
    streams = list(dict.fromkeys(hints)) or await store.waiting(mark, limit=limit)
    return await store.pending(mark, streams=streams, limit=limit) if streams else []
