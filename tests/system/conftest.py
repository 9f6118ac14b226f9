"""One platform for all whole-system tests: three services, each a process, on the session's servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from catalogue.files import check
from catalogue.proto import programme_to_proto
from credence.enrolment.v1 import catalogue_pb2
from credence_cli.embedded.stack import Stack, StackServers
from tests.servers import Servers
from tests.system.evidence import Databases
from tests.system.platform import OPERATOR, Platform, all_stored

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def platform(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Running, its catalogue loaded. A test that kills a service brings it up again."""
    _must_be_fresh(servers)
    home = tmp_path_factory.mktemp("credence")
    stack = Stack(
        home / "stack",
        port_base=0,
        servers=StackServers(servers.kafka_bootstrap, servers.mongo_uri, servers.software),
        owned=True,
        say=lambda line: None,
    )
    try:
        stack.up()
        running = Platform(stack, home)
        programmes = [programme_to_proto(p) for p in check([ROOT / "catalogue"]).programmes.values()]
        all_stored(running.ask(catalogue_pb2.LoadProgrammesRequest(programmes=programmes), OPERATOR))
        yield running
        running.close()
    finally:
        stack.down()


def _must_be_fresh(servers: Servers) -> None:
    """An earlier platform's data is under keys that are gone, and its topics are of another epoch."""
    databases = Databases(servers.mongo_uri)
    try:
        found = databases.existing()
    finally:
        databases.close()
    if found:
        pytest.fail(f"the servers already hold a platform ({', '.join(found)}): give fresh ones", pytrace=False)
