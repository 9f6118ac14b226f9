"""A view's fingerprint: whatever changes what a fold does changes it, and nothing else does."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventcore import fingerprint as module
from eventcore.fingerprint import fingerprint
from eventcore.fold import View

from .sample import JARS

FILES = {
    "__init__.py": "",
    "helpers.py": '''
"""Helpers."""
from .numbers import STEP

def added(document, coins: int) -> int:
    """How many there are then."""
    # a step at a time
    return document.coins + coins * STEP["each"]

def unused():
    return 1
''',
    "numbers.py": "STEP = {'each': 1}\nOTHER = 2\n",
    "jars.py": """
from __future__ import annotations
from pydantic import BaseModel
from sampled import helpers as h
from sampled.marks import Mark

class Jar(BaseModel):
    coins: int = 0
    marks: tuple[Mark, ...] = ()

def fold(document, record):
    return Jar(coins=h.added(document or Jar(), record.event.coins))
""",
    "marks.py": """
from pydantic import BaseModel

class Mark(BaseModel):
    by: str

    def told(self) -> str:
        return self.by
""",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "sampled"
    root.mkdir()
    for name, text in FILES.items():
        (root / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield root
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "sampled"]:
        del sys.modules[name]
    module._tree.cache_clear()
    module._definitions.cache_clear()
    importlib.invalidate_caches()


def taken() -> str:
    _forget()
    jars = importlib.import_module("sampled.jars")
    return fingerprint(View("jars", "jar", jars.Jar, jars.fold))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("jars.py", "coins: int = 0", "coins: int = 1"),
        ("jars.py", "coins: int = 0", "coins: int = 0\n    sealed: bool = False"),
        ("jars.py", "record.event.coins", "record.event.coins + 1"),
        ("helpers.py", "document.coins + coins", "document.coins - coins"),
        ("numbers.py", "'each': 1", "'each': 2"),
        ("marks.py", "by: str", "by: str = ''"),
        ("marks.py", "return self.by", "return self.by.upper()"),
    ],
    ids=["default", "field", "fold", "helper", "constant of a helper", "part of the document", "method of a part"],
)
def test_what_changes_a_fold_or_its_document_changes_the_fingerprint(
    package: Path, file: str, old: str, new: str
) -> None:
    before = taken()

    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new))

    assert taken() != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("helpers.py", "# a step at a time", "# by steps, as they come"),
        ("helpers.py", '"""How many there are then."""', '"""How many.\n\n    Afterwards."""'),
        ("helpers.py", "coins: int) -> int", "coins: float) -> float"),
        ("helpers.py", "return 1", "return 2"),
        ("helpers.py", "    return document.coins", "\n\n    return document.coins"),
        ("numbers.py", "OTHER = 2", "OTHER = 3"),
    ],
    ids=["comment", "docstring", "annotation", "unused function", "blank lines", "unused constant"],
)
def test_what_changes_nothing_leaves_the_fingerprint_as_it_is(package: Path, file: str, old: str, new: str) -> None:
    before = taken()

    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new))

    assert taken() == before


def test_a_fingerprint_is_the_same_every_time_and_differs_between_views() -> None:
    assert fingerprint(JARS) == fingerprint(JARS)
    assert fingerprint(JARS) != fingerprint(View("jars", "jar", JARS.document, lambda document, record: document))


def test_a_fold_without_its_source_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    _forget()

    with pytest.raises(OSError, match="cannot be told"):
        fingerprint(JARS)
