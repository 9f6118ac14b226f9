"""A service alone: it says what is wrong, goes on where it can, and ends when it is asked to (P11, P12).

What it says of servers that are away, and how soon, is in `test_told.py`.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from credence.mentoring.v1 import mentors_pb2
from credence_cli.embedded.ports import free_port
from tests.servers import Servers
from tests.system.evidence import on_topic
from tests.system.lone import TOPIC, Lone, alone, start
from tests.system.platform import all_stored, settled

pytestmark = pytest.mark.servers

TOLD_SECONDS = 5.0
WHOLE_SECONDS = 10.0
DRAIN_SECONDS = 20.0
PORT_TAKEN = 71


@pytest.fixture(scope="module")
def lone(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lone]:
    with alone(tmp_path_factory.mktemp("lone"), mongo_uri=servers.mongo_uri) as running:
        yield running


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
    listed = lone.ask(mentors_pb2.ListMentorsRequest(person_id="health-mentor", token=answer.token))
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
