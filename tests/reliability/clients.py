"""A client of the platform as it should be: it sends again, with the same ids, until it knows.

Each try goes to another instance, as behind a load balancer that has not noticed yet.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from credence_cli.identity import Identity
from tests.reliability.history import UNSETTLED, Batch, History
from tests.reliability.rig import Rig
from tests.system.platform import NOT_READY, Refused, outcomes_of, told
from tests.system.rpcs import BY_REQUEST

AGAIN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
CALL_SECONDS = 6.0
KNOWN_SECONDS = 300.0  # longer than any fault lasts, with what it takes to recover
PAUSE_SECONDS = (0.02, 1.0)


class Unhealed(Exception):
    """What a client ran into that sending again did not heal."""


class Stopped(Exception):
    """The run is over; what was under way is unknown to its client."""


class Pace:
    """So many rows a second for all clients together: a platform that is overrun shows its queues, not its faults.

    Beyond `plenty` rows it is a tenth of that: on a slow machine a run takes longer, and must not grow for it.
    """

    def __init__(self, rows_a_second: float, plenty: int) -> None:
        self._row_seconds = 1 / rows_a_second
        self._left = plenty
        self._next = time.monotonic()
        self._eased: list[tuple[float, float]] = []  # from when on, and for how many seconds a row
        self._lock = threading.Lock()

    @contextmanager
    def eased(self, rows_a_second: float, *, after: float = 0.0) -> Iterator[None]:
        """No more than so many rows a second, once that lasts longer than `after` seconds."""
        ease = (time.monotonic() + after, 1 / rows_a_second)
        self._eased.append(ease)
        try:
            yield
        finally:
            self._eased.remove(ease)

    def take(self, rows: int) -> float:
        """How many seconds to wait before so many rows are sent."""
        with self._lock:
            self._left -= rows
            now = time.monotonic()
            start = max(self._next, now)
            paces = [self._row_seconds * (1 if self._left > 0 else 10)]
            paces += [seconds for since, seconds in [*self._eased] if since <= now]
            self._next = start + rows * max(paces)
            return start - now


UNPACED = Pace(1e9, 0)


@dataclass
class Client:
    """`only`: the instances that it knows of, all of the service that it asks unless named."""

    rig: Rig
    history: History
    rng: random.Random
    over: threading.Event
    pace: Pace = UNPACED
    only: Sequence[str] = ()
    patience_seconds: float = KNOWN_SECONDS

    def sends(self, request: Any, who: Identity) -> Any:
        """Sends a batch until every row is settled, each answer noted; gives the answer that settled it.

        Raises Unhealed for an error that sending again is no answer to, or when it takes too long; Stopped.
        """
        service = BY_REQUEST[type(request)].services[0]
        instances = self.only or self.rig.of(service)
        at = self.rng.randrange(len(instances))
        if self.over.wait(self.pace.take(len(request.rows))):
            raise Stopped
        deadline, pause = time.monotonic() + self.patience_seconds, PAUSE_SECONDS[0]
        last = ""
        while time.monotonic() < deadline:
            instance = instances[at % len(instances)]
            at += 1
            self.history.sent(service, request.rows)
            try:
                answer = self.rig.ask(instance, request, who, seconds=CALL_SECONDS)
            except Refused as refused:
                last = f"{instance}: {refused}"
                if refused.status not in AGAIN:
                    raise Unhealed(f"{type(request).__name__} to {last}") from refused
            else:
                outcomes = outcomes_of(answer)
                self.history.answered(service, request.rows, outcomes)
                open_still = [o for o in outcomes if o.status in UNSETTLED or o.code == NOT_READY]
                if not open_still:
                    self.history.settled(Batch(service, request, who))
                    return answer
                last = f"{instance} answered {told(open_still)[:3]}"
            if self.over.wait(pause * self.rng.uniform(0.5, 1.5)):
                raise Stopped
            pause = min(pause * 2, PAUSE_SECONDS[1])
        raise Unhealed(f"{type(request).__name__} was not settled within {self.patience_seconds:g} s; last {last}")
