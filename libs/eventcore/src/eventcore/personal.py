"""Personal fields: encrypted with a key per person before they are stored anywhere, unreadable once it is destroyed.

A sealed value is what events, views and commands carry; only a query's answer opens it. Sealing is deterministic
(AES-SIV, RFC 5297): a retried command seals to the same bytes, so its digest is the same and a rename to the same
name changes nothing. What that gives away, that two values of one person and field are equal, is known anyway.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from pydantic import BaseModel, ConfigDict

from eventcore.store import KeyErased, KeyStore

CACHE_SECONDS = 60.0
CACHE_KEYS = 10_000


class Sealed(BaseModel):
    """An encrypted personal value: whose it is, which field, and the ciphertext (base64)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    person: str
    field: str
    box: str


class Erased:
    """Stands where a personal value was, for good."""

    def __repr__(self) -> str:
        return "ERASED"


ERASED: Final = Erased()


class Keyring:
    """Seals and opens personal values.

    `master` (32 bytes, secret) wraps each person's key; `monotonic` gives seconds. Keys are cached for at most
    CACHE_SECONDS, so an erasure elsewhere is felt within that time.
    """

    def __init__(self, store: KeyStore, master: bytes, monotonic: Callable[[], float]) -> None:
        if len(master) != 32:
            raise ValueError("the master key must be 32 bytes")
        self._store = store
        self._wrap = AESGCM(master)
        self._index_key = hmac.new(master, b"blind index", hashlib.sha256).digest()
        self._monotonic = monotonic
        self._cache: dict[str, tuple[float, AESSIV]] = {}

    async def seal(self, person: str, field: str, value: str) -> Sealed:
        """Encrypts, creating the person's key at first use. Raises KeyErased after an erasure."""
        cipher = await self._cipher(person) or await self._create(person)
        box = cipher.encrypt(value.encode(), [person.encode(), field.encode()])
        return Sealed(person=person, field=field, box=base64.b64encode(box).decode())

    async def open(self, sealed: Sealed) -> str | Erased:
        """The value, or ERASED. Raises ValueError for a ciphertext that was tampered with."""
        try:
            cipher = await self._cipher(sealed.person)
        except KeyErased:
            return ERASED
        if cipher is None:
            raise ValueError(f"no key for {sealed.person}: the keys of another store?")
        try:
            plain = cipher.decrypt(base64.b64decode(sealed.box), [sealed.person.encode(), sealed.field.encode()])
        except InvalidTag:
            raise ValueError(f"{sealed.field} of {sealed.person} does not open with its key") from None
        return plain.decode()

    def blind_index(self, field: str, value: str) -> str:
        """A keyed hash to look a value up by without storing it (hex, 64 characters)."""
        return hmac.new(self._index_key, f"{field}\0{value}".encode(), hashlib.sha256).hexdigest()

    def forget(self, person: str) -> None:
        """Drops a cached key at once."""
        self._cache.pop(person, None)

    async def _cipher(self, person: str) -> AESSIV | None:
        cached = self._cache.get(person)
        if cached is not None and self._monotonic() - cached[0] < CACHE_SECONDS:
            return cached[1]
        self.forget(person)
        wrapped = await self._store.key(person)
        return None if wrapped is None else self._unwrap(person, wrapped)

    async def _create(self, person: str) -> AESSIV:
        nonce = os.urandom(12)
        fresh = nonce + self._wrap.encrypt(nonce, AESSIV.generate_key(512), person.encode())
        # Another process may have created one first: what is stored is the key, ours or not.
        return self._unwrap(person, await self._store.create_key(person, fresh))

    def _unwrap(self, person: str, wrapped: bytes) -> AESSIV:
        try:
            key = self._wrap.decrypt(wrapped[:12], wrapped[12:], person.encode())
        except InvalidTag:
            raise ValueError(f"the key of {person} does not open with this master key: is it the right file?") from None
        if len(self._cache) >= CACHE_KEYS:
            self._cache.clear()
        cipher = AESSIV(key)
        self._cache[person] = (self._monotonic(), cipher)
        return cipher
