"""A consumer that cannot join because nothing listens: it waits, says so, and is no reason to restart its process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from eventcore.consume import Received
from eventcore.kafka import KafkaSource


async def test_a_consumer_that_waits_for_kafka_to_join_counts_as_alive() -> None:
    told: list[str | None] = []
    beats = asyncio.Semaphore(0)

    async def handle(_batch: Sequence[Received]) -> None:
        raise AssertionError("there is nobody to get a record from")

    source = KafkaSource(
        "127.0.0.1:1", topics=["any.v1"], group="any", handle=handle, report=told.append, polled=beats.release
    )
    running = asyncio.create_task(source.run())
    async with asyncio.timeout(20):
        await beats.acquire()
        await beats.acquire()
        await source.stop()
        await running
    assert {(problem or "").partition(" at ")[0] for problem in told} == {"Kafka does not answer"}
