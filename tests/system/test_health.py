"""A service alone: it says what is wrong, goes on where it can, and ends when it is asked to (P11, P12).

It has a Kafka of its own, which is killed under it, and a database of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from credence.mentoring.v1 import mentors_pb2
from credence_cli import topics
from credence_cli.embedded.development_secrets import ensure_development_secrets
from credence_cli.embedded.home import topics_file
from credence_cli.embedded.kafka import EmbeddedKafka
from credence_cli.embedded.ports import free_port
from credence_cli.embedded.service import ServiceSpec, service_spec
from credence_cli.identity import mint
from tests.servers import Servers
from tests.system.evidence import on_topic
from tests.system.platform import ADMISSIONS, all_stored, call, settled, suffix

pytestmark = pytest.mark.servers

TOLD_SECONDS = 5.0
WHOLE_SECONDS = 10.0
DRAIN_SECONDS = 20.0
PORT_TAKEN = 71
TOPIC = "credence.mentoring.v1"


@dataclass
class Lone:
    """The mentoring service, its Kafka, and where its log is."""

    spec: ServiceSpec
    secrets: Path
    kafka: EmbeddedKafka
    process: subprocess.Popen[bytes]
    log: Path

    def health(self) -> Mapping[str, Any]:
        """What `/ready` says; empty while it does not answer."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(self.spec.ready_url, timeout=2) as answer:
                return json.load(answer)  # type: ignore[no-any-return]
        except OSError:
            return {}

    def registers(self, person: str) -> Any:
        row = mentors_pb2.RegisterMentor(
            person_id=person, background="children", sector="public", in_post=True, employer_id="sample-council"
        )
        return self.asks(mentors_pb2.RegisterMentorsRequest(rows=[row]))

    def asks(self, request: Any) -> Any:
        return call(f"127.0.0.1:{self.spec.ports[0]}", request, mint(ADMISSIONS, self.secrets))


def start(spec: ServiceSpec, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(spec.command, env={**os.environ, **spec.env}, stdout=output, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def lone(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lone]:
    folder = tmp_path_factory.mktemp("lone")
    secrets = ensure_development_secrets(folder / "secrets")
    kafka = EmbeddedKafka(folder / "kafka").start()
    try:
        topics.create(kafka.bootstrap, topics_file(), replication_factor=1)
        spec = service_spec(
            "mentoring",
            mongo_uri=servers.mongo_uri,
            kafka_bootstrap=kafka.bootstrap,
            grpc_port=free_port(),
            http_port=free_port(),
            secrets=secrets,
        )
        spec = replace(spec, env={**spec.env, "CREDENCE_MONGO_DATABASE": f"credence_health_{suffix()}"})
        log = folder / "log"
        process = start(spec, log)
        try:
            alone = Lone(spec, secrets.folder, kafka, process, log)
            settled("the service is ready", lambda: alone.health().get("status") == "ok", seconds=60)
            yield alone
        finally:
            process.kill()
            process.wait()
    finally:
        kafka.kill()


def test_a_port_that_is_taken_is_said_in_one_sentence(lone: Lone, tmp_path: Path) -> None:
    spec = replace(lone.spec, env={**lone.spec.env, "CREDENCE_HTTP_PORT": str(free_port())})
    second = start(spec, tmp_path / "log")
    assert second.wait(60) == PORT_TAKEN
    said = (tmp_path / "log").read_text()
    assert f"cannot listen on 127.0.0.1:{spec.ports[0]}" in said
    assert "Traceback" not in said


def test_kafka_away_is_told_commands_go_on_and_all_is_whole_again_when_it_is_back(lone: Lone) -> None:
    lone.kafka.kill()
    settled("the service says so", lambda: lone.health().get("status") == "degraded", seconds=TOLD_SECONDS)
    checks = lone.health()["checks"]
    assert checks["kafka"]["state"] == "degraded"
    assert checks["kafka"]["detail"]

    answer = all_stored(lone.registers("health-mentor"))
    listed = lone.asks(mentors_pb2.ListMentorsRequest(person_id="health-mentor", token=answer.token))
    assert [mentor.person_id for mentor in listed.mentors] == ["health-mentor"]

    lone.kafka.start()
    back = time.monotonic()
    settled("all is well again", lambda: lone.health().get("status") == "ok", seconds=WHOLE_SECONDS)
    left = WHOLE_SECONDS - (time.monotonic() - back)
    settled("what was stored is published", lambda: published(lone), seconds=left + 5)


def published(lone: Lone) -> bool:
    return len(asyncio.run(on_topic(lone.kafka.bootstrap, TOPIC, "health-mentor"))) == 1


def test_asked_to_end_it_drains_and_exits_with_nothing_wrong(lone: Lone) -> None:
    lone.process.send_signal(signal.SIGTERM)
    assert lone.process.wait(DRAIN_SECONDS) == 0
    assert "Traceback" not in lone.log.read_text()
