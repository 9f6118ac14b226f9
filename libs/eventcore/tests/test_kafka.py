"""Bus and source on a real Kafka: what they promise while it is stopped, killed, and fed what it should not be.

Each checker is itself checked: the planted bugs at the end must turn it red.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from statistics import median
from typing import Any

import psutil
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from faststream.kafka import KafkaBroker
from faststream.message import StreamMessage

from credence_cli.embedded.kafka import EmbeddedKafka
from eventcore.consume import Received
from eventcore.deliver import Publisher, Undelivered, own_events
from eventcore.held import TooManyFaults
from eventcore.kafka import KafkaAway, KafkaBus, KafkaSource, TopicsMissing, probe_kafka
from eventcore.loops import Wake, deliver_forever
from eventcore.record import Record, WrongEpoch
from eventcore.store import Append, StoreUnavailable, Versioned

from .kafka_rig import (
    SOON,
    Counted,
    Kafka,
    Process,
    add,
    documents,
    ids_in,
    ids_of,
    order_faults,
    parse,
    publisher,
    records_of,
    send,
    stored,
    until,
)

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]
_names = count(1)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    server = EmbeddedKafka(tmp_path_factory.mktemp("kafka")).start()
    try:
        yield server
    finally:
        server.stop()


@pytest_asyncio.fixture
async def kafka(broker: EmbeddedKafka) -> Kafka:
    name = f"sample.counter.{next(_names)}"
    topic = Kafka(broker.bootstrap, name, f"{name}.facts")
    await topic.create()
    return topic


@asynccontextmanager
async def _bus(kafka: Kafka, **limits: float) -> AsyncIterator[KafkaBus]:
    bus = KafkaBus(kafka.bootstrap, client_id="sample", **limits)
    try:
        yield bus
    finally:
        await bus.close()


def _hasty(kafka: Kafka) -> AbstractAsyncContextManager[KafkaBus]:
    return _bus(kafka, request_seconds=1.0, delivery_seconds=1.5)


async def _drain(publishing: Publisher) -> None:
    async def drained() -> bool:
        with suppress(Undelivered):
            return not await publishing.step()
        return False

    await until(drained, "everything is published", seconds=60)


def _pid(broker: EmbeddedKafka) -> int:
    pid = broker.process.pid
    assert pid is not None
    return pid


@asynccontextmanager
async def _silent(broker: EmbeddedKafka) -> AsyncIterator[None]:
    """The broker keeps its connections and answers nothing."""
    pid = _pid(broker)
    os.kill(pid, signal.SIGSTOP)
    # One thread takes the signal and stops the others: where it must wait for a processor, they go on answering.
    await until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "the broker stands still")
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


# ---- the bus


async def test_two_publishers_at_once_keep_the_order_of_every_stream(kafka: Kafka) -> None:
    store = stored(streams=50, versions=6)
    async with _bus(kafka) as one, _bus(kafka) as two:
        await asyncio.gather(
            _drain(publisher(store, one, kafka.topic)),
            _drain(publisher(store, two, kafka.topic)),
        )
    records = await kafka.records()
    assert order_faults(records) == []
    assert ids_in(records) == ids_of(store)
    assert not store.marked["unpublished"]


async def test_a_broker_that_does_not_answer_delays_and_reorders_nothing(kafka: Kafka, broker: EmbeddedKafka) -> None:
    store = stored(streams=20, versions=2)
    async with _hasty(kafka) as bus:
        publishing = publisher(store, bus, kafka.topic)
        await _drain(publishing)
        for stream in range(20):
            add(store, f"counter-{stream}", 6)
        async with _silent(broker):
            for _ in range(2):
                began = time.monotonic()
                with pytest.raises(Undelivered):
                    await publishing.step()
                assert time.monotonic() - began < 4
            assert len(store.marked["unpublished"]) == 60
        await _drain(publishing)
    records = await kafka.records()
    assert order_faults(records) == []
    assert ids_in(records) == ids_of(store)


async def test_a_broker_killed_while_publishing_loses_nothing_and_gains_nothing(
    kafka: Kafka, broker: EmbeddedKafka
) -> None:
    store = stored(streams=40, versions=40, per_append=4)
    held_up: list[str] = []
    async with _hasty(kafka) as bus:
        publishing = publisher(store, bus, kafka.topic)
        task = asyncio.create_task(
            deliver_forever(
                publishing, Wake(), report=lambda why: held_up.append(why) if why else None, done=lambda _: None
            )
        )
        await until(lambda: len(store.marked["unpublished"]) < 350, "publishing goes on")
        await asyncio.to_thread(broker.kill)
        left = len(store.marked["unpublished"])
        assert left > 0
        await until(lambda: bool(held_up), "it says that it is held up")
        await asyncio.to_thread(broker.start)
        await until(lambda: not store.marked["unpublished"], "everything is published", seconds=60)
        task.cancel()
    records = await kafka.records()
    assert order_faults(records) == []
    assert ids_in(records) == ids_of(store)


async def test_a_record_that_cannot_be_sent_fails_alone(kafka: Kafka) -> None:
    good, lost, large = (
        records_of("counter-1", [1], kafka.topic)[0],
        *records_of("counter-2", [1], "no.such.topic"),
        None,
    )
    large = Record(kafka.topic, "counter-3", b"x" * 2_000_000, good.headers)
    async with _bus(kafka, request_seconds=1.0, delivery_seconds=10.0) as bus:
        assert await bus.send([]) == []
        assert await bus.send([large, good, lost]) == [False, True, False]
    assert ids_in(await kafka.records()) == {"counter-1@1"}


async def test_a_renewed_bus_forgets_what_was_queued_and_goes_on(kafka: Kafka, broker: EmbeddedKafka) -> None:
    tasks = asyncio.all_tasks()
    async with _hasty(kafka) as bus:
        await send(bus, records_of("counter-1", [1], kafka.topic))
        async with _silent(broker):
            # The first send is on the wire when the broker falls silent, the second waits in the producer behind it.
            assert await bus.send(records_of("counter-1", [2], kafka.topic)) == [False]
            assert await bus.send(records_of("counter-1", [3], kafka.topic)) == [False]
            await bus.renew()
        await send(bus, records_of("counter-1", [2], kafka.topic))
    assert "counter-1@3" not in ids_in(await kafka.records())
    assert asyncio.all_tasks() == tasks, "a producer was left running"


async def test_the_probe_names_what_is_missing(kafka: Kafka) -> None:
    await probe_kafka(kafka.bootstrap, [kafka.topic])
    with pytest.raises(TopicsMissing, match=r"no topic nowhere\.v1: run `credence topics create`"):
        await probe_kafka(kafka.bootstrap, [kafka.topic, "nowhere.v1"])
    with pytest.raises(KafkaAway, match="does not answer"):
        await probe_kafka("127.0.0.1:1", [kafka.topic])


# ---- the source


async def test_what_is_published_is_folded_and_then_committed(kafka: Kafka) -> None:
    store = stored(streams=100, versions=5)
    async with _bus(kafka) as bus:
        await _drain(publisher(store, bus, kafka.topic))
    expected = await documents(store)
    process = Process(kafka)
    async with process.running():
        await until(lambda: process.tallies == expected, "all is folded")
        await until(kafka.all_committed, "all is committed")
        await until(lambda: sum(process.source.lag().values()) == 0 and len(process.source.lag()) == 4, "no lag")
        await until(lambda: process.source.age_seconds() < 1, "the views are fresh")
        polls = process.polls
        await until(lambda: process.polls > polls, "an idle consumer polls")
    assert len(process.handled) == 500


async def test_a_crash_between_fold_and_commit_folds_again_to_the_same(kafka: Kafka) -> None:
    store = stored(streams=30, versions=4)
    async with _bus(kafka) as bus:
        await _drain(publisher(store, bus, kafka.topic))
    expected = await documents(store)
    crashing = Process(kafka, kind=_CrashesBeforeCommit)
    await crashing.run_until(lambda: bool(crashing.handled), "a batch is folded")
    assert not any((await kafka.committed()).values())
    after = Process(kafka, crashing.views)
    await after.run_until(kafka.all_committed, "all is committed")
    assert after.tallies == expected
    assert {(r.partition, r.offset) for r in crashing.handled} <= {(r.partition, r.offset) for r in after.handled}


async def test_a_source_that_is_stopped_finishes_and_commits_the_batch_in_hand(kafka: Kafka) -> None:
    async with _bus(kafka) as bus:
        await send(bus, records_of("counter-1", [1, 2], kafka.topic))
    entered, leave = asyncio.Event(), asyncio.Event()

    async def hold(_batch: Sequence[Received]) -> None:
        entered.set()
        await leave.wait()

    process = Process(kafka, before=hold)
    async with process.running() as task:
        await entered.wait()
        await process.source.stop()
        await until(lambda: not process.source._subscriber.running, "no more batches are taken")
        leave.set()
        await task
    assert await kafka.all_committed()


async def test_one_poison_among_a_thousand_streams_is_held_whole_and_a_redrive_ends_as_the_clean_run(
    kafka: Kafka,
) -> None:
    store = stored(streams=1000, versions=2)
    async with _bus(kafka) as bus:
        spoiling = _Spoiling(bus, "counter-500@1")
        await _drain(publisher(store, spoiling, kafka.topic))
    clean = await documents(store)
    process = Process(kafka)
    await process.run_until(kafka.all_committed, "all is committed, the poison too")

    others = {s: v for s, v in clean.items() if s != "counter-500"}
    assert {s: v for s, v in process.tallies.items() if s != "counter-500"} == others
    assert list(process.held.standing) == [("sample.facts", "counter-500")]
    entries = [process.held.kept[key] for key in sorted(process.held.kept)]
    assert [e.version for e in entries] == [1, 2], "what comes later is behind it, in order"
    [sent] = spoiling.spoilt
    whole = (sent.key.encode(), sent.raw_headers, sent.value)
    assert (entries[0].key, entries[0].headers, entries[0].value) == whole, "to the byte"
    assert (entries[0].topic, entries[0].partition) == (kafka.topic, entries[1].partition)
    assert 0 <= entries[0].offset < entries[1].offset

    fixed = Process(
        kafka, process.views, process.held, parse=lambda kind, data: parse(kind, data.removeprefix(b"spoilt "))
    )
    [released] = await fixed.holding.redrive(["counter-500"])

    assert (released.folded, released.fault) == (2, None)
    assert (fixed.held.kept, fixed.held.standing) == ({}, {})
    assert _hash_of(fixed.tallies) == _hash_of(clean)


async def test_a_gap_is_held_across_a_restart_and_releases_itself_when_it_is_filled(kafka: Kafka) -> None:
    async with _bus(kafka) as bus:
        await send(bus, records_of("counter-1", [1, 3, 4], kafka.topic) + records_of("counter-2", [1], kafka.topic))
        process = Process(kafka)
        await process.run_until(kafka.all_committed, "all is committed, what waits too")
        assert (process.tallies["counter-1"].version, process.tallies["counter-2"].version) == (1, 1)
        assert [key[3] for key in sorted(process.held.kept)] == [3, 4]
        await send(bus, records_of("counter-1", [2], kafka.topic))
    again = Process(kafka, process.views, process.held)
    await again.run_until(kafka.all_committed, "the missing record is handled")
    assert again.tallies["counter-1"].version == 4
    assert (again.held.kept, again.held.standing) == ({}, {})


async def test_a_release_that_can_fold_hardly_anything_stops_the_source_and_commits_nothing(kafka: Kafka) -> None:
    async with _bus(kafka) as bus:
        await send(bus, [r for n in range(100) for r in records_of(f"counter-{n}", [1], kafka.topic)])

    def bad_release(_kind: str, _data: bytes) -> Counted:
        raise ValueError("planted in the release")

    process = Process(kafka, parse=bad_release, settings=replace(SOON, batch_timeout_ms=1000))
    with pytest.raises(TooManyFaults, match=r"sample\.Counted cannot be read: ValueError"):
        await process.run_until(lambda: False, "the source ends")
    after = Process(kafka, process.views, process.held)
    await after.run_until(kafka.all_committed, "the next release folds all of it")
    assert len(after.tallies) == 100
    assert not after.held.kept


async def test_what_is_more_than_a_batch_a_fetch_or_a_request_takes_comes_in_several_and_whole(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventcore.kafka.PRODUCE_BATCH_BYTES_MAX", 1_000)
    records = [r for n in range(40) for r in records_of(f"counter-{n}", [1], kafka.topic)]
    async with _bus(kafka) as bus:
        assert await bus.send(records) == [True] * 40
    sizes: list[int] = []

    async def note(batch: Sequence[Received]) -> None:
        sizes.append(len(batch))

    settings = replace(SOON, max_records=3, fetch_max_bytes=2_000, max_partition_fetch_bytes=1_000)
    process = Process(kafka, before=note, settings=settings)
    await process.run_until(kafka.all_committed, "all is committed")
    assert (max(sizes), sum(sizes), len(process.tallies)) == (3, 40, 40)


async def test_a_log_of_another_epoch_stops_the_source(kafka: Kafka) -> None:
    async with _bus(kafka) as bus:
        await send(bus, records_of("counter-1", [1], kafka.topic))
        process = Process(kafka)
        await process.run_until(kafka.all_committed, "the first history is folded")
        await send(bus, records_of("counter-1", [2], kafka.topic, epoch="second"))
    again = Process(kafka, process.views)
    with pytest.raises(WrongEpoch, match="its store was replaced"):
        await again.run_until(lambda: False, "the source ends")
    assert again.tallies["counter-1"].version == 1
    assert not await kafka.all_committed()


async def test_offsets_set_back_to_zero_end_in_the_same_documents(kafka: Kafka) -> None:
    store = stored(streams=30, versions=4)
    async with _bus(kafka) as bus:
        await _drain(publisher(store, bus, kafka.topic))
    process = Process(kafka)
    await process.run_until(kafka.all_committed, "all is committed")
    before = dict(process.tallies)
    assert before == await documents(store)
    await kafka.commit(0)
    again = Process(kafka, process.views)
    await again.run_until(kafka.all_committed, "all is committed again")
    assert len(again.handled) == 120
    assert again.tallies == before


async def test_members_that_come_and_go_under_load_lose_nothing(kafka: Kafka) -> None:
    store = stored(streams=60, versions=2)
    one = Process(kafka)
    two = Process(kafka, one.views)
    async with _bus(kafka) as bus:
        task = asyncio.create_task(_keep_publishing(store, bus, kafka.topic))
        async with two.running():
            async with one.running():
                await until(lambda: len(one.handled) > 100 and len(two.handled) > 100, "both take part")
            begun = len(two.handled)
            await until(
                lambda: len({r.partition for r in two.handled[begun:]}) == 4, "the other takes over", seconds=20
            )
            task.cancel()
            await asyncio.wait([task])
            await _drain(publisher(store, bus, kafka.topic))
            expected = await documents(store)
            await until(lambda: two.tallies == expected, "all is folded")
            await until(kafka.all_committed, "all is committed")


async def test_a_batch_waits_for_a_store_that_is_away_longer_than_a_session(kafka: Kafka) -> None:
    store = stored(streams=20, versions=3)
    async with _bus(kafka) as bus:
        await _drain(publisher(store, bus, kafka.topic))
    back = time.monotonic() + SOON.session_timeout_ms / 1000 + 0.1

    async def away(_batch: Sequence[Received]) -> None:
        if time.monotonic() < back:
            raise StoreUnavailable("the database does not answer")

    process = Process(kafka, before=away)
    joins: list[object] = []
    follow = process.source._assigned

    def joined(held: frozenset[Any] | None) -> None:
        joins.append(held)
        follow(held)

    process.source._assigned = joined  # type: ignore[method-assign, assignment]
    async with process.running():
        await until(lambda: len(process.held_up) >= 3, "it says why")
        assert process.held_up[0] == "the database does not answer"
        assert process.polls >= 3
        assert not any((await kafka.committed()).values())
        await until(kafka.all_committed, "all is committed")
        assert process.tallies == await documents(store)
        assert len(process.handled) == 60
        assert len([held for held in joins if held]) == 1, "the group kept its member"


async def test_a_fault_beside_the_handler_ends_the_source_too(kafka: Kafka) -> None:
    """The framework would swallow it, and the next batch's commit would cover this one."""
    async with _bus(kafka) as bus:
        await send(bus, records_of("counter-1", [1], kafka.topic))

    async def away(_batch: Sequence[Received]) -> None:
        raise StoreUnavailable("the database does not answer")

    def broken(why: str | None) -> None:
        if why:
            raise RuntimeError("planted in the report")

    process = Process(kafka, before=away)
    process.source._report = broken
    with pytest.raises(RuntimeError, match="planted in the report"):
        await process.run_until(lambda: False, "the source ends")
    assert not any((await kafka.committed()).values())


