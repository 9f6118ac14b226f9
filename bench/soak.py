"""Memory over minutes at full load: does anything grow with the number of calls?

As many callers as fill the cores, each with its next call when the last was answered: marks that correct one another
through enrolment, Kafka and accreditation, and mentors' profiles through mentoring, each with the queries that follow.
Every minute or so other learners take over: a register keeps every value that a mark had, so that with the same ones
each call would be about more than the one before.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.request import urlopen

import psutil
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from bench import processes
from bench.harness import (
    MIB,
    Benchmark,
    CannotRun,
    Figures,
    Options,
    Table,
    main,
    median,
    number,
    running_stack,
    tell,
)
from bench.scene import Failure, Learner, Scene, learners_for, marks_of
from bench.trend import GROWTH_MAX, RATE_SHARE_MIN, problem, trend
from credence.enrolment.v1 import attendance_pb2
from credence.mentoring.v1 import mentors_pb2, mentors_pb2_grpc
from credence_cli.embedded.stack import Stack

SERVICES = ("enrolment", "accreditation", "mentoring")
CALLERS = 16
MARKS, TURNS = 300, 2  # of one set of learners: each mark is set, and corrected once
MENTORS = 500
SAMPLES = 240
FAILED_MAX = 0.02  # of the rounds that were done
STATES = (attendance_pb2.ATTENDANCE_STATE_PRESENT, attendance_pb2.ATTENDANCE_STATE_ABSENT)


@dataclass
class Seen:
    """One service over the run, a measurement a sample: bytes, counts, and what it says it keeps in memory."""

    rss: list[float] = field(default_factory=list)
    uss: list[float] = field(default_factory=list)
    files: list[float] = field(default_factory=list)
    threads: list[float] = field(default_factory=list)
    kept: dict[str, list[float]] = field(default_factory=dict)


def run(options: Options) -> Figures:
    with running_stack(options) as stack:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            seen, done, failed, seconds = runner.run(_soak(stack, options.seconds))
    rates = _rates(done, seconds)
    tables = [_memory(seen), _rest(seen), _rate(done, rates, failed), _kept(seen)]
    # A trial shows that it works, not that memory is flat.
    found = "" if options.quick else problem({name: each.uss for name, each in seen.items()}, rates)
    return Figures(stack.software, tables, found)


async def _soak(stack: Stack, seconds: float) -> tuple[dict[str, Seen], list[int], Counter[str], float]:
    scene = Scene(stack.addresses.grpc)
    failed: Counter[str] = Counter()
    done = 0
    try:
        work = _Work(scene)
        await work.one()  # enrols the first learners
        tell(f"{seconds:.0f} s at full load")
        end = time.monotonic() + seconds

        async def caller() -> None:
            nonlocal done
            while time.monotonic() < end:
                try:
                    await work.one()
                    done += 1
                except Failure as error:
                    # As a client of ours does: a little later, again.
                    await asyncio.sleep(0.5)
                    failed[str(error)] += 1

        callers = [asyncio.create_task(caller()) for _ in range(CALLERS)]
        sampler = _Sampler(stack)
        counts = []
        began = time.monotonic()
        for n in range(SAMPLES):
            await asyncio.sleep(max(0.0, began + (n + 1) * seconds / SAMPLES - time.monotonic()))
            await asyncio.to_thread(sampler.look)
            counts.append(done)
            if n % (SAMPLES // 12) == 0:
                tell(f"{(n + 1) / SAMPLES:4.0%}  {done / (time.monotonic() - began):.0f} rounds/s  {sampler.told()}")
        await asyncio.gather(*callers)
        if sum(failed.values()) > FAILED_MAX * done:
            raise CannotRun(f"too much failed to call it a load: {failed.most_common(3)}")
        return sampler.seen, counts, failed, time.monotonic() - began
    finally:
        await scene.close()


class _Work:
    """A round is one mark and one profile, each written and read back by its token."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._mentoring = scene.client.stub(mentors_pb2_grpc.MentorServiceStub, "mentoring")
        self._sets = itertools.count()
        self._units: Iterator[tuple[int, Learner, str]] = iter(())
        self._versions: dict[tuple[str, str, str], int] = {}
        self._taking_over = asyncio.Lock()
        self._count = itertools.count()

    async def one(self) -> None:
        await asyncio.gather(self._mark(), self._profile(next(self._count)))

    async def _unit(self) -> tuple[int, Learner, str]:
        async with self._taking_over:
            if (unit := next(self._units, None)) is None:
                learners = await self._scene.enrolled(f"soak-{next(self._sets)}", learners_for(MARKS))
                units = list(marks_of(learners))
                self._units, self._versions = ((turn, *unit) for turn in range(TURNS) for unit in units), {}
                unit = next(self._units)
            return unit

    async def _mark(self) -> None:
        turn, learner, session = await self._unit()
        key = (learner.cohort, learner.person, session)
        row = attendance_pb2.AttendanceRow(
            cohort_id=learner.cohort,
            person_id=learner.person,
            session_id=session,
            value=attendance_pb2.AttendanceValue(state=STATES[turn % 2]),
        )
        if turn:
            if key not in self._versions:
                return  # the first one had no answer: which version this would replace is not known
            row.replaces, row.reason_code = self._versions[key], "soak"
        outcome, _ = await self._scene.posted(learner, session, row)
        self._versions[key] = outcome.version

    async def _profile(self, n: int) -> None:
        row = mentors_pb2.RegisterMentor(
            person_id=f"soak-m{n % MENTORS}",
            background="children",
            sector="public",
            in_post=n // MENTORS % 2 == 0,
            employer_id="sample-council",
            pen_portrait="Sample portrait",
        )
        registering = mentors_pb2.RegisterMentorsRequest(rows=[row])
        answer = await self._scene.call(self._mentoring.RegisterMentors, registering, self._scene.admissions)
        asking = mentors_pb2.ListMentorsRequest(person_id=row.person_id, token=answer.token)
        await self._scene.call(self._mentoring.ListMentors, asking, self._scene.admissions)


