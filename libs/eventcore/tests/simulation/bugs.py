"""Planted bugs: each is a one-line change of the real code, made in its source and compiled anew.

A checker that cannot turn red proves nothing. So every bug names a function, the line it changes and what it makes of
it; a line that is not found (once) fails loudly, so that a bug cannot rot into planting nothing.
"""

from __future__ import annotations

import inspect
import textwrap
import types
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from eventcore import consume, deliver, evaluate, execute, fold, held, memory, token
from eventcore.rebuild import builder
from eventcore.store import KeyErased, Tombstone

from . import domain, processes
from .scheduler import give_way


@dataclass(frozen=True)
class Change:
    """In the function `name` (`Class.method` or a plain one) of `module`, each first text becomes the second."""

    module: types.ModuleType
    name: str
    edits: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Bug:
    """`faults` and `rates`: what brings it to light sooner than the usual draw. `start`: a seed that did, when this
    was written; a test searches on from there, for at most `bound` seeds, so a change of the kernel moves no test."""

    what: str
    changes: tuple[Change, ...]
    faults: tuple[str, ...] | None = None
    rates: dict[str, float] = field(default_factory=dict)
    start: int = 0
    bound: int = 1500


def _bug(what: str, module: types.ModuleType, name: str, old: str, new: str, **more: Any) -> Bug:
    return Bug(what, (Change(module, name, ((old, new),)),), **more)


NO_SWEEP = Change(processes, "sweeper", (("await holding.sweep(everything=everything)", 'await give_way("no sweep")'),))


def _unswept(what: str, *changes: Change) -> Bug:
    """A bug for which every sweep makes up, so it is planted without them, and under faults that need none: nothing
    is written late, and no process dies."""
    quiet = ("pause", "rebalance", "loss", "poison", "replay", "kafka")
    return Bug(f"{what} (and there are no sweeps)", (*changes, NO_SWEEP), quiet, {"pause_p": 0.04, "until": 2500})


NO_SWEEP_NO_NEED = _unswept("nothing else")


# ---- what a planted line may call


async def publish_early(store: Any, appends: Any) -> None:
    """Sends the records of appends that are not stored yet."""
    service = store.world.of(appends[0].stream)
    work = deliver.Publisher(store, service.deciders, domain.public, service.bus, topic="early", source=service.name)
    for append in appends:
        for event in deliver.own_events(service.deciders, append):
            await service.bus.send([work._record(event)])


async def dependants_of(marker: Any, view: Any, known: Any) -> dict[str, list[str]]:
    """The look-up of a Marker (here by the streams' names), without its marks."""
    marker, found = marker._marks, dict[str, list[str]]()
    for evaluation in marker._evaluations:
        dependants = evaluation.dependants.get(view.name)
        if dependants is not None:
            found[evaluation.name] = sorted(await dependants(evaluate.Reader(await marker._views.pinned()), known))
    return found


async def mark_them(marker: Any, found: dict[str, list[str]]) -> None:
    for name, targets in found.items():
        await marker._marks._targets.mark(name, targets)


async def mark_or_defer(folder: Any, *moved: Any) -> None:
    deferred = vars(folder).get("deferred")
    if deferred is None:
        await folder._marks.mark(*moved)
    else:
        deferred.append(moved)


async def mark_deferred(folder: Any) -> None:
    for moved in vars(folder).pop("deferred", ()):
        await folder._marks.mark(*moved)


async def commit_early(holding: Any) -> None:
    """Commits the batch that is being handled."""
    commit = vars(holding).get("commit")
    if commit is not None:
        commit()
        await give_way("after the commit")


def folded_again(view: Any, document: Any, waiting: Any, version: int) -> Any:
    for again in sorted((r for r in waiting if r.version <= version), key=lambda r: r.version):
        document = view.fold(document, again) if again.event is not fold.MARKER else document
    return document


