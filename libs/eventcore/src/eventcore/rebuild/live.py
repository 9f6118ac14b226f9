"""What the live side of a service does about generations: adopt them at the start, fold into the one that is being
built, finish what a dead builder left, tell what changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from eventcore.decider import Decider
from eventcore.evaluate import Evaluation
from eventcore.event import Recorded
from eventcore.fold import Folder, Gap, Marks, Poison, View
from eventcore.generations import Building, Catalogue, GenerationStore, Standing, State, change, room
from eventcore.limits import COMPARED_AT_ONCE_MAX, STUCK_STREAMS_MAX
from eventcore.personal import AboutPerson
from eventcore.rebuild.findings import Progress
from eventcore.rebuild.rehearse import documents_of, targets_of
from eventcore.rebuild.sources import readable
from eventcore.store import Rooms, StreamStore, TargetStore, ViewStore


class NoMarks:
    """Nothing rests on a generation that is being built."""

    async def mark(self, view: View[Any], documents: Mapping[str, Any], repeated: Mapping[str, int]) -> None:
        pass


class Also:
    """Folds the service's own appends into the generation that is being built as well, if one is."""

    def __init__(
        self,
        views: Sequence[View[Any]],
        store: ViewStore,
        generations: GenerationStore,
        appends: StreamStore,
        deciders: Mapping[str, Decider[Any, Any, Any]],
    ) -> None:
        self._views = views
        self._store = store
        self._generations = generations
        self._appends = appends
        self._deciders = deciders

    async def __call__(self, records: Mapping[str, Sequence[Recorded[Any]]]) -> None:
        """Called by the Folder with what was read from the log, before it is folded into the current generation.

        Before, because the pointers are read again for that: had the switch come in between, what was folded into the
        old generation only would be missing in the new one. Thus at worst the new one is folded into twice.
        """
        pinned = await self._store.pinned()
        building = pinned.catalogue.building
        mine = [v for v in self._views if building is not None and v.name in building.views]
        if building is None or building.state is State.MARKING or not mine:
            return
        folder = Folder(mine, self._store, NoMarks())
        built = pinned.with_built(building.views)
        faults = await folder.fold(records, built)
        if gaps := [stream for stream, fault in faults.items() if isinstance(fault, Gap)]:
            # The scan has not come to these streams, or was overtaken between its read and its write.
            whole = await self._appends.load(gaps)
            faults |= await folder.fold({s: readable(self._deciders, found) for s, found in whole.items()}, built)
        if stuck := sorted(stream for stream, fault in faults.items() if isinstance(fault, Poison)):
            await change(self._generations, partial(_with_stuck, building, stuck))


def _with_stuck(building: Building, streams: Sequence[str], seen: Catalogue) -> Catalogue | None:
    """With these noted as not folded into what is being built, for the builder to look at before it switches: the scan
    is past them, and the current generation, whose documents are others, may well be able to go on."""
    found = seen.building
    if found is None or found.views != building.views or found.state is State.MARKING:
        return None
    stuck = tuple(dict.fromkeys((*found.stuck, *streams)))[: STUCK_STREAMS_MAX + 1]
    return (
        None
        if stuck == found.stuck
        else seen.model_copy(update={"building": found.model_copy(update={"stuck": stuck})})
    )


