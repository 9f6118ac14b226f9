"""Real registrations and results through the public contracts: interrupted, its servers killed under it, and compared.

One presentation here; the whole data set with `make test-import`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.platform import Platform, settled, suffix

pytestmark = [pytest.mark.servers]
WHOLE_SECONDS = 3 * 60 * 60


@pytest.fixture(scope="module")
def oulad(pytestconfig: pytest.Config) -> Path:
    """The folder with the real files; that it is absent is said by the summary of the run."""
    folder = Path(os.environ.get("CREDENCE_DATA") or pytestconfig.rootpath.parent / "shared" / "data") / "oulad"
    if not folder.is_dir():
        pytest.skip(f"NO DATA: {folder} does not exist; name the folder above it with CREDENCE_DATA")
    return folder


@dataclass(frozen=True)
class Import:
    """A running `credence import oulad`; what it says goes to files, so that it never waits for its reader."""

    process: subprocess.Popen[bytes]
    log: Path
    answer: Path

    @property
    def summary(self) -> Any:
        """What it printed with --json."""
        return json.loads(self.answer.read_text("utf-8"))

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def reaches(self, category: str) -> None:
        """Waits until that much is done, and not more than a little besides."""

        def seen() -> bool | None:
            done = any(line.startswith(f"{category}: ") and line.endswith(" s") for line in self.said.splitlines())
            assert done or self.process.poll() is None, f"it ended before: {self.said}"
            return done or None

        settled(f"{category} imported", seen, seconds=120)

    def ends(self, seconds: float = 240) -> int:
        return self.process.wait(seconds)


@contextmanager
def importing(platform: Platform, folder: Path, *words: str) -> Iterator[Import]:
    """`credence import oulad` as a process of its own."""
    log = platform.home / f"import-{suffix()}.log"
    answer = log.with_suffix(".json")
    with log.open("wb") as said, answer.open("wb") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "credence_cli.main", "import", "oulad", str(folder), *words],
            env={**os.environ, "CREDENCE_HOME": str(platform.home)},
            cwd=platform.home,
            stdout=printed,
            stderr=said,
        )
    try:
        yield Import(process, log, answer)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def kill_and_restart(platform: Platform, name: str) -> None:
    (pid,) = [part.pid for part in platform.stack.status() if part.name == name]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    platform.stack.up()


def counts(summary: Any) -> dict[str, tuple[int, int, int]]:
    return {
        each["category"]: (each["in_files"], each["expected"], each["found"])
        for each in summary["reconciled"]["categories"]
    }


@pytest.mark.timeout(900)
def test_an_import_survives_an_interruption_and_the_kill_of_every_service_and_every_difference_is_explained(
    platform: Platform, oulad: Path
) -> None:
    one = ("--presentation", "AAA-2013J", "--in-flight", "2")
    with importing(platform, oulad, *one) as run:
        run.reaches("enrolments")
        run.process.send_signal(signal.SIGINT)
        assert run.ends() == 130, run.said
    assert "run it again to go on" in run.said
    assert "Traceback" not in run.said

    with importing(platform, oulad, *one, "--reconcile", "--json") as run:
        for name, after in (("enrolment", "cohorts"), ("accreditation", "withdrawals"), ("mentoring", "withdrawals")):
            run.reaches(after)
            kill_and_restart(platform, name)
        assert run.ends() == 0, run.said
    summary = run.summary
    assert summary["rows"]["people"]["already"] == 383, "what was acknowledged before the interruption is kept"
    assert summary["reconciled"]["unexplained"] == 0, json.dumps(summary["reconciled"], indent=1)
    assert counts(summary) == {
        "enrolments": (383, 383, 383),
        "withdrawals": (60, 60, 60),
        "results": (1956, 1956, 1956),
        "carried-over": (0, 0, 0),
        "awards": (278, 278, 278),
        "standings": (383, 383, 383),
    }


@pytest.mark.slow
@pytest.mark.timeout(WHOLE_SECONDS)
def test_the_whole_data_set_imports_and_every_difference_is_explained(platform: Platform, oulad: Path) -> None:
    report = platform.home / "not-taken.csv"
    summary = platform.command("import", "oulad", str(oulad), "--reconcile", "--report", str(report))
    assert summary["reconciled"]["unexplained"] == 0, json.dumps(summary["reconciled"], indent=1)
    # One learner unregistered half a year after the presentation's last day.
    refused = {title: tally["refused"] for title, tally in summary["rows"].items() if tally["refused"]}
    assert refused == {"withdrawals": {"after-cohort": 1}}
    left_out = sum(n for codes in summary["left_out"].values() for n in codes.values())
    assert len(report.read_text("utf-8").splitlines()) == 1 + left_out + 1
    assert counts(summary)["enrolments"] == (13529, 13511, 13511)
