"""Cohorts: opened from the programme's timetable or with sessions of their own, and seen by whom they concern."""

from typing import Any

import pytest

from catalogue.model import CohortDefaults
from credence.enrolment.v1 import cohorts_pb2
from enrolment.domain.limits import CAPACITY_MAX
from servicekit.errors import NotFound

from .desk import COURSE, Desk, codes


async def cohort(desk: Desk, cohort_id: str = "c1", role: str = "admissions", **who: Any) -> cohorts_pb2.Cohort:
    await desk.settle()
    request = cohorts_pb2.GetCohortRequest(cohort_id=cohort_id)
    answer: cohorts_pb2.Cohort = await desk.call(desk.cohorts.GetCohort, request, role, **who)
    return answer


def session(session_id: str = "x1", **said: Any) -> cohorts_pb2.Session:
    whole: dict[str, Any] = {
        "title": "Extra",
        "unit_kind": "half-day",
        "on": "2024-10-15",
        "start": "09:30",
        "minutes": 180,
    }
    return cohorts_pb2.Session(session_id=session_id, **(whole | said))


async def schedule(desk: Desk, *sessions: cohorts_pb2.Session, cohort_id: str = "c1") -> list[str]:
    rows = [cohorts_pb2.ScheduleSession(cohort_id=cohort_id, session=each) for each in sessions]
    request = cohorts_pb2.ScheduleSessionsRequest(rows=rows)
    return codes((await desk.call(desk.cohorts.ScheduleSessions, request, "admissions")).outcomes)


async def test_a_cohort_opens_with_the_programmes_timetable_and_defaults(desk: Desk) -> None:
    await desk.load(COURSE)
    assert codes((await desk.open()).outcomes) == ["accepted"]
    opened = await cohort(desk)
    assert [(each.session.session_id, each.session.on, each.session.provider_id) for each in opened.sessions] == [
        ("s1", "2024-09-01", "provider-a"),
        ("s2", "2024-09-08", "provider-a"),
        ("s3", "2024-09-15", "provider-b"),
        ("s4", "2024-10-27", "provider-a"),
    ]
    assert (opened.ends_on, opened.capacity, opened.waiting_list) == ("2024-12-01", 2, True)


async def test_a_cohort_opens_with_what_it_is_given(desk: Desk) -> None:
    await desk.load(COURSE)
    await desk.open(sessions=[session()], ends_on="2024-10-31", capacity=0, waiting_list=False)
    opened = await cohort(desk)
    assert [each.session.session_id for each in opened.sessions] == ["x1"]
    assert (opened.ends_on, opened.capacity, opened.waiting_list) == ("2024-10-31", 0, False)


async def test_a_cohort_may_go_on_after_the_months_of_whoever_was_there_first(desk: Desk) -> None:
    """The longest duration is each learner's own, from their placing; a cohort gives places to its last day."""
    await desk.load(COURSE)
    assert codes((await desk.open(ends_on="2025-09-01", sessions=[session(on="2025-03-01")])).outcomes) == ["accepted"]


async def test_opening_again_is_harmless_and_opening_otherwise_conflicts(desk: Desk) -> None:
    await desk.load(COURSE)
    await desk.open()
    assert codes((await desk.open()).outcomes) == ["unchanged"]
    assert codes((await desk.open(capacity=9)).outcomes) == ["cohort-differs"]


async def test_a_cohort_of_an_unknown_programme_is_refused(desk: Desk) -> None:
    assert codes((await desk.open()).outcomes) == ["programme-unknown"]


async def test_every_fault_of_an_opening_is_named(desk: Desk) -> None:
    await desk.load(COURSE)
    [malformed] = (await desk.open("C 1", starts_on="soon", sessions=[session(start="9")])).outcomes
    assert {v.field for v in malformed.violations} == {"cohort_id", "starts_on", "sessions[0].start"}
    strange = [session(unit_kind="shadowing", event_id="e1"), session("x2", module_id="m1", on="2024-08-01")]
    [unknown] = (await desk.open(sessions=strange)).outcomes
    assert {v.field for v in unknown.violations} == {
        "sessions[0].unit_kind",
        "sessions[0].event_id",
        "sessions[1].module_id",
        "sessions[1].on",
    }
    [backwards] = (await desk.open(ends_on="2024-01-01")).outcomes
    assert [v.field for v in backwards.violations] == ["ends_on"]
    [twice] = (await desk.open(sessions=[session(), session()])).outcomes
    assert [v.field for v in twice.violations] == ["sessions[1].session_id"]