async def from_a_replica(store: Any, view: str, streams: Any) -> Any:
    """A secondary that lags by one write, now and then."""
    found = await store.load(view, streams)
    rooms, room = store._rooms, store.catalogue.room(view)
    return {s: rooms.older.get((room, s), v) if rooms.world.r.random() < 0.2 else v for s, v in found.items()}


def moving(store: Any, request: Any) -> Any:
    """The clock instead of the client's `now`."""
    return store.world.clock() if request.actor == "client" else request.now


def opened(note: Any) -> str:
    """What a fold would write that opens personal fields (the sample note is the same for all)."""
    from .script import NOTE

    return NOTE if note is not None else ""


def all_readable(store: Any, records: Any) -> None:
    """A fold that opens personal fields as it goes."""
    for note in (getattr(r.event, "note", None) for waiting in records.values() for r in waiting):
        if note is not None and note.box and isinstance(store.world.service["enr"].keys.keys[note.person], Tombstone):
            raise KeyErased(note.person)


def based_on(marker: Any, evaluation: Any, documents: Any) -> list[str]:
    """Targets whose stored basis names one of these streams."""
    targets = marker._targets.targets.get(evaluation.name, {})
    return sorted(name for name, target in targets.items() if set(documents) & set(target.basis))


HELPERS = {
    helper.__name__: helper
    for helper in (
        publish_early,
        dependants_of,
        mark_them,
        mark_or_defer,
        mark_deferred,
        commit_early,
        folded_again,
        from_a_replica,
        moving,
        opened,
        all_readable,
        based_on,
    )
}

# ---- the bugs

