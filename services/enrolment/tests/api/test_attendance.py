"""Registers as partners live them: every answer to a row, corrections, read-back, what is outstanding."""

from datetime import date, timedelta
from typing import Any

import pytest

from credence.enrolment.v1 import attendance_pb2, cohorts_pb2
from servicekit.errors import FailedPrecondition, InvalidArgument, NotFound

from .desk import Desk, codes, days_after_start, mark, request

ABSENT = attendance_pb2.AttendanceValue(state=attendance_pb2.ATTENDANCE_STATE_ABSENT)


def value(state: str, **said: Any) -> attendance_pb2.AttendanceValue:
    return attendance_pb2.AttendanceValue(
        state=attendance_pb2.AttendanceState.Value(f"ATTENDANCE_STATE_{state}"), **said
    )


def shadowing(record_id: str = "r1", **said: Any) -> attendance_pb2.UnscheduledUnit:
    whole = {"unit_kind": "shadowing", "record_id": record_id, "on": "2024-09-20", "attributes": {"sector": "third"}}
    return attendance_pb2.UnscheduledUnit(**(whole | said))


async def cancel(desk: Desk, session_id: str) -> None:
    row = cohorts_pb2.CancelSession(cohort_id="c1", session_id=session_id, reason_code="snow")
    await desk.call(desk.cohorts.CancelSessions, cohorts_pb2.CancelSessionsRequest(rows=[row]), "admissions")


async def template(desk: Desk, provider: str = "provider-a", **said: Any) -> list[attendance_pb2.TemplateRow]:
    request = attendance_pb2.GetRegisterTemplateRequest(**({"cohort_id": "c1"} | said))
    answer = await desk.call(desk.attendance.GetRegisterTemplate, request, "provider", providers={provider})
    return list(answer.rows)


async def register(desk: Desk, provider: str = "provider-a", **said: Any) -> list[attendance_pb2.RegisterEntry]:
    request = attendance_pb2.GetRegisterRequest(**({"cohort_id": "c1"} | said))
    answer = await desk.call(desk.attendance.GetRegister, request, "provider", providers={provider})
    return list(answer.entries)


async def outstanding(desk: Desk, provider: str = "provider-a", **said: Any) -> list[attendance_pb2.OutstandingSession]:
    request = attendance_pb2.ListOutstandingRequest(**said)
    answer = await desk.call(desk.attendance.ListOutstanding, request, "provider", providers={provider})
    return list(answer.sessions)


# What becomes of a row


async def busy(desk: Desk, *persons: str) -> None:
    """Cohort c1 with these and `gone`, who withdrew on its eighth day, and a cancelled session s2; `waits` waits for a
    place on c2; on c3 `late` was placed a day late and two learners have the same reference."""
    await desk.course(*persons, "gone")
    await desk.register("waits", "late", "twin-1", "twin-2")
    await desk.open("c2", capacity=1)
    await desk.open("c3", capacity=0)
    await desk.enrol(request(persons[0], "c2"), request("waits", "c2"))
    await desk.enrol(request("late", "c3", on=days_after_start(1)))
    await desk.enrol(request("twin-1", "c3", reference="twin"), request("twin-2", "c3", reference="twin"))
    await desk.withdraw("gone", days_after_start(7), role="importer")
    await cancel(desk, "s2")
    await desk.settle()


