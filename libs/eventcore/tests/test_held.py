"""Hold: a stream that cannot go on stands aside, whole and in order; every other goes on; what is mended ends as if
nothing had failed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore import held
from eventcore.consume import Consumer, Received
from eventcore.event import StoredEvent
from eventcore.fold import Fault, Folder, Gap, Poison, View
from eventcore.held import LIMITS, HoldLimits, NeverDiscarded, NotStuckThere, Released, TooManyFaults
from eventcore.limits import (
    HELD_BATCH_MIN,
    HELD_PAGE_MAX,
    HELD_SHARE_MAX,
    HELD_SWEPT_MAX,
    STREAM_BYTES_MAX,
    VERSION_MAX,
)
from eventcore.memory import MemoryAppends, MemoryHeld, MemoryViews
from eventcore.personal import AboutPerson
from eventcore.record import PublicEvent, Record, WrongEpoch, encode
from eventcore.store import Discard, Head, StoreUnavailable
from eventcore.testing import NOON

from .sample import JAR, JARS, JarDocument, NoMarks, clock, drop, dropped, executor, jar_of, own_fold, parse
from .simulation.bugs import RACES, Change, changed, planted

JAR_1, JAR_2 = "jar-1--a", "jar-2--a"
FACTS = "sample.facts"


def record(stream: str, version: int, value: bytes = b"1", *, epoch: str = "e1") -> Record:
    public = PublicEvent("sample.Dropped", value)
    return encode(dropped(stream, version), public, topic="jars.v1", source="sample", epoch=epoch)


def came(stream: str, *versions: int, value: bytes = b"1") -> list[Received]:
    return [Received.of(record(stream, v, value), 3, (40 + v) % 2**63) for v in versions]


class PersonDocument(AboutPerson):
    folded: int


PEOPLE = View("people", "person", PersonDocument, lambda _document, event: PersonDocument(folded=event.version))


@dataclass
class Service:
    """One consumer's stores, and processes of it by name of release: `broken` values cannot be parsed by the old."""

    views: MemoryViews = field(default_factory=MemoryViews)
    held: MemoryHeld = field(default_factory=MemoryHeld)
    marks: NoMarks = field(default_factory=NoMarks)
    limits: HoldLimits = LIMITS

    def process(self, parse_: Callable[[str, bytes], Any] = parse) -> Consumer:
        folder = Folder([JARS, PEOPLE], self.views, self.marks)
        return Consumer(FACTS, folder, self.views, self.held, parse_, clock, limits=self.limits)

    def fixed(self) -> Consumer:
        return self.process(lambda kind, data: parse(kind, b"1" if data == b"broken" else data))

    def versions(self, stream: str) -> list[int]:
        return [e.version for key, e in sorted(self.held.kept.items()) if key[2] == stream]

    def head(self, stream: str = JAR_1) -> Head:
        return self.held.standing[FACTS, stream]

    def nothing_held(self) -> bool:
        return not self.held.kept and not self.held.standing


def hash_of(views: MemoryViews) -> str:
    content = {s: (v.version, v.body) for s, v in sorted(views.documents["jars"].items())}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


# ---- poison


async def test_one_poison_among_a_thousand_streams_stops_only_its_own() -> None:
    service, clean = Service(), Service()
    streams = [f"jar-{n}--a" for n in range(1000)]
    log = [r for v in (1, 2, 3, 4) for s in streams for r in came(s, v)]
    poison = came("jar-500--a", 2, value=b"broken")[0]
    spoilt = [poison if (r.key, r.offset) == (poison.key, poison.offset) else r for r in log]
    for start in range(0, len(log), 500):
        await service.process().handle(spoilt[start : start + 500])
        await clean.process().handle(log[start : start + 500])

    assert all(jar_of(service.views, s) == (4, JarDocument(shelf="a", coins=4)) for s in streams if s != "jar-500--a")
    assert jar_of(service.views, "jar-500--a")[0] == 1
    assert list(service.held.standing) == [(FACTS, "jar-500--a")]
    assert service.versions("jar-500--a") == [2, 3, 4], "what comes later is behind it, in order"
    entry = service.held.kept[FACTS, "e1", "jar-500--a", 2]
    where = (entry.topic, entry.partition, entry.offset, entry.key, entry.headers, entry.value)
    assert where == ("jars.v1", 3, 42, poison.key, poison.headers, b"broken"), "whole, to the byte"

    [released] = await service.fixed().holding.redrive(["jar-500--a"])

    assert released == Released("jar-500--a", 3, None)
    assert service.nothing_held()
    assert hash_of(service.views) == hash_of(clean.views)


