"""The four stores in MongoDB. The only module that knows the driver: nothing of it, not even an error, leaves here.

Motor is past its vendor's end of general support; PyMongo's async client replaces it, and then only this file changes.

Reads come from the primary with read concern majority, writes wait for a majority and its journal. Both are written
in code, since a connection string that forgot them would publish what a failover then rolls back. What belongs to
the deployment (hosts, replica set, TLS, retryable writes) stays in the connection string.

BSON keeps milliseconds: an append's `recorded` comes back cut to the millisecond, `evaluate_at` raised to it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bson.codec_options import CodecOptions
from pymongo import ASCENDING, IndexModel, ReadPreference, ReplaceOne, UpdateMany, UpdateOne
from pymongo.errors import BulkWriteError, ConnectionFailure, DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from eventcore.event import StoredEvent
from eventcore.fold import View
from eventcore.store import (
    Append,
    Finding,
    Insert,
    KeyErased,
    Mark,
    Step,
    StoreUnavailable,
    Target,
    Versioned,
    Write,
)

POOL_SIZE = 32
# Motor runs each call on a thread of one pool, whose size it takes from the environment on import (else 5 a core).
# With fewer threads than connections, calls made during an outage would queue behind those that wait for a server.
os.environ.setdefault("MOTOR_MAX_WORKERS", str(POOL_SIZE))

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection  # noqa: E402

_log = logging.getLogger(__name__)

IN_MAX = 50  # values in one `$in`: SecantusDB's cost grows with their square, MongoDB's hardly at all
BULK_MAX = 500  # operations in one bulk write, so that one answer stays well within `socket_seconds`
READ_BATCH = 1000  # documents in one answer of a cursor
ATTEMPTS = 10  # at what only a race can refuse
DUPLICATE_KEY = 11000


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
    queue_seconds: float = 2.0
    answer_seconds: float = 15.0
    ping_seconds: float = 2.0
    pool_size: int = POOL_SIZE


class _Link:
    """One database: every read and write of the four stores goes through here, and every error is made ours."""

    def __init__(self, uri: str, database: str, bounds: Bounds) -> None:
        self.bounds = bounds
        self._client = AsyncIOMotorClient(
            uri,
            serverSelectionTimeoutMS=_ms(bounds.selection_seconds),
            connectTimeoutMS=_ms(bounds.connect_seconds),
            socketTimeoutMS=_ms(bounds.socket_seconds),
            waitQueueTimeoutMS=_ms(bounds.queue_seconds),
            maxPoolSize=bounds.pool_size,
            retryReads=True,
        )
        self._database = self._client[database].with_options(
            codec_options=CodecOptions(tz_aware=True, tzinfo=UTC),
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority"),
            write_concern=WriteConcern("majority", wtimeout=_ms(bounds.majority_seconds), j=True),
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
            raise StoreUnavailable(_reason(error)) from None

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
        cursor = self._database[collection].find(where, fields, batch_size=READ_BATCH)
        if sort:
            cursor = cursor.sort(list(sort))
        async with self.reached():
            return await cursor.limit(limit).to_list(None)

    async def find_any(
        self, collection: str, field: str, values: Iterable[str], *, sort: Sequence[tuple[str, int]] = ()
    ) -> list[Mapping[str, Any]]:
        """Documents whose `field` is any of `values`; sorted within the parts that `values` is cut into."""
        parts = await asyncio.gather(
            *(self.find(collection, {field: {"$in": part}}, sort=sort) for part in _parts(sorted(set(values)), IN_MAX))
        )
        return [document for part in parts for document in part]

    async def write(self, collection: str, operations: Sequence[ReplaceOne[Any] | UpdateOne | UpdateMany]) -> set[int]:
        """Unordered; gives the positions refused as duplicates. Raises StoreUnavailable for any other refusal."""
        refused: set[int] = set()
        for start, part in zip(range(0, len(operations), BULK_MAX), _parts(operations, BULK_MAX), strict=True):
            async with self.reached():
                try:
                    await self._database[collection].bulk_write(part, ordered=False)
                except BulkWriteError as error:
                    codes = _refusals(error)
                    if set(codes.values()) != {DUPLICATE_KEY} or error.details["writeConcernErrors"]:
                        raise
                    refused |= {start + position for position in codes}
        return refused

    async def keep_first(self, collection: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Inserts it unless its `_id` is there, and gives what is stored, whoever was first.

        What refused the insert may not be held by a majority yet, and then the read does not see it: again.
        """
        for _ in range(ATTEMPTS):
            async with self.reached():
                with suppress(DuplicateKeyError):
                    await self._database[collection].insert_one(dict(document))
            found = await self.find(collection, {"_id": document["_id"]}, limit=1)
            if found:
                return found[0]
        raise StoreUnavailable(f"{collection} holds what no majority has confirmed yet")


