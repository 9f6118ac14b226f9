"""What `/ready` says, as metrics: read when they are asked for, so that they can say nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from servicekit.health import Health, State

_STATES = {State.OK: 0, State.DEGRADED: 1, State.FAILING: 2}


class HealthMetrics(Collector):
    """`credence_check_*` by check and `credence_consumer_*` by consumer. What is not known has no sample."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def describe(self) -> Iterable[Metric]:
        # Without it the registry would collect once at registration, before there is anything to ask.
        return ()

    def collect(self) -> Iterable[Metric]:
        state = _gauge("credence_check_state", "0 ok, 1 degraded, 2 failing", "check")
        since = _gauge("credence_check_state_seconds", "For how long it has been in this state", "check")
        for name, check in self._health.readiness().checks.items():
            state.add_metric([name], _STATES[check.state])
            since.add_metric([name], check.since_seconds)
        lag = _gauge("credence_consumer_lag_events", "Events (or targets) it has yet to handle, as counted", "consumer")
        age = _gauge("credence_consumer_age_seconds", "All that is older than this it has handled", "consumer")
        held = _gauge("credence_consumer_held_streams", "Streams that stand aside", "consumer")
        oldest = _gauge("credence_consumer_oldest_held_seconds", "For how long the first of them has", "consumer")
        for name, known in self._health.consumers().items():
            if known.behind.waiting is not None:
                lag.add_metric([name], known.behind.waiting)
            if known.behind.age_seconds is not None:
                # It grows while nobody can look.
                age.add_metric([name], known.behind.age_seconds + known.seen_seconds)
            held.add_metric([name], known.behind.held_streams)
            oldest.add_metric([name], known.behind.oldest_held_seconds)
        return state, since, lag, age, held, oldest


def _gauge(name: str, documentation: str, label: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=[label])
