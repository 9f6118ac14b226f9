"""Files that another command may read at any moment."""

from __future__ import annotations

from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """Atomically, so that a reader finds what was there before or all of this, never half a file."""
    draft = file.with_name(file.name + ".new")
    draft.write_text(text)
    draft.replace(file)
