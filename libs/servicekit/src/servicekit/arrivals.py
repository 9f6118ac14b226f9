"""Wakes a query that waits for its token when this process folds or evaluates what it waits for.

Without it every waiting query reads the store many times a second, and the more there are to wait, the slower comes
what they wait for. What another process of the group folds wakes nobody here: for that a query looks by itself, now
and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from eventcore.fold import Marks, View
from eventcore.store import Finding, Target, TargetStore
from servicekit.limits import CALLS_MAX, WAITING_CALLS_SHARE
from servicekit.load import Room


def result_key(evaluation: str, target: str) -> str:
    """Under which a result is told; a stream's fold is told under the stream."""
    return f"{evaluation}/{target}"


@dataclass
class Arrivals:
    """Who waits for what, no more than there is `room` for. Holds nothing of what nobody waits for."""

    room: Room = field(default_factory=lambda: Room(int(CALLS_MAX * WAITING_CALLS_SHARE)))
    _waiting: dict[str, set[asyncio.Event]] = field(default_factory=dict)

    @contextmanager
    def of(self, keys: Iterable[str]) -> Iterator[asyncio.Event]:
        """An event that is set whenever one of these arrives. Raises TooMuch when too many wait."""
        event, named = asyncio.Event(), set(keys)
        with self.room.take(
            1, "too-many-waiting", f"{self.room.most} calls wait for what their tokens name: ask again"
        ):
            with self._noted(event, named):
                yield event

    @contextmanager
    def _noted(self, event: asyncio.Event, named: Collection[str]) -> Iterator[None]:
        for key in named:
            self._waiting.setdefault(key, set()).add(event)
        try:
            yield
        finally:
            for key in named:
                self._waiting[key].discard(event)
                if not self._waiting[key]:
                    del self._waiting[key]

    def tell(self, keys: Iterable[str]) -> None:
        for key in keys:
            for event in self._waiting.get(key, ()):
                event.set()


@dataclass(frozen=True)
class TellingMarks:
    """The Folder's marks, told on: by then the documents are written."""

    marks: Marks
    arrivals: Arrivals

    async def mark(
        self, view: View[Any], documents: Mapping[str, BaseModel | None], repeated: Mapping[str, int]
    ) -> None:
        await self.marks.mark(view, documents, repeated)
        self.arrivals.tell(documents)


@dataclass(frozen=True)
class TellingTargets:
    """The evaluator's targets, told on when they are finished."""

    targets: TargetStore
    arrivals: Arrivals

    async def mark(self, evaluation: str, targets: Sequence[str]) -> None:
        await self.targets.mark(evaluation, targets)

    async def mark_again(self, evaluation: str, targets: Sequence[str]) -> None:
        await self.targets.mark_again(evaluation, targets)

    async def count(self, evaluation: str) -> int:
        return await self.targets.count(evaluation)

    async def due(self, evaluation: str, now: datetime, *, limit: int) -> dict[str, int]:
        return await self.targets.due(evaluation, now, limit=limit)

    async def finish(self, evaluation: str, findings: Sequence[Finding]) -> list[bool]:
        written = await self.targets.finish(evaluation, findings)
        done = [f.target for f, ok in zip(findings, written, strict=True) if ok]
        self.arrivals.tell(result_key(evaluation, target) for target in done)
        return written

    async def read(self, evaluation: str, targets: Sequence[str]) -> dict[str, Target]:
        return await self.targets.read(evaluation, targets)

    async def bases(self, evaluation: str, targets: Sequence[str]) -> dict[str, Mapping[str, int]]:
        return await self.targets.bases(evaluation, targets)

    async def known(self, evaluation: str, targets: Sequence[str]) -> set[str]:
        return await self.targets.known(evaluation, targets)

    async def names(self, evaluation: str, *, after: str = "", limit: int) -> list[str]:
        return await self.targets.names(evaluation, after=after, limit=limit)
