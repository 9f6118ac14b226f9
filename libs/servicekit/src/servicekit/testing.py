"""Services in one process on stores in memory: the real kernel, api and application, without servers.

    world = World(enrolment.PARTS, accreditation.PARTS)
    answer = await world.call(CohortApi(...).OpenCohorts, request, roles={"admissions"})
    await world.settle()

What crosses services here are real records of the real publisher, read by the real consumer. What it leaves out:
gRPC itself, the interceptor and its roles, Kafka and MongoDB.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import grpc

from eventcore.consume import Consumer, Received
from eventcore.deliver import OwnFold, Publisher
from eventcore.erasure import ErasingMarks
from eventcore.evaluate import Evaluator, Marker
from eventcore.execute import Executor
from eventcore.fold import Folder
from eventcore.memory import MemoryAppends, MemoryHeld, MemoryKeys, MemoryOperations, MemoryTargets, MemoryViews
from eventcore.personal import Keyring
from eventcore.record import Record
from eventcore.testing import NOON
from eventcore.token import Tokens
from servicekit.call import Call, enter_call
from servicekit.kernel import Kernel
from servicekit.operations.recording import Recording
from servicekit.runtime import Parts, parser, published, span
from servicekit.scope import Principal, Scope

Q = TypeVar("Q")
A = TypeVar("A")
ROUNDS_MAX = 1000


@dataclass
class Log:
    """A topic log in memory: every record of every topic, in order of arrival."""

    records: list[Record] = field(default_factory=list)

    async def send(self, records: Sequence[Record]) -> list[bool]:
        self.records.extend(records)
        return [True] * len(records)

    async def renew(self) -> None:
        return None


class Running:
    """One service's kernel on memory."""

    def __init__(self, parts: Parts, log: Log, clock: Callable[[], datetime]) -> None:
        self.parts = parts
        self.appends, self.views, self.targets = MemoryAppends(), MemoryViews(), MemoryTargets()
        self.keys = MemoryKeys()
        keyring = Keyring(self.keys, bytes(32), time.monotonic)
        marker = ErasingMarks(Marker(parts.evaluations, self.views, self.targets), keyring, clock)
        deciders = {d.category: d for d in parts.deciders}
        executor = Executor(self.appends, b"digest key of a test")
        own = Folder([v for v in parts.views if v.category in deciders], self.views, marker)
        foreign = Folder([v for v in parts.views if v.category not in deciders], self.views, marker)
        self.held = MemoryHeld()
        self._fold = OwnFold(f"{parts.name}.own", self.appends, deciders, own, self.held, clock)
        source = f"credence/{parts.name}"
        self._publish = Publisher(
            self.appends, deciders, published(parts.public), log, topic=parts.topic, source=source, span=span
        )
        self._evaluators = [
            Evaluator(e, self.views, self.targets, executor, clock, actor=parts.name, span=span)
            for e in parts.evaluations
        ]
        parse = parser(parts.listens_to.values())
        self._consumer = Consumer(f"{parts.name}.facts", foreign, self.views, self.held, parse, clock, span=span)
        self.operations = MemoryOperations()
        self.kernel = Kernel(
            executor,
            self.views,
            self.targets,
            keyring,
            clock,
            Tokens(b"digest key of a test"),
            Recording(self.operations, clock),
            holdings=(self._fold.holding, self._consumer.holding),
        )
        self._log = log
        self._read = 0

    async def step(self) -> bool:
        """Moves everything once; whether anything moved."""
        moved = bool(await self._fold.step()) | bool(await self._publish.step())
        fresh = self._log.records[self._read :]
        self._read = len(self._log.records)
        batch = [Received.of(r, 0, i) for i, r in enumerate(fresh) if r.topic in self.parts.listens_to]
        if batch:
            await self._consumer.handle(batch)
            moved = True
        if faults := [head.error for head in await self.held.find(limit=10)]:
            raise AssertionError(f"held: {faults}")
        for evaluator in self._evaluators:
            look = await evaluator.look()
            for error in look.failed.values():
                raise error
            moved |= look.evaluated > 0
        return moved


class World:
    """Several services joined by one log and one clock, which moves only when told."""

    def __init__(self, *parts: Parts, now: datetime = NOON) -> None:
        self.now = now
        self.log = Log()
        self._running = {p.name: Running(p, self.log, lambda: self.now) for p in parts}

    def __getitem__(self, name: str) -> Running:
        return self._running[name]

    def kernel(self, name: str) -> Kernel:
        return self._running[name].kernel

    def pass_time(self, **delta: float) -> None:
        """Moves the clock on, by timedelta's words."""
        self.now += timedelta(**delta)

    async def settle(self) -> None:
        """Until nothing moves any more. Raises AssertionError when it never rests."""
        for _ in range(ROUNDS_MAX):
            if not any([await running.step() for running in self._running.values()]):
                return
        raise AssertionError(f"never at rest within {ROUNDS_MAX} rounds: do two evaluations command each other?")

    async def call(
        self,
        method: Callable[[Q, grpc.aio.ServicerContext[Q, A]], Awaitable[A]],
        request: Q,
        *,
        roles: Iterable[str],
        person: str | None = None,
        providers: Iterable[str] = (),
        bodies: Iterable[str] = (),
        subject: str = "tester",
        deadline_seconds: float = 5.0,
    ) -> A:
        """Calls a servicer's method as this caller. All `roles` are taken as named by the RPC."""
        principal = Principal(subject, frozenset(roles), person, frozenset(providers), frozenset(bodies))
        call = Call("test", principal, Scope.of(principal, roles), "test", time.monotonic() + deadline_seconds)

        async def within() -> A:
            enter_call(call)
            context: Any = None  # handlers answer by returning or raising; they need nothing of gRPC's context
            return await method(request, context)

        return await asyncio.create_task(within())