async def test_a_handler_that_hangs_is_given_up_and_tried_again(kafka: Kafka) -> None:
    async with _bus(kafka) as bus:
        await send(bus, records_of("counter-1", [1], kafka.topic))
    tries = count(1)

    async def hang_once(_batch: Sequence[Received]) -> None:
        if next(tries) == 1:
            await asyncio.Event().wait()

    process = Process(kafka, before=hang_once, settings=replace(SOON, attempt_seconds=0.3))
    await process.run_until(kafka.all_committed, "all is committed")
    assert process.held_up == ["a batch was not handled within 0.3 s"]


async def test_a_source_outlives_its_broker_and_another_waits_for_it_to_start(
    kafka: Kafka, broker: EmbeddedKafka
) -> None:
    process = Process(kafka)
    late = Process(replace(kafka, group=f"{kafka.group}.late"))
    async with _hasty(kafka) as bus, AsyncExitStack() as stack:
        task = await stack.enter_async_context(process.running())
        await send(bus, records_of("counter-1", [1], kafka.topic))
        await until(lambda: bool(process.handled) and process.source.age_seconds() < 1, "it is up to date")
        await asyncio.to_thread(broker.kill)
        polls = process.polls
        await until(lambda: process.source.age_seconds() > 2, "the views grow old")
        assert process.polls <= polls + 1, "no sign of life while nothing answers"
        await stack.enter_async_context(late.running())
        await until(lambda: len(late.held_up) >= 2, "the other says why it does not start")
        await asyncio.to_thread(broker.start)
        await until(lambda: process.polls > polls + 1 and process.source.age_seconds() < 2, "it is up to date again")
        await send(bus, records_of("counter-1", [2], kafka.topic))
        await until(
            lambda: process.tallies["counter-1"].version == 2 and late.tallies == process.tallies,
            "both have folded the next event",
        )
        assert not task.done()


