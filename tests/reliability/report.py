"""What a run showed, promise by promise: a page to read and the same as JSON, under build/reliability/."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.reliability.checks import p17_share_fresher_than
from tests.reliability.elsewhere import Proved
from tests.reliability.storm import CALM_ROWS_A_SECOND, OVERRUN_SECONDS, Outcome

FOLDER = Path(__file__).parents[2] / "build" / "reliability"
VIOLATIONS_SHOWN = 20

PROMISES: Mapping[str, str] = {
    "P1": "an acknowledged command is never lost",
    "P2": "per stream, versions run 1..n with no gap and no twin",
    "P3": "what is stored is published",
    "P4": "nothing is published that was not stored",
    "P5": "per stream, first occurrences appear in version order",
    "P6": "an event takes effect once",
    "P7": "the same id, the same answer and one set of events",
    "P8": "views are rebuilt to the same content while the old ones serve",
    "P9": "what cannot be read stops only its own stream, and is held whole",
    "P10": "redriven, it is as if nothing had been",
    "P11": "SIGTERM drains; no client error that sending again does not heal",
    "P12": "whole again after every fault, with no human",
    "P17": "a view is fresh while no fault is about",
    "P19": "who was erased is readable nowhere, and all else adds up",
}


@dataclass(frozen=True)
class Line:
    """`violations`: None where the run broke off before the checkers came to their end."""

    promise: str
    words: str
    operations: str
    violations: int | None


def write(
    outcome: Outcome,
    name: str,
    again: str,
    elsewhere: Mapping[str, Proved] | None = None,
    slow: Proved | None = None,
    folder: Path = FOLDER,
) -> Path:
    """`again` is the command that replays the run; `elsewhere` what other tests proved beside it, `slow` what the slow
    ones of the harness came to. Gives the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    proved = elsewhere or {}
    (folder / f"{name}.json").write_text(json.dumps(as_json(outcome, again, proved, slow), indent=2) + "\n")
    page = folder / f"{name}.md"
    page.write_text(as_page(outcome, again, proved, slow))
    return page


def lines(outcome: Outcome, elsewhere: Mapping[str, Proved]) -> list[Line]:
    """One a promise, in the order of the promises."""
    operations = _operations(outcome)
    found = {
        promise: Line(
            promise,
            words,
            operations[promise],
            len(outcome.violations.get(promise, ())) if outcome.concluded else None,
        )
        for promise, words in PROMISES.items()
    }
    for promise, proved in elsewhere.items():
        files = ", ".join(f"`{file}`" for file in proved.files)
        left = f"; not run here: {', '.join(f'`{file}`' for file in proved.left)}" if proved.left else ""
        found[promise] = Line(promise, proved.words, f"{proved.tests} tests: {files}{left}", len(proved.failed))
    return sorted(found.values(), key=lambda line: int(line.promise[1:]))


def _operations(outcome: Outcome) -> dict[str, str]:
    counted, found = outcome.history.counted(), outcome.found
    events = sum(len(each.events) for each in found.stored.values()) if found else 0
    records = sum(len(topic) for topic in found.topics.values()) if found else 0
    documents = sum(len(d) for each in found.documents.values() for d in each.views.values()) if found else 0
    targets = sum(len(t) for each in found.documents.values() for t in each.targets.values()) if found else 0
    acknowledged = f"{counted['ok']} acknowledged, {counted['refused']} refused, {counted['unknown']} unknown commands"
    terminated = sum(
        s.fault.kind in ("rolling restart", "come and go", "offset reset", "poison") for s in outcome.strikes
    )
    tries = sum(r.tries for r in outcome.rebuilds)
    ages = outcome.calm_ages
    fresh = ", ".join(f"{p17_share_fresher_than(ages, s):.2%} within {s:g} s" for s in (2.0, 10.0)) if ages else "none"
    return {
        "P1": acknowledged,
        "P2": f"{events} events",
        "P3": f"{events} events against {records} records",
        "P4": f"{records} records",
        "P5": f"{records} records",
        "P6": f"{documents} documents and {targets} results, by hash; {outcome.alike} times all kinds of learners",
        "P7": f"{outcome.sent_again} commands sent once more after everything",
        "P8": f"{len(outcome.rebuilds)} rebuilds of all views of a service in {tries} tries, beside "
        f"{len(outcome.served) + sum(r.reads for r in outcome.rebuilds)} reads",
        "P9": f"{sum(len(p.held) for p in outcome.poisonings)} records of {len(outcome.poisonings)} streams held",
        "P10": f"{sum(p.redriven for p in outcome.poisonings)} records redriven",
        "P11": f"{terminated} times services were asked to end under load",
        "P12": f"{len(outcome.recoveries)} recoveries",
        "P17": f"{len(ages)} answers: {fresh}",
        "P19": f"{len(outcome.erasures)} people, {outcome.searched_bytes / 1e6:.0f} MB searched",
    }


