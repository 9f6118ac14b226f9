"""What every benchmark shares: its command line, what it says of machine and servers, its tables, its percentiles.

A figure alone says little on a machine that others use too, so whatever is compared takes turns within one run and is
told as a ratio, and the load average stands beside it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from credence_cli.embedded.errors import EmbeddedError
from credence_cli.embedded.stack import Stack, StackServers
from credence_cli.topics import TopicsError
from tests.servers import SUBSTRATES, Servers, ServersMissing, servers

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("motor", "pymongo", "aiokafka", "faststream", "grpcio", "protobuf", "pydantic", "uvloop")
MIB = 2**20


class CannotRun(Exception):
    """One sentence: what is missing, and what to do."""


@dataclass(frozen=True)
class Options:
    """`seconds` is how long the measured part takes, about; `quick` is for trying a benchmark, not for its figures;
    `full` adds the parts that take minutes."""

    seconds: float
    quick: bool
    full: bool
    substrate: str


@dataclass(frozen=True)
class Table:
    """Cells are text as it is shown; the first column is a label, the others are numbers with their units above."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Figures:
    """`problem`: why they do not show what they should; it is said last, and the exit code is 1."""

    servers: str
    tables: Sequence[Table]
    problem: str = ""


@dataclass(frozen=True)
class Benchmark:
    """`title` says what is measured; `seconds` and `quick_seconds` are the default lengths of the measured part."""

    title: str
    seconds: float
    quick_seconds: float
    run: Callable[[Options], Figures]


def main(benchmark: Benchmark) -> None:
    """The command line of one benchmark: prints Markdown."""
    options = _options(benchmark)
    began = datetime.now(UTC)
    load = load_average()
    try:
        figures = benchmark.run(options)
    except (CannotRun, EmbeddedError, TopicsError, ServersMissing) as problem:
        sys.exit(str(problem))
    print(f"## {benchmark.title}\n")
    print(f"- {began:%Y-%m-%d %H:%M} UTC, {commit()}{', a quick trial' if options.quick else ''}")
    print(f"- servers: {figures.servers}")
    print(f"- machine: {machine()}")
    print(f"- load average: {load} at the start, {load_average()} at the end")
    print(f"- {', '.join(versions())}")
    for table in figures.tables:
        print(f"\n{render(table)}")
    if figures.problem:
        sys.exit(figures.problem)


def _options(benchmark: Benchmark) -> Options:
    parser = argparse.ArgumentParser(description=benchmark.title)
    parser.add_argument("--quick", action="store_true", help="a few seconds: does it work?")
    parser.add_argument("--full", action="store_true", help="also the parts that take minutes, where there are any")
    parser.add_argument("--seconds", type=float, help=f"length of the measured part (default {benchmark.seconds:g})")
    parser.add_argument("--substrate", choices=SUBSTRATES, default="embedded", help="where the servers come from")
    given = parser.parse_args()
    seconds = given.seconds or (benchmark.quick_seconds if given.quick else benchmark.seconds)
    return Options(seconds, given.quick, given.full, given.substrate)


def render(table: Table) -> str:
    """The table in Markdown, its columns aligned for a terminal too."""
    lines = [list(table.columns), *(list(row) for row in table.rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]

    def line(cells: Sequence[str]) -> str:
        padded = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths))
    text = [f"### {table.title}\n", line(lines[0]), f"|{rule}|", *map(line, lines[1:])]
    return "\n".join(text) + (f"\n\n{table.note}" if table.note else "")


# What ran


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores{_model()}, {memory:.0f} GiB, {platform.system()} {platform.machine()}"


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    names = [text.partition(":")[2].strip() for text in lines if text.startswith("model name")]
    return f" ({names[0]})" if names else ""


def load_average() -> str:
    return " ".join(f"{load:.1f}" for load in os.getloadavg())


def versions() -> list[str]:
    return [f"Python {platform.python_version()}", *(f"{n} {importlib.metadata.version(n)}" for n in LIBRARIES)]


def commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return f"commit {git('rev-parse', '--short', 'HEAD') or 'unknown'}{changed}"


# Servers


def tell(what: str) -> None:
    """How far it is, beside the tables."""
    print(what, file=sys.stderr, flush=True)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="credence-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def running_servers(options: Options) -> Iterator[Servers]:
    """Kafka and the database, empty."""
    with folder() as here, servers(options.substrate, here) as started:
        tell(f"servers ready: {started.software}")
        yield started


@contextmanager
def running_stack(options: Options) -> Iterator[Stack]:
    """The whole platform on free ports, with tokens of its own; it ends with this process."""
    with folder() as here:
        if options.substrate == "embedded":
            with _up(Stack(here / "stack", port_base=0, owned=True, say=tell)) as stack:
                yield stack
            return
        with servers(options.substrate, here) as given:
            reached = StackServers(given.kafka_bootstrap, given.mongo_uri, given.software)
            with _up(Stack(here / "stack", port_base=0, servers=reached, owned=True, say=tell)) as stack:
                yield stack


@contextmanager
def _up(stack: Stack) -> Iterator[Stack]:
    try:
        stack.up()
        os.environ["CREDENCE_DEVELOPMENT_SECRETS"] = str(stack.secrets.folder)
        yield stack
    finally:
        stack.down()


# Numbers


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; NaN of nothing."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else math.nan


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else math.nan


def ratio(mine: float, bare: float) -> str:
    return f"{mine / bare:.2f}" if bare and not math.isnan(mine / bare) else "-"


def number(value: float) -> str:
    """Three figures are all that is known."""
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ms(seconds: float) -> str:
    return number(seconds * 1000)