async def test_what_is_held_is_told_with_its_error_and_never_with_its_content() -> None:
    service = Service()
    await service.process().handle(came(JAR_1, 1) + came(JAR_1, 2, value=b"Sample Learner 01"))

    head = service.head()

    assert (head.kind, head.version, head.epoch, head.attempts, head.first) == ("poison", 2, "e1", 1, NOON)
    assert head.error.startswith("sample.Dropped cannot be read: ValueError at sample.py:")
    assert "Learner" not in head.error


async def test_a_stream_held_for_a_poison_is_tried_again_when_more_of_it_comes() -> None:
    service = Service()
    await service.process().handle(came(JAR_1, 1) + came(JAR_1, 2, value=b"broken"))

    await service.fixed().handle(came(JAR_1, 3))

    assert jar_of(service.views, JAR_1)[0] == 3
    assert service.nothing_held()


async def test_records_behind_a_poison_do_not_change_what_is_said_of_it() -> None:
    service = Service()
    await service.process().handle(came(JAR_1, 1) + came(JAR_1, 2, value=b"broken"))
    before = service.head()

    await service.process().handle(came(JAR_1, 3, 4))

    assert (service.head().kind, service.head().version, service.head().error) == ("poison", 2, before.error)
    assert service.head().attempts == 2
    assert service.versions(JAR_1) == [2, 3, 4]


async def test_a_record_published_again_and_whole_takes_the_place_of_the_broken_one() -> None:
    service = Service()
    await service.process().handle(came(JAR_1, 1) + came(JAR_1, 2, value=b"broken") + came(JAR_1, 3))

    await service.process().handle(came(JAR_1, 1, 2, 3))

    assert jar_of(service.views, JAR_1) == (3, JarDocument(shelf="a", coins=3))
    assert service.nothing_held()


async def test_a_poison_that_moves_is_told_where_it_is_now() -> None:
    service = Service()
    await service.process().handle(came(JAR_1, 1) + came(JAR_1, 2, value=b"broken") + came(JAR_1, 3, value=b"worse"))

    [released] = await service.fixed().holding.redrive([JAR_1])

    assert released.folded == 1
    assert isinstance(released.fault, Poison)
    assert (service.head().version, service.versions(JAR_1)) == (3, [3])


# ---- gaps


async def test_a_gap_is_held_and_releases_itself_when_it_is_filled() -> None:
    service = Service()
    await service.process().handle(came(JAR_1, 1) + came(JAR_1, 3, 4) + came(JAR_2, 1))
    assert (service.head().kind, service.head().version) == ("gap", 2)
    assert (jar_of(service.views, JAR_1)[0], jar_of(service.views, JAR_2)[0]) == (1, 1)

    await service.process().handle(came(JAR_1, 2))

    assert jar_of(service.views, JAR_1) == (4, JarDocument(shelf="a", coins=4))
    assert service.nothing_held()


async def test_a_gap_filled_behind_the_consumers_back_is_released_by_a_sweep() -> None:
    service = Service()
    await service.process().handle(came(JAR_1, 2))
    await Folder([JARS], service.views, service.marks).fold({JAR_1: [dropped(JAR_1, 1)]})

    await service.process().holding.sweep()

    assert jar_of(service.views, JAR_1)[0] == 2
    assert service.nothing_held()


async def test_a_sweep_counts_its_tries_and_takes_those_first_that_waited_longest() -> None:
    service = Service(limits=replace(LIMITS, sweep=1))
    process = service.process()
    await process.handle(came(JAR_1, 2))
    await process.handle(came(JAR_2, 2))
    service.held.standing[FACTS, JAR_1] = replace(service.head(), last=NOON - timedelta(hours=1))

    await process.holding.sweep()

    assert (service.head(JAR_1).attempts, service.head(JAR_2).attempts) == (2, 1)
    assert service.head(JAR_1).first == NOON


