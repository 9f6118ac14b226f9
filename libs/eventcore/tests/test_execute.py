"""Decide: one answer per command, whatever the store does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore.decider import Refusal
from eventcore.event import StoredEvent
from eventcore.execute import Limits
from eventcore.limits import COMMAND_ATTEMPTS_MAX
from eventcore.memory import MemoryAppends
from eventcore.outcome import Status
from eventcore.store import Append

from .sample import JAR, Dropped, FatedAppends, Jar, JarCommand, JarEvent, Seal, Sealed, drop, executor, seal

pytestmark = pytest.mark.timeout(60)

JAR_1, JAR_2 = "jar-1--a", "jar-2--a"


def events_of(store: MemoryAppends, stream: str = JAR_1) -> int:
    return sum(len(append.events) for append in store.streams.get(stream, {}).values())


async def test_commands_of_many_streams_are_answered_in_their_order() -> None:
    store = MemoryAppends()

    outcomes = await executor(store).execute(JAR, [drop(JAR_2, "a"), drop(JAR_1, "b", 2), drop(JAR_2, "c")])

    assert [(o.status, o.stream, o.version) for o in outcomes] == [
        (Status.ACCEPTED, JAR_2, 1),
        (Status.ACCEPTED, JAR_1, 2),
        (Status.ACCEPTED, JAR_2, 2),
    ]
    assert len(store.streams[JAR_2]) == 1, "one append per stream"


async def test_a_command_is_decided_on_what_its_predecessor_in_the_batch_left() -> None:
    outcomes = await executor(MemoryAppends()).execute(JAR, [drop(JAR_1, "a"), seal(JAR_1, "b"), drop(JAR_1, "c")])

    assert [o.status for o in outcomes] == [Status.ACCEPTED, Status.ACCEPTED, Status.REFUSED]
    assert outcomes[2].refusal is not None
    assert outcomes[2].refusal.code == "jar-sealed"
    assert outcomes[2].refusal.fields == (("coins", "no room"),)


async def test_what_is_so_already_stores_nothing() -> None:
    store = MemoryAppends()
    await executor(store).execute(JAR, [seal(JAR_1, "a")])

    (outcome,) = await executor(store).execute(JAR, [seal(JAR_1, "b")])

    assert (outcome.status, outcome.version) == (Status.UNCHANGED, 1)
    assert events_of(store) == 1


async def test_the_same_id_again_gets_the_first_answer() -> None:
    store = MemoryAppends()
    await executor(store).execute(JAR, [drop(JAR_1, "a", 2)])
    await executor(store).execute(JAR, [drop(JAR_1, "b")])

    (outcome,) = await executor(store).execute(JAR, [drop(JAR_1, "a", 2)])

    assert (outcome.status, outcome.version) == (Status.REPLAYED, 2)
    assert events_of(store) == 3


async def test_the_same_id_with_another_body_is_a_conflict() -> None:
    store = MemoryAppends()
    await executor(store).execute(JAR, [drop(JAR_1, "a")])

    (outcome,) = await executor(store).execute(JAR, [drop(JAR_1, "a", note="another")])

    assert (outcome.status, outcome.version) == (Status.CONFLICT, 1)
    assert events_of(store) == 1


async def test_the_same_id_on_another_stream_is_another_command() -> None:
    outcomes = await executor(MemoryAppends()).execute(JAR, [drop(JAR_1, "a"), drop(JAR_2, "a")])

    assert [o.status for o in outcomes] == [Status.ACCEPTED, Status.ACCEPTED]


async def test_a_twin_in_one_batch_is_stored_once() -> None:
    store = MemoryAppends()

    outcomes = await executor(store).execute(JAR, [drop(JAR_1, "a"), drop(JAR_1, "a"), drop(JAR_1, "a", 2)])

    assert [(o.status, o.version) for o in outcomes] == [
        (Status.ACCEPTED, 1),
        (Status.REPLAYED, 1),
        (Status.CONFLICT, 1),
    ]
    assert events_of(store) == 1


async def test_a_refusal_stores_nothing_and_is_decided_afresh() -> None:
    store = MemoryAppends()
    await executor(store).execute(JAR, [seal(JAR_1, "a")])
    (refused,) = await executor(store).execute(JAR, [drop(JAR_1, "b")])
    store.streams.clear()

    (again,) = await executor(store).execute(JAR, [drop(JAR_1, "b")])

    assert (refused.status, again.status) == (Status.REFUSED, Status.ACCEPTED)


async def test_a_command_decided_on_an_old_version_is_dropped() -> None:
    store = MemoryAppends()
    await executor(store).execute(JAR, [drop(JAR_1, "a")])

    old, current = await executor(store).execute(JAR, [drop(JAR_1, "b", expected=0), drop(JAR_1, "c", expected=1)])

    assert (old.status, old.version) == (Status.DROPPED, 1)
    assert (current.status, current.version) == (Status.ACCEPTED, 2)


async def test_a_lost_race_is_decided_again_on_what_won() -> None:
    store = MemoryAppends()

    class Raced(MemoryAppends):
        raced = False

        async def load(self, streams: Sequence[str]) -> dict[str, list[Append]]:
            found = await store.load(streams)
            if not self.raced:
                self.raced = True
                await executor(store).execute(JAR, [seal(JAR_1, "winner")])
            return found

        def store(self, append: Append):  # type: ignore[no-untyped-def]
            return store.store(append)

    pauses: list[int] = []

    async def pause(attempt: int) -> None:
        pauses.append(attempt)

    (outcome,) = await executor(Raced(), pause=pause).execute(JAR, [drop(JAR_1, "loser")])

    assert (outcome.status, outcome.version) == (Status.REFUSED, 1)
    assert pauses == [1]


async def test_a_command_that_keeps_losing_is_aborted_after_its_attempts() -> None:
    class AlwaysTaken(MemoryAppends):
        async def load(self, streams: Sequence[str]) -> dict[str, list[Append]]:
            return {}

    store = AlwaysTaken()
    await executor(store).execute(JAR, [drop(JAR_1, "a")])

    (outcome,) = await executor(store, limits=Limits(attempts=3)).execute(JAR, [drop(JAR_1, "b")])

    assert outcome.status is Status.ABORTED


@pytest.mark.parametrize(
    ("races", "status"), [(COMMAND_ATTEMPTS_MAX - 1, Status.ACCEPTED), (COMMAND_ATTEMPTS_MAX, Status.ABORTED)]
)
async def test_a_command_may_lose_all_races_but_its_last_and_sent_again_it_is_stored(
    races: int, status: Status
) -> None:
    class Raced(MemoryAppends):
        left = 0

        async def load(self, streams: Sequence[str]) -> dict[str, list[Append]]:
            """Before another wrote, as long as there are races left."""
            self.left -= 1
            return {} if self.left >= 0 else await super().load(streams)

    store = Raced()
    run = executor(store)
    await run.execute(JAR, [drop(JAR_1, "a")])

    store.left = races
    (outcome,) = await run.execute(JAR, [drop(JAR_1, "b")])
    assert outcome.status is status
    (again,) = await run.execute(JAR, [drop(JAR_1, "b")])
    assert (again.status, again.version) == (Status.REPLAYED if status is Status.ACCEPTED else Status.ACCEPTED, 2)
    assert events_of(store) == 2


async def test_a_write_without_an_answer_that_was_stored_is_accepted_once() -> None:
    store = FatedAppends(fates=["no reply"])

    (outcome,) = await executor(store).execute(JAR, [drop(JAR_1, "a")])

    assert (outcome.status, outcome.version) == (Status.ACCEPTED, 1)
    assert events_of(store) == 1


async def test_a_write_without_an_answer_that_was_lost_is_written_again() -> None:
    store = FatedAppends(fates=["lost", "lost"])

    (outcome,) = await executor(store).execute(JAR, [drop(JAR_1, "a")])

    assert (outcome.status, outcome.version) == (Status.ACCEPTED, 1)


async def test_a_late_write_and_its_repetition_meet_in_one_slot() -> None:
    store = FatedAppends(fates=["late"])

    (outcome,) = await executor(store).execute(JAR, [drop(JAR_1, "a")])
    store.land()

    assert outcome.status is Status.ACCEPTED
    assert events_of(store) == 1


async def test_a_store_that_never_answers_leaves_the_answer_unknown() -> None:
    store = FatedAppends(fates=["late"] * 9)

    (outcome,) = await executor(store, limits=Limits(attempts=3)).execute(JAR, [drop(JAR_1, "a")])
    store.land()
    (again,) = await executor(FatedAppends(streams=store.streams)).execute(JAR, [drop(JAR_1, "a")])

    assert outcome.status is Status.UNKNOWN
    assert (again.status, again.version) == (Status.REPLAYED, 1)
    assert events_of(store) == 1


async def test_a_store_that_cannot_be_read_leaves_every_answer_unknown() -> None:
    outcomes = await executor(FatedAppends(loads_fail=1)).execute(JAR, [drop(JAR_1, "a"), drop(JAR_2, "b")])

    assert [o.status for o in outcomes] == [Status.UNKNOWN, Status.UNKNOWN]


async def test_an_append_without_an_answer_spoils_no_other_stream() -> None:
    store = FatedAppends(fates=["lost", "stored", "lost", "lost"])

    lost, stored = await executor(store, limits=Limits(attempts=3)).execute(JAR, [drop(JAR_1, "a"), drop(JAR_2, "b")])

    assert (lost.status, stored.status) == (Status.UNKNOWN, Status.ACCEPTED)


async def test_an_append_too_large_is_cut_between_commands() -> None:
    store = MemoryAppends()

    outcomes = await executor(store, limits=Limits(append_bytes=30)).execute(
        JAR, [drop(JAR_1, name, 2) for name in "abc"]
    )

    assert [(o.status, o.version) for o in outcomes] == [(Status.ACCEPTED, v) for v in (2, 4, 6)]
    assert {append.id for append in store.streams[JAR_1].values()} == {f"{JAR_1}@{first}" for first in (1, 3, 5)}


async def test_an_event_too_large_to_publish_is_refused_before_it_is_stored() -> None:
    store = MemoryAppends()

    outcomes = await executor(store, limits=Limits(event_bytes=5)).execute(JAR, [drop(JAR_1, "a"), seal(JAR_1, "b")])

    assert [o.status for o in outcomes] == [Status.REFUSED, Status.ACCEPTED]
    assert outcomes[0].refusal is not None
    assert outcomes[0].refusal.code == "event-too-large"


async def test_a_command_too_large_for_one_document_is_refused_and_one_at_the_limit_is_not() -> None:
    store = MemoryAppends()
    size = len('{"coins": 1}')

    outcomes = await executor(store, limits=Limits(command_bytes=2 * size)).execute(
        JAR, [drop(JAR_1, "a", 3), drop(JAR_1, "b", 2)]
    )

    assert [(o.status, o.version) for o in outcomes] == [(Status.REFUSED, 0), (Status.ACCEPTED, 2)]
    assert outcomes[0].refusal is not None
    assert (outcomes[0].refusal.code, "send less at once" in outcomes[0].refusal.message) == ("event-too-large", True)


class Emptied(Sealed):
    """An end of what was begun."""

    ends = True


async def test_a_full_history_takes_no_more_and_says_so_but_what_ends_something_it_takes() -> None:
    store = MemoryAppends()

    def decide(command: JarCommand, state: Jar, now: datetime) -> Sequence[JarEvent] | Refusal:
        return [Emptied()] if isinstance(command, Seal) else JAR.decide(command, state, now)

    jar = replace(JAR, events=(Dropped, Emptied), decide=decide, events_max=3)
    outcomes = await executor(store).execute(
        jar, [drop(JAR_1, "a", 2), drop(JAR_1, "b", 2), drop(JAR_1, "c"), drop(JAR_1, "d"), seal(JAR_1, "e")]
    )

    assert [(o.status.value, o.version) for o in outcomes] == [
        ("accepted", 2), ("refused", 2), ("accepted", 3), ("refused", 3), ("accepted", 4),
    ]  # fmt: skip
    refusal = outcomes[3].refusal
    assert refusal is not None
    assert refusal.code == "history-full"
    assert "3 events" in refusal.message
    assert "go on with another one" in refusal.message
    again = await executor(store).execute(jar, [drop(JAR_1, "a", 2)])
    assert again[0].status is Status.REPLAYED


async def test_recorded_never_runs_backwards_within_a_stream() -> None:
    store = MemoryAppends()
    early = drop(JAR_1, "a")
    await executor(store).execute(JAR, [replace(early, now=early.now + timedelta(hours=1))])

    await executor(store).execute(JAR, [drop(JAR_1, "b")])

    first, second = (store.streams[JAR_1][n].recorded for n in (1, 2))
    assert second >= first


async def test_delivery_is_told_which_streams_grew() -> None:
    grown: list[str] = []

    await executor(MemoryAppends(), stored=grown.extend).execute(JAR, [drop(JAR_1, "a"), drop(JAR_2, "b", 0)])

    assert grown == [JAR_1]


async def test_delivery_is_told_also_of_what_was_stored_without_an_answer() -> None:
    grown: list[str] = []

    await executor(FatedAppends(fates=["no reply"]), stored=grown.extend).execute(JAR, [drop(JAR_1, "a")])

    assert grown == [JAR_1]


async def test_a_stream_that_cannot_be_read_spoils_no_other(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryAppends()
    await executor(store).execute(JAR, [drop(JAR_1, "a")])
    kept = store.streams[JAR_1][1]
    broken = StoredEvent(kept.events[0].type, {"coins": "Sample Learner 01"})
    store.streams[JAR_1][1] = replace(kept, events=(broken,))

    spoilt, other = await executor(store).execute(JAR, [drop(JAR_1, "b"), drop(JAR_2, "c")])

    assert (spoilt.status, other.status) == (Status.UNKNOWN, Status.ACCEPTED)
    assert spoilt.refusal is not None
    assert spoilt.refusal.code == "unreadable"
    assert "stream-unreadable" in caplog.text
    assert "Learner" not in caplog.text + spoilt.refusal.message


commands = st.lists(st.one_of(st.integers(0, 3).map(lambda n: ("drop", n)), st.just(("seal", 0))), max_size=12)


@given(commands, st.lists(st.sampled_from(["stored", "no reply", "lost"]), max_size=8), st.data())
async def test_one_batch_ends_as_its_commands_one_by_one(
    wanted: list[tuple[str, int]], fates: list[str], data: st.DataObject
) -> None:
    requests = [
        drop(JAR_1, f"k{i}", n) if kind == "drop" else seal(JAR_1, f"k{i}") for i, (kind, n) in enumerate(wanted)
    ]
    cut = data.draw(st.integers(0, len(requests)))
    single, batched = MemoryAppends(), FatedAppends(fates=list(fates))

    expected = [(await executor(single).execute(JAR, [r]))[0] for r in requests]
    run = executor(batched, limits=Limits(attempts=20, append_bytes=data.draw(st.sampled_from([1, 40, 1000]))))
    outcomes = await run.execute(JAR, requests[:cut]) + await run.execute(JAR, requests[cut:])

    if "no reply" not in fates:
        assert [(o.status, o.version) for o in outcomes] == [(o.status, o.version) for o in expected]
    # After an unanswered write that was stored, what stored nothing is decided afresh, behind its own successors.
    stored = [(o.status, o.version) for o in outcomes if o.status is Status.ACCEPTED]
    assert stored == [(o.status, o.version) for o in expected if o.status is Status.ACCEPTED]
    assert await run.states(JAR, [JAR_1]) == await executor(single).states(JAR, [JAR_1])


@given(commands)
async def test_the_state_of_any_prefix_and_then_the_rest_is_the_state_of_all(wanted: list[tuple[str, int]]) -> None:
    store = MemoryAppends()
    run = executor(store)
    for i, (kind, n) in enumerate(wanted):
        await run.execute(JAR, [drop(JAR_1, f"k{i}", n) if kind == "drop" else seal(JAR_1, f"k{i}")])
    events = [e for _, a in sorted(store.streams.get(JAR_1, {}).items()) for e in a.events]

    def replay(state: Jar, stored: list[object], start: int) -> Jar:
        for version, event in enumerate(stored, start=start + 1):
            state = JAR.evolve(state, JAR.codec.decode(event), version)  # type: ignore[arg-type]
        return state

    whole = replay(JAR.initial, list(events), 0)
    for cut in range(len(events) + 1):
        assert replay(replay(JAR.initial, list(events[:cut]), 0), list(events[cut:]), cut) == whole
    assert (await run.states(JAR, [JAR_1]))[JAR_1] == (len(events), whole)
