"""Creating, verifying and restoring a backup."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eventcore.mongo.backup import APPENDS, KEYS, OTHERS, Altered, MongoBackup, NotEmpty, decode, encode
from servicekit.backup.files import (
    FORMAT,
    MANIFEST,
    BackupUnusable,
    FileEntry,
    Manifest,
    Writer,
    checksum,
    pages,
    read_manifest,
    write_text,
)
from servicekit.backup.log import Streams

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is, and of how much (0: not known)."""


@dataclass(frozen=True)
class Restored:
    """`epoch` is the restored log's own. `tombstones`: people whose key is destroyed, and stays so."""

    manifest: Manifest
    epoch: str
    tombstones: tuple[str, ...]


async def create(store: MongoBackup, database: str, folder: Path, keys: Path, told: Progress) -> Manifest:
    """Raises BackupUnusable for folders that cannot be used and a log that is not whole; StoreUnavailable, OSError."""
    _prepare(folder, keys)
    epoch, streams = await store.epoch(), Streams()
    if not epoch:
        raise BackupUnusable(f"{database} holds no log: is it the right database?")
    files: dict[str, FileEntry] = {}
    written: list[Path] = []
    try:
        # The log first: what is stored beside it meanwhile may know more than the log, never less. The keys last, so
        # that there is one for whatever is sealed.
        for collection in (APPENDS, *OTHERS):
            found = store.appends() if collection == APPENDS else store.documents(collection)
            written.append(_file(folder, collection))
            files[collection] = await _write(
                _file(folder, collection), _counting(found, collection, await store.count(collection), told), streams
            )
        if streams.faults:
            raise BackupUnusable("the log is not whole: " + "; ".join(streams.faults))
        await _write_keys(store, database, keys, told)
        manifest = Manifest(
            format=FORMAT,
            database=database,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            epoch=epoch,
            streams=streams.count,
            log=streams.digest,
            files=files,
        )
        write_text(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    except BaseException:
        _give_up(folder, written)
        raise
    return manifest


def verify(folder: Path, told: Progress, keys: Path | None = None) -> Manifest:
    """Reads every byte of a backup, and of the keys where they are given.

    Raises BackupUnusable naming all that is wrong.
    """
    manifest = read_manifest(folder)
    wrong, streams = [], Streams()
    if set(manifest.files) != {APPENDS, *OTHERS}:
        wrong.append(f"{MANIFEST} names {', '.join(sorted(manifest.files))}")
    for collection, entry in manifest.files.items():
        path, documents = _file(folder, collection), 0
        if not path.exists():
            wrong.append(f"{path.name} is missing")
            continue
        if checksum(path) != entry.sha256:
            wrong.append(f"{path.name} was changed since")
        try:
            for page in pages(path):
                documents += len(page)
                told(f"verifying {collection}", documents, entry.documents)
                if collection == APPENDS:
                    streams.add(page)
        except BackupUnusable as error:
            wrong.append(str(error))
        if documents != entry.documents:
            wrong.append(f"{path.name} holds {documents} documents, not {entry.documents}")
    wrong += streams.faults
    if keys is not None:
        _keys(keys, manifest.database)
    if (streams.count, streams.digest) != (manifest.streams, manifest.log):
        wrong.append("its streams are not those that were backed up")
    if wrong:
        raise BackupUnusable(f"{folder} cannot be relied on: {'; '.join(wrong)}. Use another backup")
    return manifest


async def restore(
    store: MongoBackup, database: str, folder: Path, keys: Path, erased: Sequence[str], told: Progress
) -> Restored:
    """Into an empty database, or on with one that a restore of this backup began. `erased`: people whose keys are not
    to come back, beside those whose tombstones come with the keys.

    Raises BackupUnusable, StoreUnavailable.
    """
    manifest = verify(folder, told)
    if manifest.database != database:
        raise BackupUnusable(f"{folder} is of {manifest.database}, these settings are {database}'s")
    stored_keys = _keys(keys, database)
    try:
        began = await store.begin(manifest.digest, datetime.now(UTC))
        for collection, entry in manifest.files.items():
            done = 0
            for page in pages(_file(folder, collection)):
                await store.insert(collection, page)
                done += len(page)
                told(f"restoring {collection}", done, entry.documents)
        kept = {person: key for person, key in stored_keys.items() if "erased" in key or person not in erased}
        # When it began, not now: the same document at each try.
        await store.insert_keys(kept, erased, began)
    except NotEmpty as error:
        raise BackupUnusable(
            f"{database} is not empty ({error}): drop it first, or restore into another; nothing was changed"
        ) from None
    except Altered as error:
        raise BackupUnusable(f"{error}: drop {database}, and run it again") from None
    again = Streams()
    async for page in _counting(store.appends(), "checking the streams", manifest.files[APPENDS].documents, told):
        again.add(page)
    if again.digest != manifest.log:
        raise BackupUnusable(f"what is stored now is not what was backed up: drop {database}, and run it again")
    epoch = await store.finish(secrets.token_hex(8))
    tombstones = sorted({name for name, key in stored_keys.items() if "erased" in key} | set(erased))
    return Restored(manifest, epoch, tuple(tombstones))


def _file(folder: Path, collection: str) -> Path:
    return folder / f"{collection}.bson.gz"


def _keys_file(folder: Path, database: str) -> Path:
    return folder / f"{database}.{KEYS}.bson.gz"


def _prepare(folder: Path, keys: Path) -> None:
    if keys.resolve().is_relative_to(folder.resolve()) or folder.resolve().is_relative_to(keys.resolve()):
        raise BackupUnusable("keep the keys apart from the data: whoever has both can read what was erased since")
    if (folder / MANIFEST).exists():
        raise BackupUnusable(f"{folder} holds a backup already: name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    keys.mkdir(parents=True, exist_ok=True)


def _give_up(folder: Path, written: Sequence[Path]) -> None:
    """Half a backup helps nobody, and a full disk needs the room."""
    for path in written:
        path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


async def _counting(
    found: AsyncIterator[list[bytes]], what: str, total: int, told: Progress
) -> AsyncIterator[list[bytes]]:
    done = 0
    async for page in found:
        done += len(page)
        told(what, done, max(done, total))
        yield page


async def _write(path: Path, found: AsyncIterator[list[bytes]], streams: Streams) -> FileEntry:
    with Writer(path) as writer:
        async for page in found:
            writer.write(page)
            if path.name.startswith(APPENDS):
                streams.add(page)
        return writer.keep()


async def _write_keys(store: MongoBackup, database: str, folder: Path, told: Progress) -> None:
    """Replaces the copy of the keys; but not where it knows of erasures that the database has forgotten."""
    path = _keys_file(folder, database)
    known = _keys(folder, database) if path.exists() else {}
    buried = {person: key for person, key in known.items() if "erased" in key}
    with Writer(path) as writer:
        async for page in _counting(store.documents(KEYS), KEYS, await store.count(KEYS), told):
            found = {document["_id"]: document for document in map(decode, page)}
            back = [person for person, key in found.items() if "erased" not in key and person in buried]
            if back:
                raise BackupUnusable(
                    f"{len(back)} people whose keys were destroyed have keys again, such as {back[0]}: an older copy "
                    "of the database was put back. Erase them again (`credence person erase`), then take the backup"
                )
            writer.write(page)
            buried = {person: key for person, key in buried.items() if person not in found}
        writer.write([encode(key) for key in buried.values()])  # of whom the database knows nothing any more
        writer.keep()


def _keys(folder: Path, database: str) -> dict[str, dict[str, Any]]:
    """Every key or tombstone of the copy, by person. Raises BackupUnusable."""
    path = _keys_file(folder, database)
    if not path.exists():
        raise BackupUnusable(f"{path} is missing: without its keys nothing personal of the backup can be read")
    return {document["_id"]: document for page in pages(path) for document in map(decode, page)}
