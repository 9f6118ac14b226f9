"""What is really there once the faults have stopped, and whether it is at rest: the databases, topics and offsets.

Read with the plain drivers. On top of what the whole-system tests read: the views, the evaluations' targets, and where
in the topic a record lies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from credence_cli import topics
from credence_cli.topics import TopicsError
from tests.system.evidence import SERVICES, Acknowledged, Databases, Public, Stored, as_public, public, records
from tests.system.platform import settled


@dataclass(frozen=True)
class Place:
    """Where a record lies."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True)
class Documents:
    """A service's folded and evaluated state: `views[view][stream]` is (version, body), `targets[evaluation][target]`
    the document."""

    views: Mapping[str, Mapping[str, tuple[int, Any]]]
    targets: Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Found:
    """All of it, by service; a topic in each partition's order, with the place of every record."""

    appends: Mapping[str, Sequence[Mapping[str, Any]]]
    stored: Mapping[str, Stored]
    topics: Mapping[str, Sequence[tuple[Place, Public]]]
    documents: Mapping[str, Documents]
    keys: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)


class Reading(Databases):
    """The databases of one stack, with the plain driver."""

    def __init__(self, uri: str, services: Sequence[str]) -> None:
        super().__init__(uri)
        self.services = tuple(services)

    def appends(self, service: str) -> list[dict[str, Any]]:
        return sorted(self._appends(service, {}), key=lambda d: (d["stream"], d["first"], d["_id"]))

    def documents(self, service: str) -> Documents:
        parts, database = SERVICES[service], self._client[f"credence_{service}"]
        return Documents(
            views={
                name: {d["_id"]: (d["version"], d["body"]) for d in database[_collection(name, number)].find()}
                for name, number in self.generations(service).items()
            },
            targets={e.name: {d["_id"]: d for d in database[f"targets_{e.name}"].find()} for e in parts.evaluations},
        )

    def generations(self, service: str) -> dict[str, int]:
        """Of every view the generation that serves: the first until one is built."""
        found = self._client[f"credence_{service}"]["generations"].find_one({"_id": "views"})
        standing = found["catalogue"]["views"] if found else {}
        return {v.name: standing[v.name]["generation"] if v.name in standing else 1 for v in SERVICES[service].views}

    def keys(self, service: str) -> dict[str, dict[str, Any]]:
        """What is kept of everybody's key, by person."""
        return {d["_id"]: d for d in self._client[f"credence_{service}"]["keys"].find()}

    def held(self, service: str) -> list[dict[str, Any]]:
        """Every held record."""
        return list(self._client[f"credence_{service}"]["held"].find())

    def unsettled(self, service: str) -> dict[str, int]:
        """What is still to be done here or stands aside, by kind; empty when nothing is."""
        database = self._client[f"credence_{service}"]
        waiting = {kind: database[kind].count_documents({}) for kind in ("held", "held_heads")}
        waiting |= {mark: database["appends"].count_documents({mark: True}) for mark in ("unfolded", "unpublished")}
        for evaluation in SERVICES[service].evaluations:
            targets = database[f"targets_{evaluation.name}"]
            waiting[f"dirty {evaluation.name}"] = targets.count_documents({"dirty": True})
            waiting[f"due {evaluation.name}"] = targets.count_documents({"evaluate_at": {"$lte": datetime.now(UTC)}})
        return {kind: count for kind, count in waiting.items() if count}


def _collection(view: str, generation: int) -> str:
    return f"view_{view}" if generation == 1 else f"view_{view}__g{generation}"


def behind(bootstrap: str, services: Sequence[str]) -> dict[str, int]:
    """How many records each consumer group has not committed; empty when none. One that does not read all its topics
    yet is behind by one at least: nobody can count what it will find."""
    groups = {f"{name}.facts": set(SERVICES[name].listens_to) for name in services if SERVICES[name].listens_to}
    found = topics.lag(bootstrap, list(groups)) if groups else ()
    counted = {each.group: sum(p.latest - (p.committed or 0) for p in each.partitions) for each in found}
    begun = {each.group for each in found if {p.topic for p in each.partitions} >= groups[each.group]}
    return {group: max(count, group not in begun) for group, count in counted.items() if count or group not in begun}


def database_says(uri: str, services: Sequence[str], seconds: float = 3.0) -> str:
    """Whether the database itself answers, asked without a proxy or a service in between: so that a server that stands
    still is not taken for a service that does."""
    patience: dict[str, Any] = {
        f"{kind}TimeoutMS": round(seconds * 1000) for kind in ("socket", "connect", "serverSelection")
    }
    silent = []
    with MongoClient[dict[str, Any]](uri, **patience) as client:
        for name in services:
            try:
                client[f"credence_{name}"]["appends"].find_one({"unfolded": True})
            except PyMongoError as error:
                silent.append(f"{name}: {error}")
    return "the database answers" if not silent else f"the database does not answer within {seconds:g} s: {silent}"


def left(bootstrap: str, reading: Reading) -> dict[str, Mapping[str, int]]:
    """All that is still to be done, by service, and how far which consumer is behind; empty at rest."""
    found: dict[str, Mapping[str, int]] = {name: each for name in reading.services if (each := reading.unsettled(name))}
    lagging = behind(bootstrap, reading.services)
    return found | ({"behind": lagging} if lagging else {})


def rest(bootstrap: str, reading: Reading, seconds: float) -> str:
    """Waits until nothing moves: nothing to fold, to publish, to consume, to evaluate. Empty then, else what is left
    after so long."""
    seen = ""

    def at_rest() -> bool:
        nonlocal seen
        try:
            found = left(bootstrap, reading)
        except (PyMongoError, TopicsError) as error:
            seen = str(error)
            return False
        seen = str(found or "")
        return not found

    with suppress(AssertionError):
        settled("all is at rest", at_rest, seconds=seconds)
    return seen


def read(bootstrap: str, reading: Reading) -> Found:
    appends = {name: reading.appends(name) for name in reading.services}
    return Found(
        appends=appends,
        stored={name: stored(name, found) for name, found in appends.items()},
        topics={name: on(bootstrap, SERVICES[name].topic) for name in reading.services},
        documents={name: reading.documents(name) for name in reading.services},
        keys={name: reading.keys(name) for name in reading.services},
    )


def stored(service: str, appends: Sequence[Mapping[str, Any]]) -> Stored:
    steps = tuple(Acknowledged(s["id"], d["stream"], s["last"]) for d in appends for s in d["steps"])
    return Stored(steps, tuple(e for d in appends for e in public(SERVICES[service], dict(d))))


def on(bootstrap: str, topic: str) -> list[tuple[Place, Public]]:
    found = asyncio.run(records(bootstrap, topic))
    return [(Place(topic, record.partition, record.offset), as_public(record)) for record in found]
