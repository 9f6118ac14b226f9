"""People: registered, named, sealed wherever they are kept, and gone when their key is."""

import json
from typing import Any

import pytest

from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import attendance_pb2, enrolments_pb2, people_pb2
from eventcore.store import Tombstone
from servicekit.errors import NotFound

from .desk import COURSE, Desk, codes

NAME, EMAIL = "Sample Learner 01", "sample.learner.01@example.org"


async def register(desk: Desk, *rows: people_pb2.RegisterPerson) -> outcome_pb2.BatchResponse:
    request = people_pb2.RegisterPeopleRequest(rows=rows)
    answer: outcome_pb2.BatchResponse = await desk.call(desk.people.RegisterPeople, request, "admissions")
    return answer


async def rename(desk: Desk, *rows: people_pb2.NamePerson) -> outcome_pb2.BatchResponse:
    request = people_pb2.NamePeopleRequest(rows=rows)
    answer: outcome_pb2.BatchResponse = await desk.call(desk.people.NamePeople, request, "admissions")
    return answer


async def person(desk: Desk, role: str = "admissions", **who: Any) -> people_pb2.Person:
    request = people_pb2.GetPersonRequest(person_id="p1")
    answer: people_pb2.Person = await desk.call(desk.people.GetPerson, request, role, **who)
    return answer


ROW = people_pb2.RegisterPerson(person_id="p1", name=NAME, email=EMAIL)


async def test_a_person_is_registered_and_read_back(desk: Desk) -> None:
    assert codes((await register(desk, ROW)).outcomes) == ["accepted"]
    await desk.settle()
    assert await person(desk) == people_pb2.Person(person_id="p1", name=NAME, email=EMAIL)


async def test_the_same_registration_again_is_harmless_with_its_own_id_or_without(desk: Desk) -> None:
    same_id = people_pb2.RegisterPerson(person_id="p1", name=NAME, email=EMAIL, command_id="row-1")
    await register(desk, same_id)
    assert codes((await register(desk, same_id, ROW)).outcomes) == ["replayed", "unchanged"]


async def test_names_and_addresses_are_nowhere_in_the_clear(desk: Desk) -> None:
    await register(desk, ROW)
    await desk.settle()
    running = desk.world["enrolment"]
    kept = (
        json.dumps(
            [
                [event.data for append in slots.values() for event in append.events]
                for slots in running.appends.streams.values()
            ]
        )
        + repr(running.views.documents)
        + repr(desk.world.log.records)
    )
    assert "person-p1" in kept
    assert NAME not in kept
    assert EMAIL not in kept


async def test_a_person_is_renamed_and_the_same_name_again_changes_nothing(desk: Desk) -> None:
    await register(desk, ROW)
    other = people_pb2.NamePerson(person_id="p1", name="Sample Learner 02")
    same = people_pb2.NamePerson(person_id="p1", name="Sample Learner 02")
    nobody = people_pb2.NamePerson(person_id="p2", name=NAME)
    assert codes((await rename(desk, other, same, nobody)).outcomes) == ["accepted", "unchanged", "not-registered"]
    await desk.settle()
    assert (await person(desk)).name == "Sample Learner 02"
    back = people_pb2.NamePerson(person_id="p1", name=NAME)
    assert codes((await rename(desk, back)).outcomes) == ["accepted"]


async def test_a_learner_sees_themselves_and_nobody_else(desk: Desk) -> None:
    await register(desk, ROW)
    await desk.settle()
    assert (await person(desk, "learner", person="p1")).name == NAME
    with pytest.raises(NotFound):
        await person(desk, "learner", person="p2")


async def erase(desk: Desk, *persons: str) -> outcome_pb2.BatchResponse:
    rows = [people_pb2.ErasePerson(person_id=each, reason_code="person-asked") for each in persons]
    request = people_pb2.ErasePeopleRequest(rows=rows)
    answer: outcome_pb2.BatchResponse = await desk.call(desk.people.ErasePeople, request, "privacy-officer")
    return answer


