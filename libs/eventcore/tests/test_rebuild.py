"""A rebuild beside live work: to the same content, with nothing missed, from wherever it was interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from eventcore.erasure import ErasingMarks
from eventcore.evaluate import Reader
from eventcore.fold import View
from eventcore.generations import Catalogue, CurrentViews, Gate, Instance, State
from eventcore.limits import (
    INSTANCE_SILENT_SECONDS_MAX,
    POINTER_SECONDS_MAX,
    SWITCH_SILENCE_SECONDS_MAX,
    SWITCHES_MAX,
)
from eventcore.memory import MemoryAppends, MemoryKeys, no_switch
from eventcore.personal import AboutPerson, Keyring
from eventcore.rebuild import (
    Done,
    Findings,
    LogAway,
    NoMarks,
    Progress,
    Refused,
    Stopped,
    Wish,
    adopt,
    builder,
    changed,
    live,
    rehearse,
    sources,
    verify,
)
from eventcore.record import WrongEpoch
from eventcore.store import StoreUnavailable, Tombstone, Versioned
from eventcore.testing import NOON

from .rebuild_rig import COUNT, FINGERPRINTS, HEARD, JARS, WISH, Rig, until
from .sample import JAR, JarDocument, drop, fold_jar

OWN = Wish(("jars",), "operator", "to be sure")
BOTH = Wish(("heard", "jars"), "operator", "to be sure")


async def filled(rig: Rig, jars: int = 5) -> Rig:
    await rig.executor.execute(JAR, [drop(f"jar-{n}--a", f"d{n}", coins=n % 3 + 1) for n in range(jars)])
    await rig.deliver()
    await rig.deliver()  # what the evaluations commanded
    return rig


def asked_of(rig: Rig) -> list[str]:
    """What the rooms are asked from now on."""
    asked: list[str] = []

    async def note(what: str) -> None:
        asked.append(what)

    rig.rooms.switch = note
    return asked


async def one_more(rig: Rig, jar: int, name: str) -> None:
    await rig.executor.execute(JAR, [drop(f"jar-{jar}--a", name)])


def finding(told: list[Any]) -> Findings:
    (found,) = [t for t in told if isinstance(t, Findings)]
    return found


@pytest.mark.parametrize("wish", [WISH, OWN, BOTH], ids=["foreign", "own", "both"])
async def test_a_view_is_rebuilt_to_the_same_content_and_switched_to(wish: Wish) -> None:
    rig = await filled(Rig())

    told = await rig.run(wish)

    for name in wish.views:
        assert rig.documents(f"{name}__g2") == rig.documents(name) != {}
        assert rig.generations.catalogue.standing(name).generation == 2
    assert isinstance(told[-1], Done)
    assert rig.generations.catalogue.building is None
    assert all(c.same and c.equal == 5 for c in finding(told).comparisons)
    assert {t.state for t in told if isinstance(t, Progress)} >= {State.BUILDING, State.VERIFYING}


@pytest.mark.parametrize("more", [-1, 0, 1])
async def test_more_streams_than_are_named_at_once_are_all_rebuilt_and_compared(
    monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    for module in (sources, verify, rehearse):
        monkeypatch.setattr(module, "NAMED_AT_ONCE_MAX", 3)
    monkeypatch.setattr(rehearse, "REHEARSED_AT_ONCE_MAX", 3)
    monkeypatch.setattr(rehearse, "LED_FROM_AT_ONCE_MAX", 3)
    rig = Rig()
    await rig.executor.execute(JAR, [drop(f"jar-{n}--shelf{n}", "d") for n in range(3 + more)])
    await rig.deliver()
    await rig.deliver()  # what the evaluations commanded

    told = await rig.run(BOTH)

    for name in BOTH.views:
        assert rig.documents(f"{name}__g2") == rig.documents(name)
    assert [(c.serving, c.built, c.equal) for c in finding(told).comparisons] == [(3 + more,) * 3] * 2
    assert [rehearsal.targets for rehearsal in finding(told).rehearsals] == [3 + more] * 2


async def test_a_source_is_asked_for_its_epoch_once_and_not_with_each_record() -> None:
    """Asking is a write: with each record a rebuild beside load came to 14 records a second."""
    rig = await filled(Rig(), jars=9)
    asked = asked_of(rig)

    await rig.run(WISH)

    assert len(rig.topic.records) >= 9
    assert asked.count("bind epoch") == 1


@pytest.mark.parametrize("wish", [WISH, OWN, BOTH], ids=["foreign", "own", "both"])
async def test_live_folding_goes_on_beside_it_and_nothing_is_missing_after_the_switch(wish: Wish) -> None:
    rig = await filled(Rig())
    names = iter(range(1000))

    async def beside(_told: object) -> None:
        n = next(names)
        await one_more(rig, n % 9, f"beside-{n}")  # of streams that are there, and of new ones
        await rig.own.step()
        await rig.publisher.step()
        if n % 2:
            await rig.hear()
        found = await Reader(rig.views).find(HEARD, {})
        assert len(found) >= 5, "a read failed to see what was there"

    await rig.run_beside(beside, wish)

    assert await settled_counts(rig) == await expected_counts(rig)
    for name in wish.views:
        assert rig.documents(f"{name}__g2") == await folded_from_scratch(rig, name)


async def folded_from_scratch(rig: Rig, name: str) -> dict[str, tuple[int, Any]]:
    """As a service would have it that never rebuilt anything."""
    other = Rig()
    other.appends.streams = rig.appends.streams
    for mark in other.appends.marked:
        other.appends.marked[mark] = {(s, first) for s, slots in rig.appends.streams.items() for first in slots}
    await other.own.step()
    await other.publisher.step()
    await other.hear()
    return other.documents(name)


def dirty(rig: Rig, evaluation: str) -> bool:
    return rig.targets.targets[evaluation]["a"].dirty


async def settled(rig: Rig) -> None:
    await rig.deliver()
    while rig.appends.marked["unfolded"] or rig.committed < len(rig.topic.records) or await rig.evaluate():
        await rig.deliver()


async def settled_counts(rig: Rig) -> int:
    await settled(rig)
    result = rig.targets.targets["counts"]["a"].result
    assert result is not None
    return int(result["coins"])


async def expected_counts(rig: Rig) -> int:
    found = await Reader(rig.views).find(HEARD, {"shelf": "a"})
    return sum(f.document.coins for f in found.values() if f.document is not None)


async def test_after_the_switch_whatever_rests_on_the_view_is_marked_once() -> None:
    rig = await filled(Rig())
    while await rig.evaluate():
        pass

    await rig.run(WISH)

    assert dirty(rig, "counts")
    assert not dirty(rig, "shelves"), "it rests on another view"
    assert await rig.evaluate() == 1


async def test_a_switch_that_was_not_followed_by_its_marks_is_finished_by_whoever_finds_it() -> None:
    rig = await filled(Rig())
    while await rig.evaluate():
        pass

    async def away_after_the_flip(operation: str) -> None:
        building = rig.generations.catalogue.building
        if operation == "mark counts" and building is not None and building.state is State.MARKING:
            raise StoreUnavailable("killed")

    rig.targets.switch = away_after_the_flip
    with pytest.raises(StoreUnavailable):
        await rig.run(WISH)
    assert rig.generations.catalogue.standing("heard").generation == 2
    assert not dirty(rig, "counts")
    rig.targets.switch = no_switch

    finished = [told async for told in rig.rebuild().finish()]

    assert finished[-1] == Progress(State.MARKING, 1, 1)
    assert dirty(rig, "counts")
    assert rig.generations.catalogue.building is None


async def shelves(_reader: Reader, documents: Any) -> set[str]:
    return {document.shelf for document in documents.values()}


TWICE = replace(COUNT, name="twice", dependants={"heard": shelves, "jars": shelves})


@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
async def test_every_target_is_rehearsed_and_marked_once_though_many_documents_lead_to_it(known: bool) -> None:
    """In a database that was restored from its log there are no targets; else all that there are."""
    rig = await filled(Rig(evaluations=(TWICE,)), jars=60)
    while await rig.evaluate():
        pass
    if not known:
        rig.targets.targets.clear()
    before = {n: t.revision for n, t in rig.targets.targets.get("twice", {}).items()}

    told = await rig.run(replace(BOTH, confirmed="all"))

    assert finding(told).rehearsals[0].targets == 1
    assert isinstance(told[-1], Done)
    assert told[-1].marked == 1
    assert {n: t.revision for n, t in rig.targets.targets["twice"].items()} == {"a": before.get("a", 0) + 1}


@pytest.mark.parametrize(("shelves_", "rehearsed"), [(2, 2), (3, 6)], ids=["at the limit", "one beyond it"])
async def test_of_targets_that_are_not_there_yet_so_many_are_remembered_and_none_is_missed(
    monkeypatch: pytest.MonkeyPatch, shelves_: int, rehearsed: int
) -> None:
    """Two views lead to each of them; who was forgotten in between is counted twice, and marked."""
    monkeypatch.setattr(rehearse, "TARGETS_REMEMBERED_MAX", 2)
    monkeypatch.setattr(rehearse, "LED_FROM_AT_ONCE_MAX", 1)
    rig = Rig(evaluations=(TWICE,))
    await rig.executor.execute(JAR, [drop(f"jar-1--{shelf}", "d") for shelf in "abc"[:shelves_]])
    await rig.deliver()
    rig.targets.targets.clear()

    told = await rig.run(replace(BOTH, confirmed="all"))

    assert finding(told).rehearsals[0].targets == rehearsed
    assert sorted(rig.targets.targets["twice"]) == list("abc"[:shelves_])
    assert all(target.dirty for target in rig.targets.targets["twice"].values())


async def test_somebody_whose_erasure_the_builder_met_first_has_no_key_when_it_serves() -> None:
    """The builder folds without marks, so nobody destroyed it when it was folded."""
    rig = await filled(Rig(evaluations=()))
    rig.heard = View("heard", "jar", AboutPerson, lambda _, record: AboutPerson(erased="-1-" in record.stream))
    rig.fingerprints["heard"] = "fold-2"
    keys = MemoryKeys()
    rig.erasing = ErasingMarks(NoMarks(), Keyring(keys, bytes(32), rig.clock), lambda: NOON)

    await rig.run(replace(WISH, accept_differences=True))

    assert keys.keys == {"1--a": Tombstone(NOON)}


# ---- what is away


@dataclass
class Outage:
    """The database does not answer from the first operation of that name in that state on, for so many questions."""

    rig: Rig
    operation: str
    state: State
    left: int = 3

    async def __call__(self, operation: str) -> None:
        building = self.rig.generations.catalogue.building
        if self.left and building is not None and building.state is self.state and operation.startswith(self.operation):
            self.left -= 1
            raise StoreUnavailable("away")


STATES = [State.BUILDING, State.VERIFYING, State.SWITCHING, State.MARKING]


@pytest.mark.parametrize("state", STATES)
async def test_a_database_that_is_away_for_a_while_is_waited_for_and_nobody_need_run_it_again(state: State) -> None:
    rig = await filled(Rig(), jars=7)
    while await rig.evaluate():
        pass
    outages = [Outage(rig, name, state) for name in ("read generations", "load", "mark counts", "list counts")]

    async def away(operation: str) -> None:
        for outage in outages:
            await outage(operation)

    rig.rooms.switch = rig.targets.switch = rig.generations.switch = away

    told = await rig.run(WISH)

    assert isinstance(told[-1], Done)
    assert next(t.problem for t in told if isinstance(t, Progress) and t.problem) == "away: trying again"
    assert any(outage.left < 3 for outage in outages)
    assert len([t for t in told if isinstance(t, Findings)]) == 1, "what was found is told once"
    assert rig.documents("heard__g2") == rig.documents("heard")
    assert dirty(rig, "counts")


async def test_a_topic_that_is_away_for_a_while_is_waited_for() -> None:
    rig = await filled(Rig(), jars=9)
    rig.topic.away = True
    pauses = 0

    async def back_after(seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        rig.topic.away = pauses < 5

    rebuild = rig.rebuild()
    rebuild._pause = back_after

    assert isinstance([t async for t in rebuild.run(WISH, "b1")][-1], Done)


@pytest.mark.parametrize("finished", [False, True], ids=["still-to-mark", "marked-by-another"])
@pytest.mark.parametrize("wish", [WISH, OWN], ids=["foreign", "own"])
async def test_a_switch_whose_answer_was_lost_is_not_made_again(wish: Wish, finished: bool) -> None:
    rig = await filled(Rig())
    while await rig.evaluate():
        pass
    store, lost = rig.generations.store, False

    def stored_but_not_told(revision: int, new: Catalogue) -> bool:
        nonlocal lost
        stored = store(revision, new)
        if stored and not lost and new.building is not None and new.building.state is State.MARKING:
            lost = True
            raise StoreUnavailable("away")
        return stored

    rig.generations.store = stored_but_not_told  # type: ignore[method-assign]

    async def meanwhile(told: object) -> None:
        if finished and isinstance(told, Progress) and told.problem:
            assert [t async for t in rig.rebuild().finish()]

    told = await rig.run_beside(meanwhile, wish)

    assert lost
    assert told[-1] == Done(dict.fromkeys(wish.views, 2), 0 if finished else 1)
    assert dirty(rig, "counts" if wish is WISH else "shelves")


async def test_nothing_that_was_switched_is_taken_back_to_be_built() -> None:
    rig = await filled(Rig())
    rebuild = rig.rebuild()
    await until(rebuild.run(WISH, "b1"), State.MARKING)

    with pytest.raises(Stopped, match="switched already"):
        await rebuild._save("b1", state=State.BUILDING)
    with pytest.raises(Refused, match="switched already"):
        await rebuild._begin(WISH, "b1")


async def test_run_again_after_it_died_while_marking_it_marks_and_builds_nothing() -> None:
    rig = await filled(Rig())
    while await rig.evaluate():
        pass
    await until(rig.rebuild().run(WISH, "b1"), State.MARKING)

    told = await rig.run(WISH, builder="b2")

    assert {t.state for t in told if isinstance(t, Progress)} == {State.MARKING}
    assert told[-1] == Done({"heard": 2}, 1)
    assert dirty(rig, "counts")


# ---- interrupted


INTERRUPTED = [
    pytest.param(wish, state, id=f"{name}-{state}")
    for name, wish in (("foreign", WISH), ("own", OWN), ("both", BOTH))
    for state in (State.BUILDING, State.VERIFYING, State.SWITCHING)
    if wish is not OWN or state is not State.SWITCHING  # own views are switched without standing still
]


@pytest.mark.parametrize(("wish", "state"), INTERRUPTED)
async def test_interrupted_anywhere_it_goes_on_from_there(wish: Wish, state: State) -> None:
    rig = await filled(Rig(), jars=7)
    room = f"{wish.views[0]}__g2"

    async def killed(operation: str) -> None:
        building = rig.generations.catalogue.building
        if operation.endswith(f" {room}") and building is not None and building.state is state:
            raise StoreUnavailable("killed")

    rig.rooms.switch = killed
    with pytest.raises(StoreUnavailable):
        await rig.run(wish, builder="b1")
    rig.rooms.switch = no_switch
    await one_more(rig, 3, "meanwhile")
    await one_more(rig, 8, "of a new stream")
    await rig.own.step()
    await rig.publisher.step()
    await rig.hear()

    told = await rig.run(wish, builder="b2")

    assert isinstance(told[-1], Done)
    for name in wish.views:
        assert rig.documents(f"{name}__g2") == await folded_from_scratch(rig, name)


async def test_it_goes_on_where_it_was_and_does_not_read_everything_again() -> None:
    rig = await filled(Rig(), jars=9)
    running = rig.rebuild().run(WISH, "b1")
    for _ in range(4):
        await anext(running)
    reached = rig.generations.catalogue.building
    assert reached is not None
    assert reached.done > 0

    told = await rig.run(WISH, builder="b2")

    first = next(t for t in told if isinstance(t, Progress))
    assert first.done > reached.done


async def test_while_one_is_building_a_second_is_told() -> None:
    rig = await filled(Rig(), jars=9)
    running = rig.rebuild().run(WISH, "b1")
    await anext(running)

    async def goes_on(_seconds: float) -> None:
        await anext(running)
        rig.seconds += 1

    second = rig.rebuild()
    second._pause = goes_on
    with pytest.raises(Refused, match="being built by operator"):
        await anext(second.run(WISH, "b2"))


async def test_a_builder_that_was_taken_over_stops() -> None:
    rig = await filled(Rig(), jars=9)
    running = rig.rebuild().run(WISH, "b1")
    await anext(running)
    await rig.run(WISH, builder="b2")

    with pytest.raises(Stopped):
        async for _ in running:
            pass

    assert rig.generations.catalogue.building is None
    assert rig.generations.catalogue.standing("heard").generation == 2


async def test_another_choice_of_views_is_refused_while_one_is_under_way() -> None:
    rig = await filled(Rig())
    await until(rig.rebuild().run(WISH, "b1"), State.BUILDING)

    with pytest.raises(Refused, match="credence views drop sample heard"):
        await rig.run(BOTH, builder="b2")


async def test_dropped_it_leaves_nothing_behind_and_its_builder_stops() -> None:
    rig = await filled(Rig())
    running = rig.rebuild().run(WISH, "b1")
    await anext(running)

    assert await rig.rebuild().drop(["heard"]) == ["heard__g2"]

    with pytest.raises(Stopped, match="dropped"):
        async for _ in running:
            pass
    await rig.rebuild().drop(["heard"])  # of what the builder may have written since
    assert await rig.rooms.rooms_of("heard") == ["heard"]
    assert rig.generations.catalogue.building is None
    told = await rig.run(WISH, builder="b2")
    assert isinstance(told[-1], Done)
    assert told[-1].generations == {"heard": 3}, "a number is never used twice"


async def test_the_old_generation_stays_until_it_is_dropped() -> None:
    rig = await filled(Rig())
    await rig.run(WISH)
    assert await rig.rooms.rooms_of("heard") == ["heard", "heard__g2"]

    assert await rig.rebuild().drop(["heard"]) == ["heard"]

    assert rig.documents("heard__g2") != {}


async def test_the_topic_away_it_stops_and_goes_on_when_it_is_back() -> None:
    rig = await filled(Rig(), jars=9)
    running = rig.rebuild().run(WISH, "b1")
    await anext(running)
    rig.topic.away = True
    with pytest.raises(LogAway):
        async for _ in running:
            pass
    rig.topic.away = False

    told = await rig.run(WISH, builder="b2")

    assert isinstance(told[-1], Done)


def spoils(*broken: str) -> Any:
    """A fold of a bad release, which cannot fold these streams."""

    def fold(document: JarDocument | None, record: Any) -> JarDocument:
        if record.stream in broken:
            raise TypeError("a bad release")
        return fold_jar(document, record)

    return fold


@pytest.mark.parametrize("wish", [WISH, OWN], ids=["foreign", "own"])
@pytest.mark.parametrize("more", [0, 1], ids=["at the limit", "one beyond it"])
async def test_a_rebuild_that_cannot_fold_more_streams_than_the_limit_stops_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, wish: Wish, more: int
) -> None:
    for module in (builder, live):
        monkeypatch.setattr(module, "STUCK_STREAMS_MAX", 2)
    rig = await filled(Rig())
    (name,) = wish.views
    before = rig.documents(name)
    good = getattr(rig, name)
    setattr(rig, name, replace(good, fold=spoils(*(f"jar-{n}--a" for n in range(2 + more)))))

    if more:
        with pytest.raises(Refused, match="more than 2 streams cannot be folded"):
            await rig.run(wish)
    else:
        assert finding(await rig.run(wish)).comparisons[0].behind == 2
    noted = rig.generations.catalogue.building
    assert noted is not None
    assert len(noted.stuck) <= 2
    assert rig.documents(rig.generations.catalogue.room(name)) == before, "what serves is as it was"

    setattr(rig, name, good)
    rig.fingerprints[name] = "mended"
    assert isinstance((await rig.run(wish, builder="b2"))[-1], Done)
    assert rig.documents(rig.generations.catalogue.room(name)) == before


async def test_streams_that_get_stuck_in_passing_are_noted_up_to_one_beyond_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So many that the builder sees that they are too many, and no more."""
    monkeypatch.setattr(live, "STUCK_STREAMS_MAX", 2)
    rig = await filled(Rig())
    await until(rig.rebuild().run(OWN, "b1"), State.VERIFYING)
    rig.jars = replace(JARS, fold=spoils(*(f"jar-{n}--a" for n in range(9))))
    rig.__post_init__()

    for n, noted in ((0, 1), (1, 2), (3, 3), (4, 3), (8, 3)):
        await one_more(rig, n, f"late-{n}")
        await rig.own.step()
        building = rig.generations.catalogue.building
        assert building is not None
        assert len(building.stuck) == noted


