"""Both embedded servers as real processes: start, stop, kill, restart, and what they keep."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from pymongo import MongoClient

from credence_cli import topics
from credence_cli.embedded.errors import EmbeddedError
from credence_cli.embedded.fixture import Servers, start_servers
from credence_cli.embedded.identity import Identity
from credence_cli.embedded.java import find_java, java_major
from credence_cli.embedded.kafka import EmbeddedKafka
from credence_cli.embedded.mongo import EmbeddedMongo
from credence_cli.embedded.ports import accepts, free_port, is_free

pytestmark = pytest.mark.servers

TOPICS = "version: 1\ndefaults: {partitions: 1, replication_factor: 1}\ntopics: {kept.v1: {}}\n"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with start_servers(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture
def kafka(folder: Path) -> Iterator[EmbeddedKafka]:
    server = EmbeddedKafka(folder / "kafka")
    yield server
    server.kill()


@pytest.fixture
def mongo(folder: Path) -> Iterator[EmbeddedMongo]:
    server = EmbeddedMongo(folder / "mongo")
    yield server
    server.kill()


async def test_kafka_keeps_acknowledged_records_and_its_port_through_a_kill(
    kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    declared = tmp_path / "topics.yml"
    declared.write_text(TOPICS)
    kafka.start()
    bootstrap = kafka.bootstrap
    topics.create(bootstrap, declared)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    for number in range(200):
        await producer.send_and_wait("kept.v1", str(number).encode())
    kafka.kill()
    assert not accepts(kafka.port)
    kafka.start()
    assert kafka.bootstrap == bootstrap
    await producer.send_and_wait("kept.v1", b"after")  # the same producer goes on: the port stayed
    await producer.stop()
    consumer = AIOKafkaConsumer("kept.v1", bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    read = [record.value for record in [await consumer.getone() for _ in range(201)]]
    await consumer.stop()
    assert read == [*(str(number).encode() for number in range(200)), b"after"]


def test_mongo_keeps_acknowledged_documents_and_its_port_through_a_kill(mongo: EmbeddedMongo) -> None:
    mongo.start()
    uri = mongo.uri
    client: MongoClient[dict[str, Any]] = MongoClient(uri)
    with client:
        for number in range(100):
            client.sample.kept.insert_one({"_id": number})
        mongo.kill()
        assert not mongo.ready()
        mongo.start()
        assert mongo.uri == uri
        assert {found["_id"] for found in client.sample.kept.find()} == set(range(100))


def test_both_start_and_end_in_order_and_starting_twice_is_harmless(kafka: EmbeddedKafka, mongo: EmbeddedMongo) -> None:
    for server in (kafka, mongo):
        server.start()
        pid = server.process.pid
        server.start()
        assert server.process.pid == pid
        assert server.stop()
        assert server.stop()
        assert server.wait(1)
        assert is_free(server.port)


def test_both_listen_on_loopback_only(both: Servers) -> None:
    for server in (both.kafka, both.mongo):
        listening = {line.split()[1] for line in _listeners(server.process.pid)}
        assert listening
        assert all(address.startswith("0100007F:") for address in listening)


def _listeners(pid: int | None) -> list[str]:
    if not Path("/proc").exists():
        pytest.skip("needs /proc")
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            target = os.readlink(descriptor)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = []
    for table, loopback in (("tcp", "0100007F"), ("tcp6", "0000000000000000FFFF00000100007F")):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and fields[3] == "0A":
                found.append(line.replace(loopback, "0100007F", 1))  # Java shows IPv4 as mapped into IPv6
    return found


@pytest.mark.parametrize("kind", [EmbeddedKafka, EmbeddedMongo])
def test_a_taken_port_is_named_with_its_holder_and_nothing_is_started(
    kind: type[EmbeddedKafka] | type[EmbeddedMongo], folder: Path
) -> None:
    port = free_port()
    listener = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import socket; s = socket.create_server(('127.0.0.1', {port})); print(flush=True); s.accept()",
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert listener.stdout is not None
        listener.stdout.readline()
        with pytest.raises(EmbeddedError, match=rf"Port {port}, which .* needs, is held by"):
            kind(folder, port).start()
        assert not kind(folder).process.alive()
    finally:
        listener.kill()
        listener.communicate()


def test_a_second_kafka_on_data_in_use_is_refused_though_the_first_is_not_on_record(
    kafka: EmbeddedKafka, folder: Path
) -> None:
    kafka.start()
    (folder / "kafka" / "process.json").unlink()  # as if its record had been lost
    lost = Identity.of(_holder(kafka.port))
    assert lost is not None
    try:
        with pytest.raises(EmbeddedError, match="because a process that is not on record still does"):
            EmbeddedKafka(folder / "kafka", free_port()).start()
    finally:
        lost.signal(signal.SIGKILL)


def _holder(port: int) -> int:
    from credence_cli.embedded.ports import holder_of

    holder = holder_of(port)
    assert holder is not None
    return holder.pid


def test_settings_of_the_java_of_another_program_do_not_reach_kafka(
    kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS"):
        monkeypatch.setenv(name, "-Xmx1m")  # with this heap no JVM starts
    monkeypatch.setenv("CLASSPATH", "/nowhere")
    assert kafka.start().ready()


def test_a_java_that_is_named_but_cannot_run_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENCE_JAVA", "/nowhere/java")
    with pytest.raises(EmbeddedError, match="CREDENCE_JAVA names /nowhere/java, which is not a Java runtime"):
        find_java()


def test_a_java_that_is_too_old_is_told_with_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("CREDENCE_JAVA", str(old))
    with pytest.raises(EmbeddedError, match="which is Java 8; Kafka needs 17 or newer"):
        find_java()


def test_the_bundled_java_is_found_and_new_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENCE_JAVA", raising=False)
    assert (java_major(find_java()) or 0) >= 17


def test_a_disk_without_room_is_told_before_anything_starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credence_cli.embedded.mongo._DISK_BYTES_MIN", 2**60)
    with pytest.raises(EmbeddedError, match=r"needs 1099511627776 MiB of free disk .* free some space"):
        EmbeddedMongo(folder).start()
    assert not folder.exists()


def test_the_software_is_named_for_every_figure(both: Servers) -> None:
    assert both.software == "Apache Kafka 4.3.1, SecantusDB 0.7.0b3 (stand-in for MongoDB)"
