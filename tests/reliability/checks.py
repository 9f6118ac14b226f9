"""The checkers: each takes what the clients were told and what is there, and gives what is wrong, nothing when all is
well. `test_checks.py` shows each red on doctored evidence, `test_planted.py` on real processes with a bug in them.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.reliability.clean import digest, expected
from tests.reliability.evidence import Found, Place
from tests.reliability.history import History
from tests.reliability.operators import Poisoned, Rebuilt
from tests.system import evidence as plain
from tests.system.evidence import Public
from tests.system.platform import ACCEPTED, CONFLICT, REFUSED, REPLAYED, UNCHANGED

NOT_STORED = (REFUSED, CONFLICT, UNCHANGED)
DIFFERING_SHOWN = 6  # lines


@dataclass(frozen=True)
class Case:
    """What a checker looks at."""

    history: History
    found: Found


def p1_acknowledged_is_stored(case: Case) -> list[str]:
    """Acknowledged ⊆ stored, where it was said to be; and what was surely refused is not stored."""
    wrong = []
    for service, stored in case.found.stored.items():
        steps = set(stored.steps)
        ids = {step.command_id for step in steps}
        for row in case.history.rows(service):
            wrong += [f"{service}: {each} is not stored" for each in row.stored_at - steps]
            if row.surely_refused and row.id in ids:
                wrong.append(f"{service}: {row.id} was refused ({row.answers[-1][3]}) and is stored")
    return wrong


def p2_versions_are_dense(case: Case) -> list[str]:
    """Versions 1..n, one append a slot, its steps covering it; one winner a version."""
    wrong = [f"{name}: {s}" for name, stored in case.found.stored.items() for s in plain.holes(stored)]
    winners: Counter[tuple[str, str, int]] = Counter()
    for row in case.history:
        winners.update((row.service, place.stream, place.version) for place in row.stored_at)
    wrong += [f"{place} was given to {times} commands" for place, times in winners.items() if times > 1]
    for service, appends in case.found.appends.items():
        for d in appends:
            covered = [v for s in d["steps"] for v in range(s["first"], s["last"] + 1)]
            if covered != list(range(d["first"], d["last"] + 1)) or len(covered) != len(d["events"]):
                wrong.append(f"{service}: the steps of {d['_id']} do not cover it")
    return wrong


def p3_stored_is_published(case: Case) -> list[str]:
    return [
        f"{name}: {event.stream}@{event.version}"
        for name, stored in case.found.stored.items()
        for event in plain.unpublished(stored, _topic(case, name))
    ]


def p4_published_is_stored(case: Case) -> list[str]:
    return [
        f"{name}: {event.stream}@{event.version}"
        for name, stored in case.found.stored.items()
        for event in plain.invented(stored, _topic(case, name))
    ]


def p5_topics_are_in_order(case: Case) -> list[str]:
    """First occurrences in version order without a gap, and a stream in one partition of one topic."""
    wrong = []
    homes: dict[str, Place] = {}
    for name, records in case.found.topics.items():
        wrong += [f"{name}: {each}" for each in plain.out_of_order([event for _, event in records])]
        for place, event in records:
            home = homes.setdefault(event.stream, place)
            if (home.topic, home.partition) != (place.topic, place.partition):
                wrong.append(
                    f"{event.stream} is in {home.topic}[{home.partition}] and {place.topic}[{place.partition}]"
                )
    return wrong


def p6_each_event_counts_once(case: Case, at: datetime | None = None) -> list[str]:
    """Every view and result equals, by the hash of its content as it is read, the pure fold and evaluation of what is
    stored."""
    wrong = []
    for name, documents in case.found.documents.items():
        want = expected(name, case.found, at)
        for view, bodies in want.views.items():
            there = documents.views[view]
            for stream in bodies.keys() | there.keys():
                seen, body = there.get(stream, (0, None))
                if digest(bodies.get(stream)) != digest((seen, want.as_read(view, body)) if stream in there else None):
                    wrong.append(f"{name}: {view} {stream} at {seen}, should be at {bodies.get(stream, (0,))[0]}")
        for evaluation, results in want.results.items():
            for target, result in results.items():
                there_too = documents.targets[evaluation].get(target, {})
                if digest(want.as_read(evaluation, there_too.get("result"))) != digest(result):
                    wrong.append(f"{name}: the {evaluation} of {target} is not what its facts say")
            wrong += [
                f"{name}: the {evaluation} of {t} still has something to command" for t in want.orders[evaluation]
            ]
    return wrong


def p6_like_the_clean(name: str, standings: Sequence[str], clean: Sequence[str]) -> list[str]:
    """A round's standings, a kind each, are those of the learners whom nothing befell."""
    wrong = []
    for kind, (found, want) in enumerate(zip(standings, clean, strict=True)):
        if found != want:
            lines = [line for line in difflib.ndiff(want.splitlines(), found.splitlines()) if line[0] in "-+"]
            wrong.append(f"the standing of kind {kind} in {name} is not that of a clean run: {lines[:DIFFERING_SHOWN]}")
    return wrong


