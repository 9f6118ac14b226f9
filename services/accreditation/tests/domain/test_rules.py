"""Rules decided and explained: each kind of rule as a sentence, and what must hold of every tree over any facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from accreditation.domain.rules import (
    Attendance,
    AttendanceState,
    CohortSession,
    Explanation,
    HeldCredit,
    Meeting,
    Passed,
    RuleFacts,
    UnscheduledUnit,
    Window,
    explain,
)
from catalogue.model import AttributeValue, AwardReference, Programme, Rule
from catalogue.testing import rules

START = date(2024, 10, 1)
YEAR = Window(START, date(2025, 10, 1))
NEVER = "this can no longer be reached"

PROGRAMME = Programme.model_validate(
    {
        "credence": 1,
        "id": "sample",
        "version": 1,
        "title": "Sample programme",
        "owner": {"id": "owner", "title": "Owner"},
        "duration": {"min_months": 12, "max_months": 12},
        "modules": [{"id": "risk", "title": "Risk"}, {"id": "context", "title": "Context"}],
        "unit_kinds": [
            {"id": "day", "title": "Residential day", "kind": "scheduled", "unit": "day", "units": "days"},
            {
                "id": "placement",
                "title": "Placement",
                "kind": "unscheduled",
                "unit": "placement",
                "units": "placements",
                "minutes": 400,
                "attributes": [{"id": "sector", "title": "Sector", "values": ["public", "private"]}],
            },
        ],
        "assessments": [{"id": "project", "title": "Project", "kind": "project", "max_attempts": 2}],
        "excuse_codes": [
            {"id": "illness", "title": "Illness", "treatment": "absent"},
            {"id": "inspection", "title": "Inspection", "treatment": "counts"},
            {"id": "provider-fault", "title": "Provider's fault", "treatment": "leaves-denominator"},
        ],
        "mentoring": {
            "shortlist": 3,
            "choices": 1,
            "meetings": 8,
            "within_months": 12,
            "mentor_standing": {"programme": "standing", "award": "standing"},
        },
        "awards": [
            {
                "id": "done",
                "title": "Done",
                "kind": "completion",
                "confirmation": "automatic",
                "rule": {"check": "always"},
            }
        ],
    }
)

_RULE: TypeAdapter[Rule] = TypeAdapter(Rule)


def rule(check: str, **fields: Any) -> Rule:
    return _RULE.validate_python({"check": check, **fields})


def days(count: int, *, module: str | None = None, cancelled: int = 0) -> tuple[CohortSession, ...]:
    """Days of 360 minutes, a week apart; the last `cancelled` of them are cancelled."""
    return tuple(
        CohortSession(f"d{i}", "day", START + timedelta(weeks=i), 360, module, cancelled=i >= count - cancelled)
        for i in range(count)
    )


def mark(i: int, state: Any, minutes: int | None = None, excuse: str | None = None) -> Attendance:
    return Attendance(f"enrolment-c--p@{i + 2}", f"d{i}", state, minutes, excuse)


def facts(now: date = START + timedelta(weeks=4), placed_on: date | None = START, **fields: Any) -> RuleFacts:
    """Of a learner placed from the first day, unless they say otherwise."""
    return RuleFacts(now=now, window=YEAR, placed_on=placed_on, **fields)


def decided(a_rule: Rule, some: RuleFacts) -> Explanation:
    return explain(a_rule, PROGRAMME, some)


def codes(explanation: Explanation) -> list[str]:
    return [missing.code for missing in explanation.missing]


# Attendance


def test_units_attended_are_counted_and_the_shortfall_is_said_in_words() -> None:
    told = decided(
        rule("attended", unit_kind="day", at_least=3),
        facts(sessions=days(4), attendances=(mark(0, "present"), mark(1, "absent"))),
    )
    assert (told.satisfied, told.have, told.need, told.unit) == (False, Decimal(1), Decimal(3), "days")
    assert told.counted == ("enrolment-c--p@2",)
    assert [missing.text for missing in told.missing] == ["2 more days", "2 days held and not marked yet"]
    assert told.possible


@pytest.mark.parametrize(("late", "have"), [("counts", 1), ("counts-not", 0)])
def test_whether_late_counts_is_the_rules_to_say(late: str, have: int) -> None:
    told = decided(
        rule("attended", unit_kind="day", at_least=1, treatment={"late": late}),
        facts(sessions=days(1), attendances=(mark(0, "late"),)),
    )
    assert told.have == have


@pytest.mark.parametrize(
    ("treatment", "minutes", "have"),
    [
        ({"partial": "proportional"}, 90, "0.25"),
        ({"partial": "proportional"}, 120, "0.3333"),
        ({"partial": "proportional"}, 999, "1"),
        ({"partial": "threshold", "threshold_minutes": 180}, 180, "1"),
        ({"partial": "threshold", "threshold_minutes": 180}, 179, "0"),
        ({"partial": "threshold", "threshold_share": "0.5"}, 180, "1"),
        ({"partial": "threshold", "threshold_share": "0.5"}, 179, "0"),
        ({"partial": "not"}, 359, "0"),
    ],
)
def test_partial_attendance_is_worth_what_the_rule_says(treatment: dict[str, Any], minutes: int, have: str) -> None:
    told = decided(
        rule("attended", unit_kind="day", at_least=1, treatment=treatment),
        facts(sessions=days(1), attendances=(mark(0, "partial", minutes),)),
    )
    assert told.have == Decimal(have)


def test_three_thirds_of_a_day_are_a_day_and_not_a_little_less() -> None:
    told = decided(
        rule("attended", unit_kind="day", at_least=1),
        facts(sessions=days(3), attendances=tuple(mark(i, "partial", 120) for i in range(3))),
    )
    assert (told.satisfied, told.have) == (True, Decimal(1))


@pytest.mark.parametrize(
    ("excused", "code", "have", "need"),
    [
        ("counts", "illness", 3, "2"),
        ("absent", "inspection", 2, "2"),
        ("leaves-denominator", "illness", 2, "1.5"),
        ("by-code", "illness", 2, "2"),
        ("by-code", "inspection", 3, "2"),
        ("by-code", "provider-fault", 2, "1.5"),
        ("by-code", "never-heard-of", 2, "2"),
    ],
)
def test_an_excuse_counts_leaves_the_denominator_or_is_absent(excused: str, code: str, have: int, need: str) -> None:
    told = decided(
        rule("share-of-sessions", unit_kind="day", at_least="0.5", treatment={"excused": excused}),
        facts(
            sessions=days(4),
            attendances=(mark(0, "present"), mark(1, "present"), mark(2, "excused", excuse=code)),
        ),
    )
    assert (told.have, told.need) == (Decimal(have), Decimal(need))


def test_a_cancelled_session_leaves_the_denominator_and_a_mark_on_it_counts_nothing() -> None:
    told = decided(
        rule("share-of-sessions", at_least="1"),
        facts(sessions=days(3, cancelled=1), attendances=(mark(0, "present"), mark(1, "present"), mark(2, "present"))),
    )
    assert (told.satisfied, told.have, told.need) == (True, Decimal(2), Decimal(2))
    assert len(told.counted) == 2


def test_unmarked_is_not_absent_a_held_session_may_still_be_marked() -> None:
    a_rule = rule("attended", unit_kind="day", at_least=2)
    held = facts(now=YEAR.last + timedelta(days=30), sessions=days(2), attendances=(mark(0, "present"),))
    assert decided(a_rule, held).possible
    absent = replace(held, attendances=(*held.attendances, mark(1, "absent")))
    told = decided(a_rule, absent)
    assert not told.possible
    assert codes(told) == ["units-short", "no-longer-possible"]


def test_only_sessions_from_the_placing_on_may_still_be_marked() -> None:
    a_rule = rule("attended", unit_kind="day", at_least=2)
    late = facts(sessions=days(5), placed_on=START + timedelta(weeks=3))
    told = decided(a_rule, replace(late, now=YEAR.last))
    assert [missing.text for missing in told.missing] == ["2 more days", "2 days held and not marked yet"]
    assert told.possible, "the day of the placing is one of them"
    a_day_later = decided(a_rule, replace(late, now=YEAR.last, placed_on=START + timedelta(weeks=3, days=1)))
    assert codes(a_day_later) == ["units-short", "register-outstanding", "no-longer-possible"]


def test_registers_of_the_days_before_a_withdrawal_are_still_due_and_no_others() -> None:
    a_rule = rule("share-of-sessions", unit_kind="day", at_least="0.4")
    left = facts(sessions=days(5), withdrawn_on=START + timedelta(weeks=2, days=1), now=YEAR.last)
    told = decided(a_rule, replace(left, attendances=(mark(0, "present"),)))
    assert [missing.text for missing in told.missing] == ["1 more day", "2 days held and not marked yet"]
    assert told.possible
    on_the_last_day = replace(left, withdrawn_on=START + timedelta(weeks=1))
    told = decided(a_rule, on_the_last_day)
    assert [missing.text for missing in told.missing][1:] == ["1 day held and not marked yet", NEVER]


def test_without_a_place_no_register_is_outstanding_and_all_is_possible_until_the_learner_leaves() -> None:
    a_rule = rule("attended", unit_kind="day", at_least=2)
    waiting = facts(sessions=days(5), placed_on=None)
    assert codes(decided(a_rule, waiting)) == ["units-short"]
    assert codes(decided(a_rule, replace(waiting, withdrawn_on=YEAR.last))) == ["units-short", "no-longer-possible"]


def test_a_share_of_no_session_is_never_reached() -> None:
    told = decided(rule("share-of-sessions", at_least="0.0001"), facts())
    assert (told.satisfied, told.possible) == (False, True)


def test_a_rule_for_a_module_counts_the_modules_sessions_only() -> None:
    sessions = (*days(2, module="risk"), CohortSession("other", "day", START, 360, "context"))
    told = decided(
        rule("share-of-sessions", module="risk", at_least="1"),
        facts(sessions=sessions, attendances=(mark(0, "present"), mark(1, "present"))),
    )
    assert (told.satisfied, told.need) == (True, Decimal(2))


def test_an_unscheduled_unit_counts_where_its_attribute_is_right_and_its_day_in_the_window() -> None:
    def unit(n: int, sector: str, on: date = START) -> UnscheduledUnit:
        return UnscheduledUnit(f"e@{n}", "placement", on, "present", attributes=(("sector", sector),))

    a_rule = rule("attended", unit_kind="placement", where=[{"attribute": "sector", "value": "public"}], at_least=2)
    some = facts(unscheduled=(unit(1, "public"), unit(2, "private"), unit(3, "public", YEAR.last + timedelta(days=1))))
    told = decided(a_rule, some)
    assert (told.have, told.counted, told.possible) == (Decimal(1), ("e@1",), True)
    assert not decided(a_rule, replace(some, now=YEAR.last + timedelta(days=1))).possible
    assert decided(a_rule, replace(some, now=YEAR.last)).possible


def test_an_unscheduled_unit_of_another_module_does_not_count_for_a_module() -> None:
    units = tuple(
        UnscheduledUnit(f"e@{n}", "placement", START, "present", module)
        for n, module in enumerate(["risk", "context", None])
    )
    told = decided(rule("attended", unit_kind="placement", module="risk", at_least=1), facts(unscheduled=units))
    assert told.counted == ("e@0",)


@pytest.mark.parametrize(
    ("length", "minutes", "have"), [(800, 400, "0.5"), (300, 150, "0.5"), (60, 30, "0.5"), (None, 100, "0.25")]
)
def test_a_partial_record_is_measured_against_its_own_length_and_its_kinds_where_it_states_none(
    length: int | None, minutes: int, have: str
) -> None:
    unit = UnscheduledUnit("e@1", "placement", START, "partial", minutes=minutes, length=length)
    assert decided(rule("attended", unit_kind="placement", at_least=1), facts(unscheduled=(unit,))).have == Decimal(
        have
    )


def test_an_excuse_that_lowered_the_need_is_among_the_facts_that_count() -> None:
    a_rule = rule("share-of-sessions", at_least="0.5")
    some = facts(sessions=days(3), attendances=(mark(0, "present"), mark(1, "excused", excuse="provider-fault")))
    told = decided(a_rule, some)
    assert (told.satisfied, told.counted) == (True, ("enrolment-c--p@2", "enrolment-c--p@3"))
    assert not decided(a_rule, only(some, {"enrolment-c--p@2"})).satisfied


def test_two_current_marks_of_one_session_are_refused_loudly() -> None:
    with pytest.raises(ValueError, match="two current marks"):
        facts(sessions=days(1), attendances=(mark(0, "present"), mark(0, "absent")))


# Meetings, assessments, credits


def test_eight_meetings_count_within_twelve_calendar_months_of_the_match_the_last_day_included() -> None:
    matched = date(2024, 3, 1)
    meetings = tuple(Meeting(f"m@{i}", matched + timedelta(days=30 * i)) for i in range(7))
    a_rule = rule("meetings-held", at_least=8, within_months=12)
    on_the_last_day = facts(matched_on=matched, meetings=(*meetings, Meeting("m@8", date(2025, 3, 1))))
    assert decided(a_rule, on_the_last_day).satisfied
    a_day_late = facts(matched_on=matched, meetings=(*meetings, Meeting("m@8", date(2025, 3, 2))))
    told = decided(a_rule, a_day_late)
    assert (told.satisfied, told.have) == (False, Decimal(7))
    assert [missing.text for missing in told.missing] == ["1 more meeting, by 2025-03-01"]
    assert not decided(a_rule, replace(a_day_late, now=date(2025, 3, 2))).possible


def test_without_a_match_no_meeting_counts_yet_and_all_are_possible() -> None:
    told = decided(rule("meetings-held", at_least=1, within_months=12), facts(meetings=(Meeting("m@1", START),)))
    assert (told.have, told.possible) == (Decimal(0), True)


def test_a_carried_over_pass_counts_only_where_the_rule_says_so() -> None:
    some = facts(passed=(Passed("a@5", "project", carried_over=True),))
    assert decided(rule("assessment-passed", component="project", carried_over=True), some).counted == ("a@5",)
    told = decided(rule("assessment-passed", component="project"), some)
    assert not told.satisfied
    assert codes(told) == ["assessment-not-passed", "carried-over-not-counted"]


def test_with_no_attempt_left_a_pass_is_no_longer_possible() -> None:
    a_rule = rule("assessment-passed", component="project")
    assert decided(a_rule, facts()).possible
    told = decided(a_rule, facts(exhausted=frozenset({"project"})))
    assert not told.possible
    assert codes(told) == ["assessment-not-passed", "no-attempt-left", "no-longer-possible"]


def credit(n: int, worth: str, level: int, programme: str = "other") -> HeldCredit:
    return HeldCredit(f"credit-p@{n}", programme, "award", Decimal(worth), level)


@pytest.mark.parametrize(
    ("held", "satisfied", "have", "missing"),
    [
        ([("20", 7), ("20", 7), ("20", 6)], True, "60", []),
        ([("20", 7), ("40", 6)], False, "40", ["credits-short", "credits-short-at-level"]),
        ([("40", 7)], False, "40", ["credits-short"]),
        ([("60", 7)], True, "60", []),
        ([("60", 6)], False, "20", ["credits-short", "credits-short-at-level"]),
    ],
)
def test_sixty_credits_of_which_forty_at_level_seven(
    held: list[tuple[str, int]], satisfied: bool, have: str, missing: list[str]
) -> None:
    told = decided(
        rule("credits", at_least=60, of_which=40, level=7),
        facts(credits=tuple(credit(n, worth, level) for n, (worth, level) in enumerate(held))),
    )
    assert (told.satisfied, told.have, told.need, codes(told)) == (satisfied, Decimal(have), Decimal(60), missing)


def test_a_tenth_of_a_credit_added_ten_times_is_a_credit() -> None:
    told = decided(rule("credits", at_least=1), facts(credits=tuple(credit(n, "0.1", 7) for n in range(10))))
    assert (told.satisfied, told.have) == (True, Decimal(1))


def test_credits_of_other_awards_do_not_count_where_awards_are_named() -> None:
    a_rule = rule("credits", at_least=20, from_awards=[{"programme": "other", "award": "award"}])
    told = decided(a_rule, facts(credits=(credit(1, "20", 7), credit(2, "20", 7, programme="third"))))
    assert (told.have, told.counted) == (Decimal(20), ("credit-p@1",))


# Groups


def test_no_condition_is_met_by_nothing_at_all() -> None:
    told = decided(rule("always"), RuleFacts(now=START, withdrawn_on=START))
    assert (told.satisfied, told.have, told.need, told.counted) == (True, Decimal(0), Decimal(0), ())


def test_a_learner_who_left_can_earn_nothing_more() -> None:
    some = facts(sessions=days(3), withdrawn_on=START)
    for a_rule in (
        rule("attended", unit_kind="day", at_least=1),
        rule("attended", unit_kind="placement", at_least=1),
        rule("share-of-sessions", at_least="0.5"),
        rule("meetings-held", at_least=1),
        rule("assessment-passed", component="project"),
        rule("credits", at_least=1),
    ):
        assert not decided(a_rule, some).possible


def test_a_group_is_possible_while_enough_of_its_conditions_are() -> None:
    lost = {"check": "assessment-passed", "component": "project"}
    open_ = {"check": "attended", "unit_kind": "placement", "at_least": 1}
    some = facts(exhausted=frozenset({"project"}))
    assert not decided(rule("all-of", of=[lost, open_]), some).possible
    assert decided(rule("any-of", of=[lost, open_]), some).possible
    assert decided(rule("at-least", at_least=1, of=[lost, open_]), some).possible
    assert not decided(rule("at-least", at_least=2, of=[lost, open_]), some).possible


def test_titles_are_the_catalogues_where_it_has_one_and_general_words_elsewhere() -> None:
    told = decided(rule("any-of", of=[{"check": "always", "title": "Just come"}]), facts())
    assert (told.title, told.children[0].title) == ("Any of these", "Just come")


# What holds of every tree over any facts

STATES: st.SearchStrategy[AttendanceState] = st.sampled_from(["present", "late", "partial", "excused", "absent"])
EXCUSES = st.sampled_from([None, "illness", "inspection", "provider-fault"])
DAYS = st.integers(-30, 500).map(lambda days_later: START + timedelta(days=days_later))
ANY_RULE = rules(
    unit_kinds=["day", "placement"],
    modules=["risk", "context"],
    components=["project", "exam"],
    where=[AttributeValue(attribute="sector", value="public"), AttributeValue(attribute="sector", value="private")],
    references=[AwardReference(programme="other", award="award")],
)


@st.composite
def any_facts(draw: st.DrawFn) -> RuleFacts:
    sessions = tuple(
        CohortSession(
            f"d{i}",
            "day",
            draw(DAYS),
            draw(st.integers(1, 600)),
            draw(st.sampled_from([None, "risk", "context"])),
            draw(st.integers(0, 5)) == 0,
        )
        for i in range(draw(st.integers(0, 7)))
    )
    number = iter(range(1000))

    def event(stream: str) -> str:
        return f"{stream}@{next(number)}"

    return RuleFacts(
        now=draw(DAYS),
        window=draw(st.sampled_from([None, YEAR])),
        sessions=sessions,
        attendances=tuple(
            Attendance(event("e"), each.id, draw(STATES), draw(st.integers(0, 700)), draw(EXCUSES))
            for each in sessions
            if draw(st.booleans())
        ),
        unscheduled=tuple(
            UnscheduledUnit(
                event("e"),
                "placement",
                draw(DAYS),
                draw(STATES),
                draw(st.sampled_from([None, "risk"])),
                draw(st.integers(0, 700)),
                draw(EXCUSES),
                (("sector", draw(st.sampled_from(["public", "private"]))),),
                draw(st.sampled_from([None, 60, 800])),
            )
            for _ in range(draw(st.integers(0, 4)))
        ),
        passed=tuple(
            Passed(event("a"), draw(st.sampled_from(["project", "exam"])), draw(st.booleans()))
            for _ in range(draw(st.integers(0, 2)))
        ),
        exhausted=draw(st.frozensets(st.sampled_from(["project", "exam"]))),
        meetings=tuple(Meeting(event("m"), draw(DAYS)) for _ in range(draw(st.integers(0, 6)))),
        matched_on=draw(st.none() | DAYS),
        credits=tuple(
            HeldCredit(
                event("c"),
                draw(st.sampled_from(["other", "third"])),
                "award",
                draw(st.decimals("0.5", "300", places=1)),
                draw(st.integers(4, 8)),
            )
            for _ in range(draw(st.integers(0, 4)))
        ),
        placed_on=draw(st.none() | DAYS),
        withdrawn_on=draw(st.none() | DAYS),
    )


def nodes(explanation: Explanation) -> list[Explanation]:
    return [explanation, *(node for child in explanation.children for node in nodes(child))]


def only(some: RuleFacts, events: set[str]) -> RuleFacts:
    return replace(
        some,
        attendances=tuple(each for each in some.attendances if each.event in events),
        unscheduled=tuple(each for each in some.unscheduled if each.event in events),
        passed=tuple(each for each in some.passed if each.event in events),
        meetings=tuple(each for each in some.meetings if each.event in events),
        credits=tuple(each for each in some.credits if each.event in events),
    )


def all_events(some: RuleFacts) -> set[str]:
    facts_of = (some.attendances, some.unscheduled, some.passed, some.meetings, some.credits)
    return {each.event for group in facts_of for each in group}


properties = settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow], deadline=None)


@properties
@given(ANY_RULE, any_facts())
def test_every_node_agrees_with_its_figures_and_says_what_is_missing(a_rule: Rule, some: RuleFacts) -> None:
    told = decided(a_rule, some)
    for node in nodes(told):
        assert node.satisfied == (node.have >= node.need)
        assert bool(node.missing) != node.satisfied
        assert node.possible or not node.satisfied
        assert ("no-longer-possible" in codes(node)) == (not node.possible)
        assert set(node.counted) <= all_events(some)
        assert node.title
    assert Explanation.model_validate_json(told.model_dump_json()) == told


@properties
@given(ANY_RULE, any_facts())
def test_the_facts_that_count_are_enough_by_themselves(a_rule: Rule, some: RuleFacts) -> None:
    for node_rule, node in paired(a_rule, decided(a_rule, some)):
        if node.satisfied:
            assert decided(node_rule, only(some, set(node.counted))).satisfied


@properties
@given(ANY_RULE, any_facts())
def test_no_fact_that_does_not_count_bears_on_the_figures_of_a_leaf(a_rule: Rule, some: RuleFacts) -> None:
    for node_rule, node in paired(a_rule, decided(a_rule, some)):
        if not node.children:
            alone = decided(node_rule, only(some, set(node.counted)))
            assert (alone.have, alone.need, alone.counted) == (node.have, node.need, node.counted)


@properties
@given(ANY_RULE, any_facts())
def test_a_fact_of_nothing_the_rules_know_changes_nothing(a_rule: Rule, some: RuleFacts) -> None:
    more = replace(
        some,
        attendances=(*some.attendances, Attendance("x@1", "no-such-session", "present")),
        unscheduled=(*some.unscheduled, UnscheduledUnit("x@2", "no-such-kind", START, "present")),
        passed=(*some.passed, Passed("x@3", "no-such-component")),
        meetings=(*some.meetings, Meeting("x@4", date(1990, 1, 1))) if some.window else some.meetings,
    )
    assert decided(a_rule, replace(more, matched_on=some.matched_on)) == decided(a_rule, some)


@properties
@given(ANY_RULE, any_facts(), st.randoms(use_true_random=False))
def test_the_order_in_which_facts_arrived_changes_nothing(a_rule: Rule, some: RuleFacts, order: Any) -> None:
    def shuffled(group: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(order.sample(group, len(group)))

    other = replace(
        some,
        sessions=shuffled(some.sessions),
        attendances=shuffled(some.attendances),
        unscheduled=shuffled(some.unscheduled),
        passed=shuffled(some.passed),
        meetings=shuffled(some.meetings),
        credits=shuffled(some.credits),
    )
    assert decided(a_rule, other) == decided(a_rule, some)


@properties
@given(st.integers(1, 5), st.lists(st.booleans(), min_size=1, max_size=6))
def test_at_least_n_is_satisfied_by_n_conditions_and_by_no_fewer(n: int, outcomes: list[bool]) -> None:
    yes, no = {"check": "always"}, {"check": "credits", "at_least": 1}
    of = [yes if outcome else no for outcome in outcomes]
    told = decided(rule("at-least", at_least=n, of=of), facts())
    assert told.satisfied == (sum(outcomes) >= n)
    assert decided(rule("all-of", of=of), facts()).satisfied == all(outcomes)
    assert decided(rule("any-of", of=of), facts()).satisfied == any(outcomes)


@properties
@given(ANY_RULE, any_facts(), st.data())
def test_what_came_true_was_possible_before(a_rule: Rule, some: RuleFacts, data: st.DataObject) -> None:
    """Facts are taken back that may have come only later: a learner who then made it was never told it is too late."""
    some = replace(some, withdrawn_on=None)
    enrolled = {each.id for each in some.sessions if some.may_be_marked_on(each.on)}
    later = (
        {each.event for each in some.attendances if each.session in enrolled}
        | {each.event for each in some.unscheduled if each.on >= some.now}
        | {each.event for each in some.passed if each.component not in some.exhausted}
        | {each.event for each in some.meetings if each.on >= some.now}
        | {each.event for each in some.credits}
    )
    taken = data.draw(st.sets(st.sampled_from(sorted(later)))) if later else set()
    before = only(some, all_events(some) - taken)
    for (_, then), (_, now) in zip(
        paired(a_rule, decided(a_rule, some)), paired(a_rule, decided(a_rule, before)), strict=True
    ):
        assert now.possible or not then.satisfied


@properties
@given(ANY_RULE, any_facts())
def test_sessions_are_possible_exactly_when_being_at_all_unmarked_ones_is_enough(a_rule: Rule, some: RuleFacts) -> None:
    marked = {each.session for each in some.attendances}
    unmarked = [each.id for each in some.sessions if each.id not in marked and some.may_be_marked_on(each.on)]
    present = tuple(Attendance(f"z@{i}", session, "present") for i, session in enumerate(unmarked))
    best = replace(some, attendances=(*some.attendances, *present))
    for node_rule, node in paired(a_rule, decided(a_rule, some)):
        if some.sessions and (node.check == "share-of-sessions" or getattr(node_rule, "unit_kind", None) == "day"):
            assert node.possible == decided(node_rule, best).satisfied


def paired(a_rule: Rule, told: Explanation) -> list[tuple[Rule, Explanation]]:
    of: tuple[Rule, ...] = getattr(a_rule, "of", ())
    return [(a_rule, told), *(pair for each in zip(of, told.children, strict=True) for pair in paired(*each))]
