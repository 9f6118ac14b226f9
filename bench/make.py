"""`make demo` and `make test`, each command of theirs timed by itself, to show what dominates.

By default `make demo` in this checkout, which is set up. With `--full` in a fresh clone with empty caches: `make demo`
(cold: libraries and Kafka are fetched), `make demo` again, `make test`, `make test` again. Changes that are not
committed are not in the clone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.harness import ROOT, Benchmark, CannotRun, Figures, Options, Table, folder, main, number, tell

# make hands each line of a recipe to its shell: this one writes down how long the line took.
TIMED_SHELL = """#!/bin/bash
began=$(date +%s.%N)
/bin/bash "$@"
code=$?
took=$(echo "$(date +%s.%N) $began" | awk '{printf "%.3f", $1 - $2}')
printf '%s\\t%s\\n' "$took" "${!#//$'\\n'/ }" >> "$CREDENCE_BENCH_TIMES"
exit $code
"""
SHOWN = 8
PLATFORM_UP = re.compile(r"The platform is up after ([0-9.]+) s: (.*)\.")


@dataclass(frozen=True)
class Run:
    """`lines` are the recipes' commands with their seconds, in order; `output` is all it said."""

    label: str
    seconds: float
    lines: Sequence[tuple[str, float]]
    output: str

    @property
    def up_seconds(self) -> str:
        found = PLATFORM_UP.search(self.output)
        return number(float(found[1])) if found else "-"

    @property
    def servers(self) -> str:
        found = PLATFORM_UP.search(self.output)
        return found[2] if found else "none named"


def run(options: Options) -> Figures:
    with folder() as here:
        shell = here / "timed-shell"
        shell.write_text(TIMED_SHELL)
        shell.chmod(0o755)
        if not options.full:
            demo = _make(ROOT, shell, "demo, warm", ["demo", "PORT=0"], {"CREDENCE_HOME": str(_home_with_kafka(here))})
            return Figures(demo.servers, [_overview([demo]), _lines(demo)])
        clone = here / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        cold = {name: str(here / name.lower()) for name in ("UV_CACHE_DIR", "PIP_CACHE_DIR")}
        results = here / "results.xml"
        testing = ["test", f"PYTEST=--junitxml={results}"]
        data = os.environ.get("CREDENCE_DATA") or str(ROOT.parent / "shared" / "data")
        runs = [
            _make(clone, shell, "demo, cold", ["demo", "PORT=0"], cold),
            _make(clone, shell, "demo, warm", ["demo", "PORT=0"], cold),
            _make(clone, shell, "test, cold", testing, {**cold, "CREDENCE_DATA": data}),
            _make(clone, shell, "test, warm", testing, {**cold, "CREDENCE_DATA": data}),
        ]
        tables = [_overview(runs), *(_lines(each) for each in runs), *_tests(results)]
    return Figures(runs[0].servers, tables)


def _home_with_kafka(here: Path) -> Path:
    """A stack folder of its own, with the checkout's Kafka, so that a stack that runs here is left alone."""
    home = here / "home"
    home.mkdir()
    for fetched in (ROOT / ".credence").glob("kafka-*"):
        (home / fetched.name).symlink_to(fetched)
    return home


def _make(where: Path, shell: Path, label: str, arguments: Sequence[str], env: Mapping[str, str]) -> Run:
    times = shell.with_name("times")
    times.unlink(missing_ok=True)
    began = time.monotonic()
    done = subprocess.run(
        ["make", f"SHELL={shell}", f"PYTHON={sys.executable}", *arguments],
        cwd=where,
        env={**os.environ, **env, "CREDENCE_BENCH_TIMES": str(times), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    if done.returncode:
        raise CannotRun(f"make {' '.join(arguments)} failed:\n{done.stdout[-3000:]}")
    tell(f"{label}: {seconds:.1f} s")
    lines = [line.split("\t", 1) for line in times.read_text().splitlines()]
    return Run(label, seconds, [(_short(command, where), float(took)) for took, command in lines], done.stdout)


def _short(command: str, where: Path) -> str:
    """The command without folders of this machine, as a cell of a table."""
    plain = re.sub(r"--junitxml=\S+", "", command.replace(str(where), "."))
    return re.sub(r"\s+", " ", plain).replace("|", "\\|").strip()[:70]


def _overview(runs: Sequence[Run]) -> Table:
    rows = [[run.label, number(run.seconds), run.up_seconds, *_longest(run)] for run in runs]
    columns = ("make", "seconds", "of it until the platform is up", "longest command", "seconds")
    return Table("make, all in all", columns, rows)


def _longest(run: Run) -> list[str]:
    command, seconds = max(run.lines, key=lambda line: line[1])
    return [f"`{command}`", number(seconds)]


def _lines(run: Run) -> Table:
    rows = [[f"`{c}`", number(s), f"{s / run.seconds:.0%}"] for c, s in run.lines if s >= 0.1]
    return Table(f"make {run.label}, command by command", ("command", "seconds", "share"), rows)


def _tests(results: Path) -> list[Table]:
    cases = [
        (c.get("classname", ""), c.get("name", ""), float(c.get("time", 0))) for c in ET.parse(results).iter("testcase")
    ]
    folders: dict[str, float] = {}
    for where, _test, seconds in cases:
        parts = where.split(".")
        name = "/".join(parts[: 2 if parts[0] in ("libs", "services", "tests") else 1])
        folders[name] = folders.get(name, 0.0) + seconds
    total = sum(folders.values())
    by_folder = [[name, number(s), f"{s / total:.0%}"] for name, s in sorted(folders.items(), key=lambda f: -f[1])]
    slowest = sorted(cases, key=lambda case: -case[2])[:SHOWN]
    named = [[f"{name} ({where.rpartition('.')[2]})", number(seconds)] for where, name, seconds in slowest]
    return [
        Table(f"{len(cases)} tests, by folder", ("folder", "seconds", "share"), by_folder, "Their set-up included."),
        Table("The slowest tests", ("test", "seconds"), named),
    ]


BENCHMARK = Benchmark("make demo and make test, and what dominates", 0, 0, run)

if __name__ == "__main__":
    main(BENCHMARK)
