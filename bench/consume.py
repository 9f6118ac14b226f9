"""Events per second from Kafka to a view in MongoDB: the kernel beside a bare aiokafka loop.

The bare loop reads the same records in batches of the same size, folds them in memory and makes the same guarded bulk
write and the same commit; it keeps what it wrote in memory, where the kernel reads its documents again, and it checks
nothing. Both are timed from the first batch that came to the end of the last, so that joining a group is not counted.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pymongo import ReplaceOne

from accreditation.main import PARTS
from bench.bare import database
from bench.harness import (
    Benchmark,
    CannotRun,
    Figures,
    Options,
    Table,
    main,
    median,
    number,
    ratio,
    running_servers,
    tell,
)
from bench.sample import EMPTY, SUMMARIES, history, step
from credence.enrolment.v1 import events_pb2
from eventcore.consume import Consumer, Received
from eventcore.evaluate import Marker
from eventcore.event import Recorded
from eventcore.fold import Folder, Marks, View
from eventcore.kafka import KafkaSource, SourceSettings
from eventcore.mongo import connect
from eventcore.rebuild import NoMarks
from eventcore.record import PublicEvent, Record, encode
from servicekit.runtime import now, parser
from tests.servers import Servers

PARTITIONS = 6
SETTINGS = SourceSettings()
EVENTS_A_STREAM = len(history("cohort", "person"))
STREAMS_A_SECOND = 25  # of `--seconds`: what a busy machine manages in all the runs
ROUNDS = 2
LONGEST_SECONDS = 300.0
PARSE = parser([events_pb2])
RUNS = itertools.count(1)
# Leaders of a topic just made are still being found, and it retries: of no interest here.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@dataclass
class Clock:
    """Until `expected` events were handled; `began` is set by the first batch."""

    expected: int
    began: float = 0.0
    handled: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    seconds: float = 0.0
    batches: int = 0

    def arrived(self) -> None:
        self.began = self.began or time.monotonic()

    def done(self, many: int) -> None:
        self.handled += many
        self.batches += 1
        if self.handled >= self.expected:
            self.seconds = time.monotonic() - self.began
            self.over.set()

    @property
    def run(self) -> Run:
        return Run(self.handled / self.seconds, self.handled / self.batches)


@dataclass(frozen=True)
class Run:
    """Events a second, and events a batch."""

    rate: float
    batch: float


def run(options: Options) -> Figures:
    with running_servers(options) as servers:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            rows = runner.run(_measure(servers, options))
    note = (
        f"{EVENTS_A_STREAM} events a stream, batches of up to {SETTINGS.max_records}. *Mixed*: nearly every event of a "
        "batch belongs to another stream, so it writes as many documents as it has events. *In runs*: a stream's "
        f"events follow one another. *All of accreditation*: its {len(_foreign())} views of other services, and every "
        "evaluation that depends on them marked."
    )
    columns = ("events", "kernel/s", "bare loop/s", "kernel : bare", "kernel, events a batch", "bare, events a batch")
    return Figures(servers.software, [Table("From Kafka to the view", columns, rows, note)])


def _foreign() -> list[View[Any]]:
    own = {decider.category for decider in PARTS.deciders}
    return [view for view in PARTS.views if view.category not in own]


async def _measure(servers: Servers, options: Options) -> list[list[str]]:
    streams = max(60, round(options.seconds * STREAMS_A_SECOND))
    records = {topic: _records(topic, streams) for topic in ("mixed", "runs")}
    for topic, all_of_it in records.items():
        await _publish(servers.kafka_bootstrap, topic, all_of_it)
    events = streams * EVENTS_A_STREAM
    tell(f"{events} events of {streams} streams published to each of {len(records)} topics")
    rounds = 1 if options.quick else ROUNDS
    rows = []
    for topic, label, views in (
        ("runs", "in runs", [SUMMARIES]),
        ("mixed", "mixed", [SUMMARIES]),
        ("mixed", "mixed, all of accreditation", _foreign()),
    ):
        kernel, bare = [], []
        for _ in range(rounds):
            kernel.append(await _kernel(servers, topic, events, views, f"run{next(RUNS)}"))
            bare.append(await _bare(servers, topic, events, f"run{next(RUNS)}"))
        tell(f"{label}: done")
        rows.append([label, *_cells(kernel, bare)])
    return rows


def _cells(kernel: Sequence[Run], bare: Sequence[Run]) -> list[str]:
    mine, other = median([r.rate for r in kernel]), median([r.rate for r in bare])
    batches = [number(median([r.batch for r in runs])) for runs in (kernel, bare)]
    return [number(mine), number(other), ratio(mine, other), *batches]


def _records(topic: str, streams: int) -> list[Record]:
    """By stream for `runs`, by version for `mixed`: each stream in order either way."""
    now = datetime.now(UTC)
    histories = [(f"enrolment-c1--p{i}", history("c1", f"p{i}")) for i in range(streams)]
    ordered = [(stream, v, event) for stream, events in histories for v, event in enumerate(events, start=1)]
    if topic == "mixed":
        ordered.sort(key=lambda each: each[1])
    return [
        encode(
            Recorded(stream, version, event, now),
            PublicEvent(event.DESCRIPTOR.full_name, event.SerializeToString()),
            topic=topic,
            source="credence/enrolment",
            epoch="bench",
        )
        for stream, version, event in ordered
    ]


async def _publish(bootstrap: str, topic: str, records: Sequence[Record]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    finally:
        await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=5)
    await producer.start()
    try:
        sent = [
            await producer.send(
                topic,
                record.value,
                key=record.key.encode(),
                headers=[(n, t.encode()) for n, t in record.headers.items()],
            )
            for record in records
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def _kernel(servers: Servers, topic: str, events: int, views: Sequence[View[Any]], name: str) -> Run:
    """Events a second through KafkaSource, Consumer, Folder and MongoStores."""
    simple = list(views) == [SUMMARIES]
    evaluations = () if simple else PARTS.evaluations
    stores = await connect(
        servers.mongo_uri, f"bench_{name}", views=views, evaluations=[evaluation.name for evaluation in evaluations]
    )
    marks: Marks = NoMarks() if simple else Marker(evaluations, stores.views, stores.targets)
    consumer = Consumer("bench.facts", Folder(views, stores.views, marks), stores.views, stores.held, PARSE, now)
    clock = Clock(events)

    async def handle(batch: Sequence[Received]) -> None:
        clock.arrived()
        await consumer.handle(batch)
        clock.done(len(batch))

    source = KafkaSource(
        servers.kafka_bootstrap,
        topics=[topic],
        group=f"bench-{name}",
        handle=handle,
        report=lambda problem: tell(f"held up: {problem}") if problem else None,
    )
    try:
        return await _until_over(clock, source.run, source.stop)
    finally:
        await stores.close()


async def _until_over(clock: Clock, run: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]) -> Run:
    running = asyncio.ensure_future(run())
    over = asyncio.ensure_future(clock.over.wait())
    await asyncio.wait({running, over}, timeout=LONGEST_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    await stop()
    await running
    over.cancel()
    if not clock.over.is_set():
        raise CannotRun(f"only {clock.handled} of {clock.expected} events in {LONGEST_SECONDS:.0f} s: use --quick")
    return clock.run


async def _bare(servers: Servers, topic: str, events: int, name: str) -> Run:
    """Events a second through aiokafka and motor alone."""
    bare = database(servers.mongo_uri, f"bench_{name}")
    collection = bare["view_summaries"]
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers.kafka_bootstrap,
        group_id=f"bench-{name}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    clock = Clock(events)
    written: dict[str, dict[str, Any]] = {}
    await consumer.start()
    try:
        while not clock.over.is_set():
            batches = await consumer.getmany(timeout_ms=SETTINGS.batch_timeout_ms, max_records=SETTINGS.max_records)
            if not batches:
                continue
            clock.arrived()
            seen: dict[str, int] = {}
            for record in (record for batch in batches.values() for record in batch):
                headers = dict(record.headers)
                stream = headers["ce_subject"].decode()
                document = written.get(stream, {"version": 0, "body": EMPTY})
                seen.setdefault(stream, document["version"])
                event = PARSE(headers["ce_type"].decode(), record.value)
                written[stream] = {"version": int(headers["ce_sequence"]), "body": step(document["body"], event)}
            await collection.bulk_write(
                [ReplaceOne({"_id": s, "version": v}, written[s], upsert=True) for s, v in seen.items()],
                ordered=False,
            )
            await consumer.commit({tp: batch[-1].offset + 1 for tp, batch in batches.items()})
            clock.done(sum(len(batch) for batch in batches.values()))
    finally:
        await consumer.stop()
        bare.client.close()
    return clock.run


BENCHMARK = Benchmark("Events per second from Kafka to the view beside a bare aiokafka loop", 40, 8, run)

if __name__ == "__main__":
    main(BENCHMARK)
