"""The moments at which a rebuild could lose something, one by one; and for each the bug that would lose it.

A race is driven to its very moment by what runs just before an operation of a store takes effect. Each is run with the
real code, and with one or two of its lines changed: then it must end in red.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import pytest

from eventcore import consume, evaluate, fold, generations
from eventcore.evaluate import Evaluation, Facts, Reader, Verdict
from eventcore.event import Recorded
from eventcore.fold import View
from eventcore.generations import Catalogue, CurrentViews, Instance, State
from eventcore.memory import no_switch
from eventcore.rebuild import Done, Findings, LogAway, Progress, Refused, Stopped, Wish, builder, live, verify
from eventcore.store import StoreUnavailable, Versioned

from .rebuild_rig import COUNT, FINGERPRINTS, HEARD, JARS, WISH, Rig
from .sample import JAR, SHELF, Total, drop, fold_jar
from .simulation.bugs import Change, changed
from .test_rebuild import adopted, dirty, filled, folded_from_scratch, settled

OWN = Wish(("jars",), "operator", "a race")
ACCEPTED = replace(WISH, confirmed="all", accept_differences=True)


@dataclass
class Once:
    """Runs something just before the first operation of that name takes effect, and nothing ever after."""

    operation: str
    work: Callable[[], Awaitable[None]]
    ran: bool = False

    async def __call__(self, operation: str) -> None:
        if operation == self.operation and not self.ran:
            self.ran = True
            await self.work()


@dataclass
class Frozen:
    """Holds whoever comes to that operation first, until it is told to go on."""

    operation: str
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, operation: str) -> None:
        if operation == self.operation and not self.reached.is_set():
            self.reached.set()
            await self.goes_on.wait()


async def publish(rig: Rig, jar: int, name: str) -> None:
    await rig.executor.execute(JAR, [drop(f"jar-{jar}--a", name)])
    await own_step(rig)
    await rig.publisher.step()


async def own_step(rig: Rig) -> None:
    """As its loop: what was not acknowledged is done again."""
    while True:
        try:
            await rig.own.step()
        except StoreUnavailable:
            continue
        return


async def heard(rig: Rig) -> None:
    """As the consumer's loop; a batch that is held up by a switch is left for later."""
    try:
        await rig.hear()
    except StoreUnavailable:
        return


async def hears_on(rig: Rig) -> None:
    while rig.committed < len(rig.topic.records):
        await heard(rig)


async def whole(rig: Rig, view: str) -> None:
    """What serves is all there, and nobody is stuck on what is missing."""
    await hears_on(rig)
    await settled(rig)
    room = rig.generations.catalogue.room(view)
    assert room != view
    assert rig.documents(room) == await folded_from_scratch(rig, view)
    assert not rig.held.standing


async def switched(rig: Rig, wish: Wish) -> None:
    told = await rig.run(wish)
    assert isinstance(told[-1], Done)


# ---- the races


async def heard_just_before_the_pause() -> None:
    """A record is published and handled by the old pointer after the builder came near, just before consumers stop."""
    rig = await filled(Rig())

    async def work() -> None:
        await publish(rig, 1, "late")
        await rig.hear()

    rig.generations.switch = Once("swap to switching", work)
    await switched(rig, WISH)
    await whole(rig, "heard")


async def heard_during_the_pause() -> None:
    """One is published and fetched after the ends were taken, before the pointers move."""
    rig = await filled(Rig())

    async def work() -> None:
        await publish(rig, 1, "late")
        await heard(rig)

    rig.generations.switch = Once("swap to marking", work)
    await switched(rig, WISH)
    await whole(rig, "heard")


async def folding_across_the_switch() -> None:
    """A consumer read the pointers, fell asleep, and wakes after the switch with a batch that it has to commit."""
    rig = await filled(Rig())
    await publish(rig, 1, "late")
    frozen = Frozen("write heard")
    rig.rooms.switch = frozen
    asleep = asyncio.create_task(heard(rig))
    await frozen.reached.wait()
    await switched(rig, replace(WISH, confirmed="all"))
    frozen.goes_on.set()
    await asleep
    await whole(rig, "heard")