def calls_off(rig: Rig, times: int) -> None:
    """As a consumer does that saw no sign of life: so many switches, each just before the pointers move."""
    left = times

    async def called_off(operation: str) -> None:
        nonlocal left
        found = rig.generations.catalogue
        if operation == "swap to marking" and left and found.building is not None:
            left -= 1
            building = found.building.model_copy(update={"state": State.BUILDING})
            assert rig.generations.store(found.revision, found.model_copy(update={"building": building}))

    rig.generations.switch = called_off


async def test_a_switch_that_is_called_off_is_tried_again_up_to_the_limit_and_what_was_built_is_kept() -> None:
    rig = await filled(Rig())
    calls_off(rig, SWITCHES_MAX - 1)
    assert isinstance((await rig.run(WISH))[-1], Done), "the last try succeeds"

    calls_off(rig, SWITCHES_MAX)
    with pytest.raises(Stopped, match=f"called off {SWITCHES_MAX} times: .* What was built is kept"):
        await rig.run(WISH, builder="b2")
    assert rig.generations.catalogue.standing("heard").generation == 2
    assert rig.documents("heard__g3") == rig.documents("heard__g2")

    told = await rig.run(WISH, builder="b3")
    assert told[-1] == Done({"heard": 3}, 1)


# ---- verified