_APPENDS = "appends"
_SLOTS = [("stream", ASCENDING), ("first", ASCENDING)]
_MARKS: tuple[Mark, ...] = ("unfolded", "unpublished")


class MongoAppends:
    """AppendStore: one document an append, `_id` = `<stream>@<first>`, which is the optimistic lock."""

    def __init__(self, link: _Link) -> None:
        self._link = link
        self._epoch = ""

    @property
    def epoch(self) -> str:
        if not self._epoch:
            raise RuntimeError("the stores were not prepared")
        return self._epoch

    async def prepare(self) -> None:
        """Creates the epoch at the database's very first start, reads it ever after; and the indexes."""
        kept = await self._link.keep_first("store", {"_id": "epoch", "epoch": secrets.token_hex(8)})
        self._epoch = kept["epoch"]
        await self._ensure_indexes()

    async def load(self, streams: Sequence[str]) -> dict[str, list[Append]]:
        found: dict[str, list[Append]] = {}
        for document in await self._link.find_any(_APPENDS, "stream", streams, sort=_SLOTS):
            found.setdefault(document["stream"], []).append(_append(document))
        return found

    async def insert(self, appends: Sequence[Append]) -> list[Insert]:
        if not appends:
            return []
        try:
            async with self._link.reached():
                try:
                    await self._link[_APPENDS].insert_many([self._document(a) for a in appends], ordered=False)
                except BulkWriteError as error:
                    codes = _refusals(error)
                    # A majority that did not confirm in time may still lose the write to a failover.
                    rest = Insert.UNKNOWN if error.details["writeConcernErrors"] else Insert.STORED
                    unknown = {code for code in codes.values() if code != DUPLICATE_KEY}
                    if unknown or rest is Insert.UNKNOWN:
                        _log.warning("append-unanswered", extra={"reason": _reason(error)})
                    return [_answer(codes[i]) if i in codes else rest for i in range(len(appends))]
        except StoreUnavailable as error:
            _log.warning("append-unanswered", extra={"reason": str(error)})
            return [Insert.UNKNOWN] * len(appends)
        return [Insert.STORED] * len(appends)

    async def pending(
        self, mark: Mark, *, after: str = "", streams: Sequence[str] | None = None, limit: int
    ) -> list[Append]:
        # The order is what keeps a stream whole. Each step of an ordered scan goes to the next larger slot that
        # exists at that moment, and a slot is filled only after its predecessor: whoever sees `@2` of a stream has
        # been given its `@1` before, or `@1` had lost its mark, though others insert all the while. By another
        # order (`_id`, a time, a mark's own) the scan could pass where `@1` will stand and then meet `@2`.
        #
        # No hint, though both indexes that can answer give this order: SecantusDB walks a hinted index from end
        # to end. Without it, it reads all that is marked beyond `after` (35 microseconds each), MongoDB a page.
        found: list[Mapping[str, Any]] = []
        if streams is None:
            where: dict[str, Any] = {mark: True, "stream": {"$gt": after}} if after else {mark: True}
            found = await self._link.find(_APPENDS, where, sort=_SLOTS, limit=limit)
        else:
            for part in _parts(sorted({s for s in streams if s > after}), IN_MAX):
                where = {mark: True, "stream": {"$in": part}}
                found += await self._link.find(_APPENDS, where, sort=_SLOTS, limit=limit - len(found))
                if len(found) >= limit:
                    break
        return [_append(document) for document in found]

    async def waiting(self, mark: Mark, *, limit: int) -> list[str]:
        # Unsorted, so that a page costs a page: SecantusDB would read the whole backlog to sort it.
        found = await self._link.find(_APPENDS, {mark: True}, limit=limit, fields=["stream"])
        return list(dict.fromkeys(document["stream"] for document in found))

    async def clear(self, mark: Mark, appends: Sequence[Append]) -> None:
        # Unset, not set to false: the partial index then holds only what waits. Many documents in one operation,
        # many operations in one request: on SecantusDB twice as fast as one operation a document.
        update = {"$unset": {mark: ""}}
        parts = _parts([a.id for a in appends], IN_MAX)
        await self._link.write(_APPENDS, [UpdateMany({"_id": {"$in": part}}, update) for part in parts])

    async def _ensure_indexes(self) -> None:
        marked = [
            # The mark leads so that SecantusDB can seek by it; MongoDB needs only the partial filter.
            IndexModel([(mark, ASCENDING), *_SLOTS], name=mark, partialFilterExpression={mark: True})
            for mark in _MARKS
        ]
        await self._link.index(_APPENDS, [IndexModel(_SLOTS, name="slots"), *marked])

    @staticmethod
    def _document(append: Append) -> dict[str, Any]:
        return {
            "_id": append.id,
            "stream": append.stream,
            "first": append.first,
            "last": append.last,
            "steps": [asdict(step) for step in append.steps],
            "events": [{"type": event.type, "data": event.data} for event in append.events],
            "recorded": append.recorded,
            "unfolded": True,
            "unpublished": True,
        }


