"""Seeds run one by one, many at a time, and made small."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import count

from .bugs import BUGS, planted
from .faults import FAULTS
from .properties import verify
from .scheduler import Violation
from .world import World

CHUNK = 10


@dataclass(frozen=True)
class Setting:
    """What a run is given besides its seed."""

    bugs: tuple[str, ...] = ()
    faults: tuple[str, ...] = tuple(FAULTS)
    rates: Mapping[str, float] = field(default_factory=dict)
    commands: tuple[int, ...] | None = None

    def arguments(self, *, bugs: bool = True) -> str:
        """The same, for the command line."""
        words = [f"--bug {','.join(self.bugs)}"] if bugs and self.bugs else []
        if self.faults != tuple(FAULTS):
            words.append(f"--faults {','.join(self.faults) or 'none'}")
        words += [f"--rate {name}={value:g}" for name, value in self.rates.items()]
        if self.commands is not None:
            words.append(f"--commands {','.join(map(str, self.commands))}")
        return " ".join(words)


def with_bugs(
    names: Sequence[str],
    *,
    faults: tuple[str, ...] | None = None,
    rates: Mapping[str, float] | None = None,
    commands: tuple[int, ...] | None = None,
) -> Setting:
    """These bugs, under the faults and rates that bring the first of them to light unless others are named."""
    hard = BUGS[names[0]] if names else None
    if faults is None:
        faults = hard.faults if hard and hard.faults else tuple(FAULTS)
    if rates is None:
        rates = hard.rates if hard else {}
    return Setting(tuple(names), faults, dict(rates), commands)


@dataclass(frozen=True)
class Run:
    """One history. `violation` is empty when every property held."""

    seed: int
    violation: tuple[str, ...]
    steps: int
    evaluations: int
    faults: tuple[str, ...]
    commands: int
    history: tuple[str, ...] = ()

    def told(self, setting: Setting) -> str:
        """The whole history, what was violated, and how to see it again."""
        command = f"python -m libs.eventcore.tests.simulation --seed {self.seed} {setting.arguments()}".strip()
        return "\n".join(
            [
                *self.history,
                f"violation: {' '.join(self.violation) or 'none'}",
                f"seed {self.seed}; faults: {' '.join(self.faults) or 'none'}",
                f"replay (from the repository's root): {command}",
            ]
        )


def run(seed: int, setting: Setting, *, trace: bool = False) -> Run:
    """One seed, with the setting's bugs planted."""
    with planted(*setting.bugs):
        world = World(seed, faults=setting.faults, rates=setting.rates, commands=setting.commands, trace=trace)
        violation: tuple[str, ...] = ()
        try:
            world.run()
            verify(world)
        except Violation as found:
            violation = tuple(map(str, found.args))
        except Exception as error:  # noqa: BLE001 (whatever the kernel lets escape is a finding, not the end of a sweep)
            where = traceback.extract_tb(error.__traceback__)[-1]
            violation = ("a process died", repr(error), f"{where.name}:{where.lineno}")
        finally:
            world.stop_all()
    return Run(
        seed, violation, world.steps, world.evaluations, tuple(sorted(world.faults)), world.commands,
        tuple(world.history or ()),
    )  # fmt: skip


def sweep(seeds: Sequence[int], setting: Setting, *, stop_at_first: bool = False) -> list[Run]:
    runs = []
    for seed in seeds:
        runs.append(run(seed, setting))
        if stop_at_first and runs[-1].violation:
            break
    return runs


def search(seeds: range, setting: Setting, *, jobs: int, stop_at_first: bool = False) -> Iterator[Run]:
    """Runs the seeds on `jobs` processes, in order; with `stop_at_first`, ends with the first violation."""
    if jobs == 1:
        for seed in seeds:
            found = run(seed, setting)
            yield found
            if stop_at_first and found.violation:
                return
        return
    chunks = [list(seeds[i : i + CHUNK]) for i in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(jobs) as pool:
        waiting: list[Future[list[Run]]] = []
        for position in count():
            while len(waiting) < 2 * jobs and chunks:
                waiting.append(pool.submit(sweep, chunks.pop(0), setting, stop_at_first=stop_at_first))
            if position and not waiting:
                return
            for found in waiting.pop(0).result():
                yield found
                if stop_at_first and found.violation:
                    pool.shutdown(cancel_futures=True)
                    return


def shrink(seed: int, setting: Setting, *, tries: int = 300) -> tuple[Run, Setting]:
    """Fewer faults, fewer commands, another seed: the shortest history that ends in the same violation."""
    kind = run(seed, setting).violation[0]

    def hit(trial: Setting) -> int | None:
        seeds = [seed, *range(tries)]
        return next((s for s in seeds if run(s, trial).violation[:1] == (kind,)), None)

    best = setting
    for fault in setting.faults:
        trial = replace(best, faults=tuple(f for f in best.faults if f != fault))
        if (found := hit(trial)) is not None:
            best, seed = trial, found
    best = replace(best, commands=tuple(range(run(seed, best).commands)))
    for command in best.commands or ():
        trial = replace(best, commands=tuple(c for c in best.commands or () if c != command))
        if (found := hit(trial)) is not None:
            best, seed = trial, found
    runs = (run(s, best) for s in [seed, *range(tries * 3)])
    smallest = min((r for r in runs if r.violation[:1] == (kind,)), key=lambda r: r.steps)
    return run(smallest.seed, best, trace=True), best


def kinds(runs: Sequence[Run]) -> list[tuple[str, list[int]]]:
    """Violations by kind with their seeds, the most frequent first."""
    by_kind: dict[str, list[int]] = {}
    for found in runs:
        if found.violation:
            by_kind.setdefault(found.violation[0], []).append(found.seed)
    order = Counter({kind: len(seeds) for kind, seeds in by_kind.items()})
    return [(kind, by_kind[kind]) for kind, _ in order.most_common()]
