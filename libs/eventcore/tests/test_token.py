"""Tokens: opaque, merged, bounded, and met only by what really rests on them."""

from __future__ import annotations

import base64
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore import token
from eventcore.memory import MemoryTargets, MemoryViews
from eventcore.store import Finding, Write

from .sample import JARS, SHELF

JAR_1 = "jar-1--a"

versions = st.dictionaries(st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True), st.integers(1, 2**40), max_size=50)


def packed(text: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(text)).decode()


@given(versions)
def test_a_token_gives_back_what_it_was_made_of(wanted: dict[str, int]) -> None:
    assert token.decode(token.encode(wanted)) == wanted


@given(versions, versions)
def test_merged_tokens_wait_for_the_later_version_of_each_stream(one: dict[str, int], two: dict[str, int]) -> None:
    merged = token.decode(token.merge([token.encode(one), token.encode(two)]))

    assert merged == {s: max(one.get(s, 0), two.get(s, 0)) for s in {*one, *two}}


def test_nothing_written_is_an_empty_token() -> None:
    assert token.encode({}) == ""
    assert token.decode("") == {}


@given(st.text())
def test_a_text_that_is_no_token_is_refused_and_crashes_nothing(text: str) -> None:
    with suppress(token.BadToken):
        assert all(version > 0 for version in token.decode(text).values())


@pytest.mark.parametrize(
    "text",
    [
        b"not json",
        b"[]",
        b'{"jar-1": 0}',
        b'{"jar-1": -1}',
        b'{"jar-1": "1"}',
        b'{"jar-1": true}',
        b'{"jar-1": 1.5}',
        b'{"jar-1": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 40_000,
        b'"' + b"x" * 50_000_000 + b'"',
        b"{" + b",".join(b'"jar-%d":1' % n for n in range(1001)) + b"}",
    ],
    ids=["text", "list", "zero", "negative", "string", "bool", "float", "huge", "brackets", "deep", "bomb", "streams"],
)
def test_a_well_packed_lie_is_refused(text: bytes) -> None:
    with pytest.raises(token.BadToken):
        token.decode(packed(text))


async def test_a_view_meets_a_token_when_it_has_folded_every_version() -> None:
    views = MemoryViews()
    await views.write("jars", [Write(JAR_1, 0, 2, {})])

    assert await token.folded(views, [JARS], {JAR_1: 2})
    assert not await token.folded(views, [JARS], {JAR_1: 3})
    assert not await token.folded(views, [JARS], {JAR_1: 1, "jar-2--a": 1})
    assert await token.folded(views, [JARS], {"other-1": 9}), "no view of these folds it"


async def test_a_result_meets_a_token_when_its_basis_has_reached_it() -> None:
    targets = MemoryTargets()

    assert not await token.evaluated(targets, SHELF, "a", {JAR_1: 1})

    await targets.mark("shelves", ["a"])
    await targets.finish("shelves", [Finding("a", 1, {}, {JAR_1: 1}, None)])
    assert await token.evaluated(targets, SHELF, "a", {JAR_1: 1})
    assert not await token.evaluated(targets, SHELF, "a", {JAR_1: 2}), "clean is not enough"
    assert await token.evaluated(targets, SHELF, "a", {"other-1": 9}), "it does not rest on that"


async def test_waiting_ends_when_met_or_at_the_deadline() -> None:
    looks = iter([False, False, True])
    left = iter([True, True, False])

    async def met() -> bool:
        return next(looks)

    async def never() -> bool:
        return False

    async def pause() -> bool:
        return next(left)

    async def endless() -> bool:
        return True

    assert await token.until(met, endless)
    assert not await token.until(never, pause)
