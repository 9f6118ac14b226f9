"""Backups on a real server: what is restored is what was backed up, and whatever is wrong with one is seen.

A planted fault (a stream left out, a byte changed, an older copy of the keys) must be found.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorCollection
from pymongo import MongoClient

from eventcore.event import StoredEvent
from eventcore.mongo import MongoStores, connect
from eventcore.mongo.backup import MongoBackup, decode
from eventcore.store import Append, Insert, KeyErased, Step, StoreUnavailable, Tombstone
from servicekit.backup import files, tool
from servicekit.backup.files import BackupUnusable, Manifest, checksum, pages
from servicekit.backup.log import Streams
from servicekit.backup.tool import Restored
from servicekit.runtime import now

pytestmark = pytest.mark.servers

AT = datetime(2024, 10, 1, 12, 0, tzinfo=UTC)
STREAMS = 40


def quiet(what: str, done: int, total: int) -> None:
    """Nobody looks."""


def append(stream: str, first: int, count: int = 2) -> Append:
    last = first + count - 1
    step = Step(f"k{first}", "digest", "tester", "", "", "", first, last)
    events = tuple(StoredEvent("jar.dropped.v1", {"coins": first + n}) for n in range(count))
    return Append(stream, first, (step,), events, AT)


@dataclass(frozen=True)
class Room:
    """A service's database, and where its backups go."""

    uri: str
    name: str
    folder: Path
    keys: Path

    @asynccontextmanager
    async def stores(self) -> AsyncIterator[MongoStores]:
        stores = await connect(self.uri, self.name)
        try:
            yield stores
        finally:
            await stores.close()

    @contextmanager
    def way(self) -> Iterator[MongoBackup]:
        way = MongoBackup(self.uri, self.name)
        try:
            yield way
        finally:
            way.close()

    async def create(self, folder: Path | None = None) -> Manifest:
        with self.way() as way:
            return await tool.create(way, self.name, folder or self.folder, self.keys, quiet)

    async def restore(self, *erased: str, told: tool.Progress = quiet) -> Restored:
        with self.way() as way:
            return await tool.restore(way, self.name, self.folder, self.keys, erased, told)

    async def log(self) -> tuple[int, str]:
        streams = Streams()
        with self.way() as way:
            async for page in way.appends():
                streams.add(page)
        assert streams.faults == []
        return streams.count, streams.digest

    def drop(self) -> None:
        with MongoClient[dict[str, Any]](self.uri) as client:
            client.drop_database(self.name)

    def run(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        """`python -m servicekit.backup` as a process of its own."""
        secrets = self.folder.parent / "secrets"
        secrets.mkdir(exist_ok=True)
        for key in ("master.key", "digest.key"):
            (secrets / key).write_text("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
        (secrets / "jwks").write_text("{}")
        env = {
            "CREDENCE_MONGO_URI": self.uri,
            "CREDENCE_MONGO_DATABASE": self.name,
            "CREDENCE_KAFKA_BOOTSTRAP": "127.0.0.1:1",
            "CREDENCE_GRPC_PORT": "0",
            "CREDENCE_HTTP_PORT": "0",
            "CREDENCE_SECRETS_DIR": str(secrets),
            "CREDENCE_JWKS": str(secrets / "jwks"),
            "CREDENCE_ISSUER": "tests",
        }
        command = [sys.executable, "-m", "servicekit.backup", *words]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env={**os.environ, **env}, **pipes, **more)


@pytest.fixture
async def room(mongo_uri: str, tmp_path: Path) -> Room:
    """Filled as a service fills it."""
    room = Room(mongo_uri, f"t_{uuid.uuid4().hex[:12]}", tmp_path / "data", tmp_path / "keys")
    async with room.stores() as stores:
        appends = [append(f"jar-{n:03}--a", first) for n in range(STREAMS) for first in (1, 3, 5)]
        assert set(await stores.appends.insert(appends)) == {Insert.STORED}
        await stores.appends.clear("unpublished", appends[:10])
        for person in ("sample-1", "sample-2", "sample-3"):
            await stores.keys.create_key(person, person.encode())
        await stores.keys.destroy_keys(["sample-3"], AT)
        await stores.operations.record("redrive", "facts", "tester", "a sample", AT)
        await stores.views.bind_epoch("credence/sample", "epoch-of-sample")
    return room


async def test_what_is_restored_is_what_was_backed_up(room: Room) -> None:
    before = await room.log()
    taken = await room.create()
    room.drop()

    restored = await room.restore()

    assert await room.log() == before == (taken.streams, taken.log)
    assert taken.streams == STREAMS
    async with room.stores() as stores:
        assert stores.appends.epoch == restored.epoch != taken.epoch
        assert len(await stores.appends.pending("unpublished", limit=1000)) == 3 * STREAMS
        assert len(await stores.appends.pending("unfolded", limit=1000)) == 3 * STREAMS
        assert [operation.reason for operation in await stores.operations.list(limit=10)] == ["a sample"]
        assert await stores.views.bind_epoch("credence/sample", "another") == "epoch-of-sample"
        stored = await stores.keys.read(["sample-1", "sample-3"])
        assert stored == {"sample-1": b"sample-1", "sample-3": Tombstone(AT)}


async def test_commands_go_on_while_it_is_taken_and_no_stream_has_a_hole(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventcore.mongo.backup.FOUND_AT_ONCE_MAX", 25)  # cuts within streams
    whole, rounds = MongoBackup.appends, 3
    async with room.stores() as stores:

        async def meanwhile(self: MongoBackup) -> AsyncIterator[list[bytes]]:
            left = rounds
            async for page in whole(self):
                if left:
                    # Before, at and beyond what was read: streams that grow, and new ones.
                    grown = [append(f"jar-{n:03}--a", 7 + rounds - left, 1) for n in range(STREAMS)]
                    fresh = [append(f"jar-{n:03}--new", 1 + rounds - left, 1) for n in range(STREAMS)]
                    await stores.appends.insert([*grown, *fresh])
                    left -= 1
                yield page

        monkeypatch.setattr(MongoBackup, "appends", meanwhile)
        manifest = await room.create()
    assert tool.verify(room.folder, quiet) == manifest
    assert manifest.files["appends"].documents > 3 * STREAMS


async def test_who_was_erased_since_stays_so(room: Room) -> None:
    await room.create()
    async with room.stores() as stores:
        await stores.keys.destroy_keys(["sample-1"], AT)
    # Data may be old, keys are the newest: an erasure is followed by another copy of them, or told by name.
    await room.create(room.folder.with_name("later"))
    room.drop()
    began = now()

    restored = await room.restore("sample-2")

    assert restored.tombstones == ("sample-1", "sample-2", "sample-3")
    async with room.stores() as stores:
        for person in restored.tombstones:
            with pytest.raises(KeyErased):
                await stores.keys.create_key(person, b"anew")
        dates = dict(await stores.keys.tombstones(limit=10))
        assert dates["sample-3"].at == AT
        assert dates["sample-2"].at >= began, "it was erased by this restore"


async def test_keys_that_came_back_after_an_erasure_are_not_copied_over_its_tombstone(room: Room) -> None:
    await room.create()
    with MongoClient[dict[str, Any]](room.uri) as client:
        client[room.name]["keys"].replace_one({"_id": "sample-3"}, {"wrapped": b"from an older copy"})
    with pytest.raises(BackupUnusable, match="sample-3"):
        await room.create(room.folder.with_name("later"))
    assert not room.folder.with_name("later").exists()


async def test_a_tombstone_that_the_database_has_forgotten_stays_in_the_copy_of_the_keys(room: Room) -> None:
    await room.create()
    with MongoClient[dict[str, Any]](room.uri) as client:
        client[room.name]["keys"].delete_one({"_id": "sample-3"})
    await room.create(room.folder.with_name("later"))
    room.drop()
    assert (await room.restore()).tombstones == ("sample-3",)


def rewritten(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """The file with other documents in it, and the manifest made to fit: only the streams can tell."""
    path.write_bytes(gzip.compress(b"".join(change([d for page in pages(path) for d in page]))))
    manifest = json.loads((path.parent / files.MANIFEST).read_text())
    entry = manifest["files"]["appends"]
    entry["sha256"], entry["documents"] = checksum(path), len([d for page in pages(path) for d in page])
    (path.parent / files.MANIFEST).write_text(json.dumps(manifest))


def with_byte(documents: list[bytes]) -> list[bytes]:
    return [documents[0].replace(b"digest", b"digesT", 2), *documents[1:]]


FIRST = "jar-000--a"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda found: [d for d in found if decode(d)["stream"] != FIRST], id="a stream left out"),
        pytest.param(lambda found: [d for d in found if decode(d)["_id"] != f"{FIRST}@3"], id="an append left out"),
        pytest.param(lambda found: [d for d in found if decode(d)["_id"] != f"{FIRST}@5"], id="a last append left out"),
        pytest.param(with_byte, id="a byte changed"),
        pytest.param(lambda found: [found[0], *found], id="an append twice"),
        pytest.param(lambda found: [*found[3:], *found[:3]], id="another order"),
    ],
)
async def test_a_log_that_is_not_what_was_backed_up_is_found(
    room: Room, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    await room.create()
    rewritten(room.folder / "appends.bson.gz", change)
    with pytest.raises(BackupUnusable, match="streams are not those"):
        tool.verify(room.folder, quiet)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flipped, Path.unlink])
