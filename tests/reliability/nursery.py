"""Service processes that are forked from one that has imported the libraries already, by the standard library's fork
server.

Such a process is as real as any: killed, paused and started again alone, with its own session, log, path and
environment. Only its start is cheaper: imports are nine tenths of what one costs, and a storm of kills would be mostly
that. The project's own packages are not imported beforehand: each process takes them from its own path (planted bugs,
an earlier release). The demo and the whole-system tests start services by their command, as operators do.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import reduction
from multiprocessing.context import ForkServerProcess
from typing import IO, Any

from credence_cli.embedded.identity import Identity
from credence_cli.embedded.processes import Child, ManagedProcess

# Not motor: on import it takes from the environment how many threads it may have (eventcore.mongo.link).
_LIBRARIES = [
    "faststream.kafka",
    "pymongo",
    "gridfs",
    "grpc",
    "grpc.aio",
    "grpc_health.v1.health_pb2_grpc",
    "grpc_reflection.v1alpha.reflection",
    "google.protobuf.text_format",
    "pydantic_settings",
    "structlog",
    "prometheus_client",
    "opentelemetry.sdk.trace",
    "cryptography.hazmat.primitives.asymmetric.rsa",
    "jwt",
    "uvloop",
]
ENDED_SECONDS = 5.0


class Forked(ManagedProcess):
    """A service's process; `python -P -m <module>` in all but how it came to be."""

    def _spawn(self, command: Sequence[str], env: Mapping[str, str], output: IO[bytes], lock: IO[str]) -> Child:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_LIBRARIES)
        # Not a daemon: it may live on when this process is about to end, and is stopped by who started it.
        process = context.Process(
            target=_serve, args=(command[-1], dict(env), str(self.folder), _Fd(output.fileno()), _Fd(lock.fileno()))
        )
        process.start()
        return _Forked(process)


class _Forked:
    """What is asked of a child, as `subprocess.Popen` has it."""

    def __init__(self, process: ForkServerProcess) -> None:
        assert process.pid is not None
        self.pid = process.pid
        self._process = process
        # Its exit code can be read but once, and whoever comes second would be told another.
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        with self._lock:
            if self._process.exitcode is None and Identity.of(self.pid) is None:
                self._process.join(ENDED_SECONDS)  # it has ended, and the fork server is about to say how
            return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> int | None:
        self._process.join()
        return self.poll()


class _Fd:
    """An open file of this process, which the new one gets too."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (reduction.DupFd(self._number),)


def _received(sent: Any) -> int:
    return int(sent.detach())


def _serve(module: str, env: Mapping[str, str], folder: str, output: int, lock: int) -> None:
    """The new process. `lock` stays open, and so held, as long as it lives."""
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = [place for place in env.get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