async def test_a_document_that_was_spoilt_is_found_and_the_switch_refused_until_it_is_accepted() -> None:
    rig = await filled(Rig())
    stored = rig.rooms.documents["heard"]["jar-1--a"]
    assert stored.body is not None
    rig.rooms.documents["heard"]["jar-1--a"] = Versioned(stored.version, {**stored.body, "coins": 99})

    told = await rig.run(WISH)

    found = finding(told)
    assert isinstance(told[-1], Findings), "it is not switched"
    assert found.suspect == ("heard",)
    assert [(d.stream, d.paths) for d in found.comparisons[0].shown] == [("jar-1--a", ("coins",))]
    assert rig.generations.catalogue.building is not None
    assert rig.generations.catalogue.building.state is State.AWAITING_CONFIRMATION

    refused = await rig.run(replace(WISH, confirmed="all"), builder="b2")
    assert isinstance(refused[-1], Findings), "to confirm decisions is not to accept differences"
    accepted = await rig.run(replace(WISH, confirmed="all", accept_differences=True), builder="b3")
    assert isinstance(accepted[-1], Done)


async def test_a_topic_that_lost_records_is_found_and_filled_again_it_is_not() -> None:
    rig = await filled(Rig())
    lost = [r for r in rig.topic.records if r.headers["ce_id"] == "jar-2--a@2"]
    rig.topic.records = [r for r in rig.topic.records if r not in lost]

    found = finding(await rig.run(WISH))

    assert found.suspect == ("heard",)
    assert found.comparisons[0].behind == 1
    assert [(d.stream, d.serving, d.built) for d in found.comparisons[0].shown] == [("jar-2--a", 4, 1)]

    whole = [r for r in rig.topic.records if r.key == "jar-2--a"] + lost  # as a republication sends them
    rig.topic.records += sorted(whole, key=lambda r: int(r.headers["ce_sequence"]))
    assert isinstance((await rig.run(WISH, builder="b2"))[-1], Done)


