from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given as for_all
from hypothesis import strategies as st

from enrolment.domain.attendance import Attended, Unit, Unscheduled
from enrolment.domain.enrolment import (
    ENROLMENT,
    AttendanceCorrected,
    AttendanceRecorded,
    Decline,
    Enrolment,
    EnrolmentCommand,
    EnrolmentDeclined,
    EnrolmentEvent,
    EnrolmentPlaced,
    EnrolmentRequested,
    EnrolmentWaitlisted,
    EnrolmentWithdrawn,
    MarkAttendance,
    Place,
    Reference,
    RequestEnrolment,
    Waitlist,
    Withdraw,
)
from enrolment.domain.limits import MARKS_MAX
from eventcore.decider import Refusal, invalid
from eventcore.personal import Sealed
from eventcore.testing import NOON, given

TODAY = date(2024, 10, 1)  # of NOON, the tests' now
REFERENCE = Reference(provider_id="provider-a", reference=Sealed(person="learner-01", field="reference", box="box"))
TERMS: dict[str, Any] = {
    "cohort_id": "c1",
    "person_id": "learner-01",
    "programme_id": "course",
    "programme_version": 1,
    "employer_id": "e06000001",
    "references": (REFERENCE,),
    "effective_on": TODAY,
}
REQUESTED = EnrolmentRequested(**TERMS, limited=True)
UNLIMITED = EnrolmentRequested(**TERMS, limited=False)
PLACED = EnrolmentPlaced(placed_on=TODAY)
WITHDRAWN = EnrolmentWithdrawn(withdrawn_on=date(2024, 11, 1), reason_code="changed-job")
PRESENT, ABSENT = Attended(state="present"), Attended(state="absent")
S1 = Unit(session_id="s1")


def request(**other: Any) -> RequestEnrolment:
    said = {"effective_on": None, "limited": True, "cohort_ends_on": date(2025, 1, 31), "zone": "Europe/London"}
    return RequestEnrolment(**(TERMS | said | {"may_backdate": False} | other))


def withdraw(effective_on: date | None = None, *, reason: str = "changed-job", importer: bool = False) -> Withdraw:
    looked_up: dict[str, Any] = {"zone": "Europe/London", "may_backdate": importer, "cohort_ends_on": date(2025, 1, 31)}
    return Withdraw(effective_on=effective_on, reason_code=reason, **looked_up)


def mark(value: Attended = PRESENT, on: date = date(2024, 10, 8), **other: Any) -> MarkAttendance:
    said = {"unit": S1, "provider_id": "provider-a", "replaces": None, "reason_code": None, "by": "tutor-1"}
    said |= {"objection": None, "cohort_starts_on": date(2024, 9, 1), "max_months": 3}
    return MarkAttendance(**({"value": value, "on": on} | said | other))


def recorded(value: Attended = PRESENT, unit: Unit = S1) -> AttendanceRecorded:
    return AttendanceRecorded(unit=unit, value=value, provider_id="provider-a", by="tutor-1", at=NOON)


def corrected(value: Attended, replaces: int) -> AttendanceCorrected:
    said: dict[str, Any] = {"unit": S1, "provider_id": "provider-a", "by": "tutor-1", "at": NOON}
    return AttendanceCorrected(value=value, replaces=replaces, reason_code="wrong-learner", **said)


# Asking for a place


def test_a_request_for_limited_places_waits_for_the_pools_answer() -> None:
    given(ENROLMENT).when(request()).then(REQUESTED)


def test_a_request_for_unlimited_places_is_placed_at_once() -> None:
    given(ENROLMENT).when(request(limited=False)).then(UNLIMITED, PLACED)


def test_today_is_the_date_in_the_programmes_zone() -> None:
    late = datetime(2024, 10, 1, 23, 30, tzinfo=UTC)  # 00:30 on the 2nd in London
    tomorrow = date(2024, 10, 2)
    given(ENROLMENT).when(request(), now=late).then(REQUESTED.model_copy(update={"effective_on": tomorrow}))


