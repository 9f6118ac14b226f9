"""The memory stores and a bus in memory, with everything a database and a broker do to those who trust them.

A read may fail. A write may fail, be applied though the answer is lost, or land later; each element of a batch has
its own fate, so batches are applied in part. Everything that is applied is checked at once against what must always
hold, and told to the history.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from eventcore.consume import Received
from eventcore.generations import Catalogue
from eventcore.memory import MemoryAppends, MemoryGenerations, MemoryHeld, MemoryKeys, MemoryTargets, MemoryViews
from eventcore.record import Record
from eventcore.store import (
    ABSENT,
    Append,
    Entry,
    Finding,
    Head,
    Insert,
    Mark,
    StoreUnavailable,
    Target,
    Versioned,
    Write,
)

from . import domain
from .scheduler import Violation

if TYPE_CHECKING:
    from .world import World

PARTITIONS = 2


def unreliable(world: World, what: str, apply: Callable[[], Any]) -> Any:
    """Applies a write as a database does it: mostly."""
    if not world.strikes("mongo", world.rates.io_p / 8):
        return apply()
    fate = world.r.choice(("lost", "late", "no reply"))
    world.say(what, "UNKNOWN", f"({fate})")
    if fate == "late":
        world.late.append(apply)
    if fate == "no reply":
        apply()
    raise StoreUnavailable(f"{what}: {fate}")


@dataclass
class Appends(MemoryAppends):
    world: World = field(kw_only=True)

    def store(self, append: Append) -> Insert:
        if not self.world.strikes("mongo", self.world.rates.io_p):
            return self._apply(append)
        fate = self.world.r.choice(("lost", "lost", "lost", "late", "no reply"))
        self.world.say("insert", append.id, "UNKNOWN", f"({fate})")
        if fate == "late":
            self.world.late.append(lambda: self._apply(append))
        if fate == "no reply":
            self._apply(append)
        return Insert.UNKNOWN

    def _apply(self, append: Append) -> Insert:
        result = super().store(append)
        if result is Insert.STORED:
            self.world.changes += 1
            self.world.say("append", append.id, told_events(append), [step.id for step in append.steps])
            self.world.check_cap(append.stream)
        else:
            self.world.say("insert", append.id, "TAKEN")
        return result

    async def waiting(
        self, mark: Mark, *, limit: int, without: Collection[str] = (), before: datetime | None = None
    ) -> list[str]:
        """Some streams that wait, in any order: more than that a store does not promise."""
        await self.switch(f"find {mark}")
        slots = sorted(slot for slot in self.marked[mark] if slot[0] not in without and self.older(slot, before))
        self.world.r.shuffle(slots)
        return list(dict.fromkeys(stream for stream, _ in slots[:limit]))

    async def pending(self, mark: Mark, *, streams: Sequence[str] | None = None, limit: int) -> list[Append]:
        """A scan in index order, during which others insert and clear."""
        if self.world.r.random() < 0.8:
            return await super().pending(mark, streams=streams, limit=limit)
        found: list[Append] = []
        last = ("", 0)
        while len(found) < limit:
            await self.switch(f"read {mark}")
            beyond = [s for s in self.marked[mark] if s > last and (streams is None or s[0] in streams)]
            if not beyond:
                break
            last = min(beyond)
            found.append(self.streams[last[0]][last[1]])
        return found

    async def clear(self, mark: Mark, appends: Sequence[Append]) -> None:
        for append in appends:
            await self.switch(f"clear {mark}")
            unreliable(self.world, f"clear {mark} {append.id}", partial(self._unmark, mark, append))

    def _unmark(self, mark: Mark, append: Append) -> None:
        self.unmark(mark, append)
        self.world.changes += 1

    def ask(self, stream: str, republication: str) -> None:
        unreliable(self.world, f"ask again for {stream}", partial(self._ask, stream, republication))

    def _ask(self, stream: str, republication: str) -> None:
        super().ask(stream, republication)
        self.world.changes += 1


def told_events(append: Append) -> list[str]:
    short = (
        f"{e.type.split('.')[1]}{tuple(v for k, v in e.data.items() if k != 'note')}".replace(",)", ")")
        for e in append.events
    )
    return list(short)


@dataclass
class Views(MemoryViews):
    world: World = field(kw_only=True)
    service: str = field(kw_only=True)
    older: dict[tuple[str, str], Versioned] = field(default_factory=dict)

    async def load(self, view: str, streams: Sequence[str]) -> dict[str, Versioned]:
        """Several documents are no snapshot: each may be read at another moment."""
        if len(streams) == 1 or self.world.r.random() < 0.7:
            return await super().load(view, streams)
        found: dict[str, Versioned] = {}
        for stream in streams:
            found.update(await super().load(view, [stream]))
        return found

    def replace(self, view: str, write: Write) -> bool:
        applied: bool = unreliable(
            self.world, f"write {self.service}.{view} {write.stream} v{write.version}", lambda: self._apply(view, write)
        )
        return applied

    def _apply(self, view: str, write: Write) -> bool:
        before = self.documents.get(view, {}).get(write.stream, ABSENT)
        if not super().replace(view, write):
            self.world.say("miss", f"{self.service}.{view}", write.stream, f"v{write.seen}, found v{before.version}")
            return False
        self.world.changes += 1
        self.world.say("view", f"{self.service}.{view}", write.stream, f"v{before.version}->v{write.version}")
        if write.version <= before.version:
            raise Violation("view went back", write.stream, before.version, write.version)
        self.older[view, write.stream] = before
        return True


@dataclass
class Generations(MemoryGenerations):
    world: World = field(kw_only=True)

    async def read(self) -> Catalogue:
        # Where nothing is rebuilt nobody could come between: one step fewer for each fold, mark and evaluation.
        return await super().read() if self.world.rebuilds or self.catalogue.revision else self.catalogue

    async def swap(self, seen: Catalogue, new: Catalogue) -> bool:
        await self.switch(f"swap to {new.building.state if new.building else 'none'}")
        return self.store(seen.revision, new)

    def store(self, revision: int, new: Catalogue) -> bool:
        stored: bool = unreliable(self.world, "swap generations", lambda: self._apply(revision, new))
        return stored

    def _apply(self, revision: int, new: Catalogue) -> bool:
        if not super().store(revision, new):
            return False
        self.world.changes += 1
        building = new.building
        told = f"{building.state.value} {building.views} by {building.builder}" if building else "none"
        self.world.say("generations", new.generations(), "building", told)
        return True


@dataclass
class Targets(MemoryTargets):
    world: World = field(kw_only=True)

    def dirty(self, evaluation: str, target: str) -> None:
        def apply() -> None:
            super(Targets, self).dirty(evaluation, target)
            self.world.changes += 1
            self.world.say("mark", target, f"rev {self.targets[evaluation][target].revision}")

        unreliable(self.world, f"mark {target}", apply)

    def dirty_now(self, evaluation: str, target: str) -> None:
        super().dirty(evaluation, target)

    def settle(self, evaluation: str, finding: Finding) -> bool:
        applied: bool = unreliable(self.world, f"finish {finding.target}", lambda: self._apply(evaluation, finding))
        return applied

    def _apply(self, evaluation: str, finding: Finding) -> bool:
        before: Target = self.targets[evaluation][finding.target]
        if not super().settle(evaluation, finding):
            self.world.say("lost guard", finding.target, f"rev {finding.revision}, found {before.revision}")
            return False
        self.world.changes += 1
        self.world.say("result", finding.target, finding.result["outcome"], f"rev {finding.revision}")
        if any(finding.basis[s] < v for s, v in before.basis.items()):
            raise Violation("result went back", finding.target, dict(before.basis), dict(finding.basis))
        return True


@dataclass
class Keys(MemoryKeys):
    world: World = field(kw_only=True)
    service: str = field(kw_only=True)

    def bury(self, person: str, at: datetime) -> None:
        def apply() -> None:
            super(Keys, self).bury(person, at)
            self.world.changes += 1
            self.world.say("key destroyed", f"{self.service}/{person}")
            if not self.world.service["enr"].appends.streams.get(f"person-{person}"):
                raise Violation("key destroyed before the erasure was stored", self.service, person)

        unreliable(self.world, f"destroy the key of {self.service}/{person}", apply)


@dataclass
class Held(MemoryHeld):
    world: World = field(kw_only=True)

    async def keep(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._check_whole(entry)
        await super().keep(entries)

    def _check_whole(self, entry: Entry) -> None:
        sent = self.world.service["enr"].bus.sent.get((entry.stream, entry.version))
        if sent is None or (entry.key, entry.headers, entry.value) != (sent.key.encode(), sent.raw_headers, sent.value):
            raise Violation("held record is not as it came", entry.stream, entry.version)

    def store(self, entry: Entry) -> None:
        self._apply(f"keep {entry.stream}@{entry.version}", lambda: super(Held, self).store(entry))

    def lift(self, head: Head) -> None:
        new = (head.consumer, head.stream) not in self.standing
        if new and not self._may_be_held(head):
            raise Violation("held out of nothing", head.consumer, head.stream, head.kind, head.version)
        self._apply(f"park {head.stream} {head.kind}@{head.version}", lambda: super(Held, self).lift(head))

    def _may_be_held(self, head: Head) -> bool:
        """Poison is what this release cannot read; a gap is behind such a one, behind what the topic lost, or behind
        what comes moments later to a topic that was made anew."""
        if head.consumer.endswith(".own"):
            return False
        if head.kind == "poison":
            return f"{head.stream}@{head.version}" in self.world.bad
        spoilt = {name.partition("@")[0] for name in self.world.bad}
        bus = self.world.service["enr"].bus
        return head.stream in spoilt | bus.ever_lost | bus.late_to

    def lose(self, entry: Entry) -> None:
        self._apply(f"drop {entry.stream}@{entry.version}", lambda: super(Held, self).lose(entry))

    def relocate(self, head: Head) -> bool:
        return bool(
            self._apply(f"move {head.stream} {head.kind}@{head.version}", lambda: super(Held, self).relocate(head))
        )

    def take_away(self, head: Head) -> bool:
        return bool(self._apply(f"remove {head.stream}", lambda: super(Held, self).take_away(head)))

    def _apply(self, what: str, apply: Callable[[], Any]) -> Any:
        def applied() -> Any:
            result = apply()
            self.world.changes += 1
            self.world.say(what, "" if result is None else result)
            return result

        return unreliable(self.world, what, applied)


class Bus:
    """A topic of two partitions and a producer that is told the truth, mostly."""

    def __init__(self, world: World, topic: str, *, may_lose: bool) -> None:
        self._world = world
        self.topic = topic
        self.partitions: list[list[Record]] = []
        self.may_lose = may_lose
        self.lost: set[str] = set()  # streams of which the topic lost an acknowledged record
        self.ever_lost: set[str] = set()
        self.sent: dict[tuple[str, int], Record] = {}
        self.missing = False
        self.made = 0  # how often
        self.steps: dict[str, int] = {}  # by publisher: how often it had been made when its step began
        self.late_to: set[str] = set()  # streams sent by a step that began before the topic was made
        self.create()

    def create(self) -> None:
        """A topic that was lost, created again; what is still under way to the old one never arrives here."""
        self.partitions = [[] for _ in range(PARTITIONS)]
        self.missing = False
        self.made += 1

    async def bounds(self) -> dict[tuple[str, int], tuple[int, int]]:
        await self._world.switch("read the ends")
        return {(self.topic, p): (0, len(log)) for p, log in enumerate(self.partitions)}

    async def read(
        self, start: Mapping[tuple[str, int], int], end: Mapping[tuple[str, int], int]
    ) -> AsyncIterator[Sequence[Received]]:
        """As a rebuild reads: from where it wants, without a group."""
        position = dict(start)
        while left := [place for place in sorted(end) if position[place] < end[place]]:
            place = self._world.r.choice(left)
            p = place[1]
            await self._world.switch("read the topic")
            at = position[place]
            records = self.partitions[p][at : min(at + self._world.r.randint(1, 4), end[place])]
            if not records:  # the topic is another one by now
                return
            position[place] += len(records)
            yield [Received.of(r, p, at + i) for i, r in enumerate(records)]

    def partition(self, key: str) -> int:
        # Which streams share a partition differs from seed to seed.
        return zlib.crc32(f"{self._world.salt}{key}".encode()) % PARTITIONS

    async def send(self, records: Sequence[Record]) -> list[bool]:
        if len({r.headers["ce_subject"] for r in records}) != len(records):
            raise Violation("two records of one stream in flight", [r.headers["ce_id"] for r in records])
        acknowledged = []
        for record in records:
            await self._world.switch("send")
            acknowledged.append(self._send(record))
        return acknowledged

    async def renew(self) -> None:
        await self._world.switch("renew the producer")

    def _send(self, record: Record) -> bool:
        world, name = self._world, record.headers["ce_id"]
        log = self.partitions[self.partition(record.key)]
        if self.missing:
            world.say("send", name, "FAILS", "(no topic)")
            return False
        world.changes += 1
        if self.steps.get(world.me, self.made) != self.made:
            self.late_to.add(record.headers["ce_subject"])
        self.sent[record.headers["ce_subject"], int(record.headers["ce_sequence"])] = record
        if self.may_lose and world.strikes("loss", world.rates.io_p * 0.3):
            self.lost.add(record.headers["ce_subject"])
            self.ever_lost.add(record.headers["ce_subject"])
            world.say("LOST by the topic", name)
            return True
        if world.strikes("kafka", world.rates.io_p):
            fate = world.r.choice(("lost", "late", "no reply"))
            world.say("send", name, "FAILS", f"({fate})")
            if fate == "late":
                world.late.append(lambda: log.append(record))
            if fate == "no reply":
                log.append(record)
            return False
        world.say("send", name)
        log.append(record)
        return True


def plain_state(decider: Any, appends: Mapping[int, Append]) -> tuple[int, Any]:
    """Version and state of a stream as stored, replayed without the kernel."""
    version, state = 0, decider.initial
    for first in sorted(appends):
        for stored in appends[first].events:
            version += 1
            state = decider.evolve(state, decider.codec.decode(stored), version)
    return version, state


def ledger_credits(decider: Any, appends: Mapping[int, Append]) -> int:
    return len(plain_state(decider, appends)[1]) * domain.CREDITS