async def test_what_a_topic_lost_for_good_can_be_accepted_when_it_was_told_and_looked_for_once_more() -> None:
    rig = await filled(Rig())
    rig.topic.records = [r for r in rig.topic.records if r.headers["ce_id"] != "jar-2--a@2"]
    accepting = replace(WISH, confirmed="all", accept_differences=True)
    at_once = Rig(**{n: getattr(rig, n) for n in ("appends", "rooms", "targets", "held", "topic")})

    assert finding(await rig.run(WISH)).comparisons[0].behind == 1
    assert isinstance((await rig.run(accepting, builder="b2"))[-1], Done)

    with pytest.raises(Stopped, match="jar-2--a was folded live meanwhile"):
        await at_once.run(accepting, builder="b3")
    assert isinstance((await at_once.run(accepting, builder="b4"))[-1], Done)


async def test_documents_that_the_serving_generation_has_yet_to_fold_are_no_difference() -> None:
    rig = await filled(Rig())
    await one_more(rig, 1, "unheard")
    await one_more(rig, 8, "of a new stream")
    await rig.own.step()
    await rig.publisher.step()

    found = finding(told := await rig.run(WISH))

    assert (found.suspect, found.comparisons[0].ahead) == ((), 2)
    assert isinstance(told[-1], Done)


