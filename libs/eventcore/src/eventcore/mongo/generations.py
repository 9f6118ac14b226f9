"""Which generation of each view is current, in MongoDB."""

from __future__ import annotations

from pymongo import ReplaceOne

from eventcore.generations import Catalogue
from eventcore.mongo.link import Link

_GENERATIONS = "generations"
_ID = "views"


class MongoGenerations:
    """GenerationStore: one document, `{_id: "views", revision, catalogue}`."""

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
