"""`credence enrol`: what becomes of a file of people before anybody is asked a place for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.tests.running import Home, answer_calls
from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import enrolments_pb2, people_pb2

ACCEPTED = outcome_pb2.Outcome(status=outcome_pb2.OUTCOME_STATUS_ACCEPTED)
DIFFERS = outcome_pb2.Outcome(status=outcome_pb2.OUTCOME_STATUS_CONFLICT, code="person-differs")


def people(folder: Path, *lines: str) -> str:
    file = folder / "people.csv"
    file.write_text("\n".join(lines) + "\n")
    return str(file)


def taken(request: Any) -> Any:
    match request:
        case people_pb2.RegisterPeopleRequest() | enrolments_pb2.RequestEnrolmentsRequest():
            return outcome_pb2.BatchResponse(outcomes=[ACCEPTED] * len(request.rows))
        case enrolments_pb2.ListEnrolmentsRequest():
            return enrolments_pb2.ListEnrolmentsResponse()
        case _:
            return enrolments_pb2.Enrolment()


def test_where_a_registration_is_refused_it_says_that_no_place_was_asked_for_and_what_to_do(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answer_calls(monkeypatch, lambda _: outcome_pb2.BatchResponse(outcomes=[ACCEPTED, DIFFERS]))
    for json in ((), ("--json",)):
        ran = home.call("enrol", "com-1", "sample-1", "sample-2", *json, exits=1)
        assert ran.told == (
            "No place was asked for, for anybody: mend what is named or leave it out, and run it again. "
            "Whoever is registered stays so."
        )
    assert {type(request) for request in asked} == {people_pb2.RegisterPeopleRequest}


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("person,name,emial,Shoe size", "columns without a meaning here: emial, Shoe size"),
        ("person,email,E-mail address", "two columns mean email"),
        ("name,email", "the first line must name the columns, among them `person`"),
    ],
)
def test_a_column_that_would_be_lost_is_refused_before_anything_is_stored(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, header: str, says: str
) -> None:
    asked = answer_calls(monkeypatch, taken)
    file = people(tmp_path, header, "sample-1,Sample Learner,sample@example.org,38")
    assert says in home.call("enrol", "com-1", "--file", file, exits=2).told
    assert asked == []


def test_columns_are_known_by_the_names_that_people_give_them(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = answer_calls(monkeypatch, taken)
    header = "Person ID;Full name;E-mail address;Employer ID;Provider;Your reference;"
    home.call(
        "enrol", "com-1", "--file", people(tmp_path, header, "sample-1;Sample Learner;s@example.org;council;ipc;R1;")
    )
    registration, wish, *_ = asked
    assert list(registration.rows) == [
        people_pb2.RegisterPerson(person_id="sample-1", name="Sample Learner", email="s@example.org")
    ]
    assert list(wish.rows) == [
        enrolments_pb2.RequestEnrolment(
            cohort_id="com-1",
            person_id="sample-1",
            employer_id="council",
            references=[enrolments_pb2.LearnerReference(provider_id="ipc", reference="R1")],
        )
    ]
