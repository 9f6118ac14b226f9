"""A service says what is wrong when it cannot start, and ends when it is asked to (P11).

What it says of servers that are away, and how soon, is in `test_told.py`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from credence_cli.embedded.service import READY_SECONDS, answers_ok
from tests.system.lone import start
from tests.system.platform import Platform, settled
from tests.system.sick import spec_beside

pytestmark = pytest.mark.servers

DRAIN_SECONDS = 20.0
PORT_TAKEN = 71


def test_a_port_that_is_taken_is_said_in_one_sentence(platform: Platform, tmp_path: Path) -> None:
    spec = spec_beside(platform, "mentoring")
    taken = platform.stack.addresses.grpc["mentoring"]
    spec = replace(spec, env={**spec.env, "CREDENCE_GRPC_PORT": taken.rpartition(":")[2]})
    second = start(spec, tmp_path / "log")
    assert second.wait(60) == PORT_TAKEN
    said = (tmp_path / "log").read_text()
    assert f"cannot listen on {taken}" in said
    assert "Traceback" not in said


def test_asked_to_end_it_drains_and_exits_with_nothing_wrong(platform: Platform, tmp_path: Path) -> None:
    spec, log = spec_beside(platform, "mentoring"), tmp_path / "log"
    process = start(spec, log)
    try:
        settled("it is ready", lambda: answers_ok(spec.ready_url), seconds=READY_SECONDS)
        process.terminate()
        assert process.wait(DRAIN_SECONDS) == 0
    finally:
        process.kill()
    assert "Traceback" not in log.read_text()
