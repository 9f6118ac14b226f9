"""Replays a recording with today's code: every stream's state, every view's documents, every evaluation's results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from pydantic import BaseModel

from accreditation.main import PARTS as ACCREDITATION
from enrolment.main import PARTS as ENROLMENT
from eventcore.decider import Decider, Refusal, category_of
from eventcore.deliver import own_events
from eventcore.evaluate import Evaluation, Reader
from eventcore.event import Recorded
from eventcore.fold import MARKER, Undecodable, View
from eventcore.memory import MemoryViews
from eventcore.record import MARKER_TYPE, decode, origin
from eventcore.store import ABSENT, Versioned, Write
from mentoring.main import PARTS as MENTORING
from servicekit.runtime import Parts, parser, published
from tests.corpus.recording import Recording

PARTS = {parts.name: parts for parts in (ENROLMENT, ACCREDITATION, MENTORING)}
TOPICS = {parts.topic: parts.name for parts in PARTS.values()}

Streams = dict[str, list[Recorded[Any]]]


@dataclass(frozen=True)
class Replayed:
    """One service after its own log and the topics it listens to: the streams it knows, and its views' documents."""

    parts: Parts
    own: Streams
    foreign: Streams
    views: MemoryViews

    def states(self) -> dict[str, str]:
        """The digest of each own stream's state."""
        deciders = {d.category: d for d in self.parts.deciders}
        return {stream: digest(_state(deciders[category_of(stream)], events)) for stream, events in self.own.items()}

    def documents(self, view: View[Any]) -> dict[str, Any]:
        return {s: [found.version, found.body] for s, found in self.views.documents.get(view.name, {}).items()}


def replay(recording: Recording, parts: Parts) -> Replayed:
    """Raises ValueError for a record that cannot be read or misses its predecessor, and what a fold raises."""
    own, foreign = own_streams(recording, parts), foreign_streams(recording, parts)
    views = MemoryViews()
    for view in parts.views:
        for stream, events in (own | foreign).items():
            if category_of(stream) == view.category:
                document = folded(view, events)
                views.replace(view.name, Write(stream, 0, document.version, document.body))
    return Replayed(parts, own, foreign, views)


async def outcomes(recording: Recording, services: Mapping[str, Parts] = PARTS) -> dict[str, dict[str, Any]]:
    """What comes of a recording today, by the names of its outcome files."""
    found: dict[str, dict[str, Any]] = {}
    for name, parts in services.items():
        replayed = replay(recording, parts)
        found[f"{name}.states"] = dict(replayed.states())
        found[f"{name}.told"] = told_today(recording, parts)
        found |= {f"{name}.view-{view.name}": replayed.documents(view) for view in parts.views}
        for evaluation in parts.evaluations:
            found[f"{name}.result-{evaluation.name}"], _ = await evaluated(recording, replayed, evaluation)
    return found


def own_streams(recording: Recording, parts: Parts) -> Streams:
    """A service's own events, as it stored them."""
    deciders = {d.category: d for d in parts.deciders}
    streams: Streams = {}
    for append in recording.appends[parts.name]:
        streams.setdefault(append.stream, []).extend(own_events(deciders, append))
    return streams


def foreign_streams(recording: Recording, parts: Parts) -> Streams:
    """What the others told it, as it came on their topics; of a version told twice the first."""
    parse = parser(parts.listens_to.values())
    streams: dict[str, dict[int, Recorded[Any]]] = {}
    for topic in parts.listens_to:
        for record in recording.told[TOPICS[topic]]:
            where = origin(record.headers)
            streams.setdefault(where.stream, {}).setdefault(where.version, decode(where, record.value, parse))
    return {stream: [events[version] for version in sorted(events)] for stream, events in streams.items()}


def folded(view: View[Any], events: list[Recorded[Any]]) -> Versioned:
    """The document of one stream, versions 1..n, stored and read again at each step as a service does."""
    seen = ABSENT
    for each in events:
        if isinstance(each.event, Undecodable):
            raise ValueError(each.event.reason)
        if each.version != seen.version + 1:
            raise ValueError(f"{each.id} comes after version {seen.version}")
        document = view.read(seen)
        document = document if each.event is MARKER else view.fold(document, each)
        seen = Versioned(each.version, None if document is None else document.model_dump(mode="json"))
    return seen


async def evaluated(
    recording: Recording, service: Replayed, evaluation: Evaluation
) -> tuple[dict[str, Any], list[str]]:
    """Every target's result, and what it would still have stored: nothing, where the recording was at rest."""
    reader, targets = Reader(service.views), set[str]()
    for view in service.parts.views:
        if (dependants := evaluation.dependants.get(view.name)) is not None:
            known = await reader.get(view, list(service.views.documents.get(view.name, {})))
            targets |= set(await dependants(reader, {stream: fact.document for stream, fact in known.items()}))
    facts = await evaluation.facts(reader, sorted(targets))
    results: dict[str, Any] = {}
    orders: list[str] = []
    for target in sorted(targets):
        verdict = evaluation.evaluate(target, facts[target], recording.now)
        results[target] = verdict.result.model_dump(mode="json")
        for order in verdict.orders:
            state = _state(order.decider, service.own.get(order.stream, []))
            decided = order.decider.decide(order.command, state, recording.now)
            if decided and not isinstance(decided, Refusal):
                orders.append(f"{evaluation.name} of {target} orders {type(order.command).__name__}")
    return results, orders


def told_today(recording: Recording, parts: Parts) -> dict[str, Any]:
    """How today's release would tell each recorded event: its type and its bytes."""
    to_wire, found = published(parts.public), dict[str, Any]()
    for each in (event for events in own_streams(recording, parts).values() for event in events):
        public = to_wire(each)
        found[each.id] = [public.type, public.data.hex()] if public else [MARKER_TYPE, ""]
    return found


def with_bytes(recording: Recording, more: bytes) -> Recording:
    """The recording as a newer release might have told it: these bytes, of fields nobody knows, after each message."""
    told = {
        service: tuple(r if r.headers["ce_type"] == MARKER_TYPE else replace(r, value=r.value + more) for r in records)
        for service, records in recording.told.items()
    }
    return replace(recording, told=told)


def digest(state: object) -> str:
    """The content of a state: 16 hex digits of the SHA-256 of its canonical JSON."""
    return hashlib.sha256(json.dumps(_canonical(state), sort_keys=True).encode()).hexdigest()[:16]


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What came out otherwise, with both, for a person to read."""
    both = sorted(then.keys() | now.keys())
    return [f"{key}: was {then.get(key)}, is {now.get(key)}" for key in both if then.get(key) != now.get(key)]


def _state(decider: Decider[Any, Any, Any], events: list[Recorded[Any]]) -> Any:
    state = decider.initial
    for each in events:
        state = decider.evolve(state, each.event, each.version)
    return state


def _canonical(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: _canonical(getattr(value, name)) for name in type(value).model_fields}
    if is_dataclass(value):
        return {each.name: _canonical(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _canonical(each) for key, each in value.items()}
    if isinstance(value, AbstractSet):
        return sorted((_canonical(each) for each in value), key=repr)
    if isinstance(value, list | tuple):
        return [_canonical(each) for each in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)
