"""The standing as a pure function: who can be awarded, which days count, what time alone changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from accreditation.domain.assessment import ASSESSMENT, ResultRevised, WorkAssessed, WorkSubmitted
from accreditation.domain.civil import civil_date, start_of
from accreditation.domain.credit import Ledger, evolve, settle
from accreditation.domain.facts import (
    AssessmentRecord,
    CohortRecord,
    CreditRecord,
    Cut,
    EnrolmentRecord,
    LearnerFacts,
    Mark,
    MatchRecord,
    NameChange,
    PersonRecord,
    ProgrammeRecord,
    Session,
    SessionChange,
    StatusChange,
    Unscheduled,
    as_of,
    keep,
)
from accreditation.domain.standing import Standing, confirmable, look_again_on, settlement, standing
from accreditation.testing import schemes
from eventcore.event import Event, Recorded

R1, R7, R14 = (schemes()[name] for name in ("r1-directors-leadership", "r7-mentor-plus", "r14-commissioners-course"))
STARTS = date(2024, 10, 1)
TODAY = date(2024, 12, 2)
THEN = datetime(2024, 10, 1, 8, 0, tzinfo=UTC)


def status(word: Any, on: date, version: int = 1) -> StatusChange:
    return StatusChange(version=version, recorded=THEN, status=word, on=on)


def mark(session: str, state: Any = "present", version: int = 3) -> Mark:
    recorded = THEN + timedelta(days=version)
    return Mark(
        version=version,
        recorded=recorded,
        session_id=session,
        unscheduled=None,
        state=state,
        minutes=None,
        excuse=None,
    )


def sessions() -> tuple[SessionChange, ...]:
    return tuple(
        SessionChange(
            version=1,
            recorded=THEN,
            session_id=each.id,
            session=Session(
                session_id=each.id,
                unit_kind=each.unit_kind,
                module=None,
                on=STARTS + timedelta(days=each.day),
                minutes=each.minutes,
            ),
        )
        for each in R14.timetable
    )


def assessed(*events: Event) -> AssessmentRecord:
    record = AssessmentRecord(cohort_id="autumn", person_id="p1")
    for version, event in enumerate(events, start=1):
        kept = keep(Recorded("assessment-autumn--p1", version, event, THEN), ASSESSMENT)
        record = record.model_copy(update={"kept": (*record.kept, kept)})
    return record


def passed(on: date = date(2024, 11, 25)) -> AssessmentRecord:
    return assessed(
        WorkSubmitted(component_id="project", attempt=1, submitted_on=on),
        WorkAssessed(component_id="project", result="passed", mark=None, assessed_on=on),
    )


def learner(*marks: Mark, statuses: tuple[StatusChange, ...] = (), **rest: Any) -> LearnerFacts:
    """Placed on the commissioners' course from its first day, unless `statuses` say otherwise."""
    enrolment = EnrolmentRecord(
        cohort_id="autumn",
        person_id="p1",
        programme="r14-commissioners-course--1",
        statuses=statuses or (status("requested", STARTS), status("placed", STARTS, 2)),
        marks=marks,
    )
    facts = LearnerFacts(
        cohort_id="autumn",
        person_id="p1",
        enrolment=enrolment,
        cohort=CohortRecord(cohort_id="autumn", recorded=THEN, starts_on=STARTS, changes=sessions()),
        programme=ProgrammeRecord(programme=R14, recorded=THEN),
    )
    return replace(facts, **rest)


def half() -> tuple[Mark, ...]:
    return tuple(mark(f"s{n}", version=2 + n) for n in (1, 2, 3))


def awarded(facts: LearnerFacts) -> LearnerFacts:
    """The same facts, once the ledger has settled on them."""
    command = settlement(facts, standing(facts, TODAY), TODAY)
    assert command is not None
    ledger = facts.ledger
    for event in settle(command, ledger):
        ledger = evolve(ledger, event, ledger.version + 1)
    return replace(facts, credit=CreditRecord(person_id="p1", ledger=ledger))


def state(found: Standing, award_id: str = "completion") -> str:
    award = found.award(award_id)
    assert award is not None
    return award.state


def test_what_is_met_is_pending_until_the_ledger_holds_it() -> None:
    facts = learner(*half())
    assert state(standing(facts, TODAY)) == "pending"
    assert state(standing(awarded(facts), TODAY)) == "provisional"


def test_a_settled_ledger_is_told_nothing() -> None:
    facts = awarded(learner(*half()))
    assert settlement(facts, standing(facts, TODAY), TODAY) is None


def test_the_latest_value_of_a_register_counts() -> None:
    corrected = (*half(), mark("s1", "absent", version=6))
    assert state(standing(learner(*corrected), TODAY)) == "not-met"
    restored = (*corrected, mark("s1", "present", version=7))
    assert state(standing(learner(*restored), TODAY)) == "pending"


