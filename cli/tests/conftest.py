"""What the tests of the command share: a home of its own for each module."""

from __future__ import annotations

import pytest

from cli.tests.running import Home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A CREDENCE_HOME with nothing in it yet; its name has a blank, as real ones do."""
    return Home(tmp_path_factory.mktemp("credence home"))
