"""The download of Apache Kafka's jars: resumable, checked, bounded, and quick to stop.

Apart from `kafka_jars` so that only a machine that has to fetch needs the resolver, and loads it.
"""

import errno
import logging
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests
from jgo.maven import MavenContext, PythonResolver
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from credence_cli.embedded.errors import EmbeddedError
from credence_cli.embedded.home import require_free_disk
from credence_cli.embedded.kafka_pins import KAFKA_VERSION, Pin, sha256_of

_AT_ONCE = 4
_ATTEMPTS = 3
_TIMEOUT_SECONDS = 30
_DISK_BYTES_MIN = 150 * 2**20  # the jars are 44 MiB; the rest is room for what is started next


def fetch(folder: Path, pins: tuple[Pin, ...], repository: str | None, console: Console) -> None:
    """Bring every pinned jar into `folder`, which appears whole or not at all. Raises EmbeddedError."""
    try:
        _Fetch(folder, pins, repository, console).run()
    except OSError as error:
        raise _explained(error, folder) from error


class _StoppedError(Exception):
    """Another download failed or the person pressed Ctrl-C: nobody waits for this one."""


@dataclass
class _Fetch:
    folder: Path
    pins: tuple[Pin, ...]
    repository: str | None
    console: Console
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        require_free_disk(self.folder, _DISK_BYTES_MIN, f"Fetching Apache Kafka {KAFKA_VERSION}")
        # Beside the final folder, so that the last rename is atomic; kept on failure, so that the next run resumes.
        staging = self.folder.with_name(self.folder.name + ".partial")
        jars = staging / "jars"
        jars.mkdir(parents=True, exist_ok=True)
        with self._progress() as progress:
            self._download_all(staging / "repository", jars, progress)
        jars.rename(self.folder)
        shutil.rmtree(staging, ignore_errors=True)

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[fetched]}"),
            TimeElapsedColumn(),
            console=self.console,
        )

    def _download_all(self, cache: Path, jars: Path, progress: Progress) -> None:
        task = progress.add_task(
            f"Fetching Apache Kafka {KAFKA_VERSION} (once)", total=len(self.pins), fetched="0.0 MB"
        )
        counted = threading.Lock()
        bytes_fetched = 0

        @contextmanager
        def follow(_filename: str, _size: int) -> Iterator[object]:
            def count(size: int) -> None:
                nonlocal bytes_fetched
                if self._stop.is_set():
                    raise _StoppedError
                with counted:
                    bytes_fetched += size
                    progress.update(task, fetched=f"{bytes_fetched / 1e6:.1f} MB")

            yield count

        # The resolver warns about sums of its own; ours are stronger and fatal.
        logging.getLogger("jgo").setLevel(logging.ERROR)
        context = MavenContext(
            resolver=PythonResolver(progress_callback=follow),
            repo_cache=cache,
            remote_repos={"named": self.repository.rstrip("/")} if self.repository else None,
            timeout=_TIMEOUT_SECONDS,
        )
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                fetches = [pool.submit(self._download, context, pin, jars / pin.filename) for pin in self.pins]
                for finished in as_completed(fetches):
                    finished.result()
                    progress.advance(task)
            except BaseException:
                # Ctrl-C included: running downloads end at their next block instead of at their last.
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _download(self, context: MavenContext, pin: Pin, target: Path) -> None:
        if sha256_of(target) == pin.sha256:
            return  # an earlier run was interrupted after this one
        artifact = context.create_dependency(pin.coordinates).artifact
        for attempt in range(1, _ATTEMPTS + 1):
            if self._stop.is_set():
                raise _StoppedError
            # The resolver takes any file that is there for a whole one: remove what an interrupted run left.
            artifact.cached_path.unlink(missing_ok=True)
            try:
                fetched = Path(artifact.resolve())
                break
            except requests.RequestException:
                if attempt == _ATTEMPTS:
                    raise
                self._stop.wait(attempt)
            except RuntimeError as error:
                raise EmbeddedError(
                    f"{pin.filename} is not in the Maven repository {self.repository or '(the public one)'}; "
                    "set CREDENCE_MAVEN_REPOSITORY to one that has Apache Kafka, or unset it."
                ) from error
        if sha256_of(fetched) != pin.sha256:
            fetched.unlink()
            raise EmbeddedError(
                f"{pin.filename} as downloaded does not match its pinned SHA-256 and was discarded; a proxy may have "
                "answered in the repository's place: check the network, or set CREDENCE_MAVEN_REPOSITORY."
            )
        fetched.replace(target)


def _explained(error: OSError, folder: Path) -> EmbeddedError:
    # A network error of `requests` is an OSError too: look for it first.
    if isinstance(error, requests.RequestException):
        return EmbeddedError(
            "Apache Kafka could not be fetched, because the Maven repository did not answer; check the network "
            "(a proxy goes into HTTPS_PROXY, another repository into CREDENCE_MAVEN_REPOSITORY) and run this again: "
            "it resumes."
        )
    if error.errno == errno.ENOSPC:
        return EmbeddedError(
            f"The disk is full under {folder.parent}; free some space (or set CREDENCE_HOME to a folder on another "
            "disk) and run this again: it resumes."
        )
    return EmbeddedError(f"Apache Kafka could not be stored in {folder}: {error}.")
