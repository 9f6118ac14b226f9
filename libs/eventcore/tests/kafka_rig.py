"""A sample service on stores in memory and a real Kafka: what it stores, publishes and folds, and who checks it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pydantic import BaseModel

from eventcore.consume import Consumer, Received
from eventcore.decider import Command, Decider, Refusal
from eventcore.deliver import Bus, OwnFold, Publisher
from eventcore.event import Event, Recorded, StoredEvent
from eventcore.fold import Folder, View
from eventcore.kafka import KafkaBus, KafkaSource, SourceSettings
from eventcore.memory import MemoryAppends, MemoryHeld, MemoryViews
from eventcore.rebuild import NoMarks
from eventcore.record import PublicEvent, Record, encode
from eventcore.store import Append, Versioned

NOON = datetime(2024, 10, 1, 12, 0, tzinfo=UTC)
SOURCE = "credence/sample"
PARTITIONS = 4
WAIT_SECONDS = 30.0
SOON = SourceSettings(batch_timeout_ms=20, look_seconds=0.05, fetch_max_wait_ms=100, session_timeout_ms=6_000)


class Counted(Event):
    stored_type = "counter.counted.v1"
    amount: int


class Count(Command):
    amount: int


class Tally(BaseModel):
    """`chain` depends on every amount and on their order: two tallies agree only if they folded the same."""

    total: int
    chain: str


def _decide(command: Count, _state: int, _now: datetime) -> Sequence[Counted] | Refusal:
    return [Counted(amount=command.amount)]


def _tally(document: Tally | None, record: Recorded[Any]) -> Tally:
    amount = record.event.amount
    before = document or Tally(total=0, chain="")
    chain = hashlib.sha256(f"{before.chain}/{record.version}/{amount}".encode()).hexdigest()
    return Tally(total=before.total + amount, chain=chain)


COUNTER: Decider[int, Count, Counted] = Decider(
    "counter", (Counted,), 0, lambda state, event, _version: state + event.amount, _decide
)
TALLIES = View("tallies", "counter", Tally, _tally)


def public(record: Recorded[Any]) -> PublicEvent:
    return PublicEvent("sample.Counted", str(record.event.amount).encode())


def clock() -> datetime:
    return NOON


def parse(type_: str, data: bytes) -> Counted:
    if type_ != "sample.Counted":
        raise ValueError(f"{type_} is not known")
    return Counted(amount=int(data))


async def others_run(_operation: str) -> None:
    await asyncio.sleep(0)


def stored(streams: int, versions: int, *, per_append: int = 2) -> MemoryAppends:
    """A store with this many streams, each with this many events."""
    store = MemoryAppends(epoch="first", switch=others_run)
    for stream in range(streams):
        add(store, f"counter-{stream}", versions, per_append=per_append)
    return store


def add(store: MemoryAppends, stream: str, versions: int, *, per_append: int = 2) -> None:
    last = max((a.last for a in store.streams.get(stream, {}).values()), default=0)
    for first in range(last + 1, last + versions + 1, per_append):
        events = tuple(
            StoredEvent(Counted.stored_type, {"amount": 7 * v + len(stream)})
            for v in range(first, min(first + per_append, last + versions + 1))
        )
        store.store(Append(stream, first, (), events, NOON + timedelta(seconds=first)))


def records_of(stream: str, versions: Sequence[int], topic: str, *, epoch: str = "first") -> list[Record]:
    """Records as a publisher would send them."""
    return [
        encode(
            Recorded(stream, v, Counted(amount=v), NOON + timedelta(seconds=v)),
            PublicEvent("sample.Counted", str(v).encode()),
            topic=topic,
            source=SOURCE,
            epoch=epoch,
        )
        for v in versions
    ]


async def documents(store: MemoryAppends) -> dict[str, Versioned]:
    """What the tallies must be in the end: the store's own fold, without Kafka."""
    copy = MemoryAppends(epoch=store.epoch, streams=store.streams)
    copy.marked["unfolded"] = {(s, first) for s, slots in store.streams.items() for first in slots}
    views = MemoryViews()
    folder = Folder([TALLIES], views, NoMarks())
    fold = OwnFold("sample.own", copy, {"counter": COUNTER}, folder, MemoryHeld(), clock)
    while await fold.step():
        pass
    return views.documents.get("tallies", {})


def publisher(store: MemoryAppends, bus: Bus, topic: str, *, kind: type[Publisher] = Publisher) -> Publisher:
    return kind(store, {"counter": COUNTER}, public, bus, topic=topic, source=SOURCE)


async def send(bus: KafkaBus, records: Sequence[Record]) -> None:
    """Each record acknowledged before the next is sent, as a Publisher would."""
    for record in records:

        async def sent(record: Record = record) -> bool:
            if await bus.send([record]) == [True]:
                return True
            await bus.renew()
            return False

        await until(sent, "the broker acknowledges")