def test_a_past_date_is_for_importers() -> None:
    past = date(2013, 9, 1)
    given(ENROLMENT).when(request(effective_on=past)).then_refused("past-date", "effective_on")
    given(ENROLMENT).when(request(effective_on=past, may_backdate=True)).then(
        REQUESTED.model_copy(update={"effective_on": past})
    )


def test_nobody_enrols_after_the_cohorts_last_day() -> None:
    given(ENROLMENT).when(request(effective_on=date(2025, 2, 1))).then_refused("cohort-over")


def test_the_same_request_again_changes_nothing() -> None:
    given(ENROLMENT, REQUESTED).when(request()).then_nothing()
    given(ENROLMENT, REQUESTED, PLACED).when(request(effective_on=TODAY)).then_nothing()


def test_a_request_with_other_details_is_a_conflict_that_names_them() -> None:
    other = request(employer_id=None, references=(), effective_on=date(2024, 10, 2))
    refusal = given(ENROLMENT, REQUESTED).when(other)
    assert refusal.then_refused("enrolment-differs", "employer_id", "references", "effective_on").conflict


def test_whoever_was_declined_may_ask_again() -> None:
    given(ENROLMENT, REQUESTED, EnrolmentDeclined()).when(request()).then(REQUESTED)


def test_whoever_withdrew_has_left_this_cohort_for_good() -> None:
    given(ENROLMENT, REQUESTED, PLACED, WITHDRAWN).when(request()).then_refused("withdrawn")


def test_the_pools_answers_are_taken_over() -> None:
    given(ENROLMENT, REQUESTED).when(Place(placed_on=TODAY)).then(PLACED)
    given(ENROLMENT, REQUESTED).when(Waitlist()).then(EnrolmentWaitlisted())
    given(ENROLMENT, REQUESTED).when(Decline()).then(EnrolmentDeclined())
    given(ENROLMENT, REQUESTED, EnrolmentWaitlisted()).when(Place(placed_on=TODAY)).then(PLACED)


def test_an_answer_that_nobody_waits_for_is_refused() -> None:
    given(ENROLMENT, REQUESTED, PLACED).when(Waitlist()).then_refused("not-asking")
    given(ENROLMENT, REQUESTED, WITHDRAWN).when(Place(placed_on=TODAY)).then_refused("not-asking")


# Leaving


def test_a_learner_withdraws_from_today_or_a_later_day() -> None:
    today = EnrolmentWithdrawn(withdrawn_on=TODAY, reason_code="changed-job")
    given(ENROLMENT, REQUESTED, PLACED).when(withdraw()).then(today)
    given(ENROLMENT, REQUESTED, PLACED).when(withdraw(date(2024, 11, 1))).then(WITHDRAWN)
    given(ENROLMENT, REQUESTED, EnrolmentWaitlisted()).when(withdraw()).then(today)


def test_a_past_withdrawal_is_for_importers() -> None:
    early = EnrolmentPlaced(placed_on=date(2024, 9, 1))
    past = date(2024, 9, 15)
    given(ENROLMENT, REQUESTED, early).when(withdraw(past)).then_refused("past-date", "effective_on")
    given(ENROLMENT, REQUESTED, early).when(withdraw(past, importer=True)).then(
        EnrolmentWithdrawn(withdrawn_on=past, reason_code="changed-job")
    )


def test_nobody_leaves_before_they_came() -> None:
    given(ENROLMENT, REQUESTED, EnrolmentPlaced(placed_on=date(2024, 12, 1))).when(withdraw()).then_refused(
        "before-placement", "effective_on"
    )


