"""The loops, on real parts: whoever waits gets a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count

from eventcore.deliver import Publisher
from eventcore.loops import Wake, deliver_forever
from eventcore.record import Record

from .kafka_rig import until
from .sample import JAR, drop, executor, public
from .test_deliver import stored

BACKLOG = 200


async def test_a_backlog_goes_out_though_there_is_always_something_fresher() -> None:
    """Each send is at once followed by a fresh append, so that the hints never end."""
    store, wake, number = await stored(*((f"jar-{n}--a", 1) for n in range(BACKLOG))), Wake(), count()

    class Busy:
        async def send(self, records: Sequence[Record]) -> list[bool]:
            await asyncio.sleep(0)
            stream = f"jar-{next(number)}--live"
            await executor(store).execute(JAR, [drop(stream, "k", 1)])
            wake([stream])
            return [True] * len(records)

        async def renew(self) -> None:
            return None

    work = Publisher(store, {"jar": JAR}, public, Busy(), topic="jars.v1", source="sample", limit=5)
    running = asyncio.create_task(deliver_forever(work, wake, report=lambda _: None, done=lambda _: None))
    try:
        await until(lambda: not any(s.endswith("--a") for s, _ in store.marked["unpublished"]), "the backlog is out")
    finally:
        running.cancel()
