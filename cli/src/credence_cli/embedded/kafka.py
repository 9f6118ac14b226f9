"""A real, single-node Apache Kafka (KRaft, controller and broker in one) as a child process on loopback.

What the storage tool would format is one small file, written here. Its controller is named by static voters, so
ports may change between starts on the same data.
"""

import base64
import json
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from credence_cli.embedded.errors import EmbeddedError
from credence_cli.embedded.home import require_free_disk
from credence_cli.embedded.java import find_java
from credence_cli.embedded.kafka_jars import kafka_jars
from credence_cli.embedded.kafka_pins import KAFKA_VERSION
from credence_cli.embedded.ports import LOOPBACK, accepts, free_port, is_free, require_free
from credence_cli.embedded.processes import ManagedProcess

_DISK_BYTES_MIN = 256 * 2**20
_READY_SECONDS = 120.0
_STOP_SECONDS = 30.0

_JVM = (
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # a demo's broker lives for minutes: the optimising compiler would only cost
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)
# Any of these would change the JVM behind our back; the first also prints a line on every start.
_ENV_DROPPED = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH")

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}{also_listening}
advertised.listeners=PLAINTEXT://{host}:{port}{also_advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{also_mapped}
log.dirs=log
# Topics are declared, never made by a typing error.
auto.create.topics.enable=false
# One node: every internal topic has one copy and one partition.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Small: this machine also runs everything else.
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=1
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=2097152
offsets.load.buffer.size=1048576
log.segment.bytes=67108864
# A killed broker comes back only after its old session has ended.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
"""


@dataclass(frozen=True)
class Behind:
    """A further listener, for clients that reach the broker through something in between (a proxy): it listens on
    `port` and tells them to come to `advertised`. Without it they would be told the broker's own address, and go there.
    """

    port: int
    advertised: int


class EmbeddedKafka:
    """One broker on one data folder. A restart keeps its port, so clients find it again by themselves.

    `port=0`: the port of the last start on this folder, else a free one. `owned`: it ends with this process; else it
    outlives it. `jars`: the folder of the jars, the shared cache unless given. `behind`: further listeners.
    """

    name = "kafka"
    software = f"Apache Kafka {KAFKA_VERSION}"

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        *,
        owned: bool = True,
        jars: Path | None = None,
        behind: Sequence[Behind] = (),
    ) -> None:
        self.process = ManagedProcess(self.name, folder)
        self._wanted_port = port
        self._owned = owned
        self._jars = jars
        self._behind = tuple(behind)

    @property
    def folder(self) -> Path:
        return self.process.folder

    @property
    def port(self) -> int:
        """The broker's port; 0 before the first start on this folder."""
        return self._wanted_port or self._remembered().get("port", 0)

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def start(self, seconds: float = _READY_SECONDS) -> Self:
        """Launch it and wait until it takes clients; harmless when it runs. Nothing is left running on failure."""
        launched = self.launch()
        try:
            self.await_ready(seconds)
        except BaseException:
            if launched:
                self.process.kill()
            raise
        return self

    def launch(self) -> bool:
        """Start the process without waiting; False when it runs already. Raises EmbeddedError."""
        if self.process.alive():
            return False
        java, jars = find_java(), kafka_jars(self._jars)
        require_free_disk(self.folder, _DISK_BYTES_MIN, "Kafka")
        port, controller_port = self._choose_ports()
        self._write_configuration(port, controller_port)
        classpath = os.pathsep.join(str(jar) for jar in jars)
        env = {name: value for name, value in os.environ.items() if name not in _ENV_DROPPED}
        command = [str(java), *_JVM, "-cp", classpath, "kafka.Kafka", "server.properties"]
        self.process.start(command, env, owned=self._owned)
        return True

    def ready(self) -> bool:
        """Whether clients are served: the broker opens this port only once the controller has let it in."""
        return self.process.alive() and accepts(self.port)

    def await_ready(self, seconds: float = _READY_SECONDS) -> None:
        self.process.await_ready(self.ready, seconds)

    def stop(self, seconds: float = _STOP_SECONDS) -> bool:
        """An orderly shutdown; killed if it takes longer. True when it ended by itself."""
        return self.process.stop(seconds)

    def kill(self) -> None:
        """As by `kill -9`."""
        self.process.kill()

    def wait(self, seconds: float) -> bool:
        """Wait until the process has ended; False when it still runs after this long."""
        return self.process.wait(seconds)

    def _remembered(self) -> dict[str, int]:
        with suppress(OSError, ValueError):
            return {str(name): int(port) for name, port in json.loads(self._ports_file.read_text()).items()}
        return {}

    @property
    def _ports_file(self) -> Path:
        return self.folder / "ports.json"

    def _choose_ports(self) -> tuple[int, int]:
        port = self.port or free_port()
        for needed in (port, *(each.port for each in self._behind)):
            require_free(needed, "Kafka")
        # Nobody but the broker itself knows the controller's port, so a taken one is simply replaced.
        controller_port = self._remembered().get("controller_port", 0)
        if not controller_port or controller_port == port or not is_free(controller_port):
            controller_port = free_port()
        return port, controller_port

    def _write_configuration(self, port: int, controller_port: int) -> None:
        try:
            (self.folder / "log").mkdir(parents=True, exist_ok=True)
            identity = self.folder / "log" / "meta.properties"
            if not identity.exists():
                identity.write_text(
                    f"version=1\ncluster.id={_kafka_id()}\nnode.id=1\ndirectory.id={_kafka_id()}\n", encoding="ascii"
                )
            # Paths inside are relative: Kafka reads this file as Latin-1 and splits folders at commas.
            (self.folder / "server.properties").write_text(self._properties(port, controller_port), encoding="ascii")
            self._ports_file.write_text(json.dumps({"port": port, "controller_port": controller_port}))
        except OSError as error:
            raise EmbeddedError(f"Kafka's folder {self.folder} cannot be written: {error}.") from error

    def _properties(self, port: int, controller_port: int) -> str:
        named = [(f"BEHIND{n}", each) for n, each in enumerate(self._behind)]
        return _PROPERTIES.format(
            host=LOOPBACK,
            port=port,
            controller_port=controller_port,
            also_listening="".join(f",{name}://{LOOPBACK}:{each.port}" for name, each in named),
            also_advertised="".join(f",{name}://{LOOPBACK}:{each.advertised}" for name, each in named),
            also_mapped="".join(f",{name}:PLAINTEXT" for name, _ in named),
        )


def _kafka_id() -> str:
    # 22 characters of base64url; Kafka's own tools refuse one that starts with a hyphen.
    while True:
        drawn = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        if not drawn.startswith("-"):
            return drawn
