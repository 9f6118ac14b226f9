"""View documents in MongoDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import ASCENDING, IndexModel, InsertOne, ReplaceOne

from eventcore.generations import Catalogue, PinnedViews, view_of
from eventcore.limits import IN_MAX
from eventcore.mongo.link import Link
from eventcore.parts import parts
from eventcore.store import Versioned, Write


class MongoViews:
    """Rooms: `{_id: stream, version, body}` in a collection per room, so that a new generation starts empty."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def pinned(self) -> PinnedViews:
        return PinnedViews(self, Catalogue())

    async def open_room(self, room: str, indexes: Sequence[tuple[str, ...]]) -> None:
        # `_id` at the end, so that the index also gives the order that `find` pages in.
        keys = [[(f"body.{field}", ASCENDING) for field in fields] for fields in indexes]
        await self._link.index(_collection(room), [IndexModel([*key, ("_id", ASCENDING)]) for key in keys])

    async def rooms_of(self, view: str) -> list[str]:
        names = [n.removeprefix(_PREFIX) for n in await self._link.collections() if n.startswith(_PREFIX)]
        return sorted(name for name in names if view_of(name) == view)

    async def drop_room(self, room: str) -> None:
        await self._link.drop(_collection(room))

    async def load(self, view: str, streams: Sequence[str]) -> dict[str, Versioned]:
        return {d["_id"]: _versioned(d) for d in await self._link.find_any(_collection(view), "_id", streams)}

    async def write(self, view: str, writes: Sequence[Write]) -> list[bool]:
        missed = await self._link.write(_collection(view), [_guarded(w) for w in writes])
        return [position not in missed for position in range(len(writes))]

    async def find(
        self, view: str, where: Mapping[str, Any], *, after: str = "", limit: int
    ) -> list[tuple[str, Versioned]]:
        return [(d["_id"], _versioned(d)) for d in await self._matching(view, where, after, limit)]

    async def names(self, view: str, where: Mapping[str, Any], *, after: str = "", limit: int) -> list[str]:
        return [d["_id"] for d in await self._matching(view, where, after, limit, fields=["_id"])]

    async def _matching(
        self, view: str, where: Mapping[str, Any], after: str, limit: int, fields: Sequence[str] | None = None
    ) -> list[Mapping[str, Any]]:
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
            queries = [query | {longest: {"$in": part}} for part in parts(lists[longest], IN_MAX)]
        order = [("_id", ASCENDING)]
        found = {
            d["_id"]: d
            for q in queries
            for d in await self._link.find(_collection(view), q, sort=order, limit=limit, fields=fields)
        }
        return [found[stream] for stream in sorted(found)[:limit]]

    async def count(self, view: str, where: Mapping[str, Any]) -> int:
        return await self._link.count(_collection(view), {f"body.{path}": wanted for path, wanted in where.items()})

    async def bind_epoch(self, source: str, epoch: str) -> str:
        return str((await self._link.keep_first(_EPOCHS, {"_id": source, "epoch": epoch}))["epoch"])

    async def histories(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        found = await self._link.find(_EPOCHS, {})
        return {d["_id"]: (d["epoch"], tuple(d.get("retired", ()))) for d in found}

    async def rebind(self, source: str, epoch: str, retired: Sequence[str]) -> None:
        await self._link.write(
            _EPOCHS, [ReplaceOne({"_id": source}, {"epoch": epoch, "retired": list(retired)}, upsert=True)]
        )


_EPOCHS = "epochs"
_PREFIX = "view_"


def _collection(room: str) -> str:
    return f"{_PREFIX}{room}"


def _versioned(document: Mapping[str, Any]) -> Versioned:
    return Versioned(document["version"], document["body"], document.get("trace", ""))


def _guarded(write: Write) -> InsertOne[dict[str, Any]] | ReplaceOne[dict[str, Any]]:
    """A write that a document which moved on refuses by name. A new one is inserted: a server makes one commit of many
    inserts, and of each upsert its own."""
    document = _versioned_document(write)
    if not write.seen:
        return InsertOne({"_id": write.stream, **document})
    # An upsert: where the version moved on, the filter finds nothing and the upsert meets the `_id` that is there,
    # which names the miss. Without it the answer is only how many missed. (A document that was deleted since it was
    # seen is written anew, which is right: its body is the fold of everything so far.)
    return ReplaceOne({"_id": write.stream, "version": write.seen}, document, upsert=True)


def _versioned_document(write: Write) -> dict[str, Any]:
    return {"version": write.version, "body": write.body, **({"trace": write.trace} if write.trace else {})}
