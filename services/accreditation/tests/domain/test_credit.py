"""The ledger, decided: what follows from "met" and "not met", who comes first under a cap, what the board decides."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from accreditation.domain.credit import (
    CREDIT,
    AwardConfirmed,
    AwardMade,
    AwardTakenBack,
    AwardTerms,
    ConfirmAwards,
    Credit,
    CreditEvent,
    DecideReview,
    Earned,
    Ledger,
    Lost,
    ReviewClosed,
    ReviewOpened,
    SettleAwards,
    settle,
)
from eventcore.testing import given

DAY = date(2024, 12, 2)
LATER = date(2025, 6, 1)
SPRING, AUTUMN = date(2024, 1, 10), date(2024, 10, 1)


def terms(award: str = "credit", *, cohort: str = "autumn", worth: int = 20, rank: int = 1, **rest: Any) -> AwardTerms:
    credit = Credit(credits=Decimal(worth), scheme="CATS", level=7, ects=Decimal(worth) / 2, transferable=True)
    return AwardTerms(
        **{
            "cohort_id": cohort,
            "award_id": award,
            "programme_id": "course",
            "programme_version": 1,
            "rule_version": "0" * 16,
            "title": "Sample award",
            "kind": "credit",
            "credit": credit,
            "owner": "owner",
            "body": "body",
            "confirmation": "board",
            "certificate": True,
            "rank": rank,
            "cohort_starts_on": AUTUMN if cohort == "autumn" else SPRING,
            **rest,
        }
    )


def met(
    *awards: AwardTerms, lost: tuple[Lost, ...] = (), cap: int | None = None, rests_on: tuple[int, ...] = ()
) -> SettleAwards:
    return SettleAwards(
        cohort_id=awards[0].cohort_id if awards else "autumn",
        credit_cap=None if cap is None else Decimal(cap),
        earned=tuple(Earned(terms=each, tree="{}", rests_on=rests_on) for each in awards),
        lost=lost,
        today=DAY,
    )


def unmet(award: str = "credit", basis: str = "facts-1") -> SettleAwards:
    return met(lost=(Lost(award_id=award, basis=basis, tree="{}"),))


def made(award: AwardTerms) -> AwardMade:
    return AwardMade(terms=award, made_on=DAY, tree="{}")


def confirmed(award: str = "credit", cohort: str = "autumn") -> AwardConfirmed:
    return AwardConfirmed(cohort_id=cohort, award_id=award, by="board", decided_on=DAY)


def taken_back(award: str = "credit", cohort: str = "autumn", reason: Any = "not-met") -> AwardTakenBack:
    return AwardTakenBack(cohort_id=cohort, award_id=award, reason_code=reason, taken_on=DAY)


OPENED = ReviewOpened(
    cohort_id="autumn", award_id="credit", review_id="review-1", basis="facts-1", opened_on=DAY, tree="{}"
)


def closed(outcome: Any, reason: str = "board-minutes") -> ReviewClosed:
    return ReviewClosed(
        cohort_id="autumn",
        award_id="credit",
        review_id="review-1",
        outcome=outcome,
        reason_code=reason,
        decided_on=DAY,
    )


def board(award: str = "credit", on: date = DAY, by: Any = "board") -> ConfirmAwards:
    return ConfirmAwards(cohort_id="autumn", award_ids=(award,), by=by, decided_on=on, today=LATER, objection=None)


def decision(word: Any, review: str = "review-1", on: date = DAY) -> DecideReview:
    return DecideReview(
        cohort_id="autumn",
        award_id="credit",
        review_id=review,
        decision=word,
        reason_code="board-minutes",
        decided_on=on,
        today=LATER,
    )


def test_what_is_met_is_awarded_once() -> None:
    given(CREDIT).when(met(terms())).then(made(terms()))
    given(CREDIT, made(terms())).when(met(terms())).then_nothing()


def test_a_correction_takes_back_what_is_provisional() -> None:
    given(CREDIT, made(terms())).when(unmet()).then(taken_back())


def test_what_was_taken_back_is_awarded_again_when_the_facts_come_back() -> None:
    given(CREDIT, made(terms()), taken_back()).when(met(terms())).then(made(terms()))


def test_a_correction_opens_a_review_of_what_is_confirmed() -> None:
    given(CREDIT, made(terms()), confirmed()).when(unmet()).then(OPENED)


def test_a_review_is_opened_once() -> None:
    given(CREDIT, made(terms()), confirmed(), OPENED).when(unmet()).then_nothing()
    given(CREDIT, made(terms()), confirmed(), OPENED).when(unmet(basis="facts-2")).then_nothing()


def test_a_review_closes_by_itself_when_the_facts_come_back() -> None:
    restored = closed("restored", "facts-restored")
    given(CREDIT, made(terms()), confirmed(), OPENED).when(met(terms())).then(restored)


def test_the_body_lets_the_award_stand_and_is_not_asked_again_on_the_same_facts() -> None:
    reviewed = (made(terms()), confirmed(), OPENED)
    given(CREDIT, *reviewed).when(decision("upheld")).then(closed("upheld"))
    upheld = given(CREDIT, *reviewed, closed("upheld"))
    upheld.when(unmet()).then_nothing()
    again = OPENED.model_copy(update={"review_id": "review-2", "basis": "facts-2"})
    upheld.when(unmet(basis="facts-2")).then(again)


def test_the_body_revokes_and_a_repeat_is_harmless() -> None:
    reviewed = (made(terms()), confirmed(), OPENED)
    given(CREDIT, *reviewed).when(decision("revoked")).then(closed("revoked"))
    given(CREDIT, *reviewed, closed("revoked")).when(decision("revoked")).then_nothing()
    given(CREDIT, *reviewed, closed("revoked")).when(decision("upheld")).then_refused("review-not-open")


def test_a_review_is_decided_on_the_day_it_was_opened_or_later() -> None:
    opened = given(CREDIT, made(terms()), confirmed(), OPENED)
    opened.when(decision("upheld", on=date(2024, 12, 1))).then_refused("decided-before-opened", "decided_on")
    opened.when(decision("upheld", on=DAY)).then(closed("upheld"))


def test_a_decision_sent_again_never_decides_a_later_review() -> None:
    later = OPENED.model_copy(update={"review_id": "review-2", "basis": "facts-2"})
    reopened = given(CREDIT, made(terms()), confirmed(), OPENED, closed("upheld"), later)
    reopened.when(decision("upheld", "review-1")).then_refused("review-not-open")
    reopened.when(decision("upheld", "review-2")).then(closed("upheld").model_copy(update={"review_id": "review-2"}))


def test_what_the_body_revoked_once_comes_back_for_the_body_to_confirm() -> None:
    automatic = terms(confirmation="automatic")
    revoked = given(CREDIT, made(automatic), confirmed(), OPENED, closed("revoked"))
    revoked.when(met(automatic)).then(made(terms(confirmation="board")))


def test_what_the_body_revoked_stays_revoked_when_the_facts_come_and_go_again() -> None:
    automatic, board_decides = terms(confirmation="automatic"), terms(confirmation="board")
    revoked = (made(automatic), confirmed(), OPENED, closed("revoked"))
    gone = given(CREDIT, *revoked, made(board_decides), taken_back())
    gone.when(met(automatic)).then(made(board_decides))
    gone.when(unmet()).then_nothing()
    gone.when(board()).then_refused("not-provisional")
    gone.when(decision("revoked")).then_nothing()
    twice = given(CREDIT, *revoked, made(board_decides), taken_back(), made(board_decides), taken_back())
    twice.when(met(automatic)).then(made(board_decides))


def test_no_machine_confirms_what_the_body_revoked_once_whatever_its_terms_said_when_it_came_back() -> None:
    automatic = terms(confirmation="automatic")
    revoked = (made(automatic), confirmed(), OPENED, closed("revoked"), made(automatic), taken_back())
    again = given(CREDIT, *revoked, made(automatic))
    again.when(board(by="automatic")).then_refused("board-decides")
    again.when(board()).then(confirmed())


def test_only_a_provisional_award_is_confirmed() -> None:
    given(CREDIT, made(terms())).when(board()).then(confirmed())
    given(CREDIT, made(terms()), confirmed()).when(board()).then_nothing()
    given(CREDIT).when(board()).then_refused("not-provisional")
    given(CREDIT, made(terms()), taken_back()).when(board()).then_refused("not-provisional")
    given(CREDIT, made(terms()), confirmed(), OPENED).when(board()).then_refused("not-provisional")


def test_a_board_does_not_decide_before_the_award_was_made() -> None:
    early = board(on=date(2024, 11, 1))
    given(CREDIT, made(terms())).when(early).then_refused("decided-before-made", "decided_on")


def test_what_waits_for_a_board_is_never_confirmed_by_a_machine() -> None:
    given(CREDIT, made(terms())).when(board(by="automatic")).then_refused("board-decides")


def test_the_same_award_from_an_earlier_cohort_is_the_one_that_counts() -> None:
    spring, autumn = terms(cohort="spring"), terms(cohort="autumn")
    given(CREDIT, made(spring)).when(met(autumn)).then_nothing()
    gives_way = taken_back(cohort="autumn", reason="held-from-another-cohort")
    given(CREDIT, made(autumn)).when(met(spring)).then(gives_way, made(spring))


def test_a_confirmed_award_never_gives_way() -> None:
    given(CREDIT, made(terms(cohort="autumn")), confirmed()).when(met(terms(cohort="spring"))).then_nothing()


def test_the_cap_is_never_exceeded_and_the_stated_rank_decides() -> None:
    first, second = terms("first", rank=1), terms("second", rank=2)
    given(CREDIT, made(first)).when(met(second, cap=30)).then_nothing()
    given(CREDIT, made(second)).when(met(first, cap=30)).then(taken_back("second", reason="outranked"), made(first))
    given(CREDIT).when(met(second, first, cap=30)).then(made(first))


def test_a_cap_lets_through_what_still_fits() -> None:
    first, large, small = terms("first", rank=1), terms("large", rank=2), terms("small", rank=3, worth=10)
    given(CREDIT).when(met(first, large, small, cap=30)).then(made(first), made(small))


def test_what_is_lost_makes_room_in_the_same_decision() -> None:
    first, second = terms("first", rank=1), terms("second", rank=2)
    both = met(second, lost=(Lost(award_id="first", basis="facts", tree="{}"),), cap=20)
    given(CREDIT, made(first)).when(both).then(taken_back("first"), made(second))


def test_an_award_does_not_displace_what_its_own_rule_counts() -> None:
    base, top = terms("base", rank=2), terms("top", rank=1)
    given(CREDIT, made(base)).when(met(top, cap=20, rests_on=(1,))).then_nothing()


def test_credits_of_another_programme_are_outside_the_cap() -> None:
    other = terms(cohort="spring", programme_id="other-course")
    given(CREDIT, made(other)).when(met(terms(), cap=20)).then(made(terms()))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_a_settlement_comes_to_is_at_rest(count: int) -> None:
    command = met(*(terms(f"award-{i}", rank=i + 1) for i in range(count)), cap=40)
    ledger = _after(Ledger(), settle(command, Ledger()))
    assert settle(command, ledger) == []


# Whatever the order in which cohorts are looked at, the same awards live in the end.

CAP = 40
AWARDS = {
    "spring": [
        terms("a", cohort="spring", rank=2),
        terms("b", cohort="spring", rank=1),
        terms("c", cohort="spring", rank=3, worth=10),
    ],
    "autumn": [terms("a", cohort="autumn", rank=2), terms("d", cohort="autumn", rank=1, worth=30)],
}
LOOKS = st.lists(
    st.tuples(st.sampled_from(["spring", "autumn"]), st.frozensets(st.sampled_from(["a", "b", "c", "d"]))), max_size=12
)


def _after(ledger: Ledger, events: list[CreditEvent]) -> Ledger:
    for event in events:
        ledger = CREDIT.evolve(ledger, event, ledger.version + 1)
    return ledger


def _look(ledger: Ledger, cohort: str, true: frozenset[str]) -> Ledger:
    mine = AWARDS[cohort]
    command = SettleAwards(
        cohort_id=cohort,
        credit_cap=Decimal(CAP),
        earned=tuple(Earned(terms=each, tree="{}") for each in mine if each.award_id in true),
        lost=tuple(Lost(award_id=e.award_id, basis="x", tree="{}") for e in mine if e.award_id not in true),
        today=DAY,
    )
    return _after(ledger, settle(command, ledger))


def _rest(ledger: Ledger, facts: dict[str, frozenset[str]], order: list[str]) -> Ledger:
    for _ in range(10):
        before = ledger
        for cohort in order:
            ledger = _look(ledger, cohort, facts[cohort])
        if ledger.version == before.version:
            return ledger
    raise AssertionError("the ledger never comes to rest")


@drawn(
    LOOKS,
    st.fixed_dictionaries({c: st.frozensets(st.sampled_from(["a", "b", "c", "d"])) for c in AWARDS}),
    st.permutations(list(AWARDS)),
)
def test_the_awards_that_live_do_not_depend_on_arrival(
    past: list[tuple[str, frozenset[str]]], facts: dict[str, frozenset[str]], order: list[str]
) -> None:
    ledger = Ledger()
    for cohort, true in past:
        ledger = _look(ledger, cohort, true)
        _never_twice_nor_above_the_cap(ledger)
    rested = _rest(ledger, facts, order)
    clean = _rest(Ledger(), facts, list(AWARDS))
    assert {each.key for each in rested.live()} == {each.key for each in clean.live()}


def _never_twice_nor_above_the_cap(ledger: Ledger) -> None:
    live = [each.terms.award_id for each in ledger.live()]
    assert len(live) == len(set(live))
    assert sum(each.credits for each in ledger.live()) <= CAP


def test_a_replayed_ledger_is_the_ledger_that_decided() -> None:
    events: list[CreditEvent] = [made(terms()), confirmed(), OPENED, closed("revoked")]
    given(CREDIT, *events).then_state(_after(Ledger(), events))
