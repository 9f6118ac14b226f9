"""Held records, in MongoDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, DeleteMany, IndexModel, ReplaceOne, UpdateOne

from eventcore.limits import IN_MAX, RACE_ATTEMPTS_MAX
from eventcore.mongo.documents import known
from eventcore.mongo.link import Link
from eventcore.parts import parts
from eventcore.store import Discard, Entry, Head, HeldGroup, HeldKind, StoreUnavailable, grouped

_ENTRIES = "held"
_HEADS = "held_heads"
_DISCARDS = "held_discards"


class MongoHeld:
    """HeldStore: a document an entry and a document a head, whose `revision` is the lock."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def ensure_indexes(self) -> None:
        """Raises StoreUnavailable."""
        await self._link.index(_ENTRIES, [_index("consumer", "stream", "epoch", "version")])
        await self._link.index(
            _HEADS, [_index("consumer", "stream"), _index("consumer", "kind", "last"), _index("consumer", "first")]
        )
        await self._link.index(_DISCARDS, [_index("epoch", "stream"), _index("stream")])

    async def keep(self, entries: Sequence[Entry]) -> None:
        # What a race refuses is stored: two upserts of one missing document, and the other's is the same record.
        await self._link.write(_ENTRIES, [ReplaceOne({"_id": _entry_id(e)}, asdict(e), upsert=True) for e in entries])

    async def park(self, heads: Sequence[Head]) -> None:
        todo = list(heads)
        for _ in range(RACE_ATTEMPTS_MAX):
            # Two upserts of one missing head at once: one may be refused instead of raising what the other made.
            refused = await self._link.write(_HEADS, [_park(head) for head in todo])
            todo = [todo[position] for position in sorted(refused)]
            if not todo:
                return
        raise StoreUnavailable("heads of held streams kept colliding")

    async def heads(self, consumer: str, streams: Sequence[str]) -> dict[str, Head]:
        # Mostly nothing is held: then this is one question, whatever the number of streams.
        if not await self._link.find(_HEADS, {"consumer": consumer}, limit=1, fields=["stream"]):
            return {}
        found = await self._link.find_any(_HEADS, "_id", [_head_id(consumer, s) for s in streams])
        return {d["stream"]: _head(d) for d in found}

    async def entries(self, consumer: str, epoch: str, stream: str, *, after: int = 0, limit: int) -> list[Entry]:
        where = {"consumer": consumer, "stream": stream, "epoch": epoch, "version": {"$gt": after}}
        found = await self._link.find(_ENTRIES, where, sort=[("version", ASCENDING)], limit=limit)
        return [_entry(d) for d in found]

    async def drop(self, entries: Sequence[Entry]) -> None:
        ids = parts([_entry_id(e) for e in entries], IN_MAX)
        await self._link.write(_ENTRIES, [DeleteMany({"_id": {"$in": part}}) for part in ids])

    async def move(self, head: Head) -> bool:
        # Never an upsert: it would bring back a head that another process removed.
        place = {"kind": head.kind, "version": head.version, "error": head.error, "last": head.last}
        update = {"$set": place | {"attempts": head.attempts}, "$inc": {"revision": 1}}
        async with self._link.reached():
            return bool((await self._link[_HEADS].update_one(_at_revision(head), update)).matched_count)

    async def remove(self, head: Head) -> bool:
        async with self._link.reached():
            return bool((await self._link[_HEADS].delete_one(_at_revision(head))).deleted_count)

    async def orphans(self, consumer: str, *, limit: int) -> list[Entry]:
        async with self._link.reached():
            streams: list[str] = await self._link[_ENTRIES].distinct("stream", {"consumer": consumer})
        known = await self.heads(consumer, streams) if streams else {}
        found: list[Entry] = []
        for stream in sorted(set(streams) - known.keys())[:limit]:
            where = {"consumer": consumer, "stream": stream}
            found += map(_entry, await self._link.find(_ENTRIES, where, sort=[("version", ASCENDING)], limit=1))
        return found

    async def forget(self, consumer: str, epoch: str) -> None:
        for collection in (_HEADS, _ENTRIES):
            await self._link.write(collection, [DeleteMany({"consumer": consumer, "epoch": epoch})])

    async def find(
        self,
        *,
        consumer: str = "",
        kind: HeldKind | None = None,
        error: str = "",
        after: tuple[str, str] = ("", ""),
        limit: int,
    ) -> list[Head]:
        given = {"consumer": consumer, "kind": kind, "error": error}
        where: dict[str, Any] = {name: value for name, value in given.items() if value}
        # Two questions instead of an `$or`: the rest of the consumer at which the last page ended, then the others.
        rest = where | {"consumer": after[0], "stream": {"$gt": after[1]}} if consumer in ("", after[0]) else None
        pages = [rest] if rest and after != ("", "") else []
        if not consumer or consumer > after[0]:
            pages.append(where if consumer else where | {"consumer": {"$gt": after[0]}})
        found: list[Mapping[str, Any]] = []
        for page in pages:
            if len(found) < limit:
                order = [("consumer", ASCENDING), ("stream", ASCENDING)]
                found += await self._link.find(_HEADS, page, sort=order, limit=limit - len(found))
        return [_head(d) for d in found]

    async def stalest(self, consumer: str, kind: HeldKind, *, limit: int) -> list[Head]:
        where = {"consumer": consumer, "kind": kind}
        return [_head(d) for d in await self._link.find(_HEADS, where, sort=[("last", ASCENDING)], limit=limit)]

    async def groups(self) -> list[HeldGroup]:
        # All of them: a consumer stops long before it holds more streams than fit into one answer.
        return grouped(map(_head, await self._link.find(_HEADS, {})))

    async def held(self, consumer: str) -> tuple[int, datetime | None]:
        where = {"consumer": consumer}
        async with self._link.reached():
            count = await self._link[_HEADS].count_documents(where)
        oldest = await self._link.find(_HEADS, where, sort=[("first", ASCENDING)], limit=1, fields=["first"])
        return count, (oldest[0]["first"] if oldest else None)

    async def discard(self, discards: Sequence[Discard]) -> None:
        # $setOnInsert: the first decision about a version stands.
        await self._link.write(
            _DISCARDS, [UpdateOne({"_id": _discard_id(d)}, {"$setOnInsert": asdict(d)}, upsert=True) for d in discards]
        )

    async def discards(self, epoch: str | None, stream: str) -> list[Discard]:
        where = {"stream": stream} if epoch is None else {"epoch": epoch, "stream": stream}
        found = await self._link.find(_DISCARDS, where)
        return sorted((known(Discard, d) for d in found), key=lambda d: d.version)


