"""Where downloads, server data and process state live: one folder that may be deleted at any time."""

import os
import shutil
from pathlib import Path

from credence_cli.embedded.errors import EmbeddedError
from credence_cli.exits import Exit

_MARKER = Path("deploy") / "topics.yml"


def project_root() -> Path | None:
    """The checkout this command works on: the working directory's, else the one this file belongs to, else None."""
    here = Path(__file__).resolve()
    for folder in (Path.cwd(), *Path.cwd().parents, *here.parents):
        if (folder / _MARKER).is_file():
            return folder
    return None


def credence_home() -> Path:
    """`$CREDENCE_HOME`, else `.credence` in the project root, else in the working directory. It may not exist."""
    if named := os.environ.get("CREDENCE_HOME"):
        return Path(named).expanduser().resolve()
    return (project_root() or Path.cwd()) / ".credence"


def topics_file() -> Path:
    """The declaration of the topics that belongs to this project."""
    root = project_root()
    if root is None:
        raise EmbeddedError(
            f"No {_MARKER} was found above {Path.cwd()}; run this inside the Credence checkout.", Exit.USAGE
        )
    return root / _MARKER


def require_free_disk(folder: Path, bytes_min: int, what_for: str) -> None:
    """Refuse early with one sentence: a disk that fills up later surfaces as a corrupt log or a crashed server."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < bytes_min:
        raise EmbeddedError(
            f"{what_for} needs {bytes_min >> 20} MiB of free disk at {folder} and {free >> 20} MiB are left; "
            "free some space, or set CREDENCE_HOME to a folder on another disk."
        )
