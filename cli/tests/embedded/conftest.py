"""Real servers for the tests of the embedded servers themselves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from credence_cli.embedded.fixture import Servers, start_servers


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with start_servers(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what real paths have: a blank, a comma, a letter beyond ASCII."""
    return tmp_path / "Zoë's data, here"
