"""Generations: a view's documents live in rooms, one current, and one small document says which.

A changed or doubtful view is built anew in a room of its own while the current one serves; the pointer then moves in
one compare-and-set. Everything that must never act on a pointer of yesterday (folds, marks, evaluations) reads it
anew, through `pinned`; queries may use one that is a second old.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict

from eventcore.limits import POINTER_SECONDS_MAX, RACE_ATTEMPTS_MAX, SWITCH_SILENCE_SECONDS_MAX
from eventcore.store import StoreUnavailable, Versioned, ViewStore, Write

_SUFFIX = "__g"

_log = logging.getLogger(__name__)


class State(StrEnum):
    """How far a rebuild has come."""

    BUILDING = "building"
    VERIFYING = "verifying"
    AWAITING_CONFIRMATION = "awaiting-confirmation"
    SWITCHING = "switching"  # consumers of foreign views stand still
    MARKING = "marking"  # switched; what rests on the views is being marked


class Frozen(BaseModel):
    # The document is replaced as a whole: what a newer release keeps in it must outlive an older one's change.
    model_config = ConfigDict(frozen=True, extra="allow")


class Standing(Frozen):
    """A view as it serves: `generation` 0 was never built; `fingerprint` is of the fold that built it.

    `last` is the highest number ever given out: a dropped generation's number is not used again, since a process that
    slept may still write to it.
    """

    generation: int = 1
    fingerprint: str = ""
    last: int = 1


class Building(Frozen):
    """A rebuild under way: of `views` (name -> generation), by the process that calls itself `builder`.

    `offsets` are [topic, partition, next offset] of a rebuild from topics; `after` the last stream of one from the
    service's own log; `stuck` the streams that the builder could not fold to their end. `epochs` are those it accepts
    in place of the ones the views were folded from.
    """

    views: dict[str, int]
    fingerprints: dict[str, str]
    builder: str
    started: AwareDatetime
    actor: str
    reason: str
    state: State = State.BUILDING
    offsets: tuple[tuple[str, int, int], ...] = ()
    after: str = ""
    done: int = 0
    total: int = 0
    stuck: tuple[str, ...] = ()
    epochs: dict[str, str] = {}


class Instance(Frozen):
    """A process of this service: the fingerprints of the folds it runs, by view, as it noted them `at` its own time."""

    name: str
    fingerprints: dict[str, str]
    at: AwareDatetime


class Catalogue(Frozen):
    """All pointers of one service. A view that is not named serves its first generation."""

    revision: int = 0
    views: dict[str, Standing] = {}
    building: Building | None = None
    epochs: dict[str, str] = {}  # accepted in place of the first one seen
    retired: dict[str, tuple[str, ...]] = {}  # epochs given up for these: their records are passed over

    def standing(self, view: str) -> Standing:
        return self.views.get(view, Standing())

    def room(self, view: str) -> str:
        return room(view, self.standing(view).generation)

    def generations(self) -> dict[str, int]:
        return {name: standing.generation for name, standing in self.views.items()}

    def switching(self, views: Collection[str]) -> bool:
        building = self.building
        return (
            building is not None and building.state is State.SWITCHING and not building.views.keys().isdisjoint(views)
        )


def room(view: str, generation: int) -> str:
    """Where a generation's documents are: the first one where they always were."""
    return view if generation == 1 else f"{view}{_SUFFIX}{generation}"


def view_of(name: str) -> str:
    """Of which view a room is."""
    return name.partition(_SUFFIX)[0]


class GenerationStore(Protocol):
    async def read(self) -> Catalogue:
        """As a majority holds it; an empty one where there is none yet. Raises StoreUnavailable."""
        ...

    async def swap(self, seen: Catalogue, new: Catalogue) -> bool:
        """Stores `new` as the revision after `seen`; False when `seen` is no longer what is stored.

        Raises StoreUnavailable, and then it may have happened, or may yet: only while `seen` still stands.
        """
        ...

    async def note(self, instance: Instance) -> None:
        """In place of what this instance noted before; forgets those that noted nothing for INSTANCES_KEPT_SECONDS."""
        ...

    async def instances(self, since: datetime) -> list[Instance]:
        """Those that noted themselves since then. Only ever to warn a person: by clocks nothing is decided."""
        ...


async def change(store: GenerationStore, edit: Callable[[Catalogue], Catalogue | None]) -> Catalogue:
    """Applies `edit` to what is stored, as often as others get in between; None leaves it as it is.

    Gives what is stored then. Whatever `edit` raises passes through.
    """
    for _ in range(RACE_ATTEMPTS_MAX):
        seen = await store.read()
        new = edit(seen)
        if new is None:
            return seen
        if await store.swap(seen, new):
            return new.model_copy(update={"revision": seen.revision + 1})
    raise StoreUnavailable("the generations kept changing")