async def test_views_that_keep_up_with_a_flow_that_never_pauses_are_not_old(kafka: Kafka) -> None:
    """There is always something on its way; what matters is how long it takes. An age that began with the flow would
    grow with it, to half its length at the median."""
    oldest: list[float] = []
    stop = asyncio.Event()

    async def flow(bus: KafkaBus) -> None:
        version = 0
        while not stop.is_set():
            version += 1
            assert all(
                await bus.send([r for n in range(16) for r in records_of(f"counter-{n}", [version], kafka.topic)])
            )

    async def unhurried(_batch: Sequence[Received]) -> None:
        oldest.append(process.source.age_seconds())
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.05)

    process = Process(kafka, before=unhurried)
    async with _bus(kafka) as bus, process.running():
        await until(lambda: process.source.age_seconds() < 1, "it has joined")
        flowing, began = asyncio.create_task(flow(bus)), time.monotonic()
        await until(lambda: len(oldest) > 60, "the flow went on for a while")
        lasted = time.monotonic() - began
        stop.set()
        await flowing
    assert median(oldest) < lasted / 3


async def test_a_batch_that_hangs_ages_the_views_of_its_topic(kafka: Kafka) -> None:
    async def hang(_batch: Sequence[Received]) -> None:
        await asyncio.Event().wait()

    process = Process(kafka, before=hang, settings=replace(SOON, drain_seconds=0.1))
    async with _bus(kafka) as bus, process.running():
        await until(lambda: process.source.age_seconds(kafka.topic) < 1, "it has joined")
        await send(bus, records_of("counter-1", [1, 2], kafka.topic))
        await until(lambda: process.source.age_seconds(kafka.topic) > 2, "the views grow old")
        assert sum(process.source.lag().values()) == 2


