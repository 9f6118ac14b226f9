"""Deliver: the store is the outbox. Each append is folded into the service's own views and published, independently.

Two deliverers at once are harmless: folds are guarded by version, and each sends a stream's records from its first
unpublished one on, so whatever is sent twice was sent in order before.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Protocol, TypeAlias

from eventcore.decider import Decider, category_of
from eventcore.event import Codec, Event, Recorded, StoredByNewer, StoredEvent
from eventcore.fold import Folder, Gap, Undecodable, told
from eventcore.held import LIMITS, Holding, HoldLimits
from eventcore.limits import ASIDE_MAX, DELIVERED_AT_ONCE_MAX, REPUBLISHED_AT_ONCE_MAX, TYPE_CHARS_MAX
from eventcore.record import PublicEvent, Record, encode
from eventcore.store import Append, AppendStore, Entry, HeldStore, Mark
from eventcore.trace import Span, no_span

EVERYTHING_EVERY = 10  # looks at what waits: about half a minute, where nothing is hinted at


class Bus(Protocol):
    async def send(self, records: Sequence[Record]) -> list[bool]:
        """Sends records of distinct streams at once; True where the broker acknowledged (acks=all). Never raises."""
        ...

    async def renew(self) -> None:
        """Gives up whatever is in flight: after a failed send nothing queued before may overtake what comes next."""
        ...


class Undelivered(Exception):
    """The broker did not acknowledge, a newer release must deliver, or what is stored cannot be published. The marks
    stand, those streams wait, and all else went out."""


Instant: TypeAlias = Callable[[], datetime | None]
"""An instant that moves on with the clock; None: there is none, and all that waits counts as before it."""


def always() -> None:
    """No instant: whatever waits is taken, whoever stored it and however lately."""


def own_events(deciders: Mapping[str, Decider[Any, Any, Any]], append: Append) -> list[Recorded[Any]]:
    """An append's events; one that cannot be read stands there as Undecodable. Raises StoredByNewer."""
    decider = deciders.get(category_of(append.stream))
    if decider is None:
        raise StoredByNewer(f"nothing here decides {append.stream}: a newer release stored it")
    traces = {v: step.traceparent for step in append.steps for v in range(step.first, step.last + 1)}
    return [
        Recorded(append.stream, version, _event(decider.codec, stored), append.recorded, traces.get(version, ""))
        for version, stored in enumerate(append.events, start=append.first)
    ]


def _event(codec: Codec, stored: StoredEvent) -> Event | Undecodable:
    try:
        return codec.decode(stored)
    except StoredByNewer:
        raise
    except Exception as error:  # noqa: BLE001 (whatever stands in the way of reading it, the event is the poison)
        return Undecodable(f"{stored.type[:TYPE_CHARS_MAX]} cannot be read: {told(error)}")


_Readable: TypeAlias = dict[str, list[tuple[Append, list[Recorded[Any]]]]]


def _readable(
    deciders: Mapping[str, Decider[Any, Any, Any]], appends: Sequence[Append]
) -> tuple[_Readable, dict[str, str]]:
    """Each stream's appends with their events; and the streams that are left to a newer release, from the first append
    on that this one cannot read, with why: what comes after it must not overtake it."""
    readable: _Readable = {}
    left: dict[str, str] = {}
    for append in appends:
        if append.stream in left:
            continue
        try:
            events = own_events(deciders, append)
        except StoredByNewer as error:
            left[append.stream] = f"wait for an instance of the newer release: {error}"
        else:
            readable.setdefault(append.stream, []).append((append, events))
    return readable, left


def _events(readable: _Readable) -> dict[str, list[Recorded[Any]]]:
    return {stream: [event for _, events in found for event in events] for stream, found in readable.items()}


