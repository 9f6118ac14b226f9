"""Evaluate: what needs several streams is computed from their documents by a pure function, again and again.

Nothing here depends on when or how often it runs: a result rests on the versions it names, a command on the version
it was decided on, and whatever moves in between leaves the target dirty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from eventcore.decider import Command, Decider
from eventcore.execute import Executor, Request
from eventcore.fold import View
from eventcore.limits import EVALUATED_AT_ONCE_MAX, FAILING_MAX, FOUND_AT_ONCE_MAX, MADE_GOOD_MAX, NAMED_AT_ONCE_MAX
from eventcore.outcome import SETTLED, Status
from eventcore.store import ABSENT, Finding, StoreUnavailable, TargetStore, ViewStore
from eventcore.trace import Span, no_span

D = TypeVar("D", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Fact(Generic[D]):
    """A document and the version it stands at (None at 0 where the stream is not known)."""

    version: int
    document: D | None
    trace: str = ""


Facts = Mapping[str, Fact[Any]]  # by stream


class Reader:
    """Reads fact documents, many at a time, from the primary."""

    def __init__(self, store: ViewStore) -> None:
        self._store = store

    async def get(self, view: View[D], streams: Collection[str]) -> dict[str, Fact[D]]:
        """One fact per stream asked for; an unknown stream gives version 0 without a document."""
        wanted = list(dict.fromkeys(streams))
        found = await self._store.load(view.name, wanted) if wanted else {}
        stored = {s: found.get(s, ABSENT) for s in wanted}
        return {s: Fact(v.version, view.read(v), v.trace) for s, v in stored.items()}

    async def count(self, view: View[D], where: Mapping[str, Any]) -> int:
        """How many documents match `where` (see ViewStore.count)."""
        return await self._store.count(view.name, where)

    async def find(self, view: View[D], where: Mapping[str, Any]) -> dict[str, Fact[D]]:
        """The documents that match `where` (see ViewStore.find), all of them, read in pages."""
        facts: dict[str, Fact[D]] = {}
        after = ""
        while True:
            page = await self._store.find(view.name, where, after=after, limit=FOUND_AT_ONCE_MAX)
            facts.update({s: Fact(v.version, view.read(v), v.trace) for s, v in page})
            if len(page) < FOUND_AT_ONCE_MAX:
                return facts
            after = page[-1][0]

    async def names(self, view: View[Any], where: Mapping[str, Any]) -> list[str]:
        """The streams whose documents match `where`, all of them, without reading the documents: there may be as many
        as a programme has learners."""
        names: list[str] = []
        while True:
            after = names[-1] if names else ""
            page = await self._store.names(view.name, where, after=after, limit=NAMED_AT_ONCE_MAX)
            names += page
            if len(page) < NAMED_AT_ONCE_MAX:
                return names


@dataclass(frozen=True)
class Order:
    """A command an evaluation issues, decided on `expected` of its stream.

    A verdict has at most one for each stream: of two decided on the same version the second would be dropped.
    """

    decider: Decider[Any, Any, Any]
    stream: str
    command: Command
    expected: int


@dataclass(frozen=True)
class Verdict:
    """What an evaluation found: a result, what to command, and when to look again at the latest."""

    result: BaseModel
    orders: tuple[Order, ...] = ()
    evaluate_at: datetime | None = None


Dependants = Callable[[Reader, Mapping[str, Any]], Awaitable[Collection[str]]]


@dataclass(frozen=True)
class Evaluation:
    """One kind of target.

    `dependants[view name](reader, documents by stream)` names the targets that rest on these documents, looked up
    from documents, never from a stored basis. Of one view one document at most leads to a target: of two, one that
    came again would pass for the other (see `Marker._unseen`). `facts(reader, targets)` reads what each target rests
    on, its own first: of several that moved, the first is taken for the cause, and its trace goes on.
    `evaluate(target, facts, now)` is pure. `rests_on(target)` names the streams that follow from the target's id
    alone: a token that names one of them is waited for.
    """

    name: str
    dependants: Mapping[str, Dependants]
    facts: Callable[[Reader, Sequence[str]], Awaitable[Mapping[str, Facts]]]
    evaluate: Callable[[str, Facts, datetime], Verdict]
    rests_on: Callable[[str], Collection[str]]


class Marker:
    """Marks the targets that depend on documents just written (the Folder's `Marks`)."""

    def __init__(
        self,
        evaluations: Sequence[Evaluation],
        views: ViewStore,
        targets: TargetStore,
        marked: Callable[[str], None] = lambda _evaluation: None,
    ) -> None:
        self._evaluations = evaluations
        self._views = views
        self._targets = targets
        self._marked = marked
        self._made_good: dict[tuple[str, str], int] = {}  # by evaluation and stream: the version it stood at

    async def mark(
        self, view: View[Any], documents: Mapping[str, BaseModel | None], repeated: Mapping[str, int]
    ) -> None:
        known = {s: d for s, d in documents.items() if d is not None}
        resting = [(e, e.dependants[view.name]) for e in self._evaluations if view.name in e.dependants]
        if not known or not resting:
            return
        # The pointer is read after the documents were written, not when their fold began. Else, with a switch in
        # between, a document that the new generation got meanwhile would be looked up in the old one: its target
        # could be evaluated before our write, and nobody would mark it again.
        reader = Reader(await self._views.pinned())
        fresh = {s: d for s, d in known.items() if s not in repeated}
        for evaluation, dependants in resting:
            targets = set(await dependants(reader, fresh)) if fresh else set()
            again = {
                s: d
                for s, d in known.items()
                if s in repeated and self._made_good.get((evaluation.name, s)) != repeated[s]
            }
            if again:
                targets |= await self._unseen(evaluation, set(await dependants(reader, again)) - targets, repeated)
            if targets:
                await self._targets.mark(evaluation.name, sorted(targets))
                self._marked(evaluation.name)
            self._remember(evaluation, again, repeated)

    def _remember(self, evaluation: Evaluation, streams: Collection[str], versions: Mapping[str, int]) -> None:
        """These are not looked at again at these versions: a batch that is tried again, since something behind them
        failed or took too long, goes on where it was. Else one that takes longer than a try would never end."""
        for stream in streams:
            self._made_good.pop((evaluation.name, stream), None)
            self._made_good[evaluation.name, stream] = versions[stream]
            if len(self._made_good) > MADE_GOOD_MAX:
                del self._made_good[next(iter(self._made_good))]

    async def _unseen(self, evaluation: Evaluation, targets: Collection[str], versions: Mapping[str, int]) -> set[str]:
        """Those of the targets whose result has not seen these documents as they stand, as far as it rests on any.

        So a log that is read again from its start, as after a reset of offsets, does not evaluate everything again. A
        result that names none of them is not asked further. One that names only some of what leads to it now was
        found before another document led here, and whoever folded that one marks it.
        """
        bases = await self._targets.bases(evaluation.name, sorted(targets))

        def saw(basis: Mapping[str, int]) -> bool:
            named = basis.keys() & versions.keys()
            return bool(named) and all(basis[stream] == versions[stream] for stream in named)

        return {target for target in targets if not saw(bases.get(target, {}))}


@dataclass
class Pass:
    """What one look did.

    `unsettled` targets stay dirty and want a pause before the next look; so do the `failed` ones, whose evaluation
    raised, with what it raised.
    """

    evaluated: int = 0
    unsettled: int = 0
    lost: int = field(default=0)  # marked again while being evaluated
    failed: Mapping[str, Exception] = field(default_factory=dict)


# How long a target that failed stands aside, the first time, the second, and so on.
ASIDE = tuple(timedelta(seconds=s) for s in (1, 5, 30, 120))


@dataclass(frozen=True, slots=True)
class _Failure:
    """A target that raised, `times` in a row; or, without an error, one whose orders ended unknown."""

    revision: int
    times: int
    until: datetime
    error: str


@dataclass(frozen=True, slots=True)
class _Judged:
    """A verdict, its result written down, and an id for each of its orders."""

    verdict: Verdict
    result: Mapping[str, Any]
    ids: tuple[str, ...]


class Evaluator:
    """Evaluates what is dirty or due. Two at once are harmless."""

    def __init__(
        self,
        evaluation: Evaluation,
        views: ViewStore,
        targets: TargetStore,
        executor: Executor,
        clock: Callable[[], datetime],
        *,
        actor: str,
        limit: int = EVALUATED_AT_ONCE_MAX,
        span: Span = no_span,
    ) -> None:
        self._evaluation = evaluation
        self._views = views
        self._targets = targets
        self._executor = executor
        self._clock = clock
        self._actor = actor
        self._limit = limit
        self._span = span
        self._failing: dict[str, _Failure] = {}

    async def look(self) -> Pass:
        """One look at up to `limit` targets. Raises StoreUnavailable; whatever was not finished stays dirty.

        A target whose evaluation raises, or whose orders do when they are decided, stays dirty, is told in
        `Pass.failed`, and stands aside for a while, so that it holds up no other; one whose orders ended unknown comes
        behind the others. When reading the facts raises, that is nobody's target in particular: it is raised.
        """
        name = self._evaluation.name
        # The revision is read before the facts: a fact that changes after this line raises the revision, and the
        # guard below then refuses a result that did not see it.
        # Those that failed are due for ever: asked on top, or a page full of them would hide the others.
        asked = self._clock()
        found = await self._targets.due(name, asked, limit=self._limit + len(self._failing))
        due = self._take(found, asked)
        if not due:
            return Pass()
        # So is the pointer: a target that was marked after a switch must not be finished on the generation before it.
        views = await self._views.pinned()
        if missing := sorted(v for v in self._evaluation.dependants if not views.serves(v)):
            raise StoreUnavailable(f"{name} rests on {', '.join(missing)}, which was never built: rebuild it")
        facts = await self._evaluation.facts(Reader(views), list(due))
        if not await views.still():
            return Pass(lost=len(due))  # switched meanwhile; once switched, what was read may have been dropped
        now = self._clock()  # one and the same for the verdict and for its commands
        before = {target: self._failing.pop(target, None) for target in due}
        judged, failed = self._judge(due, facts, now)
        unsettled: set[str] = set()
        try:
            unsettled = await self._command(judged, facts, now, failed)
        finally:
            self._stand_aside(due, before, failed, unsettled, now)
        findings = [
            Finding(t, due[t], j.result, {s: f.version for s, f in facts[t].items()}, j.verdict.evaluate_at)
            for t, j in judged.items()
            if t not in unsettled
        ]
        written = await self._targets.finish(name, findings) if findings else []
        return Pass(len(judged), len(unsettled - failed.keys()), written.count(False), failed)

    @property
    def failing(self) -> dict[str, str]:
        """The targets whose evaluation raised when it was tried last, as far as this process knows, and what."""
        return {target: failure.error for target, failure in self._failing.items() if failure.error}

    def _take(self, found: Mapping[str, int], now: datetime) -> dict[str, int]:
        """What to look at: at most `limit`, without those that failed, have not changed since, and stand aside. Those
        that ended so and may be tried again come last: they fill no page before anybody else had a turn."""
        if len(found) < self._limit + len(self._failing):  # all that is due: the others another process evaluated
            self._failing = {t: f for t, f in self._failing.items() if t in found}
        still = {t: f for t, f in self._failing.items() if f.revision == found.get(t)}
        first = ((t, revision) for t, revision in found.items() if t not in still)
        again = ((t, f.revision) for t, f in still.items() if f.until <= now)
        return dict(islice(chain(first, again), self._limit))

    def _judge(
        self, due: Mapping[str, int], facts: Mapping[str, Facts], now: datetime
    ) -> tuple[dict[str, _Judged], dict[str, Exception]]:
        """The verdicts, written down; and what was raised for the targets that have none."""
        judged: dict[str, _Judged] = {}
        failed: dict[str, Exception] = {}
        for target in due:
            try:
                verdict = self._evaluation.evaluate(target, facts[target], now)
                ids = tuple(self._id(target, order) for order in verdict.orders)
                judged[target] = _Judged(verdict, verdict.result.model_dump(mode="json"), ids)
            except Exception as error:  # noqa: BLE001 - told in the Pass; one target must not stop every other
                failed[target] = error
        return judged, failed

    def _stand_aside(
        self,
        due: Mapping[str, int],
        before: Mapping[str, _Failure | None],
        failed: Mapping[str, Exception],
        unsettled: Collection[str],
        now: datetime,
    ) -> None:
        for target in sorted({*failed, *unsettled}):
            if len(self._failing) >= FAILING_MAX:
                del self._failing[next(iter(self._failing))]
            error, last = failed.get(target), before[target]
            if error is None:
                self._failing[target] = _Failure(due[target], 0, now, "")
                continue
            times = last.times + 1 if last else 1
            until = now + ASIDE[min(times, len(ASIDE)) - 1]
            self._failing[target] = _Failure(due[target], times, until, type(error).__name__)

    async def _command(
        self, judged: Mapping[str, _Judged], facts: Mapping[str, Facts], now: datetime, failed: dict[str, Exception]
    ) -> set[str]:
        """Executes the orders; gives the targets of which one ended unknown or aborted, or raised, which is noted."""
        orders = [(t, o, id_) for t, j in judged.items() for o, id_ in zip(j.verdict.orders, j.ids, strict=True)]
        traces = await self._causes({t for t, _, _ in orders}, facts)
        unsettled: set[str] = set()
        for decider in {id(o.decider): o.decider for _, o, _ in orders}.values():
            requests = [
                Request(
                    o.stream,
                    id_,
                    o.command,
                    self._actor,
                    now,
                    expected=o.expected,
                    causation=t,
                    traceparent=traces[t],
                )
                for t, o, id_ in orders
                if o.decider is decider
            ]
            outcomes = await self._execute(decider, requests, failed)
            unsettled |= {r.causation for r, out in zip(requests, outcomes, strict=True) if out not in SETTLED}
        return unsettled

    async def _execute(
        self, decider: Decider[Any, Any, Any], requests: Sequence[Request[Any]], failed: dict[str, Exception]
    ) -> list[Status]:
        """How each request ended. A decider that raises on one of them raises on the batch: then each goes alone."""
        try:
            return [outcome.status for outcome in await self._executor.execute(decider, requests)]
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - told in the Pass; one target must not stop every other
            if len(requests) == 1:
                failed[requests[0].causation] = error
                return [Status.UNKNOWN]
        return [status for request in requests for status in await self._execute(decider, [request], failed)]

    async def _causes(self, targets: Collection[str], facts: Mapping[str, Facts]) -> dict[str, str]:
        """For each target the trace to go on with: that of the first fact which moved since the target's last result.
        On a first look all have, and the last may be a programme that was loaded a year ago."""
        if not targets:
            return {}
        bases = await self._targets.bases(self._evaluation.name, sorted(targets))
        traces = {}
        for target in targets:
            basis = bases.get(target, {})
            moved = [f.trace for s, f in facts[target].items() if f.trace and f.version > basis.get(s, 0)]
            with self._span(f"evaluate {self._evaluation.name}", moved[0]) if moved else nullcontext("") as trace:
                traces[target] = trace
        return traces

    def _id(self, target: str, order: Order) -> str:
        """Derived from target, verb and version: repeated, it is replayed; decided anew, it is a new command."""
        text = f"{self._evaluation.name}/{target}/{order.command.model_dump_json()}@{order.expected}"
        return f"{type(order.command).__name__}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