@pytest.mark.parametrize("more", [0, 1], ids=["at the limit", "one beyond it"])
async def test_a_sweep_tries_so_many_streams_and_leaves_the_rest_to_the_next(more: int) -> None:
    service = Service()
    streams = [f"jar-{n}--a" for n in range(HELD_SWEPT_MAX + more)]
    process = service.process()
    await process.handle([r for stream in streams for r in came(stream, 2)])

    def tries() -> list[int]:
        return sorted(service.head(stream).attempts for stream in streams)

    await process.holding.sweep()
    assert tries() == [1] * more + [2] * HELD_SWEPT_MAX
    for key, head in service.held.standing.items():
        if head.attempts == 1:  # as time tells them apart
            service.held.standing[key] = replace(head, last=NOON - timedelta(hours=1))
    await process.holding.sweep()
    assert tries() == [2] * 2 * more + [3] * (HELD_SWEPT_MAX - more)


async def test_a_sweep_leaves_poison_alone_but_for_the_one_at_a_start() -> None:
    service = Service()
    await service.process().handle(came(JAR_1, 1) + came(JAR_1, 2, value=b"broken"))
    fixed = service.fixed().holding

    await fixed.sweep()
    assert jar_of(service.views, JAR_1)[0] == 1
    await fixed.sweep(everything=True)

    assert jar_of(service.views, JAR_1)[0] == 2
    assert service.nothing_held()


async def test_a_sweep_adopts_what_a_killed_process_left_without_a_head() -> None:
    service = Service()

    async def killed(operation: str) -> None:
        if operation == "park head":
            raise RuntimeError("killed")

    service.held.switch = killed
    with pytest.raises(RuntimeError):
        await service.process().handle(came(JAR_1, 2))
    service.held = MemoryHeld(kept=service.held.kept)

    await service.process().holding.sweep()

    assert (service.head().kind, service.head().version) == ("gap", 1)
    await service.process().handle(came(JAR_1, 1))
    assert jar_of(service.views, JAR_1)[0] == 2
    assert service.nothing_held()


# ---- two processes at once, each history by hand: it ends well, and with its planted bug it does not

JAR_HEAD = (FACTS, JAR_1)


def at(operation: str, meanwhile: Callable[[], Awaitable[Any]]) -> Callable[[str], Awaitable[None]]:
    """Before the first such operation, something else happens."""
    waiting = [meanwhile]

    async def switch(found: str) -> None:
        if found == operation and waiting:
            await waiting.pop()()

    return switch


async def filled_while_it_is_being_held() -> bool:
    service = Service()
    await service.process().handle(came(JAR_1, 1))
    service.held.switch = at("keep entry", lambda: service.process().handle(came(JAR_1, 2)))
    await service.process().handle(came(JAR_1, 3))
    return service.nothing_held() and jar_of(service.views, JAR_1)[0] == 3


async def held_while_it_is_being_filled() -> bool:
    service = Service()
    await service.process().handle(came(JAR_1, 1))
    service.views.switch = at("write jars", lambda: service.process().handle(came(JAR_1, 3)))
    await service.process().handle(came(JAR_1, 2))
    return service.nothing_held() and jar_of(service.views, JAR_1)[0] == 3


async def waiting_for_release() -> Service:
    """Version 3 is held, and 2 was folded without a look at it."""
    service = Service()
    await service.process().handle(came(JAR_1, 1, 3))
    await Folder([JARS], service.views, service.marks).fold({JAR_1: [dropped(JAR_1, 2)]})
    return service


async def more_is_held_while_it_is_being_released() -> bool:
    service = await waiting_for_release()
    service.held.switch = at("drop entry", lambda: service.process().handle(came(JAR_1, 5)))
    await service.process().holding.redrive([JAR_1])
    return service.versions(JAR_1) == [5] and JAR_HEAD in service.held.standing


async def released_and_held_again_while_it_is_being_released() -> bool:
    service = await waiting_for_release()

    async def others() -> None:
        await service.process().holding.redrive([JAR_1])
        await service.process().handle(came(JAR_1, 5))

    service.held.switch = at("remove head", others)
    await service.process().holding.redrive([JAR_1])
    return service.versions(JAR_1) == [5] and JAR_HEAD in service.held.standing


