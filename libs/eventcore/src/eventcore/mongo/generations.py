"""Which generation of each view is current, in MongoDB."""

from __future__ import annotations

from datetime import datetime, timedelta

from pymongo import DeleteMany, ReplaceOne

from eventcore.generations import Catalogue, Instance
from eventcore.limits import INSTANCES_KEPT_SECONDS
from eventcore.mongo.link import Link

_GENERATIONS = "generations"
_ID = "views"
_INSTANCES = "instances"


class MongoGenerations:
    """GenerationStore: one document, `{_id: "views", revision, catalogue}`; and one a process beside it."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def read(self) -> Catalogue:
        found = await self._link.find(_GENERATIONS, {"_id": _ID}, limit=1)
        return Catalogue(revision=found[0]["revision"], **found[0]["catalogue"]) if found else Catalogue()

    async def swap(self, seen: Catalogue, new: Catalogue) -> bool:
        document = {"revision": seen.revision + 1, "catalogue": new.model_dump(mode="json", exclude={"revision"})}
        # An upsert for the same reason as a view's: where the revision moved on, it meets the `_id` that is there.
        guard = ReplaceOne({"_id": _ID, "revision": seen.revision}, document, upsert=True)
        return not await self._link.write(_GENERATIONS, [guard])

    async def note(self, instance: Instance) -> None:
        document = instance.model_dump(exclude={"name"})
        long_ago = {"at": {"$lt": instance.at - timedelta(seconds=INSTANCES_KEPT_SECONDS)}}
        await self._link.write(_INSTANCES, [ReplaceOne({"_id": instance.name}, document, True), DeleteMany(long_ago)])

    async def instances(self, since: datetime) -> list[Instance]:
        found = await self._link.find(_INSTANCES, {"at": {"$gte": since}})
        return [Instance(name=d["_id"], fingerprints=d["fingerprints"], at=d["at"]) for d in found]
