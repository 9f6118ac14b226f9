"""The simulation by hand: sweep seeds, replay one with its history, plant bugs, shrink what was found."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import fields

from .bugs import BUGS, PAIRS
from .faults import FAULTS, Rates
from .running import Run, Setting, kinds, run, search, shrink, with_bugs

SEEDS = 500


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every property held (or every planted bug was caught), 1 when not, 2 for a wrong argument."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.list:
        _list()
        return 0
    if given.bug == "each":
        return _each(given)
    setting = _setting(parser, given)
    if given.shrink is not None:
        if not run(given.shrink, setting).violation:
            parser.error(f"seed {given.shrink} violates nothing: nothing to shrink")
        smallest, best = shrink(given.shrink, setting)
        print(smallest.told(best))
        return 1
    if given.seed is not None:
        found = run(given.seed, setting, trace=True)
        print(found.told(setting))
        return bool(found.violation)
    return _sweep(given, setting)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m libs.eventcore.tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, help=f"how many seeds (default {SEEDS}; with --bug, each bug's own bound)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--seed", type=int, help="one seed, with its whole history")
    parser.add_argument("--shrink", type=int, metavar="SEED", help="the shortest history that ends as this seed does")
    parser.add_argument("--bug", default="", help="plant NAME, NAME,NAME, or each (one after the other)")
    parser.add_argument("--faults", help="only these, of " + ",".join(FAULTS) + "; none for no fault at all")
    parser.add_argument("--rate", action="append", default=[], metavar="NAME=VALUE", help="set a rate; repeatable")
    parser.add_argument("--commands", help="only these commands of the seed, by number (see --shrink)")
    parser.add_argument("--list", action="store_true", help="the faults, the rates and the bugs")
    return parser


def _setting(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Setting:
    names = tuple(name for name in given.bug.split(",") if name)
    if unknown := sorted(set(names) - BUGS.keys()):
        parser.error(f"no such bug: {', '.join(unknown)} (see --list)")
    faults = None if given.faults is None else tuple(f for f in given.faults.split(",") if f != "none")
    if unknown := sorted(set(faults or ()) - FAULTS.keys()):
        parser.error(f"no such fault: {', '.join(unknown)} (see --list)")
    rates = {}
    for word in given.rate:
        name, _, value = word.partition("=")
        if name not in {f.name for f in fields(Rates)}:
            parser.error(f"no such rate: {name} (see --list)")
        try:
            rates[name] = float(value)
        except ValueError:
            parser.error(f"{word}: not a number")
    commands = None if given.commands is None else tuple(int(c) for c in given.commands.split(",") if c)
    return with_bugs(names, faults=faults, rates=rates or None, commands=commands)


def _list() -> None:
    print("faults", *(f"  {name:22} {what}" for name, what in FAULTS.items()), sep="\n")
    print("rates", *(f"  {f.name}" for f in fields(Rates)), sep="\n")
    print("bugs", *(f"  {name:22} {bug.what}" for name, bug in BUGS.items()), sep="\n")
    print("seen only together", *(f"  {name}" for name in PAIRS), sep="\n")


def _each(given: argparse.Namespace) -> int:
    """Every planted bug from seed `first` on, until it is caught."""
    missed = 0
    for name in [*BUGS, *PAIRS]:
        setting = with_bugs(tuple(name.split(",")))
        bound = given.seeds or BUGS[name.split(",")[0]].bound
        runs = list(search(range(given.first, given.first + bound), setting, jobs=given.jobs, stop_at_first=True))
        caught = runs[-1]
        covered = next((pair for pair in PAIRS if name in pair.split(",")), None)
        if caught.violation:
            print(f"{name:34} seed {caught.seed:5}: {caught.violation[0]}  {setting.arguments(bugs=False)}", flush=True)
        elif covered:
            print(f"{name:34} covered for: see {covered}", flush=True)
        else:
            missed += 1
            print(f"{name:34} NOT CAUGHT in {bound} seeds", flush=True)
    return bool(missed)


def _sweep(given: argparse.Namespace, setting: Setting) -> int:
    began = time.monotonic()
    seeds = range(given.first, given.first + (given.seeds or SEEDS))
    runs: list[Run] = list(search(seeds, setting, jobs=given.jobs))
    seconds = time.monotonic() - began
    for kind, found in kinds(runs):
        print(f"{len(found):6} {kind}; seeds {found[:5]}")
    steps, evaluations = [r.steps for r in runs], sum(r.evaluations for r in runs)
    print(
        f"{len(runs)} seeds, {sum(bool(r.violation) for r in runs)} violations, {seconds:.0f} s: "
        f"{len(runs) / seconds * 60:.0f} seeds a minute on {given.jobs} processes; "
        f"{sum(steps) / len(runs):.0f} steps and {evaluations / len(runs):.0f} evaluations a seed, "
        f"at most {max(steps)} steps"
    )
    first = next((r for r in runs if r.violation), None)
    if first is None:
        return 0
    print(run(first.seed, setting, trace=True).told(setting))
    return 1


if __name__ == "__main__":
    sys.exit(main())
