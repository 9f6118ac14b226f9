"""Fold: a document is the fold of one stream, whatever comes how often and in what order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore.event import Recorded
from eventcore.fold import MARKER, Folder, Gap, Poison, Undecodable, View
from eventcore.memory import MemoryViews
from eventcore.store import StoreUnavailable, Write
from eventcore.testing import NOON

from .sample import JARS, JarDocument, NoMarks, Sealed, dropped, jar_of

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


async def test_a_duplicate_is_not_folded_again_but_marks_again() -> None:
    views, marks = MemoryViews(), NoMarks()
    folder = Folder([JARS], views, marks)
    await folder.fold({JAR_1: records(JAR_1, 1, 2)})

    await folder.fold({JAR_1: records(JAR_1, 1, 2)})

    assert jar_of(views, JAR_1) == (2, JarDocument(shelf="a", coins=2))
    assert marks.marked == [JAR_1, JAR_1], "a crash may have come between the first fold and its marks"


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

    with pytest.raises(Gap, match="version 2 has not come to jars") as gap:
        await Folder([JARS], views, NoMarks()).fold({JAR_1: records(JAR_1, 1, 3, 4), JAR_2: records(JAR_2, 1)})

    assert (gap.value.stream, gap.value.version) == (JAR_1, 3)
    assert jar_of(views, JAR_1)[0] == 1
    assert jar_of(views, JAR_2)[0] == 1, "other streams go on"


async def test_a_gap_is_filled_by_what_comes_later() -> None:
    views = MemoryViews()
    folder = Folder([JARS], views, NoMarks())
    with pytest.raises(Gap):
        await folder.fold({JAR_1: records(JAR_1, 2)})

    await folder.fold({JAR_1: records(JAR_1, 1, 2)})

    assert jar_of(views, JAR_1) == (2, JarDocument(shelf="a", coins=2))


async def test_a_record_that_cannot_be_read_is_poison_and_what_went_before_it_stands() -> None:
    views, marks = MemoryViews(), NoMarks()

    with pytest.raises(Poison, match="broken bytes") as poison:
        await Folder([JARS], views, marks).fold({JAR_1: [dropped(JAR_1, 1), undecodable(JAR_1, 2), dropped(JAR_1, 3)]})

    assert (poison.value.stream, poison.value.version) == (JAR_1, 2)
    assert jar_of(views, JAR_1)[0] == 1
    assert marks.marked == [JAR_1]


async def test_a_record_that_cannot_be_folded_is_poison() -> None:
    with pytest.raises(Poison, match="jars cannot fold it"):
        await Folder([JARS], MemoryViews(), NoMarks()).fold({JAR_1: [Recorded(JAR_1, 1, object(), NOON)]})


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
        async def mark(self, view: View[Any], documents: Any) -> None:
            assert {jar_of(views, stream)[0] for stream in documents} == {1}
            await super().mark(view, documents)

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
        try:
            await folder.fold(grouped)
        except Gap:
            continue

    assert jar_of(views, JAR_1) == await whole(first, JAR_1)
    assert jar_of(views, JAR_2) == await whole(second, JAR_2)
