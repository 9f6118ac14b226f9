"""Which tokens count."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import jwt
import pytest

from servicekit.auth import TokenVerifier, recorded_as
from servicekit.errors import Unauthenticated, Unavailable
from servicekit.keys import KeysUnavailable, SigningKeys
from servicekit.limits import JWKS_BYTES_MAX

ISSUER = "https://issuer.test"


def verifier(issuer: Any, *, development: bool = False, **keys: Any) -> TokenVerifier:
    return TokenVerifier(
        SigningKeys(str(issuer.jwks), **keys),
        issuer=ISSUER,
        audience="credence",
        development=development,
        pseudonym_key=b"a key of a test",
    )


def unsigned(header: dict[str, Any], claims: dict[str, Any], key: bytes = b"") -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    signing_input = b".".join(parts)
    signature = hmac.digest(key, signing_input, hashlib.sha256) if key else b""
    return b".".join([signing_input, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


async def refusal(issuer: Any, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await verifier(issuer).verify(token)
    return caught.value.message


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
async def test_a_good_token_of_each_allowed_algorithm_says_who_calls(issuer: Any, algorithm: str) -> None:
    issuer.publish("key-2", algorithm)
    token = issuer.token(
        "key-2", roles=["provider", "learner", "someone-elses-role"], person="person-1", providers=["provider-1"]
    )
    principal = await verifier(issuer).verify(token)
    assert principal.subject == "person-person-1"
    assert principal.roles == {"provider", "learner"}
    assert principal.person == "person-1"
    assert principal.providers == {"provider-1"}


@pytest.mark.parametrize("sub", ["sample.tutor.01@example.org", "Sample-Tutor-01", "idp|01", "x" * 65])
async def test_what_is_recorded_of_a_caller_says_nothing_of_them(issuer: Any, sub: str) -> None:
    one, again, other, plain, learner = [
        (await verifier(issuer).verify(issuer.token(**claims))).subject
        for claims in (
            {"sub": sub},
            {"sub": sub},
            {"sub": f"{sub[:-1]}2"},
            {"sub": "sample-tutor-01"},
            {"sub": sub, "roles": ["learner"], "person": "learner-01"},
        )
    ]
    assert one == again
    assert one != other
    assert re.fullmatch(r"sub-[0-9a-f]{24}", one)
    assert one != recorded_as(sub, None, b"another key")
    assert (plain, learner) == ("sample-tutor-01", "person-learner-01")


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": -60, "iat": -600}, "expired"),
        ({"aud": "another"}, "another audience"),
        ({"aud": None}, "`aud`"),
        ({"iss": "https://elsewhere.test"}, "another issuer"),
        ({"iat": None}, "`iat`"),
        ({"exp": None}, "`exp`"),
        ({"sub": None}, "`sub`"),
        ({"sub": "white space"}, "sub"),
        ({"exp": 3600}, "longer than 15 minutes"),
        ({"iat": 300}, "not valid yet"),
        ({"roles": None}, "roles"),
        ({"roles": ["emperor"]}, "no role of this platform"),
        ({"roles": ["learner"]}, "`person`"),
        ({"roles": ["provider"]}, "`providers`"),
        ({"roles": ["assessor"]}, "`bodies`"),
        ({"person": "Not An Id"}, "person"),
    ],
)
async def test_a_token_with_wrong_claims_is_refused_and_told_why(
    issuer: Any, claims: dict[str, Any], said: str
) -> None:
    # Instants are seconds from now: the tests of a long run come long after they were collected.
    now = int(time.time())
    claims = {name: now + value if isinstance(value, int) else value for name, value in claims.items()}
    assert said in await refusal(issuer, issuer.token(**claims))


async def test_a_token_without_a_signature_is_refused(issuer: Any) -> None:
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    assert "algorithm" in await refusal(issuer, unsigned({"alg": "none", "kid": "key-1"}, claims))


async def test_a_token_signed_with_the_public_key_as_a_shared_secret_is_refused(issuer: Any) -> None:
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    public = base64.urlsafe_b64decode(issuer.published["key-1"]["x"] + "=")
    assert "algorithm" in await refusal(issuer, unsigned({"alg": "HS256", "kid": "key-1"}, claims, public))


async def test_a_shared_secret_in_the_key_set_never_verifies(issuer: Any) -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    issuer.published["shared"] = {"kty": "oct", "kid": "shared", "k": base64.urlsafe_b64encode(secret).decode()}
    issuer.write()
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    for algorithm in ("HS256", "EdDSA"):
        message = await refusal(issuer, unsigned({"alg": algorithm, "kid": "shared"}, claims, secret))
        assert "algorithm" in message or "does not publish" in message


async def test_a_token_may_not_choose_another_algorithm_than_its_keys(issuer: Any) -> None:
    issuer.publish("key-2", "ES256")
    issuer.keys["key-2"] = issuer.keys["key-1"]
    assert "algorithm" in await refusal(issuer, issuer.token("key-2"))


async def test_a_token_signed_by_somebody_else_is_refused(issuer: Any) -> None:
    published = dict(issuer.published)
    issuer.publish("key-1", "EdDSA")
    issuer.published = published
    issuer.write()
    assert "signature" in await refusal(issuer, issuer.token())


@pytest.mark.parametrize("nonsense", ["x", "a.b.c", "....", "a" * 9000, "é.é.é"])
async def test_what_is_no_token_is_refused(issuer: Any, nonsense: str) -> None:
    assert await refusal(issuer, nonsense)


@pytest.mark.parametrize("how", ["by its kid", "by its profile"])
async def test_a_development_key_counts_in_the_development_profile_only(issuer: Any, how: str) -> None:
    kid = "dev-1" if how == "by its kid" else "key-9"
    issuer.publish(kid, "EdDSA", **({} if how == "by its kid" else {"use_profile": "development"}))
    token = issuer.token(kid)
    assert "development key" in await refusal(issuer, token)
    assert (await verifier(issuer, development=True).verify(token)).subject == "sample-subject-01"


async def test_a_new_key_is_found_without_a_restart_and_invented_keys_are_not_looked_up_again_and_again(
    issuer: Any,
) -> None:
    now = [0.0]
    check = verifier(issuer, clock=lambda: now[0])
    await check.verify(issuer.token())
    issuer.publish("key-2", "EdDSA")
    now[0] = 1.0  # within the cool-down: not looked up
    with pytest.raises(Unauthenticated):
        await check.verify(issuer.token("key-2"))
    now[0] = 10.0
    assert await check.verify(issuer.token("key-2"))


async def test_keys_that_cannot_be_refreshed_hold_for_a_while_and_then_no_longer(issuer: Any) -> None:
    now = [0.0]
    check = verifier(issuer, clock=lambda: now[0])
    token = issuer.token()
    await check.verify(token)
    issuer.jwks.unlink()
    now[0] = 1000.0
    assert await check.verify(token)
    now[0] = 4000.0
    with pytest.raises(Unavailable):
        await check.verify(token)


@pytest.mark.parametrize(
    "content", ["", "{}", '{"keys": []}', '{"keys": 3}', "[1]", '{"keys": [1, {"kty": "OKP"}]}', "[" * 100_000]
)
async def test_a_key_set_without_a_usable_key_is_said_to_be_one(issuer: Any, content: str) -> None:
    issuer.jwks.write_text(content)
    with pytest.raises(KeysUnavailable, match=r"jwks\.json"):
        await SigningKeys(str(issuer.jwks)).load()


@asynccontextmanager
async def issuing(*answers: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """An HTTP server on loopback that gives these answers, one after another; its address."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with suppress(ConnectionError):
            await left.pop(0)(writer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NO_PROXY", "127.0.0.1")
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"
    server.close()
    await server.wait_closed()


def whole(content: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)

    return answer


def without_end(
    start: bytes, more: bytes, pause: float, *, chunked: bool = False
) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    def part(content: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(content), content) if chunked else content

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + (b"Transfer-Encoding: chunked\r\n" if chunked else b"") + b"\r\n")
        writer.write(part(start))
        while True:
            writer.write(part(more))
            await writer.drain()
            await asyncio.sleep(pause)

    return answer