def test_nothing_is_decided_before_cohort_and_programme_are_known() -> None:
    whole = awarded(learner(*half()))
    for facts in (replace(whole, cohort=None), replace(whole, programme=None), replace(whole, enrolment=None)):
        found = standing(facts, TODAY)
        assert not found.whole
        assert settlement(facts, found, TODAY) is None


def test_who_never_had_a_place_is_given_nothing() -> None:
    waiting = learner(*half(), statuses=(status("requested", STARTS), status("waiting", STARTS, 2)))
    found = standing(waiting, TODAY)
    assert state(found) == "not-met"
    assert settlement(waiting, found, TODAY) is None
    award = found.award("completion")
    assert award is not None
    assert [each.code for each in award.explanation.missing] == ["not-placed"]
    assert award.explanation.children[1].satisfied, "the rule itself is shown as it is"


def withdrawn(on: date) -> tuple[StatusChange, ...]:
    return status("requested", STARTS), status("placed", STARTS, 2), status("withdrawn", on, 9)


def test_only_days_before_a_withdrawal_count() -> None:
    third_session = STARTS + timedelta(days=14)
    assert state(standing(learner(*half(), statuses=withdrawn(third_session)), TODAY)) == "not-met"
    day_after = third_session + timedelta(days=1)
    assert state(standing(learner(*half(), statuses=withdrawn(day_after)), TODAY)) == "pending"


def coached(on: date, state: Any = "present", version: int = 5) -> Mark:
    unit = Unscheduled(unit_kind="coaching", record_id="c1", on=on)
    return mark("", state, version).model_copy(update={"session_id": None, "unscheduled": unit})


def coachings(facts: LearnerFacts, day: date = TODAY) -> int:
    """How many coaching sessions the directors' programme counts."""
    award = standing(replace(facts, programme=ProgrammeRecord(programme=R1, recorded=THEN)), day).award("completion")
    assert award is not None
    return int(next(node.have for node in award.explanation.children if node.id == "coaching"))


def test_a_record_corrected_to_a_day_after_the_withdrawal_does_not_count_with_the_day_it_had_before() -> None:
    left = withdrawn(date(2024, 10, 20))
    first, moved = coached(date(2024, 10, 10)), coached(date(2024, 10, 20), version=8)
    assert coachings(learner(first, statuses=left)) == 1
    assert coachings(learner(first, moved, statuses=left)) == 0
    back = coached(date(2024, 10, 12), version=9)
    assert coachings(learner(first, moved, back, statuses=left)) == 1


def test_true_at_a_date_is_what_stands_by_all_that_is_known_and_known_at_a_time_what_stood_then() -> None:
    first, moved = coached(date(2024, 10, 10)), coached(date(2024, 10, 20), version=21)
    facts = learner(first, moved)
    on_the_day = Cut(true_at=date(2024, 10, 15))
    assert coachings(as_of(facts, on_the_day)) == 0
    assert coachings(as_of(facts, Cut(true_at=date(2024, 10, 20)))) == 1
    before_the_correction = replace(on_the_day, known_at=THEN + timedelta(days=20))
    assert coachings(as_of(facts, before_the_correction)) == 1


def test_a_pass_after_the_withdrawal_earns_nothing() -> None:
    left = withdrawn(date(2024, 11, 25))
    late, early = passed(date(2024, 11, 25)), passed(date(2024, 11, 24))
    assert state(standing(learner(*half(), statuses=left, assessment=late), TODAY), "commissioning-credit") == "not-met"
    early_on = learner(*half(), statuses=left, assessment=early)
    assert state(standing(early_on, TODAY), "commissioning-credit") == "pending"


def test_a_late_joiner_has_missed_what_was_held_before() -> None:
    late = (status("requested", STARTS), status("placed", STARTS + timedelta(days=40), 2))
    last_two = (mark("s5", version=3), mark("s6", version=4))
    assert state(standing(learner(*last_two, statuses=late), TODAY)) == "not-met"


def test_only_what_the_catalogue_confirms_by_itself_is_confirmable() -> None:
    facts = awarded(learner(*half(), assessment=passed()))
    assert confirmable(facts, standing(facts, TODAY)) == ("completion",)


def test_what_the_body_revoked_once_is_never_confirmable_by_itself_again() -> None:
    facts = awarded(learner(*half()))
    gone = learner(*half()[:2])
    revoked = tuple(a.model_copy(update={"state": "revoked", "review_outcome": "revoked"}) for a in facts.ledger.awards)
    facts = replace(facts, credit=CreditRecord(person_id="p1", ledger=Ledger(version=4, awards=revoked)))
    for _ in range(2):
        facts = awarded(facts)
        assert state(standing(facts, TODAY)) == "provisional"
        assert confirmable(facts, standing(facts, TODAY)) == ()
        lost = awarded(replace(facts, enrolment=gone.enrolment))
        assert state(standing(lost, TODAY)) == "revoked"
        facts = replace(lost, enrolment=facts.enrolment)


