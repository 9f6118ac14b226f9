"""A recording: whole streams of every kind as a release once stored and told them, and what came of them then.

The streams (`<service>.appends`, `<service>.topic`) are never edited. What came of them (`<service>.states.<n>`,
`.told.<n>`, `.view-<name>.<n>`, `.result-<name>.<n>`) may come out otherwise in a later release that means it so: then
the next `n` is added with its reason, and the newest counts. Each file is JSON lines, gzipped; the first line of an
outcome says why it was written.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from eventcore.event import StoredEvent
from eventcore.store import Append, Step

FOLDER = Path(__file__).parent / "golden"
SERVICES = ("enrolment", "accreditation", "mentoring")


@dataclass(frozen=True)
class Told:
    """A record as it was on the topic: its CloudEvents headers and its bytes."""

    headers: Mapping[str, str]
    value: bytes


@dataclass(frozen=True)
class Recording:
    """`now` is when it was recorded, and the instant at which it is evaluated."""

    folder: Path
    now: datetime
    appends: Mapping[str, tuple[Append, ...]]
    told: Mapping[str, tuple[Told, ...]]

    def outcome(self, name: str) -> dict[str, Any]:
        """What came of it, by the newest file of that name; nothing where there is none."""
        newest = newest_of(self.folder, name)
        if newest:
            return dict(lines(self.folder / f"{name}.{newest}.jsonl.gz")[1:])
        service, _, kind = name.partition(".")
        # How a stream was told is on the topic, until a release means to tell it otherwise.
        return {t.headers["ce_id"]: [t.headers["ce_type"], t.value.hex()] for t in self.told[service] if kind == "told"}

    def add_outcome(self, name: str, reason: str, found: Mapping[str, Any]) -> Path:
        """Writes the next file of that name."""
        path = self.folder / f"{name}.{newest_of(self.folder, name) + 1}.jsonl.gz"
        write_lines(path, [{"reason": reason}, *sorted(found.items())])
        return path


def recordings() -> list[Path]:
    return sorted(path.parent for path in FOLDER.glob("*/recording.json"))


def read(folder: Path) -> Recording:
    about = json.loads((folder / "recording.json").read_text())
    appends = {s: tuple(_append(line) for line in lines(folder / f"{s}.appends.jsonl.gz")) for s in SERVICES}
    told = {
        s: tuple(Told(line["headers"], bytes.fromhex(line["hex"])) for line in lines(folder / f"{s}.topic.jsonl.gz"))
        for s in SERVICES
    }
    return Recording(folder, datetime.fromisoformat(about["recorded"]), appends, told)


def newest_of(folder: Path, name: str) -> int:
    numbers = [path.name.removesuffix(".jsonl.gz").rpartition(".")[2] for path in folder.glob(f"{name}.*.jsonl.gz")]
    return max((int(number) for number in numbers), default=0)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def write_lines(path: Path, content: Iterable[Any]) -> None:
    """The same content gives the same bytes. Raises FileExistsError: nothing is ever written over."""
    text = "".join(json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n" for line in content)
    with path.open("xb") as file:
        file.write(gzip.compress(text.encode(), mtime=0))


def _append(document: Mapping[str, Any]) -> Append:
    return Append(
        document["stream"],
        document["first"],
        tuple(Step(**step) for step in document["steps"]),
        tuple(StoredEvent(event["type"], event["data"]) for event in document["events"]),
        datetime.fromisoformat(document["recorded"]),
    )
