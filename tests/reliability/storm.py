"""One run: clients at work, faults striking, then calm, rest, and the checkers.

What is measured of a fault is how long after its end the platform is whole again: every instance ready, and every
instance serving what was written after the fault and is at most two seconds old.
"""

from __future__ import annotations

import asyncio
import base64
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

from tests.reliability.alike import Alike
from tests.reliability.checks import (
    Case,
    p6_like_the_clean,
    p8_views_are_rebuilt,
    p9_only_its_own_stream,
    p10_redriven_is_whole,
    p17_views_are_fresh,
    p19_erased_is_gone,
    verdicts,
)
from tests.reliability.clients import Client, Pace, Unhealed
from tests.reliability.evidence import Found, Reading, database_says, read, rest
from tests.reliability.faults import SESSION_TIMEOUT_SECONDS, Fault, Struck
from tests.reliability.freshness import Freshness, Served
from tests.reliability.history import Batch, History
from tests.reliability.operators import Operators, Poisoned, Rebuilt
from tests.reliability.rig import Ended, Rig
from tests.reliability.writers import PERSONAL, Writers
from tests.system import traces
from tests.system.platform import Refused, settled

# Liveness, not speed: the report tells how long it took. A machine that is shared may take its time.
WHOLE_SECONDS = 240.0
OVERRUN_SECONDS = 60.0
REST_SECONDS = 240.0
CALM_ROWS_A_SECOND = 8.0  # bench/report.md: the stand-in on two cores keeps up with 10, and with 50 it does not
CALM_EVERY_SECONDS = 150.0
KILL_AFTER_ROWS = 40  # acknowledged since the last kill, so that every kill meets work
KILL_SECONDS = 3.0
LOOK_SECONDS = 0.1
AGAIN_BATCHES = 150
# What an orchestrator starts again by design, by exit code and what it says: work that was stuck, servers away at the
# start. The same code with other words is a crash.
EXPECTED_EXITS = {70: "watchdog-stale", 75: "cannot start: no answer within"}
LOGS = "output.log*"
PAGES = ("/metrics", "/ready", "/live")


@dataclass(frozen=True)
class Strike:
    """A fault as it went; monotonic times. `whole`: when the platform was whole again, None if it was not awaited."""

    fault: Fault
    began: float
    ended: float
    whole: float | None

    @property
    def recovery_seconds(self) -> float | None:
        return None if self.whole is None else self.whole - self.ended


@dataclass
class Outcome:
    """All there is to say about a run. `eased`: how often what was awaited came only once clients asked for less;
    `violations` by promise: what was wrong; `concluded`: whether the checkers came to their end, without which no
    violations say nothing."""

    seed: int
    software: str
    seconds: float = 0.0
    history: History = field(default_factory=History)
    strikes: list[Strike] = field(default_factory=list)
    kills: int = 0
    wanted: Plan | None = None
    served: list[Served] = field(default_factory=list)
    calms: list[tuple[float, float]] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    eased: int = 0
    rest_seconds: float = 0.0
    sent_again: int = 0
    duplicated: int = 0
    rebuilds: Sequence[Rebuilt] = ()
    poisonings: Sequence[Poisoned] = ()
    erasures: Sequence[str] = ()
    alike: int = 0
    searched_bytes: int = 0
    found: Found | None = None
    concluded: bool = False
    violations: dict[str, list[str]] = field(default_factory=dict)

    @property
    def calm_ages(self) -> list[float]:
        """Of what was served in the calms."""
        return [age for calm in self.ages_by_calm for age in calm]

    @property
    def ages_by_calm(self) -> list[list[float]]:
        return [[s.age for s in self.served if began <= s.at <= ended] for began, ended in self.calms]

    @property
    def short(self) -> list[str]:
        """What there was less of than was asked for: then nothing is proved, however green."""
        struck, counted = {strike.fault.kind for strike in self.strikes}, self.history.counted()
        reached = [("acknowledged commands", counted["ok"], self.wanted.commands if self.wanted else 0)]
        reached.append(("refused commands", counted["refused"], 1))
        reached.append(("kills", self.kills, self.wanted.kills if self.wanted else 0))
        reached.append(("records sent again", self.duplicated, int("duplicate" in struck)))
        reached.append(("rebuilds", len(self.rebuilds), int("rebuild" in struck)))
        reached += [(f"reads beside the rebuild of {r.service}", r.reads, 1) for r in self.rebuilds]
        reached.append(("streams that could not be read", len(self.poisonings), int("poison" in struck)))
        reached.append(("erased people", len(self.erasures), 1))
        reached.append(("rounds of learners treated alike", self.alike, 1))
        return [f"{found} of {wanted} {what}" for what, found, wanted in reached if found < wanted]

    def wrong(self, promise: str, what: str) -> None:
        self.violations.setdefault(promise, []).append(what)

    @property
    def recoveries(self) -> list[tuple[Fault, float]]:
        return [(s.fault, s.recovery_seconds) for s in self.strikes if s.recovery_seconds is not None]


