"""Personal fields: encrypted with a key per person before they are stored anywhere, unreadable once it is destroyed.

A sealed value is what events, views and commands carry; only a query's answer opens it. Sealing is deterministic
(AES-SIV, RFC 5297): a retried command seals to the same bytes, so its digest is the same and a rename to the same
name changes nothing. What that gives away, that two values of one person and field are equal, is known anyway.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from pydantic import BaseModel, ConfigDict

from eventcore.fold import View
from eventcore.limits import CACHED_KEYS_MAX, KEY_CACHE_SECONDS_MAX
from eventcore.store import KeyErased, KeyStore, Tombstone


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

    `master` (32 bytes, secret) wraps each person's key; `monotonic` gives seconds. Keys are cached to seal with, for
    at most a minute: what is sealed with a key that was destroyed meanwhile is unreadable from the start. To open, the
    store is asked each time, so that nothing opens in any process once a key is destroyed.
    """

    def __init__(self, store: KeyStore, master: bytes, monotonic: Callable[[], float]) -> None:
        if len(master) != 32:
            raise ValueError("the master key must be 32 bytes")
        self._store = store
        self._wrap = AESGCM(master)
        self._monotonic = monotonic
        self._cache: dict[str, tuple[float, AESSIV]] = {}

    def __len__(self) -> int:
        """Keys in memory."""
        return len(self._cache)

    async def seal(self, person: str, field: str, value: str) -> Sealed:
        """Encrypts, creating the person's key at first use. Raises KeyErased after an erasure."""
        cipher = await self._to_seal(person)
        box = cipher.encrypt(value.encode(), [person.encode(), field.encode()])
        return Sealed(person=person, field=field, box=base64.b64encode(box).decode())

    async def open(self, sealed: Sealed) -> str | Erased:
        """The value, or ERASED. Raises ValueError for a ciphertext that was tampered with."""
        (opened,) = await self.open_all([sealed])
        return opened

    async def open_all(self, sealed: Sequence[Sealed]) -> list[str | Erased]:
        """Each value, or ERASED, with one read of the keys. Raises ValueError as `open` does."""
        persons = list(dict.fromkeys(each.person for each in sealed))
        stored = await self._store.read(persons) if persons else {}
        ciphers = {
            person: None if isinstance(key, Tombstone) else self._unwrap(person, key) for person, key in stored.items()
        }
        return [_opened(each, ciphers) for each in sealed]

    async def destroy(self, persons: Sequence[str], at: datetime) -> None:
        """Destroys their keys for good, also those that were never made. Again is harmless.

        Raises StoreUnavailable: do it again.
        """
        for person in persons:
            self._cache.pop(person, None)
        await self._store.destroy_keys(persons, at)

    async def _to_seal(self, person: str) -> AESSIV:
        cached = self._cache.get(person)
        if cached is not None and self._monotonic() - cached[0] < KEY_CACHE_SECONDS_MAX:
            return cached[1]
        self._cache.pop(person, None)
        stored = (await self._store.read([person])).get(person)
        if isinstance(stored, Tombstone):
            raise KeyErased(person)
        if stored is None:
            nonce = os.urandom(12)
            fresh = nonce + self._wrap.encrypt(nonce, AESSIV.generate_key(512), person.encode())
            # Another process may have created one first: what is stored is the key, ours or not.
            stored = await self._store.create_key(person, fresh)
        cipher = self._unwrap(person, stored)
        if len(self._cache) >= CACHED_KEYS_MAX:
            self._cache.clear()
        self._cache[person] = (self._monotonic(), cipher)
        return cipher

    def _unwrap(self, person: str, wrapped: bytes) -> AESSIV:
        try:
            return AESSIV(self._wrap.decrypt(wrapped[:12], wrapped[12:], person.encode()))
        except InvalidTag:
            raise ValueError(f"the key of {person} does not open with this master key: is it the right file?") from None


def _opened(sealed: Sealed, ciphers: Mapping[str, AESSIV | None]) -> str | Erased:
    if sealed.person not in ciphers:
        raise ValueError(f"no key for {sealed.person}: the keys of another store?")
    cipher = ciphers[sealed.person]
    if cipher is None:
        return ERASED
    try:
        plain = cipher.decrypt(base64.b64decode(sealed.box), [sealed.person.encode(), sealed.field.encode()])
    except InvalidTag:
        raise ValueError(f"{sealed.field} of {sealed.person} does not open with its key") from None
    return plain.decode()


class AboutPerson(BaseModel):
    """The document of a stream `<category>-<person>` that tells of an erasure: once `erased`, the person's key goes."""

    erased: bool = False


def telling_of_erasures(views: Iterable[View[Any]]) -> list[View[Any]]:
    """Those whose streams tell of erasures: passed over, their events would leave a key where none may be."""
    return [view for view in views if issubclass(view.document, AboutPerson)]