async def test_a_watchdog_is_fed_while_kafka_is_away_and_not_by_a_consumer_that_is_stuck(
    kafka: Kafka, broker: EmbeddedKafka
) -> None:
    process = Process(kafka, settings=replace(SOON, silence_seconds=0.3))
    async with process.running():
        await until(lambda: process.polls > 2, "it polls")
        async with _silent(broker):
            await until(lambda: bool(process.held_up), "it says that Kafka is away")
            polls = process.polls
            await until(lambda: process.polls > polls + 1, "a new process would do no better")
        await until(lambda: process.source.age_seconds() < 1, "it is up to date again")
        process.source._consumer._fetcher._fetch_task.cancel()
        await until(lambda: process.source.age_seconds() > 1, "its fetches died")
        polls = process.polls
        await until(lambda: process.source.age_seconds() > 3, "nobody noticed")
        assert process.polls == polls


async def test_a_binary_header_does_not_disturb_its_batch(kafka: Kafka) -> None:
    async with _bus(kafka) as bus:
        first, second = records_of("counter-1", [1, 2], kafka.topic)
        await send(bus, [first])
        await _send_raw(kafka, first.key, second.value, [*_headers(second), ("x-binary", b"\xff\xfe\x00"), ("x", None)])
    process = Process(kafka)
    await process.run_until(kafka.all_committed, "all is committed")
    assert process.tallies["counter-1"].version == 2
    assert process.handled[-1].headers[-2:] == (("x-binary", b"\xff\xfe\x00"), ("x", None))


