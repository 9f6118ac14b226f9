"""Both servers for tests, benchmarks and trials: `with start_servers(folder) as servers: ...`."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from credence_cli.embedded.kafka import EmbeddedKafka
from credence_cli.embedded.mongo import EmbeddedMongo


@dataclass(frozen=True)
class Servers:
    """Running servers of this process; they end with it, whatever happens to it."""

    kafka: EmbeddedKafka
    mongo: EmbeddedMongo

    @property
    def kafka_bootstrap(self) -> str:
        return self.kafka.bootstrap

    @property
    def mongo_uri(self) -> str:
        return self.mongo.uri

    @property
    def software(self) -> str:
        """What ran, to be named beside every result."""
        return f"{self.kafka.software}, {self.mongo.software}"

    def stop(self) -> None:
        for server in (self.kafka, self.mongo):
            server.process.terminate()
        for server in (self.kafka, self.mongo):
            server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def start_servers(root: Path) -> Servers:
    """Start both at once in folders under `root`, on free ports that a restart keeps. Raises EmbeddedError."""
    servers = Servers(EmbeddedKafka(root / "kafka"), EmbeddedMongo(root / "mongo"))
    try:
        servers.kafka.launch()
        servers.mongo.launch()
        servers.kafka.await_ready()
        servers.mongo.await_ready()
    except BaseException:
        servers.stop()
        raise
    return servers
