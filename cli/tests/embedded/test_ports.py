"""The stack's ports: which are taken, what is written down of them, and what is said where that cannot be right."""

import json
import socket
from dataclasses import asdict
from pathlib import Path

import pytest

from cli.tests.running import Home
from credence_cli.embedded.errors import EmbeddedError
from credence_cli.embedded.ports import free_port
from credence_cli.embedded.stack import HIGHEST_PORT_BASE, Stack, StackPorts, StackServers

DEFAULT = StackPorts.counted_from(19090)
WRITTEN = asdict(StackPorts.counted_from(20_000))
# Where a refusal fails to come, this one does: no test here may start a server.
NO_JAVA = {"CREDENCE_JAVA": "/nonexistent/java"}


def stack(folder: Path) -> Stack:
    return Stack(folder, say=lambda _: None)


def addresses(ports: StackPorts) -> dict[str, str]:
    return {name: f"127.0.0.1:{port}" for name, port in ports.grpc.items()}


@pytest.mark.parametrize("command", [("stack", "up"), ("demo",)], ids=" ".join)
@pytest.mark.parametrize("port", [-1, HIGHEST_PORT_BASE + 1, 99_999])
def test_a_first_port_that_leaves_no_room_for_the_others_is_a_usage_error(
    home: Home, command: tuple[str, ...], port: int
) -> None:
    ran = home.call(*command, "--port", str(port), exits=2, **NO_JAVA)
    assert "Invalid value for '--port'" in ran.err
    assert not (home.folder / "stack").exists()


def test_the_highest_first_port_leaves_room_for_all() -> None:
    assert max(StackPorts.counted_from(HIGHEST_PORT_BASE).http.values()) == 65_535


def test_ports_that_could_not_be_taken_are_not_written_down(tmp_path: Path) -> None:
    base = free_port()
    others = StackServers("127.0.0.1:1", "mongodb://127.0.0.1:2", "servers of others")
    with socket.create_server(("127.0.0.1", base + 2)):
        with pytest.raises(EmbeddedError, match=rf"Port {base + 2}, which enrolment needs, is held by"):
            Stack(tmp_path, port_base=base, servers=others, say=lambda _: None).up()
    assert stack(tmp_path).addresses.grpc == addresses(DEFAULT)


@pytest.mark.parametrize(
    "content",
    [
        '{"kafka": 1',
        "[]",
        json.dumps(WRITTEN | {"kafka": 99_999}),
        json.dumps(WRITTEN | {"mongo": 0}),
        json.dumps(WRITTEN | {"mongo": "20001"}),
        json.dumps(WRITTEN | {"mongo": True}),
        json.dumps(WRITTEN | {"grpc": {"enrolment": 20_002}}),
        json.dumps(WRITTEN | {"grpc": 20_002}),
        json.dumps(WRITTEN | {"other": 1}),
    ],
)
def test_ports_that_are_written_down_wrongly_are_told_with_the_way_out(home: Home, content: str) -> None:
    file = home.folder / "stack" / "ports.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    says = (
        f"{file} is damaged: delete it, then `credence stack down` and `credence stack up`, with `--port` where you "
        "gave one."
    )
    for words in (("stack", "up"), ("stack", "status"), ("catalogue", "list")):
        assert home.call(*words, exits=2, **NO_JAVA).told == says
    file.unlink()
    assert "Nothing runs." in home.call("stack", "down").err


def test_who_names_every_service_needs_no_stack(home: Home) -> None:
    file = home.folder / "stack" / "ports.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text("{")
    named = {f"CREDENCE_{name.upper()}": "127.0.0.1:1" for name in DEFAULT.grpc}
    told = home.call("catalogue", "list", exits=5, **named).told
    file.unlink()
    assert "no development key" in told


def test_a_home_that_is_none_has_no_ports_and_is_told_when_something_is_to_be_written(home: Home) -> None:
    file = home.folder / "file"
    file.write_text("in the way")
    in_the_way = {"CREDENCE_HOME": str(file)}
    assert {part["state"] for part in home.ask("stack", "status", exits=6, **in_the_way)} == {"stopped"}
    told = home.call("stack", "up", exits=6, **in_the_way, **NO_JAVA).told
    assert "cannot be written" in told


def test_ports_that_cannot_be_read_are_told_as_such(home: Home) -> None:
    file = home.folder / "stack" / "ports.json"
    file.mkdir(parents=True)
    told = home.call("stack", "status", exits=6).told
    file.rmdir()
    assert told == f"{file} cannot be read: Is a directory."


def test_ports_that_were_written_down_are_found_again(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text(json.dumps(WRITTEN))
    assert stack(tmp_path).addresses.grpc == addresses(StackPorts.counted_from(20_000))
