"""Each thing the proxy does to a connection, seen from a client."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from credence_cli.embedded.ports import LOOPBACK, free_port
from tests.reliability.proxy import Proxies, Way


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(ConnectionError):
            while data := self.request.recv(65_536):
                self.request.sendall(data)


@pytest.fixture(scope="module")
def way() -> Iterator[Way]:
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server((LOOPBACK, 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Way(free_port(), server.server_address[1])
        server.shutdown()


@pytest.fixture(scope="module")
def proxies(way: Way) -> Iterator[Proxies]:
    with closing(Proxies({"link": way})) as running:
        yield running


@pytest.fixture(autouse=True)
def _mended(proxies: Proxies) -> Iterator[None]:
    yield
    proxies.set("link", "pass")


@contextmanager
def connected(way: Way, seconds: float = 5.0) -> Iterator[socket.socket]:
    with socket.create_connection((LOOPBACK, way.listen), timeout=seconds) as connection:
        yield connection


def echoed(connection: socket.socket, data: bytes = b"hello") -> bytes:
    connection.sendall(data)
    received = b""
    while len(received) < len(data):
        block = connection.recv(65_536)
        if not block:
            break
        received += block
    return received


def test_bytes_pass(way: Way, proxies: Proxies) -> None:
    with connected(way) as connection:
        data = bytes(range(256)) * 4000
        sender = threading.Thread(target=connection.sendall, args=(data,))
        sender.start()
        received = b""
        while len(received) < len(data):
            received += connection.recv(65_536)
        sender.join()
        assert received == data


def test_a_delay_comes_both_ways(way: Way, proxies: Proxies) -> None:
    with connected(way) as connection:
        assert echoed(connection) == b"hello"
        proxies.set("link", "delay", 0.2)
        began = time.monotonic()
        assert echoed(connection) == b"hello"
        assert time.monotonic() - began >= 0.4


def test_a_slow_link_carries_so_many_bytes_a_second(way: Way, proxies: Proxies) -> None:
    with connected(way) as connection:
        assert echoed(connection) == b"hello"
        proxies.set("link", "slow", 2000)
        began = time.monotonic()
        assert echoed(connection, bytes(1000)) == bytes(1000)
        assert time.monotonic() - began >= 0.5


def test_a_cut_resets_the_connections_there_are_and_takes_new_ones(way: Way, proxies: Proxies) -> None:
    with connected(way) as connection:
        assert echoed(connection) == b"hello"
        proxies.set("link", "cut")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with connected(way) as again:
        assert echoed(again) == b"hello"


def test_a_refusing_link_resets_and_takes_nobody_until_it_is_mended(way: Way, proxies: Proxies) -> None:
    with connected(way) as connection:
        assert echoed(connection) == b"hello"
        proxies.set("link", "refuse")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with pytest.raises(ConnectionRefusedError), connected(way):
        pass
    proxies.set("link", "pass")
    with connected(way) as again:
        assert echoed(again) == b"hello"


def test_a_half_open_link_swallows_and_never_answers(way: Way, proxies: Proxies) -> None:
    with connected(way, 0.3) as old:
        assert echoed(old) == b"hello"
        proxies.set("link", "half-open")
        with connected(way, 0.3) as new:
            for connection in (old, new):
                connection.sendall(b"anybody?")
                with pytest.raises(TimeoutError):
                    connection.recv(1)
        proxies.set("link", "pass")
        old.settimeout(5)
        with pytest.raises(ConnectionResetError):
            old.recv(1)
    with connected(way) as again:
        assert echoed(again) == b"hello"


def test_it_ends_with_the_harness(way: Way) -> None:
    alone = Proxies({"other": Way(free_port(), way.target)})
    alone.close()
    assert alone._process.returncode == 0