@dataclass(frozen=True)
class Plan:
    """How much: the faults in order, and how many kills and acknowledged `commands` are wanted. An `endless` schedule
    ends when both are there; one with an end is struck to its end, and what kills are wanting come after it. Either
    ends at `seconds`, whatever is left. `kills_between` single instances are killed in a burst before each other fault,
    until there were enough: what restarts all the time stores little.
    `calm`: how many answers are looked at to see how fresh views are when all is well, before the first fault and,
    where the schedule is endless, after a recovery whenever the last calm is CALM_EVERY_SECONDS ago: in calms little
    is stored."""

    faults: Iterable[Fault]
    kills: int
    commands: int
    seconds: float
    kills_between: int
    calm: int
    endless: bool = False


class Storm:
    def __init__(self, rig: Rig, seed: int, pace: Pace, say: Callable[[str], None] = lambda line: None) -> None:
        self.rig = rig
        self.outcome = Outcome(seed, rig.software)
        self._say = say
        self._run = f"s{seed}"
        self._over = threading.Event()
        self._pace = pace
        # One each: what is drawn while a fault lasts depends on how long that takes, and must not move the rest.
        self._kills, self._kills_beside = random.Random(f"{seed}/kills"), random.Random(f"{seed}/kills beside")
        self._again = random.Random(f"{seed}/again")
        self._fresh = Freshness(rig, self.outcome.history, self._run)
        self._writers = Writers(rig, self.outcome.history, self._run, seed, pace)
        self._operators = Operators(
            rig, self.outcome.history, self._run, self._over, self._fresh.fresh_since, self._not_overrun
        )
        self._alike = Alike(rig)
        self._struck = Struck(rig, self._operators, self._meanwhile)

    def run(self, plan: Plan) -> Outcome:
        """The whole run, on a rig that was started. Where it raises, the outcome holds what was seen until then."""
        began = time.monotonic()
        self.outcome.wanted = plan
        try:
            self._run_through(plan, began)
            self.outcome.concluded = True
        finally:
            self._note()
            self.outcome.seconds = time.monotonic() - began
        return self.outcome

    def _run_through(self, plan: Plan, began: float) -> None:
        outcome = self.outcome
        w = self._writers
        w.prepare()
        self._alike.alike(w.client("alike", 0), f"clean-{self._run}")
        self._rest()
        self._alike.look_at_the_clean()
        try:
            self._fresh.start()
            settled("freshness is served", lambda: self._fresh.fresh_since(began), seconds=WHOLE_SECONDS)
            w.start([w.course, w.course, w.course, w.queue, w.mentees, w.rivals, w.twins, w.erased, self._alike.alike])
            self._calm(plan.calm)
            self._faults(plan, began)
            while self.rig.kills < plan.kills and time.monotonic() - began < plan.seconds:
                kill = Fault("kill", self._kills.choice(sorted(self.rig.instances)))
                self._strike(kill)
                self._tell(kill)
            outcome.history.await_acknowledged(plan.commands, began + plan.seconds - time.monotonic())
            w.finish(began + plan.seconds - time.monotonic())
            w.stop()
            self.rig.mend()
            calm = time.monotonic()
            self._await_whole(calm)
        finally:
            self._over.set()
            w.stop()
            self._fresh.stop()
        self._rest()
        outcome.rest_seconds = time.monotonic() - calm
        self._send_again()
        self._rest()
        self._check()

    def _faults(self, plan: Plan, began: float) -> None:
        for fault in self._with_kills(plan):
            enough = self.rig.kills >= plan.kills and self.outcome.history.acknowledged >= plan.commands
            if (plan.endless and enough) or time.monotonic() - began > plan.seconds:
                return
            self._strike(fault)
            self._tell(fault)
            _, calmed = self.outcome.calms[-1]
            due = time.monotonic() - calmed > CALM_EVERY_SECONDS
            if plan.endless and due and self.outcome.strikes[-1].whole is not None:
                self._calm(plan.calm)

    def _with_kills(self, plan: Plan) -> Iterator[Fault]:
        for fault in plan.faults:
            if self.rig.kills < plan.kills:
                for _ in range(plan.kills_between):
                    yield Fault("kill", self._kills.choice(sorted(self.rig.instances)))
            yield fault

    def _calm(self, answers: int) -> None:
        """Looks for a while at how fresh views are when all is well: no fault is about, what came meanwhile is worked
        off, and clients ask for no more than the machine keeps up with. A fault is about until its last victim can
        have been missed: then the group's partitions move once more."""
        with self._pace.eased(CALM_ROWS_A_SECOND):
            self._await_whole(time.monotonic())
            if self.outcome.strikes:
                missed = time.monotonic() + SESSION_TIMEOUT_SECONDS
                settled("nobody is missed", lambda: time.monotonic() > missed, seconds=SESSION_TIMEOUT_SECONDS + 5)
            self._await_caught_up()
            began, enough = time.monotonic(), len(self._fresh.served) + answers
            try:
                settled("answers were looked at", lambda: len(self._fresh.served) >= enough, seconds=WHOLE_SECONDS)
            except AssertionError:
                self.outcome.wrong("P12", f"{WHOLE_SECONDS:g} s after the last fault standings are not served")
            self.outcome.calms.append((began, time.monotonic()))

    def _await_caught_up(self) -> None:
        """Until no instance says any more that it is behind: one learner's standing may be fresh before all are. Where
        that takes long the calm begins all the same, and how fresh it is tells."""
        with suppress(AssertionError):
            settled("all has caught up", lambda: self.rig.ready(states=("ok",)), seconds=OVERRUN_SECONDS)

    def _strike(self, fault: Fault) -> None:
        began = time.monotonic()
        burst = fault.kind == "kill" and fault.what in self.rig.instances
        if burst:
            history = self.outcome.history
            history.await_acknowledged(history.acknowledged + KILL_AFTER_ROWS, KILL_SECONDS)
        try:
            self._struck.strike(fault)
        except (AssertionError, Unhealed, Refused) as error:
            self.outcome.wrong("P11", f"{fault}: {error}")
        ended = time.monotonic()
        whole = None if burst else self._await_whole(ended)
        self.outcome.strikes += [Strike(each, began, ended, whole) for each in (fault, *fault.beside)]

    def _meanwhile(self, spared: Sequence[str], over: Callable[[], bool]) -> None:
        """While a fault only lasts others are killed, each over some work, until there were enough."""
        history, wanted = self.outcome.history, self.outcome.wanted
        others = [name for name in sorted(self.rig.instances) if name not in spared]
        aim = history.acknowledged + KILL_AFTER_ROWS
        while not over():
            if wanted is not None and self.rig.kills >= wanted.kills:
                self._over.wait(LOOK_SECONDS)
                continue
            if not history.await_acknowledged(aim, LOOK_SECONDS):
                continue
            aim = history.acknowledged + KILL_AFTER_ROWS
            kill, began = Fault("kill", self._kills_beside.choice(others)), time.monotonic()
            self._struck.strike(kill)
            self.outcome.strikes.append(Strike(kill, began, time.monotonic(), None))

    @contextmanager
    def _not_overrun(self) -> Iterator[None]:
        """Where what is done in here takes long clients ask for less: on a machine that they overrun nothing is ever
        fresh, and what has a queue would look like what is stuck."""
        began = time.monotonic()
        try:
            with self._pace.eased(CALM_ROWS_A_SECOND, after=OVERRUN_SECONDS):
                yield
        finally:
            self.outcome.eased += time.monotonic() - began > OVERRUN_SECONDS

    def _await_whole(self, since: float) -> float | None:
        """When it was whole again."""

        def whole() -> bool:
            return self._fresh.fresh_since(since) and self.rig.ready()  # the dearer look last

        try:
            with self._not_overrun():
                settled("whole again", whole, seconds=OVERRUN_SECONDS + WHOLE_SECONDS)
        except AssertionError:
            unready = {name: self.rig.health(name) for name in self.rig.instances if not self.rig.ready(name)}
            database = database_says(self.rig.mongo.uri, sorted(set(self.rig.instances.values())))
            what = f"not whole {OVERRUN_SECONDS + WHOLE_SECONDS:g} s after a fault: {unready or 'nothing fresh'}"
            self.outcome.wrong("P12", f"{what}; {database}")
            return None
        return time.monotonic()

    def _tell(self, fault: Fault) -> None:
        counted = self.outcome.history.counted()
        last = self.outcome.strikes[-1 - len(fault.beside)]
        took = f", whole after {last.recovery_seconds:.1f} s" if last.recovery_seconds is not None else ""
        self._say(f"{counted['ok']} acknowledged, {self.rig.kills} kills; {last.fault}{took}")

    def _rest(self) -> None:
        with closing(Reading(self.rig.mongo.uri, sorted(set(self.rig.instances.values())))) as reading:
            if found := rest(self.rig.kafka.bootstrap, reading, REST_SECONDS):
                self.outcome.wrong("P12", f"not at rest after {REST_SECONDS:g} s without a fault: {found}")

    def _send_again(self) -> None:
        """After everything, the same ids once more: the same answers must come, and nothing new be stored (P7)."""
        batches = self.outcome.history.batches
        chosen: Sequence[Batch] = self._again.sample(batches, min(len(batches), AGAIN_BATCHES))
        client = Client(self.rig, self.outcome.history, self._again, threading.Event())
        for batch in chosen:
            try:
                client.sends(batch.request, batch.who)
            except Unhealed as error:
                self.outcome.wrong("P7", str(error))
            self.outcome.sent_again += len(batch.request.rows)  # type: ignore[attr-defined]

    def _note(self) -> None:
        outcome = self.outcome
        outcome.kills = self.rig.kills
        outcome.served = self._fresh.served
        outcome.ended = list(self.rig.ended)
        outcome.duplicated = self._struck.duplicated
        outcome.rebuilds, outcome.poisonings = self._operators.rebuilds, self._operators.poisonings
        outcome.erasures = self._writers.erasures
        outcome.alike = max(0, len(self._alike.rounds) - 1)

    def _check(self) -> None:
        self._note()
        outcome = self.outcome
        troubles = [*self._writers.troubles, *self._fresh.troubles, *crashes(outcome.ended)]
        with closing(Reading(self.rig.mongo.uri, sorted(set(self.rig.instances.values())))) as reading:
            outcome.found = read(self.rig.kafka.bootstrap, reading)
        places = self._places()
        outcome.searched_bytes = sum(map(len, places.values()))
        wrong = {
            **verdicts(Case(outcome.history, outcome.found)),
            "P8": p8_views_are_rebuilt(outcome.rebuilds, self._fresh.failed),
            "P9": p9_only_its_own_stream(outcome.poisonings),
            "P10": p10_redriven_is_whole(outcome.poisonings),
            "P11": troubles,
            "P17": p17_views_are_fresh(outcome.calm_ages),
            "P19": p19_erased_is_gone(outcome.erasures, outcome.found.keys, self._traces(places)),
        }
        wrong["P6"] += [
            each for name, found in self._alike.served() for each in p6_like_the_clean(name, found, self._alike.clean)
        ]
        for promise, found in wrong.items():
            for what in found:
                outcome.wrong(promise, what)

    def _places(self) -> dict[str, bytes]:
        """All that is kept or told, by place."""
        found = dict(traces.databases(self.rig.mongo.uri))
        found |= asyncio.run(traces.topics(self.rig.kafka.bootstrap))
        for name in self.rig.instances:
            logs = (self.rig.folder / name).glob(LOGS)
            found |= {f"log {name}/{log.name}": log.read_bytes() for log in logs}
            found |= {f"page {name}{page}": self.rig.page(name, page) for page in PAGES}
        return found

    def _traces(self, places: traces.Places) -> list[str]:
        secrets = self.rig.secrets
        files = {"the master key": secrets.master_key, "the digest key": secrets.digest_key}
        keys = {name: base64.b64decode(file.read_text()) for name, file in files.items()}
        return traces.Search(PERSONAL, keys).traces(places)


def crashes(ended: Sequence[Ended]) -> list[str]:
    """Processes that ended by themselves, and not as an orchestrator has to expect."""
    return [
        f"{each.name} ended by itself with {each.exit_code}: {each.said}"
        for each in ended
        if each.exit_code not in EXPECTED_EXITS or EXPECTED_EXITS[each.exit_code] not in each.said
    ]
