"""What a request may say and an answer holds: at each limit it is taken, beyond it it is refused naming the field, or
the page ends there."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from credence.operations.v1 import held_pb2, log_pb2, views_pb2
from eventcore.held import Released
from eventcore.limits import TOKEN_STREAMS_MAX
from eventcore.memory import MemoryAppends, MemoryHeld, MemoryOperations
from eventcore.store import Entry, Head
from servicekit import limits
from servicekit.arrivals import Arrivals
from servicekit.batches import rows
from servicekit.errors import InvalidArgument, Unauthenticated
from servicekit.operations.held import HeldApi
from servicekit.operations.log import LogApi
from servicekit.operations.recording import Recording, check_reason
from servicekit.operations.views import _check as check_views
from servicekit.pages import page
from servicekit.violations import Violations

from .test_arrivals import SEEN, TOKENS, Counting, kernel_of
from .test_tokens import verifier

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONSUMER = "sample.facts"


def reason(length: int) -> None:
    found = Violations()
    check_reason(found, "x" * length)
    found.raise_if_any()


def page_token(length: int) -> None:
    """A token is of four characters for every three bytes: those of other lengths are none of ours."""
    asked = page(0, "", query="q")
    page(0, next(t for n in range(length) if len(t := asked.token("x" * n)) >= length), query="q")


def republished(streams: int) -> None:
    appends = MemoryAppends()
    api = LogApi(appends, appends, ["sample"], RECORDING, wake=lambda: None, problem=lambda: "")
    api._check(log_pb2.RepublishRequest(reason="why", streams=["sample-1"] * streams))


def selected(streams: int) -> None:
    api = HeldApi(MemoryHeld(), [], RECORDING)
    api._check(held_pb2.HeldSelection(streams=["sample-1"] * streams))


def rebuilt(**said: Any) -> None:
    check_views(views_pb2.RebuildViewsRequest(reason="why", **said))


def epochs(many: int) -> dict[str, str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return {f"credence/{letters[n // 26]}{letters[n % 26]}": "0" for n in range(many)}


RECORDING = Recording(MemoryOperations(), lambda: NOON)
TABLE: tuple[tuple[str, int, Callable[[int], Any]], ...] = (
    ("rows", limits.ROWS_MAX, lambda n: rows(range(n))),
    ("reason", limits.REASON_CHARS_MAX, reason),
    ("page_token", limits.PAGE_TOKEN_CHARS_MAX, page_token),
    ("streams", limits.SELECTED_STREAMS_MAX, republished),
    ("selection.streams", limits.SELECTED_STREAMS_MAX, selected),
    ("views", limits.VIEWS_NAMED_MAX, lambda n: rebuilt(views=["v"] * n)),
    ("accept_epochs", limits.VIEWS_NAMED_MAX, lambda n: rebuilt(accept_epochs=epochs(n))),
)


@pytest.mark.parametrize(("field", "most", "ask"), TABLE, ids=[field for field, *_ in TABLE])
def test_a_request_at_the_limit_is_taken_and_one_beyond_it_is_refused_by_name(
    field: str, most: int, ask: Callable[[int], Any]
) -> None:
    ask(most)
    with pytest.raises(InvalidArgument) as refused:
        ask(most + 1)
    assert [name for name, _ in refused.value.violations] == [field]


async def test_what_a_query_waits_for_is_named_up_to_the_limit() -> None:
    kernel = kernel_of(Counting(), Arrivals(), deadline_seconds=30)
    await kernel.caught_up(TOKENS.encode({f"other-{n}": 1 for n in range(TOKEN_STREAMS_MAX)}), views=[SEEN])
    with pytest.raises(InvalidArgument) as refused:
        await kernel.caught_up(TOKENS.encode({f"other-{n}": 1 for n in range(TOKEN_STREAMS_MAX + 1)}), views=[SEEN])
    assert [name for name, _ in refused.value.violations] == ["token"]


def padded(issuer: Any, length: int) -> str:
    """A good token of exactly this length: no part of it comes in every length, two parts together do."""
    for more in range(4):
        headers = {"pad": "x" * more}
        about = (length - len(issuer.token(headers=headers, pad=""))) * 3 // 4
        for n in range(about - 4, about + 4):
            token: str = issuer.token(headers=headers, pad="x" * n)
            if len(token) == length:
                return token
    raise AssertionError(f"no token is {length} characters long")


async def test_a_bearer_token_is_taken_up_to_its_length(issuer: Any) -> None:
    await verifier(issuer).verify(padded(issuer, limits.ACCESS_TOKEN_CHARS_MAX))
    with pytest.raises(Unauthenticated, match="longer than 8192 characters"):
        await verifier(issuer).verify(padded(issuer, limits.ACCESS_TOKEN_CHARS_MAX + 1))


async def test_a_bearer_token_is_taken_up_to_its_lifetime(issuer: Any) -> None:
    now = int(time.time())
    await verifier(issuer).verify(issuer.token(iat=now, exp=now + limits.ACCESS_TOKEN_SECONDS_MAX))
    with pytest.raises(Unauthenticated, match="longer than 15 minutes"):
        await verifier(issuer).verify(issuer.token(iat=now, exp=now + limits.ACCESS_TOKEN_SECONDS_MAX + 1))


# ---- pages


def entries(sizes: list[int]) -> list[Entry]:
    return [
        Entry(CONSUMER, "e1", "sample-1", n, "samples.v1", 0, n, None, (), b"x" * size, NOON)
        for n, size in enumerate(sizes, start=1)
    ]


class Standing:
    """A consumer whose streams stay held, however often they are tried."""

    consumer = CONSUMER

    async def redrive(self, streams: list[str], *, dry_run: bool) -> list[Released]:
        return [Released(stream, 0, None) for stream in streams]


async def holding(kept: list[Entry], *, heads: int = 1) -> HeldApi:
    store = MemoryHeld()
    await store.keep(kept)
    names = [f"sample-{n}" for n in range(1, heads + 1)]
    await store.park([Head(CONSUMER, name, "e1", "poison", 1, "broken", NOON, NOON) for name in names])
    return HeldApi(store, [Standing()], RECORDING)  # type: ignore[list-item]


HALF = limits.HELD_ENTRIES_BYTES_MAX // 2


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        ([1] * limits.HELD_ENTRIES_MAX, limits.HELD_ENTRIES_MAX),
        ([1] * (limits.HELD_ENTRIES_MAX + 1), limits.HELD_ENTRIES_MAX),
        ([HALF, HALF], 2),
        ([HALF, HALF + 1], 1),
        ([2 * HALF + 1, 1], 1),
    ],
    ids=["as many as fit", "one more", "as large as fits", "a byte more", "one that is larger alone"],
)
async def test_a_page_of_what_is_held_ends_at_its_limit_and_has_a_token_for_the_next(
    sizes: list[int], shown: int
) -> None:
    api = await holding(entries(sizes))
    context: Any = None
    asking = held_pb2.GetHeldRequest(consumer=CONSUMER, stream="sample-1", page_size=limits.PAGE_SIZE_MAX)
    first = await api.GetHeld(asking, context)
    assert len(first.entries) == shown
    assert bool(first.next_page_token) == (shown < len(sizes))
    if first.next_page_token:
        asking.page_token = first.next_page_token
        rest = await api.GetHeld(asking, context)
        assert [e.version for e in (*first.entries, *rest.entries)] == list(range(1, len(sizes) + 1))
        assert not rest.next_page_token


@pytest.mark.parametrize("more", [0, 1])
async def test_one_call_tries_as_many_held_streams_as_its_limit_and_says_how_to_go_on(more: int) -> None:
    api = await holding([], heads=limits.REDRIVEN_AT_ONCE_MAX + more)
    context: Any = None
    asking = held_pb2.RedriveHeldRequest(dry_run=True, page_size=limits.PAGE_SIZE_MAX)
    answer = await api.RedriveHeld(asking, context)
    assert (len(answer.tried), bool(answer.next_page_token)) == (limits.REDRIVEN_AT_ONCE_MAX, bool(more))


def test_a_page_has_as_many_items_as_its_limit() -> None:
    assert page(limits.PAGE_SIZE_MAX, "", query="q").size == limits.PAGE_SIZE_MAX
    assert page(limits.PAGE_SIZE_MAX + 1, "", query="q").size == limits.PAGE_SIZE_MAX
