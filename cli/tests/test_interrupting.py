"""Ctrl-C while a command waits: one line, exit code 130, and the address answers to nobody's questions after it."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from cli.tests.running import Home
from credence_cli.embedded.development_secrets import ensure_development_secrets

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
            silent.accept()  # the command has connected, and will hear nothing
            waiting.send_signal(signal.SIGINT)
            out, err = waiting.communicate(timeout=WAIT_SECONDS)
        finally:
            waiting.kill()
    assert (waiting.returncode, out) == (130, "")
    assert err == "Interrupted. What was acknowledged is kept; run it again to go on.\n"
