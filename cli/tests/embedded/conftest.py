"""What the tests of the embedded servers share."""

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what real paths have: a blank, a comma, a letter beyond ASCII."""
    return tmp_path / "Zoë's data, here"
