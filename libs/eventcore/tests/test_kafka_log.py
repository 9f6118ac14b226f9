"""Topics read without a group, on a real Kafka: from anywhere, to the ends that were asked for, and no further."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio

from eventcore.kafka import KafkaBus, KafkaLog, SourceSettings
from eventcore.rebuild import LogAway
from tests.servers import Servers

from .kafka_rig import Kafka, records_of, send

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]
_names = count(1)


@pytest_asyncio.fixture
async def topic(servers: Servers) -> Kafka:
    made = Kafka(servers.kafka_bootstrap, f"sample.log.{next(_names)}", "nobody")
    await made.create()
    return made


@pytest_asyncio.fixture
async def log(topic: Kafka) -> AsyncIterator[KafkaLog]:
    made = KafkaLog(topic.bootstrap, topics=[topic.topic])
    try:
        yield made
    finally:
        await made.close()


async def fill(topic: Kafka, streams: int, first: int, last: int) -> None:
    bus = KafkaBus(topic.bootstrap)
    try:
        for n in range(streams):
            await send(bus, records_of(f"counter-{n}", range(first, last + 1), topic.topic))
    finally:
        await bus.close()


async def read(
    log: KafkaLog, start: dict[tuple[str, int], int], end: dict[tuple[str, int], int]
) -> Counter[tuple[int, int]]:
    """(partition, offset) of every record, and that each partition comes in order."""
    found: list[tuple[int, int]] = []
    async for batch in log.read(start, end):
        found += [(r.partition, r.offset) for r in batch]
    for partition in {p for p, _ in found}:
        offsets = [o for p, o in found if p == partition]
        assert offsets == sorted(offsets)
    return Counter(found)


async def test_no_more_is_given_at_once_than_is_folded_at_once(topic: Kafka) -> None:
    log = KafkaLog(topic.bootstrap, topics=[topic.topic], settings=SourceSettings(max_records=3))
    try:
        await fill(topic, 4, 1, 5)
        ends = {place: end for place, (_, end) in (await log.bounds()).items()}
        sizes = [len(batch) async for batch in log.read({}, ends)]
    finally:
        await log.close()
    assert (sum(sizes), max(sizes)) == (20, 3)


async def test_everything_is_read_once_to_the_ends_that_were_asked_for(topic: Kafka, log: KafkaLog) -> None:
    await fill(topic, 7, 1, 30)
    bounds = await log.bounds()
    end = {place: last for place, (_, last) in bounds.items()}
    await fill(topic, 7, 31, 35)

    found = await read(log, {}, end)

    assert found == Counter((p, o) for (_, p), last in end.items() for o in range(last))
    assert sum(found.values()) == 7 * 30


async def test_reading_goes_on_from_anywhere_and_again(topic: Kafka, log: KafkaLog) -> None:
    await fill(topic, 3, 1, 10)
    end = {place: last for place, (_, last) in (await log.bounds()).items()}
    half = {place: last // 2 for place, last in end.items()}

    first, second, again = await read(log, {}, half), await read(log, half, end), await read(log, {}, end)

    assert not first & second
    assert first + second == again
    assert await read(log, end, end) == Counter()


async def test_a_topic_that_is_not_there_or_a_broker_that_is_not_is_told() -> None:
    log = KafkaLog("127.0.0.1:1", topics=["sample.log.none"], silence_seconds=1)
    with pytest.raises(LogAway, match=r"sample\.log\.none"):
        await log.bounds()
    await log.close()