def test_what_is_no_longer_met_is_not_confirmable() -> None:
    facts = awarded(learner(*half()))
    gone = replace(facts, enrolment=learner(*half()[:2]).enrolment)
    assert confirmable(gone, standing(gone, TODAY)) == ()


def test_a_certificate_waits_for_confirmation_then_for_a_name() -> None:
    facts = awarded(learner(*half(), assessment=passed()))
    confirmed = replace(facts, credit=CreditRecord(person_id="p1", ledger=_confirmed(facts.ledger)))
    named = replace(confirmed, person=PersonRecord(names=(NameChange(recorded=THEN, named=True),)))
    told = [standing(each, TODAY).award("commissioning-credit") for each in (facts, confirmed, named)]
    assert [each.certificate.reason_code for each in told if each is not None] == ["not-confirmed", "no-name", ""]


def test_an_erased_learners_award_stands_and_its_certificate_is_blocked() -> None:
    facts = awarded(learner(*half(), assessment=passed()))
    confirmed = replace(facts, credit=CreditRecord(person_id="p1", ledger=_confirmed(facts.ledger)))
    names = (NameChange(recorded=THEN, named=True), NameChange(recorded=THEN, named=False, erased=True))
    named, erased = (replace(confirmed, person=PersonRecord.of(kept)) for kept in (names[:1], names))
    before, after = (standing(each, TODAY).award("commissioning-credit") for each in (named, erased))
    assert before is not None
    assert after is not None
    assert (after.certificate.state, after.certificate.reason_code) == ("blocked", "holder-erased")
    assert after.model_copy(update={"certificate": before.certificate}) == before


def _confirmed(ledger: Ledger) -> Ledger:
    awards = tuple(each.model_copy(update={"state": "confirmed"}) for each in ledger.awards)
    return ledger.model_copy(update={"awards": awards})


def test_time_alone_never_reopens_what_the_body_upheld() -> None:
    facts = learner(*half()[:2])
    confirmed = replace(awarded(learner(*half())), enrolment=facts.enrolment)
    confirmed = replace(confirmed, credit=CreditRecord(person_id="p1", ledger=_confirmed(confirmed.ledger)))
    bases = set()
    for day in (STARTS, TODAY, date(2026, 1, 1)):
        command = settlement(confirmed, standing(confirmed, day), day)
        assert command is not None
        bases.add(command.lost[0].basis)
    assert len(bases) == 1


def test_it_looks_again_when_a_register_falls_due_and_when_the_window_closes() -> None:
    assert look_again_on(learner(), STARTS) == STARTS + timedelta(days=1)
    assert look_again_on(learner(), date(2024, 12, 1)) == date(2025, 10, 2)
    assert look_again_on(learner(), date(2025, 10, 2)) is None


def test_a_withdrawal_told_ahead_counts_from_its_day() -> None:
    leaves_on = TODAY + timedelta(days=7)
    facts = learner(*half(), statuses=withdrawn(leaves_on))
    assert standing(facts, TODAY).enrolment == "placed"
    assert look_again_on(facts, TODAY) == leaves_on
    assert standing(facts, leaves_on).enrolment == "withdrawn"


def test_it_looks_again_when_the_months_of_meetings_are_over() -> None:
    facts = replace(
        learner(),
        programme=ProgrammeRecord(programme=R7, recorded=THEN),
        match=MatchRecord(matched_on=date(2025, 3, 1), matched_recorded=THEN),
    )
    assert look_again_on(facts, date(2025, 11, 1)) == date(2026, 3, 2)


def test_what_has_no_date_is_true_from_its_day_in_the_programmes_zone() -> None:
    late = datetime(2024, 7, 1, 23, 30, tzinfo=UTC)  # 00:30 on the 2nd in London
    facts = learner(person=PersonRecord(names=(NameChange(recorded=late, named=True),)))

    def named(day: date, zone: str | None = None) -> bool:
        cut = Cut(true_at=day) if zone is None else Cut(true_at=day, zone=zone)
        person = as_of(facts, cut).person
        return person is not None and person.named

    assert not named(date(2024, 7, 1))
    assert named(date(2024, 7, 2))
    assert named(date(2024, 7, 1), "UTC")