class PinnedViews:
    """A view store by the pointers of one moment, whatever is switched since.

    `instead` names views to be read in another generation: the one that is being built.
    """

    def __init__(
        self,
        rooms: ViewStore,
        catalogue: Catalogue,
        again: Callable[[], Any] | None = None,
        instead: Mapping[str, int] | None = None,
    ) -> None:
        self.catalogue = catalogue
        self._rooms = rooms
        self._again = again
        self._instead = dict(instead or {})

    def serves(self, view: str) -> bool:
        """Whether the view was ever built: until then nothing is folded into it and nothing may rest on it."""
        return view in self._instead or self.catalogue.standing(view).generation > 0

    def with_built(self, views: Mapping[str, int]) -> PinnedViews:
        """The same, with these generations in place of the current ones."""
        return PinnedViews(self._rooms, self.catalogue, self._again, views)

    async def still(self) -> bool:
        """Whether the pointers have not moved: what was read meanwhile was current, and nobody had dropped it."""
        now = await self.pinned()
        return now.catalogue.generations() == self.catalogue.generations()

    async def pinned(self) -> PinnedViews:
        return self if self._again is None else await self._again()

    async def load(self, view: str, streams: Sequence[str]) -> dict[str, Versioned]:
        return await self._rooms.load(self._room(view), streams)

    async def write(self, view: str, writes: Sequence[Write]) -> list[bool]:
        return await self._rooms.write(self._room(view), writes)

    async def find(
        self, view: str, where: Mapping[str, Any], *, after: str = "", limit: int
    ) -> list[tuple[str, Versioned]]:
        return await self._rooms.find(self._room(view), where, after=after, limit=limit)

    async def names(self, view: str, where: Mapping[str, Any], *, after: str = "", limit: int) -> list[str]:
        return await self._rooms.names(self._room(view), where, after=after, limit=limit)

    async def count(self, view: str, where: Mapping[str, Any]) -> int:
        return await self._rooms.count(self._room(view), where)

    async def bind_epoch(self, source: str, epoch: str) -> str:
        accepted = self.catalogue.epochs.get(source)
        return accepted or await self._rooms.bind_epoch(source, epoch)

    def _room(self, view: str) -> str:
        return room(view, self._instead[view]) if view in self._instead else self.catalogue.room(view)


class CurrentViews:
    """The view store of a service: each view's current generation, by a pointer at most `seconds` old.

    Good for queries. A fold, a mark or an evaluation takes `pinned` instead.
    """

    def __init__(
        self,
        rooms: ViewStore,
        generations: GenerationStore,
        clock: Callable[[], float],
        *,
        seconds: float = POINTER_SECONDS_MAX,
    ) -> None:
        self._rooms = rooms
        self._generations = generations
        self._clock = clock
        self._seconds = seconds
        self._known: PinnedViews | None = None
        self._until = 0.0

    async def pinned(self) -> PinnedViews:
        # The time before the read: an answer that was long on its way is that old.
        asked = self._clock()
        found = PinnedViews(self._rooms, await self._generations.read(), self.pinned)
        if self._known is None or found.catalogue.revision >= self._known.catalogue.revision:
            # Of two reads that overlap the older answer may come last: a query must not go back.
            self._known, self._until = found, asked + self._seconds
        return found

    async def _recent(self) -> PinnedViews:
        if self._known is None or self._clock() >= self._until:
            await self.pinned()
        assert self._known is not None
        return self._known

    async def load(self, view: str, streams: Sequence[str]) -> dict[str, Versioned]:
        return await (await self._recent()).load(view, streams)

    async def write(self, view: str, writes: Sequence[Write]) -> list[bool]:
        return await (await self.pinned()).write(view, writes)

    async def find(
        self, view: str, where: Mapping[str, Any], *, after: str = "", limit: int
    ) -> list[tuple[str, Versioned]]:
        return await (await self._recent()).find(view, where, after=after, limit=limit)

    async def names(self, view: str, where: Mapping[str, Any], *, after: str = "", limit: int) -> list[str]:
        return await (await self._recent()).names(view, where, after=after, limit=limit)

    async def count(self, view: str, where: Mapping[str, Any]) -> int:
        return await (await self._recent()).count(view, where)

    async def bind_epoch(self, source: str, epoch: str) -> str:
        return await (await self.pinned()).bind_epoch(source, epoch)


async def open_gate(_catalogue: Catalogue) -> None:
    """Nothing is ever switched."""


class Gate:
    """Where consumers of foreign views stand still while a switch is made; see `rebuild`.

    A builder that died must not hold them for ever: when the document has not moved for `seconds` of this process's
    own clock, the switch is called off by compare-and-set. Called off too early (a slow builder, a clock that runs
    fast) it costs the builder another try, never a record: its own compare-and-set then fails.
    """

    def __init__(
        self,
        generations: GenerationStore,
        views: Collection[str],
        clock: Callable[[], float],
        *,
        seconds: float = SWITCH_SILENCE_SECONDS_MAX,
    ) -> None:
        self._generations = generations
        self._views = frozenset(views)
        self._clock = clock
        self._seconds = seconds
        self._seen = (-1, 0.0)  # revision, since when

    async def __call__(self, found: Catalogue) -> None:
        """Returns when nothing was being switched. Raises StoreUnavailable where it was: come again."""
        if not found.switching(self._views):
            return
        if found.revision != self._seen[0]:
            self._seen = (found.revision, self._clock())
        if self._clock() - self._seen[1] < self._seconds:
            raise StoreUnavailable("views are being switched to a new generation")
        assert found.building is not None
        called_off = found.building.model_copy(update={"state": State.BUILDING})
        if await self._generations.swap(found, found.model_copy(update={"building": called_off})):
            _log.warning("switch-called-off")
        raise StoreUnavailable("a switch of views was called off: its builder is silent")