PLAYED: dict[str, Callable[[], Awaitable[bool]]] = {
    "not_tried_after_parking": filled_while_it_is_being_held,
    "heads_before_fold": held_while_it_is_being_filled,
    "entries_first": more_is_held_while_it_is_being_released,
    "removed_blindly": more_is_held_while_it_is_being_released,
    "taken_for_another": released_and_held_again_while_it_is_being_released,
}


@pytest.mark.parametrize("bug", sorted(RACES))
async def test_a_race_ends_well_and_with_its_planted_bug_it_does_not(bug: str) -> None:
    assert await PLAYED[bug]()
    with planted(bug):
        assert not await PLAYED[bug]()


# ---- what stops instead


@pytest.mark.parametrize("away", ["keep entry", "park head", "load heads", "load entries", "drop entry", "remove head"])
async def test_a_store_that_is_away_means_the_batch_again_and_holds_nothing_for_good(away: str) -> None:
    service = Service()
    await service.process().handle(came(JAR_1, 3))

    async def cut(operation: str) -> None:
        if operation == away:
            raise StoreUnavailable("away")

    batch = came(JAR_1, 1, 2) + came(JAR_2, 2)
    healthy = service.held.switch
    service.held.switch = cut
    with pytest.raises(StoreUnavailable):
        await service.process().handle(batch)
    service.held.switch = healthy
    await service.process().handle(batch)

    assert jar_of(service.views, JAR_1)[0] == 3
    assert list(service.held.standing) == [(FACTS, JAR_2)]


async def test_a_batch_that_fails_as_a_whole_holds_nothing_and_stops_the_consumer() -> None:
    service = Service()
    batch = [r for n in range(30) for r in came(f"jar-{n}--a", 1, value=b"broken" if n < 16 else b"1")]

    with pytest.raises(TooManyFaults, match=r"16 of 30 streams .* sample.Dropped cannot be read: ValueError"):
        await service.process().handle(batch)

    assert service.nothing_held()
    assert jar_of(service.views, "jar-20--a")[0] == 1


HALF = int(HELD_BATCH_MIN * HELD_SHARE_MAX)


@pytest.mark.parametrize(
    ("streams", "broken", "held_"),
    [(HELD_BATCH_MIN, HALF, True), (HELD_BATCH_MIN, HALF + 1, False), (HELD_BATCH_MIN - 1, HELD_BATCH_MIN - 1, True)],
    ids=["at the limit", "one beyond it", "too few to tell"],
)
async def test_so_much_of_a_batch_may_be_poison_and_no_more(streams: int, broken: int, held_: bool) -> None:
    service = Service()
    batch = [r for n in range(streams) for r in came(f"jar-{n}--a", 1, value=b"broken" if n < broken else b"1")]

    with nullcontext() if held_ else pytest.raises(TooManyFaults, match=f"{broken} of {streams} streams"):
        await service.process().handle(batch)

    assert len(service.held.standing) == (broken if held_ else 0)
    assert all(jar_of(service.views, f"jar-{n}--a")[0] == 1 for n in range(broken, streams)), "the others are folded"


async def gaps_of_a_lossy_log_are_held_and_filled() -> bool:
    """A topic lost the second record of many streams; they are published again, behind the batch that met the gaps."""
    service = Service()
    streams = [f"jar-{n}--a" for n in range(30)]
    lossy = [r for s in streams for r in came(s, 1, 3)]
    with suppress(TooManyFaults):
        await service.process().handle(lossy)
        assert len(service.held.standing) == 30
        await service.process().handle([r for s in streams for r in came(s, 2)])
        return service.nothing_held() and all(jar_of(service.views, s)[0] == 3 for s in streams)
    return False


async def test_gaps_are_no_bad_release_however_many_and_are_released_by_what_fills_them() -> None:
    assert await gaps_of_a_lossy_log_are_held_and_filled()
    shared = Change(held, "Holding._refuse_too_many", (("isinstance(fault, Poison)", "True"),))
    with changed(shared):
        assert not await gaps_of_a_lossy_log_are_held_and_filled()