@given(st.lists(st.sampled_from(["s1", "s2", "s3", "s4"]), unique=True), st.integers(0, 80), st.booleans())
def test_true_at_a_date_is_the_standing_of_the_facts_up_to_it(attended: list[str], days: int, result: bool) -> None:
    on = STARTS + timedelta(days=days)
    marks = tuple(mark(session, version=3 + i) for i, session in enumerate(attended))
    facts = learner(*marks, assessment=passed() if result else None)
    held = {change.session_id: change.session.on for change in sessions() if change.session is not None}
    until = replace(
        learner(*(each for each in marks if held[each.session_id or ""] <= on)),
        assessment=passed() if result and on >= date(2024, 11, 25) else None,
    )
    assert standing(as_of(facts, Cut(true_at=on)), on) == standing(until, on)


def registers(facts: LearnerFacts) -> tuple[list[str], bool]:
    """What the course's completion says is missing, and whether it is still possible."""
    award = standing(facts, TODAY).award("completion")
    assert award is not None
    return [each.text for each in award.explanation.missing], award.explanation.possible


def test_a_late_joiner_is_told_of_no_register_that_enrolment_would_refuse() -> None:
    for days, outstanding in ((49, "1 half-day"), (43, "1 half-day"), (42, "2 half-days")):
        late = (status("requested", STARTS), status("placed", STARTS + timedelta(days=days), 2))
        told = ["3 more half-days", f"{outstanding} held and not marked yet", "this can no longer be reached"]
        assert registers(learner(statuses=late)) == (told, False)


def test_who_withdrew_may_still_be_marked_for_the_days_before() -> None:
    left = withdrawn(STARTS + timedelta(days=15))
    told = ["2 more half-days", "2 half-days held and not marked yet"]
    assert registers(learner(mark("s1"), statuses=left)) == (told, True)
    assert state(standing(learner(*half(), statuses=left), TODAY)) == "pending"
    told = ["2 more half-days", "1 half-day held and not marked yet", "this can no longer be reached"]
    assert registers(learner(mark("s1"), statuses=withdrawn(STARTS + timedelta(days=14)))) == (told, False)


# Revised results


def test_a_pass_that_was_wrong_is_gone_from_its_own_day_on_however_late_it_was_revised() -> None:
    on, revised_on = date(2024, 11, 25), date(2025, 1, 20)
    steps: list[Event] = [
        WorkSubmitted(component_id="project", attempt=1, submitted_on=on),
        WorkAssessed(component_id="project", result="passed", mark=None, assessed_on=on),
    ]
    for version, result in ((2, "failed"), (3, "passed"), (4, "failed")):
        steps.append(
            ResultRevised(
                component_id="project",
                result=result,
                mark=None,
                assessed_on=revised_on,
                replaces=version,
                reason_code="clerical-error",
            )
        )
        gone = learner(*half(), statuses=withdrawn(date(2024, 11, 30)), assessment=assessed(*steps))
        met = standing(gone, date(2025, 2, 1)).award("commissioning-credit")
        assert met is not None
        assert met.met == (result == "passed")
        earlier = as_of(learner(assessment=assessed(*steps)), Cut(true_at=on)).assessment
        current = earlier.state().of("project").current if earlier is not None else None
        assert current is not None
        assert current.result == result


# The ends of the calendar


@given(
    st.sampled_from((date.min, date.max, date(9999, 12, 30), STARTS)),
    st.sampled_from((date.min, date.max, date(9990, 1, 1), STARTS)),
    st.sampled_from((date.min, date.max, TODAY)),
    st.sampled_from(("Europe/London", "Pacific/Kiritimati", "Pacific/Pago_Pago")),
)
def test_a_standing_is_found_and_looked_at_again_whatever_the_dates(
    placed_on: date, other: date, today: date, zone: str
) -> None:
    came = status("placed", placed_on)
    far = R7.model_copy(update={"zone": zone})
    cohort = CohortRecord(cohort_id="autumn", recorded=THEN, starts_on=other, changes=sessions())
    match = MatchRecord(matched_on=other, matched_recorded=THEN)
    for statuses in ((came,), (came, status("withdrawn", other, 2))):
        facts = learner(
            statuses=statuses, cohort=cohort, match=match, programme=ProgrammeRecord(programme=far, recorded=THEN)
        )
        settlement(facts, standing(facts, today), today)
        again_on = look_again_on(facts, today)
        assert again_on is None or start_of(again_on, zone).tzinfo is UTC


@given(st.sampled_from((date.min, date.max)), st.sampled_from(("Pacific/Kiritimati", "Pacific/Pago_Pago")))
def test_every_instant_has_a_civil_date_in_every_zone(day: date, zone: str) -> None:
    for hour in (0, 12, 23):
        assert abs(civil_date(datetime(day.year, day.month, day.day, hour, tzinfo=UTC), zone) - day).days <= 1
