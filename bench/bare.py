"""The bare driver with the kernel's guarantees: the same read concern, write concern and connections."""

from __future__ import annotations

from datetime import UTC

from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo import ReadPreference
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from eventcore.limits import MONGO_CONNECTIONS_MAX


def database(uri: str, name: str) -> AsyncIOMotorDatabase:
    """As `eventcore.mongo` reaches it. Close its `client`."""
    client = AsyncIOMotorClient(uri, maxPoolSize=MONGO_CONNECTIONS_MAX)
    return client[name].with_options(
        codec_options=CodecOptions(tz_aware=True, tzinfo=UTC),
        read_preference=ReadPreference.PRIMARY,
        read_concern=ReadConcern("majority"),
        write_concern=WriteConcern("majority", wtimeout=8000, j=True),
    )
