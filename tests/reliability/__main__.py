"""The long run: `make test-reliability`, or `python -m tests.reliability --minutes 30 --seed 7`.

Ends with a report under build/reliability/ and exit code 0, or 1 when a promise was broken. Ctrl-C stops everything
that was started; a second seed is another schedule and another script of commands.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from tests.reliability import report
from tests.reliability.clients import Pace
from tests.reliability.faults import schedule
from tests.reliability.rig import Rig
from tests.reliability.storm import Plan, Storm

COMMANDS, KILLS = 100_000, 500
KILLS_BETWEEN, CALM = 5, 40
RATE = 60.0


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=25.0, help="how long the faults go on at most (25)")
    parser.add_argument("--seed", type=int, default=None, help="the run to replay; else one is drawn and told")
    parser.add_argument("--commands", type=int, default=COMMANDS, help=f"enough, with the kills ({COMMANDS})")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"enough, with the commands ({KILLS})")
    parser.add_argument("--rate", type=float, default=RATE, help=f"commands a second, at most ({RATE:g})")
    asked = parser.parse_args(words)
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1_000_000)
    again = f"make test-reliability MINUTES={asked.minutes:g} SEED={seed}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: everything is stopped on the way out
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {line}", flush=True)

    say(f"seed {seed}; again: {again}")
    folder = Path(tempfile.mkdtemp(prefix="credence-reliability-"))
    kept = True
    try:
        with closing(Rig(folder, say=say)) as rig:
            rig.start()
            plan = Plan(
                schedule(seed, rig.instances),
                kills=asked.kills,
                commands=asked.commands,
                seconds=asked.minutes * 60,
                kills_between=KILLS_BETWEEN,
                calm=CALM,
            )
            outcome = Storm(rig, seed, Pace(asked.rate, asked.commands), say).run(plan)
        page = report.write(outcome, "long", again)
        print(page.read_text())
        print(f"The report: {page}")
        kept = bool(outcome.violations)
        if kept:
            print(f"A promise was broken; the logs are in {folder}. Again: {again}", file=sys.stderr)
        return int(kept)
    except KeyboardInterrupt:
        print("Stopped; nothing was concluded.", file=sys.stderr)
        kept = False
        return 130
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
