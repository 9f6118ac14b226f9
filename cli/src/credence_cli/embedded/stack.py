"""The whole platform on one machine: Kafka, the MongoDB stand-in, the topics and the three services.

`up` makes it so, whatever was there: nothing, half of it, all of it. Every part is a process of its own with a folder
of its own (see `processes`), so each command finds what another started.
"""

import fcntl
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

from credence_cli import topics
from credence_cli.embedded.development_secrets import DevelopmentSecrets, ensure_development_secrets
from credence_cli.embedded.errors import EmbeddedError
from credence_cli.embedded.home import credence_home, require_free_disk, topics_file
from credence_cli.embedded.java import find_java
from credence_cli.embedded.kafka import EmbeddedKafka
from credence_cli.embedded.kafka_jars import kafka_jars
from credence_cli.embedded.mongo import EmbeddedMongo
from credence_cli.embedded.ports import LOOPBACK, free_port, is_free, require_free
from credence_cli.embedded.processes import ManagedProcess
from credence_cli.embedded.service import ServiceProcess, ServiceSpec, service_spec
from credence_cli.embedded.whole import write_whole
from credence_cli.exits import Exit

SERVICES = ("enrolment", "accreditation", "mentoring")
DEFAULT_PORT_BASE = 19090
_PORTS = 2 + 2 * len(SERVICES)
_LAST_PORT = 65_535
HIGHEST_PORT_BASE = _LAST_PORT - _PORTS + 1
_DISK_BYTES_MIN = 2**30
_HUNG_SECONDS = 10.0
_HUNG_STOP_SECONDS = 5.0
_LOCK_SECONDS = 180.0
_FOLLOW_SECONDS = 0.2
_BLOCK_BYTES = 65_536


@dataclass(frozen=True)
class StackPorts:
    """The loopback ports of every part; `grpc` and `http` by service name."""

    kafka: int
    mongo: int
    grpc: Mapping[str, int]
    http: Mapping[str, int]

    @classmethod
    def counted_from(cls, base: int) -> "StackPorts":
        """`base` is Kafka's, the next MongoDB's, then two for each service; base 0 means free ports."""
        ports = iter([free_port() for _ in range(_PORTS)] if base == 0 else range(base, base + _PORTS))
        kafka, mongo = next(ports), next(ports)
        pairs = {name: (next(ports), next(ports)) for name in SERVICES}
        return cls(
            kafka=kafka,
            mongo=mongo,
            grpc={name: grpc for name, (grpc, _) in pairs.items()},
            http={name: http for name, (_, http) in pairs.items()},
        )

    @classmethod
    def read(cls, file: Path) -> "StackPorts | None":
        """Those of the last `up`, None when there was none. Raises EmbeddedError where they cannot be told."""
        try:
            ports = cls(**json.loads(file.read_text()))
            if not ports._possible():
                raise ValueError
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise EmbeddedError(f"{file} cannot be read: {error.strerror}.") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise EmbeddedError(
                f"{file} is damaged: delete it, then `credence stack down` and `credence stack up`, with `--port` "
                "where you gave one.",
                Exit.USAGE,
            ) from error
        return ports

    def write(self, file: Path) -> None:
        write_whole(file, json.dumps(asdict(self)))

    @property
    def all(self) -> tuple[int, ...]:
        return (self.kafka, self.mongo, *self.grpc.values(), *self.http.values())

    def _possible(self) -> bool:
        whole = self.grpc.keys() == self.http.keys() == set(SERVICES)
        return whole and all(type(port) is int and 0 < port <= _LAST_PORT for port in self.all)


def _all_free(ports: StackPorts) -> bool:
    return all(is_free(port) for port in ports.all)


@dataclass(frozen=True)
class StackAddresses:
    """Where a client, an operator or a service finds the parts."""

    kafka_bootstrap: str
    mongo_uri: str
    grpc: Mapping[str, str]
    http: Mapping[str, str]


