"""The long run: `make test-reliability`, or `python -m tests.reliability --minutes 30 --seed 7`.

First the tests of the promises that no storm can prove and the slow ones of the harness, then the storm. Ends with a
report under build/reliability/ and exit code 0; 1 when a promise was broken, when there was less of anything than was
asked for, or when the harness itself failed. Ctrl-C stops everything that was started; a second seed is another
schedule and another script of commands.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import closing
from pathlib import Path

from tests.reliability import elsewhere, report
from tests.reliability.clients import Pace
from tests.reliability.faults import schedule
from tests.reliability.rig import Rig
from tests.reliability.storm import Outcome, Plan, Storm

# What the promise asks of a long run, and how long that takes on two cores.
COMMANDS, KILLS, MINUTES = 100_000, 500, 150.0
KILLS_BETWEEN, CALM = 8, 32
RATE = 20.0  # two slow cores keep up with it between kills: asked for 32, they were whole only once clients eased
# Twins send the same rows twenty times, and most of what is unknown is sent again.
ROWS_A_COMMAND = 3


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help=f"at most so long, and as much less is wanted ({MINUTES:g})"
    )
    parser.add_argument("--seed", type=int, default=None, help="the run to replay; else one is drawn and told")
    parser.add_argument("--commands", type=int, default=None, help=f"wanted, with the kills ({COMMANDS} in the whole)")
    parser.add_argument("--kills", type=int, default=None, help=f"wanted, with the commands ({KILLS} in the whole)")
    parser.add_argument("--rate", type=float, default=RATE, help=f"rows a second, at most ({RATE:g})")
    parser.add_argument("--storm-only", action="store_true", help="without the tests beside it")
    asked = parser.parse_args(words)
    share = min(1.0, asked.minutes / MINUTES)
    kills = asked.kills if asked.kills is not None else round(KILLS * share)
    commands = asked.commands if asked.commands is not None else round(COMMANDS * share)
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1_000_000)
    again = f"python -m tests.reliability --minutes {asked.minutes:g} --kills {kills} --commands {commands}"
    again += f" --rate {asked.rate:g} --seed {seed}{' --storm-only' if asked.storm_only else ''}"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as make does: each start would compile all that it imports
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: everything is stopped on the way out
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {line}", flush=True)

    def storm(rig: Rig) -> Outcome:
        rig.start()
        plan = Plan(
            schedule(seed, rig.instances),
            kills=kills,
            commands=commands,
            seconds=asked.minutes * 60,
            kills_between=KILLS_BETWEEN,
            calm=CALM,
            endless=True,
        )
        running = Storm(rig, seed, Pace(asked.rate, ROWS_A_COMMAND * commands), say)
        try:
            return running.run(plan)
        except Exception as error:  # noqa: BLE001 - told, and what was seen until then is reported all the same
            traceback.print_exc()
            running.outcome.wrong("The harness failed", f"{type(error).__name__}: {error}")
            return running.outcome

    say(f"seed {seed}, {kills} kills and {commands} commands wanted; again: {again}")
    folder = Path(tempfile.mkdtemp(prefix="credence-reliability-"))
    kept = True
    try:
        proved, slow = ({}, None) if asked.storm_only else (elsewhere.run(folder), elsewhere.slow(folder))
        with closing(Rig(folder, say=say)) as rig:
            outcome = storm(rig)
        page = report.write(outcome, "long", again, proved, slow)
        print(page.read_text())
        print(f"The report: {page}")
        kept = bool(outcome.violations) or not outcome.concluded
        broken = kept or any(each.failed for each in (*proved.values(), slow) if each)
        if broken:
            print(f"A promise was broken, or was not checked; again: {again}", file=sys.stderr)
        if outcome.short:
            print(f"not enough: {', '.join(outcome.short)}: give it more MINUTES, or a faster machine", file=sys.stderr)
        return int(broken or bool(outcome.short))
    except KeyboardInterrupt:
        print("Stopped; nothing was concluded.", file=sys.stderr)
        kept = False
        return 130
    finally:
        if kept:
            print(f"The logs are in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
