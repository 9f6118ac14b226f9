"""What a service's consumers hold, tried again in the background and told in metrics and health."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, Gauge

from eventcore.held import Holding, Holdings
from eventcore.loops import Report, sweep_forever
from servicekit.process import Background


def sweeping(
    holdings: Sequence[Holding], registry: CollectorRegistry, report: Callable[[str], Report]
) -> list[Background]:
    """The background work, one for each consumer. `report(name)` gives the check that it tells; while anything is held
    that is degraded."""
    streams = Gauge("credence_held_streams", "Streams held aside", ["consumer"], registry=registry)
    oldest = Gauge("credence_held_oldest_seconds", "Since when the oldest is held", ["consumer"], registry=registry)

    def of(holding: Holding) -> Background:
        def counted(found: Holdings) -> None:
            streams.labels(holding.consumer).set(found.streams)
            oldest.labels(holding.consumer).set(found.oldest_seconds)

        name = f"held-{holding.consumer}"
        return Background(name, partial(sweep_forever, holding, report=report(name), counted=counted))

    return [of(holding) for holding in holdings]