async def test_more_gaps_than_can_be_held_stop_the_consumer_with_the_way_out() -> None:
    service = Service(limits=replace(LIMITS, streams=3))

    with pytest.raises(TooManyFaults, match=r"delete it, then `credence republish`, then `credence topics create`"):
        await service.process().handle([r for n in range(4) for r in came(f"jar-{n}--a", 2)])

    assert service.nothing_held()


async def test_a_small_batch_may_fail_whole() -> None:
    service = Service()

    await service.process().handle(came(JAR_1, 1, value=b"broken"))

    assert service.head().version == 1


async def test_beyond_a_number_of_held_streams_the_consumer_stops() -> None:
    service = Service(limits=replace(LIMITS, streams=3))
    process = service.process()
    for n in range(3):
        await process.handle(came(f"jar-{n}--a", 1, value=b"broken"))
        await process.handle(came(f"jar-{n}--a", 2))

    with pytest.raises(TooManyFaults, match="with 3 held before"):
        await process.handle(came("jar-9--a", 1, value=b"broken"))

    assert len(service.held.standing) == 3


async def test_discarded_versions_do_not_count_as_a_bad_release() -> None:
    service = Service()
    for n in range(30):
        await service.held.discard([Discard("e1", f"jar-{n}--a", 1, "test data", "operator-01", NOON)])

    await service.process().handle([r for n in range(30) for r in came(f"jar-{n}--a", 1, value=b"broken")])

    assert service.nothing_held()
    assert jar_of(service.views, "jar-7--a") == (1, None)


async def test_what_is_held_of_another_history_is_not_folded() -> None:
    service = Service()
    await service.process().handle(came(JAR_1, 2))
    service.views.epochs["sample"] = "e2"

    with pytest.raises(WrongEpoch):
        await service.process().holding.redrive([JAR_1])

    await service.held.forget(FACTS, "e1")
    assert service.nothing_held()


# ---- records that say of no stream that it is their own


async def test_a_record_that_names_no_stream_is_held_by_its_place_and_stops_nothing() -> None:
    service = Service()
    stray = Received("jars.v1", 3, 42, b"\xff", (("x", b"\xfe"), ("x", None)), None)

    await service.process().handle([stray, *came(JAR_1, 1)])

    assert jar_of(service.views, JAR_1)[0] == 1
    head = service.head(stray.place)
    assert (head.kind, head.error) == ("poison", "not a CloudEvent of ours: ce_source is missing")
    [entry] = service.held.kept.values()
    assert (entry.key, entry.headers, entry.value) == (stray.key, stray.headers, None)
    [released] = await service.process().holding.redrive([stray.place])
    assert released.fault is not None


@pytest.mark.parametrize("version", [2**53, 2**63, 2**64, 10**400])
async def test_a_version_that_no_store_can_hold_is_held_by_its_place_and_stops_nothing(version: int) -> None:
    service = Service()
    [stray] = came(JAR_1, version)

    await service.process().handle([stray, *came(JAR_1, 1), *came(JAR_2, VERSION_MAX)])

    assert jar_of(service.views, JAR_1)[0] == 1
    assert sorted(service.held.standing) == [(FACTS, JAR_2), (FACTS, stray.place)]


async def test_a_record_that_names_no_stream_can_be_discarded() -> None:
    service = Service()
    stray = Received("jars.v1", 3, 42, None, (), b"")
    process = service.process()
    await process.handle([stray])

    await process.holding.discard(stray.place, 1, reason="not ours", actor="operator-01")
    assert service.nothing_held()
    await process.handle([stray])

    assert service.nothing_held(), "it is not held again when it comes again"


async def test_another_stray_at_the_same_place_of_a_topic_made_anew_is_another() -> None:
    service = Service()
    process = service.process()
    old, new = (Received("jars.v1", 3, 42, None, (), value) for value in (b"old", b"new"))
    await process.handle([old])
    await process.handle([new])
    assert sorted(e.value or b"" for e in service.held.kept.values()) == [b"new", b"old"]

    await process.holding.discard(old.place, 1, reason="not ours", actor="operator-01")
    await process.handle([old, new])

    assert list(service.held.standing) == [(FACTS, new.place)]


