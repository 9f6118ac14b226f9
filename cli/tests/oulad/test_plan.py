"""From files to what is sent: one sentence for each kind of row, clean or dirty."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from cli.tests.oulad.samples import write
from credence_cli.oulad import files, mapping, plan
from credence_cli.oulad.plan import NotTaken, Plan, Work

A, B = "aaa-2013j", "bbb-2013b"


@pytest.fixture
def made(tmp_path: Path) -> Plan:
    return plan.make(files.read(write(tmp_path)), mapping.load())


def works(made: Plan, cohort: str, person: str) -> list[tuple[str, str | None, Decimal | None, bool]]:
    return [(w.component, w.result, w.mark, w.banked) for w in made.work[cohort, person]]


def missing(made: Plan) -> set[tuple[str, tuple[str, ...], str]]:
    return {(each.category, each.key, each.code) for each in made.left_out}


def test_each_presentation_is_a_cohort_of_its_own_programme_version(made: Plan) -> None:
    assert [(c.cohort, c.programme, c.version, c.starts_on, c.ends_on) for c in made.cohorts] == [
        (A, "oulad-aaa", 2, date(2013, 10, 1), date(2014, 6, 26)),
        (B, "oulad-bbb", 1, date(2013, 2, 1), date(2013, 9, 29)),
    ]


def test_a_student_of_two_presentations_is_one_person_with_two_enrolments(made: Plan) -> None:
    assert made.people == ("s1", "s2", "s3", "s4", "s6")
    assert [(e.cohort, e.on) for e in made.enrolments if e.person == "s1"] == [
        (A, date(2013, 4, 25)),
        (B, date(2013, 1, 30)),
    ]


def test_scores_pass_from_forty_on_and_the_final_result_comes_last_without_a_mark(made: Plan) -> None:
    assert works(made, A, "s1") == [
        ("11", "passed", Decimal(78), False),
        ("12", "failed", Decimal("39.5"), False),
        ("13", None, None, False),
        ("final", "passed", None, False),
    ]
    assert works(made, A, "s2") == [("11", "passed", Decimal(40), False), ("final", "failed", None, False)]
    assert made.work[A, "s1"][-1].on == date(2014, 6, 26)


def test_a_distinction_is_a_pass(made: Plan) -> None:
    assert works(made, B, "s1")[-1] == ("final", "passed", None, False)


def test_a_withdrawn_learner_keeps_what_was_submitted_and_has_no_final_result(made: Plan) -> None:
    (enrolment,) = [e for e in made.enrolments if e.person == "s3"]
    assert enrolment.withdrawn_on == date(2013, 10, 13)
    assert works(made, A, "s3") == [("11", "passed", Decimal(70), False)]


def test_a_withdrawal_without_a_date_is_listed_and_the_enrolment_stays(made: Plan) -> None:
    (enrolment,) = [e for e in made.enrolments if e.person == "s4"]
    assert enrolment.withdrawn_on is None
    assert ("withdrawals", (A, "s4"), "no-withdrawal-date") in missing(made)


def test_a_date_without_a_withdrawal_is_taken_and_so_is_the_result(made: Plan) -> None:
    (enrolment,) = [e for e in made.enrolments if e.person == "s6"]
    assert enrolment.withdrawn_on == date(2013, 10, 31)
    assert works(made, A, "s6") == [("11", "passed", Decimal(72), True), ("final", "failed", None, False)]


def test_a_carried_over_result_without_a_score_is_listed(made: Plan) -> None:
    assert ("carried-over", (A, "s6", "12"), "no-score") in missing(made)


def test_without_a_registration_date_nothing_of_the_learner_is_sent_and_everything_is_listed(made: Plan) -> None:
    assert (A, "s5") not in made.work
    assert {each for each in missing(made) if each[1][1] == "s5"} == {
        ("enrolments", (A, "s5"), "no-registration-date"),
        ("results", (A, "s5", "11"), "no-enrolment"),
        ("results", (A, "s5", "12"), "no-enrolment"),
        ("results", (A, "s5", "final"), "no-enrolment"),
        ("awards", (A, "s5"), "no-enrolment"),
    }


def test_every_row_left_out_names_its_line(made: Plan) -> None:
    for each in made.left_out:
        assert isinstance(each, NotTaken)
        file, _, line = each.where.partition(":")
        assert file.endswith(".csv")
        assert int(line) > 1


def test_one_presentation_brings_only_its_own_rows(tmp_path: Path) -> None:
    made = plan.make(files.read(write(tmp_path)), mapping.load(), ["BBB-2013B"])
    assert [c.cohort for c in made.cohorts] == [B]
    assert made.people == ("s1",)
    assert list(made.work) == [(B, "s1")]
    assert made.left_out == ()


def test_an_unknown_presentation_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(plan.UnknownPresentation, match="no presentation CCC-2014J; it has AAA-2013J, BBB-2013B"):
        plan.make(files.read(write(tmp_path)), mapping.load(), ["CCC-2014J", "AAA-2013J"])


def test_the_plan_is_the_same_for_the_same_files_in_any_order_of_reading(tmp_path: Path) -> None:
    again = [plan.make(files.read(write(tmp_path)), mapping.load()) for _ in range(2)]
    assert again[0] == again[1]
    assert all(isinstance(w, Work) for of in again[0].work.values() for w in of)