BUGS: dict[str, Bug] = {
    # decide
    "no_unique_id": _bug(
        "an insert does not refuse a taken slot",
        memory,
        "MemoryAppends.store",
        "if append.first in slots:",
        "if False:",
    ),
    "no_replay": _bug(
        "the own step in the stream is not looked for",
        execute,
        "_replay",
        "steps.update({step.id: step for step in append.steps})",
        "pass",
    ),
    "unknown_is_ok": _bug(
        "an unknown write is answered as accepted",
        execute,
        "Executor._append",
        "if result is Insert.STORED:",
        "if result is not Insert.TAKEN:",
    ),
    "batch_twin": _bug(
        "the same id twice in one batch is not seen",
        execute,
        "Executor._decide",
        "stream.steps[request.id] = step",
        "pass",
    ),
    "batch_stale": _bug(
        "a batch ignores its predecessors' state",
        execute,
        "Executor._decide",
        "stream.state = decider.evolve(",
        "decider.evolve(",
        start=30,
    ),
    "refusal_is_proof": _bug(
        "after an unknown write a refusal is given before the slot is seen taken",
        execute,
        "Executor._decide",
        "open_slot = run.unsure.get(i, 0) > stream.stored",
        "open_slot = False",
    ),
    "clock_each_round": _bug(
        "a command is decided at another instant after each lost or unknown write",
        execute,
        "Executor._decide",
        "stream.state, request.now)",
        "stream.state, moving(self._store, request))",
        faults=("mongo", "skew"),
        rates={"io_p": 0.8},
        start=214,
    ),
    # deliver
    "publish_first": _bug(
        "published before appended",
        execute,
        "Executor._append",
        "inserted = await",
        "await publish_early(self._store, appends); inserted = await",
    ),
    "clear_before_ack": _bug(
        "`unpublished` is cleared before the send",
        deliver,
        "Publisher.step",
        "acknowledged = await",
        'await self._store.clear("unpublished", [a for _, a in heads]); acknowledged = await',
    ),
    "send_ahead": _bug(
        "the next record is sent although the last one failed",
        deliver,
        "Publisher.step",
        "if queue and stream not in failed",
        "if queue",
    ),
    "pending_backwards": _bug(
        "waiting appends are read in another order than (stream, first)",
        memory,
        "MemoryAppends.pending",
        "slots[:limit]",
        "slots[::-1][:limit]",
    ),
    "again_in_part": _bug(
        "of a stream that is asked for again only what is marked goes out",
        deliver,
        "Publisher._whole",
        "for append in appends if append.again))",
        "for append in appends if False))",
        faults=("loss", "pause"),
        rates={"io_p": 0.03, "pause_p": 0.02, "until": 2500},
        start=25,
    ),
    "again_done_early": _bug(
        "the mark that asks for a whole stream is cleared with its first append",
        deliver,
        "Publisher._queue",
        "if not append.again:",
        "if True:",
        faults=("crash", "kafka", "loss"),
        rates={"io_p": 0.03, "crash_p": 0.04, "until": 2500},
        start=510,
    ),
    "late_clear": _bug(
        "a clear takes for done what was asked for again since",
        memory,
        "MemoryAppends.unmark",
        "stored.again != append.again",
        "False",
        faults=("mongo", "pause", "loss"),
        rates={"io_p": 0.05, "pause_p": 0.04, "until": 2500},
        start=4200,
    ),
    "spread_stream": _bug(
        "a stream is spread over partitions",
        deliver,
        "encode",
        "Record(topic, event.stream,",
        "Record(topic, event.id,",
    ),
    "clear_before_marks": _bug(
        "`unfolded` is cleared before fold and marks",
        deliver,
        "OwnFold.step",
        "faults = await self._folder.fold(events)",
        'await self._store.clear("unfolded", appends); faults = await self._folder.fold(events)',
    ),
    # fold
    "no_fold_guard": _bug(
        "a document is written without its version guard",
        memory,
        "MemoryViews.replace",
        "if stored.get(write.stream, ABSENT).version != write.seen:",
        "if False:",
    ),
    "gap_folded": _bug(
        "a version beyond the next is folded",
        fold,
        "_advance",
        "by_version.get(version + 1)",
        "by_version.get(min((v for v in by_version if v > version), default=0))",
    ),
    "duplicate_folded": _bug(
        "a version at or below is folded again",
        fold,
        "_advance",
        "view.read(seen)",
        "folded_again(view, view.read(seen), waiting, seen.version)",
    ),
    "unmarked_duplicates": _bug(
        "the dependants of a duplicate are not marked again",
        fold,
        "Folder._fold_view",
        "if any(r.version == f.version for r in todo[s])",
        "if f.version > f.seen.version",
        start=31,
    ),
    "any_basis": _bug(
        "what depends on a duplicate is taken for marked if it has any result",
        evaluate,
        "Marker._unseen",
        "return bool(named) and all(basis[stream] == versions[stream] for stream in named)",
        "return bool(named)",
    ),
    "commit_before_marks": Bug(
        "offsets are committed before the marks",
        (
            Change(
                fold,
                "Folder._fold_view",
                (("await self._marks.mark(", "await mark_or_defer(self, "),),
            ),
            Change(
                processes,
                "consumer",
                (
                    (
                        "await consumer.handle(batch)",
                        "vars(consumer._folder).update(deferred=[]); await consumer.handle(batch); commit(); "
                        "await mark_deferred(consumer._folder)",
                    ),
                ),
            ),
        ),
        faults=("mongo", "crash"),
        rates={"io_p": 1.0, "crash_p": 0.04},
        start=284,
    ),
    "deps_before_write": Bug(
        "dependants are looked up before the document is written",
        (
            Change(
                fold,
                "Folder._fold_view",
                (
                    ("loaded = await", "early = await dependants_of(self._marks, view, todo); loaded = await"),
                    (
                        "await self._marks.mark(view, {s: f.document for s, f in moved.items()}, repeated)",
                        "await mark_them(self._marks, early)",
                    ),
                ),
            ),
        ),
        faults=("pause",),
        rates={"pause_p": 0.0, "race_p": 1.0},
        start=66,
    ),
    "deps_by_basis": _bug(
        "dependants are the targets whose stored basis names the stream",
        evaluate,
        "Marker.mark",
        "targets = set(await dependants(reader, fresh)) if fresh else set()",
        'targets = set(based_on(self, evaluation, fresh)) if view.category in ("cohort", "rcredit")'
        " else set(await dependants(reader, fresh)) if fresh else set()",
        start=152,
    ),
    # hold
    "commit_before_park": Bug(
        "offsets are committed before a fault is held",
        (
            Change(held, "Holding.settle", (("await self._park(", "await commit_early(self); await self._park("),)),
            Change(
                processes,
                "consumer",
                (("await consumer.handle(batch)", "consumer.holding.commit = commit; await consumer.handle(batch)"),),
            ),
        ),
    ),
    "held_before_marks": Bug(
        "a held record is dropped before the marks of what it changed",
        (
            Change(fold, "Folder._fold_view", (("await self._marks.mark(", "await mark_or_defer(self, "),)),
            Change(
                held,
                "Holding._fold_entries",
                (
                    ("fault = await", "vars(self._folder).update(deferred=[]); fault = await"),
                    ("await self._store.drop(done)", "await self._store.drop(done); await mark_deferred(self._folder)"),
                ),
            ),
        ),
        start=1330,
    ),
    "orphans_left": _bug(
        "what a killed process held without a head is not looked for",
        held,
        "Holding.sweep",
        "await self._store.orphans(self.consumer, limit=limit)",
        "[]",
        start=480,
    ),
    "heads_not_read": _unswept(
        "after a fold nobody looks whether something is held behind it",
        Change(held, "Holding.settle", (("await self._store.heads(self.consumer, list(records))", "{}"),)),
    ),
    "head_first": _unswept(
        "the head is there before the entries",
        Change(
            held,
            "Holding._park",
            (
                (
                    "await self._store.keep(entries)\n    await self._store.park(heads)",
                    "await self._store.park(heads)\n    await self._store.keep(entries)",
                ),
            ),
        ),
    ),
    "removed_though_stuck": _unswept(
        "a head is removed although something is behind it",
        Change(held, "Holding._release", (("if fault is None:", "if True:"),)),
    ),
    "gaps_are_poison": _bug(
        "gaps count as a bad release: the consumer stops before it meets what fills them",
        held,
        "Holding._refuse_too_many",
        "sum(isinstance(fault, Poison) for fault in fresh)",
        "len(fresh)",
    ),
    "not_held": _bug("a fault is not held", held, "Holding.settle", "if faults:", "if False:"),
    "behind_not_held": _bug(
        "of what comes behind a fault nothing is held",
        held,
        "Holding.settle",
        "if r.version >= fault.version",
        "if r.version == fault.version",
    ),
    "cut_record": _bug(
        "a record is not held as it came", consume, "Consumer.handle", "r.headers, r.value", "r.headers[:-1], r.value"
    ),
    "discard_not_read": _bug(
        "a discarded version is a fault again",
        held,
        "but_for_discards",
        "by_version.pop(left.version, None)",
        "None",
    ),
    # evaluate
    "no_eval_guard": _bug(
        "a result is written without the revision guard",
        memory,
        "MemoryTargets.settle",
        "if stored[finding.target].revision != finding.revision:",
        "if False:",
    ),
    "mark_keeps_revision": _bug(
        "a mark sets dirty only",
        memory,
        "MemoryTargets.dirty",
        "revision=target.revision + 1",
        "revision=target.revision",
        start=42,
    ),
    "write_keeps_revision": _bug(
        "writing a result does not increment the revision",
        memory,
        "MemoryTargets.settle",
        "finding.revision + 1, False",
        "finding.revision, False",
        start=81,
    ),
    "facts_first": _bug(
        "the facts are read before the revision",
        evaluate,
        "Evaluator.look",
        "now = self._clock()",
        "due = {t: f.revision for t, f in (await self._targets.read(name, list(due))).items()}; now = self._clock()",
    ),
    "stale_facts": _bug(
        "facts are read from a lagging replica",
        evaluate,
        "Reader.get",
        "await self._store.load(view.name, wanted)",
        "await from_a_replica(self._store, view.name, wanted)",
    ),
    "unknown_settles": _bug(
        "a command that ended unknown or aborted settles its target",
        evaluate,
        "Evaluator._command",
        "if out not in SETTLED",
        "if False",
        faults=("mongo",),
        rates={"io_p": 0.9, "until": 2500},
        start=51,
    ),
    "two_nows": _bug(
        "an evaluation and its commands read the clock twice",
        evaluate,
        "Evaluator._command",
        "orders = [(t, o, id_) for",
        "now = self._clock(); orders = [(t, o, id_) for",
        faults=("skew", "pause"),
        rates={"pause_p": 0.01, "until": 2500},
        start=108,
    ),
    "fixed_command_id": _bug(
        "an evaluation reuses one command id per target and verb",
        evaluate,
        "Evaluator._id",
        "@{order.expected}",
        "",
        start=4,
    ),
    "lost_deadline": _bug(
        "evaluate_at is not stored", evaluate, "Evaluator.look", "j.verdict.evaluate_at", "None", start=43
    ),
    "no_expected": _bug(
        "commands carry no `expected`",
        evaluate,
        "Evaluator._command",
        "expected=o.expected",
        "expected=None",
        faults=("skew", "pause"),
        rates={"pause_p": 0.01},
        start=59,
    ),
    "token_by_dirty": _bug(
        "a token is met when the view has folded it and the target is not dirty",
        token,
        "unevaluated",
        "if basis.get(s, 0) < v}",
        "if found is None or found.dirty}",
        start=12,
    ),
    # what the design asks of a domain
    "no_cap": _bug(
        "the decider does not check the cap",
        domain,
        "decide_ledger",
        "if (len(state) + 1) * CREDITS > rules.cap:",
        "if False:",
    ),
    "own_award_counts": _bug(
        "a rule over credits counts the award it decides",
        domain,
        "standing",
        "others = [c for c in awards if c != cohort]",
        "others = list(awards)",
        faults=("pause",),
        rates={"pause_p": 0.003, "race_p": 0},
        start=189,
    ),
    "cap_by_arrival": _bug(
        "under a cap, who came first decides",
        domain,
        "standing",
        "if outranked(person, cohort) and",
        "if False and",
        start=139,
    ),
    "plain_views": _bug(
        "a view keeps a personal field in the clear", domain, "fold_enrolment", "event.note", "opened(event.note)"
    ),
    "key_before_append": _bug(
        "a key is destroyed before the erasure is stored",
        processes,
        "eraser",
        "(outcome,) =",
        'await world.keyring(world.service["enr"]).destroy(["p"], world.clock()); (outcome,) =',
    ),
    "key_kept_on_duplicates": _bug(
        "a key is destroyed when the erasure is folded, not when it comes again",
        fold,
        "Folder._fold_view",
        "if any(r.version == f.version for r in todo[s])",
        "if f.version > f.seen.version or category_of(s) != 'person'",
        faults=("crash", "mongo", "erase"),
        rates={"io_p": 1.0, "crash_p": 0.04},
    ),
    "key_made_again": _bug(
        "a key is made where a tombstone stands",
        memory,
        "MemoryKeys.create_key",
        "stored = self.keys.setdefault(person, wrapped)",
        "stored = self.keys[person] = wrapped",
        faults=("erase",),
    ),
    # rebuild (its races are in test_rebuild_races.py, each at its very moment)
    "reached_before_fold": _bug(
        "what was reached is noted before it is folded",
        builder,
        "Rebuild._fold",
        "pinned = (await self._store.pinned()).with_built(building.views)",
        "pinned = (await self._store.pinned()).with_built(building.views); "
        "await self._reached(building.model_copy(update=page.reached))",
        faults=("rebuild", "crash", "mongo"),
        rates={"crash_p": 0.04},
    ),
    "erased_is_fault": _bug(
        "a field that cannot be read any more stops the own fold",
        fold,
        "Folder._fold_view",
        "loaded = await self._store.load(",
        "all_readable(self._store._rooms, todo); loaded = await self._store.load(",
    ),
}