class _Pages:
    """What waits for one delivery, a page at a time.

    Streams that could not be delivered stand aside for every other page: what fails for long would else fill each
    page, and nobody else's turn would come.

    What was stored after `left_before()` and is not hinted at is left to the process that stored it, which has it in
    hand: two that deliver the same do no harm, but twice the work, and most of it when there is most to do. Every
    EVERYTHING_EVERY looks all is taken: a clock that was ahead stores what would else be young for as long as that.
    """

    def __init__(self, store: AppendStore, mark: Mark, limit: int, left_before: Instant) -> None:
        self._store = store
        self._mark = mark
        self._limit = limit
        self._left_before = left_before
        self._looks = 0
        self._aside: dict[str, str] = {}
        self._without: frozenset[str] = frozenset()  # this page's
        self._unseen: frozenset[str] = frozenset()  # that stand aside and are not looked for now: they still do

    async def next(self, hints: Sequence[str]) -> list[Append]:
        """The marked appends of the hinted streams, or of those that wait.

        Which streams wait is asked without an order; their appends are then read in the one order in which a later
        version is never met without the marked ones before it, even while others insert.
        """
        self._without = frozenset(self._aside) if not self._without else frozenset()
        if streams := [s for s in dict.fromkeys(hints) if s not in self._without]:
            self._unseen = frozenset(self._aside).difference(streams)
        else:
            self._looks += 1
            # What stands aside is in this process's hand: on its turn it is looked for, however young it is.
            its_turn = (self._aside and not self._without) or self._looks % EVERYTHING_EVERY == 0
            streams = await self._waiting(None if its_turn else self._left_before())
            if not streams and self._without:
                self._without = frozenset()
                streams = await self._waiting(None)
            self._unseen = self._without
        return await self._store.pending(self._mark, streams=streams, limit=self._limit) if streams else []

    async def _waiting(self, before: datetime | None) -> list[str]:
        return await self._store.waiting(self._mark, limit=self._limit, without=self._without, before=before)

    def tried(self, appends: Sequence[Append], failed: Mapping[str, str]) -> None:
        """Notes which streams failed of those that were tried, and why. Raises Undelivered when some did."""
        done = {append.stream for append in appends}
        still = {s: why for s, why in self._aside.items() if s in self._unseen and s not in done}
        self._aside = dict(islice((still | dict(failed)).items(), ASIDE_MAX))
        if failed:
            raise Undelivered(self.problem)

    @property
    def problem(self) -> str | None:
        """What could not be delivered when it was tried last."""
        for why in self._aside.values():
            return f"{len(self._aside)} streams {why}"
        return None


class OwnFold:
    """Folds appends into the service's own views, holding what cannot be folded."""

    def __init__(
        self,
        name: str,
        store: AppendStore,
        deciders: Mapping[str, Decider[Any, Any, Any]],
        folder: Folder,
        held: HeldStore,
        clock: Callable[[], datetime],
        *,
        limit: int = DELIVERED_AT_ONCE_MAX,
        limits: HoldLimits = LIMITS,
        left_before: Instant = always,
    ) -> None:
        self._store = store
        self._deciders = deciders
        self._folder = folder
        self._clock = clock
        self._pages = _Pages(store, "unfolded", limit, left_before)
        self.holding = Holding(name, folder, held, self._decoded, clock, limits=limits)

    @property
    def problem(self) -> str | None:
        """What could not be folded when it was tried last, and is not held either."""
        return self._pages.problem

    async def step(self, hints: Sequence[str] = ()) -> int:
        """Folds the hinted streams' pending appends, or of those that wait; gives how many appends it folded or held.

        Raises TooManyFaults; Undelivered, after folding the rest, when streams are left to a newer release.
        """
        appends = await self._pages.next(hints)
        if not appends:
            self._pages.tried((), {})  # what stood aside, somebody else has delivered
            return 0
        readable, left = _readable(self._deciders, appends)
        sources, events = dict(readable), _events(readable)
        faults = await self._folder.fold(events)
        if young := [stream for stream, fault in faults.items() if isinstance(fault, Gap)]:
            # A view that is younger than the stream: it has not seen what was folded before it existed.
            whole = await self._store.load(young)
            before, unread = _readable(self._deciders, [append for found in whole.values() for append in found])
            left = unread | left
            again: dict[str, list[Recorded[Any]]] = {s: [] for s in young} | _events(before)
            readable = {stream: found for stream, found in readable.items() if stream not in unread}
            sources, events = sources | before, events | again
            faults = {s: f for s, f in faults.items() if s not in again} | await self._folder.fold(again)

        def entry(record: Recorded[Any]) -> Entry:
            append = next(a for a, _ in sources[record.stream] if a.first <= record.version <= a.last)
            return self._entry(record, append.events[record.version - append.first])

        await self.holding.settle(events, faults, entry)
        folded = [append for found in readable.values() for append, _ in found]
        if folded:
            # Only now: a crash before this line folds again, which is harmless; after it, nothing would.
            await self._store.clear("unfolded", folded)
        self._pages.tried(appends, left)
        return len(folded)

    def _entry(self, record: Recorded[Any], stored: StoredEvent) -> Entry:
        """A stored event as a record: what a consumer of the own log would get."""
        headers = {"type": stored.type, "recorded": record.recorded.isoformat(), "traceparent": record.trace}
        return Entry(
            self.holding.consumer,
            self._store.epoch,
            record.stream,
            record.version,
            "appends",
            0,
            record.version,
            record.stream.encode(),
            tuple((name, text.encode()) for name, text in headers.items()),
            json.dumps(stored.data, ensure_ascii=False, separators=(",", ":")).encode(),
            self._clock(),
        )

    async def _decoded(self, entry: Entry) -> Recorded[Any]:
        headers = {name: (value or b"").decode() for name, value in entry.headers}
        recorded, trace = datetime.fromisoformat(headers["recorded"]), headers["traceparent"]
        decider = self._deciders.get(category_of(entry.stream))
        stored = StoredEvent(headers["type"], json.loads(entry.value or b"null"))
        try:
            event = Undecodable("nothing here decides it") if decider is None else _event(decider.codec, stored)
        except StoredByNewer as error:
            event = Undecodable(str(error))
        return Recorded(entry.stream, entry.version, event, recorded, trace)


