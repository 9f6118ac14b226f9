"""Kafka behind the kernel's two needs: a bus that publishes and a source that consumes.

The only module that imports FastStream and aiokafka. Their defaults lose messages, so every option that matters is
written out here. Three private names of aiokafka 0.14 are used in `_abandon`: nothing public stops a producer that
retries for ever.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from faststream.kafka import KafkaBroker
from faststream.message import StreamMessage
from faststream.middlewares import AckPolicy

from eventcore.consume import Received
from eventcore.limits import (
    BACKOFF_FIRST_SECONDS,
    BACKOFF_LAST_SECONDS,
    CONSUMED_AT_ONCE_MAX,
    FETCH_BYTES_MAX,
    FETCH_PARTITION_BYTES_MAX,
    HANDLING_SECONDS_MAX,
    PRODUCE_BATCH_BYTES_MAX,
    PRODUCE_REQUEST_BYTES_MAX,
    REBUILT_FROM_AT_ONCE_MAX,
)
from eventcore.loops import Report
from eventcore.rebuild.sources import LogAway, Place
from eventcore.record import Record
from eventcore.store import StoreUnavailable

CLOSE_SECONDS = 0.5

_log = logging.getLogger(__name__)
# Not in the framework's own tree of loggers, which brings its own handler; at INFO it tells of every task.
_framework_log = logging.getLogger(f"{__name__}.framework")
_framework_log.setLevel(logging.WARNING)


class KafkaAway(Exception):
    """No broker answered."""


class TopicsMissing(Exception):
    """Kafka is there, the topics are not."""


async def probe_kafka(bootstrap: str, topics: Sequence[str], *, seconds: float = 2.0) -> None:
    """Asks Kafka once for these topics. Raises KafkaAway, or TopicsMissing naming them."""
    admin = AIOKafkaAdminClient(
        bootstrap_servers=bootstrap, client_id="credence-probe", request_timeout_ms=int(seconds * 1000)
    )
    try:
        async with asyncio.timeout(seconds):
            await admin.start()
            found = await admin.list_topics()
    except (KafkaError, OSError, TimeoutError) as error:
        raise KafkaAway(f"Kafka does not answer at {bootstrap}: {error!r}") from error
    finally:
        await admin.close()
    missing = sorted(set(topics) - set(found))
    if missing:
        raise TopicsMissing(
            f"Kafka at {bootstrap} has no topic {', '.join(missing)}: run `credence topics create`; "
            "of a topic that was there before, run `credence republish` first, so that it is filled in order"
        )


class KafkaBus:
    """The Publisher's bus: one idempotent producer, started by the first send, acknowledged by all replicas in sync.

    `delivery_seconds` bounds a send; what is not acknowledged by then counts as failed, though it may still land.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        client_id: str = "credence",
        request_seconds: float = 3.0,
        delivery_seconds: float = 4.0,
    ) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._request_ms = int(request_seconds * 1000)
        self._delivery_seconds = delivery_seconds
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def send(self, records: Sequence[Record]) -> list[bool]:
        """See `deliver.Bus`. Never raises: whatever aiokafka raises, that record was not acknowledged."""
        sent: dict[asyncio.Future[Any], int] = {}
        try:
            # aiokafka never gives up an idempotent record by itself: this deadline does.
            async with asyncio.timeout(self._delivery_seconds):
                producer = await self._started()
                for i, record in enumerate(records):
                    if future := await self._enqueue(producer, record):
                        sent[future] = i
                if sent:
                    await asyncio.wait(sent)
        except Exception as error:  # noqa: BLE001 (the contract: never raises)
            _log.warning("kafka-send-failed", extra={"error": type(error).__name__})
        acknowledged = [False] * len(records)
        for future, i in sent.items():
            future.add_done_callback(_settled)  # also of those that end later: an exception nobody reads is noise
            acknowledged[i] = future.done() and not future.cancelled() and future.exception() is None
        return acknowledged

    async def renew(self) -> None:
        """See `deliver.Bus`. What is on the wire may still land: a repetition, since it is sent again first."""
        async with self._starting:
            producer, self._producer = self._producer, None
            if producer is not None:
                await _abandon(producer)

    async def close(self) -> None:
        await self.renew()

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    client_id=self._client_id,
                    acks="all",
                    enable_idempotence=True,
                    # Bounds one try and the enqueueing; also how long the broker may wait for its replicas.
                    request_timeout_ms=self._request_ms,
                    max_request_size=PRODUCE_REQUEST_BYTES_MAX,
                    max_batch_size=PRODUCE_BATCH_BYTES_MAX,
                    # All of one send are enqueued before the sender runs, so they travel together without waiting.
                    linger_ms=0,
                    compression_type=None,
                    retry_backoff_ms=100,
                    metadata_max_age_ms=60_000,
                )
                try:
                    await producer.start()
                except BaseException:
                    await _abandon(producer)
                    raise
                self._producer = producer
            return self._producer

    async def _enqueue(self, producer: AIOKafkaProducer, record: Record) -> asyncio.Future[Any] | None:
        try:
            future: asyncio.Future[Any] = await producer.send(
                record.topic,
                value=record.value,
                key=record.key.encode(),  # the default partitioner: murmur2 of the key, as every other Kafka client
                headers=list(record.raw_headers),
            )
        except KafkaError as error:
            _log.warning(
                "kafka-record-refused", extra={"ce_id": record.headers.get("ce_id"), "error": type(error).__name__}
            )
            return None
        return future


