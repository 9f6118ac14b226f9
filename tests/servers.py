"""The servers that the tests run on, from one of three places, chosen with `--substrate`.

A server that is not there fails the test that needs it; it is never skipped, for a skipped proof looks like a proof.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from docker.errors import DockerException
from testcontainers.core.container import DockerContainer

from credence_cli import topics
from credence_cli.embedded.fixture import start_servers
from credence_cli.embedded.mongo import answers_hello
from credence_cli.embedded.ports import LOOPBACK, accepts, free_port

SUBSTRATES = ("embedded", "containers", "env")
KAFKA_IMAGE, MONGO_IMAGE = "apache/kafka:4.3.1", "mongo:8"
KAFKA_VARIABLE, MONGO_VARIABLE = "CREDENCE_TEST_KAFKA", "CREDENCE_TEST_MONGO_URI"
READY_SECONDS = 90.0


class ServersMissing(Exception):
    """One sentence: which server is not there, and what to do."""


@dataclass(frozen=True)
class Servers:
    """Where they are; `software` is named beside every result, for a stand-in's proves nothing about the real one."""

    kafka_bootstrap: str
    mongo_uri: str
    software: str


@contextmanager
def servers(substrate: str, folder: Path) -> Iterator[Servers]:
    """Kafka and a MongoDB-protocol server. Raises ServersMissing, or EmbeddedError."""
    match substrate:
        case "embedded":
            with start_servers(folder) as running:
                yield Servers(running.kafka_bootstrap, running.mongo_uri, running.software)
        case "containers":
            with _containers() as contained:
                yield contained
        case "env":
            yield _from_environment()
        case _:
            raise ServersMissing(f"there is no substrate {substrate!r}; choose one of {', '.join(SUBSTRATES)}")


def _from_environment() -> Servers:
    given = {name: os.environ.get(name, "") for name in (KAFKA_VARIABLE, MONGO_VARIABLE)}
    if unset := [name for name, value in given.items() if not value]:
        raise ServersMissing(f"--substrate env needs {' and '.join(unset)}: set it to the server's address")
    return Servers(given[KAFKA_VARIABLE], given[MONGO_VARIABLE], f"servers of {KAFKA_VARIABLE} and {MONGO_VARIABLE}")


class KafkaContainer(DockerContainer):  # type: ignore[misc]
    """One node, controller and broker. Its advertised port must be known before it starts, so the port is chosen."""

    def __init__(self) -> None:
        super().__init__(KAFKA_IMAGE)
        self.port = free_port()
        self.ports["9092/tcp"] = (LOOPBACK, self.port)  # with_bind_ports would listen on every interface
        settings = {
            "NODE_ID": "1",
            "PROCESS_ROLES": "broker,controller",
            "LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
            "ADVERTISED_LISTENERS": f"PLAINTEXT://{LOOPBACK}:{self.port}",
            "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "OFFSETS_TOPIC_NUM_PARTITIONS": "1",
            "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
            "TRANSACTION_STATE_LOG_MIN_ISR": "1",
            "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "AUTO_CREATE_TOPICS_ENABLE": "false",
        }
        for name, value in settings.items():
            self.with_env(f"KAFKA_{name}", value)

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def ready(self) -> bool:
        if not accepts(self.port):  # docker's proxy accepts before the broker does
            return False
        try:
            topics.describe(self.bootstrap)
        except topics.TopicsError:
            return False
        return True


class MongoContainer(DockerContainer):  # type: ignore[misc]
    """A replica set of one, as the platform runs it: majority writes and reads mean what they say."""

    _INITIATE = "rs.initiate({_id: 'rs0', members: [{_id: 0, host: '127.0.0.1:27017'}]})"

    def __init__(self) -> None:
        super().__init__(MONGO_IMAGE, command="mongod --replSet rs0 --bind_ip_all")
        self.port = free_port()
        self.ports["27017/tcp"] = (LOOPBACK, self.port)

    @property
    def uri(self) -> str:
        options = "directConnection=true&retryWrites=false&w=majority&journal=true"
        return f"mongodb://{LOOPBACK}:{self.port}/?{options}"

    def ready(self) -> bool:
        if answers_hello(self.port):
            return True
        self.exec(["mongosh", "--quiet", "--eval", self._INITIATE])  # refused while it starts, and when it is done
        return False


@contextmanager
def _containers() -> Iterator[Servers]:
    try:
        kafka, mongo = KafkaContainer(), MongoContainer()
    except DockerException as error:
        raise ServersMissing(f"--substrate containers needs a Docker daemon, and none answers: {error}") from error
    started: list[DockerContainer] = []
    try:
        for container in (kafka, mongo):
            try:
                container.start()
            except DockerException as error:
                raise ServersMissing(f"the image {container.image} cannot be run: {error}") from error
            started.append(container)
        _await("Kafka", kafka.ready)
        _await("MongoDB", mongo.ready)
        # By its id too: a tag says what somebody called an image, here and there something else.
        images = [f"{c.image} ({c.get_wrapped_container().image.short_id})" for c in (kafka, mongo)]
        yield Servers(kafka.bootstrap, mongo.uri, " and ".join(images))
    finally:
        for container in started:
            container.stop()


def _await(name: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            raise ServersMissing(f"{name} in its container was not ready within {READY_SECONDS:.0f} s")
        time.sleep(0.2)
