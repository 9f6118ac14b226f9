"""Which process a pid means: a pid alone is reused by the system, a pid with its start time is not."""

import json
import os
import subprocess
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from credence_cli.embedded.whole import write_whole


@dataclass(frozen=True)
class Identity:
    """One process for its whole life; `started` is an opaque mark that another process with this pid cannot have."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process that has this pid now, or None when there is none (a zombie is none: it runs nothing)."""
        started = _started(pid)
        return cls(pid, started) if started else None

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """From a pid file; None when it is absent or torn (written by a process that was killed while writing)."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            stored = json.loads(path.read_text())
            return cls(int(stored["pid"]), str(stored["started"]))
        return None

    def write(self, path: Path) -> None:
        write_whole(path, json.dumps(asdict(self)))

    def alive(self) -> bool:
        return _started(self.pid) == self.started

    def signal(self, number: int) -> bool:
        """Send the signal to this process and no other; False when it is gone."""
        if not self.alive():
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True


def _started(pid: int) -> str | None:
    if Path("/proc/self/stat").exists():
        return _started_from_proc(pid)
    return _started_from_ps(pid)


def _started_from_proc(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command in brackets may itself hold blanks and brackets: count the fields after the last one.
    fields = stat.rpartition(")")[2].split()
    state, ticks_since_boot = fields[0], fields[19]
    # A killed process of many threads shows as a zombie while the last of them still hold its files and ports.
    if state in "ZX" and _threads(pid) <= 1:
        return None
    # Ticks count from boot: without its id, a pid file from before a reboot could match a stranger.
    with suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{ticks_since_boot}"
    return ticks_since_boot


def _threads(pid: int) -> int:
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/task"))
    return 0


def _started_from_ps(pid: int) -> str | None:
    shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = shown.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()
