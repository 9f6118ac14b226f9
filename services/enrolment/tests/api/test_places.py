"""Places from the request to the answer, the waiting list and its promotion, through the whole service at rest."""

import asyncio
from datetime import date

from credence.enrolment.v1 import cohorts_pb2, enrolments_pb2
from enrolment.domain.pool import pool_stream

from .desk import COURSE, Desk, codes, days_after_start

WAITING, PLACED = enrolments_pb2.ENROLMENT_STATUS_WAITING, enrolments_pb2.ENROLMENT_STATUS_PLACED
REQUESTED, DECLINED = enrolments_pb2.ENROLMENT_STATUS_REQUESTED, enrolments_pb2.ENROLMENT_STATUS_DECLINED
WITHDRAWN = enrolments_pb2.ENROLMENT_STATUS_WITHDRAWN


async def statuses(desk: Desk, *persons: str) -> list[tuple[int, int]]:
    found = [await desk.enrolment(person) for person in persons]
    return [(each.status, each.waiting_position) for each in found]


async def test_places_go_in_the_order_of_the_rows_and_the_rest_wait_in_that_order(desk: Desk) -> None:
    await desk.course("p4", "p3", "p2", "p1", capacity=2)
    assert await statuses(desk, "p4", "p3", "p2", "p1") == [(PLACED, 0), (PLACED, 0), (WAITING, 1), (WAITING, 2)]


async def test_a_freed_place_goes_to_the_first_who_waits_and_the_others_move_up(desk: Desk) -> None:
    await desk.course("p1", "p2", "p3", "p4", capacity=2)
    assert codes((await desk.withdraw("p1", date(2024, 10, 10))).outcomes) == ["accepted"]
    await desk.settle()
    assert await statuses(desk, "p1", "p2", "p3", "p4") == [(WITHDRAWN, 0), (PLACED, 0), (PLACED, 0), (WAITING, 1)]
    assert (await desk.enrolment("p3")).placed_on == "2024-10-10"


async def test_somebody_who_waits_and_withdraws_leaves_the_queue(desk: Desk) -> None:
    await desk.course("p1", "p2", "p3", capacity=1)
    await desk.withdraw("p2")
    await desk.settle()
    assert await statuses(desk, "p1", "p2", "p3") == [(PLACED, 0), (WITHDRAWN, 0), (WAITING, 1)]


async def test_without_a_waiting_list_whoever_comes_late_is_declined_and_may_ask_again(desk: Desk) -> None:
    await desk.load(COURSE)
    await desk.open(capacity=1, waiting_list=False)
    await desk.register("p1", "p2")
    await desk.enrol("p1", "p2")
    await desk.settle()
    assert await statuses(desk, "p1", "p2") == [(PLACED, 0), (DECLINED, 0)]
    await desk.withdraw("p1")
    await desk.settle()
    again = enrolments_pb2.RequestEnrolment(cohort_id="c1", person_id="p2")
    assert codes((await desk.enrol(again)).outcomes) == ["accepted"]
    await desk.settle()
    assert await statuses(desk, "p2") == [(PLACED, 0)]


async def test_what_a_crash_left_undone_is_done_by_the_evaluation(desk: Desk) -> None:
    """The process dies between the requests and their questions to the pool."""
    await desk.load(COURSE)
    await desk.open(capacity=2)
    await desk.register("p1", "p2", "p3", "p4")
    await desk.enrol("p1", "p2", "p3", "p4")
    running = desk.world["enrolment"]
    del running.appends.streams[pool_stream("c1")]
    for pending in running.appends.marked.values():
        pending -= {slot for slot in pending if slot[0] == pool_stream("c1")}
    await desk.settle()
    found = await statuses(desk, "p1", "p2", "p3", "p4")
    assert sorted(status for status, _ in found) == sorted([PLACED, PLACED, WAITING, WAITING])
    assert sorted(position for _, position in found) == [0, 0, 1, 2]


async def test_an_unlimited_cohort_places_at_once_and_has_no_pool(desk: Desk) -> None:
    await desk.course("p1", "p2", "p3")
    assert await statuses(desk, "p1", "p2", "p3") == [(PLACED, 0)] * 3
    assert pool_stream("c1") not in desk.world["enrolment"].appends.streams


async def test_a_query_with_the_token_waits_for_the_pools_answer(desk: Desk) -> None:
    await desk.load(COURSE)
    await desk.open(capacity=1)
    await desk.register("p1", "p2")
    token = (await desk.enrol("p1", "p2")).token
    asked = asyncio.create_task(desk.enrolment("p2", token=token))
    await asyncio.sleep(0)
    await desk.settle()
    answer = await asked
    assert (answer.status, answer.waiting_position) == (WAITING, 1)


async def test_when_time_runs_out_the_answer_is_honestly_requested(desk: Desk) -> None:
    await desk.load(COURSE)
    await desk.open(capacity=1)
    await desk.register("p1")
    token = (await desk.enrol("p1")).token
    await desk.world["enrolment"]._fold.step()  # the views move, the evaluator does not
    assert (await desk.enrolment("p1", token=token, deadline_seconds=0.4)).status == REQUESTED


async def test_a_cohort_counts_its_places(desk: Desk) -> None:
    await desk.course("p1", "p2", "p3", capacity=2)
    request = cohorts_pb2.GetCohortRequest(cohort_id="c1")
    cohort = await desk.call(desk.cohorts.GetCohort, request, "admissions")
    assert (cohort.capacity, cohort.placed, cohort.waiting) == (2, 2, 1)


async def test_repeated_requests_are_harmless_and_other_ones_conflict(desk: Desk) -> None:
    await desk.course("p1", "p2", capacity=1)
    assert codes((await desk.enrol("p1", "p2")).outcomes) == ["unchanged", "unchanged"]
    other = enrolments_pb2.RequestEnrolment(cohort_id="c1", person_id="p1", employer_id="e06000001")
    assert codes((await desk.enrol(other)).outcomes) == ["enrolment-differs"]


async def test_rows_that_cannot_be_meant_do_not_spoil_the_others(desk: Desk) -> None:
    await desk.course("p1")
    await desk.register("p2")
    bad = enrolments_pb2.RequestEnrolment(cohort_id="C 1", person_id="p--2", effective_on="soon", command_id="a b")
    past = enrolments_pb2.RequestEnrolment(cohort_id="c1", person_id="p2", effective_on=days_after_start(0).isoformat())
    unknown = enrolments_pb2.RequestEnrolment(cohort_id="c1", person_id="nobody")
    elsewhere = enrolments_pb2.RequestEnrolment(cohort_id="c9", person_id="p2")
    good = enrolments_pb2.RequestEnrolment(cohort_id="c1", person_id="p2")
    answer = await desk.enrol(bad, past, unknown, elsewhere, good, role="admissions")
    assert codes(answer.outcomes) == ["invalid-argument", "past-date", "person-unknown", "cohort-unknown", "accepted"]
    assert {v.field for v in answer.outcomes[0].violations} == {
        "cohort_id",
        "person_id",
        "effective_on",
        "command_id",
    }
