"""Whoever lies about sizes, never ends or opens thousands of streams pays for it; the process and its others do not.

Against a whole process over real sockets. Each checker is also let loose on a process with one planted mistake, and
must then fail.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from libs.servicekit.tests import hostile
from libs.servicekit.tests.conftest import KEY_TEXT, Issuer
from libs.servicekit.tests.hostile import ATTACKS, Victim, many_files, watched

Attack = Callable[[Victim], Awaitable[None]]
ROOT = Path(__file__).parents[3]


@contextmanager
def running(folder: Path, careless: str = "") -> Iterator[Victim]:
    issuer = Issuer(folder / "jwks.json")
    issuer.publish("key-1", "EdDSA")
    for name in ("master.key", "digest.key"):
        (folder / name).write_text(KEY_TEXT)
    log = folder / f"echo-{careless}.log"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CREDENCE_")},
        "CREDENCE_SECRETS_DIR": str(folder),
        "CREDENCE_MONGO_URI": "mongodb://127.0.0.1:1",
        "CREDENCE_MONGO_DATABASE": "sample",
        "CREDENCE_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "CREDENCE_JWKS": str(issuer.jwks),
        "CREDENCE_ISSUER": "https://issuer.test",
        "CREDENCE_DEFAULT_DEADLINE_SECONDS": "3",
        "CREDENCE_LOG_LEVEL": "INFO",
        "ECHO_CARELESS": careless,
    }
    with log.open("wb") as said:
        command = [sys.executable, "-m", "libs.servicekit.tests.echo_service"]
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=said)
    try:
        serving = _serving(process, log)
        yield Victim(
            psutil.Process(process.pid),
            serving["grpc_port"],
            serving["http_port"],
            hostile=issuer.token(sub="sample-hostile-01"),
            honest=issuer.token(sub="sample-honest-01"),
        )
        assert process.poll() is None, f"it ended with {process.returncode}"
    finally:
        process.kill()
        process.wait()


def _serving(process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if '"serving"' in line and line.endswith("}"):
                told: dict[str, Any] = json.loads(line)
                return told
        time.sleep(0.05)
    raise AssertionError(f"it does not serve:\n{log.read_text()}")


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    with many_files(), running(tmp_path_factory.mktemp("echo")) as process:
        yield process


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
async def test_it_costs_the_caller(victim: Victim, attack: Attack) -> None:
    async with watched(victim):
        await attack(victim)
    assert victim.served


PLANTED: tuple[tuple[str, Attack], ...] = (
    ("any-metadata", hostile.a_megabyte_of_metadata),
    ("bytes-uncounted", hostile.answers_that_nobody_reads),
    ("newest-turned-away", hostile.half_requests_to_the_status_port),
    ("no-connection-limit", hostile.hundreds_of_connections),
    ("no-deadline", hostile.calls_without_a_deadline),
    ("no-idle-limit", hostile.silence),
    ("no-message-limit", hostile.a_gigabyte_of_zeros_in_a_megabyte),
    ("no-stream-limit", hostile.thousands_of_streams_on_one_connection),
    ("one-caller-takes-all", hostile.ten_thousand_calls),
    ("reads-before-the-token", hostile.half_a_message),
)


@pytest.mark.parametrize(("careless", "attack"), PLANTED, ids=[name for name, _ in PLANTED])
async def test_a_process_with_a_planted_mistake_pays(tmp_path: Path, careless: str, attack: Attack) -> None:
    with many_files(), running(tmp_path, careless) as victim:
        with pytest.raises((AssertionError, TimeoutError)):
            async with watched(victim):
                await attack(victim)
