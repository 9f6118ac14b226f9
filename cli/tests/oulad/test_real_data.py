"""The real files: every oddity counted twice, by the import and by these few lines that share nothing with it."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from credence_cli.oulad import mapping, oddities, plan
from credence_cli.oulad.files import Dataset

Table = list[dict[str, str]]


@pytest.fixture(scope="module")
def raw(oulad_folder: Path) -> dict[str, Table]:
    tables = {}
    for name in ("courses", "assessments", "studentInfo", "studentRegistration", "studentAssessment"):
        with (oulad_folder / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
            tables[name] = list(csv.DictReader(stream))
    return tables


def course(row: dict[str, str]) -> tuple[str, str]:
    return row["code_module"], row["code_presentation"]


def counted_by_hand(raw: dict[str, Table]) -> dict[str, int]:
    assessments = {a["id_assessment"]: a for a in raw["assessments"]}
    registered = {(*course(r), r["id_student"]): r for r in raw["studentRegistration"]}
    ended = {(*course(i), i["id_student"]): i["final_result"] for i in raw["studentInfo"]}
    submitted = [
        (s, assessments[s["id_assessment"]], registered[*course(assessments[s["id_assessment"]]), s["id_student"]])
        for s in raw["studentAssessment"]
    ]
    fresh = [row for row in submitted if row[0]["is_banked"] == "0"]
    banked = [row for row in submitted if row[0]["is_banked"] == "1"]

    def early(row: tuple[dict[str, str], dict[str, str], dict[str, str]]) -> bool:
        return row[2]["date_registration"] != "" and int(row[0]["date_submitted"]) < int(row[2]["date_registration"])

    weights: Counter[tuple[str, str, bool]] = Counter()
    for a in raw["assessments"]:
        weights[*course(a), a["assessment_type"] == "Exam"] += float(a["weight"])  # type: ignore[assignment]
    return {
        "registrations-without-date": sum(not r["date_registration"] for r in registered.values()),
        "withdrawals-without-date": sum(
            ended[k] == "Withdrawn" and not r["date_unregistration"] for k, r in registered.items()
        ),
        "dates-without-withdrawal": sum(
            ended[k] != "Withdrawn" and r["date_unregistration"] != "" for k, r in registered.items()
        ),
        "withdrawn-on-registration-day": sum(
            r["date_registration"] == r["date_unregistration"] != "" for r in registered.values()
        ),
        "blank-scores": sum(not s["score"] for s, _, _ in fresh),
        "banked": len(banked),
        "banked-without-score": sum(not s["score"] for s, _, _ in banked),
        "banked-before-registration": sum(map(early, banked)),
        "submitted-late": sum(a["date"] != "" and int(s["date_submitted"]) > int(a["date"]) for s, a, _ in fresh),
        "submitted-before-registration": sum(map(early, fresh)),
        "submitted-after-withdrawal": sum(
            r["date_unregistration"] != "" and int(s["date_submitted"]) >= int(r["date_unregistration"])
            for s, _, r in submitted
        ),
        "weights-not-100": sum(
            not (weights[*course(c), True] == 100 and weights[*course(c), False] == 100) for c in raw["courses"]
        ),
        "assessments-without-date": sum(not a["date"] for a in raw["assessments"]),
        "retakes": sum(i["num_of_prev_attempts"] != "0" for i in raw["studentInfo"]),
        "distinctions": sum(result == "Distinction" for result in ended.values()),
    }


def test_every_oddity_is_counted_as_the_files_have_it(dataset: Dataset, raw: dict[str, Table]) -> None:
    found = oddities.count(dataset)
    assert found == counted_by_hand(raw)
    # A file without any dirt would make the line above pass for nothing.
    assert {name for name, n in found.items() if n == 0} == {"submitted-before-registration"}


def test_the_oddities_of_the_presentations_add_up_to_those_of_the_whole(dataset: Dataset) -> None:
    parts = [oddities.count(dataset, [code]) for code in dataset.courses]
    assert {name: sum(part[name] for part in parts) for name in parts[0]} == oddities.count(dataset)


def test_every_row_of_the_files_is_sent_or_listed_with_its_reason(
    dataset: Dataset, raw: dict[str, Table], assumed: mapping.Mapping
) -> None:
    made = plan.make(dataset, assumed)
    left_out = Counter((each.category, each.code) for each in made.left_out)
    works = [work for of_learner in made.work.values() for work in of_learner]
    submissions = [w for w in works if w.component != mapping.FINAL]
    finals = [w for w in works if w.component == mapping.FINAL]

    def skipped(category: str) -> int:
        return sum(n for (of, _), n in left_out.items() if of == category)

    listed_finals = sum(n.key[-1] == mapping.FINAL for n in made.left_out if n.category == "results")
    assert len(made.enrolments) + skipped("enrolments") == len(raw["studentRegistration"])
    assert len(submissions) + skipped("results") - listed_finals + skipped("carried-over") == len(
        raw["studentAssessment"]
    )
    not_withdrawn = [i for i in raw["studentInfo"] if i["final_result"] != "Withdrawn"]
    assert len(finals) + listed_finals == len(not_withdrawn)
    hand = counted_by_hand(raw)
    dated = sum(r["date_unregistration"] != "" for r in raw["studentRegistration"])
    withdrawn = sum(e.withdrawn_on is not None for e in made.enrolments)
    assert withdrawn + skipped("withdrawals") == dated + hand["withdrawals-without-date"]
    assert left_out["enrolments", "no-registration-date"] == hand["registrations-without-date"]
    assert left_out["carried-over", "no-score"] == hand["banked-without-score"]
    assert len(made.people) == len({e.person for e in made.enrolments})


def test_every_programme_of_the_real_data_has_no_fault(dataset: Dataset, assumed: mapping.Mapping) -> None:
    made = plan.make(dataset, assumed)
    assert len(made.programmes) == len(dataset.courses)
    assert {p.id for p in made.programmes} == {f"oulad-{c.module.lower()}" for c in dataset.courses.values()}
    assert sum(len(p.assessments) - 1 for p in made.programmes) == len(dataset.assessments)
