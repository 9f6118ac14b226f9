"""A MongoDB-protocol server as a process of its own, for tests: SecantusDB, synced to disk at every commit."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

READY_SECONDS = 60.0
STOP_SECONDS = 30.0


class MongoServer:
    """One server on loopback; its port and data outlive a kill, so that it can be started again as it was."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true&retryWrites=false"

    def start(self) -> None:
        """Returns when the port accepts connections."""
        arguments = ["--host", "127.0.0.1", "--port", str(self.port), "--storage-path", str(self._directory / "data")]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "secantus", *arguments, "--sync-on-commit"],
                cwd=self._directory,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"no server; see {self._directory / 'log'}") from None
                time.sleep(0.05)

    def kill(self) -> None:
        """kill -9: no goodbye, no flush."""
        self.signal(signal.SIGKILL)
        self._running.wait(STOP_SECONDS)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self.resume()
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def signal(self, which: int) -> None:
        os.kill(self._running.pid, which)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "never started"
        return self._process
