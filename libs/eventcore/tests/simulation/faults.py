"""Which faults a seed brings, and how often."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass

FAULTS: dict[str, str] = {
    "crash": "a process is killed at an await and started again",
    "pause": "a process stands still while the others go on",
    "mongo": "a store operation fails, is applied without a reply, or lands late",
    "kafka": "a send fails, is applied without a reply, or lands late; a commit is lost",
    "replay": "offsets are reset; a service publishes everything again",
    "rebalance": "partitions change hands while their batch is being handled (zombies)",
    "loss": "the topic loses a record it acknowledged",
    "poison": "a record that this release cannot decode, until the fix ships",
    "skew": "the clocks of two processes differ by up to two minutes",
    "erase": "person p asks to be erased",
    "rebuild": "views are rebuilt and switched to beside all this, and old generations dropped",
    "twins": "the same call is made twice, in one batch and side by side",
}


RARELY = 0.15


def rebuilds(r: random.Random, allowed: Collection[str] | None) -> int:
    """How many times views are rebuilt. A rebuild takes as many steps as all the rest, so it is rarer than any other
    fault, unless it is what is looked for; and it is drawn apart, so that a seed without it stays what it was."""
    whole = allowed is None or len(allowed) == len(FAULTS)
    if (allowed is not None and "rebuild" not in allowed) or r.random() >= (RARELY if whole else 0.5):
        return 0
    return r.choice((1, 2, 4))


@dataclass
class Rates:
    """Each may be set from the command line."""

    crash_p: float  # a step
    pause_p: float  # a step
    io_p: float  # an insert or a send; other operations fail less often
    race_p: float  # that the seed's commands are the small race of `script.py`
    until: float  # the tick at which the faults stop


def draw(r: random.Random, allowed: Collection[str] | None, rates: Mapping[str, float]) -> tuple[frozenset[str], Rates]:
    """A seed's faults (each with an even chance, of those allowed) and rates."""
    swarm = {name for name in FAULTS if name != "rebuild" and r.random() < 0.5}
    drawn = Rates(
        crash_p=r.choice([0.003, 0.01, 0.04]),
        pause_p=r.choice([0.005, 0.02, 0.06]),
        io_p=r.choice([0.05, 0.2, 0.5]),
        race_p=0.15,
        until=r.randint(200, 2000),
    )
    for name, value in rates.items():
        setattr(drawn, name, value)
    return frozenset(swarm if allowed is None else swarm & set(allowed)), drawn