async def test_every_document_is_counted_once_and_as_it_was_when_it_was_settled() -> None:
    rig = await filled(Rig(), jars=6)
    spoilt = rig.rooms.documents["heard"]["jar-1--a"]
    rig.rooms.documents["heard"]["jar-1--a"] = Versioned(spoilt.version, {**(spoilt.body or {}), "coins": 99})
    rig.topic.records = [r for r in rig.topic.records if r.key != "jar-2--a"]
    await one_more(rig, 3, "unheard")
    await one_more(rig, 8, "of a new stream")

    async def late(operation: str) -> None:
        building = rig.generations.catalogue.building
        if operation == "load heard__g2" and building is not None and building.state is State.BUILDING:
            rig.rooms.switch = no_switch
            await rig.own.step()
            await rig.publisher.step()

    rig.rooms.switch = late  # published when the builder has read a page already

    [found] = finding(await rig.run(WISH)).comparisons

    assert (found.equal, found.different, found.behind, found.ahead) == (3, 1, 1, 2)
    assert (found.serving, found.built) == (6, 6), "all but the new stream, and all but the one that was lost"


def double(document: JarDocument | None, record: Any) -> JarDocument:
    """A fold of a later release: it counts otherwise."""
    found = fold_jar(document, record)
    return found if document is None or found.coins == document.coins else found.model_copy(update={"coins": 7})


