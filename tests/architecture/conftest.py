"""A copy of the source tree in which rules can be broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {
    name: ROOT / folder / "src" / name
    for name, folder in {
        "eventcore": "libs/eventcore",
        "servicekit": "libs/servicekit",
        "catalogue": "libs/catalogue",
        "enrolment": "services/enrolment",
        "accreditation": "services/accreditation",
        "mentoring": "services/mentoring",
        "credence_cli": "cli",
    }.items()
}


@dataclass(frozen=True)
class Copy:
    """The sources in the places they have in the repository, with the rules of its pyproject.toml."""

    root: Path

    def package(self, name: str) -> Path:
        return self.root / SOURCES[name].relative_to(ROOT)

    def plant(self, module: str, line: str) -> None:
        """Adds a module of one line."""
        package, *rest = module.split(".")
        path = self.package(package).joinpath(*rest).with_suffix(".py")
        assert not path.exists(), f"{path} is there already: plant another module"
        path.write_text(f"{line}\n")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A tool of the environment, in the copy, so that the copied packages are found before the installed ones."""
        folders = [str(self.package(name).parent) for name in SOURCES]
        env: Mapping[str, str] = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "COLUMNS": "200"}
        tool = Path(sys.executable).parent / command[0]
        return subprocess.run([str(tool), *command[1:]], cwd=self.root, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    root = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / "tests").mkdir()
    shutil.copytree(ROOT / "tests" / "architecture", root / "tests" / "architecture")
    made = Copy(root)
    for name, source in SOURCES.items():
        shutil.copytree(source, made.package(name), ignore=shutil.ignore_patterns("__pycache__"))
    return made