async def stuck_here_and_folded_there() -> None:
    """The builder's release cannot fold a stream; another's can, and does so while the switch is made."""
    rig = await filled(Rig())
    await publish(rig, 1, "late")
    old, rig.heard = rig.heard, replace(HEARD, fold=fails_on_late)
    running = rig.rebuild()
    rig.heard = old
    frozen = Frozen("write heard")
    rig.rooms.switch = frozen
    asleep = asyncio.create_task(heard(rig))
    await frozen.reached.wait()
    told = [t async for t in running.run(replace(WISH, confirmed="all"), "b1")]
    frozen.goes_on.set()
    await asleep
    assert isinstance(told[-1], Done)
    await whole(rig, "heard")


def fails_on_late(document: Any, record: Recorded[Any]) -> Any:
    if record.stream == "jar-1--a" and record.version > 2:
        raise TypeError("of a later release")
    return HEARD.fold(document, record)


async def stuck_here_and_folded_before_the_switch() -> None:
    """The same, but the other is done just before the consumers stop: the switch must not be made."""
    rig = await filled(Rig())
    await publish(rig, 1, "late")
    old, rig.heard = rig.heard, replace(HEARD, fold=fails_on_late)
    running = rig.rebuild()
    rig.heard = old
    rig.generations.switch = Once("swap to switching", rig.hear)
    try:
        async for _ in running.run(replace(WISH, confirmed="all"), "b1"):
            pass
    except Stopped:
        await switched(rig, replace(WISH, confirmed="all"))
    await whole(rig, "heard")


async def folded_between_what_was_told_and_the_word_for_it() -> None:
    """Somebody is told of a document that was spoilt, and accepts it. Meanwhile another stream, at which the builder
    was stuck as the live folds were, is folded live: nobody was told of that."""
    rig = await filled(Rig())
    await told_of_what_was_spoilt(rig)
    await rig.hear()
    await switched(rig, ACCEPTED)
    await whole(rig, "heard")


async def folded_before_an_accepted_switch() -> None:
    """The same, just before the consumers stop."""
    rig = await filled(Rig())
    readable = await told_of_what_was_spoilt(rig)
    rig.heard = replace(HEARD, fold=fails_on_late)
    running = rig.rebuild()
    rig.heard = readable
    rig.generations.switch = Once("swap to switching", rig.hear)
    try:
        async for _ in running.run(ACCEPTED, "b2"):
            pass
    except Stopped:
        await switched(rig, ACCEPTED)
    await whole(rig, "heard")


async def told_of_what_was_spoilt(rig: Rig) -> View[Any]:
    """Of one stream, by a builder whose release cannot fold another; gives the view of the release that can."""
    stored = rig.rooms.documents["heard"]["jar-2--a"]
    rig.rooms.documents["heard"]["jar-2--a"] = Versioned(stored.version, {**(stored.body or {}), "coins": 90})
    await publish(rig, 1, "late")
    readable, rig.heard = rig.heard, replace(HEARD, fold=fails_on_late)
    [found] = [t for t in await rig.run(replace(WISH, confirmed="all")) if isinstance(t, Findings)]
    rig.heard = readable
    assert (found.suspect, found.comparisons[0].different, found.comparisons[0].behind) == (("heard",), 1, 0)
    return readable


async def appended_after_the_scan() -> None:
    """A stream that the scan has passed goes on; the own fold knew of no building a moment ago."""
    rig = await filled(Rig())
    await rig.views.pinned()
    rig.clock = lambda: rig.seconds  # type: ignore[method-assign]
    rig.__post_init__()
    await rig.views.pinned()

    async def work() -> None:
        await publish(rig, 1, "late")

    rig.generations.switch = Once("swap to verifying", work)
    await switched(rig, OWN)
    await whole(rig, "jars")


async def appended_between_the_scan_and_its_write() -> None:
    """The scan has read a stream; before it writes, the stream goes on and its own fold finds a gap."""
    rig = await filled(Rig())
    rig.rooms.switch = Once("write jars__g2", lambda: publish(rig, 0, "late"))
    await switched(rig, OWN)
    await whole(rig, "jars")