async def test_a_programmes_own_number_of_places_is_bounded_as_a_stated_one_is(desk: Desk) -> None:
    crowd = CohortDefaults(capacity=CAPACITY_MAX + 1, waiting_list=True)
    await desk.load(COURSE.model_copy(update={"cohort": crowd}))
    [refused] = (await desk.open(sessions=[session(unit_kind="nap")])).outcomes
    assert [v.field for v in refused.violations] == ["sessions[0].unit_kind", "capacity"]
    assert "2001" in refused.violations[1].description
    assert codes((await desk.open(capacity=CAPACITY_MAX)).outcomes) == ["accepted"]
    assert codes((await desk.open("c2", capacity=0)).outcomes) == ["accepted"]


async def test_somebody_must_post_every_register(desk: Desk) -> None:
    await desk.load(COURSE)
    [outcome] = (await desk.open(provider_id="")).outcomes
    assert {v.field for v in outcome.violations} == {f"sessions[{i}].provider_id" for i in (0, 1, 3)}


async def test_sessions_are_added_and_moved(desk: Desk) -> None:
    await desk.load(COURSE)
    await desk.open()
    answers = await schedule(desk, session(), session(on="2024-10-16"), session(unit_kind="nap"), session("s1"))
    assert answers == ["accepted", "accepted", "invalid-argument", "session-held"]
    assert await schedule(desk, session(), cohort_id="c9") == ["cohort-unknown"]
    found = {each.session.session_id: each.session for each in (await cohort(desk)).sessions}
    assert (found["x1"].on, found["x1"].provider_id) == ("2024-10-16", "provider-a")


async def test_a_cancelled_session_says_why(desk: Desk) -> None:
    await desk.load(COURSE)
    await desk.open()
    rows = [
        cohorts_pb2.CancelSession(cohort_id="c1", session_id="s1", reason_code="snow"),
        cohorts_pb2.CancelSession(cohort_id="c1", session_id="s9", reason_code="snow"),
        cohorts_pb2.CancelSession(cohort_id="c1", session_id="s2", reason_code="It was cold."),
    ]
    request = cohorts_pb2.CancelSessionsRequest(rows=rows)
    answer = await desk.call(desk.cohorts.CancelSessions, request, "admissions")
    assert codes(answer.outcomes) == ["accepted", "session-unknown", "invalid-argument"]
    assert [each.cancelled_reason_code for each in (await cohort(desk)).sessions] == ["snow", "", "", ""]


async def test_a_cohort_is_seen_by_whom_it_concerns_and_by_nobody_else(desk: Desk) -> None:
    await desk.course("p1")
    concerned: list[tuple[str, dict[str, Any]]] = [
        ("learner", {"person": "p1"}),
        ("provider", {"providers": {"provider-b"}}),
        ("awarding-body", {"bodies": {"body"}}),
        ("operator", {}),
    ]
    for role, who in concerned:
        assert (await cohort(desk, role=role, **who)).cohort_id == "c1"
    strangers: list[tuple[str, dict[str, Any]]] = [
        ("learner", {"person": "p2"}),
        ("provider", {"providers": {"provider-z"}}),
        ("assessor", {"bodies": {"another"}}),
    ]
    told = set()
    for role, who in strangers:
        for cohort_id in ("c1", "c9"):
            with pytest.raises(NotFound) as error:
                await cohort(desk, cohort_id, role, **who)
            told.add(error.value.status().SerializeToString())
    assert len(told) == 1


async def test_who_owns_a_programme_sees_its_cohorts_where_it_names_no_awarding_body(desk: Desk) -> None:
    """As accreditation has it: whoever answers for a programme's awards is its body, or else its owner."""
    await desk.load(COURSE, COURSE.model_copy(update={"version": 2, "awarding_body": None}))
    await desk.open("c1")
    await desk.open("c2", programme_version=2)
    assert (await cohort(desk, "c2", "awarding-body", bodies={"owner"})).cohort_id == "c2"
    for cohort_id, body in (("c1", "owner"), ("c2", "body")):
        with pytest.raises(NotFound):
            await cohort(desk, cohort_id, "awarding-body", bodies={body})
