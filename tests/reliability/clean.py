"""The run as if nothing had happened: the pure folds and evaluations of what is stored, in memory, each event once.

Stored events are the truth (P1, P2 hold them to what was acknowledged). From them alone follows what every view and
every result must be: own views are the fold of the events, foreign views the fold of their public forms, a result the
evaluation of those documents. No service code but its pure functions has a part in it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from eventcore.decider import category_of
from eventcore.evaluate import Evaluation, Reader, Verdict
from eventcore.event import Recorded, StoredEvent
from eventcore.fold import MARKER, View
from eventcore.memory import MemoryViews
from eventcore.store import Versioned
from servicekit.runtime import Parts, now, parser, published
from tests.reliability.evidence import Found
from tests.system.evidence import SERVICES


@dataclass(frozen=True)
class Expected:
    """What one service must hold. `results[evaluation][target]`: the result of each target that the documents name;
    `orders[evaluation]`: the targets, named or found, that would still command something; `shapes`: what the documents
    of each view and the results of each evaluation are read as."""

    views: Mapping[str, Mapping[str, tuple[int, Any]]]
    results: Mapping[str, Mapping[str, Any]]
    orders: Mapping[str, Sequence[str]]
    shapes: Mapping[str, type[BaseModel]]

    def as_read(self, name: str, content: Any) -> Any:
        """A stored document or result as today's release reads it: one that an earlier release wrote lacks what that
        one did not know. What cannot be read stays as it is, and equals nothing."""
        try:
            return None if content is None else self.shapes[name].model_validate(content).model_dump(mode="json")
        except ValidationError:
            return content


def expected(service: str, found: Found, at: datetime | None = None) -> Expected:
    """From what is stored everywhere; `at` is the instant of the evaluations, now unless given."""
    parts = SERVICES[service]
    views = {view.name: _folded(parts, view, found) for view in parts.views}
    memory = MemoryViews()
    for name, documents in views.items():
        memory.documents[name] = {stream: Versioned(version, body) for stream, (version, body) in documents.items()}
    results, orders = {}, {}
    shapes: dict[str, type[BaseModel]] = {view.name: view.document for view in parts.views}
    for evaluation in parts.evaluations:
        known = found.documents[service].targets[evaluation.name]
        verdicts, named = asyncio.run(_evaluated(parts, evaluation, Reader(memory), set(known), at or now()))
        results[evaluation.name] = {t: verdicts[t].result.model_dump(mode="json") for t in sorted(named)}
        orders[evaluation.name] = [target for target, verdict in verdicts.items() if verdict.orders]
        shapes.update((evaluation.name, type(verdict.result)) for verdict in verdicts.values())
    return Expected(views, results, orders, shapes)


def digest(content: Any) -> str:
    """The hash of a document's content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _folded(parts: Parts, view: View[Any], found: Found) -> dict[str, tuple[int, Any]]:
    home = next(name for name, each in SERVICES.items() if view.category in {d.category for d in each.deciders})
    foreign = home != parts.name
    events = _public_events if foreign else _own_events
    documents: dict[str, Any] = {}
    versions: dict[str, int] = {}
    for event in events(SERVICES[home], parts, found.appends.get(home, ()), view.category):
        if event.event is not MARKER:
            documents[event.stream] = view.fold(documents.get(event.stream), event)
        versions[event.stream] = event.version
    bodies = {s: d.model_dump(mode="json") for s, d in documents.items() if d is not None}
    return {stream: (version, bodies.get(stream)) for stream, version in versions.items()}


def _own_events(
    home: Parts, _listener: Parts, appends: Sequence[Mapping[str, Any]], category: str
) -> list[Recorded[Any]]:
    codec = next(d.codec for d in home.deciders if d.category == category)
    return [
        Recorded(d["stream"], version, codec.decode(StoredEvent(stored["type"], stored["data"])), d["recorded"])
        for d in appends
        if category_of(d["stream"]) == category
        for version, stored in enumerate(d["events"], start=d["first"])
    ]


def _public_events(
    home: Parts, listener: Parts, appends: Sequence[Mapping[str, Any]], category: str
) -> list[Recorded[Any]]:
    to_wire, parse = published(home.public), parser(listener.listens_to.values())
    seen = []
    for event in _own_events(home, listener, appends, category):
        wire = to_wire(event)
        content = parse(wire.type, wire.data) if wire else MARKER
        seen.append(Recorded(event.stream, event.version, content, event.recorded))
    return seen


async def _evaluated(
    parts: Parts, evaluation: Evaluation, reader: Reader, known: set[str], at: datetime
) -> tuple[dict[str, Verdict], set[str]]:
    """The verdict on every target that is named by a document or known, and those that are named."""
    named: set[str] = set()
    for view in parts.views:
        if dependants := evaluation.dependants.get(view.name):
            documents = {s: fact.document for s, fact in (await reader.find(view, {})).items()}
            named |= set(await dependants(reader, documents)) if documents else set()
    targets = sorted(named | known)
    facts = await evaluation.facts(reader, targets) if targets else {}
    return {target: evaluation.evaluate(target, facts[target], at) for target in targets}, named
