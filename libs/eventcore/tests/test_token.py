"""Tokens: opaque, signed, bounded, and met only by what really rests on them."""

from __future__ import annotations

import base64
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore import token
from eventcore.limits import TOKEN_BYTES_MAX, TOKEN_STREAMS_MAX
from eventcore.memory import MemoryTargets, MemoryViews
from eventcore.store import Finding, Write

from .sample import JARS, SHELF

JAR_1 = "jar-1--a"
TOKENS = token.Tokens(b"digest key of a test")

versions = st.dictionaries(st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True), st.integers(1, 2**40), max_size=50)


def packed(text: bytes) -> str:
    """Signed with the right key: what is inside must be checked all the same."""
    body = zlib.compress(text)
    return base64.urlsafe_b64encode(TOKENS._signature(body) + body).decode()


@given(versions)
def test_a_token_gives_back_what_it_was_made_of(wanted: dict[str, int]) -> None:
    assert TOKENS.decode(TOKENS.encode(wanted)) == wanted


@given(versions, st.integers(0), st.integers(1, 255))
def test_a_token_with_one_changed_byte_is_refused(wanted: dict[str, int], place: int, change: int) -> None:
    if not wanted:
        return
    raw = bytearray(base64.urlsafe_b64decode(TOKENS.encode(wanted)))
    raw[place % len(raw)] ^= change
    with pytest.raises(token.BadToken):
        TOKENS.decode(base64.urlsafe_b64encode(raw).decode())


def test_a_token_of_ones_own_making_or_of_another_key_is_refused() -> None:
    """Else anybody could ask how far somebody's stream has come."""
    unsigned = base64.urlsafe_b64encode(zlib.compress(b'{"jar-1":1}')).decode()
    for forged in (unsigned, token.Tokens(b"another key").encode({"jar-1": 1}), TOKENS.encode({"jar-1": 1})[:8]):
        with pytest.raises(token.BadToken):
            TOKENS.decode(forged)


@pytest.mark.parametrize("text", ["\ud800", "ü", "A\x00==", "\n", " "])
def test_a_token_that_is_not_printable_ascii_is_refused(text: str) -> None:
    with pytest.raises(token.BadToken):
        TOKENS.decode(text)


def test_nothing_written_is_an_empty_token() -> None:
    assert TOKENS.encode({}) == ""
    assert TOKENS.decode("") == {}


@given(st.text())
def test_a_text_that_is_no_token_is_refused_and_crashes_nothing(text: str) -> None:
    with suppress(token.BadToken):
        assert all(version > 0 for version in TOKENS.decode(text).values())


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
        TOKENS.decode(packed(text))


def naming(streams: int) -> bytes:
    return b"{" + b",".join(b'"jar-%d":1' % n for n in range(streams)) + b"}"


def of_size(size: int) -> bytes:
    return b'{"' + b"j" * (size - 6) + b'":1}'


@pytest.mark.parametrize(
    ("at", "beyond"),
    [
        (naming(TOKEN_STREAMS_MAX), naming(TOKEN_STREAMS_MAX + 1)),
        (of_size(TOKEN_BYTES_MAX), of_size(TOKEN_BYTES_MAX + 1)),
    ],
    ids=["streams", "bytes"],
)
def test_a_token_at_the_limit_is_read_and_one_beyond_it_is_refused(at: bytes, beyond: bytes) -> None:
    assert TOKENS.decode(packed(at))
    with pytest.raises(token.BadToken):
        TOKENS.decode(packed(beyond))


async def test_a_view_meets_a_token_when_it_has_folded_every_version() -> None:
    views = MemoryViews()
    await views.write("jars", [Write(JAR_1, 0, 2, {})])

    assert await token.missing(views, [JARS], {JAR_1: 2}) == {}
    assert await token.missing(views, [JARS], {JAR_1: 3}) == {JAR_1: 3}
    assert await token.missing(views, [JARS], {JAR_1: 1, "jar-2--a": 1}) == {"jar-2--a": 1}
    assert await token.missing(views, [JARS], {"other-1": 9}) == {}, "no view of these folds it"


async def test_a_result_meets_a_token_when_its_basis_has_reached_it() -> None:
    targets = MemoryTargets()

    assert await token.unevaluated(targets, SHELF, "a", {JAR_1: 1}) == {JAR_1: 1}

    await targets.mark("shelves", ["a"])
    await targets.finish("shelves", [Finding("a", 1, {}, {JAR_1: 1}, None)])
    assert await token.unevaluated(targets, SHELF, "a", {JAR_1: 1}) == {}
    assert await token.unevaluated(targets, SHELF, "a", {JAR_1: 2}) == {JAR_1: 2}, "clean is not enough"
    assert await token.unevaluated(targets, SHELF, "a", {"other-1": 9}) == {}, "it does not rest on that"


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
