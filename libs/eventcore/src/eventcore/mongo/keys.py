"""Keys of people, in MongoDB."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pymongo import ReplaceOne

from eventcore.mongo.link import ATTEMPTS, Link
from eventcore.store import KeyErased, StoreUnavailable

_KEYS = "keys"


class MongoKeys:
    """KeyStore: `{_id: person, wrapped}`, or for ever the tombstone `{_id: person, erased}`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def key(self, person: str) -> bytes | None:
        found = await self._link.find(_KEYS, {"_id": person}, limit=1)
        return _wrapped(found[0]) if found else None

    async def create_key(self, person: str, wrapped: bytes) -> bytes:
        # An insert, never an update: it cannot replace a tombstone.
        return _wrapped(await self._link.keep_first(_KEYS, {"_id": person, "wrapped": wrapped}))

    async def destroy_key(self, person: str, at: datetime) -> None:
        bury = ReplaceOne({"_id": person, "erased": {"$exists": False}}, {"erased": at}, upsert=True)
        for _ in range(ATTEMPTS):
            if not await self._link.write(_KEYS, [bury]):
                return
            # Refused: there is a tombstone, whose date stays, or a key was created at this moment.
            if await self._link.find(_KEYS, {"_id": person, "erased": {"$exists": True}}, limit=1):
                return
        raise StoreUnavailable("a key could not be destroyed yet")


def _wrapped(document: Mapping[str, Any]) -> bytes:
    if "erased" in document:
        raise KeyErased(document["_id"])
    return bytes(document["wrapped"])