async def adopt(
    store: GenerationStore,
    rooms: Rooms,
    views: Sequence[View[Any]],
    fingerprints: Mapping[str, str],
    *,
    own: Collection[str],
    with_history: Callable[[], Awaitable[Collection[str]]],
) -> Catalogue:
    """Notes every view that the document does not name yet, at a service's start.

    A view that comes to a service later is new: where its streams have a past (`with_history` gives these views) it
    must be built before anything is folded into it, or all of them were gaps. In a database without the document the
    views are those that were folded before generations were kept, and are taken as built, empty ones too: nothing may
    have come for them yet. Where none holds anything the database was restored from a backup of its log, and the
    foreign ones (not `own`) that were heard of are lost; the own ones are then folded from the log by themselves.
    """
    seen = await store.read()
    if _all_noted(seen, views):
        return seen  # at nearly every start: what follows asks much of a database that may have enough to do
    past = frozenset(await with_history())
    histories = await rooms.histories()
    restored = not any([await rooms.find(room(view.name, 1), {}, limit=1) for view in views])
    lost = past - set(own) if restored else frozenset()

    def edit(seen: Catalogue) -> Catalogue | None:
        if _all_noted(seen, views):
            return None
        fresh = {v.name for v in views} - seen.views.keys()
        unbuilt = fresh & past if seen.revision else fresh & lost
        noted = {
            name: Standing(generation=0, last=0) if name in unbuilt else Standing(fingerprint=fingerprints[name])
            for name in sorted(fresh)
        }
        known = {} if seen.revision else {source: retired for source, (_, retired) in histories.items() if retired}
        return seen.model_copy(update={"views": {**seen.views, **noted}, "retired": {**known, **seen.retired}})

    return await change(store, edit)


def _all_noted(seen: Catalogue, views: Sequence[View[Any]]) -> bool:
    return bool(seen.revision) and seen.views.keys() >= {view.name for view in views}


def changed(catalogue: Catalogue, fingerprints: Mapping[str, str]) -> dict[str, str]:
    """The views that want a rebuild, each with why."""
    found = {}
    for name, fingerprint in fingerprints.items():
        standing = catalogue.standing(name)
        if not standing.generation:
            found[name] = "never built"
        elif standing.fingerprint and standing.fingerprint != fingerprint:
            found[name] = "its fold changed since it was built"
    return found


async def finish_marking(
    store: GenerationStore,
    rooms: Rooms,
    views: Sequence[View[Any]],
    views_store: ViewStore,
    evaluations: Sequence[Evaluation],
    targets: TargetStore,
    erasing: Marks,
    forget: Callable[[str], Awaitable[None]],
) -> AsyncIterator[Progress]:
    """Forgets what is held of histories given up, marks every target that rests on views just switched, once, then
    takes the rebuild off the document. Harmless when another does it at the same time, or did.

    `erasing` gets the new documents about people: the builder folded without marks, so this may be where somebody's
    erasure is first met. Tells how many were marked.
    """
    catalogue = await store.read()
    building = catalogue.building
    if building is None or building.state is not State.MARKING:
        return
    for source, epoch in catalogue.epochs.items():
        # Beside the document, for whoever has only that: a backup keeps it.
        await rooms.rebind(source, epoch, catalogue.retired.get(source, ()))
    for epoch in sorted({epoch for epochs in catalogue.retired.values() for epoch in epochs}):
        await forget(epoch)
    pinned = await views_store.pinned()
    switched = [v for v in views if v.name in building.views]
    people = [v for v in switched if issubclass(v.document, AboutPerson)]
    async for view, documents in documents_of(people, pinned, limit=COMPARED_AT_ONCE_MAX):
        await erasing.mark(view, documents, {})
    resting = [e for e in evaluations if not e.dependants.keys().isdisjoint(building.views)]
    total = sum([await targets.count(evaluation.name) for evaluation in resting])
    marked = 0
    yield Progress(State.MARKING, marked, total)
    for evaluation in resting:
        leading = [v for v in switched if v.name in evaluation.dependants]
        async for there, page in targets_of(evaluation, leading, targets, pinned):
            await (targets.mark_again if there else targets.mark)(evaluation.name, page)
            marked += len(page)
            yield Progress(State.MARKING, marked, max(total, marked))
    identity = (building.builder, building.started, building.views)

    def over(seen: Catalogue) -> Catalogue | None:
        found = seen.building
        same = found is not None and found.state is State.MARKING
        if not same or found is None or (found.builder, found.started, found.views) != identity:
            return None
        return seen.model_copy(update={"building": None})

    await change(store, over)