def _race(what: str, *changes: Change) -> Bug:
    return Bug(what, changes)


RACES: dict[str, Bug] = {
    "heads_before_fold": _race(
        "heads are read before the fold, so that what is held during it is not seen",
        Change(
            held,
            "Holding.fold",
            (
                (
                    "await self.settle(",
                    "self.early = await self._store.heads(self.consumer, list(records)); await self.settle(",
                ),
            ),
        ),
        Change(
            held,
            "Holding.settle",
            (("await self._store.heads(self.consumer, list(records))", 'vars(self).pop("early", {})'),),
        ),
    ),
    "not_tried_after_parking": _race(
        "what was just held is not tried once more",
        Change(held, "Holding.settle", (("sorted({*faults, *heads})", "sorted(heads)"),)),
    ),
    "entries_first": _race(
        "the entries are read before the revision",
        Change(
            held,
            "Holding._release",
            (
                (
                    "done, fault = await self._fold_entries(head)",
                    "done, fault = await self._fold_entries(head); "
                    "head = (await self._store.heads(self.consumer, [stream])).get(stream, head)",
                ),
            ),
        ),
    ),
    "removed_blindly": _race(
        "a head is removed whatever its revision",
        Change(
            memory,
            "MemoryHeld.take_away",
            (("if not self.stands(head):", "if (head.consumer, head.stream) not in self.standing:"),),
        ),
    ),
    "taken_for_another": _race(
        "a head is taken for a later one of its stream",
        Change(
            memory,
            "MemoryHeld.stands",
            (("(found.life, found.revision) == (head.life, head.revision)", "found.revision == head.revision"),),
        ),
    ),
}
"""Bugs of holding that need two processes within the same few lines, and no sweep after them: seeds meet them too
seldom. `test_held.py` plays each of those histories by hand."""

