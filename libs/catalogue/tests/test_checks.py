"""Checks that run without a file, as enrolment runs them before it loads a version."""

from __future__ import annotations

from typing import Any

from catalogue import Programme, cross_faults, faults
from catalogue.limits import RULE_DEPTH_MAX, RULE_NODES_MAX

PASSED = {"check": "assessment-passed", "component": "exam"}
CREDIT = {"credits": 20, "scheme": "CATS", "level": 7, "ects": 10, "transferable": True}


def award(award_id: str, **fields: Any) -> dict[str, Any]:
    whole = {"title": "Award", "kind": "credit", "confirmation": "board", "rule": PASSED, "credit": CREDIT}
    return {"id": award_id, **whole, **fields}


def programme(*awards: dict[str, Any], **fields: Any) -> Programme:
    return Programme.model_validate(
        {
            "credence": 1,
            "id": "sample",
            "version": 1,
            "title": "Sample",
            "owner": {"id": "owner", "title": "Owner"},
            "awarding_body": {"id": "body", "title": "Body"},
            "duration": {"min_months": 1, "max_months": 12},
            "assessments": [{"id": "exam", "title": "Exam", "kind": "exam"}],
            "awards": awards,
            **fields,
        }
    )


def codes(a_programme: Programme) -> list[str]:
    return [fault.code for fault in faults(a_programme)]


def test_under_a_cap_each_credit_award_has_a_rank_of_its_own() -> None:
    assert codes(programme(award("a", rank=1), award("b", rank=2), credit_cap=30)) == []
    found = faults(programme(award("a", rank=1), award("b", rank=1), credit_cap=30))
    assert [(fault.code, fault.path) for fault in found] == [("rank-taken", ("awards", 1, "rank"))]


def test_credit_needs_an_assessment_on_every_way_through_its_rule() -> None:
    free = {"check": "always"}
    assert codes(programme(award("a", rule={"check": "at-least", "at_least": 2, "of": [free, PASSED]}))) == []
    assert codes(programme(award("a", rule={"check": "at-least", "at_least": 1, "of": [free, PASSED]}))) == [
        "credit-without-assessment"
    ]
    assert codes(programme(award("a", rule={"check": "any-of", "of": [PASSED, PASSED]}))) == []


def test_a_qualification_is_completed_only_by_all_its_credits() -> None:
    claimed = {"title": "Postgraduate Certificate", "claim": "completed", "credits": 60, "of_which": 40, "level": 7}
    sixty = {"check": "credits", "at_least": 60, "of_which": 40, "level": 7}
    whole = {"kind": "completion", "credit": None, "qualification": claimed}
    assert codes(programme(award("a", qualification=claimed))) == ["qualification-not-earned"]
    assert codes(programme(award("a", **whole, rule=sixty))) == []
    assert codes(programme(award("a", **whole, rule={**sixty, "of_which": 30}))) == ["qualification-not-earned"]
    assert codes(programme(award("a", **whole, rule={"check": "any-of", "of": [sixty, PASSED]}))) == [
        "qualification-not-earned"
    ]


def test_a_rule_as_deep_as_a_well_is_refused() -> None:
    rule: dict[str, Any] = PASSED
    for _ in range(RULE_DEPTH_MAX - 1):
        rule = {"check": "all-of", "of": [rule]}
    assert codes(programme(award("a", rule=rule))) == []
    assert codes(programme(award("a", rule={"check": "all-of", "of": [rule]}))) == ["rule-too-large"]


def test_a_rule_as_broad_as_a_register_is_refused() -> None:
    def rule(nodes: int) -> dict[str, Any]:
        """The root and four groups, the last of which has the rest."""
        sizes = [50, 50, 50, nodes - 5 - 150]
        return {"check": "all-of", "of": [{"check": "all-of", "of": [PASSED] * size} for size in sizes]}

    assert codes(programme(award("a", rule=rule(RULE_NODES_MAX)))) == []
    assert codes(programme(award("a", rule=rule(RULE_NODES_MAX + 1)))) == ["rule-too-large"]


def test_completion_may_rest_on_nothing_at_all() -> None:
    free = award("a", kind="completion", credit=None, confirmation="automatic", rule={"check": "always"})
    assert codes(programme(free, awarding_body=None)) == []


def test_credit_awards_that_count_in_a_ring_are_a_cycle() -> None:
    def counting(other: str) -> dict[str, Any]:
        held = {"check": "credits", "at_least": 1, "from_awards": [{"programme": "sample", "award": other}]}
        return {"check": "all-of", "of": [PASSED, held]}

    ring = programme(award("a", rule=counting("b")), award("b", rule=counting("c")), award("c", rule=counting("a")))
    assert [(fault.code, fault.path) for fault in faults(ring)] == [
        ("award-cycle", ("awards", i, "rule")) for i in range(3)
    ]
    chain = programme(award("a", rule=counting("b")), award("b", rule=counting("c")), award("c"))
    assert faults(chain) == []
    assert cross_faults([chain]) == []


def test_the_same_version_twice_is_told_of_the_later_one() -> None:
    one = programme(award("a"))
    assert [(i, fault.code) for i, fault in cross_faults([one, one])] == [(1, "duplicate-version")]