_Queue: TypeAlias = deque[tuple[Record, list[Append]]]


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
        limit: int = DELIVERED_AT_ONCE_MAX,
        span: Span = no_span,
        left_before: Instant = always,
    ) -> None:
        self._store = store
        self._deciders = deciders
        self._public = public
        self._bus = bus
        self._topic = topic
        self._source = source
        self._pages = _Pages(store, "unpublished", limit, left_before)
        self._span = span

    @property
    def problem(self) -> str | None:
        """What could not be published when it was tried last."""
        return self._pages.problem

    async def step(self, hints: Sequence[str] = ()) -> int:
        """Publishes the hinted streams' pending appends, or of those that wait; gives how many appends went out.

        A failed send holds up its own stream only, as does an event that cannot be published, or not by this release;
        when all else is out it raises Undelivered: call again later, it reads the store anew.
        """
        appends = await self._whole(await self._pages.next(hints))
        readable, stuck = _readable(self._deciders, appends)
        queues: dict[str, _Queue] = {}
        for stream, found in readable.items():
            queue, why = self._queue(found)
            if why:
                stuck[stream] = f"cannot be published, such as {stream}: {why}"
            if (asked := found[0][0]).again:
                if stream in stuck:
                    # It goes out whole or not at all: its mark would stand, and what can be published of it go out
                    # again with every try.
                    continue
                queue[-1][1].append(asked)
            if queue:
                queues[stream] = queue
        failed: set[str] = set()
        sent = 0
        while queues:
            # One record per stream in flight: aiokafka may let a later record of a key overtake a failed one.
            heads = {stream: queue.popleft() for stream, queue in queues.items()}
            acknowledged = await self._bus.send([record for record, _ in heads.values()])
            done: list[Append] = []
            for (stream, (record, behind)), ok in zip(heads.items(), acknowledged, strict=True):
                if not ok:
                    # Its stream's later records must not overtake it. Other streams' may, being other keys: while one
                    # partition is away, the rest goes on.
                    failed.add(stream)
                    continue
                if trace := record.headers.get("traceparent"):
                    with self._span("publish", trace):
                        pass  # a moment in the trace: that it is out
                done += behind
            if done:
                await self._store.clear("unpublished", done)
                sent += len(done)
            queues = {stream: queue for stream, queue in queues.items() if queue and stream not in failed}
        if failed:
            await self._bus.renew()
        unsent = dict.fromkeys(failed, "wait: the broker did not acknowledge a record of theirs")
        self._pages.tried(appends, unsent | stuck)
        return sent

    def _queue(self, found: Sequence[tuple[Append, list[Recorded[Any]]]]) -> tuple[_Queue, str | None]:
        """A stream's records, up to the first append that cannot be published whole, and why that cannot; each record
        with the appends that are done once it is acknowledged.

        Of that append nothing goes out: it would go out again with every try. An append that asks for its stream again
        is done only with the last record of all: without its mark nobody would know, after a crash, of the rest.
        """
        queue: _Queue = deque()
        for append, events in found:
            for event in events:
                if isinstance(event.event, Undecodable):
                    return queue, event.event.reason
            try:
                records = [self._record(event) for event in events]
            except Exception as error:  # noqa: BLE001 (told on as a problem, and tried again)
                return queue, told(error)
            queue.extend((record, list[Append]()) for record in records)
            if not append.again:
                queue[-1][1].append(append)
        return queue, None

    async def _whole(self, appends: Sequence[Append]) -> list[Append]:
        """These, but of a stream that is asked for again all there is, marked or not.

        Its one mark is at its first append, so it is asked for or not, and never in part: with a mark on each, a later
        one could be met before an earlier one is made, and go out before it.
        """
        asked = list(dict.fromkeys(append.stream for append in appends if append.again))
        whole = await self._store.load(asked[:REPUBLISHED_AT_ONCE_MAX]) if asked else {}
        others = [append for append in appends if append.stream not in set(asked)]
        return others + [append for found in whole.values() for append in found]

    def _record(self, event: Recorded[Any]) -> Record:
        return encode(event, self._public(event), topic=self._topic, source=self._source, epoch=self._store.epoch)