async def until(met: Callable[[], bool | Awaitable[bool]], what: str, *, seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while True:
        answer = met()
        if answer if isinstance(answer, bool) else await answer:
            return
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Kafka:
    """A topic of its own on the shared broker, seen with aiokafka alone: not with the code under test."""

    bootstrap: str
    topic: str
    group: str

    @property
    def partitions(self) -> list[TopicPartition]:
        return [TopicPartition(self.topic, p) for p in range(PARTITIONS)]

    async def create(self, **configs: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(self.topic, PARTITIONS, 1, topic_configs=configs)])

            async def visible() -> bool:  # creation is answered before the broker knows of it everywhere
                return self.topic in await admin.list_topics()

            await until(visible, "the topic is there")
        finally:
            await admin.close()

    @asynccontextmanager
    async def _consumer(self, group: str | None) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            consumer.assign(self.partitions)
            yield consumer
        finally:
            await consumer.stop()

    async def ends(self) -> dict[TopicPartition, int]:
        async with self._consumer(None) as consumer:
            return dict(await consumer.end_offsets(self.partitions))

    async def records(self) -> list[Any]:
        """All there is, each partition in its order."""
        async with self._consumer(None) as consumer:
            ends = await consumer.end_offsets(self.partitions)
            found: list[Any] = []

            async def read() -> bool:
                for got in (await consumer.getmany(timeout_ms=100)).values():
                    found.extend(got)
                return len(found) >= int(sum(ends.values()))

            await until(read, "the whole topic is read")
            return found

    async def committed(self) -> dict[TopicPartition, int]:
        """The group's offsets; 0 where there is none."""
        async with self._consumer(self.group) as consumer:
            return {tp: await consumer.committed(tp) or 0 for tp in self.partitions}

    async def commit(self, offset: int) -> None:
        async with self._consumer(self.group) as consumer:
            await consumer.commit(dict.fromkeys(self.partitions, offset))

    async def all_committed(self) -> bool:
        return await self.committed() == await self.ends()


def order_faults(records: Sequence[Any]) -> list[str]:
    """Where a stream's first occurrences do not run 1, 2, 3 … (P5)."""
    last: dict[bytes, int] = {}
    faults = []
    for record in records:
        version = int(dict(record.headers)["ce_sequence"])
        seen = last.get(record.key, 0)
        if version > seen + 1:
            faults.append(f"{record.key.decode()}@{version} after @{seen}")
        last[record.key] = max(seen, version)
    return faults


def ids_in(records: Sequence[Any]) -> set[str]:
    return {dict(record.headers)["ce_id"].decode() for record in records}


def ids_of(store: MemoryAppends) -> set[str]:
    return {
        f"{a.stream}@{v}"
        for slots in store.streams.values()
        for a in slots.values()
        for v in range(a.first, a.last + 1)
    }


@dataclass
class Process:
    """A consuming process: its views outlive it, as a database would."""

    kafka: Kafka
    views: MemoryViews = field(default_factory=MemoryViews)
    held: MemoryHeld = field(default_factory=MemoryHeld)
    parse: Callable[[str, bytes], Any] = parse
    settings: SourceSettings = SOON
    kind: type[KafkaSource] = KafkaSource
    handled: list[Received] = field(default_factory=list)
    held_up: list[str] = field(default_factory=list)
    polls: int = 0
    before: Callable[[Sequence[Received]], Awaitable[None]] | None = None

    def __post_init__(self) -> None:
        folder = Folder([TALLIES], self.views, NoMarks())
        self._consumer = Consumer("sample.facts", folder, self.views, self.held, self.parse, clock)
        self.holding = self._consumer.holding
        self.source = self.kind(
            self.kafka.bootstrap,
            topics=[self.kafka.topic],
            group=self.kafka.group,
            handle=self._handle,
            report=lambda why: self.held_up.append(why) if why else None,
            polled=self._polled,
            settings=self.settings,
        )

    async def _handle(self, batch: Sequence[Received]) -> None:
        if self.before is not None:
            await self.before(batch)
        await self._consumer.handle(batch)
        self.handled.extend(batch)

    def _polled(self) -> None:
        self.polls += 1

    @property
    def tallies(self) -> dict[str, Versioned]:
        return self.views.documents.get("tallies", {})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.source.run())
        try:
            yield task
        finally:
            await self.source.stop()
            await asyncio.wait([task], timeout=WAIT_SECONDS)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            if not task.cancelled():
                task.exception()

    async def run_until(self, met: Callable[[], bool | Awaitable[bool]], what: str) -> None:
        async with self.running() as task:
            await until(lambda: task.done() or met(), what)
            if task.done():
                await task
