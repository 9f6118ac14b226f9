"""ViewsService: a service's views, their generations, and rebuilds beside live traffic."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from credence.operations.v1 import views_pb2 as pb
from credence.operations.v1 import views_pb2_grpc
from eventcore.generations import Catalogue, State
from eventcore.rebuild import (
    Comparison,
    Done,
    Findings,
    LogAway,
    Progress,
    Refused,
    Rehearsal,
    Stopped,
    Wish,
    changed,
)
from eventcore.record import WrongEpoch
from eventcore.store import StoreUnavailable
from servicekit.call import current_call
from servicekit.errors import FailedPrecondition, InvalidArgument, Unavailable
from servicekit.generations import Generations
from servicekit.limits import VIEWS_NAMED_MAX
from servicekit.operations.recording import Recording, check_reason
from servicekit.violations import Violations

_Context = grpc.aio.ServicerContext[Any, Any]
_EPOCH = re.compile(r"[0-9a-f]{1,64}")
_SOURCE = re.compile(r"[a-z]{1,30}/[a-z]{1,30}")
_CONFIRMED = re.compile(r"|all|[0-9a-f]{16}")
BEFORE = "What was reached is kept: run it again"
AFTER = "The views are switched. What rests on them is still being marked: the service goes on with that by itself"


class ViewsApi(views_pb2_grpc.ViewsServiceServicer):
    def __init__(self, generations: Generations, record: Recording) -> None:
        self._generations = generations
        self._record = record

    async def ListViews(self, request: pb.ListViewsRequest, context: _Context) -> pb.ListViewsResponse:
        known = self._generations
        catalogue = await known.stores.generations.read()
        wants = changed(catalogue, known.fingerprints)
        own = {view.name for view in known.own}
        answer = pb.ListViewsResponse(topics=known.topics)
        for view in known.views:
            standing, room = catalogue.standing(view.name), catalogue.room(view.name)
            being_built = catalogue.building.views.get(view.name) if catalogue.building else None
            kept = [r for r in await known.stores.views.rooms_of(view.name) if r != room]
            answer.views.add(
                name=view.name,
                generation=standing.generation,
                documents=await known.stores.views.count(room, {}),
                foreign=view.name not in own,
                fingerprint=standing.fingerprint,
                release_fingerprint=known.fingerprints[view.name],
                wants=wants.get(view.name, ""),
                kept=[r for r in kept if being_built is None or not r.endswith(f"__g{being_built}")],
            )
        if catalogue.building is not None:
            found = catalogue.building
            answer.building.views.extend(sorted(found.views))
            answer.building.state = found.state
            answer.building.done, answer.building.total = found.done, found.total
            answer.building.started.FromDatetime(found.started)
            answer.building.actor, answer.building.reason = found.actor, found.reason
        return answer

    async def RebuildViews(
        self, request: pb.RebuildViewsRequest, context: _Context
    ) -> AsyncIterator[pb.RebuildViewsResponse]:
        _check(request)
        views = self._wanted(request, await self._generations.stores.generations.read())
        wish = Wish(
            views,
            current_call().principal.subject,
            request.reason.strip(),
            dict(request.accept_epochs),
            request.confirmed,
            request.accept_differences,
        )
        await self._record("rebuild", " ".join(views), request.reason)
        builder = secrets.token_hex(8)
        switched = False
        async with self._generations.rebuild(builder) as rebuild:
            try:
                async with aclosing(rebuild.run(wish, builder)) as running:
                    async for told in running:
                        switched = switched or (isinstance(told, Progress) and told.state is State.MARKING)
                        yield _told(told, rebuild.unconfirmed(wish, told) if isinstance(told, Findings) else False)
            except Refused as refused:
                raise FailedPrecondition("rebuild-refused", str(refused)) from refused
            except Stopped as stopped:
                raise FailedPrecondition("rebuild-stopped", str(stopped)) from stopped
            except WrongEpoch as other:
                raise FailedPrecondition("another-epoch", str(other)) from other
            except LogAway as away:
                raise Unavailable(f"{away}. What was reached is kept: run it again", reason="kafka-away") from away
            except StoreUnavailable as away:
                raise Unavailable(f"{away}. {AFTER if switched else BEFORE}") from away

    async def DropViews(self, request: pb.DropViewsRequest, context: _Context) -> pb.DropViewsResponse:
        found = Violations()
        _check_views(found, request.views)
        if not request.views:
            found.add("views", "name at least one")
        check_reason(found, request.reason)
        _raise(found)
        await self._record("drop-views", " ".join(request.views), request.reason)
        async with self._generations.rebuild(secrets.token_hex(8)) as rebuild:
            try:
                return pb.DropViewsResponse(dropped=await rebuild.drop(list(request.views)))
            except Refused as refused:
                raise FailedPrecondition("drop-refused", str(refused)) from refused
            except StoreUnavailable as away:
                raise Unavailable(f"{away}. What was dropped is gone: run it again for the rest") from away

    def _wanted(self, request: pb.RebuildViewsRequest, catalogue: Catalogue) -> tuple[str, ...]:
        """What was named; else what is under way; else what wants it."""
        known = self._generations
        if request.all or request.foreign:
            return tuple(sorted(view.name for view in (known.views if request.all else known.foreign)))
        if request.views:
            return tuple(sorted(set(request.views)))
        if catalogue.building is not None:
            return tuple(sorted(catalogue.building.views))
        wants = changed(catalogue, known.fingerprints)
        if not wants:
            raise FailedPrecondition(
                "nothing-to-rebuild", "every view stands as this release folds it: name those to rebuild all the same"
            )
        return tuple(sorted(wants))


def _check(request: pb.RebuildViewsRequest) -> None:
    found = Violations()
    _check_views(found, request.views)
    check_reason(found, request.reason)
    if not _CONFIRMED.fullmatch(request.confirmed):
        found.add("confirmed", 'must be empty, "all", or the digest of the findings')
    if len(request.accept_epochs) > VIEWS_NAMED_MAX:
        found.add("accept_epochs", f"must be at most {VIEWS_NAMED_MAX}")
    for source, epoch in sorted(request.accept_epochs.items())[:VIEWS_NAMED_MAX]:
        if not _SOURCE.fullmatch(source) or not _EPOCH.fullmatch(epoch):
            found.add("accept_epochs", "must be a source and its epoch, as the refusal names them")
    if sum((request.all, request.foreign, bool(request.views))) > 1:
        found.add("views", "name views, or ask for all foreign ones, or for all: one of them")
    _raise(found)


def _check_views(found: Violations, views: Any) -> None:
    if len(views) > VIEWS_NAMED_MAX:
        found.add("views", f"must be at most {VIEWS_NAMED_MAX}")
    for i, name in enumerate(views[:VIEWS_NAMED_MAX]):
        found.id(f"views[{i}]", name)


def _raise(found: Violations) -> None:
    if found:
        raise InvalidArgument(found.items)


def _told(told: Progress | Findings | Done, waits: bool) -> pb.RebuildViewsResponse:
    match told:
        case Progress():
            return pb.RebuildViewsResponse(
                progress=pb.RebuildProgress(state=told.state, done=told.done, total=told.total, problem=told.problem)
            )
        case Done():
            return pb.RebuildViewsResponse(done=pb.RebuildDone(generations=told.generations, marked=told.marked))
        case Findings():
            return pb.RebuildViewsResponse(
                findings=pb.RebuildFindings(
                    comparisons=[_comparison(c) for c in told.comparisons],
                    targets=sum(r.targets for r in told.rehearsals),
                    decisions=told.decisions,
                    changes=[change for r in told.rehearsals for change in _changes(r)],
                    suspect=told.suspect,
                    digest=told.digest,
                    waits=waits,
                    accepted_epochs=told.epochs,
                )
            )


def _comparison(found: Comparison) -> pb.ViewComparison:
    shown = [
        pb.DocumentDifference(stream=d.stream, serving_version=d.serving, built_version=d.built, paths=d.paths)
        for d in found.shown
    ]
    counts = {n: getattr(found, n) for n in ("serving", "built", "equal", "different", "behind", "ahead")}
    return pb.ViewComparison(view=found.view, shown=shown, **counts)


def _changes(found: Rehearsal) -> list[pb.DecisionChange]:
    return [
        pb.DecisionChange(evaluation=c.evaluation, target=c.target, paths=c.paths, before=c.before, after=c.after)
        for c in found.shown
    ]