async def test_a_thousand_rows_bad_in_every_way_get_an_answer_each_and_the_good_ones_are_stored(desk: Desk) -> None:
    good = [f"p{i}" for i in range(900)]
    await busy(desk, *good)
    await desk.post(mark("p0", command_id="p0-s1"), mark("p1"))
    bad: list[tuple[attendance_pb2.AttendanceRow, str]] = [
        (mark("nobody"), "not-enrolled"),
        (mark("waits", cohort_id="c2"), "waiting"),
        (mark("gone", session_id=None, unscheduled=shadowing()), "withdrawn"),
        (mark("p2", session_id="s2"), "session-cancelled"),
        (mark("p2", session_id="s4"), "session-not-held"),
        (mark("late", cohort_id="c3"), "placed-later"),
        (mark("p2", session_id="s3"), "not-found"),
        (mark("p2", session_id="s9"), "not-found"),
        (mark("p2", cohort_id="c9"), "not-found"),
        (mark("p0", value=ABSENT), "value-differs"),
        (mark("p0", value=ABSENT, replaces=99, reason_code="wrong-learner"), "replaces-not-current"),
        (mark("p2", replaces=2, reason_code="wrong-learner"), "nothing-to-replace"),
        (mark("p0", command_id="p0-s1"), "replayed"),
        (mark("p0", "s1", command_id="p0-s1", value=ABSENT), "id-reused"),
        (mark("p1"), "unchanged"),
        (mark("p3", value=value("PARTIAL", minutes=180)), "invalid-argument"),
        (mark("p3", value=value("EXCUSED", excuse_code="holiday")), "invalid-argument"),
        (mark("p3", value=value("PRESENT", minutes=5)), "invalid-argument"),
        (mark("p3", value=None), "invalid-argument"),
        (mark(None), "invalid-argument"),
        (mark("p3", learner_reference="ref p3"), "invalid-argument"),
        (mark("p3", unscheduled=shadowing()), "invalid-argument"),
        (mark("p3", replaces=2), "invalid-argument"),
        (mark("p3", reason_code="wrong-learner"), "invalid-argument"),
        (mark("p3", command_id="no spaces"), "invalid-argument"),
        (mark("p3", cohort_id="Not An Id"), "invalid-argument"),
        (mark("p3", session_id=None, unscheduled=shadowing(on="20 September")), "invalid-argument"),
        (mark("p3", session_id=None, unscheduled=shadowing(attributes={"sector": "fourth"})), "invalid-argument"),
        (mark("p3", session_id=None, unscheduled=shadowing(unit_kind="half-day")), "invalid-argument"),
        (mark("p3", session_id=None, unscheduled=shadowing(on="2024-10-02")), "session-not-held"),
        (mark(person_id=None, learner_reference="who"), "not-enrolled"),
        (mark(person_id=None, learner_reference="twin", cohort_id="c3"), "reference-ambiguous"),
    ]
    fine = [
        *(mark(person) for person in good[2:]),
        mark(person_id=None, learner_reference="ref gone"),
        mark("p4", session_id=None, unscheduled=shadowing()),
    ]
    rest = [mark(person, session_id=None, unscheduled=shadowing("r2")) for person in good]
    rows = [row for row, _ in bad] + (fine + rest)[: 1_000 - len(bad)]

    rehearsed = await desk.post(*rows, dry_run=True)
    answer = await desk.post(*rows)

    expected = [code for _, code in bad] + ["accepted"] * (len(rows) - len(bad))
    assert len(rows) == 1_000
    assert codes(each.outcome for each in answer.answers) == expected
    assert codes(each.outcome for each in rehearsed.answers) == expected
    assert rehearsed.token == ""
    assert [each.outcome.row for each in answer.answers] == list(range(1_000))
    await desk.settle()
    assert {entry.person_id for entry in await register(desk, session_id="s1")} == {*good, "gone"}


async def test_a_thousand_rows_take_a_handful_of_reads(desk: Desk) -> None:
    persons = [f"p{i}" for i in range(500)]
    await desk.course(*persons)
    trips: list[str] = []

    async def count(operation: str) -> None:
        if operation != "insert append":  # memory counts each document of one insert
            trips.append(operation)

    running = desk.world["enrolment"]
    running.appends.switch = running.views.switch = count
    rows = [mark(person) for person in persons]
    rows += [mark(person_id=None, learner_reference=f"ref {person}", session_id="s2") for person in persons]
    answer = await desk.post(*rows)
    assert codes(each.outcome for each in answer.answers) == ["accepted"] * 1_000
    assert trips == ["load appends", "load appends", "find enrolments", "load appends"]


