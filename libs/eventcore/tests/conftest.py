"""The servers of the kernel's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .mongo_server import MongoServer


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MongoDB-protocol server for the whole session; each test takes a database of its own."""
    server = MongoServer(tmp_path_factory.mktemp("mongo"))
    server.start()
    yield server.uri
    server.stop()