PAIRS: dict[str, tuple[str, ...]] = {
    # Each covers for the other; together the cap is exceeded.
    "no_expected,no_cap": ("no_expected", "no_cap"),
    # A request is decided at its own `now`, so the same state gives the same decision and no refusal can follow an
    # unknown write while its slot is open. With a moving clock it can, and then only the kernel's guard helps.
    "clock_each_round,refusal_is_proof": ("clock_each_round", "refusal_is_proof"),
}
"""Bugs that are not seen alone, by design: something else covers for them."""

COVERED = frozenset(name for pair in PAIRS.values() for name in pair)


@contextmanager
def planted(*names: str) -> Iterator[None]:
    """The code with these bugs in it."""
    edits: dict[tuple[types.ModuleType, str], tuple[tuple[str, str], ...]] = {}
    for change in (change for name in names for change in (BUGS | RACES)[name].changes):
        place = (change.module, change.name)
        edits[place] = edits.get(place, ()) + change.edits
    with ExitStack() as undo:
        for (module, name), all_edits in edits.items():
            undo.enter_context(changed(Change(module, name, all_edits)))
        yield


@contextmanager
def changed(change: Change) -> Iterator[None]:
    owner, name = _place(change)
    original = getattr(owner, name)
    space = original.__globals__
    added = {helper: value for helper, value in HELPERS.items() if helper not in space}
    space.update(added)
    made: dict[str, Any] = {}
    exec(_compiled(change), space, made)
    setattr(owner, name, made[name])
    try:
        yield
    finally:
        setattr(owner, name, original)
        for helper in added:
            del space[helper]


def _place(change: Change) -> tuple[Any, str]:
    *classes, name = change.name.split(".")
    return (getattr(change.module, classes[0]) if classes else change.module), name


@cache
def _compiled(change: Change) -> types.CodeType:
    """The function with its edits. Raises LookupError where the code has moved away from under a bug."""
    owner, name = _place(change)
    source = textwrap.dedent(inspect.getsource(getattr(owner, name)))
    for old, new in change.edits:
        if source.count(old) != 1:
            raise LookupError(f"{change.name} has {old!r} {source.count(old)} times, not once: mend the planted bug")
        source = source.replace(old, new)
    return compile("from __future__ import annotations\n" + source, f"<planted in {change.name}>", "exec")