async def elsewhere(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/jwks\r\nContent-Length: 0\r\n\r\n")


async def nonsense(writer: asyncio.StreamWriter) -> None:
    writer.write(b"a JWKS, but not over HTTP\r\n\r\n")


async def test_keys_come_from_a_url_too_and_a_redirect_is_not_followed(issuer: Any) -> None:
    async with issuing(elsewhere, nonsense, whole(issuer.jwks.read_bytes())) as url:
        keys = SigningKeys(url)
        for _ in range(2):
            with pytest.raises(KeysUnavailable, match="cannot be read"):
                await keys.load()
        await keys.load()
        key = await keys.find("key-1")
    assert key is not None
    assert key.algorithm == "EdDSA"


@pytest.mark.parametrize("kind", ["file", "url"])
async def test_keys_are_read_up_to_their_limit_and_not_a_byte_beyond(issuer: Any, kind: str) -> None:
    """Spaces at the end say nothing, and yet they are refused: whatever stands there would have to be read."""
    known = issuer.jwks.read_bytes()
    most, more = known.ljust(JWKS_BYTES_MAX), known.ljust(JWKS_BYTES_MAX + 1)
    async with issuing(whole(most), whole(more)) as url:
        keys = SigningKeys(url if kind == "url" else str(issuer.jwks))
        issuer.jwks.write_bytes(most)
        await keys.load()
        issuer.jwks.write_bytes(more)
        with pytest.raises(KeysUnavailable, match="larger than 1,000,000 bytes: remove old keys"):
            await keys.load()
        assert await keys.find("key-1"), "those that were read before still count"


@pytest.mark.parametrize("chunked", [False, True], ids=["to the end", "in chunks"])
async def test_an_answer_that_never_ends_is_read_no_further_than_the_limit(issuer: Any, chunked: bool) -> None:
    async with issuing(without_end(issuer.jwks.read_bytes(), b" " * 50_000, 0, chunked=chunked)) as url:
        async with asyncio.timeout(10):
            with pytest.raises(KeysUnavailable, match="larger than"):
                await SigningKeys(url).load()


@pytest.mark.parametrize("chunked", [False, True], ids=["to the end", "in chunks"])
async def test_an_answer_that_drips_without_end_is_given_up_in_time(
    issuer: Any, chunked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servicekit.keys.FETCH_SECONDS_MAX", 0.3)
    async with issuing(without_end(issuer.jwks.read_bytes(), b" ", 0.02, chunked=chunked)) as url:
        async with asyncio.timeout(10):
            with pytest.raises(KeysUnavailable, match=r"not whole after 0\.3 s"):
                await SigningKeys(url).load()


async def test_an_answer_that_falls_silent_is_given_up(issuer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servicekit.keys.FETCH_TIMEOUT_SECONDS", 0.3)
    async with issuing(without_end(b"{", b" ", 3)) as url:
        async with asyncio.timeout(10):
            with pytest.raises(KeysUnavailable, match="timed out"):
                await SigningKeys(url).load()
