"""A service alone: it says what is wrong, goes on where it can, and ends when it is asked to (P11, P12).

What it says of servers that are away, and how soon, is in `test_told.py`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from credence_cli.embedded.ports import free_port
from tests.servers import Servers
from tests.system.lone import Lone, alone, start

pytestmark = pytest.mark.servers

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


def test_asked_to_end_it_drains_and_exits_with_nothing_wrong(lone: Lone) -> None:
    lone.process.send_signal(signal.SIGTERM)
    assert lone.process.wait(DRAIN_SECONDS) == 0
    assert "Traceback" not in lone.log.read_text()
