"""Looks for values that must be nowhere any more: in every database, backup, topic, log and metric, and in digests of
them.

Read with the plain drivers, not with the code under test. `test_erasure.py` shows it red on a leak in each place.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import http.client
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from aiokafka import AIOKafkaConsumer, TopicPartition
from pymongo import MongoClient

from tests.system.platform import Platform

Places = Mapping[str, bytes]
HASHES = ("sha256", "sha1", "md5", "blake2b")
START = 8  # bytes of a form that are looked up at once
PORTIONS = ("", "\n", "email\0", "name\0", "learner-reference\0ipc\0")  # what a digest may have been taken with


def forms(value: str, keys: Mapping[str, bytes]) -> dict[str, bytes]:
    """The ways in which a value may stand somewhere, by what they are: itself in the usual encodings, and its digests,
    plain and keyed with any of these keys (or one derived from it for an index)."""
    found: dict[str, bytes] = {}
    for kind, text in {"as it is": value, "in lower case": value.casefold()}.items():
        raw = text.encode()
        found |= {
            kind: raw,
            f"{kind}, in UTF-16": text.encode("utf-16-le"),
            f"{kind}, JSON": json.dumps(text).encode()[1:-1],
            f"{kind}, quoted": quote(text).encode(),
            f"{kind}, hexadecimal": raw.hex().encode(),
        }
        # In base64 a value stands in one of three ways, by what is before it; at either end its neighbours mix in.
        for shift in range(3):
            encoded = base64.b64encode(b"\0" * shift + raw).rstrip(b"=")
            found[f"{kind}, base64 at {shift}"] = encoded[4 if shift else 0 : len(encoded) // 4 * 4]
        for name, digest in _digests(raw, keys):
            found[f"{name} of it {kind}"] = digest
            found[f"{name} of it {kind}, hexadecimal"] = digest.hex().encode()
            found[f"{name} of it {kind}, base64"] = base64.b64encode(digest).rstrip(b"=")
    return found


def _digests(raw: bytes, keys: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for name in HASHES:
        yield name, hashlib.new(name, raw).digest()
    derived = {f"{name}, for an index": hmac.digest(key, b"blind index", "sha256") for name, key in keys.items()}
    for name, key in {**keys, **derived}.items():
        for portion in PORTIONS:
            yield f"HMAC with {name} ({portion!r})", hmac.digest(key, portion.encode() + raw, "sha256")


class Search:
    """Looks for these values (by what they are) in all their forms, in one pass over what is kept, however many forms
    there are: hundreds of thousands, over many megabytes."""

    def __init__(self, values: Mapping[str, str], keys: Mapping[str, bytes]) -> None:
        self._by_start: dict[bytes, list[tuple[str, bytes]]] = {}
        for name, value in values.items():
            for kind, form in forms(value, keys).items():
                assert len(form) >= START, f"{name} is too short to be looked for"
                self._by_start.setdefault(form[:START], []).append((f"{name} {kind}", form))

    def traces(self, places: Places) -> list[str]:
        """Where which value stands, and as what."""
        return sorted({f"{what} in {place}" for place, held in places.items() for what in self._in(held)})

    def _in(self, held: bytes) -> Iterator[str]:
        for at in range(len(held) - START + 1):
            candidates = self._by_start.get(held[at : at + START])
            if candidates is not None:
                yield from (what for what, form in candidates if held.startswith(form, at))


async def everywhere(platform: Platform) -> dict[str, bytes]:
    """All that the platform keeps or tells, by place."""
    found = dict(databases(platform.stack.addresses.mongo_uri))
    found |= await topics(platform.stack.addresses.kafka_bootstrap)
    found |= dict(files(platform.home))
    found |= dict(statuses(platform))
    with tempfile.TemporaryDirectory(prefix="credence-backups-") as folder:
        found |= dict(backups(platform, Path(folder)))
    return found


def databases(uri: str) -> Iterator[tuple[str, bytes]]:
    """Every document of every collection of every database, the server's own excepted."""
    client: MongoClient[dict[str, Any]] = MongoClient(uri, tz_aware=True)
    try:
        for database in client.list_database_names():
            for collection in client[database].list_collection_names() if database not in ("admin", "local") else ():
                documents = b"\n".join(_flat(document) for document in client[database][collection].find())
                yield f"database {database}.{collection}", documents
    finally:
        client.close()


def _flat(value: Any) -> bytes:
    """Everything in a document, names included; bytes as they are."""
    match value:
        case bytes():
            return value
        case dict():
            return b"\n".join(part for pair in value.items() for part in map(_flat, pair))
        case list():
            return b"\n".join(map(_flat, value))
        case _:
            return str(value).encode()


async def topics(bootstrap: str) -> dict[str, bytes]:
    """Every record of every topic: key, value and headers, as they are."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    found: dict[str, bytes] = {}
    try:
        metadata = await consumer._client.fetch_all_metadata()
        for topic in sorted(metadata.topics(exclude_internal_topics=False)):
            numbers = sorted(metadata.partitions_for_topic(topic) or ())
            assert numbers, f"{topic} has no partitions"
            partitions = [TopicPartition(topic, number) for number in numbers]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)
            held = []
            while any([await consumer.position(p) < ends[p] for p in partitions]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    for record in batch:
                        held += [record.key or b"", record.value or b""]
                        held += [part for name, value in record.headers for part in (name.encode(), value)]
            found[f"topic {topic}"] = b"\n".join(held)
    finally:
        await consumer.stop()
    return found


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file in a CREDENCE_HOME: logs of all processes, and whatever the command keeps."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield f"file {path.relative_to(folder)}", path.read_bytes()


def statuses(platform: Platform) -> Iterator[tuple[str, bytes]]:
    """What each service tells of itself over HTTP."""
    for name, address in platform.stack.addresses.http.items():
        for page in ("/metrics", "/ready", "/live"):
            connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=5)
            try:
                connection.request("GET", page)
                yield f"page {name}{page}", connection.getresponse().read()
            finally:
                connection.close()


def backups(platform: Platform, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of a backup of each service that is taken now, the keys' among them: what was zipped, unzipped."""
    for spec in platform.stack.specs:
        words = ["create", "--to", str(folder / spec.name), "--keys", str(folder / "keys")]
        command = [sys.executable, "-m", "servicekit.backup", *words]
        ran = subprocess.run(command, env={**os.environ, **spec.env}, cwd=folder, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        yield f"backup {spec.name}, what was said", (ran.stdout + ran.stderr).encode()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            kept = gzip.decompress(data) if path.suffix == ".gz" else data
            yield f"backup {path.relative_to(folder)}", kept
