"""The log in MongoDB."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, IndexModel, UpdateMany, UpdateOne
from pymongo.errors import BulkWriteError

from eventcore.event import StoredEvent
from eventcore.limits import IN_MAX
from eventcore.mongo.backup import refuse_half_restored
from eventcore.mongo.documents import known
from eventcore.mongo.link import DUPLICATE_KEY, Link, reason, refusals
from eventcore.parts import parts
from eventcore.store import Append, Backlog, Insert, Mark, Slot, Step, StoreUnavailable

_log = logging.getLogger(__name__)

_APPENDS = "appends"
_SLOTS = [("stream", ASCENDING), ("first", ASCENDING)]
_MARKS: tuple[Mark, ...] = ("unfolded", "unpublished")


class MongoAppends:
    """AppendStore: one document an append, `_id` = `<stream>@<first>`, which is the optimistic lock."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._epoch = ""

    @property
    def epoch(self) -> str:
        if not self._epoch:
            raise RuntimeError("the stores were not prepared")
        return self._epoch

    async def prepare(self) -> None:
        """Creates the epoch at the database's very first start, reads it ever after; and the indexes."""
        await refuse_half_restored(self._link)
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
                    codes = refusals(error)
                    # A majority that did not confirm in time may still lose the write to a failover.
                    rest = Insert.UNKNOWN if error.details["writeConcernErrors"] else Insert.STORED
                    unknown = {code for code in codes.values() if code != DUPLICATE_KEY}
                    if unknown or rest is Insert.UNKNOWN:
                        _log.warning("append-unanswered", extra={"reason": reason(error)})
                    return [_answer(codes[i]) if i in codes else rest for i in range(len(appends))]
        except StoreUnavailable as error:
            _log.warning("append-unanswered", extra={"reason": str(error)})
            return [Insert.UNKNOWN] * len(appends)
        return [Insert.STORED] * len(appends)

    async def pending(self, mark: Mark, *, streams: Sequence[str] | None = None, limit: int) -> list[Append]:
        # The order is what keeps a stream whole. Each step of an ordered scan goes to the next larger slot that
        # exists at that moment, and a slot is filled only after its predecessor: whoever sees `@2` of a stream has
        # been given its `@1` before, or `@1` had lost its mark, though others insert all the while. By another
        # order (`_id`, a time, a mark's own) the scan could pass where `@1` will stand and then meet `@2`.
        #
        # No hint, though both indexes that can answer give this order: SecantusDB walks a hinted index from end
        # to end. Without it, it reads all that is marked (35 microseconds each), MongoDB a page.
        found: list[Mapping[str, Any]] = []
        if streams is None:
            found = await self._link.find(_APPENDS, {mark: True}, sort=_SLOTS, limit=limit)
        else:
            for part in parts(sorted(set(streams)), IN_MAX):
                where = {mark: True, "stream": {"$in": part}}
                found += await self._link.find(_APPENDS, where, sort=_SLOTS, limit=limit - len(found))
                if len(found) >= limit:
                    break
        return [_append(document) for document in found]

    async def waiting(
        self, mark: Mark, *, limit: int, without: Collection[str] = (), before: datetime | None = None
    ) -> list[str]:
        # Unsorted, so that a page costs a page: SecantusDB would read the whole backlog to sort it.
        where: dict[str, Any] = {mark: True}
        if without:
            where["stream"] = {"$nin": sorted(without)}
        if before is not None:
            where["recorded"] = {"$lt": before}
        found = await self._link.find(_APPENDS, where, limit=limit, fields=["stream"])
        return list(dict.fromkeys(document["stream"] for document in found))

    async def clear(self, mark: Mark, appends: Sequence[Append]) -> None:
        # Unset, not set to false: the partial index then holds only what waits. Many documents in one operation,
        # many operations in one request: on SecantusDB twice as fast as one operation a document.
        update = {"$unset": {mark: ""}}
        guard: dict[str, Any] = {}
        again: list[UpdateOne | UpdateMany] = []
        if mark == "unpublished":
            guard = {"again": None}  # is not there
            done = {"$unset": {mark: "", "again": ""}}
            again = [UpdateOne({"_id": a.id, "again": a.again}, done) for a in appends if a.again]
            appends = [a for a in appends if not a.again]
        ids = parts([a.id for a in appends], IN_MAX)
        once = [UpdateMany({"_id": {"$in": part}, **guard}, update) for part in ids]
        await self._link.write(_APPENDS, [*once, *again])

    async def backlog(self, mark: Mark, *, limit: int) -> Backlog:
        # Unsorted: the oldest of everything would be found by reading everything, every second of an outage.
        fields = ("first", "last", "recorded")
        found = await self._link.find(_APPENDS, {mark: True}, limit=limit + 1, fields=fields)
        counted = found[:limit]
        oldest = min((d["recorded"] for d in counted), default=None)
        return Backlog(sum(d["last"] - d["first"] + 1 for d in counted), len(found) > limit, oldest)

    async def slots(self, *, category: str = "", after: Slot = ("", 0), limit: int) -> list[tuple[str, int, int]]:
        # "-" ends a category and "." is the character after it.
        within = {"$gte": f"{category}-", "$lt": f"{category}."} if category else {}
        stream, first = after
        # Two questions: what is left of the stream in which the last page ended, then the streams beyond it.
        asked: list[dict[str, Any]] = [{"stream": {**within, "$gt": stream}}] if stream else [{"stream": within}]
        if stream:
            asked.insert(0, {"stream": stream, "first": {"$gt": first}})
        found: list[Mapping[str, Any]] = []
        for where in asked:
            if len(found) < limit:
                kept = where if where["stream"] else {}
                fields = ("stream", "first", "last")
                found += await self._link.find(_APPENDS, kept, sort=_SLOTS, limit=limit - len(found), fields=fields)
        return [(d["stream"], d["first"], d["last"]) for d in found]

    async def ask_again(self, streams: Sequence[str], republication: str) -> None:
        update = {"$set": {"unpublished": True, "again": republication}}
        await self._link.update_any(_APPENDS, [f"{stream}@1" for stream in streams], update)

    async def asked(self, republication: str) -> int:
        return await self._link.count(_APPENDS, {"again": republication})

    async def list_streams(self, category: str, *, after: str = "", limit: int) -> list[str]:
        # Every stream has one append that begins it, and `slots` gives those in order.
        found = await self._link.find(_APPENDS, _begun(category, after), sort=_SLOTS, limit=limit, fields=["stream"])
        return [document["stream"] for document in found]

    async def count_streams(self, category: str) -> int:
        return await self._link.count(_APPENDS, _begun(category))

    async def _ensure_indexes(self) -> None:
        marked = [
            # The mark leads so that SecantusDB can seek by it; MongoDB needs only the partial filter.
            IndexModel([(mark, ASCENDING), *_SLOTS], name=mark, partialFilterExpression={mark: True})
            for mark in _MARKS
        ]
        again = IndexModel([("again", ASCENDING)], name="again", sparse=True)
        await self._link.index(_APPENDS, [IndexModel(_SLOTS, name="slots"), *marked, again])

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


def _begun(category: str, after: str = "") -> dict[str, Any]:
    """The first append of each of the category's streams beyond `after`: all that begins with `<category>-`."""
    return {"stream": {"$gt": max(after, f"{category}-"), "$lt": f"{category}."}, "first": 1}


def _append(document: Mapping[str, Any]) -> Append:
    return Append(
        document["stream"],
        document["first"],
        tuple(known(Step, step) for step in document["steps"]),
        tuple(StoredEvent(event["type"], event["data"]) for event in document["events"]),
        document["recorded"],
        document.get("again", ""),
    )


def _answer(code: int) -> Insert:
    # Any other refusal (no space, not primary any more) is rare and not worth a promise: UNKNOWN is never wrong.
    return Insert.TAKEN if code == DUPLICATE_KEY else Insert.UNKNOWN