async def test_a_record_of_a_stream_that_nobody_could_name_is_held_by_its_place() -> None:
    service = Service()
    longest = "jar-" + "x" * (STREAM_BYTES_MAX - 4)
    strays = [came(name, 1)[0] for name in ("jar-\n", f"{longest}x")]

    await service.process().handle([*strays, *came(longest, 1)])

    assert jar_of(service.views, longest)[0] == 1
    assert sorted(s for _, s in service.held.standing) == sorted(stray.place for stray in strays)


async def test_a_stray_that_a_later_release_can_place_is_folded_where_it_belongs() -> None:
    service = Service()
    [good] = came(JAR_1, 1)
    stray = replace(good, headers=())
    await service.process().handle([stray, *came(JAR_1, 2)])
    [key] = [key for key in service.held.kept if key[2] == stray.place]
    service.held.kept[key] = replace(service.held.kept[key], headers=good.headers)  # as a reader that is more lenient

    await service.process().holding.redrive([stray.place])

    assert jar_of(service.views, JAR_1)[0] == 2
    assert service.nothing_held()


# ---- operators


async def test_a_discarded_version_moves_the_stream_on_as_a_marker() -> None:
    service = Service()
    process = service.process()
    await process.handle(came(JAR_1, 1) + came(JAR_1, 2, value=b"broken") + came(JAR_1, 3))

    released = await process.holding.discard(JAR_1, 2, reason="a test record", actor="operator-01")

    assert released == Released(JAR_1, 2, None)
    assert jar_of(service.views, JAR_1) == (3, JarDocument(shelf="a", coins=2))
    assert service.nothing_held()
    assert await service.held.discards("e1", JAR_1) == [Discard("e1", JAR_1, 2, "a test record", "operator-01", NOON)]


async def test_a_version_that_never_came_can_be_discarded() -> None:
    service = Service()
    process = service.process()
    await process.handle(came(JAR_1, 1, 4))

    first = await process.holding.discard(JAR_1, 2, reason="lost", actor="operator-01")
    second = await process.holding.discard(JAR_1, 3, reason="lost", actor="operator-01")

    assert (first.fault is not None, second.fault) == (True, None)
    assert jar_of(service.views, JAR_1) == (4, JarDocument(shelf="a", coins=2))


async def test_a_rebuilt_view_honours_what_was_discarded() -> None:
    service = Service()
    process = service.process()
    log = came(JAR_1, 1) + came(JAR_1, 2, value=b"broken") + came(JAR_1, 3)
    await process.handle(log)
    await process.holding.discard(JAR_1, 2, reason="a test record", actor="operator-01")
    before = hash_of(service.views)

    service.views.documents.clear()
    await service.process().handle(log)

    assert hash_of(service.views) == before
    assert service.nothing_held()


async def test_only_the_version_that_blocks_can_be_discarded() -> None:
    service = Service()
    holding = service.process().holding
    await service.process().handle(came(JAR_1, 3))

    with pytest.raises(NotStuckThere, match="it is stuck at version 1; look again"):
        await holding.discard(JAR_1, 3, reason="mistaken", actor="operator-01")
    with pytest.raises(NotStuckThere, match="it is not held"):
        await holding.discard(JAR_2, 1, reason="mistaken", actor="operator-01")

    assert not service.held.discarded


PERSON = "person-sample-1"
HOLDING_UP = {
    "poison": came(PERSON, 1) + came(PERSON, 2, value=b"broken"),
    "gap": came(PERSON, 1, 3),
}


async def kept_from_discarding(kind: str, *, dry_run: bool) -> bool:
    """Whether the version that holds up a person's stream is refused to be gone on without, and nothing of it is."""
    service = Service()
    process = service.process()
    await process.handle(HOLDING_UP[kind])
    standing = service.head(PERSON)
    with suppress(NeverDiscarded):
        await process.holding.discard(PERSON, 2, reason="mistaken", actor="operator-01", dry_run=dry_run)
        return False
    return service.head(PERSON) == standing and not service.held.discarded


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("kind", HOLDING_UP)
async def test_no_version_of_a_stream_that_tells_of_erasures_can_be_discarded(kind: str, dry_run: bool) -> None:
    assert await kept_from_discarding(kind, dry_run=dry_run)
    unguarded = Change(held, "Holding.check_discard", (("raise NeverDiscarded(stream, version)", "pass"),))
    with changed(unguarded):
        assert not await kept_from_discarding(kind, dry_run=dry_run)


