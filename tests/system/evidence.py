"""What is really there after a storm: the appends in the services' databases and the records on the topics.

Read with the plain drivers, not with the code under test; only the mapping from stored to public events is the
services' own, for that is what the topic must equal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from pymongo import MongoClient

from accreditation.main import PARTS as ACCREDITATION
from enrolment.main import PARTS as ENROLMENT
from eventcore.event import Recorded, StoredEvent
from eventcore.record import MARKER_TYPE
from mentoring.main import PARTS as MENTORING
from servicekit.runtime import Parts, published

KNOWN_SECONDS = 10.0
SERVICES = {parts.name: parts for parts in (ENROLMENT, ACCREDITATION, MENTORING)}


@dataclass(frozen=True)
class Acknowledged:
    """A row that a service said it has stored."""

    command_id: str
    stream: str
    version: int


@dataclass(frozen=True)
class Public:
    """An event as others may see it: what the store says must be on the topic, or what is there."""

    stream: str
    version: int
    type: str
    data: bytes


@dataclass(frozen=True)
class Stored:
    """A service's appends of one run: the steps, and every event in its public form, in the store's order."""

    steps: tuple[Acknowledged, ...]
    events: tuple[Public, ...]


class Databases:
    """The services' databases, with the plain driver."""

    def __init__(self, uri: str) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(uri, tz_aware=True)

    def close(self) -> None:
        self._client.close()

    def existing(self) -> list[str]:
        """The services' databases that are there already."""
        return sorted({f"credence_{name}" for name in SERVICES} & set(self._client.list_database_names()))

    def _appends(self, service: str, where: dict[str, Any]) -> list[dict[str, Any]]:
        return list(self._client[f"credence_{service}"]["appends"].find(where))

    def undelivered(self, service: str) -> int:
        """How many appends are not yet folded, or not yet published."""
        marked = [self._appends(service, {mark: True}) for mark in ("unfolded", "unpublished")]
        return sum(len(found) for found in marked)

    def steps_of(self, service: str, actor: str) -> int:
        """How many commands this actor ever had stored."""
        return len(self._appends(service, {"steps.actor": actor}))

    def operations_of(self, service: str, actor: str) -> int:
        """How many operations are recorded of this actor."""
        return self._client[f"credence_{service}"]["operations"].count_documents({"actor": actor})


def public(parts: Parts, document: dict[str, Any]) -> list[Public]:
    codecs = {decider.category: decider.codec for decider in parts.deciders}
    codec = codecs[document["stream"].partition("-")[0]]
    to_wire, events = published(parts.public), []
    for version, stored in enumerate(document["events"], start=document["first"]):
        event = codec.decode(StoredEvent(stored["type"], stored["data"]))
        wire = to_wire(Recorded(document["stream"], version, event, document["recorded"]))
        named = (wire.type, wire.data) if wire else (MARKER_TYPE, b"")
        events.append(Public(document["stream"], version, *named))
    return events


async def on_topic(bootstrap: str, topic: str, run: str) -> list[Public]:
    """Every record of the topic whose key holds `run`, each partition in its order."""
    return [as_public(record) for record in await records(bootstrap, topic) if run in record.key.decode()]


async def records(bootstrap: str, topic: str) -> list[Any]:
    """Every record of the topic as the driver gives it, each partition in its order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        numbers = await _partitions(consumer, topic)
        partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: dict[int, list[Any]] = {number: [] for number in sorted(numbers)}
        while any([await consumer.position(p) < ends[p] for p in partitions]):
            for partition, batch in (await consumer.getmany(timeout_ms=200)).items():
                found[partition.partition] += batch
    finally:
        await consumer.stop()
    return [record for batch in found.values() for record in batch]


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    """A topic that was made just now is not known everywhere at once."""
    async with asyncio.timeout(KNOWN_SECONDS):
        while True:
            await consumer._client.force_metadata_update()
            if numbers := consumer.partitions_for_topic(topic):
                return set(numbers)


def as_public(record: Any) -> Public:
    headers = dict(record.headers)
    return Public(
        headers["ce_subject"].decode(), int(headers["ce_sequence"]), headers["ce_type"].decode(), record.value or b""
    )


# The checks. Each gives what is wrong, nothing when all is well; tests/reliability shows each red.


def twice(stored: Stored) -> list[str]:
    """Commands that took effect more than once (P7)."""
    seen: set[tuple[str, str]] = set()
    found = []
    for step in stored.steps:
        if (step.stream, step.command_id) in seen:
            found.append(f"{step.stream}: {step.command_id}")
        seen.add((step.stream, step.command_id))
    return found


def holes(stored: Stored) -> list[str]:
    """Streams whose versions do not run 1, 2, 3 … (P2)."""
    versions: dict[str, list[int]] = {}
    for event in stored.events:
        versions.setdefault(event.stream, []).append(event.version)
    return [stream for stream, found in versions.items() if found != list(range(1, len(found) + 1))]


def unpublished(stored: Stored, topic: Sequence[Public]) -> list[Public]:
    """Stored and not on the topic in its public form (P3)."""
    there = set(topic)
    return [event for event in stored.events if event not in there]


def invented(stored: Stored, topic: Sequence[Public]) -> list[Public]:
    """On the topic and not stored (P4)."""
    there = set(stored.events)
    return [event for event in topic if event not in there]


def out_of_order(topic: Sequence[Public]) -> list[str]:
    """Where a stream's first occurrences do not come in version order, without a gap (P5)."""
    last: dict[str, int] = {}
    found = []
    for event in topic:
        seen = last.get(event.stream, 0)
        if event.version > seen + 1:
            found.append(f"{event.stream}@{event.version} after @{seen}")
        last[event.stream] = max(seen, event.version)
    return found
