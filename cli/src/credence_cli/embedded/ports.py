"""Loopback ports: choosing one, telling whether it is free, and naming who holds it."""

import os
import random
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from credence_cli.embedded.errors import EmbeddedError

LOOPBACK = "127.0.0.1"
_LOWEST, _HIGHEST = 20_000, 32_000
_ATTEMPTS = 200
_chosen: set[int] = set()
_LISTEN = "0A"  # the TCP state in /proc/net/tcp


@dataclass(frozen=True)
class Holder:
    """The process that listens on a port."""

    pid: int
    command: str


def free_port() -> int:
    """A loopback port nobody has, below the range the system gives to outgoing connections. It is chosen once: while
    this process lives neither it nor, on Linux, another process is given the port again.

    Not `bind(0)`: a client that keeps retrying a stopped server on an ephemeral port may be given that very port as
    its own source, connect to itself, and keep the server from ever binding it again.
    """
    for _ in range(_ATTEMPTS):
        port = random.randint(_LOWEST, _HIGHEST)
        if port not in _chosen and _reserved(port):
            _chosen.add(port)
            return port
    raise EmbeddedError(f"No free port was found between {_LOWEST} and {_HIGHEST}; stop some servers and try again.")


def _reserved(port: int) -> bool:
    """Whether nobody has the port. It is then kept for the server it is for, which may start seconds later: meanwhile
    others look for ports of their own. A socket that is bound with SO_REUSEADDR and does not listen keeps no server
    out, since each sets that option; only who binds without it, as here, meets it. Only Linux has it so."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        if sys.platform == "linux":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.detach()  # open until this process ends
        return True


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now; connections left in TIME_WAIT do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def accepts(port: int) -> bool:
    """Whether something on loopback accepts a connection on this port now."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.5) as connection:
            # A socket that reached itself (same port at both ends) proves no server.
            return bool(connection.getsockname() != connection.getpeername())
    except OSError:
        return False


def require_free(port: int, what_for: str) -> None:
    """One sentence that names the port, what it is for and, where the system tells, who holds it."""
    if is_free(port):
        return
    holder = holder_of(port)
    held = f"process {holder.pid} ({holder.command})" if holder else "another process"
    stop = f"stop it (kill {holder.pid})" if holder else "stop it"
    raise EmbeddedError(f"Port {port}, which {what_for} needs, is held by {held}; {stop} or choose another port.")


def holder_of(port: int) -> Holder | None:
    """Who listens on the port, from /proc; None where /proc is missing or the process belongs to someone else."""
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with suppress(OSError):
                    if os.readlink(descriptor) in wanted:
                        return Holder(int(process.name), _command(process))
    return None


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes


def _command(process: Path) -> str:
    words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    return " ".join(words).strip()[:80] or process.name
