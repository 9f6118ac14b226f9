"""What a backup reads from a service's database and gives back to an empty one: whole documents, as BSON.

What a service decided is the truth: its log, its keys, what operators did. Views, results and what is held are made
from it again. An append's marks are work to be done and no content: in a backup each is to be folded and published.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import bson
from bson.codec_options import CodecOptions
from pymongo.errors import BulkWriteError

from eventcore.limits import BULK_MAX, FOUND_AT_ONCE_MAX
from eventcore.mongo.link import DUPLICATE_KEY, Bounds, Link, refusals
from eventcore.parts import parts
from eventcore.store import StoreUnavailable

APPENDS: Final = "appends"
KEYS: Final = "keys"
# Operators' acts, and which histories the foreign views were folded from: that they once were tells a service that
# these views must be built before anything rests on them.
OTHERS: Final = ("operations", "held_discards", "epochs")

_SLOTS = [("stream", 1), ("first", 1)]
_STORE = "store"
_RESTORING = "restoring"
_READ: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)


class NotEmpty(Exception):
    """The database holds something already, and not what this restore began."""


class Altered(Exception):
    """Another document is stored under an id of the backup."""


class MongoBackup:
    """One service's database, for a backup or a restore. Raises StoreUnavailable."""

    def __init__(self, uri: str, database: str, bounds: Bounds = Bounds()) -> None:
        self._link = Link(uri, database, bounds)

    def close(self) -> None:
        self._link.close()

    # Reading

    async def epoch(self) -> str:
        """Empty where there is no log yet."""
        found = await self._link.find(_STORE, {"_id": "epoch"}, limit=1)
        return str(found[0]["epoch"]) if found else ""

    async def count(self, collection: str) -> int:
        """How many documents there are, as far as is known."""
        async with self._link.reached():
            return await self._link[collection].estimated_document_count()

    async def appends(self) -> AsyncIterator[list[bytes]]:
        """Every append in order of (stream, first), some at a time, each marked as to be folded and published.

        What is stored meanwhile may be missing, but never in the middle: a slot is filled only after its predecessor,
        and the order meets it first.
        """
        stream, first = "", 0
        while True:
            # Two questions, since SecantusDB answers an `$or` by reading everything.
            page = await self._slots({"stream": stream, "first": {"$gt": first}}) if stream else []
            page = page or await self._slots({"stream": {"$gt": stream}})
            if not page:
                return
            yield [bson.encode({**document, "unfolded": True, "unpublished": True}) for document in page]
            stream, first = page[-1]["stream"], page[-1]["first"]

    async def documents(self, collection: str) -> AsyncIterator[list[bytes]]:
        """Every document of a small collection, in order of `_id`, some at a time."""
        found = await self._link.find(collection, {}, sort=[("_id", 1)])
        for page in parts(found, FOUND_AT_ONCE_MAX):
            yield [bson.encode(document) for document in page]

    async def _slots(self, where: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        return await self._link.find(APPENDS, where, sort=_SLOTS, limit=FOUND_AT_ONCE_MAX)

    # Writing

    async def begin(self, backup: str, now: datetime) -> datetime:
        """Claims an empty database, or goes on with a restore of the same `backup`; gives when that began.

        Raises NotEmpty. Until `finish` no service starts on it.
        """
        under_way = await self._link.find(_STORE, {"_id": _RESTORING}, limit=1)
        if not under_way:
            # Views and results too: documents of another history would count as folded already.
            for collection in sorted(await self._link.collections()):
                if not collection.startswith("system.") and await self._link.find(collection, {}, limit=1):
                    raise NotEmpty(f"{collection} holds something")
        marker = await self._link.keep_first(_STORE, {"_id": _RESTORING, "backup": backup, "began": now})
        if marker["backup"] != backup:
            raise NotEmpty("a restore of another backup was begun in it")
        return marker["began"]  # type: ignore[no-any-return]

    async def insert(self, collection: str, documents: Sequence[bytes]) -> None:
        """Stores them; what an earlier try stored already is left. Raises Altered where it is something else."""
        for part in parts([bson.decode(document, _READ) for document in documents], BULK_MAX):
            async with self._link.reached():
                try:
                    await self._link[collection].insert_many(part, ordered=False)
                except BulkWriteError as error:
                    if set(refusals(error).values()) != {DUPLICATE_KEY} or error.details["writeConcernErrors"]:
                        raise
                    twice = [part[position] for position in refusals(error)]
                else:
                    continue
            stored = {d["_id"]: d for d in await self._link.find_any(collection, "_id", [d["_id"] for d in twice])}
            for document in twice:
                if stored.get(document["_id"]) != document:
                    raise Altered(f"{collection} holds another {document['_id']}")

    async def insert_keys(self, keys: Mapping[str, Mapping[str, Any]], erased: Sequence[str], at: datetime) -> None:
        """Keys and tombstones as they were; and a tombstone for whoever else is `erased`."""
        buried = [{"_id": person, "erased": at} for person in dict.fromkeys(erased) if person not in keys]
        await self.insert(KEYS, [bson.encode(document) for document in (*keys.values(), *buried)])

    async def finish(self, epoch: str) -> str:
        """The database is a service's again, under an epoch of its own: the old one's later versions may be known to
        others with other content. Gives the epoch, which is an earlier try's where that came so far."""
        kept = await self._link.keep_first(_STORE, {"_id": "epoch", "epoch": epoch})
        async with self._link.reached():
            await self._link[_STORE].delete_one({"_id": _RESTORING})
        return str(kept["epoch"])


async def refuse_half_restored(link: Link) -> None:
    """Raises StoreUnavailable while a restore into this database is not finished."""
    if await link.find(_STORE, {"_id": _RESTORING}, limit=1):
        raise StoreUnavailable("a restore into this database is not finished: run it again with the same backup")


def decode(document: bytes) -> dict[str, Any]:
    return bson.decode(document, _READ)


def encode(document: Mapping[str, Any]) -> bytes:
    return bson.encode(document)


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole documents at the start of `data`, and what is left of it. Raises ValueError for what is no BSON."""
    found, at = [], 0
    while len(data) - at >= 4:
        length = int.from_bytes(data[at : at + 4], "little")
        if not 5 <= length <= 17 * 2**20:
            raise ValueError("this is no BSON")
        if len(data) - at < length:
            break
        found.append(data[at : at + length])
        at += length
    return found, data[at:]
