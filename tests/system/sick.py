"""One more process of a service, on the platform's own servers and its data, with bugs planted in it: what the checkers
of this folder must find."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from credence_cli.embedded.ports import free_port
from credence_cli.embedded.service import ServiceProcess, ServiceSpec, service_spec
from tests.reliability.planted import _bug, overlay
from tests.system.platform import Platform, open_channel

# A file, from its package on; a line of it, which must be there once; and what stands there instead.
Edit = tuple[str, str, str]


def spec_beside(platform: Platform, service: str) -> ServiceSpec:
    """How to run one more process of a service, on ports of its own."""
    reached = platform.stack.addresses
    return service_spec(
        service,
        mongo_uri=reached.mongo_uri,
        kafka_bootstrap=reached.kafka_bootstrap,
        grpc_port=free_port(),
        http_port=free_port(),
        secrets=platform.stack.secrets,
    )


@contextmanager
def sick(platform: Platform, service: str, folder: Path, *edits: Edit) -> Iterator[Platform]:
    """The platform as a client sees it who is connected to that process. It delivers and folds as the healthy one does:
    plant only what is between a call and what it stores or answers."""
    spec = spec_beside(platform, service)
    spec = replace(spec, env={**spec.env, "PYTHONPATH": str(overlay(folder / "overlay", _bug(service, "", *edits)))})
    process = ServiceProcess(spec, folder / service, owned=True)
    process.launch()
    try:
        process.await_ready()
        seen = Platform(platform.stack, platform.home, {service: open_channel(process.address)})
        yield seen
        seen.close()
    finally:
        process.stop()