@dataclass(frozen=True)
class StackServers:
    """Kafka and MongoDB as the services reach them, whoever runs them."""

    kafka_bootstrap: str
    mongo_uri: str
    software: str


@dataclass(frozen=True)
class PartStatus:
    """One part: `not ready` means that it runs and does not answer as it should."""

    name: str
    state: Literal["ready", "not ready", "stopped"]
    pid: int | None
    address: str
    log: Path


class Part(Protocol):
    """What the stack needs of a server or service."""

    name: str
    process: ManagedProcess

    def launch(self) -> bool: ...
    def ready(self) -> bool: ...
    def await_ready(self) -> None: ...
    def stop(self, seconds: float = ..., /) -> bool: ...


ServiceSpecs = Callable[[StackPorts, StackAddresses, DevelopmentSecrets], Sequence[ServiceSpec]]


def credence_services(
    ports: StackPorts, addresses: StackAddresses, secrets: DevelopmentSecrets
) -> tuple[ServiceSpec, ...]:
    """The three services, in the development profile."""
    return tuple(
        service_spec(
            name,
            mongo_uri=addresses.mongo_uri,
            kafka_bootstrap=addresses.kafka_bootstrap,
            grpc_port=ports.grpc[name],
            http_port=ports.http[name],
            secrets=secrets,
        )
        for name in SERVICES
    )


