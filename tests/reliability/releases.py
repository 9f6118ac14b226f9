"""The release before this one: its packages as they were, out of the history, to stand before the project's own on the
path of a process. What they need is locked alike, so one virtual environment serves both.
"""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("proto", "libs/*/src", "services/*/src", "cli/src")
LOCK = "requirements.lock"
# What was there at "What cannot be folded is held with its stream", the oldest that this release runs beside. By its
# tree, not its commit: that stays the same when messages or dates of the history are written anew. At a release, name
# the one before: git rev-parse <commit>^{tree}
BASELINE = "21a5d76d33eaaf8cd31e7b0e5cc207d33697685d"


class NoHistory(Exception):
    """What is not here, and what to do."""


class OtherLock(Exception):
    """The two releases cannot share a virtual environment, and what to do."""


def unpacked(tree: str, folder: Path) -> Sequence[Path]:
    """The release's packages, in `folder`, for PYTHONPATH. Raises NoHistory, OtherLock."""
    with tarfile.open(fileobj=BytesIO(_archive(tree))) as archive:
        archive.extractall(folder, filter="data")
    if (folder / LOCK).read_bytes() != (ROOT / LOCK).read_bytes():
        raise OtherLock(
            f"{LOCK} is another than that of the release before ({tree[:12]}), so its processes would run on packages "
            "that it was never tested with. Name in tests/reliability/releases.py a later BASELINE with today's lock; "
            "where there is none yet, let this release first go out with the old lock, or give the release before a "
            "virtual environment of its own from its own lock, and the Rig that environment's python for it"
        )
    return sorted(path for pattern in PACKAGES for path in folder.glob(pattern))


def _archive(tree: str) -> bytes:
    packed = subprocess.run(
        ["git", "archive", "--format=tar", tree, LOCK, "proto", "libs", "services", "cli"],
        cwd=ROOT,
        capture_output=True,
    )
    if packed.returncode:
        raise NoHistory(
            f"the release before ({tree[:12]}) is not here ({packed.stderr.decode().strip()}): this needs the "
            "project's whole history. Run it in a full clone (`git fetch --unshallow`, in CI fetch-depth: 0); where "
            "the history itself was cut, name in tests/reliability/releases.py a BASELINE that it still has"
        )
    return packed.stdout