async def test_an_answer_shows_the_value_that_stands(desk: Desk) -> None:
    await desk.course("p1")
    first = (await desk.post(mark())).answers[0]
    repeat = (await desk.post(mark(command_id="again"))).answers[0]
    differing = (await desk.post(mark(value=ABSENT))).answers[0]
    version = first.current.version
    assert first.current.recorded_by == "tutor-1"
    assert repeat.current == first.current
    assert differing.current == first.current
    assert f"replaces: {version}" in differing.outcome.message
    corrected = (await desk.post(mark(value=ABSENT, replaces=version, reason_code="wrong-learner"))).answers[0]
    assert corrected.current.value == ABSENT
    assert (corrected.current.replaces, corrected.current.reason_code) == (version, "wrong-learner")


async def test_the_first_file_again_after_a_correction_does_not_undo_it(desk: Desk) -> None:
    await desk.course("p1")
    version = (await desk.post(mark())).answers[0].current.version
    correction = mark(value=ABSENT, replaces=version, reason_code="wrong-learner")
    await desk.post(correction)
    again = (await desk.post(mark(), correction, subject="tutor-2")).answers
    assert codes(each.outcome for each in again) == ["value-differs", "unchanged"]
    assert [each.current.value for each in again] == [ABSENT, ABSENT]


async def test_a_retry_gets_its_first_answer_though_the_session_was_cancelled_meanwhile(desk: Desk) -> None:
    await desk.course("p1", "p2")
    await desk.post(mark(command_id="row-1"))
    await cancel(desk, "s1")
    answers = (await desk.post(mark(command_id="row-1"), mark("p2"))).answers
    assert codes(each.outcome for each in answers) == ["replayed", "session-cancelled"]


async def test_nothing_is_stored_by_a_rehearsal(desk: Desk) -> None:
    await desk.course("p1")
    await desk.post(mark(), dry_run=True)
    await desk.settle()
    assert await register(desk) == []


async def test_another_providers_session_looks_exactly_like_one_that_does_not_exist(desk: Desk) -> None:
    await desk.course("p1")
    rows = [mark(session_id="s3"), mark(session_id="s9"), mark(cohort_id="c9")]
    answers = (await desk.post(*rows)).answers
    stranger = (await desk.post(mark(), mark("nobody"), provider="provider-z")).answers
    seen = {each.SerializeToString() for each in _without_rows([*answers, *stranger])}
    assert len(seen) == 1
    for session in ("s3", "s9"):
        with pytest.raises(NotFound) as told:
            await register(desk, session_id=session)
        assert str(told.value) == "no such session"


def _without_rows(answers: list[attendance_pb2.AttendanceAnswer]) -> list[attendance_pb2.AttendanceAnswer]:
    for each in answers:
        each.outcome.row = 0
    return answers


async def test_another_providers_record_id_is_taken_and_its_value_stays_hidden(desk: Desk) -> None:
    await desk.course("p1")
    await desk.post(mark(session_id=None, unscheduled=shadowing()))
    answer = (await desk.post(mark(session_id=None, unscheduled=shadowing()), provider="provider-b")).answers[0]
    assert codes([answer.outcome]) == ["record-id-taken"]
    assert not answer.HasField("current")


async def test_whoever_speaks_for_several_providers_names_one(desk: Desk) -> None:
    await desk.course("p1")
    request = attendance_pb2.PostAttendanceRequest(rows=[mark()])
    both = {"provider-a", "provider-b"}
    with pytest.raises(InvalidArgument) as told:
        await desk.call(desk.attendance.PostAttendance, request, "provider", providers=both)
    assert [field for field, _ in told.value.violations] == ["provider_id"]
    request.provider_id = "provider-a"
    answer = await desk.call(desk.attendance.PostAttendance, request, "provider", providers=both)
    assert codes(each.outcome for each in answer.answers) == ["accepted"]


