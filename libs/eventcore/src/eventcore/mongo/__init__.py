"""The stores in MongoDB. The only package that knows the driver: nothing of it, not even an error, leaves here.

Motor is past its vendor's end of general support; PyMongo's async client replaces it, and then only it changes.

Reads come from the primary with read concern majority, writes wait for a majority and its journal. Both are written
in code, since a connection string that forgot them would publish what a failover then rolls back. What belongs to
the deployment (hosts, replica set, TLS, retryable writes) stays in the connection string.

BSON keeps milliseconds: an append's `recorded` comes back cut to the millisecond, `evaluate_at` raised to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventcore.fold import View
from eventcore.mongo.appends import MongoAppends
from eventcore.mongo.generations import MongoGenerations
from eventcore.mongo.held import MongoHeld
from eventcore.mongo.keys import MongoKeys
from eventcore.mongo.link import Bounds, Link
from eventcore.mongo.operations import MongoOperations
from eventcore.mongo.targets import MongoTargets
from eventcore.mongo.views import MongoViews

__all__ = [
    "Bounds",
    "MongoAppends",
    "MongoGenerations",
    "MongoHeld",
    "MongoKeys",
    "MongoOperations",
    "MongoStores",
    "MongoTargets",
    "MongoViews",
    "connect",
]


class MongoStores:
    """One service's database. Making it contacts no server; `prepare` does."""

    def __init__(self, uri: str, database: str, bounds: Bounds = Bounds()) -> None:
        self._link = Link(uri, database, bounds)
        self.appends = MongoAppends(self._link)
        self.views = MongoViews(self._link)
        self.generations = MongoGenerations(self._link)
        self.targets = MongoTargets(self._link)
        self.keys = MongoKeys(self._link)
        self.operations = MongoOperations(self._link)
        self.held = MongoHeld(self._link)

    async def prepare(self, views: Sequence[View[Any]] = (), evaluations: Sequence[str] = ()) -> None:
        """Creates what is missing: indexes, and the epoch. Raises StoreUnavailable: call again."""
        await self.appends.prepare()
        await self.keys.prepare()
        await self.operations.prepare()
        catalogue = await self.generations.read()
        for view in views:
            if catalogue.standing(view.name).generation:
                await self.views.open_room(catalogue.room(view.name), view.indexes)
        await self.targets.ensure_indexes(evaluations)
        await self.held.ensure_indexes()

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