class Stack:
    """The platform in one folder (`$CREDENCE_HOME/stack` unless given).

    `port_base`: see StackPorts; None means the ports of the last time, else the default ones. `owned`: everything ends
    with this process, even if it is killed; else it outlives it. `servers`: use these, which others start and stop,
    instead of embedded ones. `say` is given one line per step.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port_base: int | None = None,
        services: ServiceSpecs = credence_services,
        topics_declared: Path | None = None,
        servers: StackServers | None = None,
        owned: bool = False,
        say: Callable[[str], None] = print,
    ) -> None:
        self.folder = (folder or credence_home() / "stack").resolve()
        self.secrets = DevelopmentSecrets(self.folder / "secrets")
        self._port_base = port_base
        self._service_specs = services
        self._topics_declared = topics_declared
        self._given = servers
        self._owned = owned
        self._say = say
        self._ports = StackPorts.read(self._ports_file) or StackPorts.counted_from(
            DEFAULT_PORT_BASE if port_base is None else port_base
        )
        self._assemble()

    @property
    def addresses(self) -> StackAddresses:
        return StackAddresses(
            kafka_bootstrap=self._reached.kafka_bootstrap,
            mongo_uri=self._reached.mongo_uri,
            grpc={name: f"{LOOPBACK}:{port}" for name, port in self._ports.grpc.items()},
            http={name: f"http://{LOOPBACK}:{port}" for name, port in self._ports.http.items()},
        )

    @property
    def specs(self) -> tuple[ServiceSpec, ...]:
        """How each service is run: its settings are those of its tools too."""
        return tuple(service.spec for service in self._services)

    @property
    def software(self) -> str:
        """The servers' names and versions, for the label of every figure."""
        return self._reached.software

    def up(self) -> StackAddresses:
        """Start what does not run, start again what hangs, and return when all is ready; harmless when it is.

        Raises EmbeddedError (or TopicsError) in one sentence. On an error or Ctrl-C, what this call started is stopped
        again and what ran before is left alone.
        """
        with self._alone():
            self._settle_ports()
            self._check_prerequisites()
            self._write_ports()
            ensure_development_secrets(self.secrets.folder)
            started: list[Part] = []
            try:
                self._bring_up(self._servers, started)
                self._create_topics()
                self._bring_up(self._services, started)
            except BaseException:
                self._take_down(started)
                raise
        return self.addresses

    def down(self) -> None:
        """Stop everything, services first so that they can drain; harmless when nothing runs."""
        with self._alone():
            running = [part for part in self._parts if part.process.alive()]
            if not running:
                self._say("Nothing runs.")
            self._take_down(running)

    def status(self) -> tuple[PartStatus, ...]:
        """Every part as it is now."""
        return tuple(self._status_of(part) for part in self._parts)

    def logs(
        self, names: Sequence[str] | None = None, *, lines: int = 20, follow: bool = False
    ) -> Iterator[tuple[str, str]]:
        """(part, line): the last `lines` of each part (all unless named), then with `follow` what comes, for ever."""
        known = {part.name: part for part in self._parts}
        if unknown := sorted(set(names or ()) - known.keys()):
            raise EmbeddedError(
                f"There is no part named {', '.join(unknown)}; the parts are {', '.join(known)}.", Exit.USAGE
            )
        tails = [_Tail(known[name].process.log) for name in names or known]
        named = list(zip(names or known, tails, strict=True))
        for name, tail in named:
            for line in tail.last(lines):
                yield name, line
        while follow:
            time.sleep(_FOLLOW_SECONDS)
            for name, tail in named:
                for line in tail.new_lines():
                    yield name, line

    # -- the parts ----------------------------------------------------------------------------------------------------

    @property
    def _parts(self) -> list[Part]:
        return [*self._servers, *self._services]

    def _assemble(self) -> None:
        self._kafka = EmbeddedKafka(self.folder / "kafka", self._ports.kafka, owned=self._owned)
        self._mongo = EmbeddedMongo(self.folder / "mongo", self._ports.mongo, owned=self._owned)
        self._servers: list[Part] = [] if self._given else [self._kafka, self._mongo]
        self._reached = self._given or StackServers(
            self._kafka.bootstrap, self._mongo.uri, f"{self._kafka.software}, {self._mongo.software}"
        )
        specs = self._service_specs(self._ports, self.addresses, self.secrets)
        self._services = [ServiceProcess(spec, self.folder / spec.name, owned=self._owned) for spec in specs]

    def _address_of(self, part: Part) -> str:
        if isinstance(part, ServiceProcess):
            return part.address
        return self._kafka.bootstrap if part is self._kafka else f"{LOOPBACK}:{self._mongo.port}"

    def _status_of(self, part: Part) -> PartStatus:
        pid = part.process.pid
        state: Literal["ready", "not ready", "stopped"] = "stopped"
        if pid is not None:
            state = "ready" if part.ready() else "not ready"
        return PartStatus(part.name, state, pid, self._address_of(part), part.process.log)

    # -- ports --------------------------------------------------------------------------------------------------------

    @property
    def _ports_file(self) -> Path:
        return self.folder / "ports.json"

    def _settle_ports(self) -> None:
        """Decide the ports for this `up`."""
        remembered = StackPorts.read(self._ports_file)
        running = any(part.process.alive() for part in self._parts)
        if self._port_base == 0 and remembered and not running and not _all_free(remembered):
            # Base 0 asks for any free ports: those of the last time are as good, unless somebody has them now.
            self._ports = StackPorts.counted_from(0)
            self._assemble()
        if self._port_base and remembered and remembered != (asked := StackPorts.counted_from(self._port_base)):
            if running:
                raise EmbeddedError(
                    f"The stack in {self.folder} runs on other ports than you ask for; `credence stack down` first.",
                    Exit.REFUSED,
                )
            self._ports = asked
            self._assemble()

    def _write_ports(self) -> None:
        """For the next command, that it finds the parts; once they can be had, for it would fail on others too."""
        try:
            self._ports.write(self._ports_file)
        except OSError as error:
            raise EmbeddedError(f"The folder {self.folder} cannot be written: {error}.") from error

    # -- up and down --------------------------------------------------------------------------------------------------

    def _check_prerequisites(self) -> None:
        """All that can be known before anything is fetched or started."""
        require_free_disk(self.folder, _DISK_BYTES_MIN, "The stack")
        if self._kafka in self._servers and not self._kafka.process.alive():
            find_java()
            require_free(self._ports.kafka, "Kafka")
            kafka_jars()
        if self._mongo in self._servers and not self._mongo.process.alive():
            require_free(self._ports.mongo, "the MongoDB stand-in")
        for service in self._services:
            if not service.process.alive():
                for port in service.spec.ports:
                    require_free(port, service.name)

    def _bring_up(self, parts: Sequence[Part], started: list[Part]) -> None:
        for part in parts:
            if not part.process.alive():
                started.append(part)  # before the launch: Ctrl-C may come right after it
                part.launch()
        for part in parts:
            self._await(part, started)

    def _await(self, part: Part, started: list[Part]) -> None:
        if part not in started:
            if self._soon_ready(part):
                self._say(f"{part.name}: already ready on {self._address_of(part)}")
                return
            self._say(f"{part.name}: runs but does not answer; starting it again")
            started.append(part)
            part.stop(_HUNG_STOP_SECONDS)
            part.launch()
        part.await_ready()
        self._say(f"{part.name}: ready on {self._address_of(part)}")

    def _soon_ready(self, part: Part) -> bool:
        deadline = time.monotonic() + _HUNG_SECONDS
        while part.process.alive() and time.monotonic() < deadline:
            if part.ready():
                return True
            time.sleep(0.1)
        return False

    def _create_topics(self) -> None:
        # One broker holds one copy, whatever is declared for a cluster.
        made = topics.create(
            self._reached.kafka_bootstrap, self._topics_declared or topics_file(), replication_factor=1
        )
        new = sum(topic.created for topic in made)
        self._say(f"topics: {len(made)} as declared ({new} created)")
        for topic in made:
            for setting, (declared, actual) in topic.drift.items():
                self._say(f"topics: {topic.name} has {setting}={actual}; declared is {declared}")

    def _take_down(self, parts: Sequence[Part]) -> None:
        services = [part for part in parts if isinstance(part, ServiceProcess)]
        servers = [part for part in parts if not isinstance(part, ServiceProcess)]
        for group in (services, servers):
            for part in group:
                part.process.terminate()  # all at once: each may take its time
            for part in group:
                ended = part.stop()
                self._say(f"{part.name}: stopped" if ended else f"{part.name}: did not end in time and was killed")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One `up` or `down` at a time in this folder; another one waits, within a limit."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("w")
        except OSError as error:
            raise EmbeddedError(f"The folder {self.folder} cannot be written ({error}); set CREDENCE_HOME.") from error
        with lock:
            deadline, told = time.monotonic() + _LOCK_SECONDS, False
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > deadline:
                        raise EmbeddedError(
                            f"Another stack command has been at work in {self.folder} for {_LOCK_SECONDS:.0f} s; "
                            "end that one first."
                        ) from error
                    if not told:
                        self._say("Another stack command is at work here; waiting for it.")
                        told = True
                    time.sleep(0.1)
            yield


class _Tail:
    """The last whole lines of a growing file and those that come, also after it was cut and begun again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rest = b""

    def last(self, lines: int) -> list[str]:
        """Read from the end, and no more than it takes; what comes after them is new."""
        blocks: deque[bytes] = deque()
        try:
            with self._path.open("rb") as stream:
                self._at = start = stream.seek(0, os.SEEK_END)
                ends = 0
                # One more than asked for: the end of the line before them is where the first one begins.
                while start and ends <= lines:
                    size = min(start, _BLOCK_BYTES)
                    start = stream.seek(start - size)
                    blocks.appendleft(stream.read(size))
                    ends += blocks[0].count(b"\n")
        except OSError:
            return []
        *found, self._rest = b"".join(blocks).split(b"\n")
        return [line.decode(errors="replace") for line in found[-lines or sys.maxsize :]]

    def new_lines(self) -> list[str]:
        try:
            size = self._path.stat().st_size
            if size < self._at:
                self._at, self._rest = 0, b""
            with self._path.open("rb") as stream:
                stream.seek(self._at)
                read = stream.read()
        except OSError:
            return []
        self._at += len(read)
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [line.decode(errors="replace") for line in lines]
