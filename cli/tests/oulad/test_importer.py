"""The importer on the real services in memory: what it leaves behind, whatever goes wrong on the way."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from cli.tests.oulad.in_memory import Faults, Killed, Platform, answers, imported, planned, reconciled
from cli.tests.oulad.samples import SAMPLE, write
from credence_cli.exits import CommandFailed, Exit
from credence_cli.oulad.importer import Imported, Importer
from credence_cli.oulad.plan import Plan
from credence_cli.oulad.reconcile import Answers, Standing
from credence_cli.progress import Report

ROWS = {"programmes": 2, "cohorts": 2, "people": 5, "enrolments": 6, "withdrawals": 2, "results": 21, "carried-over": 1}


@pytest.fixture
def made(tmp_path: Path) -> Plan:
    return planned(write(tmp_path))


def stored(done: Imported) -> dict[str, int]:
    return {title: tally.stored for title, tally in done.tallies.items()}


def already(done: Imported) -> dict[str, int]:
    return {title: tally.already for title, tally in done.tallies.items()}


async def undisturbed(made: Plan) -> Answers:
    platform = Platform()
    return await answers(platform, made, await imported(platform, made))


async def test_a_first_run_stores_every_row_and_every_difference_is_explained(made: Plan) -> None:
    platform = Platform()
    done = await imported(platform, made)
    assert stored(done) == ROWS
    assert done.refused == []
    compared = await reconciled(platform, made, done)
    assert compared.unexplained == 0
    assert {c.category: (c.in_files, c.expected, c.found) for c in compared.categories} == {
        "enrolments": (7, 6, 6),
        "withdrawals": (3, 2, 2),
        "results": (14, 11, 11),
        "carried-over": (2, 1, 1),
        "awards": (3, 2, 2),
        "standings": (6, 6, 6),
    }


async def test_a_second_run_stores_nothing_and_says_that_it_was_there(made: Plan) -> None:
    platform = Platform()
    before = await answers(platform, made, await imported(platform, made))
    again = await imported(platform, made)
    assert already(again) == ROWS
    assert not any(stored(again).values())
    assert await answers(platform, made, again) == before


@pytest.mark.parametrize("seed", range(12))
async def test_lost_calls_lost_answers_and_unknown_rows_change_nothing(made: Plan, seed: int) -> None:
    platform = Platform()
    faults = Faults(seed, lost_before=0.2, lost_after=0.2, unknown_rows=0.05)
    done = await imported(platform, made, faults)
    assert faults.happened
    assert {title: tally.rows for title, tally in done.tallies.items()} == ROWS
    assert done.refused == []
    assert await answers(platform, made, done) == await undisturbed(made)


async def test_a_kill_at_any_call_leaves_what_the_next_run_completes(made: Plan) -> None:
    counted = Faults()
    await imported(Platform(), made, counted)
    whole = await undisturbed(made)
    assert counted.calls > 8
    for call in range(1, counted.calls + 1):
        for after in (False, True):
            platform = Platform()
            with pytest.raises(Killed):
                await imported(platform, made, Faults(die_at=call, die_after=after))
            done = await imported(platform, made)
            assert {title: tally.rows for title, tally in done.tallies.items()} == ROWS, (call, after)
            assert await answers(platform, made, done) == whole, (call, after)


async def test_a_server_that_stays_away_ends_the_run_with_what_to_do(made: Plan) -> None:
    importer = Importer(
        Platform().client(Faults(lost_before=1.0)), Report(), patience_seconds=0.05, pauses_seconds=(0.01,)
    )
    with pytest.raises(CommandFailed, match="programmes: given up after 0 s: never arrived") as caught:
        await importer.run(made)
    assert caught.value.exit_code is Exit.UNAVAILABLE
    assert caught.value.details == ("what was acknowledged is kept; run it again to go on",)


async def test_another_mapping_after_the_first_import_is_refused_before_anything_is_sent(
    made: Plan, tmp_path: Path
) -> None:
    platform = Platform()
    await imported(platform, made)
    other = write(
        tmp_path / "other",
        assessments=SAMPLE["assessments.csv"].replace("13,Exam", "14,Exam"),
        studentAssessment=SAMPLE["studentAssessment.csv"].replace("\n13,", "\n14,"),
    )
    faults = Faults()
    with pytest.raises(CommandFailed, match="oulad-aaa version 2 was refused") as caught:
        await imported(platform, planned(other), faults)
    assert caught.value.exit_code is Exit.REFUSED
    assert faults.calls == 1


async def test_a_row_that_contradicts_what_is_there_is_listed_and_stays_unexplained(made: Plan, tmp_path: Path) -> None:
    platform = Platform()
    await imported(platform, made)
    registrations = SAMPLE["studentRegistration.csv"].replace("AAA,2013J,2,-53,", "AAA,2013J,2,-52,")
    scores = SAMPLE["studentAssessment.csv"].replace("11,2,22,0,40", "11,2,22,0,41")
    other = planned(write(tmp_path / "other", studentRegistration=registrations, studentAssessment=scores))
    done = await imported(platform, other)
    assert [(r.category, r.key, r.step, r.code, r.conflict) for r in done.refused] == [
        ("enrolments", ("aaa-2013j", "s2"), "", "id-reused", True),
        ("results", ("aaa-2013j", "s2", "11"), "assess", "id-reused", True),
    ]
    compared = await reconciled(platform, other, done)
    assert [(c.category, d.key) for c in compared.categories for d in c.unexplained] == [
        ("enrolments", ("aaa-2013j", "s2")),
        ("results", ("aaa-2013j", "s2", "11")),
    ]


async def test_a_retake_earns_its_credit_on_its_own_cohort_and_not_on_the_one_that_was_left(tmp_path: Path) -> None:
    added = {
        "courses": "BBB,2013J,268\n",
        "assessments": "BBB,2013J,31,TMA,19,100\n",
        "studentInfo": "BBB,2013B,2,0,60,Withdrawn\nBBB,2013J,2,1,60,Pass\n",
        "studentRegistration": "BBB,2013B,2,-9,40\nBBB,2013J,2,-9,\n",
        "studentAssessment": "21,2,19,0,80\n31,2,19,0,80\n",
    }
    made = planned(write(tmp_path, **{name: SAMPLE[f"{name}.csv"] + rows for name, rows in added.items()}))
    platform = Platform()
    done = await imported(platform, made)
    held = await answers(platform, made, done)
    assert [key for key in held.awards if key[1] == "s2"] == [("bbb-2013j", "s2")]
    assert held.standings["bbb-2013b", "s2"] == Standing("withdrawn", Decimal(0))
    assert held.standings["bbb-2013j", "s2"] == Standing("placed", Decimal(60))
    assert (await reconciled(platform, made, done)).unexplained == 0
    # Also when only the cohort that was left is looked at.
    only = planned(tmp_path, "BBB-2013B")
    assert (await reconciled(platform, only, await imported(platform, only))).unexplained == 0


async def test_one_real_presentation_reconciles_without_an_unexplained_difference(oulad_folder: Path) -> None:
    made = planned(oulad_folder, "AAA-2013J")
    platform = Platform()
    done = await imported(platform, made)
    compared = await reconciled(platform, made, done)
    assert compared.unexplained == 0
    assert {c.category: (c.in_files, c.found) for c in compared.categories} == {
        "enrolments": (383, 383),
        "withdrawals": (60, 60),
        "results": (1956, 1956),
        "carried-over": (0, 0),
        "awards": (278, 278),
        "standings": (383, 383),
    }
