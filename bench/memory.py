"""Memory of every process: after its start, and after some load."""

from __future__ import annotations

import asyncio

import psutil
import uvloop

from bench import processes
from bench.harness import MIB, Benchmark, Figures, Options, Table, main, number, ratio, running_stack, tell
from bench.latency import RATE, at_rate
from bench.scene import Scene, learners_for, marks_of
from credence_cli.embedded.stack import Stack


def run(options: Options) -> Figures:
    with running_stack(options) as stack:
        # The client's figures are of no interest: it is this script.
        running = {name: each for name, each in processes.of(stack).items() if name != "client"}
        before = {name: _memory(process) for name, process in running.items()}
        marks = round(options.seconds * RATE)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_load(stack, marks))
        after = {name: _memory(process) for name, process in running.items()}
    rows = [
        [name, *(number(value) for value in (*before[name], *after[name])), ratio(after[name][0], before[name][0])]
        for name in running
    ]
    rows.append(["all", *(number(sum(m[i] for m in s.values())) for s in (before, after) for i in (0, 1)), ""])
    columns = ("process", "RSS at start, MiB", "of it its own", "RSS after load", "of it its own", "after : start")
    note = f"Load: {learners_for(marks)} enrolments and {marks} marks, {RATE} a second, each with two queries."
    return Figures(stack.software, [Table("Memory", columns, rows, note)])


def _memory(process: psutil.Process) -> tuple[float, float]:
    """Resident, and of it what no other process shares, in MiB."""
    full = process.memory_full_info()
    return full.rss / MIB, full.uss / MIB


async def _load(stack: Stack, many: int) -> None:
    scene = Scene(stack.addresses.grpc)
    try:
        learners = await scene.enrolled("mem", learners_for(many))
        tell(f"{len(learners)} learners enrolled; {many} marks to send")
        marks = marks_of(learners)
        await at_rate(many, lambda _: scene.mark(*next(marks)))
    finally:
        await scene.close()


BENCHMARK = Benchmark("Memory of each process", 30, 5, run)

if __name__ == "__main__":
    main(BENCHMARK)
