"""A MongoDB-protocol server as a child process on loopback: SecantusDB, a stand-in for demo and tests.

A separate program (GPL-2.0, beta) that is run, never imported and never a dependency of a service; users run MongoDB.
Every commit is flushed to disk: without that, a killed server loses writes it acknowledged.
"""

import importlib.metadata
import importlib.util
import json
import os
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

from credence_cli.embedded.errors import EmbeddedError
from credence_cli.embedded.home import require_free_disk
from credence_cli.embedded.ports import LOOPBACK, free_port, require_free
from credence_cli.embedded.processes import ManagedProcess
from credence_cli.exits import Exit

# A ceiling, not what it takes. A reader that meets a full cache waits for room while it holds the lock that whoever
# could make room waits for: in a storm with the default of 1G the server then stood still for minutes.
_CACHE = "8G"
_CONNECTIONS = 8
_DISK_BYTES_MIN = 256 * 2**20
_READY_SECONDS = 60.0
_STOP_SECONDS = 20.0
_OP_MSG = 2013


class EmbeddedMongo:
    """One server on one data folder; same shape as EmbeddedKafka.

    `$CREDENCE_MONGO_BINARY` names another build that takes the same flags, in place of the Python one.
    """

    name = "mongo"

    def __init__(self, folder: Path, port: int = 0, *, owned: bool = True) -> None:
        self.process = ManagedProcess(self.name, folder)
        self._wanted_port = port
        self._owned = owned
        self._binary = os.environ.get("CREDENCE_MONGO_BINARY")

    @property
    def software(self) -> str:
        """What runs, for the label of every figure: it proves nothing about MongoDB."""
        if self._binary:
            return f"{Path(self._binary).name} (stand-in for MongoDB)"
        with suppress(importlib.metadata.PackageNotFoundError):
            return f"SecantusDB {importlib.metadata.version('secantusdb')} (stand-in for MongoDB)"
        return "SecantusDB (stand-in for MongoDB, not installed)"

    @property
    def folder(self) -> Path:
        return self.process.folder

    @property
    def port(self) -> int:
        """The server's port; 0 before the first start on this folder."""
        if self._wanted_port:
            return self._wanted_port
        with suppress(OSError, ValueError, KeyError):
            return int(json.loads(self._ports_file.read_text())["port"])
        return 0

    @property
    def uri(self) -> str:
        """For clients. Retryable writes are off because they slow this server down; the platform retries itself.

        Few connections, because it does one thing at a time: whoever waits holds a snapshot, and what many old ones
        keep alive makes each read slower, until all that ends it is that those who wait are killed.
        """
        options = f"directConnection=true&retryWrites=false&w=majority&journal=true&maxPoolSize={_CONNECTIONS}"
        return f"mongodb://{LOOPBACK}:{self.port}/?{options}"

    def start(self, seconds: float = _READY_SECONDS) -> Self:
        """Launch it and wait until it takes clients; harmless when it runs. Nothing is left running on failure."""
        launched = self.launch()
        try:
            self.await_ready(seconds)
        except BaseException:
            if launched:
                self.process.kill()
            raise
        return self

    def launch(self) -> bool:
        """Start the process without waiting; False when it runs already. Raises EmbeddedError."""
        if self.process.alive():
            return False
        command = self._command()
        require_free_disk(self.folder, _DISK_BYTES_MIN, "The MongoDB stand-in")
        port = self.port or free_port()
        require_free(port, "the MongoDB stand-in")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Named, though empty: otherwise the server goes looking for one in the person's home.
            (self.folder / "secantusd.toml").touch()
            self._ports_file.write_text(json.dumps({"port": port}))
        except OSError as error:
            raise EmbeddedError(f"The MongoDB stand-in's folder {self.folder} cannot be written: {error}.") from error
        flags = ["--host", LOOPBACK, "--port", str(port), "--storage-path", "data", "--log-level", "WARNING"]
        flags += ["--cache-size", _CACHE]
        self.process.start([*command, *flags, "--sync-on-commit"], os.environ, owned=self._owned)
        return True

    def ready(self) -> bool:
        """Whether it answers a `hello` as a writable primary."""
        return self.process.alive() and answers_hello(self.port)

    def await_ready(self, seconds: float = _READY_SECONDS) -> None:
        self.process.await_ready(self.ready, seconds)

    def stop(self, seconds: float = _STOP_SECONDS) -> bool:
        """An orderly shutdown; killed if it takes longer. True when it ended by itself."""
        return self.process.stop(seconds)

    def kill(self) -> None:
        """As by `kill -9`."""
        self.process.kill()

    def wait(self, seconds: float) -> bool:
        """Wait until the process has ended; False when it still runs after this long."""
        return self.process.wait(seconds)

    @property
    def _ports_file(self) -> Path:
        return self.folder / "ports.json"

    def _command(self) -> list[str]:
        if self._binary:
            if not os.access(self._binary, os.X_OK):
                raise EmbeddedError(
                    f"CREDENCE_MONGO_BINARY names {self._binary}, which cannot be run; correct or unset it.", Exit.USAGE
                )
            return [self._binary]
        if importlib.util.find_spec("secantus") is None:
            raise EmbeddedError(
                "The MongoDB stand-in is not installed; pip install 'credence-cli[embedded]', "
                "or set CREDENCE_MONGO_BINARY."
            )
        # -P: nothing in the data folder can be taken for a module.
        return [sys.executable, "-P", "-m", "secantus", "--config", "secantusd.toml"]


def answers_hello(port: int) -> bool:
    """One `hello` in the wire protocol, by hand: the driver belongs to the services, not to this command."""
    request = _op_msg(_hello())
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
            connection.sendall(request)
            (length,) = struct.unpack("<i", _exactly(connection, 4))
            reply = _exactly(connection, min(length - 4, 65_536))
    except (OSError, EOFError, struct.error):
        return False
    return b"\x08isWritablePrimary\x00\x01" in reply


def _hello() -> bytes:
    """BSON of {hello: 1, $db: "admin"}."""
    elements = b"\x10hello\x00" + struct.pack("<i", 1) + b"\x02$db\x00" + struct.pack("<i", 6) + b"admin\x00" + b"\x00"
    return struct.pack("<i", len(elements) + 4) + elements


def _op_msg(document: bytes) -> bytes:
    body = struct.pack("<i", 0) + b"\x00" + document
    return struct.pack("<iiii", len(body) + 16, 1, 0, _OP_MSG) + body


def _exactly(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        block = connection.recv(size - len(received))
        if not block:
            raise EOFError
        received += block
    return received
