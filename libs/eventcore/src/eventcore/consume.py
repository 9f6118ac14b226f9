"""Consume: a batch from the bus becomes folded documents and marks; only then may its offsets be committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eventcore.decider import category_of
from eventcore.event import Recorded
from eventcore.fold import Folder, Poison
from eventcore.record import Malformed, WrongEpoch, decode, origin
from eventcore.store import ViewStore
from eventcore.trace import Span, no_span


@dataclass(frozen=True, slots=True)
class Received:
    """A record as it came. `value` is None for a tombstone, which nobody of ours writes."""

    topic: str
    partition: int
    offset: int
    headers: Mapping[str, str]
    value: bytes | None


class Consumer:
    """Folds batches. `parse(type, bytes)` gives the public event and raises on a type it does not know."""

    def __init__(
        self, folder: Folder, views: ViewStore, parse: Callable[[str, bytes], Any], span: Span = no_span
    ) -> None:
        self._folder = folder
        self._views = views
        self._parse = parse
        self._span = span
        self._epochs: dict[str, str] = {}

    async def handle(self, batch: Sequence[Received]) -> None:
        """Returns when everything in the batch is folded and marked: now commit.

        Raises Poison, Gap or WrongEpoch, and the consumer must stop without committing; StoreUnavailable, and the
        batch must be handled again.
        """
        records: dict[str, list[Recorded[Any]]] = {}
        for received in batch:
            try:
                where = origin(received.headers)
            except Malformed as error:
                place = f"{received.topic}[{received.partition}]"
                raise Poison(place, received.offset, str(error)) from error
            await self._same_history(where.source, where.epoch)
            if category_of(where.stream) not in self._folder.categories:
                continue
            records.setdefault(where.stream, []).append(decode(where, received.value, self._parse))
        await self._folder.fold(records)
        for trace in {r.trace for found in records.values() for r in found if r.trace}:
            with self._span("fold", trace):
                pass  # a moment in the trace: that it is folded and marked

    async def _same_history(self, source: str, epoch: str) -> None:
        if source not in self._epochs:
            self._epochs[source] = await self._views.bind_epoch(source, epoch)
        if self._epochs[source] != epoch:
            raise WrongEpoch(
                f"{source} speaks from epoch {epoch}, these views were folded from {self._epochs[source]}: "
                "its store was replaced. Rebuild the views from the new log, or restore the old store."
            )
