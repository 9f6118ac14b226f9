"""The generations of one service's views: noted at the start, watched while it runs, rebuilt when asked."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import count
from typing import Any

from google.protobuf.message import Message

from eventcore.decider import Decider
from eventcore.evaluate import Evaluation
from eventcore.fingerprint import fingerprint
from eventcore.fold import Marks, View
from eventcore.generations import Catalogue, CurrentViews, Instance, State
from eventcore.kafka import KafkaLog
from eventcore.mongo import MongoStores
from eventcore.rebuild import OwnLog, Rebuild, Topics, adopt, changed
from eventcore.store import StoreUnavailable, TargetStore

WATCH_SECONDS = 2.0
NOTED_EVERY = 5  # looks
ALIVE_SECONDS = 1.0  # between two signs of life, whatever a builder waits for
# Without a sign of life, before what a builder was marking is taken over: beside load one answer may take seconds.
SILENT_LOOKS = 5
Report = Callable[[str | None], None]


@dataclass(frozen=True)
class Generations:
    """What the runtime, the health and the ViewsService of a service share about its views.

    `parse` reads a foreign event as the consumer does; `topics` are those it listens to.
    """

    service: str
    views: Sequence[View[Any]]
    deciders: Sequence[Decider[Any, Any, Any]]
    evaluations: Sequence[Evaluation]
    stores: MongoStores
    current: CurrentViews
    erasing: Marks
    targets: TargetStore
    parse: Callable[[str, bytes], Message]
    topics: Sequence[str]
    bootstrap: str
    now: Callable[[], datetime]
    fingerprints: dict[str, str]

    @staticmethod
    def fingerprints_of(views: Sequence[View[Any]]) -> dict[str, str]:
        return {view.name: fingerprint(view) for view in views}

    @property
    def own(self) -> list[View[Any]]:
        categories = {decider.category for decider in self.deciders}
        return [view for view in self.views if view.category in categories]

    @property
    def foreign(self) -> list[View[Any]]:
        own = {view.name for view in self.own}
        return [view for view in self.views if view.name not in own]

    async def adopt(self) -> Catalogue:
        """At the start, before anything is folded."""
        await self._note()
        return await adopt(
            self.stores.generations,
            self.stores.views,
            self.views,
            self.fingerprints,
            own={view.name for view in self.own},
            with_history=self._with_history,
        )

    async def _with_history(self) -> set[str]:
        """The views whose streams have a past."""
        found = {view.name for view in self.foreign} if await self.stores.views.histories() else set()
        for view in self.own:
            if await self.stores.appends.list_streams(view.category, limit=1):
                found.add(view.name)
        return found

    async def watch(self, report: Report) -> None:
        """For as long as the service runs: tells what wants a rebuild, and finishes what a dead builder left."""
        seen, silent = -1, 0
        for look in count(1):
            try:
                if look % NOTED_EVERY == 0:
                    await self._note()
                catalogue = await self.stores.generations.read()
                wants = changed(catalogue, self.fingerprints)
                report(self.told(wants) if wants else None)
                building = catalogue.building
                marking = building is not None and building.state is State.MARKING
                silent = silent + 1 if marking and catalogue.revision == seen else 0
                if building is not None and silent >= SILENT_LOOKS:
                    # Two at once are harmless, and mark everything twice.
                    async with self.rebuild(building.builder) as rebuild:
                        async for _ in rebuild.finish():
                            pass
                seen = catalogue.revision
            except StoreUnavailable:
                pass  # the health's own probe says so
            await asyncio.sleep(WATCH_SECONDS)

    async def _note(self) -> None:
        """By which folds this process works, so that no rebuild is begun while another release still runs."""
        name = f"{self.service} {os.getpid()} on {socket.gethostname()}"
        await self.stores.generations.note(Instance(name=name, fingerprints=self.fingerprints, at=self.now()))

    def told(self, wants: dict[str, str]) -> str:
        """What people are told of views that want a rebuild, with the command that mends it."""
        listed = "; ".join(f"{name}: {why}" for name, why in sorted(wants.items()))
        return f"{listed}. Run `credence views rebuild {self.service}`"

    @asynccontextmanager
    async def rebuild(self, builder: str) -> AsyncIterator[Rebuild]:
        """A rebuild of this service, with a reader of the topics of its own and with signs of life of this builder."""
        log = KafkaLog(self.bootstrap, topics=self.topics) if self.topics else None
        alive: asyncio.Task[None] | None = None
        try:
            rebuild = Rebuild(
                name=self.service,
                views=self.views,
                own=self.own,
                fingerprints=self.fingerprints,
                rooms=self.stores.views,
                store=self.current,
                generations=self.stores.generations,
                log=OwnLog(self.stores.appends, {d.category: d for d in self.deciders}),
                topics=Topics(log, self.parse) if log is not None else None,
                evaluations=self.evaluations,
                targets=self.targets,
                erasing=self.erasing,
                discards=self.stores.held.discards,
                forget=partial(self.stores.held.forget, f"{self.service}.facts"),
                now=self.now,
                clock=time.monotonic,
                pause=asyncio.sleep,
            )
            alive = asyncio.create_task(_alive(rebuild, builder))
            yield rebuild
        finally:
            if alive is not None:
                alive.cancel()
                await asyncio.wait([alive])
            if log is not None:
                await log.close()


async def _alive(rebuild: Rebuild, builder: str) -> None:
    while True:
        await asyncio.sleep(ALIVE_SECONDS)
        with suppress(StoreUnavailable):
            await rebuild.alive(builder)
