"""The builder: one rebuild from where it stands to the switch, as a sequence of things to tell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from eventcore.decider import category_of
from eventcore.evaluate import Evaluation
from eventcore.event import Recorded
from eventcore.fold import MARKER, Fault, Folder, Marks, View
from eventcore.generations import Building, Catalogue, GenerationStore, PinnedViews, Standing, State, change, room
from eventcore.limits import STUCK_STREAMS_MAX, SWITCHES_MAX
from eventcore.rebuild.findings import Done, Findings, Progress, Refused, Stopped
from eventcore.rebuild.live import NoMarks, changed, finish_marking
from eventcore.rebuild.rehearse import Rehearsal, rehearse
from eventcore.rebuild.sources import OwnLog, Page, Place, Topics
from eventcore.rebuild.verify import Comparison, compare
from eventcore.store import ABSENT, Discard, Rooms, StoreUnavailable, TargetStore, ViewStore

SAVE_SECONDS = 1.0  # between two notes of what was reached, which are also the signs of life
WATCH_SECONDS = 4.0  # how long a rebuild that another began must be silent to be taken over
GRACE_SECONDS = 3.0  # between the last moment at which a room may be read and its end: above POINTER_SECONDS_MAX
NEAR = 1_000  # records: so near to the end of the log the switch begins


@dataclass(frozen=True)
class Wish:
    """What is asked for. `views` are names; `epochs` {source: epoch} are accepted in place of the ones known.

    `confirmed`: the digest of the findings that were confirmed, or "all" for whatever is found;
    `accept_differences`: switch although content differs under the same fold, or documents are behind.
    """

    views: tuple[str, ...]
    actor: str
    reason: str
    epochs: Mapping[str, str] = field(default_factory=dict)
    confirmed: str = ""
    accept_differences: bool = False


class Rebuild:
    """One service's rebuilds. `views` are all of its views; those of `own` are folded from its own log.

    `discards(epoch, stream)` are the versions that somebody decided to go on without; `forget(epoch)` drops what is
    held of a history that was given up.
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
        marks: Marks,
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
        self._marks = marks
        self._discards = discards
        self._forget = forget
        self._now = now
        self._clock = clock
        self._pause = pause
        self._saved = 0.0

    async def run(self, wish: Wish, builder: str) -> AsyncIterator[Progress | Findings | Done]:
        """Builds, verifies, rehearses and switches; ends after Findings when they want a confirmation, else after Done.

        `builder` names this run. Raises Refused, Stopped, WrongEpoch, LogAway, StoreUnavailable; what was reached is
        kept, and the next run goes on from there.
        """
        await self.finish()
        building = await self._begin(wish, builder)
        async for progress in self._build(building):
            yield progress
        async for told in self._look(wish, builder):
            yield told
            if isinstance(told, Findings) and self.unconfirmed(wish, told):
                if any(comparison.behind for comparison in told.comparisons):
                    # Whatever is filled in until it is run again, perhaps in a topic made anew, is found then.
                    building = self._of(await self._generations.read(), builder)
                    await self._from_the_start(building)
                await self._save(builder, state=State.AWAITING_CONFIRMATION)
                return
        generations = await self._switch(wish, builder)
        yield Done(generations, await self.finish())

    async def finish(self) -> int:
        """What a builder that died between switch and marks left to do; gives how many marks it made."""
        return await finish_marking(
            self._generations,
            self._rooms,
            list(self._views.values()),
            self._store,
            self._evaluations,
            self._targets,
            self._marks,
            self._forget,
        )

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
        self._known(wish.views)
        await self._accepts(wish)
        found = await self._generations.read()
        if found.building is not None:
            await self._silent(found)
            if not self._goes_on(wish, found.building):
                return await self._anew(wish, builder, found)
            taken = found.building.model_copy(update={"builder": builder, "state": State.BUILDING})
            if not await self._generations.swap(found, found.model_copy(update={"building": taken})):
                raise Refused("another rebuild began at this moment: `credence views list` shows it")
            await self._open(taken)
            return taken
        return await self._anew(wish, builder, found)

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
        return same and dict(building.epochs) == dict(wish.epochs)

    async def _anew(self, wish: Wish, builder: str, found: Catalogue) -> Building:
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
        new = found.model_copy(update={"building": building, "views": {**found.views, **standings}})
        if not await self._generations.swap(found, new):
            raise Refused("another rebuild began at this moment: `credence views list` shows it")
        await self._tidy(wish.views)
        await self._open(building)
        return building

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
        if own:
            categories = {v.category for v in own}
            # Asked once: what comes later is folded in passing.
            total = await self._log.total(categories)
            async for page in self._log.pages(categories, building):
                building = await self._fold(own, page, building, total)
                yield Progress(State.BUILDING, building.done, building.total)
        grown: int | None = None
        while foreign:
            ends = await self._from_topics().ends()
            total = building.done + sum(ends.values()) - sum((await self._from_topics().start(building)).values())
            async for page in self._pages(foreign, building, ends):
                building = await self._fold(foreign, page, building, total)
                yield Progress(State.BUILDING, building.done, building.total)
            before: int | None = grown
            grown = sum((await self._from_topics().ends()).values()) - sum(ends.values())
            if grown <= NEAR or (before is not None and grown >= before):
                break  # the rest comes with the switch, or it comes faster than it is read
        await self._reached(building)

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
        stream, found = fault.stream, list(page.records[fault.stream])
        discards = {d.version: d for d in await self._discards(page.epochs[stream], stream)}
        left: Fault | None = fault
        while left is not None and (discard := discards.pop(left.version, None)) is not None:
            found = [r for r in found if r.version != discard.version]
            found.append(Recorded(stream, discard.version, MARKER, discard.at))
            left = (await folder.fold({stream: found}, pinned)).get(stream)
        return left

    async def _reached(self, building: Building) -> None:
        reached = {name: getattr(building, name) for name in ("offsets", "after", "done", "total", "stuck")}
        await self._save(building.builder, **reached)

    def _parted(self, building: Building) -> tuple[list[View[Any]], list[View[Any]]]:
        views = [self._views[name] for name in sorted(building.views)]
        return [v for v in views if v.name in self._own], [v for v in views if v.name not in self._own]

    def _from_topics(self) -> Topics:
        assert self._topics is not None, "a service with foreign views listens to topics"
        return self._topics

    # ---- verify and rehearse

    async def _look(self, wish: Wish, builder: str) -> AsyncIterator[Progress | Findings]:
        catalogue = await self._save(builder, state=State.VERIFYING)
        building = catalogue.building
        assert building is not None
        serving = await self._store.pinned()
        built = serving.with_built(building.views)

        async def catch_up() -> None:
            await self._drain(builder)

        total = sum([await self._rooms.count(catalogue.room(name), {}) for name in building.views])
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
        for evaluation in self._evaluations:
            views = [self._views[n] for n in sorted(building.views) if n in evaluation.dependants]
            if views:
                outcome = Rehearsal()
                async for outcome in rehearse(
                    evaluation, views, self._targets, serving, built, self._now, catch_up, comparable=comparable
                ):
                    yield Progress(State.VERIFYING, done + outcome.targets, done + outcome.targets)
                    await self._alive(builder)
                rehearsals.append(outcome)
                done += outcome.targets
        yield Findings(comparisons, rehearsals, self._suspect(catalogue, comparisons))

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

    async def _switch(self, wish: Wish, builder: str) -> dict[str, int]:
        """Moves the pointers; see the package's words on why nothing is missing."""
        for _ in range(SWITCHES_MAX):
            await self._drain(builder)
            _, foreign = self._parted(self._of(await self._generations.read(), builder))
            if not foreign:
                moved = await self._flip(wish, builder, State.VERIFYING)
            else:
                moved = await self._switch_foreign(wish, builder)
            if moved is not None:
                return moved
        raise Stopped("the switch was called off each time: the log grows faster than it is read; try again later")

    async def _switch_foreign(self, wish: Wish, builder: str) -> dict[str, int] | None:
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

    async def _flip(self, wish: Wish, builder: str, state: State) -> dict[str, int] | None:
        """The one step. None when the switch had been called off: what was folded since is not all in the new one."""
        found = await self._generations.read()
        if not wish.accept_differences:
            await self._none_left_behind(self._of(found, builder))
        retired = await self._retired(found)

        def moved(seen: Catalogue) -> Catalogue | None:
            building = self._of(seen, builder)
            if building.state is not state:
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
        building = after.building
        return dict(building.views) if building is not None and building.state is State.MARKING else None

    async def _none_left_behind(self, building: Building) -> None:
        """A stream that the builder could not fold may be folded live by now: by a release that can, or because what
        was missing came. Then it is all there in the log, and has to be read again. Raises Stopped."""
        serving = await self._store.pinned()
        built = serving.with_built(building.views)
        for view in (self._views[name] for name in sorted(building.views)):
            streams = [s for s in building.stuck if category_of(s) == view.category]
            old, new = await serving.load(view.name, streams), await built.load(view.name, streams)
            if behind := [s for s in streams if new.get(s, ABSENT).version < old.get(s, ABSENT).version]:
                await self._from_the_start(building)
                raise Stopped(
                    f"{behind[0]} was folded live meanwhile, and not here: run it again, it reads all once more"
                )

    async def _from_the_start(self, building: Building) -> None:
        await self._save(building.builder, offsets=(), after="", done=0, total=0, stuck=(), state=State.BUILDING)

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
        """Notes what was reached; every note is also a sign of life."""

        def noted(seen: Catalogue) -> Catalogue:
            return seen.model_copy(update={"building": self._of(seen, builder).model_copy(update=updates)})

        saved = await change(self._generations, noted)
        self._saved = self._clock()
        return saved
