"""What is drawn of something long that a service tells of."""

from __future__ import annotations

import io

from rich.console import Console

from credence_cli.progress import Meter, Phases, Report


def test_what_an_earlier_run_did_says_nothing_about_the_rate() -> None:
    meter = Meter("building", 1_000_000, lambda _meter: None, first=900_000)
    meter.started -= 10
    meter.advance(100)

    assert meter.done == 900_100
    assert 9 < meter.rate < 10.1
    assert meter.text.startswith("900,100/1,000,000, 10/s")


def test_each_phase_has_a_meter_of_its_own_and_says_why_it_does_not_move() -> None:
    text = io.StringIO()
    with Phases(Report(Console(file=text, width=200))) as phases:
        phases.show("building", 40, 100)
        phases.show("building", 100, 120)
        phases.show("building", 120, 120)
        phases.show("marking", 0, 0)
        phases.show("marking", 0, 0, "the database did not answer in time: trying again")
    first, second = text.getvalue().splitlines()
    assert first.startswith("building: 120/120, ")
    assert second.startswith("marking: 0/0, 0/s (the database did not answer in time: trying again), ")