async def test_a_record_that_names_no_stream_is_held_by_its_place_and_stops_nothing(kafka: Kafka) -> None:
    await _send_raw(kafka, "counter-1", None, [("x-binary", b"\xff")])
    async with _bus(kafka) as bus:
        await send(bus, records_of("counter-1", [1], kafka.topic))
    process = Process(kafka)
    await process.run_until(kafka.all_committed, "all is committed")
    assert process.tallies["counter-1"].version == 1
    [entry] = process.held.kept.values()
    assert entry.stream.startswith(f"{kafka.topic}[{entry.partition}]@{entry.offset}.")
    assert (entry.key, entry.headers, entry.value) == (b"counter-1", (("x-binary", b"\xff"),), None)


async def test_a_fault_in_the_rebalance_listener_ends_the_source(kafka: Kafka) -> None:
    process = Process(kafka)

    def broken(_held: object) -> None:
        raise RuntimeError("planted in the listener")

    process.source._assigned = broken  # type: ignore[method-assign, assignment]
    with pytest.raises(RuntimeError, match="planted in the listener"):
        await process.run_until(lambda: False, "the source ends")


async def test_a_member_without_partitions_shows_signs_of_life(kafka: Kafka) -> None:
    members = [Process(kafka) for _ in range(5)]
    async with AsyncExitStack() as stack:
        for member in members:
            await stack.enter_async_context(member.running())
        await until(lambda: all(m.source._joined and m.polls for m in members), "all have joined")
        idle = [m for m in members if not m.source._consumer.assignment()]
        assert len(idle) == 1
        polls = idle[0].polls
        await until(lambda: idle[0].polls > polls + 2, "the spare one polls")


