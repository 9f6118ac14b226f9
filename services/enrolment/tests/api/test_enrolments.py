"""Who may see and end an enrolment, and lists of them in pages."""

from datetime import date
from typing import Any

import pytest

from credence.enrolment.v1 import enrolments_pb2
from servicekit.errors import InvalidArgument, NotFound

from .desk import Desk, codes, days_after_start


async def listed(desk: Desk, role: str = "admissions", page_size: int = 0, **said: Any) -> list[str]:
    """`cohort/person` of every enrolment, over all pages."""
    who = {name: said.pop(name) for name in ("person", "providers") if name in said}
    found, token = [], ""
    while True:
        request = enrolments_pb2.ListEnrolmentsRequest(page_size=page_size, page_token=token, **said)
        answer = await desk.call(desk.enrolments.ListEnrolments, request, role, **who)
        assert page_size == 0 or len(answer.enrolments) <= page_size
        found += [f"{each.cohort_id}/{each.person_id}" for each in answer.enrolments]
        token = answer.next_page_token
        if not token:
            return found


async def test_an_enrolment_is_seen_by_its_learner_the_cohorts_providers_and_admissions(desk: Desk) -> None:
    await desk.course("p1")
    own = await desk.enrolment("p1", role="learner", person="p1")
    theirs = await desk.enrolment("p1", role="provider", providers={"provider-a"})
    others = await desk.enrolment("p1", role="provider", providers={"provider-b"})
    whole = await desk.enrolment("p1")
    assert own.status == theirs.status == enrolments_pb2.ENROLMENT_STATUS_PLACED
    assert [each.reference for each in theirs.references] == ["ref p1"]
    assert [each.reference for each in whole.references] == ["ref p1"]
    assert not own.references
    assert not others.references


async def test_anothers_enrolment_looks_exactly_like_one_that_does_not_exist(desk: Desk) -> None:
    await desk.course("p1", "p2")
    told = set()
    askers: list[tuple[str, dict[str, Any]]] = [
        ("learner", {"person": "p2"}),
        ("provider", {"providers": {"provider-z"}}),
    ]
    for role, who in askers:
        for person, cohort in (("p1", "c1"), ("p9", "c1"), ("p1", "c9")):
            with pytest.raises(NotFound) as error:
                await desk.enrolment(person, role=role, cohort_id=cohort, **who)
            told.add(error.value.status().SerializeToString())
    assert len(told) == 1


async def test_a_learner_ends_their_own_enrolment_and_nobody_elses(desk: Desk) -> None:
    await desk.course("p1", "p2")
    other = await desk.withdraw("p2", role="learner", person="p1")
    nobody = await desk.withdraw("p9", role="learner", person="p1")
    assert codes(other.outcomes) == ["not-found"]
    assert other == nobody
    assert codes((await desk.withdraw("p1", role="learner", person="p1")).outcomes) == ["accepted"]


async def test_only_an_importer_withdraws_in_the_past(desk: Desk) -> None:
    await desk.course("p1")
    assert codes((await desk.withdraw("p1", days_after_start(5))).outcomes) == ["past-date"]
    assert codes((await desk.withdraw("p1", days_after_start(5), role="importer")).outcomes) == ["accepted"]
    assert codes((await desk.withdraw("p1", date(2024, 12, 1))).outcomes) == ["withdrawn"]
    await desk.settle()
    assert (await desk.enrolment("p1")).withdrawn_on == "2024-09-06"


async def test_a_withdrawal_ends_with_the_cohort_at_the_latest(desk: Desk) -> None:
    await desk.course("p1")
    assert codes((await desk.withdraw("p1", date(2099, 1, 1))).outcomes) == ["after-cohort"]
    assert codes((await desk.withdraw("p1", date(9999, 12, 31))).outcomes) == ["invalid-argument"]


async def test_lists_come_in_pages(desk: Desk) -> None:
    persons = [f"p{i}" for i in range(7)]
    await desk.course(*persons)
    assert await listed(desk, cohort_id="c1") == [f"c1/{person}" for person in persons]
    assert await listed(desk, page_size=3, cohort_id="c1") == [f"c1/{person}" for person in persons]


async def test_everybody_lists_what_concerns_them(desk: Desk) -> None:
    await desk.course("p1", "p2")
    await desk.open("c2", provider_id="provider-c", sessions=[], capacity=0)
    await desk.enrol(enrolments_pb2.RequestEnrolment(cohort_id="c2", person_id="p1"))
    await desk.settle()
    assert await listed(desk, person_id="p1") == ["c1/p1", "c2/p1"]
    assert await listed(desk, "learner", person="p1", person_id="p1") == ["c1/p1", "c2/p1"]
    assert await listed(desk, "learner", person="p1", cohort_id="c1") == ["c1/p1"]
    assert await listed(desk, "provider", providers={"provider-a"}, cohort_id="c1") == ["c1/p1", "c1/p2"]
    assert await listed(desk, "provider", providers={"provider-c"}, person_id="p1") == ["c2/p1"]


async def test_what_concerns_somebody_else_is_an_empty_list(desk: Desk) -> None:
    await desk.course("p1")
    for cohort_id in ("c1", "c9"):
        assert await listed(desk, "provider", providers={"provider-z"}, cohort_id=cohort_id) == []
    assert await listed(desk, "learner", person="p2", person_id="p1") == []
    assert await listed(desk, "learner", person="p2", cohort_id="c1") == []


async def test_a_list_of_everything_is_not_offered(desk: Desk) -> None:
    with pytest.raises(InvalidArgument):
        await listed(desk)