@pytest.mark.parametrize("collection", ["appends", "operations"])
async def test_a_damaged_file_is_found_and_nothing_is_restored_from_it(
    room: Room, damage: Callable[[Path], None], collection: str
) -> None:
    await room.create()
    damage(room.folder / f"{collection}.bson.gz")
    room.drop()
    with pytest.raises(BackupUnusable, match=collection):
        await room.restore()
    with MongoClient[dict[str, Any]](room.uri) as client:
        assert room.name not in client.list_database_names()


async def test_a_restore_that_left_a_stream_out_is_found(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    await room.create()
    room.drop()
    insert = MongoBackup.insert

    async def forgetful(self: MongoBackup, collection: str, documents: list[bytes]) -> None:
        await insert(self, collection, [d for d in documents if decode(d).get("stream") != FIRST])

    monkeypatch.setattr(MongoBackup, "insert", forgetful)
    with pytest.raises(BackupUnusable, match="not what was backed up"):
        await room.restore()
    monkeypatch.undo()
    with pytest.raises(StoreUnavailable, match="not finished"):
        async with room.stores():
            pass


class Broken(Exception):
    """Somebody pulled the plug."""


async def test_a_restore_that_was_broken_off_goes_on_and_no_service_starts_before(room: Room) -> None:
    taken = await room.create()
    room.drop()

    def plug(what: str, done: int, total: int) -> None:
        if what == "restoring operations":
            raise Broken

    with pytest.raises(Broken):
        await room.restore(told=plug)
    with pytest.raises(StoreUnavailable, match="not finished"):
        async with room.stores():
            pass
    await room.restore()
    assert await room.log() == (taken.streams, taken.log)
    async with room.stores():
        pass


async def test_a_restore_broken_off_in_its_last_step_goes_on(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = await room.create()
    room.drop()

    async def plug(self: AsyncIOMotorCollection, where: object) -> None:
        raise Broken

    monkeypatch.setattr(AsyncIOMotorCollection, "delete_one", plug)
    with pytest.raises(Broken):
        await room.restore("sample-1")
    monkeypatch.undo()
    with pytest.raises(StoreUnavailable, match="not finished"):
        async with room.stores():
            pass
    restored = await room.restore("sample-1")
    assert await room.log() == (taken.streams, taken.log)
    async with room.stores() as stores:
        assert stores.appends.epoch == restored.epoch


@pytest.mark.parametrize("left_over", ["appends", "view_jars", "targets_counts", "held", "held_heads", "generations"])
async def test_a_database_that_holds_anything_is_not_restored_into(room: Room, left_over: str) -> None:
    await room.create()
    room.drop()
    with MongoClient[dict[str, Any]](room.uri) as client:
        client[room.name][left_over].insert_one({"_id": "left over", "version": 7, "body": None})
    with pytest.raises(BackupUnusable, match=f"not empty .{left_over} holds something"):
        await room.restore()
    with MongoClient[dict[str, Any]](room.uri) as client:
        assert client[room.name].list_collection_names() == [left_over]


async def test_another_services_backup_is_refused(room: Room) -> None:
    await room.create()
    with room.way() as way:
        with pytest.raises(BackupUnusable, match="these settings"):
            await tool.restore(way, "credence_other", room.folder, room.keys, (), quiet)


async def test_keys_and_data_in_one_folder_are_refused(room: Room) -> None:
    with room.way() as way:
        with pytest.raises(BackupUnusable, match="apart"):
            await tool.create(way, room.name, room.folder, room.folder / "keys", quiet)


async def test_a_second_backup_into_the_same_folder_is_refused_and_an_unfinished_one_is_no_backup(room: Room) -> None:
    await room.create()
    with pytest.raises(BackupUnusable, match="another folder"):
        await room.create()
    (room.folder / files.MANIFEST).unlink()
    with pytest.raises(BackupUnusable, match="not finished"):
        tool.verify(room.folder, quiet)
    await room.create()


async def test_a_full_disk_leaves_nothing_behind(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: files.Writer, documents: list[bytes]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.Writer, "write", full)
    with pytest.raises(OSError, match="No space"):
        await room.create()
    assert not room.folder.exists()
    assert list(room.keys.iterdir()) == []


async def test_by_hand_each_step_says_what_it_did_and_what_is_wrong(room: Room) -> None:
    data, keys = str(room.folder), str(room.keys)

    def ran(*words: str) -> tuple[int, Any, str]:
        process = room.run(*words)
        out, err = process.communicate(timeout=60)
        return process.returncode, json.loads(out) if out else None, err

    code, created, told = ran("create", "--to", data, "--keys", keys)
    assert (code, created["streams"]) == (0, STREAMS), told
    assert "appends: 120 of 120" in told
    assert ran("create", "--to", data, "--keys", keys)[0] == 1
    assert ran("verify", "--from", data, "--keys", keys)[1] == created
    code, _, told = ran("restore", "--from", data, "--keys", keys)
    assert (code, "drop it first" in told) == (1, True)
    room.drop()
    erased = room.folder.with_name("erased")
    erased.write_text("sample-1\r\n", encoding="utf-8-sig")  # as some editors write it
    code, restored, told = ran("restore", "--from", data, "--keys", keys, "--erased", str(erased))
    assert code == 0, told
    assert restored["log"] == created["log"]
    assert restored["new_epoch"] != created["epoch"]
    assert restored["erased"] == ["sample-1", "sample-3"]
    assert ran("verify", "--from", str(room.keys))[0] == 1
