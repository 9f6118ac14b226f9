"""Assessed work, decided: each rule as a sentence, and what holds after any commands in any order."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from hypothesis import given as drawn
from hypothesis import strategies as st

from accreditation.domain.assessment import (
    ASSESSMENT,
    AssessmentCommand,
    AssessmentEvent,
    AssessmentRegistered,
    AssessWork,
    CarryOverResult,
    RegisterAssessment,
    ResultCarriedOver,
    ResultRevised,
    ResultWord,
    ReviseResult,
    SubmitWork,
    WorkAssessed,
    WorkSubmitted,
)
from accreditation.domain.limits import STEPS_MAX
from accreditation.domain.looked_up import Circumstances
from eventcore.decider import Refusal
from eventcore.testing import NOON, given

DAY = date(2024, 12, 2)
LATER = date(2025, 1, 20)
NOW = Circumstances(today=date(2025, 6, 1), importer=True)

REGISTERED = AssessmentRegistered(component_id="project", registered_on=DAY)
SUBMITTED = WorkSubmitted(component_id="project", attempt=1, submitted_on=DAY)
REFERRED = WorkAssessed(component_id="project", result="referred", mark=Decimal(45), assessed_on=DAY)
RESUBMITTED = WorkSubmitted(component_id="project", attempt=2, submitted_on=LATER)
PASSED = WorkAssessed(component_id="project", result="passed", mark=Decimal(61), assessed_on=LATER)


def register() -> RegisterAssessment:
    return RegisterAssessment(component_id="project", circumstances=Circumstances(today=DAY, importer=False))


def submit(on: date = DAY, *, opt_in: bool = True, attempt: int | None = None) -> SubmitWork:
    return SubmitWork(
        component_id="project", attempt=attempt, submitted_on=on, opt_in=opt_in, max_attempts=2, circumstances=NOW
    )


def assess(
    result: ResultWord, mark: int | None, on: date = DAY, pass_mark: int | None = 50, attempt: int | None = None
) -> AssessWork:
    return AssessWork(
        component_id="project",
        attempt=attempt,
        result=result,
        mark=None if mark is None else Decimal(mark),
        assessed_on=on,
        pass_mark=None if pass_mark is None else Decimal(pass_mark),
        circumstances=NOW,
    )


def carry_over(result: ResultWord = "passed") -> CarryOverResult:
    return CarryOverResult(
        component_id="project", result=result, mark=None, carried_on=DAY, from_cohort="spring", circumstances=NOW
    )


def revise(result: ResultWord, mark: int, replaces: int, on: date = LATER) -> ReviseResult:
    return ReviseResult(
        component_id="project",
        result=result,
        mark=Decimal(mark),
        assessed_on=on,
        replaces=replaces,
        reason_code="clerical-error",
        pass_mark=Decimal(50),
        circumstances=NOW,
    )


def test_a_learner_opts_in_once() -> None:
    given(ASSESSMENT).when(register()).then(REGISTERED)
    given(ASSESSMENT, REGISTERED).when(register()).then_nothing()


def test_optional_work_is_submitted_after_registering() -> None:
    given(ASSESSMENT).when(submit()).then_refused("not-registered")
    given(ASSESSMENT, REGISTERED).when(submit()).then(SUBMITTED)


def test_work_that_is_not_optional_needs_no_registration() -> None:
    given(ASSESSMENT).when(submit(opt_in=False)).then(SUBMITTED)


def test_a_second_submission_waits_for_the_first_result() -> None:
    given(ASSESSMENT, REGISTERED, SUBMITTED).when(submit()).then_nothing()
    refusal = given(ASSESSMENT, REGISTERED, SUBMITTED).when(submit(LATER)).then_refused("already-submitted")
    assert refusal.conflict


def test_a_referral_is_resubmitted_and_may_pass() -> None:
    given(ASSESSMENT, REGISTERED, SUBMITTED).when(assess("referred", 45)).then(REFERRED)
    given(ASSESSMENT, REGISTERED, SUBMITTED, REFERRED).when(submit(LATER)).then(RESUBMITTED)
    referred = given(ASSESSMENT, REGISTERED, SUBMITTED, REFERRED, RESUBMITTED)
    referred.when(assess("passed", 61, LATER)).then(PASSED)


def test_attempts_are_bounded_by_what_the_programme_allows() -> None:
    again = REFERRED.model_copy(update={"assessed_on": LATER})
    twice = given(ASSESSMENT, REGISTERED, SUBMITTED, REFERRED, RESUBMITTED, again)
    twice.when(submit(date(2025, 3, 1))).then_refused("no-attempt-left")


def test_what_is_passed_or_failed_is_not_submitted_again() -> None:
    given(ASSESSMENT, REGISTERED, SUBMITTED, PASSED).when(submit(LATER)).then_refused("already-passed")
    failed = REFERRED.model_copy(update={"result": "failed"})
    given(ASSESSMENT, REGISTERED, SUBMITTED, failed).when(submit(LATER)).then_refused("already-failed")


def test_a_result_needs_a_submission_that_waits() -> None:
    given(ASSESSMENT, REGISTERED).when(assess("passed", 60)).then_refused("nothing-submitted")


def test_the_same_result_again_is_harmless_and_another_is_a_conflict_that_shows_the_current() -> None:
    held = given(ASSESSMENT, REGISTERED, SUBMITTED, PASSED)
    held.when(assess("passed", 61, LATER)).then_nothing()
    refusal = held.when(assess("failed", 20, LATER)).then_refused("result-stands", "result")
    assert refusal.conflict
    assert "version 3" in refusal.message


def test_every_row_of_a_finished_history_may_come_again() -> None:
    history = given(ASSESSMENT, REGISTERED, SUBMITTED, REFERRED, RESUBMITTED, PASSED)
    for row in (register(), submit(), assess("referred", 45), submit(LATER), assess("passed", 61, LATER)):
        history.when(row).then_nothing()


def test_an_earlier_row_that_comes_again_does_not_judge_the_resubmission() -> None:
    waiting = given(ASSESSMENT, REGISTERED, SUBMITTED, REFERRED, RESUBMITTED)
    waiting.when(assess("referred", 45)).then_nothing()
    waiting.when(submit()).then_nothing()


def test_within_one_day_the_number_of_the_attempt_tells_a_repeat_from_a_resubmission() -> None:
    referred = given(ASSESSMENT, REGISTERED, SUBMITTED, REFERRED)
    again = WorkSubmitted(component_id="project", attempt=2, submitted_on=DAY)
    referred.when(submit(attempt=1)).then_nothing()
    referred.when(submit(attempt=2)).then(again)
    referred.when(submit()).then(again)
    referred.when(submit(attempt=3)).then_refused("wrong-attempt", "submit.attempt")
    waiting = given(ASSESSMENT, REGISTERED, SUBMITTED, REFERRED, again)
    waiting.when(assess("referred", 45, attempt=1)).then_nothing()
    waiting.when(assess("failed", 20, attempt=1)).then_refused("result-stands")
    waiting.when(assess("passed", 60, attempt=3)).then_refused("nothing-submitted")
    passed = WorkAssessed(component_id="project", result="passed", mark=Decimal(60), assessed_on=DAY)
    waiting.when(assess("passed", 60, attempt=2)).then(passed)


def test_work_is_not_resubmitted_before_it_was_referred() -> None:
    late = REFERRED.model_copy(update={"assessed_on": LATER})
    early = submit(date(2024, 12, 24))
    given(ASSESSMENT, REGISTERED, SUBMITTED, late).when(early).then_refused("submitted-before-referral")


def test_a_pass_below_the_pass_mark_is_refused() -> None:
    given(ASSESSMENT, REGISTERED, SUBMITTED).when(assess("passed", 49)).then_refused("mark-below-pass", "assess.mark")


def test_without_a_pass_mark_the_assessor_says_what_passes() -> None:
    passed = WorkAssessed(component_id="project", result="passed", mark=Decimal(20), assessed_on=DAY)
    given(ASSESSMENT, REGISTERED, SUBMITTED).when(assess("passed", 20, pass_mark=None)).then(passed)


def test_work_is_not_assessed_before_it_was_submitted() -> None:
    early = assess("passed", 60, date(2024, 11, 1))
    given(ASSESSMENT, REGISTERED, SUBMITTED).when(early).then_refused("assessed-before-submitted", "assess.assessed_on")


def test_a_result_is_carried_over_only_where_nothing_was_assessed() -> None:
    carried = ResultCarriedOver(
        component_id="project", result="passed", mark=None, carried_on=DAY, from_cohort="spring"
    )
    given(ASSESSMENT).when(carry_over()).then(carried)
    given(ASSESSMENT, carried).when(carry_over()).then_nothing()
    given(ASSESSMENT, REGISTERED, SUBMITTED, PASSED).when(carry_over()).then_refused("result-stands")
    given(ASSESSMENT, REGISTERED, SUBMITTED).when(carry_over()).then_refused("submission-waits")


def test_a_carried_over_referral_is_resubmitted_without_registering() -> None:
    carried = ResultCarriedOver(component_id="project", result="referred", mark=None, carried_on=DAY, from_cohort=None)
    given(ASSESSMENT, carried).when(submit(LATER)).then(
        WorkSubmitted(component_id="project", attempt=1, submitted_on=LATER)
    )


def test_a_revision_names_the_current_result_and_keeps_the_old_one() -> None:
    held = given(ASSESSMENT, REGISTERED, SUBMITTED, PASSED)
    revised = ResultRevised(
        component_id="project",
        result="failed",
        mark=Decimal(35),
        assessed_on=LATER,
        replaces=3,
        reason_code="clerical-error",
    )
    held.when(revise("failed", 35, 3)).then(revised)
    given(ASSESSMENT, REGISTERED, SUBMITTED, PASSED, revised).when(revise("failed", 35, 3)).then_nothing()


def test_a_revision_of_what_is_not_current_is_a_conflict_that_shows_the_current() -> None:
    refusal = given(ASSESSMENT, REGISTERED, SUBMITTED, PASSED).when(revise("failed", 35, 2))
    shown = refusal.then_refused("replaces-not-current", "result")
    assert shown.conflict
    assert "version 3" in shown.message


def test_a_referral_is_not_revised_while_its_resubmission_waits() -> None:
    waiting = given(ASSESSMENT, REGISTERED, SUBMITTED, REFERRED, RESUBMITTED)
    waiting.when(revise("passed", 55, 3)).then_refused("submission-waits")


def test_there_is_nothing_to_revise_before_a_result() -> None:
    given(ASSESSMENT, REGISTERED, SUBMITTED).when(revise("passed", 55, 2)).then_refused("nothing-assessed")


RESULTS: st.SearchStrategy[ResultWord] = st.sampled_from(["passed", "referred", "failed"])
ATTEMPTS = st.sampled_from([None, 1, 2, 3])
COMMANDS: st.SearchStrategy[AssessmentCommand] = st.one_of(
    st.just(register()),
    st.builds(submit, st.sampled_from([DAY, LATER]), opt_in=st.booleans(), attempt=ATTEMPTS),
    st.builds(assess, RESULTS, st.sampled_from([20, 60, None]), st.sampled_from([DAY, LATER]), attempt=ATTEMPTS),
    st.builds(carry_over, RESULTS),
    st.builds(revise, RESULTS, st.sampled_from([20, 60]), st.integers(1, 12)),
)


@drawn(st.lists(COMMANDS, max_size=25))
def test_after_any_commands_attempts_are_bounded_and_a_repeat_is_harmless(
    commands: list[AssessmentCommand],
) -> None:
    state, version, results = ASSESSMENT.initial, 0, []
    for command in commands:
        decision = ASSESSMENT.decide(command, state, NOON)
        if isinstance(decision, Refusal):
            continue
        for event in decision:
            version += 1
            state = ASSESSMENT.evolve(state, event, version)
            results += [] if isinstance(event, AssessmentRegistered | WorkSubmitted) else [version]
        again = ASSESSMENT.decide(command, state, NOON)
        assert not again, f"{command} was accepted and, repeated, gave {again}"
    component = state.of("project")
    assert component.attempts <= 2
    assert (component.current.version if component.current else None) == (results[-1] if results else None)


@drawn(st.lists(COMMANDS, max_size=15))
def test_what_is_stored_replays_to_the_state_that_decided_it(commands: list[AssessmentCommand]) -> None:
    events: list[AssessmentEvent] = []
    state = ASSESSMENT.initial
    for command in commands:
        decision = ASSESSMENT.decide(command, state, NOON)
        for event in [] if isinstance(decision, Refusal) else decision:
            events.append(event)
            state = ASSESSMENT.evolve(state, event, len(events))
    given(ASSESSMENT, *events).then_state(state)


def test_an_enrolment_takes_as_many_steps_as_its_limit() -> None:
    before = [REGISTERED] * (STEPS_MAX - 1)
    given(ASSESSMENT, *before).when(submit()).then(SUBMITTED)
    given(ASSESSMENT, *before, REGISTERED).when(submit()).then_refused("too-many-steps")
