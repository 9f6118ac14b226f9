"""The real enrolment and accreditation, in this process on stores in memory, behind the importer's own client.

What it leaves out is gRPC's transport, the roles, Kafka and MongoDB; the stubs and the services' handlers are real.
`Faults` are what a network and a store do: calls that never arrive, answers that are lost, rows nobody knows of.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from rich.console import Console

from accreditation.main import PARTS as ACCREDITATION
from credence.common.v1 import outcome_pb2
from credence_cli.client import CallFailed, Client
from credence_cli.identity import Identity
from credence_cli.oulad import files, mapping, plan
from credence_cli.oulad.importer import Imported, Importer
from credence_cli.oulad.plan import Plan
from credence_cli.oulad.readback import Reader
from credence_cli.oulad.reconcile import Answers, Reconciled, compare, expected
from credence_cli.progress import Report
from enrolment.main import PARTS as ENROLMENT
from servicekit.errors import RpcFailure
from servicekit.testing import World

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
# Rich enough for a plain line here and there, and nowhere to be seen.
SILENT = Console(stderr=True, quiet=True)


class Killed(BaseException):
    """The importer's process ended here, whatever it was doing."""


@dataclass
class Faults:
    """What goes wrong with a call, drawn for each; `die_at` ends the importer at that call, before or after it."""

    seed: int = 0
    lost_before: float = 0.0
    lost_after: float = 0.0
    unknown_rows: float = 0.0
    die_at: int | None = None
    die_after: bool = False
    calls: int = 0
    happened: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def strikes(self, share: float) -> bool:
        struck = self._random.random() < share
        self.happened += struck
        return struck


class _Handlers:
    """Stands for a server while the services register, to get at their handlers by name."""

    def __init__(self) -> None:
        self.by_path: dict[str, Callable[[Any, Any], Awaitable[Any]]] = {}

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        return None

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        self.by_path |= {f"/{service}/{name}": handler.unary_unary for name, handler in handlers.items()}

    def unary_unary(self, path: str, **_: Any) -> str:
        return path


@dataclass
class Platform:
    """The two services and their clock."""

    world: World = field(default_factory=lambda: World(ENROLMENT, ACCREDITATION, now=NOW))

    def __post_init__(self) -> None:
        self.handlers = _Handlers()
        for parts in (ENROLMENT, ACCREDITATION):
            parts.register(self.world.kernel(parts.name), self.handlers)  # type: ignore[arg-type]
        self._moving = asyncio.Lock()

    async def call(self, path: str, request: Any) -> Any:
        async with self._moving:
            if "accreditation" in path:
                await self.world.settle()  # what goes on in the background anywhere else
            try:
                return await self.world.call(self.handlers.by_path[path], request, roles={"importer"})
            except RpcFailure as failure:
                status = next(code for code in grpc.StatusCode if code.value[0] == failure.code)
                raise CallFailed(status, failure.reason, failure.message, ()) from failure

    def client(self, faults: Faults | None = None) -> Client:
        return _Client(self, faults or Faults())


class _Client(Client):
    def __init__(self, platform: Platform, faults: Faults) -> None:
        super().__init__(Identity.of("importer"), addresses={})
        self._platform = platform
        self._faults = faults

    def stub(self, stub: Callable[[Any], Any], service: str) -> Any:
        return stub(self._platform.handlers)

    async def call(self, method: Any, request: Any, *, identity: Any = None, deadline: float = 0.0) -> Any:
        faults = self._faults
        faults.calls += 1
        dies = faults.calls == faults.die_at
        if dies and not faults.die_after:
            raise Killed
        if faults.strikes(faults.lost_before):
            raise CallFailed(grpc.StatusCode.UNAVAILABLE, "", "never arrived", ())
        answer = await self._platform.call(method, request)
        if dies:
            raise Killed
        if faults.strikes(faults.lost_after):
            raise CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED, "", "the answer was lost", ())
        if isinstance(answer, outcome_pb2.BatchResponse):
            for outcome in answer.outcomes:
                if faults.strikes(faults.unknown_rows):
                    outcome.status, outcome.code = outcome_pb2.OUTCOME_STATUS_UNKNOWN, "outcome-unknown"
        return answer


def planned(folder: Path, *presentations: str) -> Plan:
    return plan.make(files.read(folder), mapping.load(), presentations)


async def imported(platform: Platform, made: Plan, faults: Faults | None = None) -> Imported:
    """One run of the importer, without pauses between its tries."""
    importer = Importer(platform.client(faults), Report(SILENT), pauses_seconds=(0.0,))
    return await importer.run(made)


async def answers(platform: Platform, made: Plan, done: Imported) -> Answers:
    """What the platform holds once it rests."""
    reader = Reader(platform.client(), Report(SILENT), still_seconds=5.0)
    assert await reader.settled(done.tokens)
    return await reader.answers([cohort.cohort for cohort in made.cohorts])


async def reconciled(platform: Platform, made: Plan, done: Imported) -> Reconciled:
    return compare(expected(made, done.refused), await answers(platform, made, done))
