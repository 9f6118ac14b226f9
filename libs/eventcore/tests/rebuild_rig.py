"""A service with one own view and one that hears of the same jars through a topic, and rebuilds of both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from eventcore.consume import Consumer
from eventcore.deliver import OwnFold, Publisher
from eventcore.evaluate import Evaluation, Evaluator, Facts, Marker, Reader, Verdict
from eventcore.execute import Executor
from eventcore.fold import Folder, Marks, View
from eventcore.generations import Catalogue, CurrentViews, Gate, State
from eventcore.memory import MemoryAppends, MemoryGenerations, MemoryHeld, MemoryTargets, MemoryViews
from eventcore.rebuild import Also, Done, Findings, NoMarks, OwnLog, Progress, Rebuild, Topics, Wish
from eventcore.testing import NOON

from .sample import JAR, JARS, SHELF, Total, executor, parse, public, seal_full_jars
from .topic import Topic

HEARD = replace(JARS, name="heard")  # the same documents, folded from the topic: markers leave no trace in them
FINGERPRINTS = {"jars": "fold-1", "heard": "fold-1"}
WISH = Wish(("heard",), "operator", "to be sure")


async def heard_shelves(_reader: Reader, documents: Any) -> set[str]:
    return {document.shelf for document in documents.values()}


async def heard_facts(reader: Reader, targets: Any) -> dict[str, Facts]:
    return {target: await reader.find(HEARD, {"shelf": target}) for target in targets}


def heard_total(_target: str, facts: Facts, now: datetime) -> Verdict:
    return Verdict(Total(coins=sum(f.document.coins for f in facts.values() if f.document is not None)))


COUNT = Evaluation("counts", {"heard": heard_shelves}, heard_facts, heard_total, lambda target: [f"jar-1--{target}"])


class Generations(MemoryGenerations):
    """Says to what state a rebuild is about to come."""

    async def swap(self, seen: Catalogue, new: Catalogue) -> bool:
        await self.switch(f"swap to {new.building.state}" if new.building else "swap to none")
        return self.store(seen.revision, new)


@dataclass
class Rig:
    """`views` are the current ones. Time passes by a second with every look at the clock, and by every pause."""

    jars: View[Any] = JARS
    heard: View[Any] = HEARD
    fingerprints: dict[str, str] = field(default_factory=lambda: dict(FINGERPRINTS))
    appends: MemoryAppends = field(default_factory=MemoryAppends)
    rooms: MemoryViews = field(default_factory=MemoryViews)
    generations: Generations = field(default_factory=Generations)
    targets: MemoryTargets = field(default_factory=MemoryTargets)
    held: MemoryHeld = field(default_factory=MemoryHeld)
    topic: Topic = field(default_factory=Topic)
    committed: int = 0
    seconds: float = 0.0
    at: datetime = NOON
    evaluations: tuple[Evaluation, ...] = (SHELF, COUNT)
    erasing: Marks = field(default_factory=NoMarks)

    def __post_init__(self) -> None:
        self.views = CurrentViews(self.rooms, self.generations, self.clock)
        self.marker = Marker(self.evaluations, self.views, self.targets)
        also = Also([self.jars], self.views, self.generations, self.appends, {"jar": JAR})
        folder = Folder([self.jars], self.views, self.marker, also=also)
        self.own = OwnFold("sample.own", self.appends, {"jar": JAR}, folder, self.held, lambda: NOON)
        self.publisher = Publisher(self.appends, {"jar": JAR}, public, self.topic, topic="jars.v1", source="jars")
        self.consumer = self.new_consumer()

    def new_consumer(self) -> Consumer:
        gate = Gate(self.generations, ["heard"], self.clock)
        folder = Folder([self.heard], self.views, self.marker, gate=gate)
        return Consumer("sample.facts", folder, self.views, self.held, parse, lambda: NOON)

    def clock(self) -> float:
        self.seconds += 0.25
        return self.seconds

    async def pause(self, seconds: float) -> None:
        self.seconds += seconds

    @property
    def executor(self) -> Executor:
        return executor(self.appends)

    def rebuild(self) -> Rebuild:
        """As another process of the service runs it, which knows the pointers by itself."""
        views = CurrentViews(self.rooms, self.generations, self.clock)
        return Rebuild(
            name="sample",
            views=[self.jars, self.heard],
            own=[self.jars],
            fingerprints=self.fingerprints,
            rooms=self.rooms,
            store=views,
            generations=self.generations,
            log=OwnLog(self.appends, {"jar": JAR}, page=2),
            topics=Topics(self.topic, parse),
            evaluations=self.evaluations,
            targets=self.targets,
            erasing=self.erasing,
            discards=self.held.discards,
            forget=partial(self.held.forget, "sample.facts"),
            now=lambda: self.at,
            clock=self.clock,
            pause=self.pause,
        )

    async def deliver(self) -> None:
        """Everything stored is folded, published, heard and evaluated."""
        await self.own.step()
        await self.publisher.step()
        await self.hear()
        await self.evaluate()

    async def hear(self) -> None:
        while batch := self.topic.taken(self.committed, 2):
            await self.consumer.handle(batch)
            self.committed += len(batch)

    async def evaluate(self) -> int:
        looked = 0
        for evaluation in self.evaluations:
            work = Evaluator(evaluation, self.views, self.targets, self.executor, lambda: NOON, actor="service")
            looked += (await work.look()).evaluated
        return looked

    async def run(self, wish: Wish = WISH, *, builder: str = "b1") -> list[Progress | Findings | Done]:
        return [told async for told in self.rebuild().run(wish, builder)]

    async def run_beside(
        self, beside: Callable[[Progress | Findings | Done], Awaitable[None]], wish: Wish = WISH
    ) -> list[Progress | Findings | Done]:
        """With something that happens at whatever the rebuild tells."""
        found = []
        async for told in self.rebuild().run(wish, "b1"):
            found.append(told)
            await beside(told)
        return found

    def documents(self, room: str) -> dict[str, tuple[int, Any]]:
        """As they are compared: version and body."""
        return {s: (v.version, v.body) for s, v in self.rooms.documents.get(room, {}).items()}


async def until(running: AsyncIterator[Any], state: State) -> None:
    """Reads on until the rebuild tells of that state, and leaves it there, as whoever is killed does."""
    async for told in running:
        if isinstance(told, Progress) and told.state is state:
            return


__all__ = ["COUNT", "FINGERPRINTS", "HEARD", "JARS", "NOON", "WISH", "Rig", "seal_full_jars", "until"]
