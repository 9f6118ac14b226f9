"""What this process says about itself: named checks (ready?) and named watchdogs (alive?)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

TICK_SECONDS = 0.25
LOOP_STALL_SECONDS_MAX = 15.0


class State(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    FAILING = "failing"


_WORSE = [State.OK, State.DEGRADED, State.FAILING]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """One check: `age_seconds` since it was last told, `detail` why it is not ok, `since_seconds` how long it has been
    in this state; `dependency`: it is about a server this process needs."""

    state: State
    age_seconds: float
    detail: str
    since_seconds: float = 0.0
    dependency: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """The worst of the named checks, and each of them."""

    state: State
    checks: dict[str, CheckReport]


@dataclass(frozen=True, slots=True)
class Behind:
    """How far a consumer is behind.

    `waiting`: events (of an evaluation: targets) that it has yet to handle, None where nobody knows; `more`: that is
    only as far as was counted. `age_seconds`: all that is older than this it has handled; None: not known.
    `held_streams` stand aside, the first of them for `oldest_held_seconds`.
    """

    waiting: int | None
    age_seconds: float | None
    more: bool = False
    held_streams: int = 0
    oldest_held_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ConsumerReport:
    """How a consumer stood `seen_seconds` ago."""

    behind: Behind
    seen_seconds: float


class Check:
    """One condition of readiness. Failing until told otherwise, so that what never reports is never green."""

    def __init__(self, clock: Callable[[], float], max_age_seconds: float | None, *, dependency: bool = False) -> None:
        self._clock = clock
        self._max_age = max_age_seconds
        self._dependency = dependency
        self._told = self._since = clock()
        self._state, self._detail = State.FAILING, "starting"

    def ok(self) -> None:
        self._tell(State.OK, "")

    def degraded(self, reason: str) -> None:
        """It works with a limit people should know of; still ready."""
        self._tell(State.DEGRADED, reason)

    def failing(self, reason: str) -> None:
        """It does not work; not ready."""
        self._tell(State.FAILING, reason)

    def report(self) -> CheckReport:
        now = self._clock()
        age = now - self._told
        if self._max_age is not None and age > self._max_age:
            last = f"{self._state} {self._detail}".strip()
            detail = f"not reported for {age:.0f} s; last: {last}"
            return CheckReport(State.FAILING, age, detail, age - self._max_age, self._dependency)
        return CheckReport(self._state, age, self._detail, now - self._since, self._dependency)

    def _tell(self, state: State, detail: str) -> None:
        now = self._clock()
        if state is not self._state:
            self._since = now
        self._told, self._state, self._detail = now, state, detail


class Watchdog:
    """Work that must be seen to go on, such as a consumer's poll. Stale means stuck: the process is restarted."""

    def __init__(self, clock: Callable[[], float], max_age_seconds: float) -> None:
        self._clock = clock
        self.max_age_seconds = max_age_seconds
        self._beaten = clock()

    def beat(self) -> None:
        self._beaten = self._clock()

    def report(self) -> CheckReport:
        age = self._clock() - self._beaten
        if age > self.max_age_seconds:
            return CheckReport(
                State.FAILING, age, f"no sign of life for {age:.0f} s, allowed {self.max_age_seconds:g} s"
            )
        return CheckReport(State.OK, age, "")


class Health:
    """All checks and watchdogs of one process.

    Ages are measured in time the event loop ran: a process that was paused for a minute comes back with every beat a
    minute old although nothing is stuck, and must not restart itself for it. `tick` keeps that clock; it has to be
    called every TICK_SECONDS.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ticked = clock()
        self._lost = 0.0
        self._checks: dict[str, Check] = {}
        self._watchdogs: dict[str, Watchdog] = {}
        self._consumers: dict[str, tuple[float, Behind]] = {}
        self._stopping = False

    def check(self, name: str, *, max_age_seconds: float | None = None, dependency: bool = False) -> Check:
        """The check of that name, made on first use. With a maximal age, silence turns it failing."""
        if name not in self._checks:
            self._checks[name] = Check(self._running, max_age_seconds, dependency=dependency)
        return self._checks[name]

    def tell_behind(self, consumer: str, behind: Behind) -> None:
        """How far that consumer is behind, as of now."""
        self._consumers[consumer] = (self._running(), behind)

    def consumers(self) -> dict[str, ConsumerReport]:
        """How each consumer stood when it was last looked at."""
        now = self._running()
        return {name: ConsumerReport(behind, now - told) for name, (told, behind) in self._consumers.items()}

    def watchdog(self, name: str, max_age_seconds: float) -> Watchdog:
        """The watchdog of that name, made on first use."""
        if name not in self._watchdogs:
            self._watchdogs[name] = Watchdog(self._running, max_age_seconds)
        return self._watchdogs[name]

    def beat(self, name: str) -> None:
        """A sign of life; of work that is not watched, or no more, it is nothing."""
        if name in self._watchdogs:
            self._watchdogs[name].beat()

    def drop_watchdog(self, name: str) -> None:
        """The work has ended, and ended work is not stuck: whether that is well is for its check to say."""
        self._watchdogs.pop(name, None)

    def stopping(self) -> None:
        """Not ready, for good: the process drains. Work that is being stopped is no longer stuck work."""
        self._stopping = True

    def tick(self) -> float:
        """Says that the event loop runs; returns by how many seconds this tick was late."""
        now = self._clock()
        late = max(0.0, now - self._ticked - TICK_SECONDS)
        self._lost += late
        self._ticked = now
        return late

    def readiness(self) -> Report:
        """Whether to send requests here: failing means no, degraded means yes."""
        checks = {name: check.report() for name, check in sorted(self._checks.items())}
        if self._stopping:
            checks["process"] = CheckReport(State.FAILING, 0.0, "stopping")
        return _report(checks)

    def problems(self, names: Iterable[str]) -> str:
        """Which of these checks are not ok, or were never told, and why; empty: none."""
        told = {name: self._checks[name].report() if name in self._checks else None for name in names}
        late = {name: check for name, check in told.items() if check is None or check.state is not State.OK}
        return "; ".join(f"{name}: {check.detail if check else 'starting'}" for name, check in late.items())

    def liveness(self) -> Report:
        """Whether the process is worth keeping: the event loop and every watchdog."""
        stall = self._clock() - self._ticked
        loop = State.FAILING if stall > LOOP_STALL_SECONDS_MAX else State.OK
        dogs = {} if self._stopping else self._watchdogs
        checks = {name: dog.report() for name, dog in sorted(dogs.items())}
        checks["event-loop"] = CheckReport(loop, stall, "" if loop is State.OK else "the event loop is blocked")
        return _report(checks)

    def stale(self) -> list[str]:
        """The names of stale watchdogs; none while stopping."""
        if self._stopping:
            return []
        return [name for name, dog in self._watchdogs.items() if dog.report().state is State.FAILING]

    def _running(self) -> float:
        # Between two ticks no more than a tick has run; the rest is known to be lost only at the next one.
        return min(self._clock(), self._ticked + TICK_SECONDS) - self._lost


def _report(checks: dict[str, CheckReport]) -> Report:
    worst = max((_WORSE.index(check.state) for check in checks.values()), default=0)
    return Report(_WORSE[worst], checks)