def test_nobody_leaves_later_than_the_day_after_the_cohorts_last() -> None:
    placed = given(ENROLMENT, REQUESTED, PLACED)
    last = EnrolmentWithdrawn(withdrawn_on=date(2025, 2, 1), reason_code="changed-job")
    placed.when(withdraw(date(2025, 2, 1))).then(last)
    placed.when(withdraw(date(2025, 2, 2))).then_refused("after-cohort", "effective_on")
    placed.when(withdraw(date.max, importer=True)).then_refused("after-cohort", "effective_on")


def test_the_same_withdrawal_again_changes_nothing_and_another_one_is_a_conflict() -> None:
    gone = given(ENROLMENT, REQUESTED, PLACED, WITHDRAWN)
    gone.when(withdraw()).then_nothing()
    gone.when(withdraw(date(2024, 11, 1))).then_nothing()
    assert gone.when(withdraw(date(2024, 12, 1))).then_refused("withdrawn").conflict
    assert gone.when(withdraw(reason="unwell")).then_refused("withdrawn").conflict


def test_whoever_is_not_enrolled_cannot_withdraw() -> None:
    given(ENROLMENT).when(withdraw()).then_refused("not-enrolled")
    given(ENROLMENT, REQUESTED, EnrolmentDeclined()).when(withdraw()).then_refused("not-enrolled")


# Attendance


def test_a_mark_is_recorded_with_who_and_when() -> None:
    given(ENROLMENT, REQUESTED, PLACED).when(mark()).then(recorded())


def test_a_repeat_is_harmless() -> None:
    given(ENROLMENT, REQUESTED, PLACED, recorded()).when(mark(by="tutor-2")).then_nothing()


def test_a_different_value_is_a_conflict_that_names_the_current_one() -> None:
    refusal = given(ENROLMENT, REQUESTED, PLACED, recorded()).when(mark(ABSENT)).then_refused("value-differs")
    assert refusal.conflict
    assert "present stands as version 3" in refusal.message
    assert "replaces: 3" in refusal.message


def test_a_correction_names_the_value_it_replaces_and_keeps_it() -> None:
    before = given(ENROLMENT, REQUESTED, PLACED, recorded())
    before.when(mark(ABSENT, replaces=3, reason_code="wrong-learner")).then(corrected(ABSENT, 3))
    state = given(ENROLMENT, REQUESTED, PLACED, recorded(), corrected(ABSENT, 3)).state
    assert state is not None
    assert [(m.version, m.value, m.replaces, m.reason_code, m.by, m.at) for m in state.marks[S1.key]] == [
        (3, PRESENT, None, None, "tutor-1", NOON),
        (4, ABSENT, 3, "wrong-learner", "tutor-1", NOON),
    ]


def test_a_correction_of_an_older_value_is_a_conflict_that_shows_the_current_one() -> None:
    now = given(ENROLMENT, REQUESTED, PLACED, recorded(), corrected(ABSENT, 3))
    late = Attended(state="late")
    refusal = now.when(mark(late, replaces=3, reason_code="late-bus")).then_refused("replaces-not-current", "replaces")
    assert refusal.conflict
    assert "absent stands as version 4" in refusal.message


def test_a_correction_to_the_value_that_stands_changes_nothing() -> None:
    now = given(ENROLMENT, REQUESTED, PLACED, recorded(), corrected(ABSENT, 3))
    now.when(mark(ABSENT, replaces=4, reason_code="wrong-learner")).then_nothing()
    now.when(mark(ABSENT, replaces=3, reason_code="wrong-learner")).then_nothing()


def test_a_correction_of_nothing_is_refused() -> None:
    given(ENROLMENT, REQUESTED, PLACED).when(mark(replaces=2, reason_code="wrong-learner")).then_refused(
        "nothing-to-replace", "replaces"
    )


def test_a_learner_without_an_enrolment_is_refused() -> None:
    given(ENROLMENT).when(mark()).then_refused("not-enrolled")
    given(ENROLMENT, REQUESTED, EnrolmentDeclined()).when(mark()).then_refused("not-enrolled")