# ---- planted bugs: the checks above must see them


class _CrashesBeforeCommit(KafkaSource):
    async def _commit(self, offsets: dict[Any, int]) -> None:
        self._over.set()


class _CommitsBeforeTheFold(KafkaSource):
    async def _take(self, records: Sequence[Any]) -> None:
        committed = {}
        for record in records:
            committed[Kafka("", record.topic, "").partitions[record.partition]] = record.offset + 1
        await self._consumer.commit(committed)
        await super()._take(records)


async def test_planted_commit_before_fold_loses_what_a_crash_interrupts(kafka: Kafka) -> None:
    store = stored(streams=30, versions=4)
    async with _bus(kafka) as bus:
        await _drain(publisher(store, bus, kafka.topic))

    async def crash(_batch: Sequence[Received]) -> None:
        process.source._over.set()
        raise StoreUnavailable("crashed before the fold")

    process = Process(kafka, kind=_CommitsBeforeTheFold, before=crash)
    async with process.running() as task:
        await asyncio.wait([task])
    after = Process(kafka, process.views)
    await after.run_until(kafka.all_committed, "all is committed")
    assert after.tallies != await documents(store), "the bug was not seen"


async def test_planted_default_acknowledgement_of_the_framework_loses_a_failed_batch(kafka: Kafka) -> None:
    async with _bus(kafka) as bus:
        await send(bus, [r for n in range(20) for r in records_of(f"counter-{n}", [1], kafka.topic)])
    failed = asyncio.Event()

    async def raw(message: StreamMessage[Any]) -> Any:
        return message.raw_message

    # As the framework comes, but for where a new group begins: with its `latest` it would not even try.
    framework = KafkaBroker(kafka.bootstrap, logger=None)
    subscriber = framework.subscriber(
        kafka.topic, group_id=kafka.group, batch=True, auto_offset_reset="earliest", decoder=raw
    )

    @subscriber
    async def handle(_batch: Any) -> None:
        failed.set()
        raise StoreUnavailable("the database does not answer")

    await framework.start()
    await asyncio.wait_for(failed.wait(), 20)
    await framework.stop()
    after = Process(kafka)
    await after.run_until(kafka.all_committed, "all is committed")
    assert len(after.tallies) < 20, "the bug was not seen"