async def own_fold_across_the_switch() -> None:
    """An own fold falls asleep with its write to the old generation before it, and wakes after the switch."""
    rig = await filled(Rig())
    running = rig.rebuild().run(OWN, "b1")
    async for told in running:
        if isinstance(told, Progress) and told.state == "verifying":
            break
    await rig.executor.execute(JAR, [drop("jar-1--a", "late")])
    frozen = Frozen("write jars")
    rig.rooms.switch = frozen
    asleep = asyncio.create_task(own_step(rig))
    await frozen.reached.wait()
    assert isinstance([told async for told in running][-1], Done)
    frozen.goes_on.set()
    await asleep
    rig.rooms.switch = no_switch
    await rig.publisher.step()
    await whole(rig, "jars")


async def stuck_in_passing() -> None:
    """An own event comes when the scan is long done: the new document cannot go on with it, the one that serves can."""
    rig = await filled(Rig())
    await adopted(rig, [JARS])
    rig.jars = replace(JARS, fold=never_more_once_sealed)
    rig.fingerprints["jars"] = "fold-2"
    rig.__post_init__()
    rig.generations.switch = Once("swap to marking", lambda: publish(rig, 1, "late"))
    with suppress(Stopped):
        await rig.run(replace(OWN, confirmed="all"))
    [found] = [t for t in await rig.run(replace(OWN, confirmed="all")) if isinstance(t, Findings)]
    assert found.suspect == ("jars",)
    assert rig.generations.catalogue.standing("jars").generation == 1


async def stuck_in_passing_while_the_builder_notes() -> None:
    """The same, just before the builder notes how far it has read the topic."""
    rig = await filled(Rig())
    await adopted(rig, [JARS, HEARD])
    rig.jars = replace(JARS, fold=never_more_once_sealed)
    rig.fingerprints["jars"] = "fold-2"
    rig.__post_init__()

    async def more_to_read() -> None:
        await publish(rig, 3, "more")
        rig.rooms.switch = Once("load heard__g2", lambda: publish(rig, 1, "late"))

    rig.generations.switch = Once("swap to switching", more_to_read)
    with suppress(Stopped):
        await rig.run(Wish(("heard", "jars"), "operator", "a race", confirmed="all"))
    assert rig.generations.catalogue.standing("jars").generation == 1


def never_more_once_sealed(document: Any, record: Recorded[Any]) -> Any:
    """Of a release by which this jar is sealed from the start: a document folded before it does not say so."""
    if document is not None and document.sealed and record.version > 2:
        raise TypeError("sealed")
    sealed = record.stream == "jar-1--a"
    return fold_jar(document, record).model_copy(update={"sealed": sealed})


async def folded_in_passing_by_an_older_release() -> None:
    """During a roll-out an older process folds an own event, by its older fold, into what is being built as well."""
    older = await filled(Rig())
    await adopted(older, [JARS])
    await older.generations.note(Instance(name="older", fingerprints=FINGERPRINTS, at=older.at))
    rig = Rig(
        jars=replace(JARS, fold=coins_twice),
        fingerprints={**FINGERPRINTS, "jars": "fold-2"},
        **{n: getattr(older, n) for n in ("appends", "rooms", "generations", "targets", "held", "topic")},
    )
    rig.generations.switch = Once("swap to marking", lambda: publish(older, 1, "late"))
    with suppress(Refused):
        await rig.run(replace(OWN, confirmed="all"))
    stored = rig.documents(rig.generations.catalogue.room("jars"))["jar-1--a"][1]["coins"]
    assert stored == (2 if rig.generations.catalogue.standing("jars").generation == 1 else 6)


def coins_twice(document: Any, record: Recorded[Any]) -> Any:
    found = fold_jar(document, record)
    before = document.coins if document is not None else 0
    return found.model_copy(update={"coins": before + 2 * (found.coins - before)})


async def spoilt(rig: Rig) -> None:
    """A document says another thing than its events did, and the result rests on it."""
    stored = rig.rooms.documents["heard"]["jar-1--a"]
    rig.rooms.documents["heard"]["jar-1--a"] = Versioned(stored.version, {**(stored.body or {}), "coins": 90})
    await rig.targets.mark("counts", ["a"])
    while await rig.evaluate():
        pass
    assert rig.targets.targets["counts"]["a"].result != {"coins": await true_count(rig)}


