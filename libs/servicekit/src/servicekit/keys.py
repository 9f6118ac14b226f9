"""The issuer's public keys (JWKS, RFC 7517), from a file or a URL: cached, refreshed, never waited for without need."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from servicekit.limits import JWKS_BYTES_MAX

ALGORITHMS = frozenset({"EdDSA", "ES256", "RS256"})
RSA_BITS_MIN = 2048
FETCH_TIMEOUT_SECONDS = 5.0  # of silence
FETCH_SECONDS_MAX = 10.0  # until the answer is whole
DEVELOPMENT_PREFIX = "dev-"

_log = structlog.get_logger("servicekit.keys")


class KeysUnavailable(Exception):
    """The keys cannot be read; the message says from where and why."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key with the one algorithm it may verify."""

    jwk: jwt.PyJWK
    algorithm: str
    development: bool


def _signing_key(raw: Any) -> tuple[str, SigningKey] | None:
    """A usable verification key; None for what else a JWKS may rightly hold (encryption keys, other kinds)."""
    if not isinstance(raw, dict) or raw.get("use", "sig") != "sig":
        return None
    kid = raw.get("kid")
    # Symmetric keys never verify here: whoever can check such a token can also forge it.
    if not isinstance(kid, str) or not kid or raw.get("kty") not in {"OKP", "EC", "RSA"}:
        return None
    try:
        jwk = jwt.PyJWK(raw)
    except jwt.PyJWTError:
        return None
    if jwk.algorithm_name not in ALGORITHMS:
        return None
    if isinstance(jwk.key, RSAPublicKey) and jwk.key.key_size < RSA_BITS_MIN:
        return None
    development = kid.startswith(DEVELOPMENT_PREFIX) or raw.get("use_profile") == "development"
    return kid, SigningKey(jwk, jwk.algorithm_name, development)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """An issuer's keys are where they were said to be, or nowhere."""


def _fetch(url: str) -> bytes:
    """The answer, or as much of it as shows that it is too large. Raises OSError, HTTPException."""
    until = time.monotonic() + FETCH_SECONDS_MAX
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        response = opener.open(url, timeout=FETCH_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as refused:
        refused.close()
        raise
    content = bytearray()
    with response:
        # What has come is taken as it comes: a plain read waits for all of it, as long as there is a byte now and then.
        while len(content) <= JWKS_BYTES_MAX and (there := response.peek()):
            if time.monotonic() > until:
                raise TimeoutError(f"it was not whole after {FETCH_SECONDS_MAX:g} s")
            content += response.read(min(len(there), JWKS_BYTES_MAX + 1 - len(content)))
    return bytes(content)


def _content(source: str) -> bytes:
    """Raises OSError, HTTPException; ValueError for more than JWKS_BYTES_MAX."""
    if source.startswith(("https://", "http://")):
        content = _fetch(source)
    else:
        with Path(source).open("rb") as file:
            content = file.read(JWKS_BYTES_MAX + 1)
    if len(content) > JWKS_BYTES_MAX:
        raise ValueError(f"it is larger than {JWKS_BYTES_MAX:,} bytes: remove old keys")
    return content


def _read(source: str) -> dict[str, SigningKey]:
    """Reads and parses the JWKS; blocking, for a thread. Raises KeysUnavailable."""
    try:
        document = json.loads(_content(source))
    except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
        raise KeysUnavailable(f"the signing keys at {source} cannot be read: {error}") from error
    listed = document.get("keys") if isinstance(document, dict) else None
    keys = dict(found for raw in listed if (found := _signing_key(raw))) if isinstance(listed, list) else {}
    if not keys:
        raise KeysUnavailable(
            f"{source} holds no usable signing key: a JWKS with an Ed25519, P-256 or RSA key is needed"
        )
    return keys


class SigningKeys:
    """The keys by `kid`.

    A known key answers at once; past `max_age_seconds` it also starts a refresh, so that a withdrawn key goes, and
    past `keep_seconds` without a successful one it is no longer trusted. An unknown kid waits for one refresh; no
    two refreshes start within `cooldown_seconds`, so invented kids cannot make us hammer the issuer.
    """

    def __init__(
        self,
        source: str,
        *,
        max_age_seconds: float = 300,
        keep_seconds: float = 3600,
        cooldown_seconds: float = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._max_age = max_age_seconds
        self._keep = keep_seconds
        self._cooldown = cooldown_seconds
        self._clock = clock
        self._keys: dict[str, SigningKey] = {}
        self._loaded = float("-inf")
        self._tried = float("-inf")
        self._refresh: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Reads the keys now. Raises KeysUnavailable."""
        self._tried = self._clock()
        self._keys = await asyncio.to_thread(_read, self._source)
        self._loaded = self._clock()

    async def find(self, kid: str) -> SigningKey | None:
        """The key with this id, or None when the issuer has none such. Raises KeysUnavailable."""
        age = self._clock() - self._loaded
        if age <= self._keep and (key := self._keys.get(kid)):
            if age > self._max_age:
                self._start_refresh()
            return key
        refresh = self._start_refresh()
        if refresh is not None:
            # Shielded: one caller that hangs up must not cancel the refresh the others wait for.
            await asyncio.shield(refresh)
        if self._clock() - self._loaded > self._keep:
            raise KeysUnavailable(f"the signing keys at {self._source} have not been readable for too long")
        return self._keys.get(kid)

    def _start_refresh(self) -> asyncio.Task[None] | None:
        if self._refresh is not None and not self._refresh.done():
            return self._refresh
        if self._clock() - self._tried < self._cooldown:
            return None
        self._refresh = asyncio.create_task(self._refresh_quietly(), name="signing-keys")
        return self._refresh

    async def _refresh_quietly(self) -> None:
        try:
            await self.load()
        except KeysUnavailable as error:
            _log.warning("signing-keys-unreadable", detail=str(error))