async def test_nor_can_a_service_go_on_without_an_own_event_that_tells_of_an_erasure() -> None:
    store, held_ = MemoryAppends(), MemoryHeld()
    own = own_fold(store, MemoryViews(), held=held_, views_=[replace(PEOPLE, category="jar", fold=refuses_all)])
    await executor(store).execute(JAR, [drop(JAR_1, "k1", 1)])
    await own.step()

    with pytest.raises(NeverDiscarded, match="jar-1--a tells of erasures: gone on without version 1"):
        await own.holding.discard(JAR_1, 1, reason="mistaken", actor="operator-01")

    assert list(held_.standing) == [("sample.own", JAR_1)]
    assert not held_.discarded


async def test_a_dry_run_says_what_would_happen_and_changes_nothing() -> None:
    service = Service()
    await service.process().handle(came(JAR_1, 1) + came(JAR_1, 2, value=b"broken") + came(JAR_1, 3, 5))
    kept, standing, documents = dict(service.held.kept), dict(service.held.standing), hash_of(service.views)

    [redriven] = await service.fixed().holding.redrive([JAR_1, JAR_2], dry_run=True)
    discarded = await service.process().holding.discard(JAR_1, 2, reason="try", actor="operator-01", dry_run=True)

    assert redriven == Released(JAR_1, 2, Gap(JAR_1, 4, "jars waits for a version that has not come"))
    assert discarded == redriven
    assert (service.held.kept, service.held.standing, hash_of(service.views)) == (kept, standing, documents)
    assert not service.held.discarded


async def test_a_dry_run_says_how_far_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventcore.held.HELD_REHEARSED_MAX", 3)
    service = Service()
    await service.process().handle(came(JAR_1, *range(2, 8)))

    released = await service.process().holding.discard(JAR_1, 1, reason="try", actor="operator-01", dry_run=True)

    assert released == Released(JAR_1, 3, Fault(JAR_1, 5, "a dry run looks at 3 records, no further"))


async def test_a_redrive_of_what_is_not_held_does_nothing() -> None:
    assert await Service().process().holding.redrive([JAR_1]) == []


async def test_a_consumer_counts_what_it_holds_and_for_how_long() -> None:
    service = Service()
    holding = service.process().holding
    assert (await holding.count()).streams == 0
    await service.process().handle(came(JAR_1, 2))
    service.held.standing[FACTS, JAR_1] = replace(service.head(), first=NOON - timedelta(minutes=2))

    found = await holding.count()

    assert (found.streams, found.oldest_seconds) == (1, 120)
    assert await holding.holds({JAR_1: 1, JAR_2: 1}) == [JAR_1]
    assert await holding.holds({JAR_1: 0}) == [], "what is asked for was folded before it was held"


@pytest.mark.parametrize("more", [0, 1], ids=["at the limit", "one beyond it"])
async def test_more_held_records_than_are_read_at_once_are_folded_all(more: int) -> None:
    service = Service()
    await service.process().handle(came(JAR_1, *range(2, HELD_PAGE_MAX + 2 + more)))
    assert len(service.versions(JAR_1)) == HELD_PAGE_MAX + more

    await service.process().handle(came(JAR_1, 1))

    assert jar_of(service.views, JAR_1)[0] == HELD_PAGE_MAX + 1 + more
    assert service.nothing_held()


async def test_a_stream_with_more_behind_it_than_one_page_is_released_whole() -> None:
    service = Service(limits=replace(LIMITS, page=3))
    await service.process().handle(came(JAR_1, *range(2, 12)))

    await service.process().handle(came(JAR_1, 1))

    assert jar_of(service.views, JAR_1)[0] == 11
    assert service.nothing_held()


# ---- own events


def spoil(store: MemoryAppends, stream: str, first: int) -> None:
    """An own event that no release can read as it is."""
    append = store.streams[stream][first]
    events = (StoredEvent(append.events[0].type, {"coins": "Sample Learner 01"}), *append.events[1:])
    store.streams[stream][first] = replace(append, events=events)


