"""Where the services listen: what the environment names, else this machine's stack."""

from __future__ import annotations

import os

from credence_cli.embedded.home import credence_home
from credence_cli.embedded.ports import LOOPBACK
from credence_cli.embedded.stack import DEFAULT_PORT_BASE, SERVICES, StackPorts


def variable(service: str) -> str:
    """The environment variable that names where this service listens."""
    return f"CREDENCE_{service.upper()}"


def addresses() -> dict[str, str]:
    """Where each service listens: CREDENCE_<SERVICE> (see `channels`), else the development stack's port.

    Raises EmbeddedError.
    """
    named = {name: os.environ.get(variable(name)) for name in SERVICES}
    ports = {} if all(named.values()) else stack_ports().grpc
    return {name: address or f"{LOOPBACK}:{ports[name]}" for name, address in named.items()}


def stack_ports() -> StackPorts:
    """The ports of this machine's development stack. Raises EmbeddedError."""
    file = credence_home() / "stack" / "ports.json"
    return StackPorts.read(file) or StackPorts.counted_from(DEFAULT_PORT_BASE)
