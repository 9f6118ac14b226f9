"""What a service's consumers hold, tried again in the background and told in health."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from eventcore.held import Holding, Holdings
from eventcore.loops import Report, sweep_forever
from servicekit.health import Behind, Health
from servicekit.process import Background


def sweeping(holdings: Sequence[Holding], health: Health, report: Callable[[str], Report]) -> list[Background]:
    """The background work, one for each consumer. `report(name)` gives the check that it tells; while anything is held
    that is degraded."""

    def of(holding: Holding) -> Background:
        def counted(found: Holdings) -> None:
            held = Behind(0, 0.0, held_streams=found.streams, oldest_held_seconds=found.oldest_seconds)
            health.tell_behind(holding.consumer, held)

        name = f"held-{holding.consumer}"
        return Background(name, partial(sweep_forever, holding, report=report(name), counted=counted))

    return [of(holding) for holding in holdings]
