"""Which jars an Apache Kafka release is made of.

The committed pin file has one `<sha256>  <group>:<artifact>:<version>` a line. Dependencies are resolved when the file
is written, not when it is used: a fetch asks for these files only, and what runs is what was reviewed, whatever a
repository answers.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

KAFKA_VERSION = "4.3.1"
PIN_FILE = Path(__file__).with_name("kafka_jars.sha256")


@dataclass(frozen=True)
class Pin:
    """One jar: its Maven coordinates `group:artifact:version` and the SHA-256 of its bytes."""

    coordinates: str
    sha256: str

    @property
    def filename(self) -> str:
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


def read_pins(path: Path = PIN_FILE) -> tuple[Pin, ...]:
    """The jars of the pin file, in its order."""
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    return tuple(Pin(coordinates, sha256) for sha256, coordinates in lines)


def sha256_of(path: Path) -> str | None:
    """The file's hash in hexadecimal; None when there is no such file."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return None
