"""The kernel under seeded faults: nothing is violated, every planted bug is, and a seed is one history.

`CREDENCE_SIM_SEEDS` sets how many seeds the sweep takes, `CREDENCE_SIM_FIRST` the first of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .bugs import BUGS, COVERED, NO_SWEEP_NO_NEED, PAIRS, Change, planted
from .faults import FAULTS
from .running import Setting, kinds, run, search, with_bugs

SEEDS = int(os.environ.get("CREDENCE_SIM_SEEDS", "400"))
FIRST = int(os.environ.get("CREDENCE_SIM_FIRST", "0"))
TWO = 2  # processes: the machines this runs on have two cores
ROOT = Path(__file__).parents[4]


def test_no_seed_violates_a_property() -> None:
    runs = list(search(range(FIRST, FIRST + SEEDS), Setting(), jobs=TWO))

    if found := kinds(runs):
        seed = min(seed for _, seeds in found for seed in seeds)
        pytest.fail(f"{found}\n{run(seed, Setting(), trace=True).told(Setting())}")
    assert {fault for r in runs for fault in r.faults} == set(FAULTS)
    assert sum(r.evaluations for r in runs) > len(runs)


@pytest.mark.parametrize("name", [n for n in BUGS if n not in COVERED] + list(PAIRS))
def test_a_planted_bug_turns_the_simulation_red(name: str) -> None:
    names = tuple(name.split(","))
    bug = BUGS[names[0]]

    runs = search(range(bug.start, bug.start + bug.bound), with_bugs(names), jobs=1, stop_at_first=True)

    assert any(r.violation for r in runs), f"{name} was not caught in {bug.bound} seeds from {bug.start}"


@pytest.mark.parametrize("name", sorted(COVERED))
def test_a_bug_that_another_rule_covers_for_is_not_seen_alone(name: str) -> None:
    runs = search(range(BUGS[name].start, BUGS[name].start + 10), with_bugs((name,)), jobs=1)

    assert not any(r.violation for r in runs), f"{name} is caught alone now: take it out of PAIRS"


def test_where_nothing_is_late_and_nobody_dies_no_sweep_is_needed() -> None:
    """So what is planted together with `NO_SWEEP` is seen for itself."""
    BUGS["no_sweep_no_need"] = NO_SWEEP_NO_NEED
    try:
        runs = list(search(range(300), with_bugs(("no_sweep_no_need",)), jobs=1))
    finally:
        del BUGS["no_sweep_no_need"]

    assert not kinds(runs)
    assert {"loss", "poison", "rebalance"} <= {fault for r in runs for fault in r.faults}


def test_a_planted_bug_leaves_no_trace_behind() -> None:
    for name in BUGS:
        with planted(name):
            pass

    assert not run(0, Setting()).violation


def test_a_bug_whose_line_is_gone_is_not_planted_silently() -> None:
    change = Change(BUGS["no_replay"].changes[0].module, "_replay", (("a line that nobody wrote", "pass"),))
    BUGS["rotten"] = BUGS["no_replay"].__class__("rotten", (change,))
    try:
        with pytest.raises(LookupError, match="mend the planted bug"), planted("rotten"):
            pass
    finally:
        del BUGS["rotten"]


def test_a_seed_gives_the_same_history_in_every_process() -> None:
    here = run(7, Setting(), trace=True)

    assert here.history == run(7, Setting(), trace=True).history
    for hash_seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-m", "libs.eventcore.tests.simulation", "--seed", "7"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.splitlines() == here.told(Setting()).splitlines()


def test_a_failing_seed_prints_its_history_and_the_command_that_replays_it() -> None:
    setting = with_bugs(("unknown_is_ok",))
    seed = next(r.seed for r in search(range(50), setting, jobs=1) if r.violation)

    told = run(seed, setting, trace=True).told(setting)

    assert "append enrol-" in told
    assert f"python -m libs.eventcore.tests.simulation --seed {seed} --bug unknown_is_ok" in told
