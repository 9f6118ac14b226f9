"""A match, in sentences."""

from __future__ import annotations

from datetime import UTC, date, datetime

from hypothesis import given as examples
from hypothesis import strategies as st

from eventcore.decider import Refusal
from eventcore.testing import given
from mentoring.domain.limits import MEETINGS_MAX
from mentoring.domain.match import (
    MATCH,
    ChooseMentor,
    ConfirmMeeting,
    Match,
    MatchEvent,
    MeetingConfirmed,
    MeetingHeld,
    MentorChosen,
    OfferShortlist,
    ShortlistOffered,
    Side,
)

NOW = datetime(2024, 11, 5, 12, 0, tzinfo=UTC)
TODAY = date(2024, 11, 5)
REFUSED = Refusal("not-placed", "the learner has no place")
OFFERED = ShortlistOffered(mentor_ids=("mentor-a", "mentor-b", "mentor-c"))
CHOSEN = MentorChosen(mentor_id="mentor-b", matched_on=date(2024, 10, 1), window_ends_on=date(2025, 10, 1))


def offer(*mentors: str) -> OfferShortlist:
    return OfferShortlist(mentee_id="mentee", mentor_ids=mentors, size=3, objection=None)


def choose(mentor: str, on: date | None = date(2024, 10, 1), may_backdate: bool = True) -> ChooseMentor:
    return ChooseMentor(
        mentor_id=mentor, matched_on=on, within_months=12, today=TODAY, may_backdate=may_backdate, objection=None
    )


def met(side: Side, on: date = date(2024, 11, 1), meeting: str = "m1") -> ConfirmMeeting:
    return ConfirmMeeting(meeting_id=meeting, on=on, side=side, today=TODAY)


def test_a_shortlist_of_exactly_three_is_offered() -> None:
    given(MATCH).when(offer("mentor-a", "mentor-b", "mentor-c")).then(OFFERED)


def test_two_four_or_repeated_mentors_are_no_shortlist() -> None:
    for mentors in (("a", "b"), ("a", "b", "c", "d"), ("a", "b", "b"), ("a", "b", "mentee")):
        given(MATCH).when(offer(*mentors)).then_refused("bad-shortlist", "mentor_ids")


def test_an_empty_shortlist_is_none_either_and_never_one_that_stands_already() -> None:
    given(MATCH).when(offer()).then_refused("bad-shortlist", "mentor_ids")
    given(MATCH, OFFERED).when(offer()).then_refused("bad-shortlist", "mentor_ids")
    given(MATCH).when(offer().model_copy(update={"objection": REFUSED})).then_refused("not-placed")


def test_the_same_shortlist_again_changes_nothing_and_another_replaces_it_until_the_choice() -> None:
    given(MATCH, OFFERED).when(offer("mentor-a", "mentor-b", "mentor-c")).then_nothing()
    given(MATCH, OFFERED).when(offer("x", "y", "z")).then(ShortlistOffered(mentor_ids=("x", "y", "z")))
    assert given(MATCH, OFFERED, CHOSEN).when(offer("x", "y", "z")).then_refused("already-chosen").conflict


def test_the_choice_opens_twelve_calendar_months_with_the_last_day_included() -> None:
    given(MATCH, OFFERED).when(choose("mentor-b")).then(CHOSEN)


def test_a_mentee_has_one_choice_from_the_shortlist() -> None:
    given(MATCH).when(choose("mentor-a")).then_refused("no-shortlist")
    given(MATCH, OFFERED).when(choose("stranger")).then_refused("not-on-shortlist", "mentor_id")
    given(MATCH, OFFERED, CHOSEN).when(choose("mentor-b")).then_nothing()
    assert given(MATCH, OFFERED, CHOSEN).when(choose("mentor-a")).then_refused("already-chosen").conflict


def test_only_an_importer_dates_a_match_back_and_without_a_date_it_begins_today() -> None:
    given(MATCH, OFFERED).when(choose("mentor-b", may_backdate=False)).then_refused("past-date", "matched_on")
    today = MentorChosen(mentor_id="mentor-b", matched_on=TODAY, window_ends_on=date(2025, 11, 5))
    for on in (None, TODAY):
        given(MATCH, OFFERED).when(choose("mentor-b", on, may_backdate=False)).then(today)


def test_the_same_choice_of_another_day_is_no_repeat() -> None:
    given(MATCH, OFFERED, CHOSEN).when(choose("mentor-b", None)).then_nothing()
    other_day = given(MATCH, OFFERED, CHOSEN).when(choose("mentor-b", date(2024, 10, 2)))
    assert other_day.then_refused("already-chosen", "matched_on").conflict


