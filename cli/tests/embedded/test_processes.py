"""The supervisor, on real processes."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from credence_cli.embedded import ports
from credence_cli.embedded.errors import EmbeddedError
from credence_cli.embedded.identity import Identity
from credence_cli.embedded.processes import ManagedProcess
from credence_cli.limits import LOG_BYTES_MAX

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]


def eventually(condition: Callable[[], object], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def started(folder: Path, command: list[str], *, owned: bool = True) -> ManagedProcess:
    process = ManagedProcess("sleeper", folder)
    process.start(command, os.environ, owned=owned)
    process.await_ready(lambda: "up" in process.output(), 20)
    return process


def test_another_command_finds_and_stops_what_this_one_started(folder: Path) -> None:
    first = started(folder, SLEEPER)
    second = ManagedProcess("sleeper", folder)
    assert second.pid == first.pid
    assert second.stop(10)
    assert first.pid is None
    assert second.stop(10)  # nothing there: harmless


def test_a_process_that_ignores_sigterm_is_killed_after_the_bound(folder: Path) -> None:
    process = started(folder, STUBBORN)
    begun = time.monotonic()
    assert not process.stop(0.5)
    assert time.monotonic() - begun < 5
    assert not process.alive()


def test_a_recycled_pid_is_never_signalled(folder: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        mine = Identity.of(stranger.pid)
        assert mine is not None
        folder.mkdir(parents=True)
        replace(mine, started="another time").write(folder / "process.json")
        process = ManagedProcess("sleeper", folder)
        assert process.pid is None
        process.kill()
        process.stop(1)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_torn_pid_file_means_that_nothing_runs(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "process.json").write_text('{"pid": 1')
    assert ManagedProcess("sleeper", folder).pid is None


def test_a_second_start_in_the_same_folder_is_refused_and_names_the_process(folder: Path) -> None:
    process = started(folder, SLEEPER)
    try:
        with pytest.raises(EmbeddedError, match=rf"already runs as process {process.pid}"):
            ManagedProcess("sleeper", folder).start(SLEEPER, os.environ, owned=True)
    finally:
        process.kill()


def test_a_process_that_ends_while_starting_shows_its_last_words(folder: Path) -> None:
    process = ManagedProcess("worker", folder)
    process.start([sys.executable, "-c", "raise SystemExit('no such setting')"], os.environ, owned=True)
    with pytest.raises(EmbeddedError, match=r"worker ended while starting; see .*\nno such setting"):
        process.await_ready(lambda: False, 20)


def test_words_of_an_earlier_start_are_not_taken_for_this_one(folder: Path) -> None:
    process = ManagedProcess("worker", folder)
    for words in ("first failure", "second failure"):
        process.start([sys.executable, "-c", f"raise SystemExit({words!r})"], os.environ, owned=True)
        with pytest.raises(EmbeddedError) as failed:
            process.await_ready(lambda: False, 20)
    assert "second failure" in str(failed.value)
    assert "first failure" not in str(failed.value)


def test_a_process_that_never_gets_ready_is_reported_when_the_time_is_over(folder: Path) -> None:
    process = started(folder, SLEEPER)
    try:
        with pytest.raises(EmbeddedError, match=r"was not ready after 0 s; see .*\nup"):
            process.await_ready(lambda: False, 0.2)
    finally:
        process.kill()


def test_a_command_that_does_not_exist_is_told_in_one_sentence(folder: Path) -> None:
    with pytest.raises(EmbeddedError, match="worker could not be started"):
        ManagedProcess("worker", folder).start(["/nowhere/at/all"], os.environ, owned=True)


def test_a_log_beyond_its_limit_is_begun_again_at_the_next_start(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "output.log").write_bytes(b"x" * (LOG_BYTES_MAX + 1))
    process = started(folder, SLEEPER)
    process.kill()
    assert process.log.stat().st_size < 100
    assert (folder / "output.log.1").stat().st_size == LOG_BYTES_MAX + 1


OWNER = """
import os, sys, time
from pathlib import Path
from credence_cli.embedded.processes import ManagedProcess
process = ManagedProcess("sleeper", Path(sys.argv[1]))
process.start([sys.executable, "-c", "import time; time.sleep(600)"], os.environ, owned=sys.argv[2] == "owned")
print(process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_owned_process_ends_with_its_owner_however_that_ends(folder: Path, ending: signal.Signals) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(folder), "owned"], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    child = Identity.of(int(owner.stdout.readline()))
    assert child is not None
    owner.send_signal(ending)
    owner.communicate()
    assert eventually(lambda: not child.alive())


def test_a_process_that_is_not_owned_outlives_who_started_it(folder: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(folder), "free"], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    child = Identity.of(int(owner.stdout.readline()))
    owner.kill()
    owner.communicate()
    process = ManagedProcess("sleeper", folder)
    assert child is not None
    assert child.alive()
    assert process.identity == child
    process.stop(10)
    assert not child.alive()


def test_a_taken_port_is_told_with_its_number_and_its_holder() -> None:
    port = ports.free_port()
    listener = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert eventually(lambda: ports.accepts(port))
        with pytest.raises(EmbeddedError, match=rf"Port {port}, which Kafka needs, is held by .*http\.server") as told:
            ports.require_free(port, "Kafka")
        if Path("/proc").exists():
            assert f"process {listener.pid} " in str(told.value)
    finally:
        listener.kill()
        listener.wait()
    assert eventually(lambda: ports.is_free(port))


def test_free_ports_are_not_among_those_given_to_outgoing_connections() -> None:
    outgoing = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(outgoing.read_text().split()[0]) if outgoing.exists() else 49_152
    assert all(ports.free_port() < lowest for _ in range(20))


def test_a_free_port_is_given_once_and_its_server_may_listen_more_than_once() -> None:
    given = [ports.free_port() for _ in range(50)]
    assert len({*given}) == len(given)
    port = given[0]
    asks = f"from credence_cli.embedded import ports; ports._LOWEST = ports._HIGHEST = {port}; ports.free_port()"
    another = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True)
    if sys.platform == "linux":
        assert f"No free port was found between {port} and {port}" in another.stderr
    for _ in range(2):
        assert ports.is_free(port)
        with socket.create_server((ports.LOOPBACK, port)):
            assert not ports.is_free(port)


def test_how_a_process_ended_is_known(folder: Path) -> None:
    process = started(folder, SLEEPER)
    codes = [process.exit_code]
    process.signal(signal.SIGKILL)
    assert process.wait(10)
    codes.append(process.exit_code)
    process.signal(signal.SIGTERM)  # nothing there: harmless
    process.start([sys.executable, "-c", "raise SystemExit(7)"], os.environ, owned=True)
    assert process.wait(10)
    assert [*codes, process.exit_code] == [None, -signal.SIGKILL, 7]


def test_the_exit_code_is_known_though_another_thread_asks_for_it_at_the_same_moment(folder: Path) -> None:
    process = started(folder, SLEEPER)
    assert process.pid is not None
    child = process._child
    assert child is not None
    lock = child._waitpid_lock  # type: ignore[attr-defined]
    lock.acquire()  # as a poll under way in another thread
    os.kill(process.pid, signal.SIGKILL)
    assert eventually(lambda: not process.alive())
    threading.Timer(0.2, lock.release).start()
    assert process.exit_code == -signal.SIGKILL