def _append(document: Mapping[str, Any]) -> Append:
    return Append(
        document["stream"],
        document["first"],
        tuple(Step(**step) for step in document["steps"]),
        tuple(StoredEvent(event["type"], event["data"]) for event in document["events"]),
        document["recorded"],
    )


def _answer(code: int) -> Insert:
    # Any other refusal (no space, not primary any more) is rare and not worth a promise: UNKNOWN is never wrong.
    return Insert.TAKEN if code == DUPLICATE_KEY else Insert.UNKNOWN


class MongoViews:
    """ViewStore: `{_id: stream, version, body}` in a collection per view, so that a new generation starts empty."""

    def __init__(self, link: _Link) -> None:
        self._link = link

    async def ensure_indexes(self, views: Sequence[View[Any]]) -> None:
        """Creates the indexes these views name. Raises StoreUnavailable."""
        for view in views:
            # `_id` at the end, so that the index also gives the order that `find` pages in.
            keys = [[(f"body.{field}", ASCENDING) for field in fields] for fields in view.indexes]
            await self._link.index(_view(view.name), [IndexModel([*key, ("_id", ASCENDING)]) for key in keys])

    async def load(self, view: str, streams: Sequence[str]) -> dict[str, Versioned]:
        return {d["_id"]: _versioned(d) for d in await self._link.find_any(_view(view), "_id", streams)}

    async def write(self, view: str, writes: Sequence[Write]) -> list[bool]:
        # Upserts throughout: where the version moved on, the filter finds nothing and the upsert meets the `_id`
        # that is there, which names the miss. Without it the answer is only how many missed. (A document that was
        # deleted since it was seen is written anew, which is right: its body is the fold of everything so far.)
        missed = await self._link.write(
            _view(view),
            [ReplaceOne({"_id": w.stream, "version": w.seen}, _versioned_document(w), upsert=True) for w in writes],
        )
        return [position not in missed for position in range(len(writes))]

    async def find(
        self, view: str, where: Mapping[str, Any], *, after: str = "", limit: int
    ) -> list[tuple[str, Versioned]]:
        query: dict[str, Any] = {f"body.{path}": wanted for path, wanted in where.items()}
        if all(wanted is None or (isinstance(wanted, list) and None in wanted) for wanted in where.values()):
            query["body"] = {"$ne": None}  # a document without a body has every field missing, and is not meant
        if after:
            query["_id"] = {"$gt": after}
        lists = {path: wanted for path, wanted in query.items() if isinstance(wanted, list)}
        longest = max(lists, key=lambda path: len(lists[path]), default=None)
        query |= {path: {"$in": wanted} for path, wanted in lists.items()}
        queries = [query]
        if longest is not None:
            # What matches the list matches a part of it, and the first `limit` overall are among each part's first.
            queries = [query | {longest: {"$in": part}} for part in _parts(lists[longest], IN_MAX)]
        order = [("_id", ASCENDING)]
        found = {d["_id"]: d for q in queries for d in await self._link.find(_view(view), q, sort=order, limit=limit)}
        return [(stream, _versioned(found[stream])) for stream in sorted(found)[:limit]]

    async def bind_epoch(self, source: str, epoch: str) -> str:
        return str((await self._link.keep_first("epochs", {"_id": source, "epoch": epoch}))["epoch"])


def _view(name: str) -> str:
    return f"view_{name}"


def _versioned(document: Mapping[str, Any]) -> Versioned:
    return Versioned(document["version"], document["body"], document.get("trace", ""))


def _versioned_document(write: Write) -> dict[str, Any]:
    return {"version": write.version, "body": write.body, **({"trace": write.trace} if write.trace else {})}


