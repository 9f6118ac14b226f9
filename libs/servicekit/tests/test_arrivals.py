"""A query that waits for its token is woken by what arrives, not by looking all the time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from eventcore.event import Recorded
from eventcore.execute import Executor
from eventcore.fold import Folder, View
from eventcore.held import Holding
from eventcore.memory import MemoryAppends, MemoryKeys, MemoryOperations, MemoryTargets, MemoryViews
from eventcore.personal import Keyring
from eventcore.rebuild import NoMarks
from eventcore.store import Finding
from eventcore.token import Tokens
from servicekit.arrivals import Arrivals, TellingMarks, TellingTargets, result_key
from servicekit.call import Call, enter_call
from servicekit.errors import InvalidArgument, TooMuch, Unavailable
from servicekit.kernel import Kernel
from servicekit.load import Room
from servicekit.operations.recording import Recording
from servicekit.scope import Principal, Scope

NOON = datetime(2024, 10, 1, 12, tzinfo=UTC)
TOKENS = Tokens(b"digest key of a test")


class Seen(BaseModel):
    events: int


def _fold(document: Seen | None, _event: Recorded[Any]) -> Seen:
    return Seen(events=(document.events if document else 0) + 1)


SEEN = View("seen", "sample", Seen, _fold)


class Counting(MemoryViews):
    def __init__(self) -> None:
        super().__init__()
        self.loads = 0
        self.looked = asyncio.Event()

    async def load(self, view: str, streams: Sequence[str]) -> Any:
        self.loads += 1
        self.looked.set()
        return await super().load(view, streams)


def kernel_of(
    views: MemoryViews, arrivals: Arrivals, *, deadline_seconds: float, holdings: Sequence[Holding] = ()
) -> Kernel:
    principal = Principal("tester", frozenset({"importer"}), None, frozenset(), frozenset())
    scope = Scope.of(principal, ["importer"])
    enter_call(Call("test", principal, scope, "test", time.monotonic() + deadline_seconds))
    keyring = Keyring(MemoryKeys(), bytes(32), time.monotonic)
    executor = Executor(MemoryAppends(), b"digest key of a test")
    recording = Recording(MemoryOperations(), lambda: NOON)
    return Kernel(executor, views, MemoryTargets(), keyring, lambda: NOON, TOKENS, recording, arrivals, holdings)


async def test_a_waiting_query_is_answered_as_soon_as_its_stream_is_folded_here() -> None:
    views, arrivals = Counting(), Arrivals()
    kernel = kernel_of(views, arrivals, deadline_seconds=30)
    waiting = asyncio.create_task(kernel.caught_up(TOKENS.encode({"sample-1": 1}), views=[SEEN]))
    await asyncio.wait_for(views.looked.wait(), 5)
    folder = Folder([SEEN], views, TellingMarks(NoMarks(), arrivals))
    await folder.fold({"sample-1": [Recorded("sample-1", 1, "event", NOON)]})
    await waiting
    # The first look, the folder's own read, and the look that the fold woke.
    assert views.loads == 3


async def test_what_another_process_folds_is_found_without_being_told() -> None:
    views = Counting()
    kernel = kernel_of(views, Arrivals(), deadline_seconds=30)
    waiting = asyncio.create_task(kernel.caught_up(TOKENS.encode({"sample-1": 1}), views=[SEEN]))
    await asyncio.wait_for(views.looked.wait(), 5)
    await Folder([SEEN], views, NoMarks()).fold({"sample-1": [Recorded("sample-1", 1, "event", NOON)]})
    async with asyncio.timeout(5):
        await waiting


async def test_a_query_that_waits_in_vain_is_told_so_and_leaves_nothing_behind() -> None:
    arrivals = Arrivals()
    kernel = kernel_of(Counting(), arrivals, deadline_seconds=0.4)
    with pytest.raises(Unavailable):
        await kernel.caught_up(TOKENS.encode({"sample-1": 1}), views=[SEEN])
    assert arrivals == Arrivals()


async def test_no_more_queries_wait_than_there_is_room_for_and_one_more_is_told_to_ask_again() -> None:
    views, arrivals = Counting(), Arrivals(Room(2))
    kernel = kernel_of(views, arrivals, deadline_seconds=30)
    token = TOKENS.encode({"sample-1": 1})
    waiting = [asyncio.create_task(kernel.caught_up(token, views=[SEEN])) for _ in range(2)]
    await asyncio.wait_for(views.looked.wait(), 5)
    with pytest.raises(TooMuch, match="ask again") as refusal:
        await kernel.caught_up(token, views=[SEEN])
    assert refusal.value.reason == "too-many-waiting"
    assert refusal.value.retry_after_seconds
    await Folder([SEEN], views, TellingMarks(NoMarks(), arrivals)).fold(
        {"sample-1": [Recorded("sample-1", 1, "event", NOON)]}
    )
    await asyncio.gather(*waiting)
    await kernel.caught_up(token, views=[SEEN])
    assert arrivals == Arrivals(Room(2))


async def test_a_finished_result_is_told_and_one_whose_guard_missed_is_not() -> None:
    arrivals = Arrivals()
    targets = TellingTargets(MemoryTargets(), arrivals)
    await targets.mark("standing", ["t1", "t2"])
    with arrivals.of([result_key("standing", "t1")]) as first, arrivals.of([result_key("standing", "t2")]) as second:
        await targets.finish("standing", [Finding("t1", 1, {}, {}, None), Finding("t2", 7, {}, {}, None)])
        assert (first.is_set(), second.is_set()) == (True, False)


@pytest.mark.parametrize("token", ["made-up", "\ud800", "ü", "\n", Tokens(b"another key").encode({"sample-1": 1})])
async def test_a_token_that_is_not_ours_is_an_invalid_argument_before_anything_is_read(token: str) -> None:
    views = Counting()
    kernel = kernel_of(views, Arrivals(), deadline_seconds=30)
    with pytest.raises(InvalidArgument):
        await kernel.caught_up(token, views=[SEEN])
    assert views.loads == 0