async def test_an_importer_posts_for_the_provider_it_names(desk: Desk) -> None:
    await desk.course("p1")
    answer = await desk.post(mark(), mark(session_id="s3"), role="importer")
    assert codes(each.outcome for each in answer.answers) == ["accepted", "not-found"]


# Reading


async def test_the_template_has_a_row_for_every_session_of_the_provider_and_learner_on_it(desk: Desk) -> None:
    await desk.course("p1", "p2")
    await desk.withdraw("p2", days_after_start(7), role="importer")
    await desk.post(mark())
    await desk.settle()
    rows = await template(desk)
    assert [(row.session_id, row.person_id, row.learner_reference) for row in rows] == [
        ("s1", "p1", "ref p1"),
        ("s1", "p2", "ref p2"),
        ("s2", "p1", "ref p1"),
        ("s4", "p1", "ref p1"),
    ]
    assert [row.HasField("current") for row in rows] == [True, False, False, False]
    assert (rows[0].session_title, rows[0].on, rows[0].minutes) == ("Half-day 1", "2024-09-01", 180)
    assert [(row.session_id, row.learner_reference) for row in await template(desk, "provider-b")] == [("s3", "")]
    assert {row.session_id for row in await template(desk, session_ids=["s2"])} == {"s2"}


async def test_a_filled_in_template_is_accepted_whole(desk: Desk) -> None:
    await desk.course("p1", "p2")
    filled = [
        mark(person_id=None, learner_reference=row.learner_reference, session_id=row.session_id)
        for row in await template(desk, session_ids=["s1", "s2"])
    ]
    assert codes(each.outcome for each in (await desk.post(*filled)).answers) == ["accepted"] * 4


async def test_a_register_reads_back_with_everything_that_stood_before(desk: Desk) -> None:
    await desk.course("p1")
    first = (await desk.post(mark())).answers[0].current
    desk.world.pass_time(hours=1)
    change = mark(value=ABSENT, replaces=first.version, reason_code="wrong-learner")
    token = (await desk.post(change, subject="tutor-2")).token
    await desk.settle()
    [entry] = await register(desk, token=token)
    assert list(entry.history) == [first]
    assert (entry.current.value, entry.current.recorded_by) == (ABSENT, "tutor-2")
    assert (entry.current.replaces, entry.current.reason_code) == (first.version, "wrong-learner")
    assert entry.current.recorded_at.ToDatetime() - first.recorded_at.ToDatetime() == timedelta(hours=1)


async def test_a_register_holds_the_providers_own_units_and_no_others(desk: Desk) -> None:
    await desk.course("p1")
    await desk.post(mark(), mark(session_id=None, unscheduled=shadowing()))
    await desk.post(mark(session_id="s3"), mark(session_id=None, unscheduled=shadowing("r9")), provider="provider-b")
    await desk.settle()
    mine = [entry.session_id or entry.unscheduled.record_id for entry in await register(desk)]
    theirs = [entry.session_id or entry.unscheduled.record_id for entry in await register(desk, "provider-b")]
    assert (sorted(mine), sorted(theirs)) == (["r1", "s1"], ["r9", "s3"])
    everything = await desk.call(
        desk.attendance.GetRegister, attendance_pb2.GetRegisterRequest(cohort_id="c1"), "commissioner"
    )
    assert len(everything.entries) == 4


async def test_a_cancelled_sessions_marks_stay_on_file_and_it_is_not_outstanding(desk: Desk) -> None:
    await desk.course("p1", "p2")
    await desk.post(mark())
    await cancel(desk, "s1")
    await desk.settle()
    assert [entry.session_id for entry in await register(desk)] == ["s1"]
    assert [session.session_id for session in await outstanding(desk)] == ["s2"]
    assert {row.session_id for row in await template(desk)} == {"s2", "s4"}


