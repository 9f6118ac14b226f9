"""What every store must do: one class of cases, run on each backend by a subclass that gives the `stores` fixture."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from eventcore.event import StoredEvent
from eventcore.generations import Building, Catalogue, GenerationStore, Instance, Standing, room
from eventcore.limits import VERSION_MAX
from eventcore.store import (
    Append,
    AppendStore,
    Backlog,
    Discard,
    Entry,
    Finding,
    Head,
    HeldGroup,
    HeldKind,
    HeldStore,
    Insert,
    KeyErased,
    KeyStore,
    Mark,
    OperationLog,
    Outbox,
    Rooms,
    Step,
    StreamStore,
    TargetStore,
    Tombstone,
    Unstorable,
    Versioned,
    Write,
)

from .store_writer import write_all

NOON = datetime(2024, 10, 1, 12, 0, tzinfo=UTC)
MARKS: tuple[Mark, ...] = ("unfolded", "unpublished")
WRITERS = [f"writer{n:02d}" for n in range(50)]


class Log(AppendStore, Outbox, StreamStore, Protocol):
    """Whatever keeps the log keeps its marks."""


@dataclass(frozen=True)
class Stores:
    appends: Log
    views: Rooms
    targets: TargetStore
    keys: KeyStore
    operations: OperationLog
    held: HeldStore
    generations: GenerationStore


def append(stream: str, first: int = 1, count: int = 1, *, by: str = "someone") -> Append:
    """An append of `count` events in one step."""
    last = first + count - 1
    step = Step(f"{stream}-{first}-{by}", "digest", by, "correlation", "causation", "traceparent", first, last)
    events = tuple(StoredEvent("tally.counted.v1", {"number": n, "by": by}) for n in range(first, last + 1))
    return Append(stream, first, (step,), events, NOON)


def check_dense(appends: Sequence[Append], acknowledged: Mapping[str, int]) -> None:
    """One stream as stored: versions 1..n without gap or twin, and every acknowledged command where it was told.

    Raises AssertionError saying what is wrong.
    """
    slots = sorted((a.first, a.last) for a in appends)
    expected = 1
    for first, last in slots:
        assert first == expected, f"an append at {first} where {expected} is due: {slots}"
        expected = last + 1
    numbers = [event.data["number"] for a in sorted(appends, key=lambda a: a.first) for event in a.events]
    assert numbers == list(range(1, expected)), f"decided on another state than the one stored before: {numbers}"
    steps = [step for a in appends for step in a.steps]
    stored = {step.id: step.last for step in steps}
    assert len(stored) == len(steps), "a command took effect twice"
    lost = {id_: version for id_, version in acknowledged.items() if stored.get(id_) != version}
    assert not lost, f"acknowledged but not stored so: {lost}"


def view_body(cohort: str | None, *tags: str, **more: Any) -> dict[str, Any]:
    return {"cohort": cohort, "tags": list(tags), "place": {"status": "held", "kind": None}, **more}


def entry(stream: str, version: int, *, consumer: str = "facts", epoch: str = "e1", **more: Any) -> Entry:
    headers = (("ce_type", b"sample"), ("twice", b"\xff\x00"), ("twice", None))
    whole = Entry(consumer, epoch, stream, version, "jars.v1", 3, 40 + version, b"key", headers, b"\x00value\xff", NOON)
    return replace(whole, **more)


def head(stream: str, version: int = 3, *, consumer: str = "facts", kind: HeldKind = "poison", **more: Any) -> Head:
    return replace(
        Head(consumer, stream, "e1", kind, version, "jars cannot fold it: TypeError", NOON, NOON, life="1"), **more
    )


class StoreContract:
    @pytest.fixture
    def stores(self) -> Stores:
        raise NotImplementedError("each backend gives its own")

    # The log

    async def test_an_append_is_loaded_as_it_was_stored(self, stores: Stores) -> None:
        stored = append("tally-a", count=3)
        assert await stores.appends.insert([stored]) == [Insert.STORED]
        assert await stores.appends.load(["tally-a"]) == {"tally-a": [stored]}

    async def test_an_unknown_stream_gives_no_entry(self, stores: Stores) -> None:
        await stores.appends.insert([append("tally-a")])
        assert set(await stores.appends.load(["tally-a", "tally-none"])) == {"tally-a"}
        assert await stores.appends.load([]) == {}

    async def test_appends_are_loaded_in_order_of_their_versions(self, stores: Stores) -> None:
        slots = [append("tally-a", first) for first in (1, 2, 9, 10, 11, 100)]
        await stores.appends.insert(list(reversed(slots)))
        assert (await stores.appends.load(["tally-a"]))["tally-a"] == slots

    async def test_many_streams_are_loaded_at_once(self, stores: Stores) -> None:
        many = [append(f"tally-{n:03d}", first) for n in range(130) for first in (1, 2)]
        assert set(await stores.appends.insert(many)) == {Insert.STORED}
        loaded = await stores.appends.load([f"tally-{n:03d}" for n in range(140)])
        assert {s: [a.first for a in found] for s, found in loaded.items()} == {
            f"tally-{n:03d}": [1, 2] for n in range(130)
        }

    async def test_recorded_comes_back_in_utc_to_the_millisecond(self, stores: Stores) -> None:
        recorded = NOON.replace(microsecond=123_456)
        await stores.appends.insert([replace(append("tally-a"), recorded=recorded)])
        [found] = (await stores.appends.load(["tally-a"]))["tally-a"]
        assert found.recorded.utcoffset() == timedelta(0)
        assert timedelta(0) <= recorded - found.recorded < timedelta(milliseconds=1)

    async def test_a_taken_slot_refuses_the_second_writer_and_keeps_the_first(self, stores: Stores) -> None:
        assert await stores.appends.insert([append("tally-a", by="first")]) == [Insert.STORED]
        assert await stores.appends.insert([append("tally-a", count=2, by="second")]) == [Insert.TAKEN]
        [kept] = (await stores.appends.load(["tally-a"]))["tally-a"]
        assert kept.steps[0].actor == "first"

    async def test_a_taken_slot_does_not_hinder_the_others_of_its_batch(self, stores: Stores) -> None:
        await stores.appends.insert([append("tally-b"), append("tally-d")])
        batch = [append(f"tally-{name}", by="batch") for name in "abcde"]
        answers = await stores.appends.insert(batch)
        taken, stored = Insert.TAKEN, Insert.STORED
        assert answers == [stored, taken, stored, taken, stored]
        assert set(await stores.appends.load([a.stream for a in batch])) == {a.stream for a in batch}

    async def test_one_of_fifty_racing_inserts_wins_a_slot(self, stores: Stores) -> None:
        answers = await asyncio.gather(*(stores.appends.insert([append("tally-a", by=w)]) for w in WRITERS))
        assert sorted(a.value for [a] in answers) == ["stored"] + ["taken"] * 49
        [[winner]] = (await stores.appends.load(["tally-a"])).values()
        assert answers[WRITERS.index(winner.steps[0].actor)] == [Insert.STORED]

    async def test_fifty_concurrent_writers_leave_dense_versions_and_lose_nothing(self, stores: Stores) -> None:
        acknowledged = await write_all(stores.appends, "tally-raced", WRITERS, 2)
        assert len(acknowledged) == 100
        stored = (await stores.appends.load(["tally-raced"]))["tally-raced"]
        check_dense(stored, acknowledged)
        assert stored[-1].last == 150

    # Marks

    async def test_what_is_inserted_is_marked_for_both_deliveries(self, stores: Stores) -> None:
        stored = append("tally-a")
        await stores.appends.insert([stored])
        for mark in MARKS:
            assert await stores.appends.pending(mark, limit=10) == [stored]

    async def test_clearing_one_mark_leaves_the_other(self, stores: Stores) -> None:
        a, b = append("tally-a"), append("tally-b")
        await stores.appends.insert([a, b])
        await stores.appends.clear("unfolded", [a])
        assert await stores.appends.pending("unfolded", limit=10) == [b]
        assert await stores.appends.pending("unpublished", limit=10) == [a, b]
        assert await stores.appends.load(["tally-a"]) == {"tally-a": [a]}

    async def test_clearing_twice_or_nothing_is_harmless(self, stores: Stores) -> None:
        a = append("tally-a")
        await stores.appends.insert([a])
        await stores.appends.clear("unfolded", [])
        await stores.appends.clear("unfolded", [a])
        await stores.appends.clear("unfolded", [a])
        assert await stores.appends.pending("unfolded", limit=10) == []

    async def test_many_marks_are_cleared_at_once(self, stores: Stores) -> None:
        many = [append(f"tally-{n:03d}") for n in range(130)]
        await stores.appends.insert(many)
        await stores.appends.clear("unpublished", many[:-1])
        assert await stores.appends.pending("unpublished", limit=200) == many[-1:]

    async def test_pending_is_in_order_of_stream_and_version(self, stores: Stores) -> None:
        many = [append(f"tally-{name}", first) for name in ("a", "a-b", "b") for first in (1, 2, 10, 11)]
        await stores.appends.insert(many[::-1])
        assert await stores.appends.pending("unfolded", limit=100) == many

    async def test_pending_gives_no_more_than_asked_for(self, stores: Stores) -> None:
        many = [append(f"tally-{n}", first) for n in range(5) for first in (1, 2)]
        await stores.appends.insert(many)
        assert await stores.appends.pending("unfolded", limit=3) == many[:3]

    async def test_what_waits_is_asked_for_without_those_that_stand_aside(self, stores: Stores) -> None:
        await stores.appends.insert([append(f"tally-{n:03d}", first) for n in range(130) for first in (1, 2)])
        aside = [f"tally-{n:03d}" for n in range(128)]
        assert sorted(await stores.appends.waiting("unfolded", limit=4, without=aside)) == ["tally-128", "tally-129"]
        assert len(await stores.appends.waiting("unfolded", limit=300)) == 130
        assert await stores.appends.waiting("unfolded", limit=4, without=[*aside, "tally-128", "tally-129"]) == []

    async def test_what_waits_is_asked_for_by_its_age(self, stores: Stores) -> None:
        old, young = append("tally-old"), replace(append("tally-young"), recorded=NOON + timedelta(seconds=1))
        await stores.appends.insert([old, young])
        for mark in MARKS:
            assert await stores.appends.waiting(mark, limit=10, before=NOON) == []
            assert await stores.appends.waiting(mark, limit=10, before=NOON + timedelta(seconds=1)) == ["tally-old"]
            aside = await stores.appends.waiting(
                mark, limit=10, before=NOON + timedelta(minutes=1), without=["tally-old"]
            )
            assert aside == ["tally-young"]

    async def test_pending_of_hinted_streams_gives_only_theirs(self, stores: Stores) -> None:
        many = [append(f"tally-{n:03d}", first) for n in range(130) for first in (1, 2)]
        await stores.appends.insert(many)
        hints = ["tally-077", "tally-003", "tally-none", "tally-003"]
        found = await stores.appends.pending("unpublished", streams=hints, limit=100)
        assert [a.id for a in found] == ["tally-003@1", "tally-003@2", "tally-077@1", "tally-077@2"]
        assert await stores.appends.pending("unpublished", streams=[a.stream for a in many], limit=201) == many[:201]
        assert await stores.appends.pending("unpublished", streams=hints, limit=1) == found[:1]
        assert await stores.appends.pending("unpublished", streams=[], limit=10) == []

    async def test_a_scan_amid_inserts_never_shows_an_append_without_its_predecessors(self, stores: Stores) -> None:
        streams = [f"tally-{n:02d}" for n in range(20)]

        async def grow() -> None:
            for first in range(1, 11):
                await stores.appends.insert([append(s, first) for s in streams])

        growing = asyncio.create_task(grow())
        scans = 0
        while not growing.done() or not scans:
            found = await stores.appends.pending("unfolded", limit=1000)
            for _, of_stream in itertools.groupby(found, key=lambda a: a.stream):
                firsts = [a.first for a in of_stream]
                assert firsts == list(range(1, len(firsts) + 1))
            scans += 1
            await asyncio.sleep(0)
        await growing

    async def test_the_epoch_stays(self, stores: Stores) -> None:
        assert stores.appends.epoch
        assert stores.appends.epoch == stores.appends.epoch

    # Views

    async def test_a_document_is_loaded_as_it_was_written(self, stores: Stores) -> None:
        body: dict[str, Any] = {
            "text": "£ and ü",
            "list": [1, 2.5, True, None, {"deep": []}],
            "none": None,
            "credits": "20.00",
        }
        assert await stores.views.write("places", [Write("tally-a", 0, 3, body)]) == [True]
        assert await stores.views.load("places", ["tally-a", "tally-none"]) == {"tally-a": Versioned(3, body)}
        assert await stores.views.load("others", ["tally-a"]) == {}
        assert await stores.views.load("places", []) == {}

    async def test_a_document_may_be_absent_and_still_have_a_version(self, stores: Stores) -> None:
        await stores.views.write("places", [Write("tally-a", 0, 1, {"cohort": "c1"})])
        assert await stores.views.write("places", [Write("tally-a", 1, 2, None)]) == [True]
        assert await stores.views.load("places", ["tally-a"]) == {"tally-a": Versioned(2, None)}

    async def test_a_write_on_another_version_than_seen_misses(self, stores: Stores) -> None:
        await stores.views.write("places", [Write("tally-a", 0, 5, {"n": 5})])
        for seen in (0, 4, 6):
            assert await stores.views.write("places", [Write("tally-a", seen, 9, {"n": 9})]) == [False]
        assert await stores.views.load("places", ["tally-a"]) == {"tally-a": Versioned(5, {"n": 5})}

    async def test_a_miss_does_not_hinder_the_others_of_its_batch(self, stores: Stores) -> None:
        names = [f"tally-{n:03d}" for n in range(1100)]
        assert await stores.views.write("places", [Write(s, 0, 1, {"n": 1}) for s in names]) == [True] * 1100
        writes = [Write(s, 0 if n % 100 == 7 else 1, 2, {"n": 2}) for n, s in enumerate(names)]
        assert await stores.views.write("places", writes) == [n % 100 != 7 for n in range(1100)]
        loaded = await stores.views.load("places", names)
        assert [loaded[s].version for s in names] == [1 if n % 100 == 7 else 2 for n in range(1100)]

    @pytest.mark.parametrize("seen", [0, 3])
    async def test_one_of_twenty_racing_writes_of_a_document_wins(self, stores: Stores, seen: int) -> None:
        if seen:
            await stores.views.write("places", [Write("tally-a", 0, seen, {"n": seen})])
        answers = await asyncio.gather(
            *(stores.views.write("places", [Write("tally-a", seen, 4, {"by": n})]) for n in range(20))
        )
        assert sorted(answers) == [[False]] * 19 + [[True]]
        loaded = await stores.views.load("places", ["tally-a"])
        assert loaded["tally-a"].body == {"by": answers.index([True])}

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            ({}, "abcdef"),
            ({"cohort": "c1"}, "abe"),
            ({"cohort": "c9"}, ""),
            ({"cohort": ["c1", "c2"]}, "abce"),
            ({"cohort": []}, ""),
            ({"cohort": [f"x{n}" for n in range(120)] + ["c2"]}, "c"),
            ({"tags": "red"}, "ac"),
            ({"tags": ["red", "blue"]}, "abc"),
            ({"tags": ["red", *(f"x{n}" for n in range(120)), "blue"]}, "abc"),
            ({"place.status": "held"}, "abcde"),
            ({"place.status": "held", "cohort": "c1", "tags": "red"}, "a"),
            ({"sessions.kind": "online"}, "bf"),
            ({"sessions.kind": ["online", "coaching"]}, "bcf"),
            ({"cohort": None}, "df"),
            ({"cohort": [None, "c2"]}, "cdf"),
            ({"place.kind": None}, "abcdef"),
            ({"place.status.deeper": None}, "abcdef"),
            ({"nowhere": None}, "abcdef"),
            ({"credits": 20}, "e"),
            ({"credits": "20"}, ""),
            ({"open": True}, "e"),
            ({"open": False}, ""),
        ],
    )
    async def test_documents_are_found_by_their_fields(
        self, stores: Stores, where: Mapping[str, Any], expected: str
    ) -> None:
        bodies: dict[str, Mapping[str, Any] | None] = {
            "a": view_body("c1", "red", "blue"),
            "b": view_body("c1", "blue", sessions=[{"kind": "online"}, {"kind": "residential"}]),
            "c": view_body("c2", "red", sessions=[{"kind": "coaching"}]),
            "d": view_body(None),
            "e": view_body("c1", credits=20, open=True),
            "f": {"sessions": [{"kind": "online"}]},
            "g": None,
        }
        await stores.views.write("places", [Write(name, 0, 1, body) for name, body in reversed(bodies.items())])
        found = await stores.views.find("places", where, limit=100)
        assert "".join(stream for stream, _ in found) == expected
        assert all(versioned == Versioned(1, bodies[stream]) for stream, versioned in found)

    async def test_documents_are_counted_without_being_read(self, stores: Stores) -> None:
        bodies = [view_body("c1" if n % 3 else "c2", "red") for n in range(12)]
        await stores.views.write("places", [Write(f"tally-{n}", 0, 1, body) for n, body in enumerate(bodies)])
        wheres: list[dict[str, Any]] = [{"cohort": "c1"}, {"cohort": "c2", "tags": "red"}, {"cohort": "c3"}]
        assert [await stores.views.count("places", where) for where in wheres] == [8, 4, 0]

    @pytest.mark.parametrize("cohort", ["c1", ["c1", "c2"], ["c2", *(f"x{n}" for n in range(120)), "c1"]])
    async def test_what_is_found_is_read_in_pages(self, stores: Stores, cohort: Any) -> None:
        names = [f"tally-{n:02d}" for n in range(25)]
        writes = [Write(s, 0, 1, view_body("c1" if n % 2 else "c2")) for n, s in enumerate(names)]
        await stores.views.write("places", writes[::-1])
        wanted = names if isinstance(cohort, list) else names[1::2]
        found: list[str] = []
        while page := await stores.views.find("places", {"cohort": cohort}, after=found[-1] if found else "", limit=7):
            assert len(page) == min(7, len(wanted) - len(found))
            found += [stream for stream, _ in page]
        assert found == wanted

    async def test_the_first_epoch_of_a_source_is_remembered(self, stores: Stores) -> None:
        bound = await asyncio.gather(*(stores.views.bind_epoch("enrolment", f"epoch{n}") for n in range(20)))
        assert len(set(bound)) == 1
        assert await stores.views.bind_epoch("enrolment", "another") == bound[0]
        assert await stores.views.bind_epoch("mentoring", "its own") == "its own"

    # Targets

    async def test_marking_makes_a_target_dirty_and_raises_its_revision(self, stores: Stores) -> None:
        await stores.targets.mark("standing", ["p1", "p2"])
        await stores.targets.mark("standing", ["p1"])
        assert await stores.targets.due("standing", NOON, limit=10) == {"p1": 2, "p2": 1}
        assert await stores.targets.due("shortlist", NOON, limit=10) == {}
        target = (await stores.targets.read("standing", ["p1", "p9"]))["p1"]
        assert (target.revision, target.dirty, target.evaluate_at, target.basis, target.result) == (
            2, True, None, {}, None,
        )  # fmt: skip

    async def test_what_results_rest_on_is_read_without_them(self, stores: Stores) -> None:
        await stores.targets.mark("standing", ["p1", "p2"])
        await stores.targets.finish("standing", [Finding("p1", 1, {"n": 1}, {"person-p1": 3, "jar-1": 0}, None)])
        await stores.targets.mark("standing", ["p1"])
        assert await stores.targets.bases("standing", ["p1", "p2", "p9"]) == {"p1": {"person-p1": 3, "jar-1": 0}}

    async def test_no_mark_of_a_missing_target_is_lost_in_a_race(self, stores: Stores) -> None:
        names = [f"p{n}" for n in range(30)]
        await asyncio.gather(*(stores.targets.mark("standing", names) for _ in range(20)))
        assert await stores.targets.due("standing", NOON, limit=100) == dict.fromkeys(names, 20)

    async def test_due_gives_no_more_than_asked_for(self, stores: Stores) -> None:
        await stores.targets.mark("standing", [f"p{n}" for n in range(10)])
        assert len(await stores.targets.due("standing", NOON, limit=4)) == 4

    async def test_finishing_stores_the_result_and_clears_dirty(self, stores: Stores) -> None:
        await stores.targets.mark("standing", ["p1"])
        finding = Finding("p1", 1, {"passed": [True, None]}, {"enrolment-c1--p1": 7}, None)
        assert await stores.targets.finish("standing", [finding]) == [True]
        assert await stores.targets.due("standing", NOON, limit=10) == {}
        target = (await stores.targets.read("standing", ["p1"]))["p1"]
        assert (target.revision, target.dirty, target.evaluate_at) == (2, False, None)
        assert (target.basis, target.result) == (finding.basis, finding.result)

    async def test_a_finding_on_an_older_revision_misses_and_leaves_dirty(self, stores: Stores) -> None:
        await stores.targets.mark("standing", ["p1", "p2"])
        await stores.targets.mark("standing", ["p1"])  # while p1 was being evaluated at revision 1
        findings = [Finding(p, 1, {"n": 1}, {}, None) for p in ("p1", "p2")]
        assert await stores.targets.finish("standing", findings) == [False, True]
        assert await stores.targets.due("standing", NOON, limit=10) == {"p1": 2}

    async def test_one_of_two_racing_findings_wins(self, stores: Stores) -> None:
        await stores.targets.mark("standing", ["p1"])
        answers = await asyncio.gather(
            *(stores.targets.finish("standing", [Finding("p1", 1, {"n": n}, {}, None)]) for n in range(10))
        )
        assert sorted(answers) == [[False]] * 9 + [[True]]
        assert (await stores.targets.read("standing", ["p1"]))["p1"].result == {"n": answers.index([True])}

    async def test_a_target_is_due_when_its_deadline_has_come(self, stores: Stores) -> None:
        deadline = NOON + timedelta(hours=1)
        await stores.targets.mark("standing", ["p1", "p2"])
        await stores.targets.finish(
            "standing", [Finding("p1", 1, {}, {}, deadline), Finding("p2", 1, {}, {}, deadline + timedelta(days=1))]
        )
        assert await stores.targets.due("standing", deadline - timedelta(milliseconds=1), limit=10) == {}
        assert await stores.targets.due("standing", deadline, limit=10) == {"p1": 2}
        await stores.targets.mark("standing", ["p1"])
        assert await stores.targets.due("standing", deadline, limit=10) == {"p1": 3}
        await stores.targets.finish("standing", [Finding("p1", 3, {}, {}, None)])
        assert await stores.targets.due("standing", deadline, limit=10) == {}

    async def test_a_deadline_never_comes_early(self, stores: Stores) -> None:
        deadline = NOON.replace(microsecond=1)
        await stores.targets.mark("standing", ["p1"])
        await stores.targets.finish("standing", [Finding("p1", 1, {}, {}, deadline)])
        assert await stores.targets.due("standing", NOON, limit=10) == {}
        assert await stores.targets.due("standing", NOON + timedelta(milliseconds=1), limit=10) == {"p1": 2}

    async def test_many_targets_are_marked_read_and_finished_at_once(self, stores: Stores) -> None:
        names = [f"p{n:04d}" for n in range(600)]
        await stores.targets.mark("standing", names)
        findings = [Finding(p, 1 if n % 50 else 9, {"n": n}, {}, None) for n, p in enumerate(names)]
        assert await stores.targets.finish("standing", findings) == [bool(n % 50) for n in range(600)]
        read = await stores.targets.read("standing", names)
        assert [read[p].dirty for p in names] == [not n % 50 for n in range(600)]

    # Keys

    async def test_a_person_without_a_key_has_none(self, stores: Stores) -> None:
        assert await stores.keys.read(["p1"]) == {}

    async def test_twenty_racing_creators_get_one_key(self, stores: Stores) -> None:
        given = await asyncio.gather(*(stores.keys.create_key("p1", bytes([n]) * 60) for n in range(20)))
        assert len(set(given)) == 1
        assert await stores.keys.read(["p1"]) == {"p1": given[0]}
        assert await stores.keys.create_key("p1", b"later") == given[0]

    async def test_many_keys_are_read_at_once(self, stores: Stores) -> None:
        people = [f"p{n:03d}" for n in range(120)]
        for person in people:
            await stores.keys.create_key(person, person.encode())
        assert await stores.keys.read([*people, "nobody"]) == {p: p.encode() for p in people}

    async def test_a_tombstone_is_for_ever(self, stores: Stores) -> None:
        await stores.keys.create_key("p1", b"key")
        await stores.keys.destroy_keys(["p1", "p2", "p1"], NOON)  # p2 never had a key
        await stores.keys.destroy_keys(["p1", "p2"], NOON + timedelta(days=1))
        for person in ("p1", "p2"):
            with pytest.raises(KeyErased):
                await stores.keys.create_key(person, b"another")
        assert await stores.keys.read(["p1", "p2"]) == {"p1": Tombstone(NOON), "p2": Tombstone(NOON)}

    async def test_keys_destroyed_while_they_are_created_and_destroyed_stay_destroyed(self, stores: Stores) -> None:
        people = [f"p{n}" for n in range(20)]
        await asyncio.gather(
            *(stores.keys.create_key(p, b"key") for p in people),
            *(stores.keys.destroy_keys(people[n::2], NOON) for n in (0, 1, 0, 1)),
            return_exceptions=True,
        )
        assert await stores.keys.read(people) == dict.fromkeys(people, Tombstone(NOON))

    async def test_tombstones_are_listed_page_by_page(self, stores: Stores) -> None:
        await stores.keys.create_key("p3", b"key")
        await stores.keys.destroy_keys(["p4", "p1", "p2"], NOON)
        assert await stores.keys.tombstones(limit=2) == [("p1", Tombstone(NOON)), ("p2", Tombstone(NOON))]
        assert await stores.keys.tombstones(after="p2", limit=2) == [("p4", Tombstone(NOON))]

    async def test_a_backlog_is_counted_in_events_with_the_oldest_of_them(self, stores: Stores) -> None:
        for mark in MARKS:
            assert await stores.appends.backlog(mark, limit=10) == Backlog(0, False, None)
        older = replace(append("tally-b"), recorded=NOON - timedelta(hours=1))
        await stores.appends.insert([append("tally-a", count=3), older])
        assert await stores.appends.backlog("unpublished", limit=10) == Backlog(4, False, older.recorded)
        await stores.appends.clear("unpublished", [older])
        assert await stores.appends.backlog("unpublished", limit=10) == Backlog(3, False, NOON)
        assert await stores.appends.backlog("unfolded", limit=10) == Backlog(4, False, older.recorded)

    async def test_a_backlog_beyond_the_limit_says_that_there_is_more(self, stores: Stores) -> None:
        await stores.appends.insert([append(f"tally-{n}", count=2) for n in range(5)])
        assert await stores.appends.backlog("unfolded", limit=5) == Backlog(10, False, NOON)
        assert await stores.appends.backlog("unfolded", limit=4) == Backlog(8, True, NOON)

    # Publishing again

    async def test_appends_are_listed_page_by_page_of_one_category_or_of_all(self, stores: Stores) -> None:
        await stores.appends.insert([append("tally-a", count=2), append("tally-b"), append("tallyho-a")])
        await stores.appends.insert([append("tally-a", 3), append("tally-b", 2)])
        everything = [("tally-a", 1, 2), ("tally-a", 3, 3), ("tally-b", 1, 1), ("tally-b", 2, 2), ("tallyho-a", 1, 1)]
        for limit in (1, 2, 3, 10):
            for category, wanted in (("", everything), ("tally", everything[:4]), ("tallyho", everything[4:])):
                found, after = list[tuple[str, int, int]](), ("", 0)
                while page := await stores.appends.slots(category=category, after=after, limit=limit):
                    assert len(page) <= limit
                    found += page
                    after = page[-1][:2]
                assert found == wanted

    async def test_a_stream_asked_for_again_is_marked_at_its_first_append_alone(self, stores: Stores) -> None:
        a, later, b = append("tally-a"), append("tally-a", 2), append("tally-b")
        await stores.appends.insert([a, later, b])
        await stores.appends.clear("unpublished", [a, later, b])
        await stores.appends.ask_again(["tally-a", "tally-none"], "r1")
        (asked,) = await stores.appends.pending("unpublished", limit=10)
        assert asked == replace(a, again="r1")
        assert await stores.appends.asked("r1") == 1
        await stores.appends.clear("unpublished", [asked])
        assert await stores.appends.pending("unpublished", limit=10) == []
        assert await stores.appends.asked("r1") == 0
        assert (await stores.appends.load(["tally-a"]))["tally-a"] == [a, later]

    async def test_a_clear_of_what_was_read_before_it_was_asked_for_again_comes_too_late(self, stores: Stores) -> None:
        a = append("tally-a")
        await stores.appends.insert([a])
        (before,) = await stores.appends.pending("unpublished", limit=10)
        await stores.appends.ask_again(["tally-a"], "r1")
        (first,) = await stores.appends.pending("unpublished", limit=10)
        await stores.appends.clear("unpublished", [before])
        assert await stores.appends.pending("unpublished", limit=10) == [first]
        await stores.appends.ask_again(["tally-a"], "r2")
        await stores.appends.clear("unpublished", [first])
        assert await stores.appends.asked("r2") == 1
        await stores.appends.clear("unfolded", [first])  # the other delivery goes on as ever
        assert await stores.appends.pending("unfolded", limit=10) == []

    # Operations

    async def test_what_an_operator_did_is_listed_as_it_was_recorded_newest_first(self, stores: Stores) -> None:
        later = await stores.operations.record("discard", "tally-a@2", "operator", "a test record", NOON)
        earlier = await stores.operations.record(
            "rebuild", "places", "op-2", "a changed fold", NOON - timedelta(days=1)
        )
        assert await stores.operations.list(limit=10) == [later, earlier]
        assert (later.action, later.subject, later.actor) == ("discard", "tally-a@2", "operator")
        assert (later.reason, later.at) == ("a test record", NOON)

    async def test_the_same_operation_at_the_same_instant_is_recorded_each_time(self, stores: Stores) -> None:
        done = [await stores.operations.record("redrive", "all", "operator", "again", NOON) for _ in range(3)]
        assert {o.id for o in await stores.operations.list(limit=10)} == {o.id for o in done}

    async def test_operations_are_listed_page_by_page(self, stores: Stores) -> None:
        for n in range(7):
            await stores.operations.record("redrive", f"stream-{n}", "operator", "again", NOON + timedelta(seconds=n))
        pages, before = [], ""
        while found := await stores.operations.list(before=before, limit=3):
            pages.append([o.subject for o in found])
            before = found[-1].id
        assert pages == [[f"stream-{n}" for n in page] for page in ([6, 5, 4], [3, 2, 1], [0])]

    # What is held

    async def test_what_is_held_comes_back_whole_and_in_order_of_versions(self, stores: Stores) -> None:
        kept = [entry("tally-a", v) for v in (3, 10, 11)]
        bare = entry("tally-b", 1, key=None, headers=(), value=None)
        await stores.held.keep(
            [*kept[::-1], bare, entry("tally-a", 3, epoch="e2"), entry("tally-a", 3, consumer="own")]
        )
        assert await stores.held.entries("facts", "e1", "tally-a", limit=10) == kept
        assert await stores.held.entries("facts", "e1", "tally-a", after=3, limit=1) == kept[1:2]
        assert await stores.held.entries("facts", "e1", "tally-b", limit=10) == [bare]
        assert await stores.held.entries("facts", "e1", "tally-c", limit=10) == []

    async def test_what_is_held_twice_is_there_once_as_it_came_last(self, stores: Stores) -> None:
        again = entry("tally-a", 3, offset=99, value=b"mended")
        await stores.held.keep([entry("tally-a", 3)])
        await stores.held.keep([again])
        assert await stores.held.entries("facts", "e1", "tally-a", limit=10) == [again]

    async def test_the_highest_version_is_held_as_it_is_and_one_beyond_any_number_not_at_all(
        self, stores: Stores
    ) -> None:
        highest = entry("tally-a", VERSION_MAX)
        await stores.held.keep([highest])
        await stores.held.park([head("tally-a", VERSION_MAX)])
        assert await stores.held.entries("facts", "e1", "tally-a", after=VERSION_MAX - 1, limit=10) == [highest]
        assert (await stores.held.heads("facts", ["tally-a"]))["tally-a"].version == VERSION_MAX
        with pytest.raises(Unstorable):
            await stores.held.keep([entry("tally-a", 1 << 63)])

    async def test_a_held_record_may_be_as_large_as_an_event(self, stores: Stores) -> None:
        large = entry("tally-a", 3, value=b"\xff" * 1024 * 1024)
        await stores.held.keep([large])
        assert await stores.held.entries("facts", "e1", "tally-a", limit=10) == [large]

    async def test_dropped_entries_are_gone_and_dropping_again_is_harmless(self, stores: Stores) -> None:
        kept = [entry("tally-a", v) for v in range(1, 131)]
        await stores.held.keep(kept)
        for _ in range(2):
            await stores.held.drop(kept[:-1])
        await stores.held.drop([])
        assert await stores.held.entries("facts", "e1", "tally-a", limit=10) == kept[-1:]

    async def test_a_head_is_created_once_and_parking_again_only_raises_it(self, stores: Stores) -> None:
        later = NOON + timedelta(minutes=1)
        await stores.held.park([head("tally-a"), head("tally-b")])
        await stores.held.park([head("tally-a", 4, kind="gap", error="another", first=later, last=later)])
        found = await stores.held.heads("facts", ["tally-a", "tally-b", "tally-none"])
        assert found == {"tally-a": head("tally-a", last=later, attempts=2, revision=2), "tally-b": head("tally-b")}
        assert await stores.held.heads("own", ["tally-a"]) == {}
        assert await stores.held.heads("facts", []) == {}

    async def test_no_parking_is_lost_in_a_race(self, stores: Stores) -> None:
        names = [f"tally-{n}" for n in range(20)]
        await asyncio.gather(*(stores.held.park([head(s) for s in names]) for _ in range(20)))
        found = await stores.held.heads("facts", names)
        assert {s: h.revision for s, h in found.items()} == dict.fromkeys(names, 20)

    async def test_a_head_is_removed_only_at_the_revision_that_was_read(self, stores: Stores) -> None:
        await stores.held.park([head("tally-a")])
        await stores.held.park([head("tally-a")])
        assert not await stores.held.remove(head("tally-a"))
        assert await stores.held.remove(head("tally-a", revision=2))
        assert not await stores.held.remove(head("tally-a", revision=2))
        assert await stores.held.heads("facts", ["tally-a"]) == {}

    async def test_a_head_is_not_taken_for_a_later_one_of_its_stream(self, stores: Stores) -> None:
        await stores.held.park([head("tally-a", life="2")])
        assert not await stores.held.remove(head("tally-a"))
        assert not await stores.held.move(head("tally-a", 9))
        assert await stores.held.heads("facts", ["tally-a"]) == {"tally-a": head("tally-a", life="2")}

    async def test_one_of_twenty_racing_removals_wins(self, stores: Stores) -> None:
        await stores.held.park([head("tally-a")])
        answers = await asyncio.gather(*(stores.held.remove(head("tally-a")) for _ in range(20)))
        assert sorted(answers) == [False] * 19 + [True]

    async def test_a_head_moves_only_at_the_revision_that_was_read_and_never_comes_back(self, stores: Stores) -> None:
        later = NOON + timedelta(minutes=1)
        await stores.held.park([head("tally-a")])
        moved = head("tally-a", 7, kind="gap", error="waits", last=later, attempts=5)
        assert await stores.held.move(moved)
        assert not await stores.held.move(head("tally-a", 9))
        assert (await stores.held.heads("facts", ["tally-a"]))["tally-a"] == replace(moved, revision=2)
        assert await stores.held.remove(head("tally-a", revision=2))
        assert not await stores.held.move(replace(moved, revision=2))
        assert await stores.held.heads("facts", ["tally-a"]) == {}

    async def test_entries_without_a_head_are_found(self, stores: Stores) -> None:
        await stores.held.keep([entry(f"tally-{s}", v) for s in "abc" for v in (4, 3)])
        await stores.held.keep([entry("tally-d", 1, consumer="own")])
        await stores.held.park([head("tally-b")])
        assert await stores.held.orphans("facts", limit=10) == [entry("tally-a", 3), entry("tally-c", 3)]
        assert await stores.held.orphans("facts", limit=1) == [entry("tally-a", 3)]
        assert await stores.held.orphans("none", limit=1) == []

    async def test_an_epoch_is_forgotten_whole_and_no_other(self, stores: Stores) -> None:
        await stores.held.keep(
            [entry("tally-a", 3), entry("tally-b", 3, epoch="e2"), entry("tally-c", 3, consumer="own")]
        )
        await stores.held.park([head("tally-a"), head("tally-b", epoch="e2"), head("tally-c", consumer="own")])
        await stores.held.forget("facts", "e1")
        assert [h.stream for h in await stores.held.find(limit=10)] == ["tally-b", "tally-c"]
        assert await stores.held.entries("facts", "e1", "tally-a", limit=10) == []
        assert await stores.held.entries("facts", "e2", "tally-b", limit=10) == [entry("tally-b", 3, epoch="e2")]

    async def test_heads_are_listed_in_pages_and_by_what_they_share(self, stores: Stores) -> None:
        many = [head(f"tally-{s}", consumer=c) for c in ("facts", "own") for s in "abc"]
        many[1] = replace(many[1], kind="gap", error="waits")
        await stores.held.park(many[::-1])
        assert await stores.held.find(limit=10) == many
        for consumer, wanted in (("", many), ("facts", many[:3]), ("own", many[3:])):
            found: list[Head] = []
            after = ("", "")
            while page := await stores.held.find(consumer=consumer, after=after, limit=2):
                found += page
                after = (page[-1].consumer, page[-1].stream)
            assert found == wanted
        assert await stores.held.find(kind="gap", limit=10) == many[1:2]
        assert await stores.held.find(error="waits", limit=10) == many[1:2]
        assert await stores.held.find(consumer="own", error="waits", limit=10) == []

    async def test_held_streams_are_counted_grouped_and_dated(self, stores: Stores) -> None:
        early = NOON - timedelta(hours=1)
        await stores.held.park([head("tally-a"), head("tally-b", first=early), head("tally-c", error="another")])
        await stores.held.park([head("tally-a", consumer="own", kind="gap", error="waits")])
        assert await stores.held.held("facts") == (3, early)
        assert await stores.held.held("none") == (0, None)
        common = head("tally-a").error
        groups = await stores.held.groups()
        assert groups[0] == HeldGroup("facts", "poison", common, 2, early)
        assert sorted(g.error for g in groups[1:]) == ["another", "waits"]

    async def test_what_was_tried_longest_ago_is_tried_first(self, stores: Stores) -> None:
        times = {"a": 5, "b": 1, "c": 3}
        heads = [head(f"tally-{s}", kind="gap", last=NOON + timedelta(minutes=m)) for s, m in times.items()]
        await stores.held.park([*heads, head("tally-d"), head("tally-e", consumer="own", kind="gap")])
        assert [h.stream for h in await stores.held.stalest("facts", "gap", limit=2)] == ["tally-b", "tally-c"]

    async def test_the_first_decision_to_discard_a_version_stands(self, stores: Stores) -> None:
        first = Discard("e1", "tally-a", 3, "a test record", "operator-01", NOON)
        other = replace(first, version=12)
        await stores.held.discard([other, first, replace(first, epoch="e2")])
        await stores.held.discard([replace(first, reason="another")])
        assert await stores.held.discards("e1", "tally-a") == [first, other]
        assert await stores.held.discards("e1", "tally-b") == []
        assert first in await stores.held.discards(None, "tally-a")

    # Generations

    async def test_of_fifty_who_change_the_generations_at_once_one_wins(self, stores: Stores) -> None:
        seen = await stores.generations.read()
        assert seen == Catalogue()
        news = [seen.model_copy(update={"views": {w: Standing(generation=2, last=2)}}) for w in WRITERS]
        won = await asyncio.gather(*(stores.generations.swap(seen, new) for new in news))
        assert won.count(True) == 1
        stored = await stores.generations.read()
        assert stored == news[won.index(True)].model_copy(update={"revision": 1})
        assert await stores.generations.swap(stored, stored.model_copy(update={"views": {}}))
        assert not await stores.generations.swap(stored, stored)

    async def test_what_is_being_built_comes_back_as_it_was_stored(self, stores: Stores) -> None:
        building = Building(
            views={"tallies": 2}, fingerprints={"tallies": "f"}, builder="b", started=NOON, actor="operator",
            reason="a test", offsets=(("credence.sample.v1", 3, 17),), after="tally-a", stuck=("tally-b",),
            epochs={"credence/sample": "e"},
        )  # fmt: skip
        new = Catalogue(building=building, epochs={"credence/sample": "e"}, retired={"credence/sample": ("d",)})
        assert await stores.generations.swap(Catalogue(), new)
        assert await stores.generations.read() == new.model_copy(update={"revision": 1})

    async def test_rooms_are_apart_and_a_dropped_one_is_empty(self, stores: Stores) -> None:
        other = room("tallies", 2)
        await stores.views.open_room(other, [("cohort",)])
        for name in ("tallies", other):
            assert await stores.views.write(name, [Write("tally-a", 0, 1, view_body(name))]) == [True]
        assert await stores.views.rooms_of("tallies") == ["tallies", other]
        assert await stores.views.count(other, {}) == 1
        await stores.views.drop_room(other)
        await stores.views.drop_room(other)
        assert await stores.views.load(other, ["tally-a"]) == {}
        assert (await stores.views.load("tallies", ["tally-a"]))["tally-a"].body == view_body("tallies")
        assert await stores.views.rooms_of("tallies") == ["tallies"]

    async def test_another_history_is_bound_with_those_given_up_for_it(self, stores: Stores) -> None:
        assert await stores.views.histories() == {}
        await stores.views.bind_epoch("credence/sample", "e1")
        assert await stores.views.histories() == {"credence/sample": ("e1", ())}
        await stores.views.rebind("credence/sample", "e2", ["e1"])
        assert await stores.views.histories() == {"credence/sample": ("e2", ("e1",))}
        assert await stores.views.bind_epoch("credence/sample", "e3") == "e2"

    async def test_a_category_lists_its_streams_in_order_and_in_pages(self, stores: Stores) -> None:
        names = [f"tally-{n:03d}" for n in range(7)]
        await stores.appends.insert([append(s, first) for s in reversed(names) for first in (1, 2)])
        await stores.appends.insert([append("tallyman-a"), append("tall-a")])
        assert await stores.appends.list_streams("tally", limit=4) == names[:4]
        assert await stores.appends.list_streams("tally", after=names[3], limit=4) == names[4:]
        assert await stores.appends.list_streams("none", limit=4) == []
        assert await stores.appends.count_streams("tally") == 7

    async def test_documents_are_named_in_order_and_in_pages_but_for_those_without_a_body(self, stores: Stores) -> None:
        names = [f"tally-{n}" for n in range(5)]
        await stores.views.open_room("tallies", [])
        writes = [Write(stream, 0, 1, {"n": 1}) for stream in reversed(names)]
        await stores.views.write("tallies", [*writes, Write("tally-9", 0, 1, None)])
        assert await stores.views.names("tallies", {}, limit=3) == names[:3]
        assert await stores.views.names("tallies", {}, after=names[2], limit=9) == names[3:]
        assert await stores.views.names("none", {}, limit=3) == []

    async def test_documents_are_named_by_what_they_hold(self, stores: Stores) -> None:
        await stores.views.open_room("tallies", [("cohort",)])
        held = {f"tally-{n:03}": f"c{n % 70}" for n in range(140)}
        writes = [Write(stream, 0, 1, {"cohort": cohort}) for stream, cohort in held.items()]
        await stores.views.write("tallies", [*writes, Write("tally-9", 0, 1, None)])
        of = {"cohort": [f"c{n}" for n in range(60)]}  # more than one read asks for
        named = [stream for stream, cohort in held.items() if cohort in of["cohort"]]
        assert await stores.views.names("tallies", of, limit=500) == named
        assert await stores.views.names("tallies", of, after=named[2], limit=4) == named[3:7]
        assert await stores.views.names("tallies", {"cohort": "c7"}, limit=9) == ["tally-007", "tally-077"]

    async def test_many_targets_are_marked_again_at_once_and_none_is_created(self, stores: Stores) -> None:
        names = [f"p{n:03}" for n in range(120)]
        await stores.targets.mark("sample", names)
        await stores.targets.finish("sample", [Finding(name, 1, {}, {}, None) for name in names])

        await stores.targets.mark_again("sample", [*names[:110], "unknown"])

        assert await stores.targets.due("sample", NOON, limit=500) == dict.fromkeys(names[:110], 3)
        assert await stores.targets.count("sample") == 120
        assert await stores.targets.count("elsewhere") == 0

    async def test_processes_note_by_which_folds_they_work_and_are_forgotten_a_day_after_they_ended(
        self, stores: Stores
    ) -> None:
        def noted(name: str, fold: str, hours: int) -> Instance:
            return Instance(name=name, fingerprints={"heard": fold}, at=NOON + timedelta(hours=hours))

        await stores.generations.note(noted("one", "old", 0))
        await stores.generations.note(noted("two", "old", 0))
        await stores.generations.note(noted("one", "new", 2))

        assert await stores.generations.instances(NOON + timedelta(hours=1)) == [noted("one", "new", 2)]
        assert len(await stores.generations.instances(NOON)) == 2
        await stores.generations.note(noted("three", "new", 25))
        assert {i.name for i in await stores.generations.instances(NOON)} == {"one", "three"}

    async def test_targets_are_listed_in_order_and_in_pages(self, stores: Stores) -> None:
        names = [f"target-{n}" for n in range(5)]
        await stores.targets.mark("sample", list(reversed(names)))
        assert await stores.targets.known("sample", [names[1], "nobody", names[0]]) == set(names[:2])
        assert await stores.targets.known("sample", []) == set()
        assert await stores.targets.names("sample", limit=3) == names[:3]
        assert await stores.targets.names("sample", after=names[2], limit=3) == names[3:]