def test_a_learner_who_waits_is_refused() -> None:
    given(ENROLMENT, REQUESTED).when(mark()).then_refused("waiting")
    given(ENROLMENT, REQUESTED, EnrolmentWaitlisted()).when(mark()).then_refused("waiting")


def test_a_learner_placed_after_the_sessions_day_is_refused() -> None:
    placed = given(ENROLMENT, REQUESTED, EnrolmentPlaced(placed_on=date(2024, 10, 9)))
    placed.when(mark(on=date(2024, 10, 8))).then_refused("placed-later")
    placed.when(mark(on=date(2024, 10, 9))).then(recorded())


def test_a_learner_who_withdrew_on_or_before_the_sessions_day_is_refused() -> None:
    gone = given(ENROLMENT, REQUESTED, PLACED, WITHDRAWN)
    gone.when(mark(on=date(2024, 11, 1))).then_refused("withdrawn")
    gone.when(mark(on=date(2024, 10, 31))).then(recorded())


def test_a_session_that_moved_is_judged_on_its_new_day() -> None:
    gone = given(ENROLMENT, REQUESTED, PLACED, WITHDRAWN)
    gone.when(mark(on=date(2024, 10, 31))).then(recorded())
    gone.when(mark(on=date(2024, 11, 2))).then_refused("withdrawn")


def test_what_speaks_against_the_unit_refuses_the_row_but_not_its_repetition() -> None:
    cancelled = Refusal("session-cancelled", "cancelled")
    given(ENROLMENT, REQUESTED, PLACED).when(mark(objection=cancelled)).then_refused("session-cancelled")
    given(ENROLMENT).when(mark(objection=cancelled)).then_refused("session-cancelled")
    given(ENROLMENT, REQUESTED, PLACED, recorded()).when(mark(objection=cancelled)).then_nothing()


def test_the_day_of_a_session_and_who_posts_are_no_part_of_the_row() -> None:
    """So that a retry by a colleague, or after the session moved, is the same command."""
    one, other = mark(on=date(2024, 10, 8)), mark(on=date(2024, 11, 2), by="tutor-2")
    assert one.model_dump(mode="json") == other.model_dump(mode="json")


def shadowing(**other: Any) -> Unit:
    said: dict[str, Any] = {"unit_kind": "shadowing", "record_id": "r1", "on": date(2024, 10, 8), "minutes": 420}
    return Unit(unscheduled=Unscheduled(**(said | {"attributes": {"sector": "public"}} | other)))


def test_an_unscheduled_record_that_says_something_else_is_a_conflict() -> None:
    before = given(ENROLMENT, REQUESTED, PLACED, recorded(unit=shadowing()))
    before.when(mark(unit=shadowing())).then_nothing()
    for unit in (shadowing(on=date(2024, 10, 9)), shadowing(attributes={"sector": "third"}), shadowing(minutes=60)):
        assert before.when(mark(unit=unit)).then_refused("value-differs").conflict
        before.when(mark(unit=unit, replaces=3, reason_code="wrong-day")).then(
            corrected(PRESENT, 3).model_copy(update={"unit": unit, "reason_code": "wrong-day"})
        )


def test_a_record_lies_within_the_learners_own_months() -> None:
    """As accreditation counts it: they run from the placing, or from the cohort's start where that is later."""
    for placed_on, last in ((date(2024, 10, 9), date(2025, 1, 9)), (date(2024, 8, 20), date(2024, 12, 1))):
        placed = given(ENROLMENT, REQUESTED, EnrolmentPlaced(placed_on=placed_on))
        placed.when(mark(unit=shadowing(on=last), on=last)).then(recorded(unit=shadowing(on=last)))
        day_after = last + timedelta(days=1)
        refusal = placed.when(mark(unit=shadowing(on=day_after), on=day_after)).then_refused("invalid-argument")
        said = f"must not be after {last}, the last day that counts for this learner"
        assert refusal.fields == (("unscheduled.on", said),)


