"""An earlier release beside this one: its sources from the history, its packages in a virtual environment of its own.

Packages come from the installer's cache where they are there: a release that locked the same versions needs no index.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASELINE = Path(__file__).parent / "baseline"
PACKAGES = ("proto", "libs/eventcore", "libs/servicekit", "libs/catalogue")
SERVICES = ("services/enrolment", "services/accreditation", "services/mentoring", "cli")
INSTALL_SECONDS = 600.0


class NoHistory(Exception):
    """Which commit is not here, and what to do."""


@dataclass(frozen=True)
class Release:
    """`python` runs its services (`-m enrolment.main`) and its command (`-m credence_cli.main`)."""

    commit: str
    folder: Path
    python: Path


def baseline() -> str:
    """The commit that this release must be able to run beside: the last release, by the file that names it."""
    return BASELINE.read_text().split()[0]


def install(commit: str, folder: Path) -> Release:
    """The release of this commit, ready to run in `folder`. Raises NoHistory, CalledProcessError."""
    source = folder / "source"
    source.mkdir(parents=True)
    with tarfile.open(fileobj=BytesIO(_archive(commit))) as archive:
        archive.extractall(source, filter="data")
    uv, python = Path(sys.executable).with_name("uv"), folder / "venv/bin/python"
    _run(source, uv, "venv", "--quiet", "--python", sys.executable, folder / "venv")
    into = ("pip", "install", "--quiet", "--python", python)
    locks = ("--require-hashes", "-r", "requirements-dev.lock")
    _run(source, uv, *into, *locks)
    editable = [word for package in (*PACKAGES, *SERVICES) for word in ("-e", source / package)]
    _run(source, uv, *into, "--no-deps", "--no-build-isolation", *editable)
    return Release(commit, source, python)


def _archive(commit: str) -> bytes:
    packed = subprocess.run(["git", "archive", "--format=tar", commit], cwd=ROOT, capture_output=True)
    if packed.returncode:
        raise NoHistory(
            f"the release {commit} is not here ({packed.stderr.decode().strip()}): this test needs the project's whole "
            "history; `git fetch --unshallow`, or run it in a full clone"
        )
    return packed.stdout


def _run(folder: Path, *words: object) -> None:
    # An activated environment would be taken for the one to install into.
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    ran = subprocess.run(
        [str(word) for word in words], cwd=folder, env=env, capture_output=True, text=True, timeout=INSTALL_SECONDS
    )
    if ran.returncode:
        raise RuntimeError(f"{' '.join(map(str, words[:4]))} ... failed:\n{ran.stderr}")
