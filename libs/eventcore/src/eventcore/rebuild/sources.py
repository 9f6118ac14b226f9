"""Where a rebuild reads from: the service's own log, stream by stream, or the topics, from their start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from eventcore.consume import Received, other_history
from eventcore.decider import Decider, category_of
from eventcore.deliver import own_events
from eventcore.event import Recorded, StoredByNewer
from eventcore.fold import Records
from eventcore.generations import Building, PinnedViews
from eventcore.limits import NAMED_AT_ONCE_MAX, SCANNED_AT_ONCE_MAX
from eventcore.parts import parts
from eventcore.record import Malformed, Origin, decode, origin
from eventcore.store import Append, StreamStore

Place = tuple[str, int]  # topic, partition


@dataclass(frozen=True, slots=True)
class Page:
    """Records to fold, of these epochs (by stream); once they are, `reached` is what the rebuild has come to, and
    `done` of it were read."""

    records: Records
    epochs: Mapping[str, str]
    reached: Mapping[str, Any]  # fields of Building
    done: int


class LogAway(Exception):
    """The topics could not be read to their end."""


class Log(Protocol):
    """Topics, read without a group."""

    async def bounds(self) -> dict[Place, tuple[int, int]]:
        """Each partition's first offset and the one after its last. Raises LogAway."""
        ...

    def read(self, start: Mapping[Place, int], end: Mapping[Place, int]) -> AsyncIterator[Sequence[Received]]:
        """The records from `start` up to `end`, of each partition in order. Raises LogAway."""
        ...


def readable(deciders: Mapping[str, Decider[Any, Any, Any]], appends: Sequence[Append]) -> list[Recorded[Any]]:
    """A stream's events, up to the first that a newer release stored: its own fold waits there too."""
    events: list[Recorded[Any]] = []
    with suppress(StoredByNewer):
        for append in appends:
            events += own_events(deciders, append)
    return events


class OwnLog:
    """The service's own streams of these categories."""

    def __init__(
        self, store: StreamStore, deciders: Mapping[str, Decider[Any, Any, Any]], *, page: int = SCANNED_AT_ONCE_MAX
    ) -> None:
        self._store = store
        self._deciders = deciders
        self._page = page

    async def total(self, categories: Collection[str]) -> int:
        return sum([await self._store.count_streams(category) for category in sorted(categories)])

    async def pages(self, categories: Collection[str], building: Building) -> AsyncIterator[Page]:
        """Every stream beyond `building.after`, whole. One that begins meanwhile may be missed: its own fold has it."""
        for category in sorted(categories):
            after = building.after
            if after and category_of(after) > category:
                continue
            while names := await self._store.list_streams(category, after=after, limit=NAMED_AT_ONCE_MAX):
                for streams in parts(names, self._page):
                    appends = await self._store.load(streams)
                    records = {s: readable(self._deciders, appends.get(s, ())) for s in streams}
                    after = streams[-1]
                    yield Page(records, dict.fromkeys(streams, self._store.epoch), {"after": after}, len(streams))
                if len(names) < NAMED_AT_ONCE_MAX:
                    break


class Topics:
    """The records of foreign streams of these categories.

    `parse(type, bytes)` as the consumer's. A record whose headers cannot be read belongs to no stream and is passed
    over: the consumer holds it.
    """

    def __init__(self, log: Log, parse: Callable[[str, bytes], Any]) -> None:
        self._log = log
        self._parse = parse

    async def ends(self) -> dict[Place, int]:
        return {place: end for place, (_, end) in (await self._log.bounds()).items()}

    async def start(self, building: Building) -> dict[Place, int]:
        """Where to go on: what was reached, or the start where the topic is another one by now.

        Reading again from the start is harmless, since what was folded is a duplicate.
        """
        reached = {(topic, partition): offset for topic, partition, offset in building.offsets}
        start = {}
        for place, (first, end) in (await self._log.bounds()).items():
            offset = reached.get(place, first)
            start[place] = offset if first <= offset <= end else first
        return start

    async def pages(
        self, categories: Collection[str], building: Building, views: PinnedViews, ends: Mapping[Place, int]
    ) -> AsyncIterator[Page]:
        """Every record from `start` to `ends`. Raises WrongEpoch, LogAway, StoreUnavailable."""
        position = await self.start(building)
        bound: dict[str, str] = {}  # each source's epoch, which is a write to ask for: not with every record
        async for batch in self._log.read(position, ends):
            records: dict[str, list[Recorded[Any]]] = {}
            epochs: dict[str, str] = {}
            for received in batch:
                position[received.topic, received.partition] = received.offset + 1
                try:
                    where = origin(received.texts)
                except Malformed:
                    continue
                if category_of(where.stream) not in categories:
                    continue
                if where.source not in bound:
                    epoch = building.epochs.get(where.source, where.epoch)
                    bound[where.source] = await views.bind_epoch(where.source, epoch)
                if _of_this_history(building, views, where, bound[where.source]):
                    records.setdefault(where.stream, []).append(decode(where, received.value, self._parse))
                    epochs[where.stream] = where.epoch
            reached = {"offsets": tuple((t, p, o) for (t, p), o in sorted(position.items()))}
            yield Page(records, epochs, reached, len(batch))


def _of_this_history(building: Building, views: PinnedViews, where: Origin, bound: str) -> bool:
    """Whether what is built is folded from that epoch; False where it was given up for the accepted one, now or before.
    Raises WrongEpoch."""
    if where.epoch == building.epochs.get(where.source, bound):
        return True
    if where.epoch == bound or where.epoch in views.catalogue.retired.get(where.source, ()):
        return False
    raise other_history(where.source, where.epoch, bound)