class _Sampler:
    def __init__(self, stack: Stack) -> None:
        running = processes.of(stack)
        self.seen = {name: Seen() for name in SERVICES}
        self._processes: dict[str, psutil.Process] = {name: running[name] for name in SERVICES}
        self._metrics = {name: f"{stack.addresses.http[name]}/metrics" for name in SERVICES}

    def look(self) -> None:
        for name, process in self._processes.items():
            seen, memory = self.seen[name], process.memory_full_info()
            seen.rss.append(memory.rss)
            seen.uss.append(memory.uss)
            seen.files.append(process.num_fds())
            seen.threads.append(process.num_threads())
            for what, value in _kept_in_memory(self._metrics[name]).items():
                seen.kept.setdefault(what, []).append(value)

    def told(self) -> str:
        return ", ".join(f"{name} {seen.uss[-1] / MIB:.0f} MiB" for name, seen in self.seen.items())


def _kept_in_memory(address: str) -> dict[str, float]:
    with urlopen(address, timeout=5) as answer:
        text = answer.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "credence_in_memory_items":
                found[sample.labels["kind"]] = sample.value
            elif sample.name == "credence_consumer_lag_events":
                found[f"behind: {sample.labels['consumer']}"] = sample.value
    return found


def _memory(seen: dict[str, Seen]) -> Table:
    rows = []
    for name, each in seen.items():
        half, found = len(each.uss) // 2, trend(each.uss)
        rows.append(
            [
                name,
                *(number(v / MIB) for v in (each.uss[0], each.uss[half], each.uss[-1], max(each.rss))),
                f"{found.growth:+.1%} ± {found.margin:.1%}",
                found.verdict,
            ]
        )
    columns = (
        "service",
        "own MiB at first",
        "half-way",
        "at the end",
        "RSS at most",
        "growth in the second half",
        "so",
    )
    note = (
        "*Own*: what no other process shares (USS). *Growth*: what a straight line through the second half rises by, "
        f"as a share of its mean, with its 95 % bounds; flat where the upper bound is at most {GROWTH_MAX:.0%} "
        f"(`bench/trend.py`). Every {MARKS * TURNS} rounds other learners take over, since a register keeps each value "
        "that a mark had: with the same ones every call would be about more."
    )
    return Table("Memory over the run", columns, rows, note)


def _rest(seen: dict[str, Seen]) -> Table:
    def most(values: list[float]) -> list[str]:
        half = len(values) // 2
        return [number(max(values[:half])), number(max(values[half:]))]

    rows = [[name, *most(each.files), *most(each.threads)] for name, each in seen.items()]
    columns = ("service", "open files, first half", "second half", "threads, first half", "second half")
    return Table("Open files and threads, at most", columns, rows)


def _rates(done: list[int], seconds: float) -> list[float]:
    """Rounds a second in each twelfth of the run."""
    twelfths = [done[(i + 1) * len(done) // 12 - 1] for i in range(12)]
    return [(b - a) / (seconds / 12) for a, b in itertools.pairwise([0, *twelfths])]


def _rate(done: list[int], rates: list[float], failed: Counter[str]) -> Table:
    half = len(rates) // 2
    rows = [[number(done[-1]), number(median(rates[:half])), number(median(rates[half:])), str(sum(failed.values()))]]
    told = ", ".join(f"{many} {code}" for code, many in failed.items()) or "none"
    note = (
        f"A round is two commands and three queries, over all three services, by {CALLERS} callers. Failed: {told}. "
        f"Below {RATE_SHARE_MIN:.0%} of the first half's rate the second half says nothing about full load."
    )
    return Table("Load", ("rounds", "a second, first half", "second half", "failed"), rows, note)


def _kept(seen: dict[str, Seen]) -> Table:
    rows = []
    for name, each in seen.items():
        for what, values in sorted(each.kept.items()):
            half = len(values) // 2
            rows.append([f"{name}, {what}", number(max(values[:half] or [0])), number(max(values[half:] or [0]))])
    if not rows:
        raise CannotRun("the services name nothing that they keep in memory: look at credence_in_memory_items")
    note = "The limits of each are in [docs/limits.md](../docs/limits.md)."
    return Table("What is kept and what is behind, at most", ("what", "first half", "second half"), rows, note)


BENCHMARK = Benchmark("Memory over minutes at full load", 600, 30, run)

if __name__ == "__main__":
    main(BENCHMARK)
