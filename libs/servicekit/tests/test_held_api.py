"""What operators may do about held streams, and what a privacy officer is told of one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from credence.operations.v1 import held_pb2 as pb
from credence.operations.v1 import privacy_pb2
from eventcore.consume import Consumer, Received
from eventcore.evaluate import Reader
from eventcore.event import Recorded
from eventcore.fold import Folder, View
from eventcore.held import TooManyFaults
from eventcore.memory import MemoryAppends, MemoryHeld, MemoryKeys, MemoryOperations, MemoryTargets, MemoryViews
from eventcore.personal import AboutPerson, Keyring
from eventcore.rebuild import NoMarks
from eventcore.record import PublicEvent, WrongEpoch, encode
from servicekit.call import Call, enter_call
from servicekit.errors import FailedPrecondition, InvalidArgument
from servicekit.operations.held import HeldApi
from servicekit.operations.privacy import PrivacyApi
from servicekit.operations.recording import Recording
from servicekit.person_data import About, PersonData
from servicekit.runtime import _translate as translate
from servicekit.scope import Principal, Scope

from .test_arrivals import NOON, SEEN

FACTS, TOPIC = "sample.facts", "credence.samples.v1"
PEOPLE = View("people", "person", AboutPerson, lambda _document, _event: AboutPerson())
NO_CONTEXT: Any = None


def parse(kind: str, value: bytes) -> str:
    if value == b"broken":
        raise ValueError("broken")
    return value.decode()


def came(stream: str, version: int, value: bytes = b"fine") -> Received:
    event = Recorded(stream, version, value, NOON)
    record = encode(event, PublicEvent("sample.Said", value), topic=TOPIC, source="sample", epoch="e1")
    return Received.of(record, 3, version)


class Desk:
    """The services of one process, on memory, and a caller."""

    def __init__(self) -> None:
        self.views, self.held, self.operations = MemoryViews(), MemoryHeld(), MemoryOperations()
        recording = Recording(self.operations, lambda: NOON)
        self.consumer = Consumer(
            FACTS, Folder([SEEN, PEOPLE], self.views, NoMarks()), self.views, self.held, parse, lambda: NOON
        )
        self.api = HeldApi(self.held, [self.consumer.holding], recording)
        keys = MemoryKeys()

        async def about(_reader: Reader, person: str) -> About:
            return About([f"person-{person}"])

        data = PersonData(
            about,
            [PEOPLE],
            [],
            MemoryAppends(),
            self.views,
            MemoryTargets(),
            Keyring(keys, bytes(32), lambda: 0.0),
            self.held,
            [FACTS],
        )
        self.privacy = PrivacyApi(data, PEOPLE, keys, recording, lambda: "")

    async def receive(self, *records: Received) -> None:
        await self.consumer.handle(records)

    async def ask(self, method: Callable[[Any, Any], Awaitable[Any]], request: Any) -> Any:
        async def within() -> Any:
            principal = Principal("operator-01", frozenset({"operator"}), None, frozenset(), frozenset())
            enter_call(Call("test", principal, Scope.of(principal, ["operator"]), "test", 0.0))
            return await method(request, NO_CONTEXT)

        return await asyncio.create_task(within())


def discarding(stream: str, version: int, **more: Any) -> pb.DiscardHeldRequest:
    return pb.DiscardHeldRequest(consumer=FACTS, stream=stream, version=version, reason="a test", **more)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_persons_stream_is_never_gone_on_without_and_the_refusal_says_what_mends_it(dry_run: bool) -> None:
    desk = Desk()
    await desk.receive(came("person-a", 1), came("person-a", 2, b"broken"))

    with pytest.raises(FailedPrecondition, match="person-a tells of erasures") as refused:
        await desk.ask(desk.api.DiscardHeld, discarding("person-a", 2, dry_run=dry_run))

    assert refused.value.reason == "never-discarded"
    assert "credence republish --service samples --stream person-a" in str(refused.value)
    assert "credence held redrive --consumer sample.facts --stream person-a" in str(refused.value)
    assert not desk.held.discarded
    assert not await desk.operations.list(limit=10), "what was refused was not done"


async def test_an_erasure_is_told_to_wait_for_the_held_stream_that_tells_of_it() -> None:
    desk = Desk()
    request = privacy_pb2.GetErasureRequest(person_id="a")
    assert (await desk.ask(desk.privacy.GetErasure, request)).held_by == ""
    await desk.receive(came("person-a", 2))

    erasure = await desk.ask(desk.privacy.GetErasure, request)

    assert (erasure.held_by, erasure.stream, erasure.destroyed) == (FACTS, "person-a", False)


async def test_a_stream_named_as_no_stream_of_ours_is_listed_shown_and_discarded() -> None:
    desk, stream = Desk(), "sample-blank and ünïcode"
    await desk.receive(came(stream, 2), came("sample-b", 1, b"broken"))

    first = await desk.ask(desk.api.ListHeld, pb.ListHeldRequest(page_size=1))
    second = await desk.ask(desk.api.ListHeld, pb.ListHeldRequest(page_size=1, page_token=first.next_page_token))

    assert [h.stream for h in (*first.streams, *second.streams)] == ["sample-b", stream]
    shown = await desk.ask(desk.api.GetHeld, pb.GetHeldRequest(consumer=FACTS, stream=stream))
    assert [entry.version for entry in shown.entries] == [2]
    answer = await desk.ask(desk.api.DiscardHeld, discarding(stream, 1))
    assert (answer.released.folded, answer.released.stuck_version) == (1, 0)


@pytest.mark.parametrize("stream", ["", "sample-\n", "x" * 301])
async def test_what_cannot_be_a_stream_is_refused_by_name(stream: str) -> None:
    desk = Desk()

    with pytest.raises(InvalidArgument, match="stream"):
        await desk.ask(desk.api.GetHeld, pb.GetHeldRequest(consumer=FACTS, stream=stream))


async def test_groups_are_of_what_is_selected() -> None:
    desk = Desk()
    await desk.receive(came("sample-a", 2), came("sample-b", 1, b"broken"), came("sample-c", 2))

    async def groups(**selected: Any) -> list[tuple[int, int]]:
        request = pb.ListHeldRequest(selection=pb.HeldSelection(**selected))
        return [(g.kind, g.streams) for g in (await desk.ask(desk.api.ListHeld, request)).groups]

    assert await groups() == [(pb.HELD_KIND_GAP, 2), (pb.HELD_KIND_POISON, 1)]
    assert await groups(kind=pb.HELD_KIND_POISON) == [(pb.HELD_KIND_POISON, 1)]
    assert await groups(streams=["sample-a", "sample-b"], kind=pb.HELD_KIND_GAP) == [(pb.HELD_KIND_GAP, 1)]


async def test_a_discard_whose_answer_was_lost_is_answered_as_done() -> None:
    desk = Desk()
    await desk.receive(came("sample-a", 1), came("sample-a", 2, b"broken"), came("sample-a", 4))
    first = await desk.ask(desk.api.DiscardHeld, discarding("sample-a", 2))

    again = await desk.ask(desk.api.DiscardHeld, discarding("sample-a", 2))

    assert (first.released.stuck_version, again.released.stuck_version) == (3, 3)
    assert again.released.error == first.released.error
    await desk.ask(desk.api.DiscardHeld, discarding("sample-a", 3))
    assert not (await desk.ask(desk.api.DiscardHeld, discarding("sample-a", 3))).released.stuck_version
    with pytest.raises(FailedPrecondition, match="it is not held"):
        await desk.ask(desk.api.DiscardHeld, discarding("sample-a", 4))


async def test_a_discard_folds_nothing_to_see_whether_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    await desk.receive(came("sample-a", 2))

    async def never(*_: Any) -> None:
        raise AssertionError("all that is held of a stream may be much")

    monkeypatch.setattr(desk.consumer.holding, "_rehearse", never)

    await desk.ask(desk.api.DiscardHeld, discarding("sample-a", 1))


def test_what_stops_a_redrive_is_told_with_the_way_out() -> None:
    for error, reason in ((WrongEpoch("a is not b"), "wrong-epoch"), (TooManyFaults("600 at once"), "too-many-faults")):
        failure = translate(error)
        assert isinstance(failure, FailedPrecondition)
        assert (failure.reason, failure.message) == (reason, str(error))
