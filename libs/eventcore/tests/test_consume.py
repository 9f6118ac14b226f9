"""Consume: a batch is folded and marked whole, or nothing of it may be committed."""

from __future__ import annotations

import pytest

from eventcore.consume import Consumer, Received
from eventcore.fold import Folder
from eventcore.held import LIMITS, HoldLimits
from eventcore.limits import SOURCES_MAX
from eventcore.memory import MemoryHeld, MemoryViews
from eventcore.record import PublicEvent, WrongEpoch, encode
from eventcore.store import StoreUnavailable

from .sample import JARS, JarDocument, NoMarks, clock, dropped, jar_of, parse

JAR_1, JAR_2 = "jar-1--a", "jar-2--a"


def received(
    stream: str, version: int, *, epoch: str = "e1", value: bytes = b"1", kind: str = "sample.Dropped"
) -> Received:
    record = encode(dropped(stream, version), PublicEvent(kind, value), topic="jars.v1", source="sample", epoch=epoch)
    return Received.of(record, 0, version)


def consumer(
    views: MemoryViews, marks: NoMarks | None = None, held: MemoryHeld | None = None, limits: HoldLimits = LIMITS
) -> Consumer:
    folder = Folder([JARS], views, marks or NoMarks())
    return Consumer("sample.facts", folder, views, held or MemoryHeld(), parse, clock, limits=limits)


async def test_a_batch_of_many_streams_is_folded_and_marked() -> None:
    views, marks = MemoryViews(), NoMarks()

    await consumer(views, marks).handle([received(JAR_1, 1), received(JAR_2, 1), received(JAR_1, 2)])

    assert jar_of(views, JAR_1) == (2, JarDocument(shelf="a", coins=2))
    assert marks.marked == [JAR_1, JAR_2]


async def test_streams_that_no_view_folds_are_not_even_decoded() -> None:
    views = MemoryViews()

    await consumer(views).handle([received("box-1", 5, kind="sample.OfTomorrow"), received(JAR_1, 1)])

    assert jar_of(views, JAR_1)[0] == 1


async def test_a_log_of_another_epoch_stops_a_consumer_with_a_clear_message() -> None:
    views = MemoryViews()
    await consumer(views).handle([received(JAR_1, 1)])

    with pytest.raises(WrongEpoch, match="its store was replaced"):
        await consumer(views).handle([received(JAR_1, 2, epoch="e2")])

    assert jar_of(views, JAR_1)[0] == 1


async def test_a_source_beyond_the_limit_stops_the_consumer_and_those_known_go_on() -> None:
    work = consumer(MemoryViews())

    def of(source: str) -> Received:
        record = encode(dropped(JAR_1, 1), PublicEvent("sample.Dropped", b"1"), topic="t", source=source, epoch="e1")
        return Received.of(record, 0, 1)

    for n in range(SOURCES_MAX):
        await work.handle([of(f"sample-{n}")])
    with pytest.raises(WrongEpoch, match="one source too many"):
        await work.handle([of("sample-beyond")])
    await work.handle([of("sample-0")])


async def test_a_store_that_is_away_means_the_batch_again() -> None:
    views = MemoryViews()
    work = consumer(views)

    async def away(_operation: str) -> None:
        raise StoreUnavailable("away")

    async def back(_operation: str) -> None:
        return None

    views.switch = away
    with pytest.raises(StoreUnavailable):
        await work.handle([received(JAR_1, 1)])
    views.switch = back
    await work.handle([received(JAR_1, 1)])

    assert jar_of(views, JAR_1)[0] == 1
