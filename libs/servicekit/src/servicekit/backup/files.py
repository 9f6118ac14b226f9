"""The files of a backup: documents as BSON, gzipped, and a manifest that is written last.

FOLDER/<collection>.bson.gz      as mongodump writes them, with `gunzip` and `bsondump` readable without us
FOLDER/manifest.json             what there is, with checksums; without it the backup is not whole
KEYS/<database>.keys.bson.gz     replaced in one step

And the list of people who were erased since, which somebody wrote.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from catalogue.ids import is_id
from catalogue.limits import ID_MAX_LENGTH
from eventcore.mongo.backup import split

FORMAT = 1
MANIFEST = "manifest.json"
CHUNK_BYTES = 1 << 20
SHOWN_CHARS = 40  # of a line that is no id


class BackupUnusable(Exception):
    """What is wrong with a backup, and what to do."""


class FileEntry(BaseModel):
    """A file of the backup: how many documents, and the SHA-256 of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    documents: int = Field(ge=0)
    sha256: str


class Manifest(BaseModel):
    """`log` is the digest of all streams (see `log.Streams`); `epoch` that of the log that was backed up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    database: str
    created: str
    epoch: str
    streams: int
    log: str
    files: dict[str, FileEntry]

    @property
    def digest(self) -> str:
        """Names this backup."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


class Writer:
    """Writes a file under a passing name; `keep` gives it its own. Without that it leaves nothing behind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._passing = path.with_name(f".{path.name}.part")
        self._passing.unlink(missing_ok=True)
        # Of keys too: for nobody but this user.
        self._file = os.fdopen(os.open(self._passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._zipped = gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=6, mtime=0, filename="")
        self.documents = 0

    def write(self, documents: list[bytes]) -> None:
        self._zipped.write(b"".join(documents))
        self.documents += len(documents)

    def keep(self) -> FileEntry:
        """On the disk, and then there in one step."""
        self._zipped.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        entry = FileEntry(documents=self.documents, sha256=checksum(self._passing))
        self._passing.replace(self._path)
        sync_folder(self._path.parent)
        return entry

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._passing.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Whole, or not at all."""
    passing = path.with_name(f".{path.name}.part")
    with passing.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    passing.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Raises BackupUnusable."""
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise BackupUnusable(f"{folder} has no {MANIFEST}: this backup was not finished; take another") from None
    except (OSError, ValidationError) as error:
        raise BackupUnusable(f"{folder / MANIFEST} cannot be read: {type(error).__name__}; take another") from None
    if manifest.format != FORMAT:
        raise BackupUnusable(f"{folder} is of format {manifest.format}, this release reads {FORMAT}")
    return manifest


def erased_in(path: Path) -> list[str]:
    """The person ids of a file, one a line; empty lines are passed over.

    Raises BackupUnusable naming every line that is no id: taken as it stands it would bury nobody, and the key of
    whoever was meant would come back. OSError.
    """
    # As editors and shells write it: perhaps with a byte order mark, which is no part of the first id. What is no
    # UTF-8 is no id either, and its line is named as any other.
    lines = path.read_text(encoding="utf-8-sig", errors="replace").split("\n")
    ids = {number: word for number, line in enumerate(lines, start=1) if (word := line.strip())}
    if wrong := [f"line {number}: {word[:SHOWN_CHARS]!r}" for number, word in ids.items() if not is_id(word)]:
        raise BackupUnusable(
            f"{path} is to hold a person's id a line, in UTF-8: words of a-z and 0-9 joined by hyphens, at most "
            f"{ID_MAX_LENGTH} characters. These are none, so nothing was restored: {'; '.join(wrong)}. Mend them, and "
            "run it again"
        )
    return list(dict.fromkeys(ids.values()))


def pages(path: Path) -> Iterator[list[bytes]]:
    """The documents of a file, some at a time. Raises BackupUnusable for a file that ends early or is no BSON."""
    rest = b""
    try:
        with gzip.open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                documents, rest = split(rest + chunk)
                yield documents
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise BackupUnusable(f"{path} is damaged: {error}; use another backup") from None
    if rest:
        raise BackupUnusable(f"{path} ends within a document; use another backup")
