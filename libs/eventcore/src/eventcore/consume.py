"""Consume: a batch from the bus becomes folded documents and marks, or is held; then its offsets may be committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from eventcore.decider import category_of
from eventcore.event import Recorded
from eventcore.fold import Folder, Undecodable
from eventcore.generations import PinnedViews
from eventcore.held import LIMITS, Holding, HoldLimits
from eventcore.limits import SOURCES_MAX, TYPE_CHARS_MAX
from eventcore.record import Malformed, Origin, Record, WrongEpoch, decode, origin
from eventcore.store import Entry, HeldStore, ViewStore
from eventcore.trace import Span, no_span

RawHeaders = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Received:
    """A record as it came, to the byte. `value` is None for a tombstone, which nobody of ours writes."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: RawHeaders
    value: bytes | None

    @classmethod
    def of(cls, record: Record, partition: int, offset: int) -> Received:
        """What a consumer gets of a record that was sent."""
        return cls(record.topic, partition, offset, record.key.encode(), record.raw_headers, record.value)

    @property
    def place(self) -> str:
        """A name for a record that says of no stream that it is its own; no stream is named like this.

        With a digest: in a topic that was made anew another record stands at the same place, and must neither take the
        place of this one nor be gone on without because this one was.
        """
        content = repr((self.key, self.headers, self.value)).encode()
        return f"{self.topic}[{self.partition}]@{self.offset}.{sha256(content).hexdigest()[:8]}"

    @property
    def texts(self) -> dict[str, str]:
        """The headers as text; a binary one (none of ours) is written with escapes."""
        return {name: (value or b"").decode(errors="backslashreplace") for name, value in self.headers}


class Consumer:
    """Folds batches, holding what cannot be folded.

    `parse(type, bytes)` gives the public event and raises on a type it does not know. `name` is the consumer's, under
    which it holds.
    """

    def __init__(
        self,
        name: str,
        folder: Folder,
        views: ViewStore,
        held: HeldStore,
        parse: Callable[[str, bytes], Any],
        clock: Callable[[], datetime],
        *,
        span: Span = no_span,
        limits: HoldLimits = LIMITS,
    ) -> None:
        self._folder = folder
        self._views = views
        self._parse = parse
        self._clock = clock
        self._span = span
        self._epochs: dict[str, str] = {}
        self.holding = Holding(name, folder, held, self._decoded, clock, again=self._again, limits=limits)

    async def handle(self, batch: Sequence[Received]) -> None:
        """Returns when everything in the batch is folded and marked, or held: now commit.

        Raises WrongEpoch or TooManyFaults, and the consumer must stop without committing; StoreUnavailable, and the
        batch must be handled again.
        """
        # The batch is here, and only now are the pointers read: whatever is folded by those from before a switch was
        # published before it began, which is what the switch waits for (see `rebuild`).
        views = await self._views.pinned()
        records: dict[str, list[Recorded[Any]]] = {}
        came: dict[tuple[str, int], tuple[str, Received]] = {}
        for received in batch:
            try:
                where = origin(received.texts)
            except Malformed as error:
                record = Recorded(received.place, 1, Undecodable(str(error)), self._clock())
                epoch = ""
            else:
                if not await self._same_history(where, views):
                    continue
                if category_of(where.stream) not in self._folder.categories:
                    continue
                record, epoch = decode(where, received.value, self._parse), where.epoch
            records.setdefault(record.stream, []).append(record)
            came[record.stream, record.version] = (epoch, received)

        def entry(record: Recorded[Any]) -> Entry:
            epoch, r = came[record.stream, record.version]
            place = (r.topic, r.partition, r.offset, r.key, r.headers, r.value)
            return Entry(self.holding.consumer, epoch, record.stream, record.version, *place, self._clock())

        await self.holding.fold(records, entry, views)
        for trace in {r.trace for found in records.values() for r in found if r.trace}:
            with self._span("fold", trace):
                pass  # a moment in the trace: that it is folded and marked

    async def _decoded(self, entry: Entry) -> Recorded[Any]:
        try:
            where = origin(_received(entry).texts)
        except Malformed as error:
            return Recorded(entry.stream, entry.version, Undecodable(str(error)), entry.at)
        if not await self._same_history(where, await self._views.pinned()):
            return Recorded(entry.stream, entry.version, Undecodable("of a history that was given up"), entry.at)
        return decode(where, entry.value, self._parse)

    async def _again(self, entry: Entry) -> None:
        await self.handle([_received(entry)])

    async def _same_history(self, where: Origin, views: PinnedViews) -> bool:
        """Whether a record is of the history these views are folded from; False where it is of one given up for it."""
        source, epoch = where.source, where.epoch
        if source in views.catalogue.epochs:
            self._epochs[source] = views.catalogue.epochs[source]  # by the same pointers as the fold's
        elif source not in self._epochs:
            if len(self._epochs) >= SOURCES_MAX:
                raise WrongEpoch(f"{source[:TYPE_CHARS_MAX]} is one source too many: {SOURCES_MAX} are known already")
            self._epochs[source] = await views.bind_epoch(source, epoch)
        if self._epochs[source] == epoch:
            return True
        if epoch in views.catalogue.retired.get(source, ()):
            return False
        raise other_history(source, epoch, self._epochs[source])


def other_history(source: str, epoch: str, bound: str) -> WrongEpoch:
    return WrongEpoch(
        f"{source} speaks from epoch {epoch}, these views were folded from {bound}: its store was replaced. Restore "
        f"the old store; or, if the new one is the truth from now on, build all foreign views from it: "
        f"`credence views rebuild SERVICE --foreign --accept-epoch {source}={epoch}`, and restart SERVICE"
    )


def _received(entry: Entry) -> Received:
    return Received(entry.topic, entry.partition, entry.offset, entry.key, entry.headers, entry.value)
