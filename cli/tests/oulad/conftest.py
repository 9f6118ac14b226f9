"""The real data, for the tests that need it. The summary of the whole run says loudly when it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from credence_cli.oulad import files, mapping


@pytest.fixture(scope="session")
def oulad_folder(pytestconfig: pytest.Config) -> Path:
    """The folder with the real files."""
    data = Path(os.environ.get("CREDENCE_DATA") or pytestconfig.rootpath.parent / "shared" / "data")
    folder = data / "oulad"
    if not folder.is_dir():
        pytest.skip(f"NO DATA: {folder} does not exist; name the folder above it with CREDENCE_DATA")
    return folder


@pytest.fixture(scope="session")
def dataset(oulad_folder: Path) -> files.Dataset:
    return files.read(oulad_folder)


@pytest.fixture(scope="session")
def assumed() -> mapping.Mapping:
    return mapping.load()
