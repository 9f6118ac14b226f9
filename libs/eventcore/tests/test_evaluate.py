"""Evaluate: a result rests on the versions it names, and whatever moves in between leaves its target dirty."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from eventcore.deliver import OwnFold
from eventcore.evaluate import ASIDE, Evaluation, Evaluator, Facts, Marker, Pass, Reader, Verdict
from eventcore.event import StoredEvent
from eventcore.execute import Limits
from eventcore.limits import EVALUATED_AT_ONCE_MAX
from eventcore.loops import Wake, evaluate_forever
from eventcore.memory import MemoryAppends, MemoryTargets
from eventcore.store import StoreUnavailable
from eventcore.testing import NOON

from .sample import JAR, JARS, SHELF, FatedAppends, Jar, JarCommand, Stores, drop, executor, jar_of, own_fold

JAR_1, JAR_2 = "jar-1--a", "jar-2--a"


def folding(stores: Stores) -> OwnFold:
    marker = Marker([SHELF], stores.views, stores.targets)
    return own_fold(stores.appends, stores.views, marks=marker)


def evaluator(stores: Stores, now: datetime = NOON, attempts: int = 8) -> Evaluator:
    run = executor(stores.appends, limits=Limits(attempts=attempts))
    return Evaluator(SHELF, stores.views, stores.targets, run, lambda: now, actor="service")


async def dropping(stores: Stores, stream: str, command_id: str, coins: int = 1) -> None:
    await executor(stores.appends).execute(JAR, [drop(stream, command_id, coins)])
    await folding(stores).step()


def shelf(stores: Stores, name: str = "a") -> Any:
    return stores.targets.targets["shelves"][name]


async def test_a_document_that_changed_is_evaluated_with_what_it_rests_on() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a", 1)
    await dropping(stores, JAR_2, "b", 1)

    assert await evaluator(stores).look() == Pass(evaluated=1)

    assert shelf(stores).result == {"coins": 2}
    assert shelf(stores).basis == {JAR_1: 1, JAR_2: 1}
    assert not shelf(stores).dirty
    assert await evaluator(stores).look() == Pass()


async def test_documents_of_another_target_are_left_alone() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a")
    await dropping(stores, "jar-9--b", "b")

    assert (await evaluator(stores).look()).evaluated == 2

    assert shelf(stores, "b").result == {"coins": 1}


async def test_a_command_is_executed_once_and_what_it_changed_is_looked_at_again() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a", 3)

    await evaluator(stores).look()
    assert not shelf(stores).dirty
    await folding(stores).step()

    assert shelf(stores).dirty, "the service's own append is a fact too"
    await evaluator(stores).look()
    document = jar_of(stores.views, JAR_1)[1]
    assert document is not None
    assert document.sealed
    assert [e.type for a in stores.appends.streams[JAR_1].values() for e in a.events].count("jar.sealed.v1") == 1


async def again(stores: Stores, *streams: str) -> None:
    """What was folded comes once more."""
    marker = Marker([SHELF], stores.views, stores.targets)
    documents = {stream: jar_of(stores.views, stream) for stream in streams}
    await marker.mark(JARS, {s: d for s, (_, d) in documents.items()}, {s: v for s, (v, _) in documents.items()})


async def test_a_duplicate_marks_nothing_that_has_seen_its_document() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a", 1)
    await dropping(stores, JAR_2, "b", 1)
    await evaluator(stores).look()

    await again(stores, JAR_1, JAR_2)

    assert not shelf(stores).dirty, "a log that is read again would evaluate everything again"


async def test_a_duplicate_marks_what_has_not_seen_its_document() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a", 1)
    await dropping(stores, JAR_2, "b", 1)
    await evaluator(stores).look()
    await executor(stores.appends).execute(JAR, [drop(JAR_2, "c")])
    await own_fold(stores.appends, stores.views).step()  # the crash: it never came to the marks
    assert not shelf(stores).dirty

    await again(stores, JAR_1, JAR_2)

    assert shelf(stores).dirty
    await evaluator(stores).look()
    assert shelf(stores).result == {"coins": 3}


async def test_a_duplicate_marks_what_was_never_evaluated() -> None:
    stores = Stores()
    await executor(stores.appends).execute(JAR, [drop(JAR_1, "a")])
    await own_fold(stores.appends, stores.views).step()  # the crash: it never came to the marks

    await again(stores, JAR_1)

    assert shelf(stores).dirty


async def test_beside_a_duplicate_what_is_new_marks_as_ever() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a", 1)
    await evaluator(stores).look()
    marker = Marker([SHELF], stores.views, stores.targets)
    _, document = jar_of(stores.views, JAR_1)

    await marker.mark(JARS, {JAR_1: document, "jar-9--b": document}, {"jar-9--b": 1})

    assert shelf(stores).dirty


class Asked:
    """Evaluations that note which documents they were asked about; `away` is away the first time."""

    def __init__(self, stores: Stores, *names: str, away: str = "") -> None:
        self.by: dict[str, list[str]] = {name: [] for name in names}
        self._away = away
        self.marker = Marker([self._noting(name) for name in names], stores.views, stores.targets)

    def _noting(self, name: str) -> Evaluation:
        async def dependants(reader: Reader, documents: Mapping[str, Any]) -> Collection[str]:
            if name == self._away:
                self._away = ""
                raise StoreUnavailable(f"{name} is away")
            self.by[name] += documents
            return await SHELF.dependants[JARS.name](reader, documents)

        return replace(SHELF, name=name, dependants={JARS.name: dependants})


async def test_a_batch_of_duplicates_that_is_tried_again_goes_on_where_it_was() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a", 1)
    asked = Asked(stores, "shelves", "lids", away="lids")
    _, document = jar_of(stores.views, JAR_1)

    with pytest.raises(StoreUnavailable):
        await asked.marker.mark(JARS, {JAR_1: document}, {JAR_1: 1})
    for _ in range(2):
        await asked.marker.mark(JARS, {JAR_1: document}, {JAR_1: 1})

    assert asked.by == {"shelves": [JAR_1], "lids": [JAR_1]}, "else what takes longer than a try would never end"
    assert stores.targets.targets["lids"]["a"].dirty


async def test_a_duplicate_of_a_later_version_is_looked_at_again() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a", 1)
    await evaluator(stores).look()
    marker = Marker([SHELF], stores.views, stores.targets)
    await marker.mark(JARS, {JAR_1: jar_of(stores.views, JAR_1)[1]}, {JAR_1: 1})
    assert not shelf(stores).dirty
    await executor(stores.appends).execute(JAR, [drop(JAR_1, "b")])
    await own_fold(stores.appends, stores.views).step()  # the crash: it never came to the marks

    await marker.mark(JARS, {JAR_1: jar_of(stores.views, JAR_1)[1]}, {JAR_1: 2})

    assert shelf(stores).dirty


@pytest.mark.parametrize("more", [0, 1], ids=["at the limit", "one beyond it"])
async def test_no_more_duplicates_are_remembered_than_the_limit_and_a_forgotten_one_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    monkeypatch.setattr("eventcore.evaluate.MADE_GOOD_MAX", 2)
    stores = Stores()
    asked = Asked(stores, "shelves")
    jars = [f"jar-{n}--a" for n in range(2 + more)]
    for jar in jars:
        await dropping(stores, jar, jar)
    for jar in jars:
        await asked.marker.mark(JARS, {jar: jar_of(stores.views, jar)[1]}, {jar: 1})
    asked.by["shelves"].clear()

    await asked.marker.mark(JARS, {jar: jar_of(stores.views, jar)[1] for jar in jars}, dict.fromkeys(jars, 1))

    assert asked.by["shelves"] == jars[:more]


async def test_a_command_carries_the_version_it_was_decided_on_and_its_target() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a", 3)

    await evaluator(stores).look()

    (step,) = stores.appends.streams[JAR_1][4].steps
    assert step.id.startswith("Seal-")
    assert step.causation == "a"


@pytest.mark.parametrize(("seen", "trace"), [(False, "its own"), (True, "the other's")], ids=["first look", "later"])
async def test_a_command_goes_on_with_the_trace_of_the_first_fact_that_moved(seen: bool, trace: str) -> None:
    stores = Stores()
    run = executor(stores.appends)
    await run.execute(JAR, [replace(drop(JAR_1, "a", 1), traceparent="its own")])
    await folding(stores).step()
    if seen:
        await evaluator(stores).look()
    await run.execute(JAR, [replace(drop(JAR_2, "b", 3), traceparent="the other's")])
    await folding(stores).step()

    await evaluator(stores).look()

    sealed = [s for slots in stores.appends.streams.values() for a in slots.values() for s in a.steps if s.causation]
    assert {step.traceparent for step in sealed} == {trace}


async def test_a_command_decided_on_old_facts_is_dropped_and_settles() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a", 3)
    await executor(stores.appends).execute(JAR, [drop(JAR_1, "meanwhile")])

    assert (await evaluator(stores).look()).unsettled == 0

    assert len(stores.appends.streams[JAR_1]) == 2, "nothing was sealed on old facts"


async def test_a_command_repeated_after_a_crash_is_replayed() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a", 3)
    await evaluator(stores).look()
    await stores.targets.mark("shelves", ["a"])  # the crash: the result was never written

    assert (await evaluator(stores).look()).unsettled == 0

    assert len(stores.appends.streams[JAR_1]) == 2


async def test_a_command_that_ended_unknown_leaves_its_target_dirty() -> None:
    stores = Stores(FatedAppends())
    await dropping(stores, JAR_1, "a", 3)
    assert isinstance(stores.appends, FatedAppends)
    stores.appends.fates = ["lost"] * 2

    look = await evaluator(stores, attempts=2).look()

    assert look.unsettled == 1
    assert shelf(stores).dirty
    assert shelf(stores).result is None
    assert (await evaluator(stores).look()).unsettled == 0


async def test_a_fact_that_changes_during_the_look_keeps_the_target_dirty() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a")

    class Interrupted(MemoryTargets):
        async def finish(self, evaluation: str, findings: Sequence[Any]) -> list[bool]:
            await dropping(stores, JAR_1, "meanwhile")
            return await super().finish(evaluation, findings)

    interrupted = Interrupted(targets=stores.targets.targets)
    work = Evaluator(SHELF, stores.views, interrupted, executor(stores.appends), lambda: NOON, actor="service")

    assert await work.look() == Pass(evaluated=1, lost=1)
    assert shelf(stores).dirty

    await evaluator(stores).look()
    assert shelf(stores).result == {"coins": 2}


async def test_of_two_evaluators_the_slower_cannot_overwrite() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a")

    class Overtaken(MemoryTargets):
        async def finish(self, evaluation: str, findings: Sequence[Any]) -> list[bool]:
            await evaluator(stores).look()
            return await super().finish(evaluation, findings)

    slow = Overtaken(targets=stores.targets.targets)
    work = Evaluator(SHELF, stores.views, slow, executor(stores.appends), lambda: NOON, actor="service")

    assert (await work.look()).lost == 1
    assert not shelf(stores).dirty


async def test_a_deadline_wakes_its_target() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a", 0)
    await stores.targets.mark("shelves", ["empty"])
    await evaluator(stores).look()

    assert await evaluator(stores, NOON + timedelta(minutes=59)).look() == Pass()
    assert (await evaluator(stores, NOON + timedelta(minutes=60)).look()).evaluated == 1


async def test_a_verdict_and_its_commands_share_one_now() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a", 3)
    clock = iter(NOON + timedelta(seconds=n) for n in range(9))
    work = Evaluator(
        SHELF, stores.views, stores.targets, executor(stores.appends), lambda: next(clock), actor="service"
    )

    await work.look()

    assert stores.appends.streams[JAR_1][4].recorded == NOON + timedelta(seconds=1)
    assert next(clock) == NOON + timedelta(seconds=2), "the clock is read twice: for what is due, and for the look"


async def test_a_store_that_is_away_leaves_everything_dirty() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a")

    async def away(_operation: str) -> None:
        raise StoreUnavailable("away")

    stores.views.switch = away
    with pytest.raises(StoreUnavailable):
        await evaluator(stores).look()

    assert shelf(stores).dirty


async def test_a_reader_gives_a_fact_for_every_stream_asked_for() -> None:
    stores = Stores()
    await dropping(stores, JAR_1, "a")

    facts = await Reader(stores.views).get(JARS, [JAR_1, "jar-9--z", JAR_1])

    assert facts[JAR_1].version == 1
    assert (facts["jar-9--z"].version, facts["jar-9--z"].document) == (0, None)


async def test_a_reader_finds_beyond_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventcore.evaluate.FOUND_AT_ONCE_MAX", 2)
    stores = Stores(MemoryAppends())
    for n in range(5):
        await dropping(stores, f"jar-{n}--a", f"k{n}")

    facts = await Reader(stores.views).find(JARS, {"shelf": "a"})

    assert sorted(facts) == [f"jar-{n}--a" for n in range(5)]


async def test_a_reader_names_beyond_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventcore.evaluate.NAMED_AT_ONCE_MAX", 2)
    stores = Stores(MemoryAppends())
    for n in range(4):
        await dropping(stores, f"jar-{n}--a", f"k{n}")
    await dropping(stores, "jar-9--b", "k9")

    assert await Reader(stores.views).names(JARS, {"shelf": "a"}) == [f"jar-{n}--a" for n in range(4)]


def failing_for(*broken: str) -> Evaluation:
    def evaluate(target: str, facts: Facts, now: datetime) -> Verdict:
        if target in broken:
            raise KeyError("Sample Learner 01")
        return SHELF.evaluate(target, facts, now)

    return replace(SHELF, evaluate=evaluate)


class Clock:
    now = NOON

    def __call__(self) -> datetime:
        return self.now


def partly(stores: Stores, *broken: str, clock: Clock | None = None, limit: int = 200) -> Evaluator:
    return Evaluator(
        failing_for(*broken),
        stores.views,
        stores.targets,
        executor(stores.appends),
        clock or Clock(),
        actor="service",
        limit=limit,
    )


async def test_a_target_whose_evaluation_raises_stays_dirty_and_stops_no_other() -> None:
    stores = Stores()
    await stores.targets.mark("shelves", ["a", "b", "c"])
    work = partly(stores, "b")

    look = await work.look()

    assert look.evaluated == 2
    assert list(look.failed) == ["b"]
    assert work.failing == {"b": "KeyError"}
    assert [shelf(stores, name).dirty for name in "abc"] == [False, True, False]


async def test_an_order_that_raises_when_it_is_decided_fails_its_own_target_only() -> None:
    def picky(command: JarCommand, state: Jar, now: datetime) -> Any:
        if state.coins == 4:
            raise ValueError("Sample Learner 01")
        return JAR.decide(command, state, now)

    broken = replace(JAR, decide=picky)

    def ordering(target: str, facts: Facts, now: datetime) -> Verdict:
        verdict = SHELF.evaluate(target, facts, now)
        return replace(verdict, orders=tuple(replace(order, decider=broken) for order in verdict.orders))

    stores = Stores()
    await dropping(stores, "jar-1--a", "k1", 3)
    await dropping(stores, "jar-1--b", "k2", 4)
    await dropping(stores, "jar-1--c", "k3", 3)
    evaluation = replace(SHELF, evaluate=ordering)
    run = executor(stores.appends)
    work = Evaluator(evaluation, stores.views, stores.targets, run, lambda: NOON, actor="service")

    look = await work.look()

    assert (look.evaluated, look.unsettled, list(look.failed)) == (3, 0, ["b"])
    assert work.failing == {"b": "ValueError"}
    assert [shelf(stores, name).dirty for name in "abc"] == [False, True, False]
    assert [len(stores.appends.streams[f"jar-1--{name}"]) for name in "abc"] == [2, 1, 2]


async def test_targets_that_fail_do_not_hide_the_others_however_many_there_are() -> None:
    stores = Stores()
    broken = [f"a{n}" for n in range(5)]
    await stores.targets.mark("shelves", [*broken, "b", "c"])
    work = partly(stores, *broken, limit=2)

    looks = [await work.look() for _ in range(5)]

    assert not shelf(stores, "b").dirty
    assert not shelf(stores, "c").dirty
    assert sum(len(look.failed) for look in looks) == 5, "each is tried once, then stands aside"
    assert sorted(work.failing) == broken


async def test_targets_whose_orders_end_unknown_do_not_hide_the_others() -> None:
    """As when a release was taken back too far: every order on what the newer one stored is left to that."""

    stores, names = Stores(), [f"a{n}" for n in range(4)]
    for name in (*names, "b"):
        await dropping(stores, f"jar-1--{name}", "k", 3)
    kept = {name: stores.appends.streams[f"jar-1--{name}"][1] for name in names}
    newer = (StoredEvent("jar.dropped.v99", {}),)
    for append in kept.values():
        stores.appends.streams[append.stream][1] = replace(append, events=newer)
    run = executor(stores.appends)
    work = Evaluator(SHELF, stores.views, stores.targets, run, lambda: NOON, actor="service", limit=2)

    looks = [await work.look() for _ in range(4)]

    assert not shelf(stores, "b").dirty
    assert all(look.unsettled for look in looks)
    assert all(shelf(stores, name).dirty for name in names)
    assert work.failing == {}, "nothing raised"
    for append in kept.values():
        stores.appends.streams[append.stream][1] = append
    assert sum([(await work.look()).unsettled for _ in range(3)]) == 0
    assert not any(shelf(stores, name).dirty for name in names)


@pytest.mark.parametrize("more", [0, 1], ids=["at the limit", "one beyond it"])
async def test_no_more_failed_targets_are_remembered_than_the_limit_and_a_forgotten_one_fails_again(
    monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    monkeypatch.setattr("eventcore.evaluate.FAILING_MAX", 3)
    broken = [f"a{n}" for n in range(3 + more)]
    stores = Stores()
    await stores.targets.mark("shelves", [*broken, "b"])
    work = partly(stores, *broken)

    assert list((await work.look()).failed) == broken
    assert list(work.failing) == broken[more:]
    assert list((await work.look()).failed) == broken[:more]
    assert len(work.failing) == 3
    assert not shelf(stores, "b").dirty

    while (await evaluator(stores).look()).evaluated:  # a release that can
        pass
    assert not [name for name in broken if shelf(stores, name).dirty]


@pytest.mark.parametrize("more", [0, 1], ids=["at the limit", "one beyond it"])
async def test_a_look_evaluates_so_many_targets_and_leaves_the_rest_dirty_for_the_next(more: int) -> None:
    stores = Stores()
    names = [f"s{n}" for n in range(EVALUATED_AT_ONCE_MAX + more)]
    await stores.targets.mark("shelves", names)
    work = evaluator(stores)

    assert (await work.look()).evaluated == EVALUATED_AT_ONCE_MAX
    assert [shelf(stores, name).dirty for name in names].count(True) == more
    assert (await work.look()).evaluated == more
    assert not [name for name in names if shelf(stores, name).dirty]


async def test_a_failed_target_is_tried_again_later_and_at_once_when_it_changed() -> None:
    stores = Stores()
    await stores.targets.mark("shelves", ["b"])
    clock = Clock()
    work = partly(stores, "b", clock=clock)
    assert (await work.look()).failed
    assert await work.look() == Pass()

    clock.now = NOON + ASIDE[0]
    assert (await work.look()).failed
    assert not (await work.look()).failed

    await stores.targets.mark("shelves", ["b"])
    assert (await work.look()).failed


async def test_a_failed_target_that_another_process_evaluated_is_forgotten() -> None:
    stores = Stores()
    await stores.targets.mark("shelves", ["b"])
    work = partly(stores, "b")
    await work.look()

    await evaluator(stores).look()
    await work.look()

    assert work.failing == {}


async def test_the_loop_names_a_failing_target_goes_on_and_never_quotes_what_was_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stores = Stores()
    await stores.targets.mark("shelves", ["a", "b"])
    told: list[str | None] = []
    reported = asyncio.Event()

    def report(problem: str | None) -> None:
        told.append(problem)
        reported.set()

    loop = asyncio.create_task(evaluate_forever(partly(stores, "b"), Wake(), report=report, done=lambda _count: None))
    async with asyncio.timeout(10):
        await reported.wait()
    loop.cancel()

    assert set(told) == {"1 not evaluated, such as b: KeyError"}
    assert not shelf(stores, "a").dirty
    assert [(record.message, record.__dict__["target"]) for record in caplog.records] == [("evaluation-failed", "b")]