async def true_count(rig: Rig) -> int:
    documents = await folded_from_scratch(rig, "heard")
    return sum(body["coins"] for _, body in documents.values())


async def evaluated_on_what_was_mended(rig: Rig) -> None:
    while await rig.evaluate():
        pass
    assert not dirty(rig, "counts")
    assert rig.targets.targets["counts"]["a"].result == {"coins": await true_count(rig)}


async def evaluated_after_the_switch() -> None:
    """What the old generation said wrongly is decided anew."""
    rig = await filled(Rig())
    await spoilt(rig)
    await switched(rig, ACCEPTED)
    await evaluated_on_what_was_mended(rig)


async def evaluated_just_before_the_switch() -> None:
    """An evaluator takes whatever is dirty just before the pointers move."""
    rig = await filled(Rig())
    await spoilt(rig)

    async def work() -> None:
        await rig.evaluate()

    rig.generations.switch = Once("swap to marking", work)
    await switched(rig, ACCEPTED)
    await evaluated_on_what_was_mended(rig)


async def evaluated_by_an_old_pointer() -> None:
    """An evaluator knew the pointers a moment ago."""
    rig = Rig()
    rig.clock = lambda: rig.seconds  # type: ignore[method-assign]
    rig.__post_init__()
    await filled(rig)
    await spoilt(rig)
    await rig.views.pinned()
    known = rig.views._known
    await switched(rig, ACCEPTED)
    rig.views._known = known
    await evaluated_on_what_was_mended(rig)


async def looked_up_by_an_old_pointer() -> None:
    """A document comes to the new generation only; what it depends on changes, and looks it up."""
    rig = Rig(evaluations=(SHELF, COUNT, SIDE_BY_SIDE))
    rig.clock = lambda: rig.seconds  # type: ignore[method-assign]
    rig.__post_init__()
    await filled(rig)
    rig.marker._views = CurrentViews(rig.rooms, rig.generations, lambda: 0.0)
    await rig.marker._views.pinned()
    await switched(rig, WISH)
    await publish(rig, 9, "of a new stream")
    await hears_on(rig)
    while await rig.evaluate():
        pass
    await rig.executor.execute(JAR, [drop("jar-9--a", "again")])
    await own_step(rig)
    while await rig.evaluate():
        pass
    result = rig.targets.targets["side-by-side"]["jar-9--a"].result
    assert result == {"coins": 2}


async def _heard_of(_reader: Reader, documents: Any) -> set[str]:
    return set(documents)


async def _heard_beside(reader: Reader, documents: Any) -> set[str]:
    """Those of these jars that were heard of: looked up, as dependants are."""
    found = await reader.find(HEARD, {"shelf": sorted({d.shelf for d in documents.values()})})
    return found.keys() & set(documents)


async def _own_jars(reader: Reader, targets: Sequence[str]) -> dict[str, Facts]:
    return {target: await reader.get(JARS, [target]) for target in targets}


def _own_total(target: str, facts: Facts, _now: Any) -> Verdict:
    document = facts[target].document
    return Verdict(Total(coins=document.coins if document else 0))


SIDE_BY_SIDE = Evaluation(
    "side-by-side", {"heard": _heard_of, "jars": _heard_beside}, _own_jars, _own_total, lambda target: [target]
)


async def different_though_the_fold_is_the_same() -> None:
    """A document that was spoilt is found before the switch, and nothing is switched."""
    rig = await filled(Rig())
    stored = rig.rooms.documents["heard"]["jar-1--a"]
    rig.rooms.documents["heard"]["jar-1--a"] = Versioned(stored.version, {**(stored.body or {}), "coins": 90})
    await rig.run(replace(WISH, confirmed="all"))
    assert rig.generations.catalogue.standing("heard").generation == 1


async def lost_by_the_topic() -> None:
    """The log does not hold what the serving generation was folded from, and nothing is switched."""
    rig = await filled(Rig())
    del rig.topic.records[-1]
    await rig.run(replace(WISH, confirmed="all"))
    assert rig.generations.catalogue.standing("heard").generation == 1


