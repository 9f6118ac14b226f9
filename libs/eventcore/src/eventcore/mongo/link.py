"""One database and the way to it: every read and write goes through here, and every error is made ours."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC
from itertools import chain
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bson.codec_options import CodecOptions
from bson.errors import InvalidDocument
from pymongo import DeleteMany, IndexModel, InsertOne, ReadPreference, ReplaceOne, UpdateMany, UpdateOne
from pymongo.errors import BulkWriteError, ConnectionFailure, DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from eventcore.limits import (
    BULK_MAX,
    IN_MAX,
    MONGO_ANSWER_SECONDS_MAX,
    MONGO_CONNECTIONS_MAX,
    MONGO_QUEUE_SECONDS_MAX,
    PARTS_AT_ONCE_MAX,
    RACE_ATTEMPTS_MAX,
    READ_BATCH_MAX,
)
from eventcore.parts import parts
from eventcore.store import StoreUnavailable, Unstorable

# Motor runs each call on a thread of one pool, whose size it takes from the environment on import (else 5 a core).
# With fewer threads than connections, calls made during an outage would queue behind those that wait for a server.
os.environ.setdefault("MOTOR_MAX_WORKERS", str(MONGO_CONNECTIONS_MAX))

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection

_log = logging.getLogger(__name__)

DUPLICATE_KEY = 11000
TOO_LARGE = {10334, 17419, 17420}  # a document beyond 16 MiB: as sent, after an update, after an upsert
Operation = InsertOne[Any] | ReplaceOne[Any] | UpdateOne | UpdateMany | DeleteMany


@dataclass(frozen=True)
class Bounds:
    """How long anything may take, in seconds, and how many connections there may be.

    `selection`: until a usable server is found; `socket`: until a server that took a request answers;
    `majority`: until a majority holds a write; `queue`: until a connection is free; `answer`: all of it together.
    """

    selection_seconds: float = 2.0
    connect_seconds: float = 2.0
    socket_seconds: float = 10.0
    majority_seconds: float = 8.0
    queue_seconds: float = MONGO_QUEUE_SECONDS_MAX
    answer_seconds: float = MONGO_ANSWER_SECONDS_MAX
    ping_seconds: float = 2.0
    pool_size: int = MONGO_CONNECTIONS_MAX


class Link:
    """One database: every read and write of the stores goes through here, and every error is made ours."""

    def __init__(self, uri: str, database: str, bounds: Bounds) -> None:
        self.bounds = bounds
        self._client = AsyncIOMotorClient(
            uri,
            serverSelectionTimeoutMS=ms(bounds.selection_seconds),
            connectTimeoutMS=ms(bounds.connect_seconds),
            socketTimeoutMS=ms(bounds.socket_seconds),
            waitQueueTimeoutMS=ms(bounds.queue_seconds),
            maxPoolSize=_pool_size(uri, bounds.pool_size),
            retryReads=True,
        )
        self._database = self._client[database].with_options(
            codec_options=CodecOptions(tz_aware=True, tzinfo=UTC),
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority"),
            write_concern=WriteConcern("majority", wtimeout=ms(bounds.majority_seconds), j=True),
        )

    def __getitem__(self, collection: str) -> AsyncIOMotorCollection:
        return self._database[collection]

    @asynccontextmanager
    async def reached(self, seconds: float | None = None) -> AsyncIterator[None]:
        """Raises StoreUnavailable for whatever the server or the way to it fails at.

        A mistake of ours (a value BSON cannot hold, a malformed URI) passes through: it would fail for ever.
        """
        try:
            async with asyncio.timeout(seconds or self.bounds.answer_seconds):
                yield
        except (TimeoutError, ConnectionFailure, OperationFailure) as error:
            # Without its cause: a bulk error's text holds the documents, and a traceback would log them.
            raise StoreUnavailable(reason(error)) from None

    async def ping(self) -> None:
        async with self.reached(self.bounds.ping_seconds):
            await self._client.admin.command("ping")

    def close(self) -> None:
        self._client.close()

    async def index(self, collection: str, indexes: Sequence[IndexModel]) -> None:
        if indexes:
            async with self.reached():
                await self._database[collection].create_indexes(list(indexes))

    async def find(
        self,
        collection: str,
        where: Mapping[str, Any],
        *,
        sort: Sequence[tuple[str, int]] = (),
        limit: int = 0,
        fields: Sequence[str] | None = None,
    ) -> list[Mapping[str, Any]]:
        cursor = self._database[collection].find(where, fields, batch_size=READ_BATCH_MAX)
        if sort:
            cursor = cursor.sort(list(sort))
        async with self.reached():
            return await cursor.limit(limit).to_list(None)

    async def count(self, collection: str, where: Mapping[str, Any]) -> int:
        """How many match; without a filter, as the server's bookkeeping has it, which costs nothing."""
        async with self.reached():
            if where:
                return int(await self._database[collection].count_documents(where))
            return int(await self._database[collection].estimated_document_count())

    async def collections(self) -> list[str]:
        async with self.reached():
            return list(await self._database.list_collection_names())

    async def drop(self, collection: str) -> None:
        async with self.reached():
            await self._database[collection].drop()

    async def find_any(
        self,
        collection: str,
        field: str,
        values: Iterable[str],
        *,
        sort: Sequence[tuple[str, int]] = (),
        fields: Sequence[str] | None = None,
    ) -> list[Mapping[str, Any]]:
        """Documents whose `field` is any of `values`; sorted within the parts that `values` is cut into."""
        found: list[Mapping[str, Any]] = []
        for some in parts(list(parts(sorted(set(values)), IN_MAX)), PARTS_AT_ONCE_MAX):
            reads = (self.find(collection, {field: {"$in": part}}, sort=sort, fields=fields) for part in some)
            found += chain.from_iterable(await asyncio.gather(*reads))
        return found

    async def update_any(self, collection: str, ids: Sequence[str], update: Mapping[str, Any]) -> None:
        """Updates those of the documents that are there, with a write for each part of `ids` and not for each of them.
        Raises StoreUnavailable."""
        await self.write(collection, [UpdateMany({"_id": {"$in": part}}, update) for part in parts(ids, IN_MAX)])

    async def write(self, collection: str, operations: Sequence[Operation]) -> set[int]:
        """Unordered; gives the positions refused as duplicates.

        Raises StoreUnavailable for any other refusal, Unstorable for a document that no server would take.
        """
        refused: set[int] = set()
        for start, part in zip(range(0, len(operations), BULK_MAX), parts(operations, BULK_MAX), strict=True):
            async with self.reached():
                try:
                    await self._database[collection].bulk_write(part, ordered=False)
                except BulkWriteError as error:
                    codes = refusals(error)
                    if TOO_LARGE & set(codes.values()):
                        raise Unstorable("DocumentTooLarge") from None
                    if set(codes.values()) != {DUPLICATE_KEY} or error.details["writeConcernErrors"]:
                        raise
                    refused |= {start + position for position in codes}
                except (InvalidDocument, OverflowError) as error:
                    raise Unstorable(type(error).__name__) from None
        return refused

    async def keep_first(self, collection: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Inserts it unless its `_id` is there, and gives what is stored, whoever was first.

        What refused the insert may not be held by a majority yet, and then the read does not see it: again.
        """
        for _ in range(RACE_ATTEMPTS_MAX):
            async with self.reached():
                with suppress(DuplicateKeyError):
                    await self._database[collection].insert_one(dict(document))
            found = await self.find(collection, {"_id": document["_id"]}, limit=1)
            if found:
                return found[0]
        raise StoreUnavailable(f"{collection} holds what no majority has confirmed yet")


def _pool_size(uri: str, most: int) -> int:
    """What the connection string names, where that is less: a server may bear fewer."""
    named = [value for name, value in parse_qsl(urlsplit(uri).query) if name.lower() == "maxpoolsize"]
    return min([most, *(int(value) for value in named if value.isdecimal() and int(value))])


def refusals(error: BulkWriteError) -> dict[int, int]:
    """Position -> error code."""
    return {refusal["index"]: refusal["code"] for refusal in error.details["writeErrors"]}


def reason(error: PyMongoError | TimeoutError) -> str:
    """What may be logged: never a server's own text about a document, which repeats its values."""
    if isinstance(error, BulkWriteError):
        codes = sorted({r["code"] for kind in ("writeErrors", "writeConcernErrors") for r in error.details[kind]})
        return f"the database refused with {', '.join(map(str, codes))}"
    if isinstance(error, OperationFailure):
        name = (error.details or {}).get("codeName", "")
        return f"the database refused with {error.code} {name}".rstrip()
    if isinstance(error, TimeoutError):
        return "the database did not answer in time"
    return f"the database cannot be reached: {str(error)[:200]}"


def ms(seconds: float) -> int:
    return round(seconds * 1000)
