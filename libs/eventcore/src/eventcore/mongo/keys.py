"""Keys of people, in MongoDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, IndexModel, ReplaceOne

from eventcore.limits import RACE_ATTEMPTS_MAX
from eventcore.mongo.link import Link
from eventcore.store import KeyErased, StoreUnavailable, Tombstone

_KEYS = "keys"


class MongoKeys:
    """KeyStore: `{_id: person, wrapped}`, or for ever the tombstone `{_id: person, erased}`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def prepare(self) -> None:
        await self._link.index(_KEYS, [IndexModel([("erased", ASCENDING)], sparse=True)])

    async def read(self, persons: Sequence[str]) -> dict[str, bytes | Tombstone]:
        return {d["_id"]: _stored(d) for d in await self._link.find_any(_KEYS, "_id", persons)}

    async def create_key(self, person: str, wrapped: bytes) -> bytes:
        # An insert, never an update: it cannot replace a tombstone.
        stored = _stored(await self._link.keep_first(_KEYS, {"_id": person, "wrapped": wrapped}))
        if isinstance(stored, Tombstone):
            raise KeyErased(person)
        return stored

    async def destroy_keys(self, persons: Sequence[str], at: datetime) -> None:
        todo = list(dict.fromkeys(persons))
        for _ in range(RACE_ATTEMPTS_MAX):
            # What is buried already is left out: its date stays, and a fold that repeats its marks writes nothing.
            stored = await self.read(todo)
            todo = [person for person in todo if not isinstance(stored.get(person), Tombstone)]
            if not todo:
                return
            # Refused where a tombstone or a key was made at this moment: look again.
            await self._link.write(
                _KEYS, [ReplaceOne({"_id": p, "erased": {"$exists": False}}, {"erased": at}, upsert=True) for p in todo]
            )
        raise StoreUnavailable("a key could not be destroyed yet")

    async def tombstones(self, *, after: str = "", limit: int) -> list[tuple[str, Tombstone]]:
        where: dict[str, Any] = {"erased": {"$exists": True}}
        if after:
            where["_id"] = {"$gt": after}
        found = await self._link.find(_KEYS, where, sort=[("_id", ASCENDING)], limit=limit)
        return [(d["_id"], Tombstone(d["erased"])) for d in found]


def _stored(document: Mapping[str, Any]) -> bytes | Tombstone:
    return Tombstone(document["erased"]) if "erased" in document else bytes(document["wrapped"])
