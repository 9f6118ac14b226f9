"""Deliver: own views and the bus get every append, in the stream's order, whatever fails in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore.deliver import EVERYTHING_EVERY, Instant, Publisher, Undelivered, always
from eventcore.event import Recorded, StoredEvent
from eventcore.limits import DELIVERED_AT_ONCE_MAX
from eventcore.memory import MemoryAppends, MemoryViews
from eventcore.record import MARKER_TYPE, PublicEvent, Record
from eventcore.store import Mark

from .sample import JAR, JarDocument, drop, executor, jar_of, own_fold, public, seal

JAR_1, JAR_2, JAR_3 = "jar-1--a", "jar-2--a", "jar-3--a"


@dataclass
class SampleBus:
    """Refuses the records named in `refuses`, once each; a batch is sent in its order."""

    refuses: list[str] = field(default_factory=list)
    topic: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    renewed: int = 0

    async def send(self, records: Sequence[Record]) -> list[bool]:
        streams = [record.key for record in records]
        assert len(set(streams)) == len(streams), "one record of a stream in flight"
        acknowledged = []
        for record in records:
            name = record.headers["ce_id"]
            acknowledged.append(name not in self.refuses)
            if name in self.refuses:
                self.refuses.remove(name)
            else:
                self.topic.append(name)
                self.records.append(record)
        return acknowledged

    async def renew(self) -> None:
        self.renewed += 1


def publisher(store: MemoryAppends, bus: SampleBus, *, limit: int = 500, left_before: Instant = always) -> Publisher:
    deciders = {"jar": JAR}
    return Publisher(
        store, deciders, public, bus, topic="jars.v1", source="sample", limit=limit, left_before=left_before
    )


async def stored(*coins: tuple[str, int]) -> MemoryAppends:
    """One append for each (stream, coins)."""
    store = MemoryAppends()
    for i, (stream, n) in enumerate(coins):
        await executor(store).execute(JAR, [drop(stream, f"k{i}", n)])
    return store


async def test_each_event_is_one_record_and_streams_go_side_by_side_in_order() -> None:
    store, bus = await stored((JAR_1, 2), (JAR_2, 1), (JAR_1, 1)), SampleBus()

    assert await publisher(store, bus).step() == 3

    assert [name for name in bus.topic if name.startswith(JAR_1)] == [f"{JAR_1}@{v}" for v in (1, 2, 3)]
    assert sorted(bus.topic)[-1] == f"{JAR_2}@1"
    assert store.marked["unpublished"] == set()
    assert await publisher(store, bus).step() == 0


async def test_what_others_must_not_see_goes_out_as_a_bare_marker() -> None:
    store, bus = await stored((JAR_1, 1)), SampleBus()
    await executor(store).execute(JAR, [seal(JAR_1, "seal")])

    await publisher(store, bus).step()

    assert [(r.headers["ce_type"], r.value) for r in bus.records] == [("sample.Dropped", b"1"), (MARKER_TYPE, b"")]


async def test_after_a_failed_send_nothing_more_of_that_stream_goes_out() -> None:
    store, bus = await stored((JAR_1, 3), (JAR_2, 1)), SampleBus(refuses=[f"{JAR_1}@2"])

    with pytest.raises(Undelivered):
        await publisher(store, bus).step()

    assert f"{JAR_1}@3" not in bus.topic
    assert bus.renewed == 1, "nothing queued before may overtake what comes next"
    assert {stream for stream, _ in store.marked["unpublished"]} == {JAR_1}


async def test_while_one_stream_fails_the_others_go_out_whole() -> None:
    store, bus = await stored((JAR_1, 2), (JAR_2, 3)), SampleBus(refuses=[f"{JAR_1}@1"])

    with pytest.raises(Undelivered):
        await publisher(store, bus).step()

    assert bus.topic == [f"{JAR_2}@{v}" for v in (1, 2, 3)]
    assert {stream for stream, _ in store.marked["unpublished"]} == {JAR_1}
    assert bus.renewed == 1


async def test_a_stream_that_failed_goes_on_from_its_first_unpublished_append() -> None:
    store, bus = await stored((JAR_1, 1), (JAR_1, 2)), SampleBus(refuses=[f"{JAR_1}@3"])
    with pytest.raises(Undelivered):
        await publisher(store, bus).step()

    await publisher(store, bus).step()

    assert bus.topic == [f"{JAR_1}@{v}" for v in (1, 2, 2, 3)]
    assert store.marked["unpublished"] == set()


async def published(*coins: tuple[str, int]) -> MemoryAppends:
    store = await stored(*coins)
    await publisher(store, SampleBus()).step()
    assert store.marked["unpublished"] == set()
    return store


async def test_a_stream_asked_for_again_goes_out_whole_and_once() -> None:
    store, bus = await published((JAR_1, 1), (JAR_1, 2), (JAR_2, 1)), SampleBus()
    await store.ask_again([JAR_1], "r1")

    assert await publisher(store, bus).step() == 2
    assert await publisher(store, bus).step() == 0

    assert bus.topic == [f"{JAR_1}@{v}" for v in (1, 2, 3)]
    assert await store.asked("r1") == 0


async def test_what_is_stored_meanwhile_goes_out_behind_what_is_asked_for_again() -> None:
    store, bus = await published((JAR_1, 1), (JAR_1, 1)), SampleBus()
    await executor(store).execute(JAR, [drop(JAR_1, "later", 1)])
    await store.ask_again([JAR_1], "r1")

    await publisher(store, bus, limit=1).step()

    assert bus.topic == [f"{JAR_1}@{v}" for v in (1, 2, 3)]
    assert store.marked["unpublished"] == set()


async def test_a_stream_asked_for_again_that_fails_midway_is_still_asked_for() -> None:
    """The mark is at its first append: cleared with that one, nobody would know of the rest."""
    store, bus = await published((JAR_1, 1), (JAR_1, 1), (JAR_1, 1)), SampleBus(refuses=[f"{JAR_1}@3"])
    await store.ask_again([JAR_1], "r1")

    with pytest.raises(Undelivered):
        await publisher(store, bus).step()
    assert await store.asked("r1") == 1

    await publisher(store, bus).step()
    assert bus.topic == [f"{JAR_1}@{v}" for v in (1, 2, 1, 2, 3)]
    assert await store.asked("r1") == 0


async def test_a_stream_asked_for_again_that_cannot_be_published_whole_does_not_go_out_in_part_with_every_try() -> None:
    store, bus = await published((JAR_1, 1), (JAR_1, 2), (JAR_2, 1)), SampleBus()
    work = Publisher(store, {"jar": JAR}, refusing(JAR_1), bus, topic="jars.v1", source="sample")
    await store.ask_again([JAR_1, JAR_2], "r1")

    for _ in range(4):
        with suppress(Undelivered):
            await work.step()

    assert bus.topic == [f"{JAR_2}@1"]
    assert work.problem is not None
    assert await store.asked("r1") == 1
    await publisher(store, bus).step()
    assert bus.topic == [f"{JAR_2}@1", *(f"{JAR_1}@{v}" for v in (1, 2, 3))], "once it can be, it goes out whole"
    assert await store.asked("r1") == 0


async def test_a_publisher_that_clears_late_leaves_no_hole_in_what_is_asked_for_again() -> None:
    store = await stored((JAR_1, 2))
    (read_before,) = await store.pending("unpublished", limit=10)
    await publisher(store, SampleBus()).step()
    await store.ask_again([JAR_1], "r1")
    await store.clear("unpublished", [read_before])  # a frozen publisher wakes

    bus = SampleBus()
    await publisher(store, bus).step()
    assert bus.topic == [f"{JAR_1}@{v}" for v in (1, 2)]


async def test_an_append_is_done_only_when_its_last_record_is_acknowledged() -> None:
    cleared: list[tuple[str, int]] = []
    bus = SampleBus()

    class Watched(MemoryAppends):
        async def clear(self, mark: Mark, appends: Sequence) -> None:  # type: ignore[type-arg]
            for append in appends:
                assert f"{append.stream}@{append.last}" in bus.topic
                cleared.append((append.stream, append.first))
            await super().clear(mark, appends)

    store = Watched()
    await executor(store).execute(JAR, [drop(JAR_1, "a", 3), drop(JAR_2, "b")])

    await publisher(store, bus).step()

    assert cleared == [(JAR_2, 1), (JAR_1, 1)]


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_pages_reach_every_stream_in_order(limit: int) -> None:
    store = await stored(*[(s, n) for n in (1, 2, 1) for s in (JAR_1, JAR_2, JAR_3)])
    bus = SampleBus()
    work = publisher(store, bus, limit=limit)

    steps = 0
    while await work.step():
        steps += 1
        assert steps < 50

    for stream in (JAR_1, JAR_2, JAR_3):
        assert [name for name in bus.topic if name.startswith(stream)] == [f"{stream}@{v}" for v in range(1, 5)]


async def test_a_hint_delivers_its_streams_first() -> None:
    store, bus = await stored((JAR_1, 1), (JAR_2, 1)), SampleBus()

    assert await publisher(store, bus).step([JAR_2, JAR_2]) == 1

    assert bus.topic == [f"{JAR_2}@1"]


async def test_two_publishers_at_once_repeat_but_never_reorder() -> None:
    store, bus = await stored((JAR_1, 2), (JAR_1, 1)), SampleBus()
    held = await store.pending("unpublished", limit=10)

    await publisher(store, bus).step()
    store.marked["unpublished"] |= {(a.stream, a.first) for a in held}  # what a second one had read before
    await publisher(store, bus).step()

    assert list(dict.fromkeys(bus.topic)) == [f"{JAR_1}@{v}" for v in (1, 2, 3)]


async def test_own_views_are_folded_and_only_then_cleared() -> None:
    store, views = await stored((JAR_1, 2), (JAR_1, 1), (JAR_2, 1)), MemoryViews()

    assert await own_fold(store, views).step() == 3

    assert jar_of(views, JAR_1) == (3, JarDocument(shelf="a", coins=3))
    assert store.marked["unfolded"] == set()


async def test_a_view_that_cannot_be_written_keeps_its_appends_unfolded() -> None:
    store = await stored((JAR_1, 1))

    async def away(_operation: str) -> None:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        await own_fold(store, MemoryViews(away)).step()

    assert store.marked["unfolded"] == {(JAR_1, 1)}


async def test_a_view_younger_than_its_stream_is_folded_from_the_start() -> None:
    store = await stored((JAR_1, 2))
    await own_fold(store, MemoryViews()).step()
    await executor(store).execute(JAR, [drop(JAR_1, "later")])
    young = MemoryViews()

    await own_fold(store, young).step()

    assert jar_of(young, JAR_1) == (3, JarDocument(shelf="a", coins=3))


def refusing(stream: str) -> Callable[[Recorded[Any]], PublicEvent | None]:
    def refuse(event: Recorded[Any]) -> PublicEvent | None:
        if event.stream == stream and event.version > 1:
            raise ValueError("Sample Learner 01")
        return public(event)

    return refuse


async def test_what_another_process_has_just_stored_is_left_to_it_for_a_while() -> None:
    store, bus = await stored((JAR_1, 1), (JAR_2, 1)), SampleBus()
    left = store.streams[JAR_2][1].recorded
    work = publisher(store, bus, left_before=lambda: left)

    assert await work.step() == 0
    assert await work.step([JAR_1]) == 1, "what this process stored is hinted at"
    left += timedelta(microseconds=1)
    assert await work.step() == 1
    assert bus.topic == [f"{JAR_1}@1", f"{JAR_2}@1"]


async def test_what_a_clock_that_was_ahead_stored_is_not_left_for_as_long_as_that() -> None:
    store, bus = await stored((JAR_1, 1)), SampleBus()
    long_ago = store.streams[JAR_1][1].recorded - timedelta(hours=1)
    work = publisher(store, bus, left_before=lambda: long_ago)

    sent = [await work.step() for _ in range(EVERYTHING_EVERY)]

    assert sent == [0] * (EVERYTHING_EVERY - 1) + [1]


async def test_what_could_not_be_sent_is_tried_again_however_lately_it_was_stored() -> None:
    store, bus = await stored((JAR_1, 1)), SampleBus(refuses=[f"{JAR_1}@1"])
    left = store.streams[JAR_1][1].recorded
    work = publisher(store, bus, left_before=lambda: left)

    with pytest.raises(Undelivered):
        await work.step([JAR_1])
    assert work.problem
    assert await work.step() == 1
    assert work.problem is None


async def test_what_could_not_be_sent_is_told_while_others_are_hinted_at() -> None:
    others = [f"jar-{n}--b" for n in range(4)]
    store, bus = await stored((JAR_1, 1), *((other, 1) for other in others)), SampleBus(refuses=[f"{JAR_1}@1"])
    left = store.streams[JAR_1][1].recorded
    work = publisher(store, bus, left_before=lambda: left)

    with pytest.raises(Undelivered):
        await work.step([JAR_1])
    for other in others:
        assert await work.step([other]) == 1
        assert work.problem, "nobody has tried it again"
    assert await work.step() == 1
    assert work.problem is None


async def test_a_stream_that_cannot_be_published_stands_aside_and_is_told_without_its_content() -> None:
    store, bus = await stored((JAR_1, 1), (JAR_1, 2), (JAR_2, 2)), SampleBus()
    work = Publisher(store, {"jar": JAR}, refusing(JAR_1), bus, topic="jars.v1", source="sample")

    with pytest.raises(Undelivered, match=f"1 streams cannot be published, such as {JAR_1}: ValueError at") as raised:
        await work.step()

    assert "Learner" not in str(raised.value)
    assert sorted(bus.topic) == [f"{JAR_1}@1", f"{JAR_2}@1", f"{JAR_2}@2"], "what comes before it goes out"
    assert store.marked["unpublished"] == {(JAR_1, 2)}
    assert work.problem == str(raised.value), "still so while others go on"
    with pytest.raises(Undelivered):
        await work.step()
    assert len(bus.topic) == 3, "nothing of it goes out again and again"


async def test_a_stream_that_could_be_published_in_the_end_is_no_problem_any_more() -> None:
    store, bus = await stored((JAR_1, 2)), SampleBus(refuses=[f"{JAR_1}@1"])
    work = publisher(store, bus)
    with pytest.raises(Undelivered, match="1 streams wait: the broker did not acknowledge"):
        await work.step()

    assert await work.step() == 1

    assert work.problem is None
    assert bus.topic == [f"{JAR_1}@1", f"{JAR_1}@2"]


async def test_what_cannot_be_published_for_long_does_not_fill_every_page() -> None:
    store = await stored(*[(JAR_1, 1)] * 6, (JAR_2, 1), (JAR_3, 1))
    bus = SampleBus()
    work = Publisher(store, {"jar": JAR}, refusing(JAR_1), bus, topic="jars.v1", source="sample", limit=2)

    for _ in range(6):
        with suppress(Undelivered):
            await work.step()

    assert {f"{JAR_2}@1", f"{JAR_3}@1"} <= set(bus.topic)


def never(*streams: str) -> Callable[[Recorded[Any]], PublicEvent | None]:
    def refuse(event: Recorded[Any]) -> PublicEvent | None:
        if event.stream in streams:
            raise ValueError("Sample Learner 01")
        return public(event)

    return refuse


@pytest.mark.parametrize("broken", [2, 3], ids=["at the limit", "one beyond it"])
async def test_no_more_streams_stand_aside_than_the_limit_and_all_others_go_out(
    monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    monkeypatch.setattr("eventcore.deliver.ASIDE_MAX", 2)
    stuck, others = [f"jar-{n}--a" for n in range(broken)], [f"jar-{n}--b" for n in range(4)]
    store, bus = await stored(*((stream, 1) for stream in (*stuck, *others))), SampleBus()
    work = Publisher(store, {"jar": JAR}, never(*stuck), bus, topic="jars.v1", source="sample", limit=3)

    for _ in range(12):
        with suppress(Undelivered):
            await work.step()
        assert work.problem is None or work.problem.startswith(("1 streams", "2 streams"))
    assert sorted(bus.topic) == [f"{other}@1" for other in others]
    assert {stream for stream, _ in store.marked["unpublished"]} == set(stuck)

    work._public = public  # a release that can
    while await work.step():
        pass
    assert sorted(bus.topic) == sorted(f"{stream}@1" for stream in (*stuck, *others))
    assert work.problem is None


@pytest.mark.parametrize("more", [0, 1], ids=["at the limit", "one beyond it"])
async def test_a_step_publishes_so_many_appends_and_leaves_the_rest_to_the_next(more: int) -> None:
    store, bus = MemoryAppends(), SampleBus()
    names = [f"jar-{n:04}--a" for n in range(DELIVERED_AT_ONCE_MAX + more)]
    await executor(store).execute(JAR, [drop(name, "k") for name in names])
    work = Publisher(store, {"jar": JAR}, public, bus, topic="jars.v1", source="sample")

    assert [await work.step() for _ in range(2)] == [DELIVERED_AT_ONCE_MAX, more]
    assert sorted(bus.topic) == [f"{name}@1" for name in names]


@pytest.mark.parametrize("more", [0, 1], ids=["at the limit", "one beyond it"])
async def test_so_many_streams_asked_for_again_are_read_at_once_and_the_rest_with_the_next_step(
    monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    monkeypatch.setattr("eventcore.deliver.REPUBLISHED_AT_ONCE_MAX", 2)
    names = [f"jar-{n}--a" for n in range(2 + more)]
    store, bus = await published(*((name, 2) for name in names)), SampleBus()
    await store.ask_again(names, "r1")
    work = publisher(store, bus)

    assert [await work.step() for _ in range(2)] == [2, more]
    assert await store.asked("r1") == 0
    assert sorted(bus.topic) == [f"{name}@{version}" for name in names for version in (1, 2)]


async def test_an_own_event_that_cannot_be_read_is_not_published_and_says_so() -> None:
    store, bus = await stored((JAR_1, 1), (JAR_2, 1)), SampleBus()
    store.streams[JAR_1][1] = replace(
        store.streams[JAR_1][1], events=(StoredEvent("jar.dropped.v1", {"coins": "Sample Learner 01"}),)
    )

    with pytest.raises(
        Undelivered, match=r"jar\.dropped\.v1 cannot be read: ValidationError at .*, coins: int_parsing"
    ):
        await publisher(store, bus).step()

    assert bus.topic == [f"{JAR_2}@1"]


@given(
    st.lists(st.tuples(st.sampled_from([JAR_1, JAR_2]), st.integers(1, 3)), max_size=6),
    st.lists(st.tuples(st.sampled_from([JAR_1, JAR_2]), st.integers(1, 8)), max_size=6),
    st.integers(1, 4),
)
async def test_whatever_sends_fail_the_topic_ends_with_every_event_first_seen_in_order(
    coins: list[tuple[str, int]], refused: list[tuple[str, int]], limit: int
) -> None:
    store = await stored(*coins)
    bus = SampleBus(refuses=[f"{stream}@{version}" for stream, version in refused])
    work = publisher(store, bus, limit=limit)

    for _ in range(100):
        try:
            if not await work.step():
                break
        except Undelivered:
            continue

    for stream in (JAR_1, JAR_2):
        total = sum(n for s, n in coins if s == stream)
        seen = list(dict.fromkeys(name for name in bus.topic if name.startswith(stream)))
        assert seen == [f"{stream}@{v}" for v in range(1, total + 1)]