async def test_a_changed_fold_shows_its_differences_and_the_decisions_that_change_want_a_confirmation() -> None:
    rig = await filled(Rig())
    await adopted(rig, [JARS, HEARD])
    while await rig.evaluate():
        pass
    rig.heard = replace(HEARD, fold=double)
    rig.fingerprints["heard"] = "fold-2"
    assert changed(rig.generations.catalogue, rig.fingerprints) == {"heard": "its fold changed since it was built"}

    found = finding(told := await rig.run(WISH))

    assert isinstance(told[-1], Findings)
    assert found.suspect == ()
    assert found.comparisons[0].different > 0
    assert found.decisions == 1
    [change] = found.rehearsals[0].shown
    assert (change.evaluation, change.target, change.paths) == ("counts", "a", ("coins",))

    other = await rig.run(replace(WISH, confirmed="of another list"), builder="b2")
    assert isinstance(other[-1], Findings)
    confirmed = await rig.run(replace(WISH, confirmed=found.digest), builder="b3")
    assert isinstance(confirmed[-1], Done)
    assert changed(rig.generations.catalogue, rig.fingerprints) == {}
    rig.consumer = rig.new_consumer()
    assert await settled_counts(rig) == await expected_counts(rig)


async def test_an_event_that_comes_while_a_target_is_rehearsed_is_no_decision_that_changes() -> None:
    came: list[int] = []

    async def facts(reader: Any, targets: Any) -> Any:
        building = rig.generations.catalogue.building
        if building is not None and building.state is State.VERIFYING and not came:
            came.append(1)
            await one_more(rig, 1, "in between")
            await rig.own.step()
            await rig.publisher.step()
            await rig.hear()
        return await COUNT.facts(reader, targets)

    rig = Rig(evaluations=(replace(COUNT, facts=facts),))
    await filled(rig)

    found = finding(told := await rig.run(WISH))

    assert came
    assert (found.decisions, found.rehearsals[0].targets) == (0, 1)
    assert isinstance(told[-1], Done)


async def test_documents_of_a_shape_that_cannot_be_read_any_more_are_what_a_rebuild_mends() -> None:
    rig = await filled(Rig())
    for stream, stored in list(rig.rooms.documents["heard"].items()):
        rig.rooms.documents["heard"][stream] = Versioned(stored.version, {**(stored.body or {}), "coins": "many"})

    found = finding(await rig.run(WISH))

    [change] = found.rehearsals[0].shown
    assert change.before == ("its facts cannot be read: ValidationError",)
    told = await rig.run(replace(WISH, confirmed="all", accept_differences=True), builder="b2")
    assert isinstance(told[-1], Done)


