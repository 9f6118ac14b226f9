"""The locks name no registry, and nothing is installed that is not pinned by version and hash."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-uv.lock")
PINNED = re.compile(r"[A-Za-z0-9._-]+(\[[a-z0-9,_-]+\])?==[^\s;]+( ;[^\\]+)?(\s+--hash=sha256:[0-9a-f]{64})+")


def faults(lock: str) -> list[str]:
    """The entries that name a registry, or are not pinned by version and hash."""
    text = lock.replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [line for line in lines if not PINNED.fullmatch(line)] + re.findall(r"\S*(?:https?:|--\S*index)\S*", lock)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_is_hashed_and_names_no_registry(name: str) -> None:
    assert not faults((ROOT / name).read_text())


@pytest.mark.parametrize("planted", ["thing==1.0\n", "thing>=1.0\n", "--index-url https://registry.test/simple\n"])
def test_what_is_planted_is_found(planted: str) -> None:
    assert faults((ROOT / "requirements-uv.lock").read_text() + planted)
