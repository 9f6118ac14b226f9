"""`python -m servicekit.backup`: see the package."""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import servicekit.backup as package
from eventcore.mongo.backup import MongoBackup
from eventcore.store import StoreUnavailable
from servicekit.backup.files import BackupUnusable, Manifest, erased_in
from servicekit.backup.tool import Restored, create, restore, verify
from servicekit.exits import Exit
from servicekit.settings import ServiceSettings, SettingsInvalid

UNUSABLE = 1
INTERRUPTED = 130
TOLD_SECONDS = 1.0


class Teller:
    """Progress for people, on standard error: one line that is written over on a terminal, now and then elsewhere."""

    def __init__(self) -> None:
        self._what, self._began, self._told = "", 0.0, 0.0
        self._over = "\r\033[K" if sys.stderr.isatty() else ""

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._began, self._told = what, now, 0.0
        if done < total and now - self._told < TOLD_SECONDS:
            return
        self._told = now
        rate = done / max(now - self._began, 0.001)
        left = f", {(total - done) / rate:.0f} s left" if 0 < done < total else ""
        end = "" if self._over else "\n"
        print(f"{self._over}{what}: {done:,} of {total:,}, {rate:,.0f}/s{left}", end=end, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._over and self._what:
            print(file=sys.stderr)


def main() -> int:
    asked = _arguments()
    teller = Teller()
    try:
        told = _do(asked, teller)
    except BackupUnusable as error:
        return _fail(teller, UNUSABLE, str(error))
    except SettingsInvalid as error:
        return _fail(teller, int(error.code), str(error))
    except StoreUnavailable as error:
        return _fail(teller, int(Exit.SERVERS_AWAY), f"the database is away ({error}): run it again")
    except OSError as error:
        full = error.errno == errno.ENOSPC
        said = "the disk is full: free some space" if full else f"{error.filename}: {error.strerror}; mend it"
        return _fail(teller, UNUSABLE, f"{said}, and run it again")
    except KeyboardInterrupt:
        said = "a restore goes on where it stopped" if asked.how == "restore" else "nothing was kept"
        return _fail(teller, INTERRUPTED, f"interrupted: {said}; run it again")
    teller.end()
    print(json.dumps(told, indent=2))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m servicekit.backup",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit codes: 0 done, 1 the backup cannot be used, 75 the database is away, 78 settings, 130 Ctrl-C.",
    )
    how = parser.add_subparsers(dest="how", required=True)
    keys_help = "folder of the keys' one copy, apart from the data"
    for name, folder, said in (
        ("create", "--to", "backs the service's database up into a new folder, beside the running service"),
        ("verify", "--from", "reads every byte of a backup; needs no database"),
        ("restore", "--from", "puts a backup into an empty database, while the service is stopped"),
    ):
        one = how.add_parser(name, help=said, description=said)
        one.add_argument(folder, dest="folder", type=Path, required=True, help="folder of the backup")
        one.add_argument("--keys", type=Path, required=name != "verify", help=keys_help)
        if name == "restore":
            said = "a file of person ids, one a line, who were erased since the keys were copied"
            one.add_argument("--erased", type=Path, help=said)
    return parser.parse_args()


def _do(asked: argparse.Namespace, teller: Teller) -> dict[str, Any]:
    if asked.how == "verify":
        return _summary(verify(asked.folder, teller, asked.keys))
    erased = erased_in(asked.erased) if asked.how == "restore" and asked.erased else []
    settings = ServiceSettings.load()
    store = MongoBackup(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    database = settings.mongo_database
    try:
        if asked.how == "create":
            return _summary(asyncio.run(create(store, database, asked.folder, asked.keys, teller)))
        work: Coroutine[Any, Any, Restored] = restore(store, database, asked.folder, asked.keys, erased, teller)
        restored = asyncio.run(work)
        return _summary(restored.manifest) | {"new_epoch": restored.epoch, "erased": list(restored.tombstones)}
    finally:
        store.close()


def _summary(manifest: Manifest) -> dict[str, Any]:
    documents = {name: entry.documents for name, entry in manifest.files.items()}
    told = manifest.model_dump(include={"database", "created", "epoch", "streams", "log"})
    return told | {"documents": documents, "backup": manifest.digest}


def _fail(teller: Teller, code: int, message: str) -> int:
    teller.end()
    print(message, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
