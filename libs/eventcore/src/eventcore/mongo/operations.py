"""What operators did, in MongoDB."""

from __future__ import annotations

from datetime import datetime

from pymongo import DESCENDING, IndexModel

from eventcore.mongo.link import Link
from eventcore.store import Operation

_OPERATIONS = "operations"


class MongoOperations:
    """OperationLog: a document an operation, read by `key`, which is its id (SecantusDB scans a sort by `_id`)."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def prepare(self) -> None:
        await self._link.index(_OPERATIONS, [IndexModel([("key", DESCENDING)])])

    async def record(self, action: str, subject: str, actor: str, reason: str, at: datetime) -> Operation:
        new = Operation.new(action, subject, actor, reason, at)
        document = {
            "_id": new.id,
            "key": new.id,
            "action": action,
            "subject": subject,
            "actor": actor,
            "reason": reason,
            "at": at,
        }
        await self._link.keep_first(_OPERATIONS, document)
        return new

    async def list(self, *, before: str = "", limit: int) -> list[Operation]:
        where = {"key": {"$lt": before}} if before else {}
        found = await self._link.find(_OPERATIONS, where, sort=[("key", DESCENDING)], limit=limit)
        return [Operation(d["_id"], d["action"], d["subject"], d["actor"], d["reason"], d["at"]) for d in found]