def p7_same_id_same_answer(case: Case) -> list[str]:
    """One place an id, and one set of events; what was stored is never answered as if it were not."""
    wrong = [f"{name}: {twice}" for name, stored in case.found.stored.items() for twice in plain.twice(stored)]
    for row in case.history:
        first = next((n for n, (status, *_) in enumerate(row.answers) if status in (ACCEPTED, REPLAYED)), None)
        later = row.answers[first:] if first is not None else []
        # Parallel calls are noted in the order of their answers: what was refused before may be stored after.
        if len(row.stored_at) > 1 or any(status in NOT_STORED for status, *_ in later):
            wrong.append(f"{row.service}: {row.id} was answered with {row.answers}")
    return wrong


def p9_held_whole(stream: str, held: Sequence[Mapping[str, Any]], records: Sequence[Any]) -> list[str]:
    """What is held of a stream is what is on its topic from the first held version on, byte for byte and in order.

    `records` are the stream's, as the driver gives them; `held` the documents of one consumer.
    """
    if not held:
        return [f"nothing of {stream} is held"]
    entries = sorted((e for e in held if e["stream"] == stream), key=lambda e: e["version"])
    # A record may have come more than once: one of them is held.
    came = {(_version(r), r.topic, r.partition, r.offset, r.key, r.value, _pairs(r.headers)) for r in records}
    behind = {version for version, *_ in came if entries and version >= entries[0]["version"]}
    places = [
        (e["version"], e["topic"], e["partition"], e["offset"], e["key"], e["value"], _pairs(e["headers"]))
        for e in entries
    ]
    wrong = [f"{e['stream']}@{e['version']} is held, and nothing is wrong with it" for e in held if e not in entries]
    if [e["version"] for e in entries] != sorted(behind) or not came.issuperset(places):
        wrong.append(f"{len(entries)} records of {stream} are held, {len(behind)} are behind the first, or they differ")
    return wrong


def p8_views_are_rebuilt(rebuilds: Sequence[Rebuilt], failed: Sequence[str]) -> list[str]:
    """Every rebuild came to its end and moved every view on, and no read of its service, nor any other, failed. That
    the content is the same is P6, of the generations that serve."""
    wrong = [f"{r.service} was not rebuilt in {r.tries} tries: {r.said}" for r in rebuilds if not r.done]
    for r in rebuilds:
        stayed = sorted(view for view, before in r.before.items() if r.after.get(view, 0) <= before)
        if r.done and stayed:
            wrong.append(f"{r.service} was rebuilt, and {', '.join(stayed)} did not move on")
        wrong += [f"a read beside the rebuild of {r.service} failed: {each}" for each in r.failed]
    return [*wrong, *(f"a read failed: {each}" for each in failed)]


def p9_only_its_own_stream(poisonings: Sequence[Poisoned]) -> list[str]:
    """What could not be read stood aside whole, and nothing else stood still."""
    wrong = [w for p in poisonings for w in p9_held_whole(p.stream, p.held, p.came)]
    return wrong + [f"others stood still while {p.stream} was held" for p in poisonings if not p.flowed]


def p10_redriven_is_whole(poisonings: Sequence[Poisoned]) -> list[str]:
    """After the redrive nothing is held any more. That it is as if nothing had been is P6."""
    return [f"{len(p.left)} records are still held after {p.stream} was redriven" for p in poisonings if p.left]


def p19_erased_is_gone(
    erased: Collection[str], keys: Mapping[str, Mapping[str, Mapping[str, Any]]], found: Sequence[str]
) -> list[str]:
    """Of everybody who was erased each service keeps a tombstone and no key, and `found`, where their words stand, is
    nowhere."""
    wrong = [*found]
    for service, kept in keys.items():
        for person in erased:
            key = kept.get(person)
            if key is None or key.keys() != {"_id", "erased"}:
                wrong.append(f"{service} keeps {sorted(key) if key else 'no tombstone'} of {person}")
    return wrong


def _version(record: Any) -> int:
    return int(dict(record.headers)["ce_sequence"])


def _pairs(headers: Sequence[Sequence[Any]]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, bytes(value)) for name, value in headers)


CHECKS: Mapping[str, Callable[[Case], list[str]]] = {
    "P1": p1_acknowledged_is_stored,
    "P2": p2_versions_are_dense,
    "P3": p3_stored_is_published,
    "P4": p4_published_is_stored,
    "P5": p5_topics_are_in_order,
    "P6": p6_each_event_counts_once,
    "P7": p7_same_id_same_answer,
}


def verdicts(case: Case) -> dict[str, list[str]]:
    return {promise: check(case) for promise, check in CHECKS.items()}


def p17_share_fresher_than(ages: Sequence[float], seconds: float) -> float:
    """The share of what was served that was at most so old."""
    return sum(age <= seconds for age in ages) / len(ages) if ages else math.nan


def p17_views_are_fresh(ages: Sequence[float]) -> list[str]:
    """99 % within 2 s, 99.9 % within 10 s, of what was served while no fault was about."""
    wrong = []
    for share, seconds in ((0.99, 2.0), (0.999, 10.0)):
        found = p17_share_fresher_than(ages, seconds)
        if not found >= share:
            wrong.append(f"{found:.2%} of {len(ages)} answers were at most {seconds:g} s old, promised are {share:.1%}")
    return wrong


def _topic(case: Case, service: str) -> list[Public]:
    return [event for _, event in case.found.topics[service]]