async def all_lost_by_the_topic() -> None:
    """The topic holds nothing any more, and there are more documents than one page of the comparison."""
    rig = await filled(Rig(evaluations=()))
    rig.topic.records.clear()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(verify, "COMPARED_AT_ONCE_MAX", 2)
        [found] = [t for t in await rig.run(WISH) if isinstance(t, Findings)]
    assert (found.suspect, found.comparisons[0].behind) == (("heard",), 5)
    assert rig.generations.catalogue.standing("heard").generation == 1


async def a_switch_that_was_made_and_not_told() -> None:
    """The database makes the switch, the answer is lost, and then the topic is away."""
    rig = await filled(Rig())
    await spoilt(rig)
    store, lost = rig.generations.store, asyncio.Event()

    def not_told(revision: int, new: Catalogue) -> bool:
        stored = store(revision, new)
        if stored and new.building is not None and new.building.state is State.MARKING and not lost.is_set():
            lost.set()
            rig.topic.away = True
            raise StoreUnavailable("the answer was lost")
        return stored

    rig.generations.store = not_told  # type: ignore[method-assign]
    with suppress(Stopped, LogAway):
        await rig.run(ACCEPTED)
    assert lost.is_set()
    assert rig.generations.catalogue.standing("heard").generation == 2
    assert rig.generations.catalogue.building is None
    await evaluated_on_what_was_mended(rig)


RACES = [
    heard_just_before_the_pause,
    heard_during_the_pause,
    folding_across_the_switch,
    stuck_here_and_folded_there,
    stuck_here_and_folded_before_the_switch,
    folded_between_what_was_told_and_the_word_for_it,
    folded_before_an_accepted_switch,
    appended_after_the_scan,
    appended_between_the_scan_and_its_write,
    own_fold_across_the_switch,
    stuck_in_passing,
    stuck_in_passing_while_the_builder_notes,
    folded_in_passing_by_an_older_release,
    evaluated_after_the_switch,
    evaluated_just_before_the_switch,
    evaluated_by_an_old_pointer,
    looked_up_by_an_old_pointer,
    different_though_the_fold_is_the_same,
    lost_by_the_topic,
    all_lost_by_the_topic,
    a_switch_that_was_made_and_not_told,
]