def test_a_record_outside_them_is_named_together_with_its_other_faults() -> None:
    placed, late = given(ENROLMENT, REQUESTED, PLACED), date(2025, 2, 1)
    faulty = invalid(("unscheduled.attributes.sector", "must be one of public, third"))
    refusal = placed.when(mark(unit=shadowing(on=late), on=late, objection=faulty)).then_refused("invalid-argument")
    assert [field for field, _ in refusal.fields] == ["unscheduled.attributes.sector", "unscheduled.on"]
    # It can never be posted, so that it is too early as well is not worth saying.
    early = Refusal("session-not-held", "post it later")
    placed.when(mark(unit=shadowing(on=late), on=late, objection=early)).then_refused("invalid-argument")


def test_another_providers_record_id_is_refused_without_a_word_about_its_value() -> None:
    before = given(ENROLMENT, REQUESTED, PLACED, recorded(ABSENT, shadowing()))
    refusal = before.when(mark(unit=shadowing(), provider_id="provider-b")).then_refused("record-id-taken")
    assert "absent" not in refusal.message


def test_an_enrolment_holds_a_bounded_number_of_marks() -> None:
    values = [corrected(ABSENT if i % 2 else PRESENT, i) for i in range(3, MARKS_MAX + 2)]
    full = given(ENROLMENT, REQUESTED, PLACED, recorded(ABSENT), *values)
    full.when(mark(unit=Unit(session_id="more"))).then_refused("too-many-marks")
    late = mark(Attended(state="late"), replaces=MARKS_MAX + 2, reason_code="again")
    full.when(late).then_refused("too-many-marks")


DAYS = st.dates(date(2024, 9, 20), date(2024, 12, 1))
COMMANDS: st.SearchStrategy[EnrolmentCommand] = st.one_of(
    st.builds(request, effective_on=st.none() | DAYS, limited=st.booleans(), may_backdate=st.booleans()),
    st.builds(Place, placed_on=DAYS),
    st.just(Waitlist()),
    st.just(Decline()),
    st.builds(withdraw, st.none() | DAYS, importer=st.booleans()),
    st.builds(
        mark,
        st.sampled_from([PRESENT, ABSENT]),
        DAYS,
        unit=st.sampled_from([S1, Unit(session_id="s2")]),
        replaces=st.none() | st.integers(1, 12),
        reason_code=st.just("wrong-learner"),
    ),
)


@for_all(st.lists(COMMANDS, max_size=25), st.integers(0, 25))
def test_whatever_is_asked_no_value_is_lost_and_replaying_a_prefix_then_the_rest_is_replaying_all(
    commands: list[EnrolmentCommand], cut: int
) -> None:
    state: Enrolment | None = None
    events: list[EnrolmentEvent] = []
    for command in commands:
        decision = ENROLMENT.decide(command, state, NOON)
        for event in () if isinstance(decision, Refusal) else decision:
            events.append(event)
            state = ENROLMENT.evolve(state, event, len(events))
            if isinstance(event, AttendanceRecorded | AttendanceCorrected):
                assert isinstance(command, MarkAttendance)
                assert state is not None
                assert state.enrolled_on(command.on)
    if state is not None:
        stored = [e for e in events if isinstance(e, AttendanceRecorded | AttendanceCorrected)]
        kept = [value for values in state.marks.values() for value in values]
        assert len(kept) == len(stored)
        for values in state.marks.values():
            assert [value.replaces for value in values] == [None, *(value.version for value in values[:-1])]
    prefix = given(ENROLMENT, *events[:cut]).state
    if prefix is not None:
        prefix = Enrolment.model_validate(prefix.model_dump(mode="json"))  # as a view would keep it
    for version, event in enumerate(events[cut:], start=min(cut, len(events)) + 1):
        prefix = ENROLMENT.evolve(prefix, event, version)
    assert prefix == state
