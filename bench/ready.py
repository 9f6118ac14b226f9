"""From the start of a service's process to its `/ready` answering 200, on servers that run already.

Beside it, the start of a Python that only imports what every service imports: the part that no service can avoid.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.harness import (
    Benchmark,
    CannotRun,
    Figures,
    Options,
    Table,
    folder,
    main,
    median,
    number,
    ratio,
    running_servers,
    tell,
)
from credence_cli import topics
from credence_cli.embedded.development_secrets import ensure_development_secrets
from credence_cli.embedded.home import topics_file
from credence_cli.embedded.service import READY_SECONDS, ServiceProcess
from credence_cli.embedded.stack import StackAddresses, StackPorts, credence_services
from tests.servers import Servers

LIBRARIES = "import aiokafka, faststream.kafka, grpc.aio, motor.motor_asyncio, opentelemetry, pydantic, structlog"
LOOK_SECONDS = 0.005
START_SECONDS = 1.5  # about: how `--seconds` becomes a number of rounds


def run(options: Options) -> Figures:
    with running_servers(options) as servers, folder() as here:
        topics.create(servers.kafka_bootstrap, topics_file(), replication_factor=1)
        services = _services(servers, here)
        rounds = max(1, round(options.seconds / (START_SECONDS * (2 * len(services) + 1))))
        first: list[float] = []
        again: list[list[float]] = [[] for _ in services]
        together: list[float] = []
        bare: list[float] = []
        try:
            first = [_until_ready([service]) for service in services]
            _stop(services)
            for _ in range(rounds):
                bare.append(_timed(_import_libraries))
                for times, service in zip(again, services, strict=True):
                    times.append(_until_ready([service]))
                    _stop([service])
                together.append(_until_ready(services))
                _stop(services)
                tell("a round is done")
        finally:
            _stop(services)
    floor = median(bare)
    rows = [["a Python that imports the libraries", "", number(floor), "1.00"]]
    for service, at_first, times in zip(services, first, again, strict=True):
        rows.append([service.name, number(at_first), number(median(times)), ratio(median(times), floor)])
    rows.append(["all three at once", "", number(median(together)), ratio(median(together), floor)])
    note = (
        f"*First*: on an empty database, whose indexes it makes; *later*: the median of {rounds}, on its own database. "
        f"Looked at every {LOOK_SECONDS * 1000:.0f} ms."
    )
    columns = ("process", "first start, s", "later starts, s", "later : imports")
    return Figures(servers.software, [Table("Start to ready", columns, rows, note)])


def _services(servers: Servers, here: Path) -> list[ServiceProcess]:
    ports = StackPorts.counted_from(0)
    addresses = StackAddresses(servers.kafka_bootstrap, servers.mongo_uri, {}, {})
    secrets = ensure_development_secrets(here / "secrets")
    return [ServiceProcess(s, here / s.name, owned=True) for s in credence_services(ports, addresses, secrets)]


def _until_ready(services: Sequence[ServiceProcess]) -> float:
    """Seconds until every one of them is ready."""

    def start() -> None:
        for service in services:
            service.launch()
        waiting = list(services)
        deadline = time.monotonic() + READY_SECONDS
        while waiting := [service for service in waiting if not service.ready()]:
            if time.monotonic() > deadline or not all(service.process.alive() for service in waiting):
                raise CannotRun(f"{waiting[0].name} did not become ready; it last said:\n{waiting[0].process.output()}")
            time.sleep(LOOK_SECONDS)

    return _timed(start)


def _stop(services: Sequence[ServiceProcess]) -> None:
    for service in services:
        service.process.terminate()
    for service in services:
        service.stop()


def _import_libraries() -> None:
    subprocess.run([sys.executable, "-P", "-c", LIBRARIES], check=True)


def _timed(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


BENCHMARK = Benchmark("Start of each service to ready", 30, 10, run)

if __name__ == "__main__":
    main(BENCHMARK)
