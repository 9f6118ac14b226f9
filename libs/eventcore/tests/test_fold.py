"""Fold: a document is the fold of one stream, whatever comes how often and in what order."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from eventcore.event import Recorded
from eventcore.fold import MARKER, Folder, Gap, Poison, Undecodable, View, told
from eventcore.memory import MemoryViews
from eventcore.store import StoreUnavailable, Unstorable, Write
from eventcore.testing import NOON

from .sample import JARS, JarDocument, NoMarks, Sealed, dropped, fold_jar, jar_of

JAR_1, JAR_2 = "jar-1--a", "jar-2--a"


def records(stream: str, *versions: int) -> list[Recorded[Any]]:
    return [dropped(stream, version) for version in versions]


def marker(stream: str, version: int) -> Recorded[Any]:
    return Recorded(stream, version, MARKER, NOON)


def undecodable(stream: str, version: int) -> Recorded[Any]:
    return Recorded(stream, version, Undecodable("broken bytes"), NOON)


async def test_records_are_folded_in_the_order_of_their_versions() -> None:
    views, marks = MemoryViews(), NoMarks()

    await Folder([JARS], views, marks).fold({JAR_1: records(JAR_1, 3, 1, 2, 2), JAR_2: records(JAR_2, 1)})

    assert jar_of(views, JAR_1) == (3, JarDocument(shelf="a", coins=3))
    assert jar_of(views, JAR_2) == (1, JarDocument(shelf="a", coins=1))
    assert marks.marked == [JAR_1, JAR_2]


async def test_a_duplicate_is_not_folded_again_but_its_marks_are_made_good() -> None:
    views, marks = MemoryViews(), NoMarks()
    folder = Folder([JARS], views, marks)
    await folder.fold({JAR_1: records(JAR_1, 1, 2)})

    await folder.fold({JAR_1: records(JAR_1, 1, 2)})

    assert jar_of(views, JAR_1) == (2, JarDocument(shelf="a", coins=2))
    assert marks.marked == [JAR_1, JAR_1], "a crash may have come between the first fold and its marks"
    assert marks.repeated == {JAR_1: 2}


async def test_of_duplicates_only_the_last_version_that_was_folded_tells() -> None:
    views, marks = MemoryViews(), NoMarks()
    folder = Folder([JARS], views, marks)
    await folder.fold({JAR_1: records(JAR_1, 1, 2)})

    await folder.fold({JAR_1: records(JAR_1, 1)})

    assert marks.marked == [JAR_1], "whoever folded version 2 marked, or its record comes again"


async def test_what_came_with_duplicates_is_no_repetition() -> None:
    views, marks = MemoryViews(), NoMarks()
    folder = Folder([JARS], views, marks)
    await folder.fold({JAR_1: records(JAR_1, 1, 2)})

    await folder.fold({JAR_1: records(JAR_1, 1, 2, 3)})

    assert (marks.marked, marks.repeated) == ([JAR_1, JAR_1], {})


async def test_a_marker_moves_the_version_and_nothing_else() -> None:
    views = MemoryViews()

    await Folder([JARS], views, NoMarks()).fold({JAR_1: [dropped(JAR_1, 1), marker(JAR_1, 2), dropped(JAR_1, 3)]})

    assert jar_of(views, JAR_1) == (3, JarDocument(shelf="a", coins=2))


async def test_a_stream_of_markers_alone_has_a_version_and_no_document() -> None:
    views, marks = MemoryViews(), NoMarks()

    await Folder([JARS], views, marks).fold({JAR_1: [marker(JAR_1, 1)]})

    assert jar_of(views, JAR_1) == (1, None)


async def test_a_gap_is_never_folded_and_names_what_is_missing() -> None:
    views = MemoryViews()

    faults = await Folder([JARS], views, NoMarks()).fold({JAR_1: records(JAR_1, 1, 3, 4), JAR_2: records(JAR_2, 1)})

    assert faults == {JAR_1: Gap(JAR_1, 2, "jars waits for a version that has not come")}
    assert jar_of(views, JAR_1)[0] == 1
    assert jar_of(views, JAR_2)[0] == 1, "other streams go on"


async def test_a_gap_is_filled_by_what_comes_later() -> None:
    views = MemoryViews()
    folder = Folder([JARS], views, NoMarks())
    assert JAR_1 in await folder.fold({JAR_1: records(JAR_1, 2)})

    await folder.fold({JAR_1: records(JAR_1, 1, 2)})

    assert jar_of(views, JAR_1) == (2, JarDocument(shelf="a", coins=2))


async def test_a_record_that_cannot_be_read_is_poison_and_what_went_before_it_stands() -> None:
    views, marks = MemoryViews(), NoMarks()

    faults = await Folder([JARS], views, marks).fold(
        {JAR_1: [dropped(JAR_1, 1), undecodable(JAR_1, 2), dropped(JAR_1, 3)]}
    )

    assert faults == {JAR_1: Poison(JAR_1, 2, "broken bytes")}
    assert jar_of(views, JAR_1)[0] == 1
    assert marks.marked == [JAR_1]


async def test_a_record_that_cannot_be_folded_is_poison() -> None:
    faults = await Folder([JARS], MemoryViews(), NoMarks()).fold({JAR_1: [Recorded(JAR_1, 1, object(), NOON)]})

    assert re.fullmatch(r"jars cannot fold it: TypeError at sample\.py:\d+", faults[JAR_1].reason)


async def test_what_only_waits_behind_a_fault_marks_nothing() -> None:
    marks = NoMarks()
    folder = Folder([JARS], MemoryViews(), marks)

    await folder.fold({JAR_1: records(JAR_1, 2)})

    assert marks.marked == [], "each sweep would evaluate it anew"


async def test_of_two_views_the_one_that_is_further_behind_says_where_the_stream_is_stuck() -> None:
    def picky(document: JarDocument | None, record: Recorded[Any]) -> JarDocument:
        if record.version == 2:
            raise ValueError("Sample Learner 01")
        return fold_jar(document, record)

    views = MemoryViews()
    faults = await Folder([JARS, replace(JARS, name="picky", fold=picky)], views, NoMarks()).fold(
        {JAR_1: [*records(JAR_1, 1, 2, 3), undecodable(JAR_1, 4)]}
    )

    assert faults[JAR_1].version == 2
    assert "Sample Learner" not in faults[JAR_1].reason
    assert jar_of(views, JAR_1)[0] == 3


async def test_a_rehearsal_gives_the_same_faults_and_writes_nothing() -> None:
    views, marks = MemoryViews(), NoMarks()

    faults = await Folder([JARS], views, marks).rehearse({JAR_1: records(JAR_1, 1, 3), JAR_2: records(JAR_2, 1)})

    assert faults == {JAR_1: Gap(JAR_1, 2, "jars waits for a version that has not come")}
    assert (views.documents, marks.marked) == ({}, [])


class SmallViews(MemoryViews):
    """A database that holds no jar of more than two coins."""

    async def write(self, view: str, writes: Sequence[Write]) -> list[bool]:
        if any(w.body is not None and w.body["coins"] > 2 for w in writes):
            raise Unstorable("DocumentTooLarge")
        return await super().write(view, writes)


async def test_a_document_that_cannot_be_stored_is_the_fault_of_the_version_that_made_it_so() -> None:
    views, marks = SmallViews(), NoMarks()

    faults = await Folder([JARS], views, marks).fold({JAR_1: records(JAR_1, 1, 2, 3, 4), JAR_2: records(JAR_2, 1)})

    assert faults == {JAR_1: Poison(JAR_1, 3, "jars cannot be stored with it: DocumentTooLarge")}
    assert (jar_of(views, JAR_1)[0], jar_of(views, JAR_2)[0]) == (2, 1)
    assert set(marks.marked) == {JAR_1, JAR_2}


async def test_a_document_that_cannot_be_written_down_is_a_fault_too() -> None:
    def spoilt(document: JarDocument | None, record: Recorded[Any]) -> JarDocument:
        folded = fold_jar(document, record)
        return folded.model_copy(update={"shelf": object()}) if record.version == 2 else folded

    views = MemoryViews()
    with warnings.catch_warnings(action="ignore"):
        faults = await Folder([replace(JARS, fold=spoilt)], views, NoMarks()).fold({JAR_1: records(JAR_1, 1, 2)})

    assert faults[JAR_1].version == 2
    assert "PydanticSerializationError" in faults[JAR_1].reason
    assert jar_of(views, JAR_1)[0] == 1


def test_an_error_is_told_without_a_value_of_the_record() -> None:
    with pytest.raises(ValidationError) as raised:
        JarDocument.model_validate({"shelf": ["Sample Learner 01"], "coins": "Sample Learner 01"})

    assert "Sample Learner" in str(raised.value)
    assert re.fullmatch(r"ValidationError at \w+\.py:\d+, shelf: string_type, coins: int_parsing", told(raised.value))


async def test_a_poison_that_was_folded_before_is_a_duplicate() -> None:
    views = MemoryViews()
    folder = Folder([JARS], views, NoMarks())
    await folder.fold({JAR_1: records(JAR_1, 1)})

    await folder.fold({JAR_1: [undecodable(JAR_1, 1), dropped(JAR_1, 2)]})

    assert jar_of(views, JAR_1)[0] == 2


async def test_a_guard_that_missed_is_folded_on_what_won() -> None:
    class Raced(MemoryViews):
        raced = False

        async def write(self, view: str, writes: Sequence[Write]) -> list[bool]:
            if not self.raced:
                self.raced = True
                await Folder([JARS], self, NoMarks()).fold({JAR_1: records(JAR_1, 1, 2)})
            return await super().write(view, writes)

    views, marks = Raced(), NoMarks()

    await Folder([JARS], views, marks).fold({JAR_1: records(JAR_1, 1, 2, 3), JAR_2: records(JAR_2, 1)})

    assert jar_of(views, JAR_1) == (3, JarDocument(shelf="a", coins=3))
    assert sorted(marks.marked) == [JAR_1, JAR_2], "each once, after its own write"


async def test_marks_come_after_the_write() -> None:
    views = MemoryViews()

    class Watching(NoMarks):
        async def mark(self, view: View[Any], documents: Any, repeated: Any) -> None:
            assert {jar_of(views, stream)[0] for stream in documents} == {1}
            await super().mark(view, documents, repeated)

    marks = Watching()
    await Folder([JARS], views, marks).fold({JAR_1: records(JAR_1, 1), JAR_2: records(JAR_2, 1)})

    assert marks.marked == [JAR_1, JAR_2]


async def test_a_store_that_is_away_is_not_swallowed() -> None:
    async def away(_operation: str) -> None:
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        await Folder([JARS], MemoryViews(away), NoMarks()).fold({JAR_1: records(JAR_1, 1)})


events = st.lists(st.sampled_from(["drop", "seal", "marker"]), min_size=1, max_size=8)


def stream_of(kinds: Sequence[str], stream: str) -> list[Recorded[Any]]:
    def record(kind: str, version: int) -> Recorded[Any]:
        if kind == "drop":
            return dropped(stream, version)
        return Recorded(stream, version, Sealed(), NOON) if kind == "seal" else marker(stream, version)

    return [record(kind, version) for version, kind in enumerate(kinds, start=1)]


async def whole(kinds: Sequence[str], stream: str) -> tuple[int, JarDocument | None]:
    views = MemoryViews()
    await Folder([JARS], views, NoMarks()).fold({stream: stream_of(kinds, stream)})
    return jar_of(views, stream)


@given(events, st.data())
async def test_any_prefix_and_then_the_rest_ends_as_all_at_once(kinds: list[str], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(kinds)))
    views = MemoryViews()
    folder, log = Folder([JARS], views, NoMarks()), stream_of(kinds, JAR_1)

    for part in (log[:cut], log[cut:]):
        if part:
            await folder.fold({JAR_1: part})

    assert jar_of(views, JAR_1) == await whole(kinds, JAR_1)


@given(events, events, st.data())
async def test_any_interleaving_and_repetition_of_deliveries_ends_in_the_same_documents(
    first: list[str], second: list[str], data: st.DataObject
) -> None:
    """Batches of any records, in any order, again and again: what stops at a gap is delivered again later."""
    views = MemoryViews()
    folder = Folder([JARS], views, NoMarks())
    log = stream_of(first, JAR_1) + stream_of(second, JAR_2)
    deliveries = data.draw(st.lists(st.lists(st.sampled_from(log), min_size=1, max_size=5), max_size=8))

    for batch in [*deliveries, log]:
        grouped: dict[str, list[Recorded[Any]]] = {}
        for record in batch:
            grouped.setdefault(record.stream, []).append(record)
        await folder.fold(grouped)

    assert jar_of(views, JAR_1) == await whole(first, JAR_1)
    assert jar_of(views, JAR_2) == await whole(second, JAR_2)