def _index(*fields: str) -> IndexModel:
    return IndexModel([(field, ASCENDING) for field in fields])


def _entry_id(entry: Entry) -> str:
    return f"{entry.consumer}/{entry.epoch}/{entry.stream}@{entry.version}"


def _head_id(consumer: str, stream: str) -> str:
    return f"{consumer}/{stream}"


def _discard_id(discard: Discard) -> str:
    return f"{discard.epoch}/{discard.stream}@{discard.version}"


def _park(head: Head) -> UpdateOne:
    """Revision and attempts are counted up: from nothing, where there is no head."""
    kept = asdict(head)
    raised = {name: 1 for name in ("revision", "attempts") if kept.pop(name)}
    update = {"$inc": raised, "$set": {"last": kept.pop("last")}, "$setOnInsert": kept}
    return UpdateOne({"_id": _head_id(head.consumer, head.stream)}, update, upsert=True)


def _at_revision(head: Head) -> dict[str, Any]:
    return {"_id": _head_id(head.consumer, head.stream), "life": head.life, "revision": head.revision}


def _head(document: Mapping[str, Any]) -> Head:
    return known(Head, document)


def _entry(document: Mapping[str, Any]) -> Entry:
    headers = tuple((name, value) for name, value in document["headers"])
    return known(Entry, {**document, "headers": headers})
