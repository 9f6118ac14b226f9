"""The loops that keep a service moving: each repeats one kernel step, woken in process, polling as a fallback.

A loop survives what passes (a database or broker that is away) with back-off and says so through `report`; it ends,
by raising, on what does not (another epoch, a release that can fold hardly anything, a bug).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from eventcore.deliver import OwnFold, Publisher, Undelivered
from eventcore.evaluate import Evaluator
from eventcore.held import Holding
from eventcore.limits import BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS, FAILED_LOGGED_MAX, HINTS_A_STEP_MAX, HINTS_MAX
from eventcore.store import StoreUnavailable

SWEEP_SECONDS = 10.0  # between two tries of what is held
# What a process has to do it is woken for. Asked for is what others left undone, and what a moment makes due: asked
# every second, that is most of what a service that has nothing to do does to its database.
POLL_SECONDS = 3.0

_log = logging.getLogger(__name__)

Report = Callable[[str | None], None]
"""Told why a loop is held up (None: it moves)."""

Done = Callable[[int], None]
"""Told how much a step did."""


@dataclass
class Wake:
    """Wakes a loop, with the streams it should look at first.

    Beyond HINTS_MAX streams further ones are not kept: the loop finds them when it asks the store what waits.
    """

    event: asyncio.Event = field(default_factory=asyncio.Event)
    streams: dict[str, None] = field(default_factory=dict)

    def __call__(self, streams: Sequence[str] = ()) -> None:
        fresh = (stream for stream in streams if stream not in self.streams)
        self.streams.update(dict.fromkeys(islice(fresh, HINTS_MAX - len(self.streams))))
        self.event.set()

    def take(self) -> list[str]:
        """The next streams hinted at, at most HINTS_A_STEP_MAX."""
        taken = list(islice(self.streams, HINTS_A_STEP_MAX))
        for stream in taken:
            del self.streams[stream]
        return taken

    async def wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.event.wait()
        except TimeoutError:
            pass
        self.event.clear()


def _moves() -> str | None:
    return None


async def _repeat(
    step: Callable[[], Awaitable[bool]],
    wake: Wake,
    poll_seconds: float,
    report: Report,
    problem: Callable[[], str | None] = _moves,
) -> None:
    """Repeats `step` while it says there was work, else waits to be woken. `problem` is what a step could not do."""
    backoff = BACKOFF_FIRST_SECONDS
    while True:
        try:
            busy = await step()
        except (StoreUnavailable, Undelivered) as error:
            report(str(error))
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, BACKOFF_LAST_SECONDS)
            continue
        report(problem())
        backoff = BACKOFF_FIRST_SECONDS
        if not busy:
            await wake.wait(poll_seconds)


async def deliver_forever(
    work: OwnFold | Publisher, wake: Wake, *, poll_seconds: float = POLL_SECONDS, report: Report, done: Done
) -> None:
    """Delivers what was just stored first, and everything else in turn. `done` is told how many appends went.

    Under a constant stream of hints the store is asked what else waits (another process's appends) every
    `poll_seconds`, as it is without any: asked after each of them, it would answer more questions than commands.
    """
    asked, found, hinted, failed = -math.inf, False, False, False

    async def step() -> bool:
        nonlocal asked, found, hinted, failed
        now = asyncio.get_running_loop().time()
        # A backlog takes turns with what is hinted at: a republication would else go out a page every `poll_seconds`.
        turn = now - asked >= poll_seconds or (found and hinted)
        # So does one that cannot be delivered: its pause is longer than `poll_seconds`, and it would have every turn.
        hints = wake.take() if failed or not turn else []
        failed = False
        try:
            delivered = await work.step(hints)
        except StoreUnavailable:
            wake(hints)  # nobody else would look at them for a while
            raise
        except Undelivered:
            hinted, failed = bool(hints), not hints
            if not hints:
                asked, found = now, True
            raise
        hinted = bool(hints)
        if not hints:
            asked, found = now, delivered > 0
        done(delivered)
        return bool(found or wake.streams)

    # What stands aside is told also while the others go on, or the report would change with every step.
    await _repeat(step, wake, poll_seconds, report, lambda: work.problem)


async def sweep_forever(holding: Holding, *, report: Report) -> None:
    """Tries what is held again every SWEEP_SECONDS: all of it first, then what may release itself. Ends only by
    raising."""
    everything = True

    async def step() -> bool:
        nonlocal everything
        await holding.sweep(everything=everything)
        everything = False
        return False

    await _repeat(step, Wake(), SWEEP_SECONDS, report)


async def evaluate_forever(
    evaluator: Evaluator, wake: Wake, *, poll_seconds: float = POLL_SECONDS, report: Report, done: Done
) -> None:
    """Evaluates what is dirty or due; what ended unknown or raised is looked at again after a pause.

    What raised is logged, and reported for as long as it stands. `done` counts targets.
    """
    backoff = BACKOFF_FIRST_SECONDS

    async def step() -> bool:
        nonlocal backoff
        look = await evaluator.look()
        done(look.evaluated)
        for target, error in islice(look.failed.items(), FAILED_LOGGED_MAX):
            _log.error("evaluation-failed", extra={"target": target}, exc_info=error)
        if look.unsettled or look.failed:
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, BACKOFF_LAST_SECONDS)
        else:
            backoff = BACKOFF_FIRST_SECONDS
        return look.evaluated > 0

    def problem() -> str | None:
        failing = evaluator.failing
        if not failing:
            return None
        target, error = next(iter(failing.items()))
        return f"{len(failing)} not evaluated, such as {target}: {error}"

    await _repeat(step, wake, poll_seconds, report, problem)
