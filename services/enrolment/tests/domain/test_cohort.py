from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given as for_all
from hypothesis import strategies as st

from enrolment.domain.cohort import (
    COHORT,
    CancelSession,
    Cohort,
    CohortCommand,
    CohortOpened,
    OpenCohort,
    ScheduleSession,
    Session,
    SessionCancelled,
    SessionScheduled,
)
from enrolment.domain.limits import SESSIONS_MAX
from eventcore.decider import Refusal
from eventcore.testing import NOON, given

# NOON, the tests' now, is on 1 October 2024.


def session(session_id: str = "s1", on: date = date(2024, 10, 8), **other: Any) -> Session:
    said: dict[str, Any] = {
        "title": "Half-day",
        "unit_kind": "half-day",
        "event_id": None,
        "module_id": None,
        "start": "09:30",
    }
    said |= {"minutes": 180, "place": "online", "provider_id": "provider-a"}
    return Session(session_id=session_id, on=on, **(said | other))


TERMS: dict[str, Any] = {
    "cohort_id": "c1",
    "programme_id": "course",
    "programme_version": 1,
    "zone": "Europe/London",
    "starts_on": date(2024, 9, 1),
    "ends_on": date(2025, 1, 31),
    "capacity": 2,
    "waiting_list": True,
    "provider_id": "provider-a",
}
OPENED = CohortOpened(**TERMS, sessions=(session(), session("held", date(2024, 9, 24))))


def test_a_cohort_is_opened_with_its_sessions() -> None:
    given(COHORT).when(OpenCohort(**TERMS, sessions=OPENED.sessions)).then(OPENED)


def test_opening_the_same_again_changes_nothing() -> None:
    given(COHORT, OPENED).when(OpenCohort(**TERMS, sessions=OPENED.sessions)).then_nothing()


def test_opening_the_same_again_is_harmless_although_sessions_moved_since() -> None:
    moved = SessionScheduled(session=session(on=date(2024, 10, 9)))
    given(COHORT, OPENED, moved).when(OpenCohort(**TERMS, sessions=OPENED.sessions)).then_nothing()
    given(COHORT, OPENED, moved).when(OpenCohort(**TERMS, sessions=(moved.session,))).then_refused("cohort-differs")


def test_opening_it_differently_is_a_conflict() -> None:
    differing = OpenCohort(**(TERMS | {"capacity": 3}), sessions=OPENED.sessions)
    assert given(COHORT, OPENED).when(differing).then_refused("cohort-differs").conflict


def test_sessions_of_an_unknown_cohort_are_refused() -> None:
    given(COHORT).when(ScheduleSession(session=session())).then_refused("cohort-unknown")
    given(COHORT).when(CancelSession(session_id="s1", reason_code="snow")).then_refused("cohort-unknown")


def test_a_session_is_added() -> None:
    added = session("s2", date(2024, 10, 15))
    given(COHORT, OPENED).when(ScheduleSession(session=added)).then(SessionScheduled(session=added))


def test_a_session_to_come_is_moved() -> None:
    moved = session(on=date(2024, 10, 9))
    given(COHORT, OPENED).when(ScheduleSession(session=moved)).then(SessionScheduled(session=moved))


def test_a_session_that_stands_as_asked_is_left_alone() -> None:
    given(COHORT, OPENED).when(ScheduleSession(session=session())).then_nothing()


def test_a_session_whose_day_has_come_does_not_move() -> None:
    """On its day its register may be posted: marked and moved, a session still to come would count."""
    opened = OPENED.model_copy(update={"sessions": (session("today", date(2024, 10, 1)), *OPENED.sessions)})
    for session_id in ("today", "held"):
        moved = session(session_id, date(2024, 10, 20))
        refusal = given(COHORT, opened).when(ScheduleSession(session=moved)).then_refused("session-held")
        assert "cancel it and schedule one with another id" in refusal.message


def test_whether_its_day_has_come_is_judged_in_the_programmes_zone() -> None:
    opened = OPENED.model_copy(update={"sessions": (session("tomorrow", date(2024, 10, 2)),)})
    moved = ScheduleSession(session=session("tomorrow", date(2024, 10, 3)))
    late_in_london = datetime(2024, 10, 1, 23, 30, tzinfo=UTC)  # 2 October, 00:30
    given(COHORT, opened).when(moved).then(SessionScheduled(session=moved.session))
    given(COHORT, opened).when(moved, now=late_in_london).then_refused("session-held")


