"""A sample stream kind, its view and an evaluation, and stores that fail on cue: what the kernel's own tests share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from eventcore.decider import Command, Decider, Refusal
from eventcore.deliver import OwnFold
from eventcore.evaluate import Evaluation, Facts, Order, Reader, Verdict
from eventcore.event import Event, Recorded
from eventcore.execute import Executor, Request
from eventcore.fold import Folder, Marks, View
from eventcore.memory import MemoryAppends, MemoryHeld, MemoryTargets, MemoryViews
from eventcore.record import PublicEvent
from eventcore.store import Append, Insert, StoreUnavailable
from eventcore.testing import NOON

KEY = b"digest key"
LATER = NOON + timedelta(hours=1)


class JarEvent(Event):
    pass


class Dropped(JarEvent):
    stored_type: ClassVar[str] = "jar.dropped.v1"
    coins: int


class Sealed(JarEvent):
    stored_type: ClassVar[str] = "jar.sealed.v1"


class JarCommand(Command):
    pass


class Drop(JarCommand):
    """One event a coin, so that an append may hold several."""

    coins: int
    note: str = ""


class Seal(JarCommand):
    pass


@dataclass(frozen=True)
class Jar:
    coins: int = 0
    sealed: bool = False


def evolve(state: Jar, event: JarEvent, version: int) -> Jar:
    if isinstance(event, Dropped):
        return Jar(state.coins + event.coins, state.sealed)
    return Jar(state.coins, True)


def decide(command: JarCommand, state: Jar, now: datetime) -> Sequence[JarEvent] | Refusal:
    if isinstance(command, Seal):
        return [] if state.sealed else [Sealed()]
    assert isinstance(command, Drop)
    if state.sealed:
        return Refusal("jar-sealed", "open another jar", (("coins", "no room"),))
    return [Dropped(coins=1) for _ in range(command.coins)]


JAR: Decider[Jar, JarCommand, JarEvent] = Decider("jar", (Dropped, Sealed), Jar(), evolve, decide)


class JarDocument(BaseModel):
    model_config = ConfigDict(frozen=True)

    shelf: str
    coins: int = 0
    sealed: bool = False


def fold_jar(document: JarDocument | None, record: Recorded[Any]) -> JarDocument:
    document = document or JarDocument(shelf=record.stream.rpartition("--")[2])
    event = record.event
    if isinstance(event, Dropped):
        return document.model_copy(update={"coins": document.coins + event.coins})
    if isinstance(event, Sealed):
        return document.model_copy(update={"sealed": True})
    raise TypeError(f"not a jar's event: {event!r}")


JARS = View("jars", "jar", JarDocument, fold_jar)


class Total(BaseModel):
    coins: int


async def shelves_of(_reader: Reader, documents: Mapping[str, Any]) -> Collection[str]:
    return {document.shelf for document in documents.values()}


async def facts_of(reader: Reader, targets: Sequence[str]) -> dict[str, Facts]:
    return {target: await reader.find(JARS, {"shelf": target}) for target in targets}


def seal_full_jars(_target: str, facts: Facts, now: datetime) -> Verdict:
    """A jar of three coins or more is sealed; a shelf without a coin is looked at again an hour later."""
    jars = {s: f.document for s, f in facts.items() if f.document is not None}
    total = sum(jar.coins for jar in jars.values())
    full = [(s, facts[s].version) for s, jar in jars.items() if jar.coins >= 3 and not jar.sealed]
    orders = tuple(Order(JAR, stream, Seal(), version) for stream, version in full)
    return Verdict(Total(coins=total), orders, None if total else now + timedelta(hours=1))


SHELF = Evaluation("shelves", {"jars": shelves_of}, facts_of, seal_full_jars, lambda target: [f"jar-1--{target}"])


def public(event: Recorded[Any]) -> PublicEvent | None:
    """Sealing a jar is nobody else's business."""
    if isinstance(event.event, Dropped):
        return PublicEvent("sample.Dropped", str(event.event.coins).encode())
    return None


def parse(kind: str, data: bytes) -> Dropped:
    if kind != "sample.Dropped":
        raise LookupError(kind)
    return Dropped(coins=int(data))


def drop(stream: str, command_id: str, coins: int = 1, **more: Any) -> Request[JarCommand]:
    note = more.pop("note", "")
    return Request(stream, command_id, Drop(coins=coins, note=note), "tester", NOON, **more)


def seal(stream: str, command_id: str, **more: Any) -> Request[JarCommand]:
    return Request(stream, command_id, Seal(), "tester", NOON, **more)


def dropped(stream: str, version: int, coins: int = 1) -> Recorded[Any]:
    return Recorded(stream, version, Dropped(coins=coins), NOON)


def clock() -> datetime:
    return NOON


def own_fold(
    store: MemoryAppends,
    views: MemoryViews,
    *,
    held: MemoryHeld | None = None,
    marks: Marks | None = None,
    deciders: Mapping[str, Any] | None = None,
    views_: Sequence[View[Any]] = (),
    limit: int = 500,
) -> OwnFold:
    """The own fold of jars."""
    folder = Folder(views_ or [JARS], views, marks or NoMarks())
    known = {"jar": JAR} if deciders is None else deciders
    return OwnFold("sample.own", store, known, folder, held or MemoryHeld(), clock, limit=limit)


def executor(store: MemoryAppends, **more: Any) -> Executor:
    return Executor(store, KEY, **more)


@dataclass
class FatedAppends(MemoryAppends):
    """Each insert takes the next fate (`stored` when none is left); a `late` one lands when `land` is called."""

    fates: list[str] = field(default_factory=list)
    late: list[Append] = field(default_factory=list)
    loads_fail: int = 0

    def store(self, append: Append) -> Insert:
        fate = self.fates.pop(0) if self.fates else "stored"
        if fate == "stored":
            return super().store(append)
        if fate == "no reply":
            super().store(append)
        if fate == "late":
            self.late.append(append)
        return Insert.UNKNOWN

    def land(self) -> None:
        for append in self.late:
            super().store(append)

    async def load(self, streams: Sequence[str]) -> dict[str, list[Append]]:
        if self.loads_fail:
            self.loads_fail -= 1
            raise StoreUnavailable("cut off")
        return await super().load(streams)


@dataclass
class NoMarks:
    """Remembers what was marked."""

    marked: list[str] = field(default_factory=list)
    repeated: dict[str, int] = field(default_factory=dict)

    async def mark(
        self, view: View[Any], documents: Mapping[str, BaseModel | None], repeated: Mapping[str, int]
    ) -> None:
        self.marked += sorted(documents)
        self.repeated.update(repeated)


def jar_of(views: MemoryViews, stream: str) -> tuple[int, JarDocument | None]:
    found = views.documents.get("jars", {}).get(stream)
    return (0, None) if found is None else (found.version, JARS.read(found))


@dataclass
class Stores:
    appends: MemoryAppends = field(default_factory=MemoryAppends)
    views: MemoryViews = field(default_factory=MemoryViews)
    targets: MemoryTargets = field(default_factory=MemoryTargets)
