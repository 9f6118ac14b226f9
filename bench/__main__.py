"""`python -m bench` lists the benchmarks; `python -m bench report` runs them all and writes `report.md`."""

from __future__ import annotations

import importlib
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench.harness import Benchmark

# In the order of the report.
NAMES = ("make", "ready", "oulad", "appends", "consume", "latency", "query", "memory", "soak")
REPORT = Path(__file__).with_name("report.md")


def main() -> int:
    match sys.argv[1:]:
        case []:
            return _list()
        case ["report", *flags]:
            return _report(flags)
        case [name, *flags] if name in NAMES:
            return subprocess.call([sys.executable, "-m", f"bench.{name}", *flags])
    print(f"There is no benchmark of that name: {', '.join(NAMES)}, or report.", file=sys.stderr)
    return 2


def _list() -> int:
    print("python -m bench NAME [--quick] [--seconds N] [--full] [--substrate embedded|containers|env]\n")
    for name in NAMES:
        benchmark: Benchmark = importlib.import_module(f"bench.{name}").BENCHMARK
        print(f"  {name:10}{benchmark.title}")
    print(f"  {'report':10}All of them, one after another, into bench/report.md")
    return 0


def _report(flags: list[str]) -> int:
    """Each in a process of its own, so that none inherits another's memory; nothing is written unless all ran."""
    parts = []
    for name in NAMES:
        print(f"--- {name}", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"bench.{name}", *flags], stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            print(f"{name} failed; {REPORT.name} is left as it was.", file=sys.stderr)
            return done.returncode
        print(done.stdout, flush=True)
        parts.append(done.stdout)
    command = " ".join(["python -m bench report", *flags])
    head = f"# Benchmarks\n\nWritten by `{command}` on {datetime.now(UTC):%Y-%m-%d}; see [README](README.md).\n"
    REPORT.write_text("\n".join([head, *parts]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