@pytest.mark.parametrize("race", RACES)
async def test_nothing_is_lost_when(race: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(30):
        await race()


# ---- the bugs


def change(module: ModuleType, name: str, *edits: tuple[str, str]) -> Change:
    return Change(module, name, edits)


NO_SECOND_LOOK = change(
    fold, "Folder.fold", ("if after.catalogue.generations() != pinned.catalogue.generations():", "if False:")
)
BUGS: dict[str, tuple[Callable[[], Awaitable[None]], tuple[Change, ...]]] = {
    "the ends are taken before the consumers stand still": (
        heard_just_before_the_pause,
        (
            change(
                builder,
                "Rebuild._switch_foreign",
                (
                    "await self._save(builder, state=State.SWITCHING)",
                    "ends = await self._from_topics().ends(); await self._save(builder, state=State.SWITCHING)",
                ),
                ("    ends = await self._from_topics().ends()\n", "    pass\n"),
            ),
        ),
    ),
    "consumers go on while the switch is made": (
        heard_during_the_pause,
        (change(generations, "Gate.__call__", ("if not found.switching(self._views):", "if True:")),),
    ),
    "a consumer does not look at the pointers again": (stuck_here_and_folded_there, (NO_SECOND_LOOK,)),
    "a consumer folds by pointers it has known for a while": (
        stuck_here_and_folded_there,
        (
            change(consume, "Consumer.handle", ("await self._views.pinned()", "await self._views._recent()")),
            NO_SECOND_LOOK,
        ),
    ),
    "nobody asks whether what was stuck was folded live": (
        stuck_here_and_folded_before_the_switch,
        (change(builder, "Rebuild._none_left_behind", ("if behind := sorted(", "if False and sorted(")),),
    ),
    "what could not be folded is not read again when it was folded live": (
        folded_between_what_was_told_and_the_word_for_it,
        (change(builder, "Rebuild._begin", ("again = left.items() - self._read_again.items()", "again = False")),),
    ),
    "a word for differences counts for what was folded live since": (
        folded_before_an_accepted_switch,
        (change(builder, "Rebuild._flip", ("await self._none", "if not wish.accept_differences: await self._none")),),
    ),
    "an own fold learns late that its view is being built": (
        appended_after_the_scan,
        (change(live, "Also.__call__", ("await self._store.pinned()", "await self._store._recent()")),),
    ),
    "a gap in what is being built is left to the scan": (
        appended_between_the_scan_and_its_write,
        (change(live, "Also.__call__", ("if isinstance(fault, Gap)]", "if False]")),),
    ),
    "what cannot be folded in passing is told to nobody": (
        stuck_in_passing,
        (change(live, "Also.__call__", ("if isinstance(fault, Poison))", "if False)")),),
    ),
    "the builder's note forgets what own folds had noted": (
        stuck_in_passing_while_the_builder_notes,
        (change(builder, "Rebuild._reached", ("(*building.stuck, *seen.stuck)", "building.stuck")),),
    ),
    "a stream that got stuck while the builder looked is passed over": (
        stuck_in_passing,
        (change(builder, "Rebuild._flip", (" or building.stuck != checked.stuck", "")),),
    ),
    "nobody asks by which folds the others work": (
        folded_in_passing_by_an_older_release,
        (change(builder, "Rebuild._folded_otherwise", ("if instance.", "if False and instance.")),),
    ),
    "what is being built is folded into after the current generation, and nobody looks again": (
        own_fold_across_the_switch,
        (
            change(
                fold,
                "Folder.fold",
                ("await self._also(records)", "pass"),
                (
                    "after = await self._store.pinned()",
                    "after = await self._store.pinned(); await self._also(records)",
                ),
                *NO_SECOND_LOOK.edits,
            ),
        ),
    ),
    "nothing is marked after the switch": (
        evaluated_after_the_switch,
        (
            change(
                builder,
                "finish_marking",
                ("await (targets.mark_again if there else targets.mark)(evaluation.name, page)", "pass"),
            ),
        ),
    ),
    "what rests on the views is marked before the switch": (
        evaluated_just_before_the_switch,
        (
            change(
                builder,
                "Rebuild._flip",
                (
                    "retired = await self._retired(found)",
                    "retired = await self._retired(found); await self._targets.mark('counts', ['a'])",
                ),
            ),
            change(
                builder,
                "finish_marking",
                ("await (targets.mark_again if there else targets.mark)(evaluation.name, page)", "pass"),
            ),
        ),
    ),
    "an evaluator reads facts by pointers it has known for a while": (
        evaluated_by_an_old_pointer,
        (
            change(
                evaluate,
                "Evaluator.look",
                ("await self._views.pinned()", "await self._views._recent()"),
                ("if not await views.still():", "if False:"),
            ),
        ),
    ),
    "dependants are looked up by pointers from before": (
        looked_up_by_an_old_pointer,
        (change(evaluate, "Marker.mark", ("await self._views.pinned()", "await self._views._recent()")),),
    ),
    "the comparison looks at versions only": (
        different_though_the_fold_is_the_same,
        (change(verify, "content_hash", ("[document.version, document.body]", "[document.version]")),),
    ),
    "what is behind is taken for what is yet to come": (
        lost_by_the_topic,
        (change(verify, "_judge", ("elif certain and built.version < serving.version:", "elif False:")),),
    ),
    "a switch that was made is called back by the next try": (
        a_switch_that_was_made_and_not_told,
        (
            change(builder, "Rebuild._switch", ("if await self._switched(builder, generations):", "if False:")),
            change(builder, "Rebuild._note", ("if building.state is State.MARKING:", "if False:")),
        ),
    ),
    "a page with too much unequal is not looked at again": (
        all_lost_by_the_topic,
        (change(builder, "compare", ("if not unequal:", "if not unequal or len(unequal) > 1:")),),
    ),
}


@pytest.mark.parametrize("name", BUGS)
async def test_a_planted_bug_turns_its_race_red(name: str) -> None:
    race, changes = BUGS[name]
    with ExitStack() as planted:
        for each in changes:
            planted.enter_context(changed(each))
        with pytest.raises((AssertionError, TimeoutError)):
            async with asyncio.timeout(10):
                await race()
