"""The stack on real servers, with small stand-ins for the services: what is tested is how they are brought up."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from credence_cli import topics
from credence_cli.embedded.development_secrets import DevelopmentSecrets
from credence_cli.embedded.errors import EmbeddedError
from credence_cli.embedded.identity import Identity
from credence_cli.embedded.ports import free_port, is_free
from credence_cli.embedded.processes import ManagedProcess
from credence_cli.embedded.service import ServiceSpec
from credence_cli.embedded.stack import SERVICES, Stack, StackAddresses, StackPorts, credence_services

pytestmark = pytest.mark.servers

# Answers /ready, and drains on SIGTERM.
SMALL_SERVICE = """
import http.server, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/ready" else 404)
        self.end_headers()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("serving for", os.environ["CREDENCE_PROFILE"], flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["CREDENCE_HTTP_PORT"])), Handler).serve_forever()
"""


def small_services(ports: StackPorts, addresses: StackAddresses, secrets: DevelopmentSecrets) -> Sequence[ServiceSpec]:
    return [
        ServiceSpec(spec.name, (sys.executable, "-c", SMALL_SERVICE), spec.env, spec.ready_url, spec.ports)
        for spec in credence_services(ports, addresses, secrets)
    ]


def services_of_which_one_fails(
    ports: StackPorts, addresses: StackAddresses, secrets: DevelopmentSecrets
) -> Sequence[ServiceSpec]:
    *good, last = small_services(ports, addresses, secrets)
    failing = (sys.executable, "-c", "raise SystemExit('CREDENCE_SOMETHING is not set')")
    return [*good, ServiceSpec(last.name, failing, last.env, last.ready_url, last.ports)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("stack home")
    yield home
    Stack(home, services=small_services, say=lambda _: None).down()


def stack(home: Path, said: list[str] | None = None) -> Stack:
    return Stack(home, port_base=0, services=small_services, owned=True, say=(said if said is not None else []).append)


def states(of: Stack) -> dict[str, str]:
    return {part.name: part.state for part in of.status()}


ALL_READY = dict.fromkeys(("kafka", "mongo", *SERVICES), "ready")
ALL_STOPPED = dict.fromkeys(ALL_READY, "stopped")


def test_up_brings_everything_and_a_second_up_changes_nothing(home: Path) -> None:
    said: list[str] = []
    addresses = stack(home, said).up()
    assert states(stack(home)) == ALL_READY
    assert [line.split(":")[0] for line in said] == ["kafka", "mongo", "topics", *SERVICES]
    assert {topic.name for topic in topics.describe(addresses.kafka_bootstrap)} == {
        f"credence.{name}.v1" for name in SERVICES
    }
    before = {part.name: part.pid for part in stack(home).status()}
    assert stack(home).up() == addresses
    assert {part.name: part.pid for part in stack(home).status()} == before


@pytest.mark.parametrize("victims", [("accreditation",), ("kafka",), ("mongo", "enrolment")])
def test_up_mends_a_half_dead_stack_and_leaves_the_living_alone(home: Path, victims: tuple[str, ...]) -> None:
    stack(home).up()
    before = {part.name: part.pid for part in stack(home).status()}
    for name in victims:
        ManagedProcess(name, home / name).kill()
    addresses = stack(home).addresses
    assert stack(home).up() == addresses
    assert states(stack(home)) == ALL_READY
    after = {part.name: part.pid for part in stack(home).status()}
    assert {name for name in before if before[name] != after[name]} == set(victims)


def test_up_starts_a_service_again_that_runs_but_does_not_answer(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credence_cli.embedded.stack._HUNG_SECONDS", 0.5)
    monkeypatch.setattr("credence_cli.embedded.service.STOP_SECONDS", 0.5)
    stack(home).up()
    pid = {part.name: part.pid for part in stack(home).status()}["mentoring"]
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    assert states(stack(home))["mentoring"] == "not ready"
    said: list[str] = []
    stack(home, said).up()
    assert "mentoring: runs but does not answer; starting it again" in said
    assert states(stack(home)) == ALL_READY


def test_logs_show_every_part_and_follow_what_comes(home: Path) -> None:
    running = stack(home)
    running.up()
    assert ("mentoring", "serving for development") in list(running.logs(["mentoring"]))
    with pytest.raises(EmbeddedError, match="no part named billing; the parts are kafka, mongo, enrolment"):
        next(running.logs(["billing"]))
    log = running.folder / "enrolment" / "output.log"
    threading.Timer(0.5, lambda: log.open("a").write("one more line\n")).start()
    following = running.logs(["enrolment"], lines=0, follow=True)
    assert next(following) == ("enrolment", "one more line")


def test_a_service_gets_its_addresses_and_secrets_from_its_environment(home: Path) -> None:
    running = stack(home)
    addresses = running.addresses
    ports = StackPorts.counted_from(20_000)
    env = credence_services(ports, addresses, running.secrets)[0].env
    assert env["CREDENCE_MONGO_URI"] == addresses.mongo_uri
    assert env["CREDENCE_KAFKA_BOOTSTRAP"] == addresses.kafka_bootstrap
    assert env["CREDENCE_MONGO_DATABASE"] == "credence_enrolment"
    assert (env["CREDENCE_GRPC_PORT"], env["CREDENCE_HTTP_PORT"]) == ("20002", "20003")
    assert Path(env["CREDENCE_SECRETS_DIR"], "master.key").is_file()
    assert Path(env["CREDENCE_JWKS"]).is_file()


def test_down_stops_everything_and_a_second_down_is_harmless(home: Path) -> None:
    stack(home).up()
    ports = [int(part.address.rpartition(":")[2]) for part in stack(home).status()]
    stack(home).down()
    assert states(stack(home)) == ALL_STOPPED
    assert all(is_free(port) for port in ports)
    said: list[str] = []
    stack(home, said).down()
    assert said == ["Nothing runs."]


def test_a_service_that_fails_is_told_with_its_last_words_and_nothing_is_left_running(home: Path) -> None:
    stack(home).down()
    failing = Stack(home, port_base=0, services=services_of_which_one_fails, owned=True, say=lambda _: None)
    with pytest.raises(EmbeddedError, match=r"mentoring ended while starting; .*\nCREDENCE_SOMETHING is not set"):
        failing.up()
    assert states(failing) == ALL_STOPPED


def test_other_ports_are_refused_while_it_runs_and_taken_when_it_does_not(home: Path) -> None:
    stack(home).up()
    base = free_port()
    with pytest.raises(EmbeddedError, match="runs on other ports than you ask for"):
        Stack(home, port_base=base, services=small_services).up()


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    base = next(port for port in iter(free_port, None) if all(is_free(port + n) for n in range(1, 5)))
    listener = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import socket; s = socket.create_server(('127.0.0.1', {base + 4})); print(flush=True); s.accept()",
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert listener.stdout is not None
        listener.stdout.readline()
        refused = Stack(tmp_path / "stack", port_base=base, services=small_services)
        with pytest.raises(EmbeddedError, match=rf"Port {base + 4}, which accreditation needs, is held by"):
            refused.up()
        assert states(refused) == ALL_STOPPED
    finally:
        listener.kill()
        listener.communicate()


def test_a_full_disk_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credence_cli.embedded.stack._DISK_BYTES_MIN", 2**60)
    refused = Stack(tmp_path / "stack", port_base=0, services=small_services)
    with pytest.raises(EmbeddedError, match=r"The stack needs .* MiB of free disk"):
        refused.up()
    assert states(refused) == ALL_STOPPED


UP_AND_WAIT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_stack import small_services
from credence_cli.embedded.stack import Stack
Stack(Path(sys.argv[1]), port_base=0, services=small_services, say=lambda line: print(line, flush=True)).up()
"""


def test_ctrl_c_during_up_stops_what_it_started(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", UP_AND_WAIT, str(tmp_path / "stack"), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert running.stdout is not None
    running.stdout.readline()  # Kafka is ready, the rest is not
    found = Stack(tmp_path / "stack", services=small_services, say=lambda _: None)
    kafka = Identity.of(found.status()[0].pid or 0)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert kafka is not None
    assert not kafka.alive()
    assert states(found) == ALL_STOPPED


def test_a_stack_that_is_not_owned_outlives_its_up_and_another_command_stops_it(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", UP_AND_WAIT, str(tmp_path / "stack"), str(Path(__file__).parent)],
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )
    found = Stack(tmp_path / "stack", services=small_services, say=lambda _: None)
    try:
        assert states(found) == ALL_READY
    finally:
        found.down()
    assert states(found) == ALL_STOPPED