def _settled(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


async def _abandon(producer: AIOKafkaProducer) -> None:
    """Closes a producer without delivering what it still holds.

    `stop()` flushes: with the broker away it waits for ever, and on its return it would send what was given up.
    """
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await producer._sender.close()
    except Exception as error:  # noqa: BLE001 (it is thrown away, whatever it died of)
        _log.info("kafka-producer-abandoned", extra={"error": type(error).__name__})
    producer._closed = True
    await producer.client.close()


@dataclass(frozen=True)
class SourceSettings:
    """Limits of one consumer.

    `attempt_seconds` bounds one handling of a batch; a watchdog on `polled` must allow for it.
    After `silence_seconds` without a sign of life, and every so often from then on, Kafka is asked whether it is away.
    `session_timeout_ms` is how soon a dead process' partitions move on; a paused one finds them gone, harmlessly.
    `max_poll_interval_ms` is how long one batch may be retried before the group gives its partitions to another:
    well above the longest outage of a store.
    """

    max_records: int = CONSUMED_AT_ONCE_MAX
    batch_timeout_ms: int = 50
    attempt_seconds: float = HANDLING_SECONDS_MAX
    drain_seconds: float = 10.0
    start_seconds: float = 30.0
    look_seconds: float = 0.5
    silence_seconds: float = 5.0
    session_timeout_ms: int = 10_000
    heartbeat_interval_ms: int = 300
    rebalance_timeout_ms: int = 10_000
    max_poll_interval_ms: int = 300_000
    # Above rebalance_timeout_ms: the broker answers a join only when the whole group has joined.
    request_timeout_ms: int = 15_000
    fetch_max_wait_ms: int = 500
    fetch_max_bytes: int = FETCH_BYTES_MAX
    max_partition_fetch_bytes: int = FETCH_PARTITION_BYTES_MAX


class KafkaSource:
    """Gives a group's records to `handle` in batches, and commits a batch only after it was handled.

    `handle` raises StoreUnavailable to get the same batch again; whatever else it raises ends the source for good,
    with nothing of the batch committed. `report` is told why a batch is held up (None: it moves).

    `polled` feeds a watchdog: it is called while a new process would do no better than this one. That is when every
    assigned partition's fetch was answered since the last time (the broker answers also when there is nothing), or,
    with nothing assigned, the group's coordinator answered; when a try at a batch ended, also in StoreUnavailable;
    and when Kafka as a whole is away. It is silent when Kafka answers others and this consumer does not get on:
    it never rejoined its group, its fetches died, or what it fetched is no longer taken.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        topics: Sequence[str],
        group: str,
        handle: Callable[[Sequence[Received]], Awaitable[None]],
        report: Report,
        polled: Callable[[], None] = lambda: None,
        settings: SourceSettings = SourceSettings(),
    ) -> None:
        self._bootstrap = bootstrap
        self._topics = tuple(topics)
        self._group = group
        self._handle = handle
        self._report = report
        self._polled = polled
        self._settings = settings
        self._over = asyncio.Event()
        self._reason: Exception | None = None
        self._consumer: Any = None
        self._joined = False
        self._next: dict[TopicPartition, int] = {}  # what this assignment has handled: the next offset
        self._answered = 0  # the oldest answer among the assigned partitions' newest ones
        self._held: frozenset[TopicPartition] = frozenset()  # the last assignment, also while the next one is made
        self._complete: dict[TopicPartition, float] = {}  # all that was published by then is handled
        self._aims: dict[TopicPartition, tuple[float, int]] = {}  # when the log was seen to end at this offset
        self._heard = -math.inf  # the last answer, also of the coordinator alone
        self._alive_at = time.monotonic()
        self._away = False

    async def run(self) -> None:
        """Until `stop`, or cancelled: the batch in hand is finished and committed, within `drain_seconds`.

        Raises TooManyFaults, WrongEpoch, or whatever else `handle` raised. Kafka away at the start is waited for.
        """
        broker: KafkaBroker | None = None
        looking: asyncio.Task[None] | None = None
        try:
            broker = await self._started()
            looking = asyncio.create_task(self._look_forever(), name="kafka-look")
            await self._over.wait()
        finally:
            self._over.set()
            if looking is not None:
                looking.cancel()
            if broker is not None:
                await self._closed(broker)
        if self._reason is not None:
            raise self._reason

    async def stop(self) -> None:
        """Asks `run` to finish."""
        self._over.set()

    def lag(self) -> dict[tuple[str, int], int]:
        """(topic, partition): records published, as of the last fetch, and not yet handled; the held ones only."""
        held = {} if self._consumer is None else {tp: self._next.get(tp) for tp in self._consumer.assignment()}
        return {
            (tp.topic, tp.partition): max(0, highwater - handled)
            for tp, handled in held.items()
            if handled is not None and (highwater := self._consumer.highwater(tp)) is not None
        }

    def age_seconds(self, topic: str | None = None) -> float:
        """How old the views of this topic, or of all, may be: all that was published to the held partitions before
        so many seconds is handled. Grows while Kafka is away or the consumer is behind; infinite before the first
        time."""
        mine = [tp for tp in self._held if topic in (None, tp.topic)]
        complete = min((self._complete.get(tp, -math.inf) for tp in mine), default=self._heard)
        return time.monotonic() - complete

    # ---- start and end

    async def _started(self) -> KafkaBroker | None:
        """A broker that has joined the group, however long Kafka is away; None when stopped before."""
        backoff = BACKOFF_FIRST_SECONDS
        while not self._over.is_set():
            broker = self._subscribed()
            try:
                async with asyncio.timeout(self._settings.start_seconds):
                    await broker.start()
            except (KafkaError, OSError, TimeoutError) as error:
                await self._closed(broker)
                if not await self._kafka_is_away():
                    self._report(f"Kafka does not let {self._group} join: {error!r}")
                await self._pause(backoff)
                backoff = min(backoff * 2, BACKOFF_LAST_SECONDS)
            except BaseException:
                await self._closed(broker)
                raise
            else:
                self._report(None)
                return broker
        return None

    def _subscribed(self) -> KafkaBroker:
        s = self._settings
        broker = KafkaBroker(
            self._bootstrap.split(","),
            client_id=self._group,
            consumer_only=True,
            allow_auto_create_topics=False,
            request_timeout_ms=s.request_timeout_ms,
            retry_backoff_ms=100,
            metadata_max_age_ms=60_000,
            graceful_timeout=s.drain_seconds,
            ack_policy=AckPolicy.MANUAL,
            apply_types=False,
            logger=_framework_log,
            log_level=logging.DEBUG,
        )
        subscriber = broker.subscriber(
            *self._topics,
            group_id=self._group,
            batch=True,
            max_records=s.max_records,
            batch_timeout_ms=s.batch_timeout_ms,
            # Every other policy commits by itself: before the handler, after its failure, or past it.
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
            # The framework's own parser decodes every header as UTF-8; a binary one would drop the whole batch.
            parser=_untouched,
            decoder=_raw_records,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            check_crcs=True,
            session_timeout_ms=s.session_timeout_ms,
            heartbeat_interval_ms=s.heartbeat_interval_ms,
            rebalance_timeout_ms=s.rebalance_timeout_ms,
            max_poll_interval_ms=s.max_poll_interval_ms,
            fetch_min_bytes=1,
            fetch_max_wait_ms=s.fetch_max_wait_ms,
            fetch_max_bytes=s.fetch_max_bytes,
            max_partition_fetch_bytes=s.max_partition_fetch_bytes,
            listener=_Listener(self._assigned, self._end),
        )

        async def take(records: Sequence[Any]) -> None:
            self._consumer = subscriber.consumer
            await self._take(records)

        subscriber(take)
        self._subscriber = subscriber
        return broker

    async def _closed(self, broker: KafkaBroker) -> None:
        # Twice: the framework waits for the batch in hand first, then the client leaves its group.
        try:
            async with asyncio.timeout(2 * self._settings.drain_seconds):
                await broker.stop()
        except Exception as error:  # noqa: BLE001 (the group notices a member that did not say goodbye)
            _log.warning("kafka-consumer-not-closed", extra={"group": self._group, "error": type(error).__name__})

    def _end(self, error: Exception) -> None:
        self._reason = self._reason or error
        self._over.set()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()

    # ---- one batch

    async def _take(self, records: Sequence[Any]) -> None:
        """The framework swallows what a handler raises and goes on with the next batch, whose commit would cover
        this one: so whatever is raised ends the source, and once it is over nothing is handled or committed."""
        try:
            await self._fold_and_commit(records)
        except Exception as error:  # noqa: BLE001 (see above)
            self._end(error)

    async def _fold_and_commit(self, records: Sequence[Any]) -> None:
        handled: dict[TopicPartition, int] = {}
        for record in reversed(records):
            tp = TopicPartition(record.topic, record.partition)
            handled.setdefault(tp, record.offset + 1)
            self._next[tp] = record.offset
        batch = [_received(record) for record in records]
        if not await self._handled(batch):
            return
        self._next.update(handled)
        # Exactly this batch: the framework's own ack would commit the position of every assigned partition.
        await self._commit(handled)
        self._alive()
        for tp in handled:
            self._reached(tp)

    async def _handled(self, batch: Sequence[Received]) -> bool:
        """Handles one batch, however long the store is away; False when the source ended instead.

        Heartbeats go on in the background meanwhile, so the group keeps this member and its partitions.
        """
        backoff = BACKOFF_FIRST_SECONDS
        while not self._over.is_set():
            attempt = asyncio.timeout(self._settings.attempt_seconds)
            try:
                async with attempt:
                    await self._handle(batch)
            except StoreUnavailable as error:
                held_up = str(error)
            except TimeoutError:
                if not attempt.expired():
                    raise
                held_up = f"a batch was not handled within {self._settings.attempt_seconds:g} s"
            else:
                self._report(None)
                return True
            self._report(held_up)
            self._alive()
            await self._pause(backoff)
            backoff = min(backoff * 2, BACKOFF_LAST_SECONDS)
        return False

    async def _commit(self, offsets: dict[TopicPartition, int]) -> None:
        try:
            # Waits while the coordinator is away: there is nothing to consume then either.
            await self._consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError):
            # A rebalance came between: whoever holds the partitions now gets the batch again, harmlessly.
            _log.info("kafka-commit-too-late", extra={"group": self._group})
        except KafkaError as error:
            # Not lost either: the next commit covers it, or the batch comes again.
            _log.warning("kafka-commit-failed", extra={"group": self._group, "error": type(error).__name__})
            self._report(f"the offsets of {self._group} are not committed: {error!r}")

    # ---- how it stands

    def _assigned(self, partitions: frozenset[TopicPartition] | None) -> None:
        self._joined = partitions is not None
        if partitions is not None:
            self._held = partitions
            self._complete = {tp: at for tp, at in self._complete.items() if tp in partitions}
        self._aims.clear()
        self._next.clear()
        self._answered = 0

    def _alive(self) -> None:
        self._alive_at = time.monotonic()
        self._polled()

    async def _look_forever(self) -> None:
        try:
            while True:
                began = time.monotonic()
                await asyncio.sleep(self._settings.look_seconds)
                if await self._gets_answers(self._subscriber.consumer):
                    self._alive()
                    if self._away:
                        self._away = False
                        self._report(None)
                    self._heard = began
                    # Not all that is held: during a rebalance aiokafka already refuses to speak of what goes.
                    for tp in self._held & self._consumer.assignment():
                        self._aim(tp, began)
                elif time.monotonic() - self._alive_at > self._settings.silence_seconds:
                    await self._kafka_is_away()
        except Exception as error:  # noqa: BLE001 (a source that cannot be watched must not look well)
            self._end(error)

    async def _gets_answers(self, consumer: Any) -> bool:
        """Whether the broker answered every fetch anew since the last look."""
        self._consumer = consumer
        if consumer is None or not (held := consumer.assignment()):
            return self._joined and await self._coordinator_answers(consumer)
        answered = min(consumer.last_poll_timestamp(tp) or 0 for tp in held)
        if not answered or answered == self._answered:
            return False
        self._answered = answered
        for tp in held - self._next.keys():  # nothing came from it yet: its position is where this assignment began
            with suppress(IllegalStateError):  # it has just been taken away
                self._next[tp] = await consumer.position(tp)
        return True

    async def _kafka_is_away(self) -> bool:
        """Asks whether Kafka as a whole is away, and if so says so and counts as alive: a restart would not help."""
        try:
            await probe_kafka(self._bootstrap, (), seconds=self._settings.silence_seconds)
        except KafkaAway as error:
            self._away = True
            self._report(str(error))
            self._alive()
            return True
        return False

    async def _coordinator_answers(self, consumer: Any) -> bool:
        try:
            async with asyncio.timeout(self._settings.request_timeout_ms / 1000):
                await consumer.committed(TopicPartition(self._topics[0], 0))
        except (KafkaError, TimeoutError):
            return False
        return True

    # While events flow without a pause there is always one on its way, and the end of the log is never reached. So
    # the end as it was seen at one moment is aimed at, then the next; reaching it says that all before that moment is
    # handled.

    def _aim(self, tp: TopicPartition, seen: float) -> None:
        self._reached(tp)
        if tp not in self._aims and (end := self._consumer.highwater(tp)) is not None:
            self._aims[tp] = (seen, end)
            self._reached(tp)

    def _reached(self, tp: TopicPartition) -> None:
        seen, end = self._aims.get(tp, (0.0, 0))
        if tp in self._aims and self._next.get(tp, -1) >= end:
            self._complete[tp] = seen
            del self._aims[tp]


class KafkaLog:
    """Topics read without a group, from wherever one likes: what a rebuild reads (`rebuild.Log`).

    A broker that does not answer for `silence_seconds` is away. One reader at a time.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        topics: Sequence[str],
        silence_seconds: float = 15.0,
        settings: SourceSettings = SourceSettings(max_records=REBUILT_FROM_AT_ONCE_MAX),
    ) -> None:
        self._bootstrap = bootstrap
        self._topics = tuple(topics)
        self._silence_seconds = silence_seconds
        self._settings = settings
        self._consumer: Any = None

    async def bounds(self) -> dict[Place, tuple[int, int]]:
        """See `rebuild.Log`."""
        try:
            async with asyncio.timeout(self._silence_seconds):
                consumer = await self._started()
                held = consumer.assignment()
                first, end = await consumer.beginning_offsets(held), await consumer.end_offsets(held)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise LogAway(f"Kafka does not tell how far {', '.join(self._topics)} go: {error!r}") from error
        return {(tp.topic, tp.partition): (first[tp], end[tp]) for tp in held}

    async def read(self, start: Mapping[Place, int], end: Mapping[Place, int]) -> AsyncIterator[Sequence[Received]]:
        """See `rebuild.Log`."""
        try:
            async for batch in self._batches(start, end):
                yield batch
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise LogAway(f"Kafka does not give {', '.join(self._topics)} to their end: {error!r}") from error

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(self._silence_seconds):
                    await consumer.stop()

    async def _batches(self, start: Mapping[Place, int], end: Mapping[Place, int]) -> AsyncIterator[Sequence[Received]]:
        consumer = await self._started()
        left = {TopicPartition(*place): end[place] for place in end if start.get(place, 0) < end[place]}
        consumer.pause(*consumer.assignment())
        for tp in left:
            consumer.seek(tp, start.get((tp.topic, tp.partition), 0))
        consumer.resume(*left)
        heard = time.monotonic()
        while left:
            found = await consumer.getmany(
                *left, timeout_ms=self._settings.batch_timeout_ms, max_records=self._settings.max_records
            )
            if found:
                heard = time.monotonic()
            elif time.monotonic() - heard > self._silence_seconds:
                raise TimeoutError(f"nothing came for {self._silence_seconds:g} s")
            # Of all partitions together: what is near the ends is a few records of each, and every batch is a fold.
            if wanted := [_received(r) for tp, records in found.items() for r in records if r.offset < left[tp]]:
                yield wanted
            # Asked of the consumer, not of the records: the last offsets of a log may hold none.
            for tp in [tp for tp in left if await consumer.position(tp) >= left[tp]]:
                consumer.pause(tp)
                del left[tp]

    async def _started(self) -> Any:
        if self._consumer is None:
            s = self._settings
            consumer = AIOKafkaConsumer(
                *self._topics,
                bootstrap_servers=self._bootstrap,
                client_id="credence-rebuild",
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                check_crcs=True,
                request_timeout_ms=s.request_timeout_ms,
                retry_backoff_ms=100,
                fetch_max_wait_ms=s.fetch_max_wait_ms,
                fetch_max_bytes=s.fetch_max_bytes,
                max_partition_fetch_bytes=s.max_partition_fetch_bytes,
            )
            try:
                async with asyncio.timeout(s.start_seconds):
                    await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            self._consumer = consumer
        return self._consumer


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Follows the assignment. aiokafka swallows what a listener raises, so it is recorded and ends the source."""

    def __init__(
        self, assigned: Callable[[frozenset[TopicPartition] | None], None], failed: Callable[[Exception], None]
    ) -> None:
        self._assigned = assigned
        self._failed = failed

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._tell(None)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._tell(frozenset(assigned))

    def _tell(self, partitions: frozenset[TopicPartition] | None) -> None:
        try:
            self._assigned(partitions)
        except Exception as error:  # noqa: BLE001 (see the class)
            self._failed(error)


async def _untouched(records: Any) -> StreamMessage[Any]:
    # Also without a `reply_to` header, on which the framework would publish an answer.
    return StreamMessage(raw_message=records, body=b"", message_id="", correlation_id="-")


async def _raw_records(message: StreamMessage[Any]) -> Any:
    return message.raw_message


def _received(record: Any) -> Received:
    return Received(record.topic, record.partition, record.offset, record.key, tuple(record.headers), record.value)
