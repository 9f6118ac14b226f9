"""What is listed is all there is, however many pages a service answers in."""

from __future__ import annotations

from typing import Any

import pytest

from cli.tests.running import Home, answer_calls
from credence.accreditation.v1 import awards_pb2, standings_pb2
from credence.common.v1 import programme_pb2
from credence.enrolment.v1 import catalogue_pb2, cohorts_pb2, enrolments_pb2
from credence.mentoring.v1 import mentors_pb2
from credence.operations.v1 import operations_pb2, privacy_pb2

BODY = "oxford-brookes"


def page_of(request: Any) -> Any:
    """A list of three pages with one entry each: "first", "second", "third"."""
    number = int(request.page_token or 0)
    word, more = ("first", "second", "third")[number], str(number + 1) if number < 2 else ""
    match request:
        case awards_pb2.ListAwardsRequest():
            award = awards_pb2.LedgerAward(person_id=word, state=standings_pb2.AWARD_STATE_UNDER_REVIEW)
            return awards_pb2.ListAwardsResponse(awards=[award], next_page_token=more)
        case mentors_pb2.ListMentorsRequest():
            return mentors_pb2.ListMentorsResponse(mentors=[mentors_pb2.Mentor(person_id=word)], next_page_token=more)
        case catalogue_pb2.ListProgrammesRequest():
            programme = programme_pb2.Programme(id=word)
            return catalogue_pb2.ListProgrammesResponse(programmes=[programme], next_page_token=more)
        case enrolments_pb2.ListEnrolmentsRequest():
            enrolment = enrolments_pb2.Enrolment(person_id=word)
            return enrolments_pb2.ListEnrolmentsResponse(enrolments=[enrolment], next_page_token=more)
        case privacy_pb2.ListErasuresRequest():
            erasure = privacy_pb2.Erasure(person_id=word)
            return privacy_pb2.ListErasuresResponse(erasures=[erasure], next_page_token=more)
        case operations_pb2.ListOperationsRequest():
            done = operations_pb2.Operation(id=word, action=word)
            return operations_pb2.ListOperationsResponse(operations=[done], next_page_token=more)
    raise AssertionError(request)


def answered(request: Any) -> Any:
    if isinstance(request, cohorts_pb2.GetCohortRequest):
        return cohorts_pb2.Cohort(cohort_id=request.cohort_id)
    return page_of(request)


@pytest.mark.parametrize(
    "words",
    [
        ("board", "awards", "--body", BODY),
        ("board", "reviews", "--body", BODY),
        ("mentor", "list"),
        ("catalogue", "list"),
        ("cohort", "show", "com-1"),
        ("person", "erasures"),
        ("operations", "--service", "enrolment"),
    ],
    ids=" ".join,
)
def test_a_list_of_several_pages_is_shown_whole(
    home: Home, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    answer_calls(monkeypatch, answered)
    for shown in (home.call(*words), home.call(*words, "--json")):
        assert all(word in shown.out for word in ("first", "second", "third")), shown
        assert "page_token" not in shown.out


def test_every_page_is_asked_for_with_what_the_first_was_asked_for(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer_calls(monkeypatch, page_of)
    home.call("board", "reviews", "--body", BODY)
    assert [(request.state, request.page_token) for request in asked] == [
        (standings_pb2.AWARD_STATE_UNDER_REVIEW, token) for token in ("", "1", "2")
    ]


def test_operations_beyond_the_limit_are_left_out_and_it_is_said_that_there_are_more(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_calls(monkeypatch, page_of)
    cut = home.call("operations", "--service", "enrolment", "--limit", "2")
    assert "second" in cut.out
    assert "third" not in cut.out
    assert cut.told == "There are older ones: raise --limit."
    assert home.call("operations", "--service", "enrolment", "--limit", "3").err == ""
