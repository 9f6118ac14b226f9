"""How fast `credence import oulad` brings real registrations and results in, through the public contracts.

One presentation, twice: the second time every row is there already. With `--full` then all of the data set. Rows are
what the command sends; afterwards the time until the services have come to rest: all published, folded and evaluated.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.bare import database
from bench.harness import ROOT, Benchmark, CannotRun, Figures, Options, Table, main, number, ratio, running_stack, tell
from credence_cli.embedded.stack import SERVICES, Stack
from credence_cli.exits import Exit

PRESENTATION = "AAA-2013J"
LONGEST_SECONDS = 3600.0
REST_SECONDS = 1800.0
LOOK_SECONDS = 0.25
LOOKS_AT_REST = 8


@dataclass(frozen=True)
class Import:
    """What one run of the command came to; `seconds` by kind of row is the time its batches were being sent."""

    rows: dict[str, tuple[int, float]]
    seconds: float
    rest_seconds: float

    @property
    def sent(self) -> int:
        return sum(rows for rows, _ in self.rows.values())


def run(options: Options) -> Figures:
    data = Path(os.environ.get("CREDENCE_DATA") or ROOT.parent / "shared" / "data") / "oulad"
    if not data.is_dir():
        raise CannotRun(f"{data.name} is not at {data.parent}: name the folder that holds it with CREDENCE_DATA.")
    with running_stack(options) as stack:
        first = _import(stack, data, ["--presentation", PRESENTATION])
        second = _import(stack, data, ["--presentation", PRESENTATION])
        whole = _import(stack, data, []) if options.full else None
    rows = [_row(f"{PRESENTATION}, first time", first, first), _row(f"{PRESENTATION}, again", second, first)]
    if whole is not None:
        rows.append(_row("all of it, the above included", whole, first))
    shown = whole or first
    kinds = [
        [kind, number(many), number(took), number(many / took)]
        for kind, (many, took) in shown.rows.items()
        if many and took
    ]
    columns = ("import", "rows", "seconds", "rows/s", "rows/s : first time", "then at rest after, s")
    title = "By kind of row, all of it" if whole else f"By kind of row, {PRESENTATION}, first time"
    return Figures(
        stack.software,
        [
            Table("Import", columns, rows, "Seconds of the whole command, reading the files included."),
            Table(title, ("rows", "number", "seconds", "rows/s"), kinds),
        ],
    )


def _row(label: str, done: Import, first: Import) -> list[str]:
    rate = done.sent / done.seconds
    against = ratio(rate, first.sent / first.seconds)
    return [label, f"{done.sent:,}", number(done.seconds), number(rate), against, number(done.rest_seconds)]


def _import(stack: Stack, data: Path, flags: list[str]) -> Import:
    command = [str(Path(sys.executable).with_name("credence")), "import", "oulad", str(data), "--json", *flags]
    addresses = {f"CREDENCE_{name.upper()}": address for name, address in stack.addresses.grpc.items()}
    began = time.monotonic()
    done = subprocess.run(
        command,
        env={**os.environ, **addresses, "CREDENCE_HOME": str(stack.folder)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    seconds = time.monotonic() - began
    # Some rows of the real data are refused, and that is right.
    if done.returncode not in (Exit.OK, Exit.SOME_REFUSED):
        raise CannotRun(f"the import ended with exit code {done.returncode}")
    sent = {kind: (_sent(tally), float(tally["seconds"])) for kind, tally in json.loads(done.stdout)["rows"].items()}
    tell(f"{sum(rows for rows, _ in sent.values())} rows in {seconds:.1f} s")
    return Import(sent, seconds, asyncio.run(_until_at_rest(stack)))


def _sent(tally: dict[str, Any]) -> int:
    return sum(map(int, (tally["stored"], tally["already"], *tally["refused"].values())))


async def _until_at_rest(stack: Stack) -> float:
    """Seconds until nothing is marked in any service's database and stays so for some looks: what is on its way through
    Kafka shows only when it is folded."""
    began = time.monotonic()
    services = [database(stack.addresses.mongo_uri, f"credence_{name}") for name in SERVICES]
    still, rested = 0, began
    try:
        while still < LOOKS_AT_REST:
            still = 0 if await _busy(services) else still + 1
            if still == 1:
                rested = time.monotonic()
            if time.monotonic() - began > REST_SECONDS:
                raise CannotRun(f"the services did not come to rest within {REST_SECONDS:.0f} s")
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        for service in services:
            service.client.close()
    return rested - began


async def _busy(services: list[Any]) -> bool:
    for service in services:
        for mark in ("unfolded", "unpublished"):
            if await service["appends"].find_one({mark: True}):
                return True
        for name in await service.list_collection_names():
            if name.startswith("targets_") and await service[name].find_one({"dirty": True}):
                return True
    return False


BENCHMARK = Benchmark("Import of the Open University's data", 0, 0, run)

if __name__ == "__main__":
    main(BENCHMARK)
