"""A service alone, with a Kafka and a database of its own, which can be killed and paused under it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from credence.mentoring.v1 import mentors_pb2
from credence_cli import topics
from credence_cli.embedded.development_secrets import DevelopmentSecrets, ensure_development_secrets
from credence_cli.embedded.home import topics_file
from credence_cli.embedded.kafka import EmbeddedKafka
from credence_cli.embedded.mongo import EmbeddedMongo
from credence_cli.embedded.ports import LOOPBACK, free_port
from credence_cli.embedded.service import ServiceSpec, service_spec
from credence_cli.identity import Identity, mint
from tests.system.platform import ADMISSIONS, answer, open_channel, settled, suffix
from tests.system.rpcs import BY_REQUEST

TOPIC = "credence.mentoring.v1"
ENROLMENT_TOPIC = "credence.enrolment.v1"
READY_SECONDS = 120.0  # on a machine that tests other things at the same time


@dataclass
class Lone:
    """A service, mentoring unless another one was asked for, its servers, and where its log is."""

    spec: ServiceSpec
    secrets: Path
    kafka: EmbeddedKafka
    mongo: EmbeddedMongo | None
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def database(self) -> str:
        return self.spec.env["CREDENCE_MONGO_DATABASE"]

    @property
    def mongo_uri(self) -> str:
        return self.spec.env["CREDENCE_MONGO_URI"]

    def health(self) -> Mapping[str, Any]:
        """What `/ready` says, whatever its status; empty while it does not answer."""
        return json.loads(self.get("/ready") or "{}")  # type: ignore[no-any-return]

    def get(self, path: str) -> str:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(self.spec.ready_url.replace("/ready", path), timeout=2) as answer:
                return str(answer.read().decode())
        except urllib.request.HTTPError as refused:
            return refused.read().decode()
        except OSError:
            return ""

    def state(self) -> str:
        return str(self.health().get("status", ""))

    def check(self, name: str) -> str:
        return str(self.health().get("checks", {}).get(name, {}).get("state", ""))

    def ask(self, request: Message, who: Identity = ADMISSIONS, *, seconds: float = 15.0) -> Any:
        """Raises Refused."""
        return self.told(request, who, seconds=seconds)[0]

    def told(
        self, request: Message, who: Identity = ADMISSIONS, *, seconds: float = 15.0
    ) -> tuple[Any, dict[str, str]]:
        """The answer, and its trailing metadata."""
        rpc = BY_REQUEST[type(request)]
        with open_channel(f"127.0.0.1:{self.spec.ports[0]}") as channel:
            method: Any = channel.unary_unary(
                rpc.path,
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=rpc.response.FromString,
            )
            metadata = (("authorization", f"Bearer {mint(who, self.secrets)}"),)
            answer, call = method.with_call(request, timeout=seconds, metadata=metadata)
            return answer, {key: str(value) for key, value in call.trailing_metadata()}

    def stream(self, request: Message, who: Identity) -> list[Any]:
        """All parts of an answer that is a stream. Raises Refused."""
        with open_channel(f"127.0.0.1:{self.spec.ports[0]}") as channel:
            return list(answer(channel, request, mint(who, self.secrets), 60.0))

    def registers(self, person: str, command_id: str = "", *, employer: str = "sample-council") -> Any:
        row = mentors_pb2.RegisterMentor(
            command_id=command_id,
            person_id=person,
            background="children",
            sector="public",
            in_post=True,
            employer_id=employer,
        )
        return self.ask(mentors_pb2.RegisterMentorsRequest(rows=[row]))

    @property
    def command_env(self) -> dict[str, str]:
        """With which `credence` finds this service alone."""
        return {
            **os.environ,
            "CREDENCE_HOME": str(self.log.parent / "home"),
            "CREDENCE_DEVELOPMENT_SECRETS": str(self.secrets),
            "CREDENCE_MENTORING": f"127.0.0.1:{self.spec.ports[0]}",
            "CREDENCE_KAFKA_BOOTSTRAP": self.kafka.bootstrap,
        }

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`credence <words>` as a process of its own."""
        arguments = [sys.executable, "-m", "credence_cli.main", *words]
        return subprocess.run(arguments, env=self.command_env, cwd=self.log.parent, capture_output=True, text=True)

    @contextmanager
    def silent(self, server: EmbeddedKafka | EmbeddedMongo) -> Iterator[None]:
        """The server keeps its connections and answers nothing."""
        pid = server.process.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def away(self, server: EmbeddedKafka | EmbeddedMongo) -> Iterator[None]:
        """The server is killed, and started again at the end."""
        server.kill()
        try:
            yield
        finally:
            server.start()