class MongoTargets:
    """TargetStore: `{_id: target, revision, dirty, evaluate_at, basis, result}` in a collection per evaluation.

    `dirty` and `evaluate_at` are there only while they say something, so that their sparse indexes stay small.
    """

    def __init__(self, link: _Link) -> None:
        self._link = link

    async def ensure_indexes(self, evaluations: Sequence[str]) -> None:
        """Creates the indexes these evaluations need. Raises StoreUnavailable."""
        for name in evaluations:
            fields = ("dirty", "evaluate_at")
            await self._link.index(_targets(name), [IndexModel([(f, ASCENDING)], sparse=True) for f in fields])

    async def mark(self, evaluation: str, targets: Sequence[str]) -> None:
        update = {"$inc": {"revision": 1}, "$set": {"dirty": True}}
        todo = list(targets)
        for _ in range(ATTEMPTS):
            # Two upserts of one missing target at once: one may be refused instead of updating what the other made.
            refused = await self._link.write(_targets(evaluation), [UpdateOne({"_id": t}, update, True) for t in todo])
            todo = [todo[position] for position in sorted(refused)]
            if not todo:
                return
        raise StoreUnavailable(f"marks of {evaluation} kept colliding")

    async def due(self, evaluation: str, now: datetime, *, limit: int) -> dict[str, int]:
        # Two questions, since SecantusDB answers an `$or` by reading everything. Where both name a target the
        # first answer's revision stands: the older one, which guards the more.
        due: dict[str, int] = {}
        for where in ({"dirty": True}, {"evaluate_at": {"$lte": now}}):
            if limit > len(due):
                found = await self._link.find(_targets(evaluation), where, limit=limit, fields=["revision"])
                due = {d["_id"]: d["revision"] for d in found} | due
        return dict(list(due.items())[:limit])

    async def finish(self, evaluation: str, findings: Sequence[Finding]) -> list[bool]:
        missed = await self._link.write(_targets(evaluation), [_finish(f) for f in findings])
        return [position not in missed for position in range(len(findings))]

    async def read(self, evaluation: str, targets: Sequence[str]) -> dict[str, Target]:
        found = await self._link.find_any(_targets(evaluation), "_id", targets)
        return {
            d["_id"]: Target(
                d["revision"], d.get("dirty", False), d.get("evaluate_at"), d.get("basis", {}), d.get("result")
            )
            for d in found
        }


def _targets(evaluation: str) -> str:
    return f"targets_{evaluation}"


def _finish(finding: Finding) -> UpdateOne:
    kept: dict[str, Any] = {"result": finding.result, "basis": finding.basis}
    dropped = {"dirty": ""}
    if finding.evaluate_at is None:
        dropped["evaluate_at"] = ""
    else:
        # Raised to the millisecond BSON keeps: cut, it would wake the evaluator just before the deadline, in vain.
        kept["evaluate_at"] = finding.evaluate_at + timedelta(microseconds=-finding.evaluate_at.microsecond % 1000)
    update = {"$set": kept, "$unset": dropped, "$inc": {"revision": 1}}
    # An upsert for the same reason as a view's: a miss then names itself.
    return UpdateOne({"_id": finding.target, "revision": finding.revision}, update, upsert=True)


_KEYS = "keys"


class MongoKeys:
    """KeyStore: `{_id: person, wrapped}`, or for ever the tombstone `{_id: person, erased}`."""

    def __init__(self, link: _Link) -> None:
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


class MongoStores:
    """One service's database. Making it contacts no server; `prepare` does."""

    def __init__(self, uri: str, database: str, bounds: Bounds = Bounds()) -> None:
        self._link = _Link(uri, database, bounds)
        self.appends = MongoAppends(self._link)
        self.views = MongoViews(self._link)
        self.targets = MongoTargets(self._link)
        self.keys = MongoKeys(self._link)

    async def prepare(self, views: Sequence[View[Any]] = (), evaluations: Sequence[str] = ()) -> None:
        """Creates what is missing: indexes, and the epoch. Raises StoreUnavailable: call again."""
        await self.appends.prepare()
        await self.views.ensure_indexes(views)
        await self.targets.ensure_indexes(evaluations)

    async def ping(self) -> None:
        """Returns when the server answers. Raises StoreUnavailable, at the latest after `ping_seconds`."""
        await self._link.ping()

    async def close(self) -> None:
        self._link.close()


async def connect(
    uri: str,
    database: str,
    *,
    views: Sequence[View[Any]] = (),
    evaluations: Sequence[str] = (),
    bounds: Bounds = Bounds(),
) -> MongoStores:
    """A service's database, prepared. Raises StoreUnavailable when it does not answer or refuses: call again."""
    stores = MongoStores(uri, database, bounds)
    try:
        await stores.prepare(views, evaluations)
    except BaseException:
        await stores.close()
        raise
    return stores


def _refusals(error: BulkWriteError) -> dict[int, int]:
    """Position -> error code."""
    return {refusal["index"]: refusal["code"] for refusal in error.details["writeErrors"]}


def _reason(error: PyMongoError | TimeoutError) -> str:
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


def _parts(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    return (list(items[start : start + size]) for start in range(0, len(items), size))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
