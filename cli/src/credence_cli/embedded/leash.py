"""Servers that must not outlive their owner, even when the owner is killed and can clean up nothing.

The owner keeps the write end of a pipe to one small guardian process and tells it what it started. When the owner
ends, in whatever way, the pipe closes; the guardian then stops what is still running and ends too. (A parent-death
signal would fire when the *thread* that started the server ends, and exists on Linux only.)
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress

from credence_cli.embedded.identity import Identity

_TERM_SECONDS = 10.0


class _Guardian:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def tell(self, line: str, *, start: bool) -> None:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                if not start:
                    return
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "credence_cli.embedded.leash"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    text=True,
                    start_new_session=True,
                )
            assert self._process.stdin is not None
            with suppress(BrokenPipeError):
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()


_guardian = _Guardian()


def hold(process: Identity) -> None:
    """Stop this process when the calling process ends."""
    _guardian.tell(f"hold {process.pid} {process.started}", start=True)


def release(process: Identity) -> None:
    """It has ended, or may outlive the caller after all."""
    _guardian.tell(f"release {process.pid} {process.started}", start=False)


def guard(lines: Iterable[str]) -> None:
    """Follow what the owner says until it ends, then stop what it still holds."""
    held: set[Identity] = set()
    for line in lines:
        verb, pid, started = line.split(maxsplit=2)
        process = Identity(int(pid), started.rstrip("\n"))
        if verb == "hold":
            held.add(process)
        else:
            held.discard(process)
    for process in held:
        process.signal(signal.SIGTERM)
    deadline = time.monotonic() + _TERM_SECONDS
    while any(process.alive() for process in held) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in held:
        process.signal(signal.SIGKILL)


if __name__ == "__main__":
    guard(sys.stdin)
