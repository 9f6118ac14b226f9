"""Apache Kafka's own jars on this machine: fetched once, checked at every start, offline afterwards."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from credence_cli.embedded.errors import EmbeddedError
from credence_cli.embedded.home import credence_home
from credence_cli.embedded.kafka_pins import KAFKA_VERSION, Pin, read_pins, sha256_of


def kafka_jars(
    folder: Path | None = None,
    *,
    pins: tuple[Pin, ...] | None = None,
    repository: str | None = None,
    console: Console | None = None,
) -> tuple[Path, ...]:
    """The verified jars, fetched first if this machine has not got them.

    `folder`: where they live, `$CREDENCE_HOME/kafka-<version>` unless given. `repository`: the URL of a Maven
    repository in place of the public one, `$CREDENCE_MAVEN_REPOSITORY` unless given. Progress goes to `console`
    (standard error unless given). An interrupted fetch resumes with what it has; two at once wait for each other.
    Raises EmbeddedError in one sentence: no network, a jar that is not the pinned one, a full disk.
    """
    pins = pins or read_pins()
    folder = (folder or credence_home() / f"kafka-{KAFKA_VERSION}").resolve()
    if not folder.is_dir():
        with _only_one(folder):
            if not folder.is_dir():
                _fetch(folder, pins, repository or os.environ.get("CREDENCE_MAVEN_REPOSITORY"), console)
    return tuple(_verified(folder / pin.filename, pin, folder) for pin in pins)


def _fetch(folder: Path, pins: tuple[Pin, ...], repository: str | None, console: Console | None) -> None:
    try:
        from credence_cli.embedded.kafka_fetch import fetch
    except ModuleNotFoundError as error:
        raise EmbeddedError(
            f"Fetching Kafka needs the package {error.name}; pip install 'credence-cli[embedded]' and run this again."
        ) from error
    fetch(folder, pins, repository, console or Console(stderr=True))


def _verified(jar: Path, pin: Pin, folder: Path) -> Path:
    # Checked at every start (under a tenth of a second): a cache is writable, and these bytes are about to be run.
    if (found := sha256_of(jar)) != pin.sha256:
        state = "does not match its pinned SHA-256" if found else "is missing"
        raise EmbeddedError(f"{jar.name} in {folder} {state}; delete that folder and run this again to fetch it anew.")
    return jar


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(folder.name + ".lock").open("w")
    except OSError as error:
        raise EmbeddedError(f"The folder {folder.parent} cannot be written ({error}); set CREDENCE_HOME.") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
