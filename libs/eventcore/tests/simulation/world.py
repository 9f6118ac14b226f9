"""One seed's world: two services on memory stores, a topic each, their processes, and the faults that befall them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from eventcore.decider import category_of
from eventcore.erasure import ErasingMarks
from eventcore.evaluate import Marker
from eventcore.execute import Executor, Limits
from eventcore.fold import Folder, View
from eventcore.generations import CurrentViews, Gate
from eventcore.personal import Keyring
from eventcore.rebuild import Also
from eventcore.store import StoreUnavailable

from . import domain, ports, processes, script
from .faults import draw, rebuilds
from .scheduler import STEPS_MAX, Scheduler, Violation, give_way

OF_SERVICE = {"enrol": "enr", "cohort": "enr", "person": "enr", "assess": "acc", "rcredit": "acc"}
DIGEST_KEY = b"simulated"
MASTER_KEY = bytes(32)
FOR_LONG = 5000  # ticks: until all others have nothing left to do
BUILDING = ("read the ends", "swap to marking", "swap to switching", "list standings", "mark standings")
WINDOWS = [
    (process, operation)
    for process, operations in {
        "client": ("load appends", "insert append"),
        "fold-enr": ("write enrolments", "clear unfolded"),
        "fold-acc": ("read unfolded", "load ledgers", "write ledgers", "write assessments", "mark standings"),
        "publish-enr": ("read unpublished", "send", "clear unpublished"),
        "consumer": (
            *("load cohorts", "load enrolments", "write cohorts", "write enrolments", "mark standings"),
            *("load heads", "keep entry", "park head", "load entries", "drop entry", "remove head"),
        ),
        "evaluator": (
            *("read due standings", "load enrolments", "load cohorts", "load assessments", "load ledgers"),
            *("load appends", "insert append", "finish standings"),
        ),
    }.items()
    for operation in operations
]
"""Before what a seed's process may be frozen, with all it knows, until the others are done."""
TICKS_A_SECOND = 100  # of a rebuild, so that its pauses are as long beside a read as they are in earnest
POINTER_TICKS, SWITCH_TICKS = 1.0 * TICKS_A_SECOND, 10.0 * TICKS_A_SECOND
SKEW = 60  # seconds a clock may be off, either way


@dataclass
class Service:
    """What one service keeps and knows."""

    name: str
    appends: ports.Appends
    rooms: ports.Views
    generations: ports.Generations
    views: CurrentViews
    targets: ports.Targets
    keys: ports.Keys
    held: ports.Held
    bus: ports.Bus
    deciders: Mapping[str, Any]
    own: Sequence[View[Any]]
    grown: dict[str, None]  # streams just stored: the hints of its deliverers


