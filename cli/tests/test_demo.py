"""`credence demo` as a stranger runs it: it shows what it says, ends cleanly, and leaves nothing running."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from cli.tests.running import Home, Ran
from credence_cli.embedded.identity import Identity
from credence_cli.embedded.ports import free_port, is_free
from credence_cli.embedded.stack import SERVICES, Stack
from tests import readme

pytestmark = pytest.mark.servers

DEMO_SECONDS = 240.0
PARTS = ("kafka", "mongo", *SERVICES)


@pytest.fixture(scope="module")
def stage(home: Home) -> Iterator[Home]:
    """The home that the demo runs in, cleared of anything that a failed test left running."""
    yield home.with_kafka()
    stack_of(home).down()


def stack_of(home: Home) -> Stack:
    return Stack(home.folder / "stack", say=lambda line: None)


def states(home: Home) -> dict[str, str]:
    return {part.name: part.state for part in stack_of(home).status()}


def assert_nothing_runs(home: Home) -> None:
    assert states(home) == dict.fromkeys(PARTS, "stopped")
    assert processes_of(home) == []
    ports = stack_of(home).addresses
    for address in (ports.kafka_bootstrap, *ports.grpc.values(), *ports.http.values()):
        assert is_free(int(address.rpartition(":")[2])), address


def processes_of(home: Home) -> list[str]:
    """Whatever lives in this home's folder or names it, also what no record knows."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            inside = (process / "cwd").resolve().is_relative_to(home.folder)
            if (inside or str(home.folder) in command) and Identity.of(int(process.name)) is not None:
                found.append(f"{process.name}: {command}")
    return found


def ended(demo: subprocess.Popen[str], words: Sequence[str] = ("demo",)) -> Ran:
    out, err = demo.communicate(timeout=DEMO_SECONDS)
    return Ran(tuple(words), demo.returncode, out, err)


def test_the_demo_shows_what_it_says_and_leaves_nothing_running(stage: Home) -> None:
    ran = stage.run("demo", "--port", "0")
    assert "unexpected" not in ran.out
    assert "Everything is stopped." in ran.out
    for shown in (
        "waiting",  # the one too many
        "refused    line 16: ",  # an answer to every row
        "line-unreadable",
        "counted: enrolment-com-",  # a standing as an explained tree
        "20 provisional, 0 confirmed",
        "20 CATS, level 7, 10 ECTS, transferable",
        "The provisional credit was taken back by itself",
        "certificate: not due",
        "certificate: blocked",
        "under review",
    ):
        assert shown in ran.out, shown
    assert not re.search(r"Traceback|\bERROR\b", ran.out + ran.err)
    assert_nothing_runs(stage)
    assert_it_is_what_the_readme_shows(ran.out)
    posted = {path.name for path in (stage.folder / "demo").glob("*/*.csv")}
    assert {"template.csv", "register-1.csv", "conflict.csv", "directors.csv"} <= posted


def assert_it_is_what_the_readme_shows(output: str) -> None:
    """The README's sample, in its order: ids are of the run, dots stand for what is left out."""
    sample = next(b for b in readme.blocks() if any("attendance post register-1.csv" in line for line in b.lines))
    printed = iter(_without_run(line) for line in output.splitlines())
    for line in sample.lines:
        shown = _without_run(line.rstrip(". ") if line.endswith("...") else line)
        assert not shown or any(said.startswith(shown.rstrip()) for said in printed), line


def _without_run(line: str) -> str:
    return re.sub(r"-[0-9a-z]{6}\b", "-RUN", line)


def test_a_second_demo_works_in_the_same_home_and_can_be_kept_with_commands_that_work(stage: Home) -> None:
    ran = stage.run("demo", "--port", "0", "--keep")
    assert "unexpected" not in ran.out
    assert states(stage) == dict.fromkeys(PARTS, "ready")
    assert len(processes_of(stage)) >= len(PARTS)  # so that finding none, later, means something
    _, _, to_try = ran.out.partition("The platform is running. To try next (from this folder):\n")
    commands = [shlex.split(line) for line in to_try.splitlines()]
    assert {words[0] for words in commands} == {".venv/bin/credence"}
    assert commands[-1][1:] == ["stack", "down"]
    for _, *words in commands[:-1]:
        assert stage.call(*words).out.strip(), words
    stage.run("stack", "down")
    assert_nothing_runs(stage)


def test_ctrl_c_in_the_middle_stops_everything(stage: Home) -> None:
    demo = stage.start("demo", "--port", "0")
    assert demo.stdout is not None
    watchdog = threading.Timer(DEMO_SECONDS, demo.kill)
    watchdog.start()
    try:
        for line in demo.stdout:
            if "registers, however messy" in line:
                demo.send_signal(signal.SIGINT)
                break
        ran = ended(demo)
    finally:
        watchdog.cancel()
        demo.kill()
    assert ran.code == 130, ran
    assert "Traceback" not in ran.err
    assert ran.err.splitlines()[-1] == "Interrupted. What was acknowledged is kept; run it again to go on."
    assert_nothing_runs(stage)


# Before anything is started


def test_a_taken_port_is_one_sentence_that_names_who_holds_it(stage: Home) -> None:
    base = free_port()
    with socket.create_server(("127.0.0.1", base)):
        ran = stage.call("demo", "--port", str(base), exits=6)
    said = ran.err.splitlines()[-1]
    assert said.startswith(f"Port {base}, which Kafka needs, is held by process ")
    assert "Traceback" not in ran.err
    assert_nothing_runs(stage)


def test_a_java_that_is_none_is_one_sentence(stage: Home) -> None:
    ran = stage.call("demo", "--port", "0", exits=2, CREDENCE_JAVA="/nonexistent/java")
    assert ran.err.splitlines()[-1] == (
        "CREDENCE_JAVA names /nonexistent/java, which is not a Java runtime that can be run; "
        "name another or unset CREDENCE_JAVA."
    )


def test_a_disk_that_is_nearly_full_is_one_sentence(stage: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credence_cli.embedded.stack._DISK_BYTES_MIN", 2**60)
    ran = stage.call("demo", "--port", "0", exits=6)
    assert re.fullmatch(
        r"The stack needs \d+ MiB of free disk at .*; free some space, or set .*", ran.err.splitlines()[-1]
    )


def test_a_home_that_cannot_be_written_is_one_sentence(stage: Home, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ran = stage.call("demo", "--port", "0", exits=6, CREDENCE_HOME=str(tmp_path / "file"))
    assert "cannot be written" in ran.err.splitlines()[-1]
