"""One service of the stack as a child process, ready when its own `/ready` says so."""

import http.client
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from credence_cli.embedded.development_secrets import AUDIENCE, ISSUER, DevelopmentSecrets
from credence_cli.embedded.errors import EmbeddedError
from credence_cli.embedded.ports import LOOPBACK, require_free
from credence_cli.embedded.processes import ManagedProcess

# Longer than a service waits for its servers, so that its own message is the one that is read.
READY_SECONDS = 75.0
# A service drains for up to 20 s on SIGTERM; the kill must come after that, not during it.
STOP_SECONDS = 25.0


@dataclass(frozen=True)
class ServiceSpec:
    """How to run one service: `env` is added to this process's; `ports` are those it listens on."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    ready_url: str
    ports: tuple[int, ...]


def service_spec(
    name: str, *, mongo_uri: str, kafka_bootstrap: str, grpc_port: int, http_port: int, secrets: DevelopmentSecrets
) -> ServiceSpec:
    """A service of Credence in the development profile."""
    return ServiceSpec(
        name=name,
        command=(sys.executable, "-P", "-m", f"{name}.main"),
        env={
            "CREDENCE_MONGO_URI": mongo_uri,
            "CREDENCE_MONGO_DATABASE": f"credence_{name}",
            "CREDENCE_KAFKA_BOOTSTRAP": kafka_bootstrap,
            "CREDENCE_GRPC_HOST": LOOPBACK,
            "CREDENCE_GRPC_PORT": str(grpc_port),
            "CREDENCE_HTTP_HOST": LOOPBACK,
            "CREDENCE_HTTP_PORT": str(http_port),
            "CREDENCE_PROFILE": "development",
            "CREDENCE_SECRETS_DIR": str(secrets.folder),
            "CREDENCE_JWKS": str(secrets.jwks),
            "CREDENCE_ISSUER": ISSUER,
            "CREDENCE_AUDIENCE": AUDIENCE,
        },
        ready_url=f"http://{LOOPBACK}:{http_port}/ready",
        ports=(grpc_port, http_port),
    )


class ServiceProcess:
    """Same shape as the embedded servers."""

    def __init__(self, spec: ServiceSpec, folder: Path, *, owned: bool) -> None:
        self.name = spec.name
        self.spec = spec
        self.process = ManagedProcess(spec.name, folder)
        self._owned = owned

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.spec.ports[0]}"

    def launch(self) -> bool:
        """Start the process without waiting; False when it runs already. Raises EmbeddedError."""
        if self.process.alive():
            return False
        for port in self.spec.ports:
            require_free(port, self.name)
        self.process.start(self.spec.command, {**os.environ, **self.spec.env}, owned=self._owned)
        return True

    def ready(self) -> bool:
        return self.process.alive() and answers_ok(self.spec.ready_url)

    def await_ready(self, seconds: float = READY_SECONDS) -> None:
        self.process.await_ready(self.ready, seconds)

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Drain and end; killed if it takes longer. True when it ended by itself."""
        return self.process.stop(seconds)


def answers_ok(url: str) -> bool:
    """Whether a GET answers 200. Straight to the address: a proxy of the environment has no business on loopback."""
    parts = urlsplit(url)
    if parts.hostname != LOOPBACK or parts.port is None:
        raise EmbeddedError(
            f"{url} is not on loopback with a port; a readiness URL looks like http://127.0.0.1:8080/ready."
        )
    connection = http.client.HTTPConnection(LOOPBACK, parts.port, timeout=2)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
