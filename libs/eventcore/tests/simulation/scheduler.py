"""Runs coroutines by hand: one step of one process at a time, chosen by the seed.

A step reaches from one await of a store or bus operation to the next; what a process computes in between, nobody
sees half done. So every interleaving that could matter is one that a seed can choose, and the same seed chooses the
same one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Generator
from types import coroutine

STEPS_MAX = 60_000

Process = Coroutine[str, None, None]


class Violation(Exception):
    """A property does not hold. The first argument names it."""


@coroutine
def give_way(operation: str) -> Generator[str, None, None]:
    """Lets others run before `operation` takes effect."""
    yield operation


IDLE = "idle"


async def idle() -> None:
    """Nothing to do until something happens."""
    await give_way(IDLE)


class Scheduler:
    """Processes by name. A started one is made anew by its factory after a crash; a spawned one never crashes."""

    def __init__(self, r: random.Random) -> None:
        self._r = r
        self.now = 0
        self.steps = 0
        self.changes = 0  # whatever another process could see
        self.me = ""
        self._tasks: dict[str, Process] = {}
        self._factories: dict[str, Callable[[], Process]] = {}
        self._asleep: dict[str, int] = {}
        self._idle: set[str] = set()
        self._names: list[str] = []
        self._slow: set[str] = set()
        self._pace = 1.0  # of the slow ones
        self._spawned = 0

    def start(self, name: str, factory: Callable[[], Process]) -> None:
        self._tasks[name] = factory()
        self._factories[name] = factory
        self._names = list(self._tasks)

    def spawn(self, kind: str, process: Process) -> None:
        self._spawned += 1
        self.changes += 1
        self._tasks[f"{kind}{self._spawned}"] = process
        self._names = list(self._tasks)

    def stop(self, name: str) -> None:
        """Kills a process at the await where it stands."""
        if name in self._tasks:
            self._tasks.pop(name).close()
            self._names = list(self._tasks)
        self._asleep.pop(name, None)
        self._idle.discard(name)

    def stop_all(self) -> None:
        for name in list(self._tasks):
            self.stop(name)

    def running(self, prefix: str) -> list[str]:
        return [name for name in self._tasks if name.startswith(prefix)]

    def restart(self, name: str) -> None:
        self.stop(name)
        self.start(name, self._factories[name])

    def pause(self, name: str, ticks: int) -> None:
        self._asleep[name] = self.now + ticks

    def next_awake(self) -> int | None:
        """When the next paused process goes on."""
        return min((at for at in self._asleep.values() if at > self.now), default=None)

    def may_crash(self, name: str) -> bool:
        return name in self._factories

    def wake_all(self) -> None:
        self._idle.clear()

    def wake_one(self) -> None:
        """The idle poll of somebody."""
        if self._idle:
            self._idle.discard(self._names[int(self._r.random() * len(self._names))])

    def new_speeds(self) -> None:
        """Some processes become slow, so that others run far ahead of them."""
        self._slow = {name for name in self._names if self._r.random() < 0.3}
        self._pace = self._r.choice((0.1, 0.03, 0.01))

    def even_speeds(self) -> None:
        self._slow = set()

    def wake_paused(self) -> None:
        self._asleep.clear()

    def choose(self) -> str | None:
        """A process that can go on; None when all are idle or paused."""
        names, r = self._names, self._r
        for _ in range(6):
            name = names[int(r.random() * len(names))]
            if self._ready(name) and (name not in self._slow or r.random() < self._pace):
                return name
        ready = [name for name in names if self._ready(name)]
        return ready[int(r.random() * len(ready))] if ready else None

    def _ready(self, name: str) -> bool:
        return name not in self._idle and self._asleep.get(name, 0) <= self.now

    def step(self, name: str) -> None:
        """Runs one process to its next await."""
        self.me = name
        try:
            operation = self._tasks[name].send(None)
        except StopIteration:
            del self._tasks[name]
            self._names = list(self._tasks)
            return
        if operation is IDLE:
            self._idle.add(name)
