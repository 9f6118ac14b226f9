"""The builder: one rebuild from where it stands to the switch, as a sequence of things to tell."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from eventcore.decider import category_of
from eventcore.evaluate import Evaluation
from eventcore.event import Recorded
from eventcore.fold import Fault, Folder, Marks, View
from eventcore.generations import Building, Catalogue, GenerationStore, PinnedViews, Standing, State, change, room
from eventcore.held import but_for_discards
from eventcore.limits import (
    BACKOFF_FIRST_SECONDS,
    BACKOFF_LAST_SECONDS,
    INSTANCE_SILENT_SECONDS_MAX,
    REBUILD_TRIES_MAX,
    STUCK_STREAMS_MAX,
    SWITCH_SILENCE_SECONDS_MAX,
    SWITCHES_MAX,
)
from eventcore.rebuild.findings import Done, Findings, Progress, Refused, Stopped
from eventcore.rebuild.live import NoMarks, changed, finish_marking
from eventcore.rebuild.rehearse import Rehearsal, rehearse
from eventcore.rebuild.sources import LogAway, OwnLog, Page, Place, Topics
from eventcore.rebuild.verify import Comparison, compare
from eventcore.store import ABSENT, Discard, Rooms, StoreUnavailable, TargetStore, ViewStore

SAVE_SECONDS = 1.0  # between two notes of what was reached, which are also the signs of life
WATCH_SECONDS = 4.0  # how long a rebuild that another began must be silent to be taken over; see `alive`
_SILENT = timedelta(seconds=INSTANCE_SILENT_SECONDS_MAX)
GRACE_SECONDS = 3.0  # between the last moment at which a room may be read and its end: above POINTER_SECONDS_MAX
NEAR = 1_000  # records: so near to the end of the log the switch begins
_FROM_THE_START: Mapping[str, Any] = {"offsets": (), "after": "", "done": 0, "total": 0, "state": State.BUILDING}


@dataclass(frozen=True)
class Wish:
    """What is asked for. `views` are names; `epochs` {source: epoch} are accepted in place of the ones known.

    `confirmed`: the digest of the findings that were confirmed, or "all" for whatever is found;
    `accept_differences`: switch although content differs under the same fold, or documents are behind; of streams that
    the builder could not fold, only those that were behind before it and still are when all was read once more.
    """

    views: tuple[str, ...]
    actor: str
    reason: str
    epochs: Mapping[str, str] = field(default_factory=dict)
    confirmed: str = ""
    accept_differences: bool = False


def _is_wished(wish: Wish, building: Building) -> bool:
    """Whether what stands there is what is asked for. Epochs that were accepted for it need not be named again."""
    return set(wish.views) == set(building.views) and (not wish.epochs or dict(wish.epochs) == dict(building.epochs))


class Rebuild:
    """One service's rebuilds. `views` are all of its views; those of `own` are folded from its own log.

    `erasing` is told of documents about people when they begin to serve; `discards(epoch, stream)` are the versions
    that somebody decided to go on without; `forget(epoch)` drops what is held of a history that was given up.
    """

    def __init__(
        self,
        *,
        name: str,
        views: Sequence[View[Any]],
        own: Sequence[View[Any]],
        fingerprints: Mapping[str, str],
        rooms: Rooms,
        store: ViewStore,
        generations: GenerationStore,
        log: OwnLog,
        topics: Topics | None,
        evaluations: Sequence[Evaluation],
        targets: TargetStore,
        erasing: Marks,
        discards: Callable[[str, str], Awaitable[Sequence[Discard]]],
        forget: Callable[[str], Awaitable[None]],
        now: Callable[[], datetime],
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self._name = name
        self._views = {view.name: view for view in views}
        self._own = frozenset(view.name for view in own)
        self._fingerprints = fingerprints
        self._rooms = rooms
        self._store = store
        self._generations = generations
        self._log = log
        self._topics = topics
        self._evaluations = evaluations
        self._targets = targets
        self._erasing = erasing
        self._discards = discards
        self._forget = forget
        self._now = now
        self._clock = clock
        self._pause = pause
        self._saved = 0.0
        self._read_again: dict[tuple[str, str], int] = {}  # what was behind when this run began to read it all again

    async def run(self, wish: Wish, builder: str) -> AsyncGenerator[Progress | Findings | Done, None]:
        """Builds, verifies, rehearses and switches; ends after Findings when they want a confirmation, else after Done.

        What is found switched and not finished is finished first; if that is what is wished for, it is all there is to
        do. `builder` names this run. Where the database or the log does not answer it waits and tries again, at most
        REBUILD_TRIES_MAX times in one place. Raises Refused, Stopped, WrongEpoch, LogAway, StoreUnavailable; what was
        reached is kept, and the next run goes on from there.
        """
        self._known(wish.views)
        found: Building | None = None

        async def finish_first() -> AsyncIterator[Progress]:
            nonlocal found
            found = (await self._generations.read()).building or found
            async for progress in self.finish():
                yield progress

        marked = 0
        async for progress in self._patiently(State.BUILDING, finish_first):
            marked = progress.done
            yield progress
        if found is not None and found.state is State.MARKING and _is_wished(wish, found):
            yield Done(dict(found.views), marked)
            return
        building: Building | None = None

        async def begin_and_build() -> AsyncIterator[Progress]:
            nonlocal building
            building = await self._begin(wish, builder)
            async for progress in self._build(building):
                yield progress

        async for progress in self._patiently(State.BUILDING, begin_and_build):
            yield progress
        assert building is not None
        findings: list[Findings] = []

        async def look() -> AsyncIterator[Progress]:
            async for told in self._look(builder):
                if isinstance(told, Progress):
                    yield told
                else:
                    findings.append(told)
                    if self.unconfirmed(wish, told):
                        await self._leave(builder, told)

        async for progress in self._patiently(State.VERIFYING, look):
            yield progress
        yield findings[-1]
        if self.unconfirmed(wish, findings[-1]):
            return
        generations = building.views

        async def switch() -> AsyncIterator[Progress]:
            await self._switch(wish, builder, generations)
            yield Progress(State.MARKING, 0, 0)

        async for progress in self._patiently(State.SWITCHING, switch):
            yield progress
        async for progress in self._patiently(State.MARKING, self.finish):
            marked = progress.done
            yield progress
        yield Done(dict(generations), marked)

    async def finish(self) -> AsyncIterator[Progress]:
        """What a builder that died between switch and marks left to do, if there is something; see `finish_marking`."""
        async for progress in finish_marking(
            self._generations,
            self._rooms,
            list(self._views.values()),
            self._store,
            self._evaluations,
            self._targets,
            self._erasing,
            self._forget,
        ):
            yield progress

    async def alive(self, builder: str) -> None:
        """A sign of life of this builder, for whoever runs it beside `run` or `finish`: one answer of the database may
        take longer than others wait for one. Does nothing where another builds. Raises StoreUnavailable."""

        def moved_on(seen: Catalogue) -> Catalogue | None:
            return seen if seen.building is not None and seen.building.builder == builder else None

        await change(self._generations, moved_on)

    async def _patiently(self, state: State, phase: Callable[[], AsyncIterator[Progress]]) -> AsyncIterator[Progress]:
        """One phase, begun again from what was reached while the database or the log is away: nobody need be there to
        run it again. Only getting further than ever gives it new tries, or a request that never succeeds would be
        repeated for ever."""
        last = Progress(state, 0, 0)
        tries, furthest = 0, 0
        while True:
            try:
                async for last in phase():
                    if last.done > furthest:
                        tries, furthest = 0, last.done
                    yield last
                return
            except (StoreUnavailable, LogAway) as away:
                tries += 1
                if tries >= REBUILD_TRIES_MAX:
                    raise
                yield replace(last, problem=f"{away}: trying again")
            await self._pause(min(BACKOFF_FIRST_SECONDS * 2 ** min(tries, 10), BACKOFF_LAST_SECONDS))

    async def drop(self, names: Sequence[str]) -> list[str]:
        """Gives up the rebuild of these views, if one is under way, and every generation but the current; gives rooms.

        A builder that is still alive notices at its next note and stops.
        """
        self._known(names)

        def without(seen: Catalogue) -> Catalogue | None:
            building = seen.building
            if building is None or building.views.keys().isdisjoint(names):
                return None
            if building.state is State.MARKING:
                raise Refused("it is switched already and what rests on it is being marked: ask again in a moment")
            return seen.model_copy(update={"building": None})

        await change(self._generations, without)
        return await self._tidy(names)

    # ---- begin

    async def _begin(self, wish: Wish, builder: str) -> Building:
        await self._accepts(wish)
        if other := await self._folded_otherwise(wish.views, self._now() - _SILENT):
            raise Refused(f"{other}: rebuild when every process runs this release, half a minute after the last other")
        found = await self._generations.read()
        if found.building is not None and found.building.builder != builder:
            await self._silent(found)
        goes_on = found.building is not None and self._goes_on(wish, found.building)
        # What it was stuck at and is folded live by now may be there to be read: no switch is made without it.
        left = await self._left_behind(found.building) if goes_on and found.building is not None else {}
        again = left.items() - self._read_again.items()

        def begun(seen: Catalogue) -> Catalogue:
            mine = seen.building is not None and seen.building.builder == builder
            if seen.revision != found.revision and not mine:
                raise Refused("another rebuild began at this moment: `credence views list` shows it")
            if seen.building is not None and seen.building.state is State.MARKING:
                raise Refused("it is switched already and what rests on it is being marked: ask again in a moment")
            if goes_on and seen.building is not None:
                fresh = {**_FROM_THE_START, "stuck": ()} if again else {}
                taken = seen.building.model_copy(update={**fresh, "builder": builder, "state": State.BUILDING})
                return seen.model_copy(update={"building": taken})
            return self._anew(wish, builder, seen)

        building = (await change(self._generations, begun)).building
        assert building is not None
        self._read_again |= left
        if not goes_on:
            await self._tidy(wish.views)
        await self._open(building)
        return building

    async def _folded_otherwise(self, names: Collection[str], since: datetime) -> str:
        """Which process runs, or ran since then, that has another fold of one of these: it would fold by it into the
        new generation too. Empty when there is none, as far as clocks tell."""
        for instance in await self._generations.instances(since):
            for name in sorted(names):
                if instance.fingerprints.get(name, self._fingerprints[name]) != self._fingerprints[name]:
                    return f"{instance.name} folds {name} as another release does (noted {instance.at:%H:%M:%S} UTC)"
        return ""

    def _known(self, names: Sequence[str]) -> None:
        if unknown := sorted(set(names) - self._views.keys()):
            raise Refused(f"{self._name} has no view {', '.join(unknown)}: it has {', '.join(sorted(self._views))}")
        if not names:
            raise Refused(f"name the views to build: {', '.join(sorted(self._views))}")

    async def _accepts(self, wish: Wish) -> None:
        """Another epoch's versions say nothing about documents folded from the one before: all or none."""
        if wish.epochs and (missing := sorted(self._views.keys() - self._own - set(wish.views))):
            raise Refused(
                f"another epoch is accepted for all foreign views or for none: also build {', '.join(missing)}"
            )

    async def _silent(self, found: Catalogue) -> None:
        """Returns when nobody works at the rebuild that stands there. Raises Refused when somebody does."""
        assert found.building is not None
        if found.building.state is State.AWAITING_CONFIRMATION:
            return
        until = self._clock() + WATCH_SECONDS
        while self._clock() < until:
            await self._pause(SAVE_SECONDS / 2)
            if (await self._generations.read()).revision != found.revision:
                views, actor = ", ".join(sorted(found.building.views)), found.building.actor
                raise Refused(f"{views} of {self._name} are being built by {actor}: see `credence views list`")

    def _goes_on(self, wish: Wish, building: Building) -> bool:
        """Whether what stands there is this wish, built by this release's folds."""
        if set(building.views) != set(wish.views):
            raise Refused(
                f"a rebuild of {', '.join(sorted(building.views))} is under way: go on with it by naming these and no "
                f"other, or give it up with `credence views drop {self._name} {' '.join(sorted(building.views))}`"
            )
        same = all(building.fingerprints[name] == self._fingerprints[name] for name in building.views)
        return same and _is_wished(wish, building)

    def _anew(self, wish: Wish, builder: str, found: Catalogue) -> Catalogue:
        numbers = {name: found.standing(name).last + 1 for name in wish.views}
        if found.building is not None:
            numbers = {name: max(number, found.building.views.get(name, 0) + 1) for name, number in numbers.items()}
        building = Building(
            views=numbers,
            fingerprints={name: self._fingerprints[name] for name in wish.views},
            builder=builder,
            started=self._now(),
            actor=wish.actor,
            reason=wish.reason,
            epochs=dict(wish.epochs),
        )
        standings = {n: found.standing(n).model_copy(update={"last": numbers[n]}) for n in wish.views}
        return found.model_copy(update={"building": building, "views": {**found.views, **standings}})

    async def _open(self, building: Building) -> None:
        for name, generation in building.views.items():
            await self._rooms.open_room(room(name, generation), self._views[name].indexes)

    async def _tidy(self, names: Sequence[str]) -> list[str]:
        """Drops every room of these views that is neither current nor being built; gives them."""
        catalogue = await self._generations.read()
        building = catalogue.building.views if catalogue.building is not None else {}
        kept = {catalogue.room(name) for name in names} | {room(n, g) for n, g in building.items()}
        old = [r for name in names for r in await self._rooms.rooms_of(name) if r not in kept]
        if old:
            # A query may still read by a pointer from before these were left.
            await self._pause(GRACE_SECONDS)
        for name in old:
            await self._rooms.drop_room(name)
        return old

    # ---- build

    async def _build(self, building: Building) -> AsyncIterator[Progress]:
        """Folds the log to (nearly) its end."""
        own, foreign = self._parted(building)
        categories = {v.category for v in own}
        # Asked once: what is appended later is folded in passing.
        total = building.total or (await self._log.total(categories) + (await self._left(building) if foreign else 0))
        if own:
            async for page in self._log.pages(categories, building):
                building = await self._fold(own, page, building, total)
                yield Progress(State.BUILDING, building.done, building.total)
        grown: int | None = None
        while foreign:
            ends = await self._from_topics().ends()
            total = building.done + await self._left(building)
            async for page in self._pages(foreign, building, ends):
                building = await self._fold(foreign, page, building, total)
                yield Progress(State.BUILDING, building.done, building.total)
            before: int | None = grown
            grown = sum((await self._from_topics().ends()).values()) - sum(ends.values())
            if grown <= NEAR or (before is not None and grown >= before):
                break  # the rest comes with the switch, or it comes faster than it is read
        await self._reached(building)

    async def _left(self, building: Building) -> int:
        """How many records the topics hold beyond what was reached."""
        start = await self._from_topics().start(building)
        return sum((await self._from_topics().ends()).values()) - sum(start.values())

    async def _drain(self, builder: str, ends: Mapping[Place, int] | None = None) -> None:
        """Reads the topics up to these ends, or to those of now."""
        building = self._of(await self._generations.read(), builder)
        _, foreign = self._parted(building)
        if not foreign:
            return
        async for page in self._pages(foreign, building, ends or await self._from_topics().ends()):
            building = await self._fold(foreign, page, building, 0)
        await self._reached(building)

    async def _pages(
        self, views: Sequence[View[Any]], building: Building, ends: Mapping[Place, int]
    ) -> AsyncIterator[Page]:
        pinned = await self._store.pinned()
        async for page in self._from_topics().pages({v.category for v in views}, building, pinned, ends):
            yield page

    async def _fold(self, views: Sequence[View[Any]], page: Page, building: Building, total: int) -> Building:
        pinned = (await self._store.pinned()).with_built(building.views)
        folder = Folder(views, self._store, NoMarks())
        stuck = dict.fromkeys(building.stuck)
        for stream, fault in (await folder.fold(page.records, pinned)).items():
            if await self._folded_on(folder, pinned, page, fault) is not None:
                stuck[stream] = None
        if len(stuck) > STUCK_STREAMS_MAX:
            raise Refused(
                f"more than {STUCK_STREAMS_MAX} streams cannot be folded, such as {next(iter(stuck))}: mend the fold"
            )
        # Only after it is folded: a builder that dies here reads it again.
        done = building.done + page.done
        counted = {"done": done, "total": max(total, building.total, done), "stuck": tuple(stuck)}
        building = building.model_copy(update={**page.reached, **counted})
        if self._clock() - self._saved >= SAVE_SECONDS:
            await self._reached(building)
        return building

    async def _folded_on(self, folder: Folder, pinned: PinnedViews, page: Page, fault: Fault) -> Fault | None:
        """Folds on behind versions that were discarded, as the live folds do; gives where it is stuck still."""

        async def fold(records: Sequence[Recorded[Any]]) -> Fault | None:
            return (await folder.fold({fault.stream: records}, pinned)).get(fault.stream)

        discards = await self._discards(page.epochs[fault.stream], fault.stream)
        return await but_for_discards(fold, discards, page.records[fault.stream], fault)

    async def _reached(self, building: Building) -> None:
        def noted(seen: Building) -> Building:
            reached = {name: getattr(building, name) for name in ("offsets", "after", "done", "total")}
            # Own folds note there what they could not fold in passing.
            stuck = tuple(dict.fromkeys((*building.stuck, *seen.stuck)))
            return seen.model_copy(update={**reached, "stuck": stuck})

        await self._note(building.builder, noted)

    def _parted(self, building: Building) -> tuple[list[View[Any]], list[View[Any]]]:
        views = [self._views[name] for name in sorted(building.views)]
        return [v for v in views if v.name in self._own], [v for v in views if v.name not in self._own]

    def _from_topics(self) -> Topics:
        assert self._topics is not None, "a service with foreign views listens to topics"
        return self._topics

    # ---- verify and rehearse

    async def _look(self, builder: str) -> AsyncIterator[Progress | Findings]:
        catalogue = await self._save(builder, state=State.VERIFYING)
        building = catalogue.building
        assert building is not None
        serving = await self._store.pinned()
        built = serving.with_built(building.views)

        async def catch_up() -> None:
            await self._drain(builder)

        resting = [
            (evaluation, [self._views[n] for n in sorted(building.views) if n in evaluation.dependants])
            for evaluation in self._evaluations
            if not evaluation.dependants.keys().isdisjoint(building.views)
        ]
        total = sum([await self._rooms.count(catalogue.room(name), {}) for name in building.views])
        total += sum([await self._targets.count(evaluation.name) for evaluation, _ in resting])
        comparisons = []
        done = 0
        for name in sorted(building.views):
            found = Comparison(name)
            async for found in compare(name, serving, built, catch_up):
                yield Progress(State.VERIFYING, done + found.serving, max(total, done + found.serving))
                await self._alive(builder)
            comparisons.append(found)
            done += found.serving
        rehearsals = []
        comparable = not building.epochs and all(serving.serves(name) for name in building.views)
        for evaluation, views in resting:
            outcome = Rehearsal()
            async for outcome in rehearse(
                evaluation, views, self._targets, serving, built, self._now, catch_up, comparable=comparable
            ):
                yield Progress(State.VERIFYING, done + outcome.targets, max(total, done + outcome.targets))
                await self._alive(builder)
            rehearsals.append(outcome)
            done += outcome.targets
        yield Findings(comparisons, rehearsals, self._suspect(catalogue, comparisons), building.epochs)

    async def _leave(self, builder: str, findings: Findings) -> None:
        """Until somebody has given a word."""
        if any(comparison.behind for comparison in findings.comparisons):
            # Whatever is filled in until it is run again, perhaps in a topic made anew, is found then.
            await self._from_the_start(self._of(await self._generations.read(), builder))
        await self._save(builder, state=State.AWAITING_CONFIRMATION)

    def _suspect(self, catalogue: Catalogue, comparisons: Sequence[Comparison]) -> tuple[str, ...]:
        """Under a changed fold, and where nothing served before, differences are what it was done for; a document that
        is behind the serving one is lost either way."""
        other = changed(catalogue, self._fingerprints)
        return tuple(c.view for c in comparisons if c.behind or (c.different and c.view not in other))

    @staticmethod
    def unconfirmed(wish: Wish, findings: Findings) -> bool:
        """Whether the switch waits for somebody's word."""
        if findings.suspect and not wish.accept_differences:
            return True
        return bool(findings.decisions) and wish.confirmed not in ("all", findings.digest)

    # ---- switch

    async def _switch(self, wish: Wish, builder: str, generations: Mapping[str, int]) -> None:
        """Moves the pointers; see the package's words on why nothing is missing."""
        if await self._switched(builder, generations):
            return
        building = self._of(await self._generations.read(), builder)
        if other := await self._folded_otherwise(building.views, building.started):
            # What it folded in passing is in there, and reading all again would take it for folded.
            await self._save(builder, fingerprints=dict.fromkeys(building.views, ""), state=State.BUILDING)
            raise Refused(f"{other}, also into what was built: run it again when every process runs this release")
        for _ in range(SWITCHES_MAX):
            await self._drain(builder)
            _, foreign = self._parted(self._of(await self._generations.read(), builder))
            if await (self._switch_foreign(wish, builder) if foreign else self._flip(wish, builder, State.VERIFYING)):
                return
        raise Stopped(
            f"the switch was called off {SWITCHES_MAX} times: consumers saw no sign of life of it for "
            f"{SWITCH_SILENCE_SECONDS_MAX:g} s, so the database or the topics are slow. What was built is kept: run it "
            "again when they are not"
        )

    async def _switched(self, builder: str, generations: Mapping[str, int]) -> bool:
        """Whether it happened already: by a try whose answer was lost, and perhaps it is all marked since."""
        found = await self._generations.read()
        if found.building is None:
            return all(found.standing(name).generation == number for name, number in generations.items())
        return found.building.builder == builder and found.building.state is State.MARKING

    async def _switch_foreign(self, wish: Wish, builder: str) -> bool:
        await self._save(builder, state=State.SWITCHING)
        try:
            # Taken only now, when every consumer that still folds by an older pointer holds its batch already.
            ends = await self._from_topics().ends()
            await self._drain(builder, ends)
            return await self._flip(wish, builder, State.SWITCHING)
        except GeneratorExit:
            raise  # killed where it stood: nothing can be awaited any more
        except BaseException:
            # Interrupted, or a server is away: the consumers need not wait until the silence is noticed.
            with suppress(Stopped, StoreUnavailable):
                await change(self._generations, partial(self._called_off, builder))
            raise

    def _called_off(self, builder: str, seen: Catalogue) -> Catalogue | None:
        building = self._of(seen, builder)
        if building.state is not State.SWITCHING:
            return None
        return seen.model_copy(update={"building": building.model_copy(update={"state": State.BUILDING})})

    async def _flip(self, wish: Wish, builder: str, state: State) -> bool:
        """The one step. False when the switch had been called off: what was folded since is not all in the new one."""
        found = await self._generations.read()
        checked = self._of(found, builder)
        await self._none_left_behind(checked, self._read_again if wish.accept_differences else {})
        retired = await self._retired(found)

        def moved(seen: Catalogue) -> Catalogue | None:
            building = self._of(seen, builder)
            if building.state is not state or building.stuck != checked.stuck:
                return None
            standings = {
                name: Standing(generation=number, fingerprint=building.fingerprints[name], last=number)
                for name, number in building.views.items()
            }
            return seen.model_copy(
                update={
                    "views": {**seen.views, **standings},
                    "building": building.model_copy(update={"state": State.MARKING}),
                    "epochs": {**seen.epochs, **building.epochs},
                    "retired": {**seen.retired, **retired},
                }
            )

        after = await change(self._generations, moved)
        return after.building is not None and after.building.state is State.MARKING

    async def _none_left_behind(self, building: Building, accepted: Mapping[tuple[str, str], int]) -> None:
        """A stream that the builder could not fold may be folded live by now: by a release that can, or because what
        was missing came. Then it is all there in the log, and has to be read again; `accepted` was, and is not there.
        Raises Stopped."""
        if behind := sorted((await self._left_behind(building)).items() - accepted.items()):
            await self._from_the_start(building)
            (_, stream), _ = behind[0]
            raise Stopped(f"{stream} was folded live meanwhile, and not here: run it again, it reads all once more")

    async def _left_behind(self, building: Building) -> dict[tuple[str, str], int]:
        """The streams, by view, that the builder could not fold as far as they are folded live, and how far it did."""
        serving = await self._store.pinned()
        built = serving.with_built(building.views)
        behind: dict[tuple[str, str], int] = {}
        for view in (self._views[name] for name in sorted(building.views)):
            streams = [s for s in building.stuck if category_of(s) == view.category]
            old, new = await serving.load(view.name, streams), await built.load(view.name, streams)
            reached = {s: (old.get(s, ABSENT).version, new.get(s, ABSENT).version) for s in streams}
            behind |= {(view.name, s): there for s, (here, there) in reached.items() if there < here}
        return behind

    async def _from_the_start(self, building: Building) -> None:
        """Whoever takes it up reads all of it. What it was stuck at is kept until then; see `_begin`."""
        await self._save(building.builder, **_FROM_THE_START)

    async def _retired(self, catalogue: Catalogue) -> dict[str, tuple[str, ...]]:
        """With the epochs given up for the accepted ones."""
        assert catalogue.building is not None
        found = {}
        pinned = await self._store.pinned()
        for source, epoch in catalogue.building.epochs.items():
            bound = await pinned.bind_epoch(source, epoch)
            before = [e for e in (*catalogue.retired.get(source, ()), bound) if e != epoch]
            found[source] = tuple(dict.fromkeys(before))
        return found

    # ---- the document

    def _of(self, catalogue: Catalogue, builder: str) -> Building:
        building = catalogue.building
        if building is None:
            raise Stopped("the rebuild was dropped")
        if building.builder != builder:
            raise Stopped(f"the rebuild was taken over by another run, of {building.actor}")
        return building

    async def _alive(self, builder: str) -> None:
        if self._clock() - self._saved >= SAVE_SECONDS:
            await self._save(builder)

    async def _save(self, builder: str, **updates: Any) -> Catalogue:
        return await self._note(builder, lambda building: building.model_copy(update=updates))

    async def _note(self, builder: str, edit: Callable[[Building], Building]) -> Catalogue:
        """Every note is also a sign of life."""

        def noted(seen: Catalogue) -> Catalogue:
            building = self._of(seen, builder)
            if building.state is State.MARKING:
                # By a try whose answer was lost. Called back, what is not marked yet would never be.
                raise Stopped("it is switched already, and what rests on it is being marked")
            return seen.model_copy(update={"building": edit(building)})

        saved = await change(self._generations, noted)
        self._saved = self._clock()
        return saved
