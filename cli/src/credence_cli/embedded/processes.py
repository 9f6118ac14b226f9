"""Start, watch and stop one long-running process that several commands may manage in turn.

A process is known by its folder: `process.json` (pid and start time) and `output.log`. So `credence stack down` stops
what an earlier `credence stack up` started, and a crashed command leaves nothing that the next one cannot find.
"""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from credence_cli.embedded import leash
from credence_cli.embedded.errors import EmbeddedError
from credence_cli.embedded.identity import Identity
from credence_cli.limits import LOG_BYTES_MAX

_KILL_SECONDS = 10.0
_POLL_SECONDS = 0.05
_REAPED_SECONDS = 1.0
_TAIL_BYTES = 16_384

# Children of this very process, by pid: kept so that they are reaped and their exit codes known.
_children: dict[int, "subprocess.Popen[bytes]"] = {}


class ManagedProcess:
    """One named process in its folder.

    `owned` processes end with the process that started them, whatever happens to it; the others outlive it. Either
    way they are in a session of their own: Ctrl-C reaches the command alone, which stops them in the right order.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder.resolve()
        self.log = self.folder / "output.log"
        self._pid_file = self.folder / "process.json"
        self._lock_file = self.folder / "process.lock"
        self._log_start = 0
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def identity(self) -> Identity | None:
        """The running process, or None."""
        self._reap()
        found = Identity.read(self._pid_file)
        return found if found and found.alive() else None

    @property
    def pid(self) -> int | None:
        found = self.identity
        return found.pid if found else None

    def alive(self) -> bool:
        return self.identity is not None

    @property
    def exit_code(self) -> int | None:
        """How the process that was started here last ended (minus the signal's number when it was killed), None while
        it runs or when another command started it."""
        if self._child is None:
            return None
        if (code := self._child.poll()) is None and not self.alive():
            # It has ended, and another thread is asking for its code at this moment: then `poll` says what it says of
            # one that runs.
            with suppress(subprocess.TimeoutExpired):
                code = self._child.wait(_REAPED_SECONDS)
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal and return at once; harmless when it does not run."""
        if found := self.identity:
            found.signal(number)

    def start(self, command: Sequence[str], env: Mapping[str, str], *, owned: bool) -> None:
        """Start the command in the folder, its output appended to the log. Raises EmbeddedError if it cannot be run."""
        if found := self.identity:
            raise EmbeddedError(f"{self.name} already runs as process {found.pid} from {self.folder}; stop it first.")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._cut_log()
            with self.log.open("ab") as output, self._lock_file.open("w") as lock:
                # The child inherits the lock and holds it while it lives, also when its pid file is lost: two
                # servers on one folder would destroy its data, and not every server guards all of it.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._log_start = output.tell()
                child = subprocess.Popen(
                    command,
                    env=dict(env),
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(lock.fileno(),),
                )
        except BlockingIOError as error:
            raise EmbeddedError(
                f"{self.name} cannot use {self.folder}, because a process that is not on record still does; "
                f"find it (fuser {self._lock_file}) and stop it, or choose another folder."
            ) from error
        except OSError as error:
            raise EmbeddedError(f"{self.name} could not be started in {self.folder}: {error}.") from error
        try:
            self._remember(child, owned)
        except BaseException:
            # Ctrl-C or a full disk between the start and its record: a process no command could find again.
            child.kill()
            child.wait()
            raise

    def _remember(self, child: "subprocess.Popen[bytes]", owned: bool) -> None:
        self._child = _children[child.pid] = child
        if identity := Identity.of(child.pid):
            if owned:
                leash.hold(identity)
            identity.write(self._pid_file)

    def wait(self, seconds: float) -> bool:
        """Wait until the process has ended; False when it still runs after this long."""
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def terminate(self) -> None:
        """Ask it to end (SIGTERM) and return at once."""
        self.signal(signal.SIGTERM)

    def stop(self, seconds: float) -> bool:
        """SIGTERM, then after `seconds` SIGKILL. True when it ended by itself; harmless when it does not run."""
        self.terminate()
        ended = self.wait(seconds)
        if not ended:
            self.kill()
        self._forget()
        return ended

    def kill(self) -> None:
        """SIGKILL to it and whatever it started; returns when it is gone."""
        if found := self.identity:
            with suppress(ProcessLookupError):
                os.killpg(found.pid, signal.SIGKILL)  # its own session, so its pid is its group
            if not self.wait(_KILL_SECONDS):
                raise EmbeddedError(f"{self.name} (process {found.pid}) does not end, not even when killed.")
        self._forget()

    def output(self, lines_max: int = 12) -> str:
        """The last lines it wrote since it was started here (or ever, when another command started it)."""
        with suppress(OSError), self.log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(self._log_start, size - _TAIL_BYTES))
            return "\n".join(stream.read().decode(errors="replace").splitlines()[-lines_max:])
        return ""

    def await_ready(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until `ready()` or raise EmbeddedError: it ended early, or the time is over (it is left running)."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.alive():
                raise EmbeddedError(self._why_it_ended())
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"{self.name} (process {self.pid}) was not ready after {seconds:.0f} s; see {self.log}. "
                    f"It last said:\n{self.output()}"
                )
            time.sleep(_POLL_SECONDS)

    def _why_it_ended(self) -> str:
        said = self.output()
        for mark, reason in _REASONS:
            if mark in said:
                return f"{self.name} ended while starting: {reason} (log: {self.log})."
        return f"{self.name} ended while starting; see {self.log}. It last said:\n{said or '(nothing)'}"

    def _cut_log(self) -> None:
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > LOG_BYTES_MAX:
                self.log.replace(self.log.with_name(self.log.name + ".1"))

    def _reap(self) -> None:
        # A child that ended stays a zombie until its parent asks for its exit code.
        for pid, child in list(_children.items()):
            if child.poll() is not None:
                _children.pop(pid, None)

    def _forget(self) -> None:
        if found := Identity.read(self._pid_file):
            leash.release(found)
        self._pid_file.unlink(missing_ok=True)


_REASONS = (
    ("Address already in use", "one of its ports was taken in the meantime; start it again"),
    ("No space left on device", "the disk is full; free some space and start it again"),
    ("There is insufficient memory", "there is not enough memory; close something and start it again"),
    ("Permission denied", "it may not write its data folder; make the folder yours and start it again"),
)