class _SendsAhead(Publisher):
    """Sends all of a stream without waiting for what comes before."""

    async def step(self, hints: Sequence[str] = ()) -> int:
        appends = await self._store.pending("unpublished", limit=100)
        pairs = [pair for append in appends for pair in self._pairs(append)]
        answers = await asyncio.gather(*(self._bus.send([record]) for record, _ in pairs))
        failed = False
        for append in appends:
            mine = [answer == [True] for answer, (_, of) in zip(answers, pairs, strict=True) if of is append]
            if all(mine):
                await self._store.clear("unpublished", [append])
            failed = failed or not all(mine)
        if failed:
            await self._bus.renew()
            raise Undelivered("planted")
        return len(appends)

    def _pairs(self, append: Append) -> list[tuple[Record, Append]]:
        return [(self._record(event), append) for event in own_events(self._deciders, append)]


@pytest.mark.parametrize(("kind", "keeps_order"), [(Publisher, True), (_SendsAhead, False)])
async def test_a_refused_record_holds_back_its_successors_unless_they_are_sent_ahead(
    broker: EmbeddedKafka, kind: type[Publisher], keeps_order: bool
) -> None:
    name = f"sample.counter.{next(_names)}"
    kafka = Kafka(broker.bootstrap, name, f"{name}.facts")
    await kafka.create(**{"max.message.bytes": "1000"})
    store = stored(streams=1, versions=3, per_append=1)
    async with _hasty(kafka) as bus:
        publishing = publisher(store, _FirstIsLarge(bus), name, kind=kind)
        with pytest.raises(Undelivered):
            await publishing.step()
        await _configure(kafka, {"max.message.bytes": "1000000"})
        await _drain(publishing)
    records = await kafka.records()
    assert ids_in(records) == ids_of(store)
    assert (order_faults(records) == []) is keeps_order


class _FirstIsLarge:
    """Version 1 gets a header that the topic's limit refuses, and so a batch of its own."""

    def __init__(self, bus: KafkaBus) -> None:
        self._bus = bus

    async def send(self, records: Sequence[Record]) -> list[bool]:
        return await self._bus.send([self._changed(record) for record in records])

    async def renew(self) -> None:
        await self._bus.renew()

    def _changed(self, record: Record) -> Record:
        if record.headers["ce_sequence"] != "1":
            return record
        return Record(record.topic, record.key, record.value, {**record.headers, "x-large": "x" * 300_000})


# ---- small helpers of these tests


async def _keep_publishing(store: Any, bus: KafkaBus, topic: str) -> None:
    publishing = publisher(store, bus, topic)
    for stream in (f"counter-{n % 60}" for n in count()):
        add(store, stream, 2)
        await publishing.step([stream])


@dataclass
class _Spoiling:
    """A bus on whose way one record becomes one that this release cannot read."""

    bus: KafkaBus
    event: str
    spoilt: list[Record] = field(default_factory=list)

    async def send(self, records: Sequence[Record]) -> list[bool]:
        return await self.bus.send([self._passed(record) for record in records])

    async def renew(self) -> None:
        await self.bus.renew()

    def _passed(self, record: Record) -> Record:
        if record.headers["ce_id"] != self.event:
            return record
        self.spoilt.append(replace(record, value=b"spoilt " + record.value))
        return self.spoilt[-1]


def _hash_of(documents: Mapping[str, Versioned]) -> str:
    content = {stream: (v.version, v.body) for stream, v in sorted(documents.items())}
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _headers(record: Record) -> list[tuple[str, bytes | None]]:
    return [(name, text.encode()) for name, text in record.headers.items()]


async def _send_raw(kafka: Kafka, key: str, value: bytes | None, headers: list[tuple[str, bytes | None]]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        await producer.send_and_wait(kafka.topic, key=key.encode(), value=value, headers=headers)


async def _configure(kafka: Kafka, configs: dict[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, kafka.topic, configs)])
    finally:
        await admin.close()
