"""The comparison: what agrees, what a row not taken explains, and that every planted difference is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cli.tests.oulad.samples import write
from credence_cli.oulad import files, mapping, plan
from credence_cli.oulad.importer import Refused
from credence_cli.oulad.plan import Category, Key, Plan
from credence_cli.oulad.reconcile import Answers, Award, Compared, Reconciled, Result, Standing, compare, expected

A = "aaa-2013j"


@pytest.fixture
def made(tmp_path: Path) -> Plan:
    return plan.make(files.read(write(tmp_path)), mapping.load())


def refused(category: Category, key: Key, step: str = "", *, conflict: bool = False) -> Refused:
    return Refused(category, key, "file.csv:2", step, "some-code", "because", conflict)


def unexplained(found: Reconciled) -> dict[str, list[tuple[str, str, str]]]:
    return {
        c.category: [("/".join(d.key), d.expected, d.found) for d in c.unexplained]
        for c in found.categories
        if c.unexplained
    }


def test_a_platform_that_holds_what_was_sent_has_no_difference(made: Plan) -> None:
    wanted = expected(made, [])
    found = compare(wanted, wanted.answers)
    assert found.unexplained == 0
    counts = {c.category: (c.in_files, c.expected, c.found, len(c.not_taken)) for c in found.categories}
    assert counts == {
        "enrolments": (7, 6, 6, 1),
        "withdrawals": (3, 2, 2, 1),
        "results": (14, 11, 11, 3),
        "carried-over": (2, 1, 1, 1),
        "awards": (3, 2, 2, 1),
        "standings": (6, 6, 6, 0),
    }
    assert [(c.programme, c.expected, c.found) for c in found.credits] == [
        ("oulad-aaa", Decimal(60), Decimal(60)),
        ("oulad-bbb", Decimal(60), Decimal(60)),
    ]


def without(of: Mapping[Key, Any], key: Key) -> dict[Key, Any]:
    assert key in of
    return {k: v for k, v in of.items() if k != key}


PLANTED: dict[str, tuple[Callable[[Answers], Answers], Compared, tuple[str, str, str]]] = {
    "a missing enrolment": (
        lambda a: replace(a, enrolments=without(a.enrolments, (A, "s2"))),
        "enrolments",
        (f"{A}/s2", "2013-08-09", ""),
    ),
    "an enrolment on another day": (
        lambda a: replace(a, enrolments={**a.enrolments, (A, "s2"): "2013-08-10"}),
        "enrolments",
        (f"{A}/s2", "2013-08-09", "2013-08-10"),
    ),
    "an enrolment nobody asked for": (
        lambda a: replace(a, enrolments={**a.enrolments, (A, "s9"): "2013-08-10"}),
        "enrolments",
        (f"{A}/s9", "", "2013-08-10"),
    ),
    "an enrolment that was left out and is there all the same": (
        lambda a: replace(a, enrolments={**a.enrolments, (A, "s5"): "2013-10-01"}),
        "enrolments",
        (f"{A}/s5", "", "2013-10-01"),
    ),
    "a missing withdrawal": (
        lambda a: replace(a, withdrawals=without(a.withdrawals, (A, "s3"))),
        "withdrawals",
        (f"{A}/s3", "2013-10-13", ""),
    ),
    "a withdrawal on another day": (
        lambda a: replace(a, withdrawals={**a.withdrawals, (A, "s3"): "2013-10-14"}),
        "withdrawals",
        (f"{A}/s3", "2013-10-13", "2013-10-14"),
    ),
    "a withdrawal where the files have no date": (
        lambda a: replace(a, withdrawals={**a.withdrawals, (A, "s4"): "2013-10-14"}),
        "withdrawals",
        (f"{A}/s4", "", "2013-10-14"),
    ),
    "a result that is another": (
        lambda a: replace(a, results={**a.results, (A, "s2", "11"): _result("failed", 40)}),
        "results",
        (
            f"{A}/s2/11",
            "passed 40 (submitted 2013-10-23, result 2013-10-23)",
            "failed 40 (submitted 2013-10-23, result 2013-10-23)",
        ),
    ),
    "a mark that is another": (
        lambda a: replace(a, results={**a.results, (A, "s2", "11"): _result("passed", 41)}),
        "results",
        (
            f"{A}/s2/11",
            "passed 40 (submitted 2013-10-23, result 2013-10-23)",
            "passed 41 (submitted 2013-10-23, result 2013-10-23)",
        ),
    ),
    "a submission on another day": (
        lambda a: replace(
            a, results={**a.results, (A, "s2", "11"): replace(_result("passed", 40), submitted_on=date(2013, 10, 22))}
        ),
        "results",
        (
            f"{A}/s2/11",
            "passed 40 (submitted 2013-10-23, result 2013-10-23)",
            "passed 40 (submitted 2013-10-22, result 2013-10-23)",
        ),
    ),
    "a result never given": (
        lambda a: replace(
            a, results={**a.results, (A, "s2", "11"): Result("submitted", None, date(2013, 10, 23), None)}
        ),
        "results",
        (
            f"{A}/s2/11",
            "passed 40 (submitted 2013-10-23, result 2013-10-23)",
            "submitted (submitted 2013-10-23, result -)",
        ),
    ),
    "a missing carried-over result": (
        lambda a: replace(a, carried_over={}),
        "carried-over",
        (f"{A}/s6/11", "passed 72 (submitted -, result 2013-09-30)", ""),
    ),
    "a missing award": (
        lambda a: replace(a, awards=without(a.awards, (A, "s1"))),
        "awards",
        (f"{A}/s1", "60 credits, confirmed", ""),
    ),
    "an award too many": (
        lambda a: replace(a, awards={**a.awards, (A, "s2"): Award("confirmed", Decimal(60))}),
        "awards",
        (f"{A}/s2", "", "60 credits, confirmed"),
    ),
    "an award never confirmed": (
        lambda a: replace(a, awards={**a.awards, (A, "s1"): Award("provisional", Decimal(60))}),
        "awards",
        (f"{A}/s1", "60 credits, confirmed", "60 credits, provisional"),
    ),
    "an award of other credits": (
        lambda a: replace(a, awards={**a.awards, (A, "s1"): Award("confirmed", Decimal(30))}),
        "awards",
        (f"{A}/s1", "60 credits, confirmed", "30 credits, confirmed"),
    ),
    "a standing that tells another story": (
        lambda a: replace(a, standings={**a.standings, (A, "s3"): Standing("placed", Decimal(0))}),
        "standings",
        (f"{A}/s3", "withdrawn, 0 credits", "placed, 0 credits"),
    ),
}


def _result(state: str, mark: int) -> Result:
    return Result(state, Decimal(mark), date(2013, 10, 23), date(2013, 10, 23))


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_difference_is_reported_and_only_it(made: Plan, planted: str) -> None:
    change, category, difference = PLANTED[planted]
    wanted = expected(made, [])
    found = compare(wanted, change(wanted.answers))
    assert unexplained(found) == {category: [difference]}
    wrong_credits = {"a missing award", "an award too many", "an award never confirmed", "an award of other credits"}
    assert found.unexplained == (2 if planted in wrong_credits else 1)


def test_a_refused_submission_explains_that_nothing_is_there(made: Plan) -> None:
    rows = [refused("results", (A, "s2", "11"), "submit"), refused("results", (A, "s2", "11"), "assess")]
    wanted = expected(made, rows)
    sent = expected(made, []).answers
    assert compare(wanted, replace(sent, results=without(sent.results, (A, "s2", "11")))).unexplained == 0
    # It explains nothing else: a result that is there although its row was refused is not what the row left behind.
    assert unexplained(compare(wanted, sent)) == {
        "results": [(f"{A}/s2/11", "", "passed 40 (submitted 2013-10-23, result 2013-10-23)")]
    }


def test_a_refused_result_explains_a_submission_that_waits(made: Plan) -> None:
    wanted = expected(made, [refused("results", (A, "s2", "11"), "assess")])
    sent = expected(made, []).answers
    waiting = Result("submitted", None, date(2013, 10, 23), None)
    found = compare(wanted, replace(sent, results={**sent.results, (A, "s2", "11"): waiting}))
    assert found.unexplained == 0
    (results,) = [c for c in found.categories if c.category == "results"]
    assert [(n.key, n.code, n.message) for n in results.not_taken if n.code == "some-code"] == [
        ((A, "s2", "11"), "some-code", "assess: because")
    ]
    assert results.in_files == 14


def test_a_refused_final_result_explains_a_missing_award_and_its_credits(made: Plan) -> None:
    wanted = expected(made, [refused("results", (A, "s1", "final"), "submit")])
    sent = expected(made, []).answers
    found = compare(
        wanted,
        replace(
            sent,
            results=without(sent.results, (A, "s1", "final")),
            awards=without(sent.awards, (A, "s1")),
            standings={**sent.standings, (A, "s1"): Standing("placed", Decimal(0))},
        ),
    )
    assert found.unexplained == 0
    (awards,) = [c for c in found.categories if c.category == "awards"]
    assert {(n.key, n.code) for n in awards.not_taken} == {((A, "s1"), "some-code"), ((A, "s5"), "no-enrolment")}


def test_a_conflict_explains_nothing(made: Plan) -> None:
    wanted = expected(made, [refused("enrolments", (A, "s2"), conflict=True)])
    sent = expected(made, []).answers
    found = compare(wanted, replace(sent, enrolments={**sent.enrolments, (A, "s2"): "2013-01-01"}))
    assert unexplained(found) == {"enrolments": [(f"{A}/s2", "2013-08-09", "2013-01-01")]}