async def test_outstanding_are_held_sessions_and_the_learners_not_marked_yet(desk: Desk) -> None:
    await desk.course("p1", "p2")
    await desk.post(mark("p1"), mark("p1", session_id="s2"), mark("p2", session_id="s2"))
    await desk.settle()
    [session] = await outstanding(desk)
    assert (session.cohort_id, session.session_id, session.expected, session.marked) == ("c1", "s1", 2, 1)
    assert list(session.unmarked_person_ids) == ["p2"]
    assert await outstanding(desk, until="2024-08-31") == []
    desk.world.pass_time(days=30)
    assert [each.session_id for each in await outstanding(desk, cohort_id="c1")] == ["s1", "s4"]
    assert [each.session_id for each in await outstanding(desk, "provider-b")] == ["s3"]
    assert await outstanding(desk, "provider-z") == []


async def test_a_cohort_that_is_not_the_providers_looks_like_none(desk: Desk) -> None:
    await desk.course("p1")
    told = []
    for provider, cohort in (("provider-z", "c1"), ("provider-a", "c9")):
        for query in (template, register, outstanding):
            with pytest.raises(NotFound) as error:
                await query(desk, provider, cohort_id=cohort)
            told.append(error.value.status())
    assert all(each == told[0] for each in told)


async def test_a_provider_cannot_read_in_anothers_name(desk: Desk) -> None:
    await desk.course("p1")
    with pytest.raises(NotFound):
        await register(desk, "provider-z", provider_id="provider-a")
    assert await outstanding(desk, "provider-z", provider_id="provider-a") == []


async def test_a_session_is_judged_on_the_day_it_was_moved_to(desk: Desk) -> None:
    await desk.course("p1")
    await desk.withdraw("p1", date(2024, 10, 29), role="importer")
    moved = cohorts_pb2.Session(
        session_id="s4", title="Half-day 4", unit_kind="half-day", on="2024-10-30", start="09:30", minutes=180
    )
    desk.world.pass_time(days=20)
    row = cohorts_pb2.ScheduleSession(cohort_id="c1", session=moved)
    await desk.call(desk.cohorts.ScheduleSessions, cohorts_pb2.ScheduleSessionsRequest(rows=[row]), "admissions")
    desk.world.pass_time(days=20)
    assert codes(each.outcome for each in (await desk.post(mark(session_id="s4"))).answers) == ["withdrawn"]


async def test_a_learner_placed_late_is_recorded_to_the_end_of_their_own_months(desk: Desk) -> None:
    await desk.course("first")
    await desk.register("late")
    await desk.enrol(request("late", on=days_after_start(60)))
    await desk.settle()
    desk.world.pass_time(days=80)  # 20 December: the cohort, and the first one's three months, ended on 1 December
    rows = [mark(person, None, unscheduled=shadowing(on="2024-12-10")) for person in ("first", "late")]
    of_first, of_late = (each.outcome for each in (await desk.post(*rows)).answers)
    assert codes([of_first, of_late]) == ["invalid-argument", "accepted"]
    assert [each.field for each in of_first.violations] == ["unscheduled.on"]


async def test_an_answer_too_large_to_send_is_refused_with_what_to_ask_instead(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.course("p1", "p2")
    await desk.post(mark())
    await desk.settle()
    monkeypatch.setattr("enrolment.api.attendance.ANSWER_BYTES_MAX", 20)
    for query in (template, register, outstanding):
        with pytest.raises(FailedPrecondition):
            await query(desk)


async def test_an_answer_has_as_many_rows_as_the_limit_and_one_of_more_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.course("p1", "p2")
    await desk.post(mark("p1"), mark("p2"))
    await desk.settle()
    whole = {query: len(await query(desk)) for query in (template, register)}
    for query, most in whole.items():
        monkeypatch.setattr("enrolment.views.registers.ANSWER_ROWS_MAX", most)
        assert len(await query(desk)) == most
        monkeypatch.setattr("enrolment.views.registers.ANSWER_ROWS_MAX", most - 1)
        with pytest.raises(FailedPrecondition, match=f"the answer has {most} rows"):
            await query(desk)