def by_kind(outcome: Outcome) -> dict[str, tuple[int, list[float]]]:
    """Kind of fault -> how many, and the seconds to recover where they were measured."""
    kinds: dict[str, tuple[int, list[float]]] = {}
    for strike in outcome.strikes:
        fault = strike.fault
        server = fault.what.rpartition("/")[2]
        kind = f"{fault.kind} {server}" if server in ("kafka", "mongo") else fault.kind
        count, seconds = kinds.get(kind, (0, []))
        kinds[kind] = (
            count + 1,
            [*seconds, *([strike.recovery_seconds] if strike.recovery_seconds is not None else [])],
        )
    return dict(sorted(kinds.items()))


def as_json(outcome: Outcome, again: str, elsewhere: Mapping[str, Proved], slow: Proved | None) -> dict[str, Any]:
    return {
        "seed": outcome.seed,
        "again": again,
        "servers": outcome.software,
        "seconds": round(outcome.seconds, 1),
        "kills": outcome.kills,
        "wanted": {"kills": outcome.wanted.kills, "commands": outcome.wanted.commands} if outcome.wanted else {},
        "commands": outcome.history.counted(),
        "promises": [vars(line) for line in lines(outcome, elsewhere)],
        "slow": {"tests": slow.tests, "failed": slow.failed} if slow else {},
        "concluded": outcome.concluded,
        "short": outcome.short,
        "faults": {
            kind: {"count": count, "recovery_seconds": _summary(seconds)}
            for kind, (count, seconds) in by_kind(outcome).items()
        },
        "eased": outcome.eased,
        "age_seconds_by_calm": [_summary(ages) for ages in outcome.ages_by_calm],
        "at_rest_seconds": round(outcome.rest_seconds, 1),
        "ended_by_themselves": [vars(each) for each in outcome.ended],
        "violations": outcome.violations,
        "schedule": [str(strike.fault) for strike in outcome.strikes],
    }


def as_page(outcome: Outcome, again: str, elsewhere: Mapping[str, Proved], slow: Proved | None) -> str:
    counted = outcome.history.counted()
    faults = sum(count for count, _ in by_kind(outcome).values())
    rows = [
        f"| {e.promise} | {e.words} | {e.operations} | {'not checked' if e.violations is None else e.violations} |"
        for e in lines(outcome, elsewhere)
    ]
    recovered = [
        f"| {kind} | {count} | {_cell(seconds, median)} | {_cell(seconds, max)} |"
        for kind, (count, seconds) in by_kind(outcome).items()
    ]
    beside = {**elsewhere, **({"slow": slow} if slow else {})}
    violations = {**outcome.violations, **{name: proved.failed for name, proved in beside.items()}}
    wrong = [
        f"- {promise}: {what}"
        for promise, found in violations.items()
        for what in [
            *found[:VIOLATIONS_SHOWN],
            *([f"... {len(found)} in all"] if len(found) > VIOLATIONS_SHOWN else []),
        ]
    ]
    ended = [f"- {each.name} ended by itself with {each.exit_code}" for each in outcome.ended]
    return "\n".join(
        [
            "# Reliability run",
            "",
            f"Servers: {outcome.software}. What a stand-in shows proves nothing about the server it stands for.",
            f"Seed {outcome.seed}, {outcome.seconds:.0f} s, {faults} faults of which {outcome.kills} kills (-9), "
            f"{sum(counted.values())} commands. Again: `{again}`.",
            f"Asked for: {outcome.wanted.kills} kills over {outcome.wanted.commands} acknowledged commands."
            if outcome.wanted
            else "It did not begin.",
            *([f"Not enough: {', '.join(outcome.short)}."] if outcome.short else []),
            "",
            "| promise | | operations | violations |",
            "|---|---|---|---|",
            *rows,
            "",
            *(
                [f"Beside it {slow.tests} slow tests of the harness ran, {len(slow.failed)} of which failed.", ""]
                if slow
                else []
            ),
            "Seconds from a fault's end until every instance is ready and serves what is at most 2 s old; all was at "
            f"rest {outcome.rest_seconds:.1f} s after the last one. A `kill` of a single instance is one of a burst "
            "and not waited for; `kill one` is.",
            *([_eased(outcome)] if outcome.eased else []),
            "",
            "| fault | times | p50 s | max s |",
            "|---|---|---|---|",
            *recovered,
            *(["", "## Wrong", "", *wrong] if wrong else []),
            *(["", "## Ended by themselves, and started again", "", *ended] if ended else []),
            "",
        ]
    )


def _eased(outcome: Outcome) -> str:
    return (
        f"{outcome.eased} times something was not there after {OVERRUN_SECONDS:g} s, and clients asked for no more "
        f"than {CALM_ROWS_A_SECOND:g} rows a second until it was (the platform whole again, views built, a stream held "
        "and redriven): this machine does not get through with it beside what they ask for."
    )


def _summary(seconds: Sequence[float]) -> dict[str, float]:
    return {"p50": round(median(seconds), 2), "max": round(max(seconds), 2)} if seconds else {}


def _cell(seconds: Sequence[float], of: Any) -> str:
    return f"{of(seconds):.1f}" if seconds else ""
