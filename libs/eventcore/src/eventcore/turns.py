"""Turns: the writers of one stream in this process go on one at a time, once they have met.

Whoever loses a race has read and written in vain. Fifty writers of one stream lose more than a thousand of them before
all are through, and on a store that is slow already never come to an end: their callers give up and ask again, and all
others wait behind what nobody waits for any more. Nothing rests on this: other processes write too, and what decides is
the slot in the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class _Line:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Turns:
    """Who stands in line for which stream. Holds nothing of a stream for which nobody does."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def take(self, streams: Collection[str], lost: Collection[str]) -> AsyncIterator[None]:
        """Waits for the turn at those of the streams that were lost to another, or that others stand in line for.

        A stream that nobody met at costs nothing.
        """
        async with AsyncExitStack() as taken:
            # In one order: two who each had what the other waits for would wait for ever.
            for stream in sorted(s for s in streams if s in lost or s in self._lines):
                await taken.enter_async_context(self._turn(stream))
            yield

    @asynccontextmanager
    async def _turn(self, stream: str) -> AsyncIterator[None]:
        line = self._lines.setdefault(stream, _Line())
        line.waiting += 1
        try:
            async with line.lock:
                yield
        finally:
            line.waiting -= 1
            if not line.waiting:
                del self._lines[stream]