# ---- a view that is new; another epoch


async def test_a_new_view_of_streams_with_a_past_is_built_before_it_is_folded_live() -> None:
    rig = await filled(Rig())
    await adopted(rig, [JARS])
    await adopted(rig, [JARS, HEARD], "heard")
    rig.rooms.documents.pop("heard")
    rig.committed = len(rig.topic.records)
    assert changed(rig.generations.catalogue, FINGERPRINTS) == {"heard": "never built"}

    await one_more(rig, 1, "later")
    await rig.own.step()
    await rig.publisher.step()
    await rig.hear()  # no gap: it is not folded
    assert rig.documents("heard") == {}
    await rig.targets.mark("counts", ["a"])
    with pytest.raises(StoreUnavailable, match="heard, which was never built"):
        await rig.evaluate()

    await rig.run(replace(WISH, confirmed="all"))
    await settled(rig)

    assert rig.generations.catalogue.standing("heard").generation == 1
    assert rig.documents("heard") == await folded_from_scratch(rig, "heard")


async def adopted(rig: Rig, views: Sequence[View[Any]], *with_history: str) -> None:
    async def past() -> Sequence[str]:
        return with_history

    await adopt(rig.generations, rig.rooms, views, FINGERPRINTS, own=["jars"], with_history=past)


async def test_a_start_without_a_new_view_asks_no_more_than_which_are_noted() -> None:
    """What else it would ask reads views and log; a killed service is started into a database that has enough to do."""
    rig = await filled(Rig())
    await adopted(rig, [JARS, HEARD], "heard", "jars")
    asked = asked_of(rig)

    async def past() -> Sequence[str]:
        asked.append("history")
        return ()

    views = [JARS, HEARD]
    assert await adopt(rig.generations, rig.rooms, views, FINGERPRINTS, own=["jars"], with_history=past)
    assert asked == []


async def test_views_that_are_there_when_generations_begin_are_taken_as_built() -> None:
    rig = await filled(Rig())

    await adopted(rig, [JARS, HEARD], "heard", "jars")

    assert changed(rig.generations.catalogue, FINGERPRINTS) == {}
    assert rig.generations.catalogue.generations() == {"jars": 1, "heard": 1}


async def test_a_view_for_which_nothing_came_before_generations_began_is_taken_as_built_and_folded() -> None:
    rig = Rig()
    await rig.executor.execute(JAR, [drop("jar-1--a", "d1")])
    await rig.own.step()

    await adopted(rig, [JARS, HEARD], "heard", "jars")  # other records of what it listens to were heard

    assert changed(rig.generations.catalogue, FINGERPRINTS) == {}
    await settled(rig)
    assert rig.documents("heard") == await folded_from_scratch(rig, "heard")


async def test_a_foreign_view_that_a_restored_database_has_lost_is_built_before_anything_rests_on_it() -> None:
    rig = await filled(Rig())
    rig.rooms.documents.clear()  # a backup keeps the log, and which histories were heard
    rig.targets.targets.clear()
    rig.appends.marked["unfolded"] = {(s, first) for s, slots in rig.appends.streams.items() for first in slots}

    await adopted(rig, [JARS, HEARD], "heard", "jars")

    assert changed(rig.generations.catalogue, FINGERPRINTS) == {"heard": "never built"}
    await rig.own.step()
    assert rig.documents("jars") == await folded_from_scratch(rig, "jars"), "its own log it folds by itself"
    await rig.run(replace(WISH, confirmed="all"))
    assert rig.documents("heard") == await folded_from_scratch(rig, "heard")


async def test_another_epoch_is_refused_with_the_way_out_which_leads_out() -> None:
    rig = await filled(Rig())
    before = rig.appends
    rig.appends = MemoryAppends(epoch="new")
    rig.__post_init__()
    await rig.executor.execute(JAR, [drop("jar-1--b", "anew")])
    await rig.own.step()
    await rig.publisher.step()
    assert before.epoch == "memory"

    with pytest.raises(WrongEpoch, match="--accept-epoch jars=new"):
        await rig.hear()
    with pytest.raises(WrongEpoch, match="--accept-epoch jars=new"):
        await rig.run(WISH)

    accepting = replace(WISH, epochs={"jars": "new"}, confirmed="all")
    found = finding(await rig.run(accepting, builder="b2"))
    assert found.suspect == ("heard",), "what only the old history had is gone"
    assert found.epochs == {"jars": "new"}
    # What was accepted need not be named again.
    told = await rig.run(replace(WISH, confirmed="all", accept_differences=True), builder="b3")
    assert isinstance(told[-1], Done)

    assert await rig.rooms.histories() == {"jars": ("new", ("memory",))}

    rig.committed = 0  # and the records of the old epoch are passed over from now on
    await rig.hear()
    assert rig.documents(rig.generations.catalogue.room("heard")).keys() == {"jar-1--b"}


