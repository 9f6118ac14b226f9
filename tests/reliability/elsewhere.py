"""Promises that no storm can prove: the long run runs the tests that docs/promises.md names for them, and counts. So it
does with the slow tests of the harness itself, which `make test` leaves out."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "promises.md"
HARNESS = "tests/reliability"
PROMISES = ("P13", "P14", "P15", "P16", "P18", "P20")
_FILE = re.compile(r"`((?:\w+/)+\w+\.py)")


@dataclass(frozen=True)
class Proved:
    """What the tests of one promise came to: their files, how many ran, and what failed. `left`: what else proves it
    and is no test, as a benchmark."""

    words: str
    files: Sequence[str]
    tests: int
    failed: Sequence[str]
    left: Sequence[str] = ()


def proofs(page: str) -> Mapping[str, tuple[str, Sequence[str]]]:
    """Promise -> its words, and the files that prove it."""
    found = {}
    for section in re.split(r"^### ", page, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        promise, _, words = heading.partition(" ")
        proved = next((line for line in body.splitlines() if line.startswith("Proved by: ")), "")
        found[promise] = (words, tuple(dict.fromkeys(_FILE.findall(proved))))
    return {promise: found[promise] for promise in PROMISES}


def run(folder: Path) -> Mapping[str, Proved]:
    """Runs them all, once, what they say going to the terminal; their results are left in `folder`."""
    wanted = proofs(PAGE.read_text())
    files = sorted({file for _, of in wanted.values() for file in of if _is_test(file)})
    return judged(wanted, _results(folder / "elsewhere.xml", files))


def slow(folder: Path) -> Proved:
    """Runs the slow tests of the harness in the same way: one poison among a thousand streams, and longer releases side
    by side."""
    cases = list(_cases(_results(folder / "slow.xml", ["-m", "slow", HARNESS])))
    failed = [f"{file}::{name}" for file, name, passed in cases if not passed]
    return Proved("slow tests", (HARNESS,), len(cases), failed if cases else [f"{HARNESS}: no slow test of it ran"])


def _results(file: Path, words: Sequence[str]) -> str:
    """What pytest wrote about its run with these words."""
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={file}", "-o", "junit_family=xunit1", *words]
    subprocess.run(command, cwd=ROOT, check=False)
    return file.read_text() if file.exists() else "<testsuites/>"


def judged(wanted: Mapping[str, tuple[str, Sequence[str]]], results: str) -> Mapping[str, Proved]:
    """By the results of the tests, as JUnit's XML with files. A file of which no test ran has failed."""
    cases = list(_cases(results))
    proved = {}
    for promise, (words, named) in wanted.items():
        files, left = [f for f in named if _is_test(f)], [f for f in named if not _is_test(f)]
        ran = [case for case in cases if case[0] in files]
        idle = [f"{file}: no test of it ran" for file in files if not any(case[0] == file for case in ran)]
        failed = [f"{file}::{name}" for file, name, passed in ran if not passed]
        proved[promise] = Proved(words, files, len(ran), [*idle, *failed], left)
    return proved


def _is_test(file: str) -> bool:
    return Path(file).name.startswith("test_")


def _cases(results: str) -> Iterator[tuple[str, str, bool]]:
    """File, name, and whether it passed; what was skipped did not run."""
    for case in ElementTree.fromstring(results).iter("testcase"):
        kinds = {child.tag for child in case}
        if "skipped" not in kinds:
            yield case.get("file", ""), case.get("name", ""), not kinds & {"failure", "error"}