class World(Scheduler):
    """`commands` keeps only these of the seed's commands, by number (to shrink a history)."""

    def __init__(
        self,
        seed: int,
        *,
        faults: Collection[str] | None = None,
        rates: Mapping[str, float] | None = None,
        commands: Collection[int] | None = None,
        trace: bool = False,
    ) -> None:
        self.r = r = random.Random(seed)
        super().__init__(r)
        self.history: list[str] | None = [] if trace else None
        self.faults, self.rates = draw(r, faults, rates or {})
        self.calm = False
        self.uneven = r.random() < 0.7
        self.salt = r.randint(0, 99)
        self.late: list[Callable[[], Any]] = []
        cap, chain = r.choice([(20, False), (40, False), (40, True)])
        self.rules = domain.Rules(cap, chain, domain.instant(r.choice([0, 0, 300, 800])))
        self.limits = Limits(attempts=3, append_bytes=r.choice([1, 200, 1_000_000]))
        self.page = r.choice([1, 2, 5, 500])
        # Who was told what.
        self.tries: Counter[str] = Counter()
        self.acknowledged: dict[str, tuple[str, int]] = {}
        self.refused: set[str] = set()
        self.evaluations = 0
        # The topic, its consumers, its repair.
        self.committed = [0] * ports.PARTITIONS
        self.generation = 0
        self.owner = [0, 1]
        self.bad: set[str] = {f"enrol-c1--{r.choice('pq')}@{r.choice((1, 3, 4))}"} if "poison" in self.faults else set()
        self.fix_at = r.randint(50, 1000)
        self.fixed = False
        self.discarded: set[str] = set()
        freezes = "pause" in self.faults and r.random() < 0.7
        self.frozen = r.choice(WINDOWS) if freezes else None
        apart = random.Random(f"rebuilds of {seed}")
        self.rebuilds = rebuilds(apart, faults)
        if self.rebuilds:
            self.faults |= {"rebuild"}
            if freezes and apart.random() < 0.5:
                self.frozen = ("builder", apart.choice(BUILDING))
        self.spoilt: set[str] = set()
        self.republish_at = r.randint(100, 1500) if "replay" in self.faults else None
        self.repair_at = r.randint(100, 1500)
        # The operator makes a topic that lost records anew instead of filling it, which takes its processes down.
        self.recreates = r.random() < 0.4
        # The operator goes on without the poison instead of shipping a fix (what is left of a stream without its first
        # event need not be worth an evaluation, so not that one).
        self.discards = r.random() < 0.4 and not any(name.endswith("@1") for name in self.bad)
        self._make()
        self.queues, self.commands = script.write(r, commands, twins="twins" in self.faults, race_p=self.rates.race_p)
        self._start()
        if self.uneven:
            self.new_speeds()

    def _make(self) -> None:
        self.deciders = domain.make_deciders(self.rules)
        self.view = view = domain.make_views()
        self.evaluation = domain.make_evaluation(
            self.rules, view, self.deciders["rcredit"], self.r.shuffle, self._told_evaluation
        )
        own: dict[str, list[View[Any]]] = {
            "enr": [view.enrolment, view.cohort, view.person],
            "acc": [view.assessment, view.ledger],
        }
        self.service = {
            name: Service(
                name,
                ports.Appends(f"epoch-{name}", self.switch, world=self),
                rooms := ports.Views(self.switch, world=self, service=name),
                generations := ports.Generations(self.switch, world=self),
                CurrentViews(rooms, generations, self.ticks, seconds=POINTER_TICKS),
                ports.Targets(self.switch, world=self),
                ports.Keys(self.switch, world=self, service=name),
                ports.Held(self.switch, world=self),
                ports.Bus(self, f"topic.{name}", may_lose=name == "enr"),
                {c: d for c, d in self.deciders.items() if OF_SERVICE[c] == name},
                own[name],
                {},
            )
            for name in ("enr", "acc")
        }

    def _start(self) -> None:
        for i in range(2):
            self.start(f"client{i}", lambda i=i: processes.client(self, i))  # type: ignore[misc]
            for service in self.service.values():
                self.start(f"fold-{service.name}{i}", lambda s=service: processes.own_fold(self, s))  # type: ignore[misc]
                self.start(f"publish-{service.name}{i}", lambda s=service: processes.publisher(self, s))  # type: ignore[misc]
            self.start(f"consumer{i}", lambda i=i: processes.consumer(self, i))  # type: ignore[misc]
            self.start(f"evaluator{i}", lambda: processes.evaluator(self))
            self.start(f"sweeper{i}", lambda: processes.sweeper(self))
        self.start("operator", lambda: processes.operator(self))
        if "rebuild" in self.faults:
            self.start("builder", lambda: processes.builder(self))
        if "erase" in self.faults:
            self.start("eraser", lambda: processes.eraser(self))

    # ---- what processes are made of

    def of(self, stream: str) -> Service:
        return self.service[OF_SERVICE[category_of(stream)]]

    def executor(self, service: Service) -> Executor:
        async def pause(_attempt: int) -> None:
            await give_way("pause after a lost race")

        def stored(streams: Sequence[str]) -> None:
            service.grown.update(dict.fromkeys(streams))
            self.wake_all()

        return Executor(service.appends, DIGEST_KEY, limits=self.limits, pause=pause, stored=stored)

    def folder(self, service: Service, views: Sequence[View[Any]]) -> Folder:
        evaluations = [self.evaluation] if service.name == "acc" else []
        marks = Marker(evaluations, service.views, service.targets)
        erasing = ErasingMarks(marks, self.keyring(service), self.clock)
        if views is service.own:
            also = Also(views, service.views, service.generations, service.appends, service.deciders)
            return Folder(views, service.views, erasing, also=also)
        gate = Gate(service.generations, [v.name for v in views], self.ticks, seconds=SWITCH_TICKS)
        return Folder(views, service.views, erasing, gate=gate)

    def keyring(self, service: Service) -> Keyring:
        return Keyring(service.keys, MASTER_KEY, lambda: float(self.now))

    ticks_a_second = TICKS_A_SECOND

    def ticks(self) -> float:
        """A process's own time, which only measures how long something takes."""
        return float(self.now)

    def clock(self) -> datetime:
        skew = self.r.choice((-SKEW, SKEW)) if "skew" in self.faults and not self.calm else 0
        return domain.instant(self.now + skew)

    def parse(self, kind: str, data: bytes) -> Any:
        """The consumer's decoder, with this release's fault in it."""
        name = data.partition(b"\n")[0].decode()
        if name in self.bad and not self.fixed:
            raise ValueError("this release cannot decode it")
        return domain.parse(kind, data)

    # ---- faults

    def strikes(self, fault: str, chance: float) -> bool:
        return not self.calm and fault in self.faults and self.r.random() < chance

    async def switch(self, operation: str) -> None:
        """Before every operation of a store or bus takes effect."""
        if (
            not self.calm
            and self.frozen is not None
            and self.frozen[1] == operation
            and self.me.startswith(self.frozen[0])
        ):
            self.say("FROZEN before", operation)
            self.pause(self.me, FOR_LONG)
            self.frozen = None
        await give_way(operation)
        if operation.startswith(("load", "read", "find", "bind")) and self.strikes("mongo", self.rates.io_p / 12):
            self.say(operation, "FAILS")
            raise StoreUnavailable(operation)

    def _mischief(self) -> None:
        r = self.r
        if self.uneven and r.random() < 0.004:
            self.new_speeds()
        if "rebalance" in self.faults and r.random() < 0.01:
            self.owner = r.choice(([0, 1], [1, 0], [0, 0], [1, 1]))
            self.generation += 1
            self._say_as("kafka", "REBALANCE", self.owner)
            self.wake_all()
        if "replay" in self.faults and r.random() < 0.003:
            partition = r.randrange(ports.PARTITIONS)
            self.committed[partition] = r.randint(0, self.committed[partition])
            self._say_as("kafka", "OFFSET RESET", partition, "to", self.committed[partition])
            self.wake_all()

    # ---- the history

    def say(self, *words: object) -> None:
        if self.history is not None:
            self.history.append(f"{self.now:5} {self.me:13} " + " ".join(map(str, words)))

    def _say_as(self, who: str, *words: object) -> None:
        self.me = who
        self.say(*words)

    def _told_evaluation(self, target: str, outcome: str, command: Any, basis: Mapping[str, int]) -> None:
        self.evaluations += 1
        self.say("evaluate", target, outcome, type(command).__name__ if command else "", dict(basis))

    # ---- always

    def check_cap(self, stream: str) -> None:
        if category_of(stream) != "rcredit":
            return
        slots = self.service["acc"].appends.streams[stream]
        if ports.ledger_credits(self.deciders["rcredit"], slots) > self.rules.cap:
            raise Violation("cap exceeded", stream)

    # ---- one history

    def run(self) -> None:
        """Runs until nothing moves: first with faults, then calm. Raises Violation."""
        r = self.r
        asked_at = -1  # after which change everyone was asked whether there is something to do
        while self.steps < STEPS_MAX:
            self.now += 1
            self.steps += 1
            if not self.calm and self.now > self.rates.until:
                self._calm_down()
            if self.late and r.random() < (0.3 if self.calm else 0.02):
                self._say_as("network", "a late write or send lands")
                self.late.pop(r.randrange(len(self.late)))()
                self.wake_all()
            if not self.calm:
                self._mischief()
            name = self.choose()
            if name is None:
                if self._wait():
                    continue
                if asked_at == self.changes:
                    return
                asked_at = self.changes  # everyone is asked once more before it is called quiet
                self.wake_all()
                continue
            self.me = name
            if self._strike_process(name):
                continue
            before = self.changes
            self.step(name)
            if self.changes != before:
                self.wake_one()  # at the latest when nobody has anything to do, all are woken
        raise Violation("never quiet", f"after {STEPS_MAX} steps")

    def _calm_down(self) -> None:
        self.calm = True
        self.wake_paused()
        self.even_speeds()
        self.wake_all()
        self._say_as("", "--- the faults stop")

    def _wait(self) -> bool:
        """Nobody can go on: lets time pass until something is due; False when nothing is."""
        if self.late:
            return True
        due = [
            int((t.evaluate_at - domain.START).total_seconds())
            for t in self.service["acc"].targets.targets.get(self.evaluation.name, {}).values()
            if t.evaluate_at is not None and t.evaluate_at > domain.instant(self.now)
        ]
        if not self.calm:
            awake = self.next_awake()
            if awake is not None and (not due or awake < min(due) - SKEW):
                self.now = awake
                return True
            if due:
                # Faults go on around the deadline: a fast clock sees it come, a slow one does not yet.
                self.now = max(self.now, min(due) - SKEW)
                self.rates.until = max(self.rates.until, min(due) + SKEW)
            elif not any(self.queues):
                self.rates.until = 0
        elif (awake := self.next_awake()) is not None:
            self.now = awake  # a rebuild waits now and then
        elif due:
            self.now = min(due)
        elif self.bad and not self.fixed and self.now <= self.fix_at:
            self.now = self.fix_at + 1
        else:
            return False
        self.wake_all()
        return True

    def _strike_process(self, name: str) -> bool:
        if self.calm:
            return False
        if "crash" in self.faults and self.r.random() < self.rates.crash_p and self.may_crash(name):
            self.say("CRASH")
            self.restart(name)
            self.pause(name, self.r.randint(0, 60))
            return True
        if "pause" in self.faults and self.r.random() < self.rates.pause_p:
            self.pause(name, self.r.randint(10, 250))
            return True
        return False
