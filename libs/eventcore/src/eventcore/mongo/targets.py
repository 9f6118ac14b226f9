"""What evaluations found, in MongoDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo import ASCENDING, IndexModel, InsertOne, UpdateOne

from eventcore.mongo.link import Link
from eventcore.store import Finding, Target


class MongoTargets:
    """TargetStore: `{_id: target, revision, dirty, evaluate_at, basis, result}` in a collection per evaluation.

    `dirty` and `evaluate_at` are there only while they say something, so that their sparse indexes stay small.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    async def ensure_indexes(self, evaluations: Sequence[str]) -> None:
        """Creates the indexes these evaluations need. Raises StoreUnavailable."""
        for name in evaluations:
            fields = ("dirty", "evaluate_at")
            await self._link.index(_targets(name), [IndexModel([(f, ASCENDING)], sparse=True) for f in fields])

    async def mark(self, evaluation: str, targets: Sequence[str]) -> None:
        # An insert for many and a write for many, and not an upsert for each: that is a commit to disk of its own.
        name = _targets(evaluation)
        there = await self.known(evaluation, targets)
        missing = [t for t in targets if t not in there]
        if missing:
            made = [InsertOne[Any]({"_id": t, "revision": 1, "dirty": True}) for t in missing]
            there |= {missing[position] for position in await self._link.write(name, made)}  # somebody was faster
        await self._link.update_any(name, sorted(there), _MARK)

    async def mark_again(self, evaluation: str, targets: Sequence[str]) -> None:
        await self._link.update_any(_targets(evaluation), targets, _MARK)

    async def count(self, evaluation: str) -> int:
        return await self._link.count(_targets(evaluation), {})

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

    async def bases(self, evaluation: str, targets: Sequence[str]) -> dict[str, Mapping[str, int]]:
        found = await self._link.find_any(_targets(evaluation), "_id", targets, fields=["basis"])
        return {d["_id"]: d["basis"] for d in found if "basis" in d}

    async def known(self, evaluation: str, targets: Sequence[str]) -> set[str]:
        return {d["_id"] for d in await self._link.find_any(_targets(evaluation), "_id", targets, fields=["_id"])}

    async def names(self, evaluation: str, *, after: str = "", limit: int) -> list[str]:
        where = {"_id": {"$gt": after}} if after else {}
        order = [("_id", ASCENDING)]
        found = await self._link.find(_targets(evaluation), where, sort=order, limit=limit, fields=["_id"])
        return [document["_id"] for document in found]


_MARK = {"$inc": {"revision": 1}, "$set": {"dirty": True}}


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
