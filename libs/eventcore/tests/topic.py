"""A topic in memory, read the two ways a real one is: in batches by a consumer, and whole by a rebuild."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from eventcore.consume import Received
from eventcore.rebuild import LogAway
from eventcore.rebuild.sources import Place
from eventcore.record import Record

BATCH = 3


@dataclass
class Topic:
    """A bus and a rebuild's log in one, of one partition. `away`: the broker does not answer."""

    name: str = "jars.v1"
    records: list[Record] = field(default_factory=list)
    away: bool = False

    async def send(self, records: Sequence[Record]) -> list[bool]:
        self.records += records
        return [True] * len(records)

    async def renew(self) -> None:
        pass

    async def bounds(self) -> dict[Place, tuple[int, int]]:
        if self.away:
            raise LogAway("the topic is away")
        return {(self.name, 0): (0, len(self.records))}

    async def read(self, start: Mapping[Place, int], end: Mapping[Place, int]) -> AsyncIterator[Sequence[Received]]:
        position = start[self.name, 0]
        while position < end[self.name, 0]:
            if self.away:
                raise LogAway("the topic is away")
            batch = self.taken(position, min(BATCH, end[self.name, 0] - position))
            position += len(batch)
            yield batch

    def taken(self, start: int, count: int) -> list[Received]:
        found = self.records[start : start + count]
        return [Received.of(r, 0, start + i) for i, r in enumerate(found)]
