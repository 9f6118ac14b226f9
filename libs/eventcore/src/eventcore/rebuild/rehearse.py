"""Rehearse: what the evaluations would find and command if the built generation were current.

The same pure functions at the same `now`, once on the facts that serve and once on those that were built: what differs
is due to the rebuild alone. Nothing is written and nothing is commanded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from eventcore.evaluate import Evaluation, Facts, Reader, Verdict
from eventcore.fold import View
from eventcore.generations import PinnedViews
from eventcore.limits import (
    COMPARED_AT_ONCE_MAX,
    DECISIONS_SHOWN_MAX,
    LED_FROM_AT_ONCE_MAX,
    NAMED_AT_ONCE_MAX,
    PATHS_SHOWN_MAX,
    REHEARSED_AT_ONCE_MAX,
    TARGETS_REMEMBERED_MAX,
)
from eventcore.parts import parts
from eventcore.rebuild.verify import differing
from eventcore.store import StoreUnavailable, TargetStore

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Change:
    """A target that would be decided otherwise: the results' differing paths, and the commands before and after."""

    evaluation: str
    target: str
    paths: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands where a target's facts should: reading them raised this."""

    error: str


@dataclass
class Rehearsal:
    """What was found so far. `moving` targets have facts that the serving generation has yet to fold."""

    targets: int = 0
    changed: int = 0
    moving: int = 0
    shown: list[Change] = field(default_factory=list)


async def rehearse(
    evaluation: Evaluation,
    views: Sequence[View[Any]],
    targets: TargetStore,
    serving: PinnedViews,
    built: PinnedViews,
    clock: Callable[[], datetime],
    catch_up: Callable[[], Awaitable[None]],
    *,
    comparable: bool,
) -> AsyncIterator[Rehearsal]:
    """Yields what was found so far, after every page. `views` are those being built on which the evaluation rests.

    Not `comparable` are versions of another epoch, and a view that was never built.
    """
    found = Rehearsal()
    async for _, page in targets_of(evaluation, views, targets, built):
        left: Collection[str] = page
        for _ in range(ATTEMPTS):
            # In this order, as in `verify`: what was serving before the builder read to the end was in the log. Read
            # later, an event that came in between would be in what serves alone, and a decision that changes.
            old = await _facts(evaluation, serving, left)
            await catch_up()
            new = await _facts(evaluation, built, left)
            # What the serving generation has yet to fold is no difference between the two: it is evaluated when it
            # is folded, as ever. Look again; after that it is left to its evaluation.
            again = [t for t in left if comparable and _yet_to_come(old[t], new[t])]
            for target in sorted(set(left) - set(again)):
                _judge(found, evaluation, target, old[target], new[target], clock())
            left = again
            if not left:
                break
        found.moving += len(left)
        found.targets += len(page)
        yield found


async def _facts(evaluation: Evaluation, views: PinnedViews, targets: Collection[str]) -> dict[str, Facts | Unreadable]:
    """Together; one by one where that fails, since a document of an older shape may be what is being mended."""
    try:
        return dict(await evaluation.facts(Reader(views), list(targets)))
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 (told as a difference, of this target alone)
        if len(targets) == 1:
            return {next(iter(targets)): Unreadable(type(error).__name__)}
    return {t: f for target in targets for t, f in (await _facts(evaluation, views, [target])).items()}


def _judge(
    found: Rehearsal,
    evaluation: Evaluation,
    target: str,
    old: Facts | Unreadable,
    new: Facts | Unreadable,
    now: datetime,
) -> None:
    before, after = _told(evaluation, target, old, now), _told(evaluation, target, new, now)
    if before == after:
        return
    found.changed += 1
    if len(found.shown) < DECISIONS_SHOWN_MAX:
        paths = tuple(sorted(set(differing(before[0], after[0]))))[:PATHS_SHOWN_MAX] if before[0] != after[0] else ()
        found.shown.append(Change(evaluation.name, target, paths, before[1], after[1]))


def _told(
    evaluation: Evaluation, target: str, facts: Facts | Unreadable, now: datetime
) -> tuple[Any, tuple[str, ...], Any]:
    if isinstance(facts, Unreadable):
        return None, (f"its facts cannot be read: {facts.error}",), None
    try:
        verdict: Verdict = evaluation.evaluate(target, facts, now)
    except Exception as error:  # noqa: BLE001 (told as a difference: on these facts it would be held up)
        return None, (f"cannot be evaluated: {type(error).__name__}",), None
    # A command's values are compared and not told: what an order says of a person is read in the service.
    orders = tuple(f"{type(o.command).__name__} on {o.stream}" for o in verdict.orders)
    content = [o.command.model_dump(mode="json") for o in verdict.orders]
    return verdict.result.model_dump(mode="json"), orders, (content, verdict.evaluate_at)


def _yet_to_come(old: Facts | Unreadable, new: Facts | Unreadable) -> bool:
    """Whether the facts that serve are behind those that were built, and nowhere ahead of them."""
    if isinstance(old, Unreadable) or isinstance(new, Unreadable):
        return False
    ahead = [new[s].version - old[s].version if s in old else new[s].version for s in new]
    lost = [s for s in old if s not in new and old[s].version]
    return not lost and min(ahead, default=0) >= 0 and max(ahead, default=0) > 0


async def targets_of(
    evaluation: Evaluation, views: Sequence[View[Any]], targets: TargetStore, store: PinnedViews
) -> AsyncIterator[tuple[bool, list[str]]]:
    """Every target there is (True), then those that only these documents lead to (False); each once, in pages."""
    after = ""
    while names := await targets.names(evaluation.name, after=after, limit=NAMED_AT_ONCE_MAX):
        for page in parts(names, REHEARSED_AT_ONCE_MAX):
            yield True, page
        after = names[-1]
    met: dict[str, None] = {}
    async for view, documents in documents_of(views, store, limit=LED_FROM_AT_ONCE_MAX):
        led = sorted(set(await evaluation.dependants[view.name](Reader(store), documents)) - met.keys())
        for part in parts(led, REHEARSED_AT_ONCE_MAX):
            known = await targets.known(evaluation.name, part)
            if fresh := [t for t in part if t not in known]:
                met |= dict.fromkeys(fresh)
                while len(met) > TARGETS_REMEMBERED_MAX:
                    del met[next(iter(met))]
                yield False, fresh


async def documents_of(
    views: Sequence[View[Any]], store: PinnedViews, *, limit: int
) -> AsyncIterator[tuple[View[Any], dict[str, BaseModel | None]]]:
    """Every document of these views, `limit` at a time."""
    for view in views:
        after = ""
        while names := await store.names(view.name, {}, after=after, limit=NAMED_AT_ONCE_MAX):
            for page in parts(names, COMPARED_AT_ONCE_MAX):
                found = await store.load(view.name, page)
                for part in parts(list(found.items()), limit):
                    yield view, {stream: view.read(stored) for stream, stored in part}
            after = names[-1]
