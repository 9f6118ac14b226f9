"""Every limit has one place, says what happens beyond it, and stands in docs/limits.md."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from credence_cli import limits as command
from scripts.generate_limits import MODULES, PAGE, limits_of, page
from servicekit import limits as services

ROOT = Path(__file__).parents[2]
FOLDERS = ("libs/*/src", "services/*/src", "cli/src")
SOURCES = sorted(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.py"))


def strays(source: str) -> Iterator[str]:
    """Sizes and counts that a module names for itself. How long to wait for something may stand where it is done, and
    what a type can hold is no limit of ours."""
    for statement in ast.parse(source).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and target.id.isupper():
                words = target.id.strip("_").split("_")
                if ("MAX" in words or "LIMIT" in words) and not {"SECONDS", "DATE", "UINT32", "UINT64"} & set(words):
                    yield target.id


def test_the_page_is_what_the_modules_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python scripts/generate_limits.py"


def test_there_is_a_module_for_every_service_and_library() -> None:
    named = {module.split(".")[0] for _, module in MODULES}
    packages = {path.name for folder in FOLDERS for path in ROOT.glob(f"{folder}/*") if path.is_dir()}
    assert {name for name in packages if not name.endswith(".egg-info")} == named


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_limit_stands_in_a_module_of_limits_and_nowhere_else(path: Path) -> None:
    if path.name not in ("limits.py", "testing.py"):
        assert list(strays(path.read_text(encoding="utf-8"))) == []


def test_the_command_and_the_services_mean_the_same() -> None:
    assert (command.ROWS_MAX, command.MESSAGE_BYTES_MAX) == (services.ROWS_MAX, services.MESSAGE_BYTES_MAX)


def test_a_stray_limit_is_found() -> None:
    assert list(strays("ROWS_MAX = 3\n_BYTES_MAX: Final = 4\nWAIT_SECONDS_MAX = 5\nrows_max = 6\n")) == [
        "ROWS_MAX",
        "_BYTES_MAX",
    ]


def test_a_limit_that_does_not_say_what_happens_beyond_it_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sample_limits.py").write_text('from typing import Final\nROWS_MAX: Final = 3\n"""Rows."""\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match="ROWS_MAX"):
        list(limits_of("sample_limits"))
    sys.modules.pop("sample_limits", None)
