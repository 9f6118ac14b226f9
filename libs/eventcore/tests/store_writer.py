"""Writers that race on one stream through the real Executor, as tasks of this process or as a process of their own."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

from eventcore.decider import Command, Decider, Refusal
from eventcore.event import Event
from eventcore.execute import Executor, Request
from eventcore.mongo import connect
from eventcore.outcome import Status
from eventcore.store import AppendStore

DIGEST_KEY = b"a key for tests"


class Counted(Event):
    stored_type: ClassVar[str] = "tally.counted.v1"
    number: int


class Count(Command):
    by: int = 1


def _evolve(state: int, event: Counted, _version: int) -> int:
    return event.number


def _decide(command: Count, state: int, _now: datetime) -> Sequence[Counted] | Refusal:
    return [Counted(number=state + 1 + i) for i in range(command.by)]


TALLY: Decider[int, Count, Counted] = Decider("tally", (Counted,), 0, _evolve, _decide)


async def write(store: AppendStore, stream: str, writer: str, commands: int) -> dict[str, int]:
    """Sends each command with one id until it is acknowledged; gives the version each was acknowledged with."""
    chance = random.Random(writer)

    async def pause(attempt: int) -> None:
        await asyncio.sleep(chance.random() * 0.005 * attempt)

    executor = Executor(store, DIGEST_KEY, pause=pause)
    acknowledged: dict[str, int] = {}
    for n in range(commands):
        command = Request(stream, f"{writer}-{n}", Count(by=1 + n % 2), writer, datetime.now(UTC))
        while command.id not in acknowledged:
            [outcome] = await executor.execute(TALLY, [command])
            if outcome.status in (Status.ACCEPTED, Status.REPLAYED):
                acknowledged[command.id] = outcome.version
            else:
                assert outcome.status in (Status.ABORTED, Status.UNKNOWN), outcome
                await pause(10)
    return acknowledged


async def write_all(store: AppendStore, stream: str, writers: Sequence[str], commands: int) -> dict[str, int]:
    """All writers at once."""
    answers = await asyncio.gather(*(write(store, stream, w, commands) for w in writers))
    return {id_: version for answer in answers for id_, version in answer.items()}


async def main(uri: str, database: str, stream: str, commands: int, writers: Sequence[str]) -> None:
    stores = await connect(uri, database)
    print(json.dumps(await write_all(stores.appends, stream, writers, commands)))
    await stores.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:]))
