"""Fetching Kafka's jars, against a small Maven repository on loopback."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from credence_cli.embedded.errors import EmbeddedError
from credence_cli.embedded.kafka_jars import kafka_jars
from credence_cli.embedded.kafka_pins import Pin, read_pins
from credence_cli.embedded.ports import free_port

JARS = {f"org.example:part-{n}:1.{n}": f"jar number {n} ".encode() * 20_000 for n in range(6)}
PINS = tuple(Pin(coordinates, hashlib.sha256(content).hexdigest()) for coordinates, content in JARS.items())


@dataclass
class Repository:
    """Serves `content` by path; `slow` sends a first block and then nothing until it is cleared."""

    content: dict[str, bytes]
    asked: list[str] = field(default_factory=list)
    slow: threading.Event = field(default_factory=threading.Event)
    url: str = ""


def path_of(coordinates: str) -> str:
    group, artifact, version = coordinates.split(":")
    return f"/{group.replace('.', '/')}/{artifact}/{version}/{artifact}-{version}.jar"


@pytest.fixture
def repository() -> Iterator[Repository]:
    served = Repository({path_of(coordinates): content for coordinates, content in JARS.items()})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            content = served.content.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            try:
                while served.slow.is_set() and content:
                    self.wfile.write(content[:8192])
                    content = content[8192:]
                    time.sleep(0.05)
                self.wfile.write(content)
            except OSError:
                return  # the client went away, as it should when it is interrupted

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield served
    served.slow.clear()
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(folder: Path, url: str) -> tuple[Path, ...]:
    return kafka_jars(folder, pins=PINS, repository=url, console=Console(file=StringIO()))


def test_the_pin_file_names_each_jar_once_with_its_hash() -> None:
    pins = read_pins()
    assert len({pin.filename for pin in pins}) == len(pins) == 46
    assert all(re.fullmatch(r"[0-9a-f]{64}", pin.sha256) for pin in pins)
    assert "org.apache.kafka:kafka_2.13:4.3.1" in {pin.coordinates for pin in pins}


def test_a_fetch_brings_every_jar_once_and_the_next_needs_no_network(tmp_path: Path, repository: Repository) -> None:
    folder = tmp_path / "kafka"
    jars = fetch(folder, repository.url)
    assert [jar.read_bytes() for jar in jars] == list(JARS.values())
    repository.asked.clear()
    assert fetch(folder, repository.url) == jars
    assert repository.asked == []
    assert {entry.name for entry in tmp_path.iterdir()} == {"kafka", "kafka.lock"}


def test_a_jar_planted_in_the_cache_is_refused_by_name(tmp_path: Path, repository: Repository) -> None:
    planted = fetch(tmp_path / "kafka", repository.url)[3]
    planted.write_bytes(b"something else")
    with pytest.raises(
        EmbeddedError, match=rf"{planted.name} .* does not match its pinned SHA-256; delete that folder"
    ):
        fetch(tmp_path / "kafka", repository.url)


def test_a_jar_missing_from_the_cache_is_refused_by_name(tmp_path: Path, repository: Repository) -> None:
    lost = fetch(tmp_path / "kafka", repository.url)[2]
    lost.unlink()
    with pytest.raises(EmbeddedError, match=rf"{lost.name} .* is missing; delete that folder"):
        fetch(tmp_path / "kafka", repository.url)


def test_a_repository_that_serves_other_bytes_is_refused_and_nothing_is_installed(
    tmp_path: Path, repository: Repository
) -> None:
    honest = dict(repository.content)
    repository.content[path_of(PINS[4].coordinates)] = b"<html>Please log in to this network</html>"
    with pytest.raises(EmbeddedError, match=rf"{PINS[4].filename} as downloaded does not match its pinned SHA-256"):
        fetch(tmp_path / "kafka", repository.url)
    assert not (tmp_path / "kafka").exists()
    repository.content = honest
    assert len(fetch(tmp_path / "kafka", repository.url)) == len(PINS)


def test_a_repository_without_kafka_is_named(tmp_path: Path, repository: Repository) -> None:
    repository.content.clear()
    with pytest.raises(EmbeddedError, match=rf"is not in the Maven repository {repository.url}"):
        fetch(tmp_path / "kafka", repository.url)


def test_no_network_is_told_in_one_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"could not be fetched, .* did not answer; check the network"):
        fetch(tmp_path / "kafka", f"http://127.0.0.1:{free_port()}")


def test_half_a_jar_left_by_a_killed_run_is_fetched_again_and_whole_ones_are_kept(
    tmp_path: Path, repository: Repository
) -> None:
    staging = tmp_path / "kafka.partial"
    whole = staging / "jars" / PINS[0].filename
    whole.parent.mkdir(parents=True)
    whole.write_bytes(JARS[PINS[0].coordinates])
    half = staging / "repository" / path_of(PINS[1].coordinates).lstrip("/")
    half.parent.mkdir(parents=True)
    half.write_bytes(JARS[PINS[1].coordinates][:1000])
    jars = fetch(tmp_path / "kafka", repository.url)
    assert [jar.read_bytes() for jar in jars] == list(JARS.values())
    assert path_of(PINS[0].coordinates) not in repository.asked
    assert path_of(PINS[1].coordinates) in repository.asked


def test_ctrl_c_ends_a_slow_fetch_at_once_and_the_next_run_completes_it(tmp_path: Path, repository: Repository) -> None:
    repository.slow.set()
    pin_file = tmp_path / "pins"
    pin_file.write_text("".join(f"{pin.sha256}  {pin.coordinates}\n" for pin in PINS))
    program = (
        "import sys; from pathlib import Path; from credence_cli.embedded.kafka_jars import kafka_jars;"
        "from credence_cli.embedded.kafka_pins import read_pins;"
        "kafka_jars(Path(sys.argv[1]), pins=read_pins(Path(sys.argv[2])), repository=sys.argv[3])"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "kafka"), str(pin_file), repository.url],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "NO_COLOR": "1"},
    )
    deadline = time.monotonic() + 30
    while not repository.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    running.wait(5)
    assert running.returncode != 0
    assert not (tmp_path / "kafka").exists()
    repository.slow.clear()
    assert len(fetch(tmp_path / "kafka", repository.url)) == len(PINS)
