"""What a service's consumers hold: told in health, and tried again in the background.

These are two works for each consumer. A sweep tries up to a thousand streams one by one, and while it does that, or
hangs, it must be told all the same that they are held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from eventcore.held import Holding
from eventcore.loops import Report, sweep_forever
from servicekit.health import Behind, Health
from servicekit.lookout import SILENCE_SECONDS_MAX, looked
from servicekit.process import Background

COUNT_EVERY_SECONDS = 2.0


def holding_work(holdings: Sequence[Holding], health: Health, report: Callable[[str], Report]) -> list[Background]:
    """The background work. `report(name)` gives what tells the check of that name: `held-<consumer>` is degraded while
    anything is held, and failing once nobody counts any more."""
    work = []
    for holding in holdings:
        counting, sweeping = f"held-{holding.consumer}", f"sweep-{holding.consumer}"
        count = partial(count_forever, holding, health, report(counting))
        work.append(Background(counting, count, silence_seconds_max=SILENCE_SECONDS_MAX))
        work.append(Background(sweeping, partial(sweep_forever, holding, report=report(sweeping))))
    return work


async def count_forever(holding: Holding, health: Health, report: Report) -> None:
    """Until cancelled."""
    while True:
        found = await looked(holding.count, report, "what is held")
        if found is not None:
            # How far the consumer is behind is told of what it reads: its topics, or the own appends.
            behind = Behind(None, None, held_streams=found.streams, oldest_held_seconds=found.oldest_seconds)
            health.tell_behind(holding.consumer, behind)
            aside = f"{holding.consumer} holds {found.streams} streams aside: see `credence held list`"
            report(aside if found.streams else None)
        await asyncio.sleep(COUNT_EVERY_SECONDS)