async def test_an_erased_person_reads_as_erased_and_takes_nothing_personal_again(desk: Desk) -> None:
    await desk.load(COURSE)
    await desk.open()
    await register(desk, ROW)
    await desk.settle()
    assert codes((await erase(desk, "p1")).outcomes) == ["accepted"]
    reference = enrolments_pb2.LearnerReference(provider_id="provider-a", reference="ref")
    again = enrolments_pb2.RequestEnrolment(cohort_id="c1", person_id="p1", references=[reference])

    async def refused() -> None:
        row = people_pb2.NamePerson(person_id="p1", name=NAME)
        assert codes((await rename(desk, row)).outcomes) == ["person-erased"]
        assert codes((await register(desk, ROW)).outcomes) == ["person-erased"]
        assert codes((await desk.enrol(again, role="admissions")).outcomes) == ["person-erased"]

    assert isinstance(desk.world["enrolment"].keys.keys["p1"], bytes), "the key goes when the erasure is folded"
    await refused()
    await desk.settle()
    assert desk.world["enrolment"].keys.keys == {"p1": Tombstone(desk.world.now)}
    await refused()
    assert await person(desk) == people_pb2.Person(person_id="p1", erased=True)


async def test_a_key_that_is_gone_before_the_erasure_is_folded_here_reads_as_erased(desk: Desk) -> None:
    await register(desk, ROW)
    await desk.settle()
    await desk.kernel.keyring.destroy(["p1"], desk.world.now)
    assert await person(desk) == people_pb2.Person(person_id="p1", erased=True)


async def test_a_person_nobody_registered_is_erased_and_never_registered(desk: Desk) -> None:
    await desk.load(COURSE)
    await desk.open()
    assert codes((await erase(desk, "p1", "p1")).outcomes) == ["accepted", "unchanged"]
    await desk.settle()
    assert await person(desk) == people_pb2.Person(person_id="p1", erased=True)
    assert codes((await register(desk, ROW)).outcomes) == ["person-erased"]
    assert codes((await register(desk, people_pb2.RegisterPerson(person_id="p1"))).outcomes) == ["person-erased"]
    row = enrolments_pb2.RequestEnrolment(cohort_id="c1", person_id="p1")
    assert codes((await desk.enrol(row, role="admissions")).outcomes) == ["person-erased"]


async def test_an_erased_learners_enrolment_goes_on_under_their_id_and_their_reference_names_nobody(desk: Desk) -> None:
    await desk.load(COURSE)
    await desk.open()
    await register(desk, ROW)
    reference = enrolments_pb2.LearnerReference(provider_id="provider-a", reference="ref 7")
    wish = enrolments_pb2.RequestEnrolment(
        cohort_id="c1", person_id="p1", references=[reference], effective_on="2024-09-01"
    )
    await desk.enrol(wish)
    await desk.settle()
    await erase(desk, "p1")
    await desk.settle()

    marks = [
        attendance_pb2.AttendanceRow(
            cohort_id="c1",
            session_id="s1",
            value=attendance_pb2.AttendanceValue(state=attendance_pb2.ATTENDANCE_STATE_PRESENT),
            person_id=person_id,
            learner_reference=word,
        )
        for person_id, word in (("", "ref 7"), ("p1", ""))
    ]
    posted = attendance_pb2.PostAttendanceRequest(provider_id="provider-a", rows=marks)
    answer = await desk.call(desk.attendance.PostAttendance, posted, "provider", providers=["provider-a"])
    assert codes(each.outcome for each in answer.answers) == ["not-enrolled", "accepted"]
    await desk.settle()

    request = enrolments_pb2.GetEnrolmentRequest(cohort_id="c1", person_id="p1")
    enrolment = await desk.call(desk.enrolments.GetEnrolment, request, "admissions")
    assert list(enrolment.references) == [enrolments_pb2.LearnerReference(provider_id="provider-a", erased=True)]
    posted_so_far = attendance_pb2.GetRegisterRequest(cohort_id="c1", provider_id="provider-a")
    shown = await desk.call(desk.attendance.GetRegister, posted_so_far, "provider", providers=["provider-a"])
    (entry,) = shown.entries
    assert (entry.learner_reference, entry.reference_erased) == ("", True)
    template = attendance_pb2.GetRegisterTemplateRequest(cohort_id="c1", provider_id="provider-a")
    listed = await desk.call(desk.attendance.GetRegisterTemplate, template, "provider", providers=["provider-a"])
    assert listed.rows
    assert all(row.reference_erased and not row.learner_reference for row in listed.rows)


async def test_malformed_rows_name_every_field(desk: Desk) -> None:
    bad = people_pb2.RegisterPerson(person_id="P 1", name="\x00", email="nobody", command_id="a b")
    long = people_pb2.RegisterPerson(person_id="p" * 31)
    answer = await register(desk, bad, long, ROW)
    assert codes(answer.outcomes) == ["invalid-argument", "invalid-argument", "accepted"]
    assert {v.field for v in answer.outcomes[0].violations} == {"person_id", "name", "email", "command_id"}
    assert {v.field for v in answer.outcomes[1].violations} == {"person_id"}
