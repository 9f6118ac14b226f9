"""A rule version names a rule and nothing else."""

from pathlib import Path

from catalogue import Programme, rule_version
from catalogue.files import check_contents

R14 = Path(__file__).resolve().parents[3] / "catalogue" / "r14-commissioners-course.yaml"


def load(*edits: tuple[str, str]) -> Programme:
    text = R14.read_text(encoding="utf-8")
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    (programme,) = check_contents({"a.yaml": text.encode()}).programmes.values()
    return programme


def test_a_new_programme_version_with_the_same_rule_keeps_its_rule_version() -> None:
    first, second = load(), load(("version: 1", "version: 2"), ("notional_hours: 200", "notional_hours: 210"))
    assert [rule_version(award) for award in first.awards] == [rule_version(award) for award in second.awards]


def test_a_default_that_is_written_out_is_the_same_rule_and_another_threshold_is_not() -> None:
    rule = rule_version(load().awards[1])
    assert rule_version(load(("late: counts, ", "")).awards[1]) == rule
    assert rule_version(load(("at_least: 0.5\n", "at_least: 0.6\n")).awards[1]) != rule