def start(spec: ServiceSpec, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(spec.command, env={**os.environ, **spec.env}, stdout=output, stderr=subprocess.STDOUT)


@contextmanager
def alone(
    folder: Path, *, mongo_uri: str = "", command: Callable[[Sequence[str]], Sequence[str]] = lambda words: words
) -> Iterator[Lone]:
    """Running and whole. Without a database's address it gets one of its own; `command` changes how it is run."""
    secrets = ensure_development_secrets(folder / "secrets")
    kafka = EmbeddedKafka(folder / "kafka").start()
    mongo = None if mongo_uri else EmbeddedMongo(folder / "mongo").start()
    try:
        topics.create(kafka.bootstrap, topics_file(), replication_factor=1)
        spec = _spec("mentoring", mongo.uri if mongo else mongo_uri, kafka, secrets, command)
        with _running(spec, secrets.folder, kafka, mongo, folder / "log") as lone:
            yield lone
    finally:
        kafka.kill()
        if mongo:
            mongo.kill()


@contextmanager
def beside(
    lone: Lone, folder: Path, command: Callable[[Sequence[str]], Sequence[str]], *, database: str = ""
) -> Iterator[Lone]:
    """Another process of it, on the same servers, and data unless it gets another database; `command` changes how it is
    run."""
    ports = (free_port(), free_port())
    places = {"CREDENCE_GRPC_PORT": str(ports[0]), "CREDENCE_HTTP_PORT": str(ports[1])}
    spec = replace(
        lone.spec,
        env={**lone.spec.env, **places, "CREDENCE_MONGO_DATABASE": database or lone.database},
        command=tuple(command(lone.spec.command)),
        ready_url=f"http://{LOOPBACK}:{ports[1]}/ready",
        ports=ports,
    )
    with _running(spec, lone.secrets, lone.kafka, lone.mongo, folder / "log") as second:
        yield second


@contextmanager
def another(
    lone: Lone, service: str, folder: Path, command: Callable[[Sequence[str]], Sequence[str]] = lambda words: words
) -> Iterator[Lone]:
    """Another service, on the same servers and with a database of its own; `command` changes how it is run."""
    spec = _spec(service, lone.mongo_uri, lone.kafka, DevelopmentSecrets(lone.secrets), command)
    with _running(spec, lone.secrets, lone.kafka, lone.mongo, folder / "log") as second:
        yield second


def _spec(
    service: str,
    mongo_uri: str,
    kafka: EmbeddedKafka,
    secrets: DevelopmentSecrets,
    command: Callable[[Sequence[str]], Sequence[str]],
) -> ServiceSpec:
    """On free ports, with a database of its own."""
    spec = service_spec(
        service,
        mongo_uri=mongo_uri,
        kafka_bootstrap=kafka.bootstrap,
        grpc_port=free_port(),
        http_port=free_port(),
        secrets=secrets,
    )
    env = {**spec.env, "CREDENCE_MONGO_DATABASE": f"credence_lone_{suffix()}"}
    return replace(spec, env=env, command=tuple(command(spec.command)))


@contextmanager
def _running(
    spec: ServiceSpec, secrets: Path, kafka: EmbeddedKafka, mongo: EmbeddedMongo | None, log: Path
) -> Iterator[Lone]:
    process = start(spec, log)
    try:
        lone = Lone(spec, secrets, kafka, mongo, process, log)
        try:
            settled("the service is whole", lambda: lone.state() == "ok", seconds=READY_SECONDS)
        except AssertionError as error:
            error.add_note(f"{lone.get('/ready')}\n{log.read_text()[-2000:]}")
            raise
        yield lone
    finally:
        process.kill()
        process.wait()


def seconds_until(what: str, met: Callable[[], bool], *, within: float) -> float:
    """How long it took. Raises AssertionError when it did not come in time: this is the checker."""
    began = time.monotonic()
    settled(what, met, seconds=within)
    return time.monotonic() - began
