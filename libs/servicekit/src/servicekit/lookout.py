"""Looks, once a second, how far each consumer of this service is behind, and says it: in `/ready`, in the metrics and
over gRPC it is then the same.

A consumer is whatever has yet to handle what is stored or published: the own fold, the publisher, each topic listened
to, each evaluation. That one says by itself that it moves proves nothing, since what is stuck says nothing; what waits
for it does.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from eventcore.kafka import KafkaSource
from eventcore.store import Mark, Outbox, TargetStore
from servicekit.health import Behind, Check, Health
from servicekit.limits import COUNTED_MAX

# Told within 5 s: behind for so long, seen at the next look.
BEHIND_SECONDS_MAX = 2.5
LOOK_EVERY_SECONDS = 1.0
# What is told as behind is looked at more rarely: a look reads what waits, of a database that has enough to do.
LOOK_AGAIN_SECONDS = 2.0
LOOK_SECONDS_MAX = 2.0
# Without a look for so long the check fails: a lookout that stopped looking must not look well.
SILENCE_SECONDS_MAX = 5.0

T = TypeVar("T")
Look = Callable[[], Awaitable[Behind]]


@dataclass(frozen=True)
class Lookout:
    """`looks`: how to look at each consumer, by its name."""

    health: Health
    looks: Mapping[str, Look]

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            # Each by itself: one that takes long must not keep the others from being told.
            for name, look in self.looks.items():
                group.create_task(self._watch(name, look))

    async def _watch(self, name: str, look: Look) -> None:
        check = self.health.check(f"{name}-lag", max_age_seconds=SILENCE_SECONDS_MAX)
        full_since: float | None = None
        while True:
            pause = LOOK_EVERY_SECONDS
            if (behind := await looked(look, check.degraded, "how far it is behind")) is not None:
                now = time.monotonic()
                full_since = (full_since or now) if behind.more else None
                if full_since is not None:
                    # The oldest of those counted may be a young one.
                    behind = replace(behind, age_seconds=max(behind.age_seconds or 0.0, now - full_since))
                self.health.tell_behind(name, behind)
                _tell(check, behind)
                if (behind.age_seconds or 0.0) > BEHIND_SECONDS_MAX:
                    pause = LOOK_AGAIN_SECONDS
            await asyncio.sleep(pause)


async def looked(look: Callable[[], Awaitable[T]], problem: Callable[[str], None], what: str) -> T | None:
    """What a look saw. None when it could not be made, or took too long: then it was told as a problem."""
    try:
        async with asyncio.timeout(LOOK_SECONDS_MAX):
            return await look()
    except TimeoutError:
        problem(f"not known {what}: no answer within {LOOK_SECONDS_MAX:g} s")
    except Exception as error:  # noqa: BLE001 - told; whatever keeps us from looking, look again
        problem(f"not known {what}: {type(error).__name__}: {error}"[:200])
    return None


def _tell(check: Check, behind: Behind) -> None:
    age = behind.age_seconds
    if age is None:
        check.degraded("it has not caught up since this process started")
    elif age <= BEHIND_SECONDS_MAX:
        check.ok()
    else:
        more = " or more" if behind.more else ""
        check.degraded(f"behind by {age:.1f} s; {behind.waiting}{more} waiting")


def appends_behind(store: Outbox, mark: Mark, clock: Callable[[], datetime]) -> Look:
    """How much of the own log is not folded, or not published."""

    async def look() -> Behind:
        backlog = await store.backlog(mark, limit=COUNTED_MAX)
        age = 0.0 if backlog.oldest is None else max(0.0, (clock() - backlog.oldest).total_seconds())
        return Behind(backlog.events, age, backlog.more)

    return look


def topic_behind(source: KafkaSource, topic: str) -> Look:
    """How much of a topic this process has yet to fold, of the partitions it holds."""

    async def look() -> Behind:
        age = source.age_seconds(topic)
        # Of a broker that is away the last known lag says nothing any more, but it is the last known.
        lag = sum(events for (of, _), events in source.lag().items() if of == topic)
        return Behind(None, None) if math.isinf(age) else Behind(lag, age)

    return look


@dataclass
class TargetsBehind:
    """How many targets of an evaluation are dirty or due, and for how long the first of them was seen to be.

    A target keeps its place as long as its revision stays: a higher one was marked, or finished and marked, since.
    """

    targets: TargetStore
    evaluation: str
    clock: Callable[[], datetime]
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)

    async def __call__(self) -> Behind:
        due = await self.targets.due(self.evaluation, self.clock(), limit=COUNTED_MAX + 1)
        now = time.monotonic()
        self._seen = {t: (r, self._since(t, r, now)) for t, r in due.items()}
        oldest = min((since for _, since in self._seen.values()), default=now)
        return Behind(min(len(due), COUNTED_MAX), now - oldest, len(due) > COUNTED_MAX)

    def _since(self, target: str, revision: int, now: float) -> float:
        known, since = self._seen.get(target, (revision, now))
        return since if known == revision else now
