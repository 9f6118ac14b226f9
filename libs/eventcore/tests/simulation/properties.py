"""What must hold when nothing moves any more. Each check rests on the stores alone and replays without the kernel.

What must hold always is checked where it happens: `ports.py` (no view and no result goes back, one record of a
stream in flight), `world.py` (the cap), `processes.py` (one answer per id, no token answered too early, no consumer
stopped without cause).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from eventcore.decider import category_of
from eventcore.evaluate import Fact
from eventcore.event import Recorded
from eventcore.fold import View
from eventcore.memory import MemoryKeys
from eventcore.personal import ERASED, Keyring, Sealed
from eventcore.store import ABSENT, Append, Tombstone

from . import domain
from .scheduler import Violation
from .script import NOTE

if TYPE_CHECKING:
    from .world import Service, World


def verify(world: World) -> None:
    """Raises the first Violation found."""
    _stores(world)
    for service in world.service.values():
        _delivered(service)
        _topic(world, service)
    _views(world)
    _standings(world)
    _erasure(world)
    _nothing_held(world)
    waiting = [*world.running("query"), *world.running("client"), *world.running("twin"), *world.running("eraser")]
    if waiting:
        raise Violation("token never answered" if "query" in waiting[0] else "call never answered", waiting)


def _appends(service: Service) -> Iterator[Append]:
    for _, slots in sorted(service.appends.streams.items()):
        for _, append in sorted(slots.items()):
            yield append


def _events(world: World, service: Service, stream: str) -> list[Recorded[Any]]:
    codec = world.deciders[category_of(stream)].codec
    slots = service.appends.streams.get(stream, {})
    return [
        Recorded(stream, append.first + i, codec.decode(stored), append.recorded)
        for _, append in sorted(slots.items())
        for i, stored in enumerate(append.events)
    ]


def _stores(world: World) -> None:
    """Dense versions; each command once and decided on what went before it; nothing acknowledged lost, nothing
    refused stored."""
    applied: Counter[str] = Counter()
    places: dict[str, tuple[str, int]] = {}
    for service in world.service.values():
        reached: dict[str, int] = {}
        for append in _appends(service):
            if append.first != reached.get(append.stream, 0) + 1:
                raise Violation("versions not dense", append.id, reached.get(append.stream, 0))
            reached[append.stream] = append.last
            for step in append.steps:
                applied[step.id] += 1
                places[step.id] = (append.stream, step.last)
        for stream in service.appends.streams:
            _no_stale_decision(world, service, stream)
    if twice := [name for name, times in applied.items() if times > 1]:
        raise Violation("command applied twice", twice)
    for name, place in world.acknowledged.items():
        if places.get(name) != place:
            raise Violation("acknowledged command lost", name, place, places.get(name))
    # What was sent again may have been decided otherwise: a refusal stores nothing.
    if stored := sorted(name for name in world.refused & places.keys() if world.tries[name] == 1):
        raise Violation("refused command stored", stored)


def _no_stale_decision(world: World, service: Service, stream: str) -> None:
    """An event that its decider stores at most once stands once."""
    state = world.deciders[category_of(stream)].initial
    for record in _events(world, service, stream):
        event = record.event
        stale = (
            (isinstance(event, domain.Placed) and state.placed)
            or (isinstance(event, domain.Cancelled) and event.session in state)
            or (isinstance(event, domain.Awarded) and event.cohort in state)
        )
        if stale:
            raise Violation("decided on a stale state", record.id)
        state = world.deciders[category_of(stream)].evolve(state, event, record.version)


def _delivered(service: Service) -> None:
    for mark, slots in service.appends.marked.items():
        if slots:
            raise Violation(f"left {mark}", service.name, sorted(slots))


def _topic(world: World, service: Service) -> None:
    """Topic = store; first occurrences in version order, without a gap; a stream in one partition."""
    stored = {stream: sum(len(a.events) for a in slots.values()) for stream, slots in service.appends.streams.items()}
    reached: Counter[str] = Counter()
    seen: dict[str, set[int]] = {}
    home: dict[str, int] = {}
    for number, log in enumerate(service.bus.partitions):
        for record in log:
            stream, version = record.headers["ce_subject"], int(record.headers["ce_sequence"])
            if version > stored.get(stream, 0):
                raise Violation("published, not stored", stream, version)
            if home.setdefault(stream, number) != number:
                raise Violation("stream in two partitions", stream)
            # What the topic lost was published again after the rest: there is no order to be seen. Nor is there in what
            # a publisher had in its hands since before the topic was made anew.
            if version > reached[stream] + 1 and stream not in service.bus.ever_lost | service.bus.late_to:
                raise Violation("topic order", stream, reached[stream], version)
            reached[stream] = max(version, reached[stream])
            seen.setdefault(stream, set()).add(version)
    if missing := {s: (seen.get(s), n) for s, n in stored.items() if seen.get(s) != {*range(1, n + 1)}}:
        raise Violation("stored, not published", missing)


def _views(world: World) -> None:
    """Each document = the fold of its stream, and of nothing else."""
    enr, acc = world.service["enr"], world.service["acc"]
    view = world.view
    foreign: list[View[Any]] = [view.enrolment, view.cohort, view.person]
    for service, kinds, home in ((enr, enr.own, enr), (acc, acc.own, acc), (acc, foreign, enr)):
        for kind in kinds:
            for stream in home.appends.streams:
                if category_of(stream) == kind.category:
                    _document(world, service, kind, stream, home, service is not home)


def _document(world: World, service: Service, kind: View[Any], stream: str, home: Service, foreign: bool) -> None:
    room = service.generations.catalogue.room(kind.name)
    found = service.rooms.documents.get(room, {}).get(stream, ABSENT)
    document, version = None, 0
    for event in _events(world, home, stream):
        seen = _as_consumed(world, event) if foreign else event
        document = document if seen is None else kind.fold(document, seen)
        version = event.version
    wanted = None if document is None else document.model_dump(mode="json")
    if found.version != version or found.body != wanted:
        raise Violation("view differs from its stream", service.name, stream, found, (version, wanted))


def _as_consumed(world: World, event: Recorded[Any]) -> Recorded[Any] | None:
    """What acc's views make of an event of enr's: nothing, of one that was discarded."""
    return None if event.id in world.discarded else domain.as_published(event)


def _nothing_held(world: World) -> None:
    """Nothing is left held, and what was discarded is on record."""
    for service in world.service.values():
        if service.held.standing or service.held.kept:
            raise Violation("left held", service.name, sorted(service.held.standing), sorted(service.held.kept))
    on_record = {f"{d.stream}@{d.version}" for d in world.service["acc"].held.discarded.values()}
    if on_record != world.discarded:
        raise Violation("discards differ from what the operator decided", on_record, world.discarded)


def _standings(world: World) -> None:
    """Nothing left dirty; each result and the ledger = the pure evaluation of the final facts."""
    enr, acc = world.service["enr"], world.service["acc"]
    targets = acc.targets.targets.get(world.evaluation.name, {})
    for stream in (s for s in enr.appends.streams if category_of(s) == "enrol"):
        name = domain.target_of(*domain.parts(stream))
        target = targets.get(name)
        if target is None:
            raise Violation("never evaluated", name)
        if target.dirty:
            raise Violation("left dirty", name)
        facts = {s: _fact(world, s) for s in domain.fact_streams(name)}
        outcome, command, _ = domain.standing(world.rules, name, facts, domain.instant(world.now))
        found = target.result["outcome"] if target.result else None
        if command is not None:
            raise Violation("ledger disagrees with the facts", name, found, command)
        if outcome != found:
            raise Violation("standing differs from the facts", name, found, outcome)
        ledger = facts[f"rcredit-{domain.parts(name)[0]}"].document
        if name == "c2--p" and outcome == "awarded":
            if world.rules.chain and (ledger is None or "c1" not in ledger.awards):
                raise Violation("award rests on itself", name)
            if world.rules.cap == domain.CREDITS and domain.met(facts, "p", "c1"):
                raise Violation("who is capped depends on timing", name)


def _fact(world: World, stream: str) -> Fact[Any]:
    """A fact from the stores, as the whole stream gives it."""
    kinds = {v.category: v for v in vars(world.view).values()}
    kind, document, version = kinds[category_of(stream)], None, 0
    for event in _events(world, world.of(stream), stream):
        version = event.version
        if event.id not in world.discarded:
            document = kind.fold(document, event)
    return Fact(version, document)


def _erasure(world: World) -> None:
    """Nobody's note stands anywhere in the clear. An erased person has a tombstone in every service, also where there
    never was a key, and their notes open nowhere."""
    erased = {s.partition("-")[2] for s in world.service["enr"].appends.streams if category_of(s) == "person"}
    for service in world.service.values():
        buried = {person for person, key in service.keys.keys.items() if isinstance(key, Tombstone)}
        if buried != erased:
            raise Violation("erased, and there is a key", service.name, erased, buried)
        bodies = [v.body for documents in service.rooms.documents.values() for v in documents.values()]
        values = [r.value for log in service.bus.partitions for r in log]
        stored = [e.data for append in _appends(service) for e in append.events]
        if NOTE in repr((bodies, stored)) or NOTE.encode() in b"".join(values):
            raise Violation("personal field in the clear", service.name)
        keyring = Keyring(MemoryKeys(keys=service.keys.keys), bytes(32), lambda: 0.0)
        notes = [data["note"] for data in stored if data.get("note")]
        for note in (Sealed.model_validate(n) for n in notes):
            opened = _now(keyring.open(note))
            if (opened is ERASED) != (note.person in erased) or (opened is not ERASED and opened != NOTE):
                raise Violation("erased field readable" if note.person in erased else "field does not open", note)


def _now(awaited: Coroutine[Any, Any, Any]) -> Any:
    """Runs what never really waits."""
    try:
        while True:
            awaited.send(None)
    except StopIteration as done:
        return done.value
