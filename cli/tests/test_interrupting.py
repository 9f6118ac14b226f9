"""Ctrl-C while a command waits: one line, exit code 130, and the address answers to nobody's questions after it."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import psutil
import pytest

from cli.tests.running import Home
from credence_cli.embedded.development_secrets import ensure_development_secrets
from credence_cli.exits import INTERRUPTED

WAIT_SECONDS = 60.0


@pytest.mark.parametrize("words", [("catalogue", "list"), ("standing", "show", "c1", "p1", "--json")])
def test_ctrl_c_while_waiting_for_an_answer_is_one_line_and_130(
    home: Home, tmp_path: Path, words: tuple[str, ...]
) -> None:
    secrets = ensure_development_secrets(tmp_path / "secrets").folder
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(WAIT_SECONDS)
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        services = {f"CREDENCE_{name}": address for name in ("ENROLMENT", "ACCREDITATION", "MENTORING")}
        waiting = home.start(*words, CREDENCE_DEVELOPMENT_SECRETS=str(secrets), **services)
        try:
            with _accepted(silent, waiting.pid):  # the command has connected, and will hear nothing
                waiting.send_signal(signal.SIGINT)
                out, err = waiting.communicate(timeout=WAIT_SECONDS)
        finally:
            waiting.kill()
    assert (waiting.returncode, out) == (130, "")
    assert err == f"{INTERRUPTED}\n"


def test_ctrl_c_while_the_command_is_still_being_loaded_is_one_line_and_130(home: Home, tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(60)\n")
    loading = home.start("--help", PYTHONPATH=str(tmp_path))
    try:
        assert loading.stdout is not None
        assert loading.stdout.readline() == "loading\n"
        loading.send_signal(signal.SIGINT)
        out, err = loading.communicate(timeout=WAIT_SECONDS)
    finally:
        loading.kill()
    assert (loading.returncode, out, err) == (130, "", f"{INTERRUPTED}\n")


def _accepted(listening: socket.socket, pid: int) -> socket.socket:
    """This process's connection: a client of an earlier test may still knock at a port that has a new owner."""
    while True:
        connection, (_, port) = listening.accept()
        if any(each.laddr.port == port for each in psutil.Process(pid).net_connections("tcp")):
            return connection
        connection.close()
