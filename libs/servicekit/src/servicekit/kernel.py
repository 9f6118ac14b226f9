"""What application code gets from the kernel: decide commands, read views, wait for what was just written."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from credence.common.v1 import outcome_pb2
from eventcore.decider import Command, Decider, Refusal, invalid
from eventcore.evaluate import Evaluation, Reader
from eventcore.event import Event
from eventcore.execute import Executor, Request
from eventcore.fold import View
from eventcore.held import Holding
from eventcore.outcome import Outcome, Status
from eventcore.personal import Keyring
from eventcore.store import TargetStore, ViewStore
from eventcore.token import BadToken, Tokens, missing, unevaluated, until
from servicekit.arrivals import Arrivals, result_key
from servicekit.batches import batch_response, decided
from servicekit.call import current_call
from servicekit.errors import InvalidArgument, Unavailable
from servicekit.operations.recording import Recording
from servicekit.telemetry import traceparent
from servicekit.violations import Violations

S = TypeVar("S")
C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)

# A query that waits for a token keeps this much of its deadline for its own answer.
ANSWER_SECONDS = 0.25
# Somebody has to look at what is held: asking again at once would help nobody.
HELD_RETRY_SECONDS = 30.0
LOOK_AGAIN_SECONDS = (0.01, 0.1)
# Where arrivals wake it, a look is only for what another process of the group folded.
LOOK_UNTOLD_SECONDS = (0.1, 1.0)

NOT_FOUND = Refusal("not-found", "there is no such object, or it is not yours: look at the ids")


def malformed(violations: Violations) -> Refusal:
    """A row that cannot be understood: refused by itself, with every violated field, so that the others go on."""
    return invalid(*violations.items)


_STORED = frozenset({Status.ACCEPTED, Status.REPLAYED, Status.UNCHANGED})


@dataclass(frozen=True)
class Kernel:
    """One service's kernel, as its application and api layers see it."""

    executor: Executor
    views: ViewStore
    targets: TargetStore
    keyring: Keyring
    clock: Callable[[], datetime]
    tokens: Tokens
    recording: Recording
    arrivals: Arrivals = field(default_factory=Arrivals)
    holdings: Sequence[Holding] = ()

    @property
    def reader(self) -> Reader:
        return Reader(self.views)

    def request(self, stream: str, command: C, command_id: str = "", *, expected: int | None = None) -> Request[C]:
        """A command of the call being served. Without an id it gets one of its own: what makes the same row again
        harmless then is the decider, which finds that it is so already. An id from the row's content would instead
        answer a legitimate return (named A, B, and A again) with its first answer.
        """
        call = current_call()
        return Request(
            stream,
            command_id or uuid.uuid4().hex,
            command,
            actor=call.principal.subject,
            now=self.clock(),
            expected=expected,
            correlation=call.request_id,
            traceparent=traceparent(),
        )

    async def execute(
        self, decider: Decider[S, C, E], rows: Sequence[Request[C] | Refusal], *, dry_run: bool = False
    ) -> list[Outcome[S]]:
        """One outcome per row, in order; a row that is a Refusal already is answered with it."""
        executor = self.executor.rehearsing() if dry_run else self.executor
        requests = [(i, row) for i, row in enumerate(rows) if not isinstance(row, Refusal)]
        outcomes = await executor.execute(decider, [request for _, request in requests]) if requests else []
        answered = {i: outcome for (i, _), outcome in zip(requests, outcomes, strict=True)}
        return [
            Outcome(Status.REFUSED, "", 0, None, row) if isinstance(row, Refusal) else answered[i]
            for i, row in enumerate(rows)
        ]

    def token_of(self, outcomes: Sequence[Outcome[Any]]) -> str:
        """The token of a batch: one version per stream that holds what the rows wished for."""
        versions: dict[str, int] = {}
        for outcome in outcomes:
            if outcome.status in _STORED and outcome.version:
                versions[outcome.stream] = max(outcome.version, versions.get(outcome.stream, 0))
        return self.tokens.encode(versions)

    def answer(self, outcomes: Sequence[Outcome[Any]]) -> outcome_pb2.BatchResponse:
        """The BatchResponse of a batch."""
        return batch_response([decided(i, outcome) for i, outcome in enumerate(outcomes)], self.token_of(outcomes))

    async def caught_up(
        self,
        token: str,
        *,
        views: Sequence[View[Any]] = (),
        results: Sequence[tuple[Evaluation, str]] = (),
    ) -> None:
        """Waits, within the call's deadline, until `views` have folded what `token` names and the results, each an
        evaluation and a target, rest on it.

        Raises InvalidArgument for a token that is none; Unavailable when the deadline comes first, and at once
        (`view-held`) when what is waited for is held and will not come before somebody has looked at it.
        """
        try:
            versions = self.tokens.decode(token)
        except BadToken as error:
            raise InvalidArgument([("token", str(error))]) from error
        if not versions:
            return

        behind = versions

        async def met() -> bool:
            nonlocal behind
            behind = await missing(self.views, views, behind)
            if behind:
                await self._refuse_held(behind)
                return False
            for evaluation, target in results:
                if unmet := await unevaluated(self.targets, evaluation, target, versions):
                    await self._refuse_held(unmet)
                    return False
            return True

        awaited = [*versions, *(result_key(evaluation.name, target) for evaluation, target in results)]
        with self.arrivals.of(awaited) as arrived:
            caught_up = await in_time(met, arrived)
        if not caught_up:
            raise Unavailable(
                "what the token names has not arrived here yet: ask again, with a longer deadline if this goes on",
                reason="not-caught-up",
            )

    async def _refuse_held(self, versions: Mapping[str, int]) -> None:
        for holding in self.holdings:
            if held := await holding.holds(versions):
                raise Unavailable(
                    f"{held[0]} is held: what you wrote is stored, and a fault keeps it from this view until an "
                    "operator has dealt with it; ask again later, or without the token for how it stood before",
                    reason="view-held",
                    retry_after_seconds=HELD_RETRY_SECONDS,
                )


async def in_time(met: Callable[[], Awaitable[bool]], arrived: asyncio.Event | None = None) -> bool:
    """Looks again and again until `met`, within the deadline of the call being served; whether it was. It looks when
    `arrived` is set, and by itself now and then."""
    wait, longest = LOOK_AGAIN_SECONDS if arrived is None else LOOK_UNTOLD_SECONDS
    event = arrived or asyncio.Event()

    async def pause() -> bool:
        nonlocal wait
        left = current_call().remaining_seconds() - ANSWER_SECONDS
        if left < LOOK_AGAIN_SECONDS[0]:
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(min(wait, left)):
                await event.wait()
        event.clear()  # before the look, so that what arrives during it is not missed
        wait = min(wait * 1.5, longest)
        return True

    return await until(met, pause)