def test_what_was_looked_up_is_no_part_of_what_was_sent() -> None:
    tomorrow = choose("mentor-b").model_copy(update={"today": date(2024, 11, 6), "objection": REFUSED})
    assert tomorrow.model_dump(mode="json") == choose("mentor-b").model_dump(mode="json")
    later = met("mentee").model_copy(update={"today": date(2024, 11, 6)})
    assert later.model_dump(mode="json") == met("mentee").model_dump(mode="json")
    objected = offer("a", "b", "c").model_copy(update={"objection": REFUSED})
    assert objected.model_dump(mode="json") == offer("a", "b", "c").model_dump(mode="json")


def test_an_objection_refuses_what_is_not_so_already() -> None:
    objected = offer("mentor-a", "mentor-b", "mentor-c").model_copy(update={"objection": REFUSED})
    given(MATCH).when(objected).then_refused("not-placed")
    given(MATCH, OFFERED).when(objected).then_nothing()
    choice = choose("mentor-b").model_copy(update={"objection": REFUSED})
    given(MATCH, OFFERED).when(choice).then_refused("not-placed")
    given(MATCH, OFFERED, CHOSEN).when(choice).then_nothing()


def test_a_match_cannot_begin_tomorrow() -> None:
    given(MATCH, OFFERED).when(choose("mentor-a", date(2024, 11, 6))).then_refused("match-in-future", "matched_on")


def test_a_meeting_counts_once_both_sides_have_confirmed_it() -> None:
    first = MeetingConfirmed(meeting_id="m1", on=date(2024, 11, 1), side="mentor")
    given(MATCH, OFFERED, CHOSEN).when(met("mentor")).then(first)
    given(MATCH, OFFERED, CHOSEN, first).when(met("mentor")).then_nothing()
    given(MATCH, OFFERED, CHOSEN, first).when(met("mentee")).then(
        MeetingConfirmed(meeting_id="m1", on=date(2024, 11, 1), side="mentee"),
        MeetingHeld(meeting_id="m1", on=date(2024, 11, 1)),
    )


def test_both_sides_must_name_the_same_day() -> None:
    first = MeetingConfirmed(meeting_id="m1", on=date(2024, 11, 1), side="mentor")
    refusal = given(MATCH, OFFERED, CHOSEN, first).when(met("mentee", date(2024, 11, 2)))
    assert refusal.then_refused("meeting-date-differs", "on").conflict


def test_meetings_before_the_match_after_its_window_or_in_the_future_are_refused() -> None:
    matched = given(MATCH, OFFERED, CHOSEN)
    matched.when(met("mentee", date(2024, 9, 30))).then_refused("outside-window", "on")
    matched.when(met("mentee", date(2025, 10, 2))).then_refused("outside-window", "on")
    matched.when(met("mentee", date(2024, 11, 6))).then_refused("meeting-not-held", "on")
    given(MATCH, OFFERED).when(met("mentee")).then_refused("not-matched")


@examples(
    st.lists(
        st.one_of(
            st.builds(offer, st.sampled_from("abc"), st.sampled_from("def"), st.sampled_from("ghi")),
            st.builds(choose, st.sampled_from("abcdefghi")),
            st.builds(met, st.sampled_from(("mentee", "mentor")), meeting=st.sampled_from(("m1", "m2"))),
        ),
        max_size=12,
    )
)
def test_whatever_is_tried_there_is_one_mentor_from_the_shortlist_and_held_means_both(
    commands: list[OfferShortlist | ChooseMentor | ConfirmMeeting],
) -> None:
    state, events = Match(), list[MatchEvent]()
    for command in commands:
        decision = MATCH.decide(command, state, NOW)
        for event in () if isinstance(decision, Refusal) else decision:
            events.append(event)
            state = MATCH.evolve(state, event, len(events))
    chosen = [e for e in events if isinstance(e, MentorChosen)]
    assert len(chosen) <= 1
    assert all(e.mentor_id in state.shortlist for e in chosen)
    held = [e.meeting_id for e in events if isinstance(e, MeetingHeld)]
    assert len(held) == len(set(held))
    assert set(held) == {name for name, m in state.meetings.items() if m.confirmed_by == {"mentee", "mentor"}}


def test_a_match_takes_as_many_meetings_as_its_limit() -> None:
    on = date(2024, 11, 1)
    before = [MeetingConfirmed(meeting_id=f"m{n}", on=on, side="mentor") for n in range(MEETINGS_MAX - 1)]
    last = MeetingConfirmed(meeting_id="last", on=on, side="mentor")
    given(MATCH, OFFERED, CHOSEN, *before).when(met("mentor", on, "last")).then(last)
    given(MATCH, OFFERED, CHOSEN, *before, last).when(met("mentor", on, "more")).then_refused("too-many-meetings")