def test_a_session_of_today_may_still_begin_later() -> None:
    opened = OPENED.model_copy(update={"sessions": (session("today", date(2024, 10, 1)),)})
    later = session("today", date(2024, 10, 1), start="14:00")
    given(COHORT, opened).when(ScheduleSession(session=later)).then(SessionScheduled(session=later))


def test_a_held_session_may_still_change_its_title() -> None:
    renamed = session("held", date(2024, 9, 24), title="Opening half-day")
    given(COHORT, OPENED).when(ScheduleSession(session=renamed)).then(SessionScheduled(session=renamed))


def test_a_session_outside_the_cohorts_days_is_refused() -> None:
    for on in (date(2024, 8, 31), date(2025, 2, 1)):
        given(COHORT, OPENED).when(ScheduleSession(session=session("s9", on))).then_refused(
            "invalid-argument", "session.on"
        )


def test_a_session_is_cancelled_even_after_its_day() -> None:
    for session_id in ("s1", "held"):
        given(COHORT, OPENED).when(CancelSession(session_id=session_id, reason_code="snow")).then(
            SessionCancelled(session_id=session_id, reason_code="snow")
        )


def test_cancelling_again_changes_nothing() -> None:
    cancelled = SessionCancelled(session_id="s1", reason_code="snow")
    given(COHORT, OPENED, cancelled).when(CancelSession(session_id="s1", reason_code="flood")).then_nothing()


def test_a_cancelled_session_does_not_come_back() -> None:
    cancelled = SessionCancelled(session_id="s1", reason_code="snow")
    moved = ScheduleSession(session=session(on=date(2024, 10, 9)))
    given(COHORT, OPENED, cancelled).when(moved).then_refused("session-cancelled")


def test_an_unknown_session_cannot_be_cancelled() -> None:
    given(COHORT, OPENED).when(CancelSession(session_id="s9", reason_code="snow")).then_refused("session-unknown")


def test_a_cohort_has_a_bounded_number_of_sessions() -> None:
    full = OPENED.model_copy(update={"sessions": tuple(session(f"s{i}") for i in range(SESSIONS_MAX))})
    given(COHORT, full).when(ScheduleSession(session=session("more"))).then_refused("too-many-sessions")


def test_whoever_posted_a_register_once_stays_among_the_providers() -> None:
    handed_over = SessionScheduled(session=session(provider_id="provider-b"))
    back = SessionScheduled(session=session(provider_id="provider-c"))
    state = given(COHORT, OPENED, handed_over, back).state
    assert state is not None
    assert state.provider_ids == ("provider-a", "provider-b", "provider-c")


days = st.dates(date(2024, 8, 25), date(2024, 11, 5))
commands = st.one_of(
    st.builds(ScheduleSession, session=st.builds(session, st.sampled_from(["s1", "s2", "held"]), days)),
    st.builds(CancelSession, session_id=st.sampled_from(["s1", "s2", "held"]), reason_code=st.just("snow")),
)


instants = st.integers(-30 * 24, 30 * 24).map(lambda hours: NOON + timedelta(hours=hours))


@for_all(st.lists(st.tuples(commands, instants), max_size=20))
def test_whatever_is_asked_a_cancelled_session_stays_and_every_session_is_within_the_cohorts_days(
    asked: list[tuple[CohortCommand, datetime]],
) -> None:
    state: Cohort | None = given(COHORT, OPENED).state
    cancelled: set[str] = set()
    for version, (command, at) in enumerate(asked, start=2):
        decision = COHORT.decide(command, state, at)
        for event in () if isinstance(decision, Refusal) else decision:
            state = COHORT.evolve(state, event, version)
        assert state is not None
        assert cancelled <= {each for each, planned in state.sessions.items() if planned.cancelled}
        cancelled = {each for each, planned in state.sessions.items() if planned.cancelled}
        assert all(state.starts_on <= planned.session.on <= state.ends_on for planned in state.sessions.values())