async def test_another_epoch_is_accepted_for_all_foreign_views_or_for_none() -> None:
    rig = await filled(Rig())

    with pytest.raises(Refused, match="also build heard"):
        await rig.run(replace(OWN, epochs={"jars": "new"}))


@pytest.mark.parametrize("names", [(), ("heard", "nowhere")])
async def test_a_view_that_is_not_there_is_refused_with_those_that_are(names: tuple[str, ...]) -> None:
    with pytest.raises(Refused, match="heard, jars"):
        await Rig().run(replace(WISH, views=names))


# ---- another release beside this one


def noted(rig: Rig, fold: str) -> Instance:
    return Instance(name="sample 7 on host-1", fingerprints={"heard": fold}, at=rig.at)


async def test_while_a_process_of_another_release_runs_nothing_is_rebuilt_that_it_folds_otherwise() -> None:
    rig = await filled(Rig())
    await rig.generations.note(noted(rig, "fold-0"))

    with pytest.raises(Refused, match="sample 7 on host-1 folds heard as another release does"):
        await rig.run(WISH)
    assert rig.generations.catalogue.building is None
    assert isinstance((await rig.run(OWN))[-1], Done), "it folds this one as we do, or not at all"

    rig.at += timedelta(seconds=INSTANCE_SILENT_SECONDS_MAX)
    with pytest.raises(Refused, match="sample 7 on host-1"):
        await rig.run(WISH)
    rig.at += timedelta(seconds=1)
    assert isinstance((await rig.run(WISH))[-1], Done)


async def test_what_a_process_of_another_release_may_have_folded_into_is_not_switched_to_and_built_anew() -> None:
    rig = await filled(Rig())

    async def comes_up(told: object) -> None:
        if isinstance(told, Findings):
            await rig.generations.note(noted(rig, "fold-0"))

    with pytest.raises(Refused, match="also into what was built"):
        await rig.run_beside(comes_up)
    assert rig.generations.catalogue.standing("heard").generation == 1

    await rig.generations.note(noted(rig, FINGERPRINTS["heard"]))  # it is of this release by now
    told = await rig.run(WISH, builder="b2")
    assert told[-1] == Done({"heard": 3}, 1)


# ---- the gate


async def switching(rig: Rig) -> None:
    """A builder died just before the pointers would have moved."""
    await until(rig.rebuild().run(WISH, "b1"), State.BUILDING)
    catalogue = rig.generations.catalogue
    assert catalogue.building is not None
    building = catalogue.building.model_copy(update={"state": State.SWITCHING})
    assert rig.generations.store(catalogue.revision, catalogue.model_copy(update={"building": building}))


async def test_consumers_stand_still_while_a_switch_is_made_and_call_it_off_when_its_builder_is_silent() -> None:
    rig = await filled(Rig())
    await switching(rig)
    await one_more(rig, 1, "meanwhile")
    await rig.own.step()
    await rig.publisher.step()

    with pytest.raises(StoreUnavailable, match="being switched"):
        await rig.hear()
    rig.seconds += 60
    with pytest.raises(StoreUnavailable, match="called off"):
        await rig.hear()
    await rig.hear()

    found: Catalogue = rig.generations.catalogue
    assert found.building is not None
    assert found.building.state is State.BUILDING


async def test_a_silent_builder_is_waited_for_up_to_the_limit_and_a_sign_of_life_begins_it_anew() -> None:
    rig, now = await filled(Rig()), 0.0
    await switching(rig)
    gate = Gate(rig.generations, ["heard"], lambda: now)

    async def told_at(seconds: float) -> str:
        nonlocal now
        now = seconds
        with pytest.raises(StoreUnavailable) as told:
            await gate(rig.generations.catalogue)
        return str(told.value)

    for begun in (0.0, 100.0):
        assert "being switched" in await told_at(begun)
        assert "being switched" in await told_at(begun + SWITCH_SILENCE_SECONDS_MAX - 0.1)
        await rig.rebuild().alive("b1")
    assert "being switched" in await told_at(200.0)
    assert "called off" in await told_at(200.0 + SWITCH_SILENCE_SECONDS_MAX)
    await gate(rig.generations.catalogue)  # and it goes on


# ---- what queries know


async def test_a_query_knows_the_pointers_for_so_long_and_then_reads_them_anew() -> None:
    rig, now = await filled(Rig()), 0.0
    views = CurrentViews(rig.rooms, rig.generations, lambda: now)
    read: list[str] = []

    async def note(what: str) -> None:
        read.append(what)

    rig.generations.switch = note
    for seconds, reads in ((0.0, 1), (POINTER_SECONDS_MAX - 0.1, 1), (POINTER_SECONDS_MAX, 2), (9.0, 3)):
        now = seconds
        assert len(await views.load("heard", ["jar-1--a"])) == 1
        assert len(read) == reads