async def test_an_own_event_that_cannot_be_folded_is_held_and_its_append_counts_as_folded() -> None:
    store, views, held = MemoryAppends(), MemoryViews(), MemoryHeld()
    await executor(store).execute(JAR, [drop(JAR_1, "k1", 2), drop(JAR_2, "k2", 1)])
    spoil(store, JAR_1, 1)

    assert await own_fold(store, views, held=held).step() == 2

    assert store.marked["unfolded"] == set()
    assert jar_of(views, JAR_2)[0] == 1
    head = held.standing["sample.own", JAR_1]
    assert (head.kind, head.version) == ("poison", 1)
    assert head.error.startswith("jar.dropped.v1 cannot be read: ValidationError")
    assert "Learner" not in head.error
    kept = [held.kept[key] for key in sorted(held.kept)]
    assert [(e.topic, e.version, e.key) for e in kept] == [("appends", v, JAR_1.encode()) for v in (1, 2)]
    assert json.loads(kept[0].value or b"") == {"coins": "Sample Learner 01"}


async def test_a_fix_and_a_redrive_of_own_events_end_as_if_nothing_had_failed() -> None:
    store, views, held = MemoryAppends(), MemoryViews(), MemoryHeld()
    await executor(store).execute(JAR, [drop(JAR_1, "k1", 2)])
    broken = own_fold(store, views, held=held, views_=[replace(JARS, fold=refuses_all)])
    await broken.step()
    await executor(store).execute(JAR, [drop(JAR_1, "k2", 1)])
    await broken.step()
    assert sorted(key[3] for key in held.kept) == [1, 2, 3]

    fixed = own_fold(store, views, held=held)
    await fixed.holding.redrive([JAR_1])

    assert jar_of(views, JAR_1) == (3, JarDocument(shelf="a", coins=3))
    assert (held.kept, held.standing) == ({}, {})


async def test_an_append_is_cleared_only_once_it_is_held() -> None:
    store, held = MemoryAppends(), MemoryHeld()
    await executor(store).execute(JAR, [drop(JAR_1, "k1", 1)])
    spoil(store, JAR_1, 1)

    async def killed(operation: str) -> None:
        if operation == "park head":
            raise RuntimeError("killed")

    held.switch = killed
    with pytest.raises(RuntimeError):
        await own_fold(store, MemoryViews(), held=held).step()

    assert store.marked["unfolded"] == {(JAR_1, 1)}


def refuses_all(_document: Any, _record: Any) -> Any:
    raise ValueError("this release cannot fold it")


# ---- any history


@given(st.data())
async def test_whatever_is_broken_lost_and_repeated_a_fix_and_the_missing_records_end_as_the_clean_run(
    data: st.DataObject,
) -> None:
    streams, versions = [JAR_1, JAR_2, "jar-3--b"], range(1, 6)
    whole = [(s, v) for s in streams for v in versions]
    poison = data.draw(st.sets(st.sampled_from(whole), max_size=3))
    lost = data.draw(st.sets(st.sampled_from(whole), max_size=3))
    service = Service(limits=replace(LIMITS, page=2))
    log = [r for s, v in whole for r in came(s, v, value=b"broken" if (s, v) in poison else b"1") if (s, v) not in lost]
    batches = data.draw(st.lists(st.lists(st.sampled_from(log), min_size=1, max_size=6), max_size=6)) if log else []

    for batch in [*batches, log]:
        await service.process().handle(batch)

    for stream in streams:
        stuck = min([v for s, v in poison | lost if s == stream], default=6)
        assert jar_of(service.views, stream)[0] == stuck - 1
        behind = [v for v in versions if v >= stuck and (stream, v) not in lost]
        assert service.versions(stream) == behind
        assert ((FACTS, stream) in service.held.standing) == bool(behind)
    fixed = service.fixed()
    await fixed.handle([r for s, v in sorted(lost) for r in came(s, v)])
    await fixed.holding.redrive(streams)

    assert all(jar_of(service.views, s) == (5, JarDocument(shelf=s[-1], coins=5)) for s in streams)
    assert service.nothing_held()
