"""The fast set: one short storm on real processes, all of its checkers green, and a report.

The long one is `make test-reliability`. A failure names its seed; the storm of that seed is the same one again.
"""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.reliability import report
from tests.reliability.clients import Pace
from tests.reliability.faults import ALL, SESSION_TIMEOUT_SECONDS, Fault
from tests.reliability.rig import Rig
from tests.reliability.storm import Outcome, Plan, Storm

pytestmark = [pytest.mark.servers, pytest.mark.timeout(2400)]

SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))
AGAIN = f"SEED={SEED} pytest tests/reliability/test_storm.py"
KILLS, COMMANDS = 14, 1_200
KILLS_BETWEEN, CALM = 1, 6
# Rows are more than commands: twins send the same ones twenty times.
ROWS_A_SECOND, ROWS = 16.0, 2_600
# First what reads the log again: what is proved takes no long one, and all else then befalls what was rebuilt.
EARLY = (
    Fault("rebuild", "accreditation-2", amount=1),
    Fault("offset reset", "accreditation"),
    Fault("duplicate", ALL),
)
LATE = (
    Fault("kill", "kafka"),
    Fault("kill", "mongo"),
    Fault("poison", "accreditation"),
    Fault(
        "zombie",
        "accreditation-1",
        SESSION_TIMEOUT_SECONDS + 1,
        beside=(Fault("half-open", "enrolment-2/mongo", 4.0), Fault("rolling restart", "mentoring")),
    ),
)
KINDS = {each.kind for fault in (*EARLY, *LATE) for each in (fault, *fault.beside)}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    print(f"again: {AGAIN}")
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}")

    rng = random.Random(SEED)
    rig = Rig(tmp_path_factory.mktemp("storm"))
    rig.start()
    try:
        faults = [*EARLY, *rng.sample(LATE, len(LATE))]
        plan = Plan(faults, KILLS, COMMANDS, seconds=900, kills_between=KILLS_BETWEEN, calm=CALM)
        ran = Storm(rig, SEED, Pace(ROWS_A_SECOND, ROWS), say).run(plan)
    finally:
        rig.close()
    print(report.write(ran, "fast", AGAIN).read_text())
    return ran


def test_enough_befell_the_platform_to_prove_anything(outcome: Outcome) -> None:
    assert outcome.short == []
    assert {strike.fault.kind for strike in outcome.strikes} >= KINDS


# How fresh views are is a figure of the machine too: the report tells it, and the long run holds it to the promise.
@pytest.mark.parametrize("promise", [promise for promise in report.PROMISES if promise != "P17"])
def test_no_promise_was_broken(outcome: Outcome, promise: str) -> None:
    assert not outcome.violations.get(promise), f"{promise}; again: {AGAIN}"


def test_the_builder_was_killed_and_what_stood_aside_was_redriven_by_hand(outcome: Outcome) -> None:
    assert [(r.service, r.tries > 1) for r in outcome.rebuilds] == [("accreditation", True)]
    assert [p.redriven > 1 for p in outcome.poisonings] == [True]


def test_freshness_was_measured(outcome: Outcome) -> None:
    assert outcome.served
