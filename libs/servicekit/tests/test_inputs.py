"""Bad input is refused with every violated field; batches and pages have bounds."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credence.common.v1 import outcome_pb2
from servicekit.batches import Refused, batch_response, decided, rows
from servicekit.errors import InvalidArgument
from servicekit.pages import page
from servicekit.violations import Violations


def test_good_values_come_back_parsed() -> None:
    check = Violations()
    assert check.id("id", "person-1") == "person-1"
    assert check.date("on", "2024-02-29") == date(2024, 2, 29)
    assert check.decimal("credits", "7.5") == Decimal("7.5")
    assert check.integer("minutes", 30, minimum=1, maximum=600) == 30
    assert check.one_of("state", "late", {"late", "present"}) == "late"
    assert check.enum("state", 2, {1, 2}) == 2
    assert check.text("reason", "two\nlines", 100) == "two\nlines"
    assert check.text("reason", "", 100, optional=True) is None
    assert check.id("cohort", "", optional=True) is None
    assert not check
    check.raise_if_any()


def test_dates_keep_away_from_the_ends_of_the_calendar() -> None:
    check = Violations()
    assert check.date("first", "1900-01-01") == date(1900, 1, 1)
    assert check.date("last", "2200-12-31") == date(2200, 12, 31)
    assert not check
    for far in ("1899-12-31", "2201-01-01", "0001-01-01", "9999-12-31"):
        assert check.date("far", far) is None
    assert [field for field, _ in check.items] == ["far"] * 4
    assert "from 1900-01-01 to 2200-12-31" in check.items[0][1]


def test_every_violated_field_is_named() -> None:
    check = Violations()
    for bad in ("", "Person", "a--b", "-a", "a-", "a b", "x" * 65, "person-1\n"):
        check.id("id", bad)
    for bad in ("", "2023-02-29", "1.2.2024", "20240101", "2024-1-1", "2024-W01-1"):
        check.date("on", bad)
    for bad in ("", "NaN", "Infinity", "1e9", "1_000", "٣", "1.1234567", " 1"):
        check.decimal("credits", bad)
    check.decimal("credits", "-1", minimum=0)
    check.integer("minutes", 0, minimum=1, maximum=600)
    check.one_of("state", "asleep", {"late"})
    check.enum("kind", 0, {1})
    check.enum("kind", 9, {1})
    check.text("reason", "   ", 10)
    check.text("reason", "x" * 11, 10)
    check.text("reason", "a\x00b", 10)
    with pytest.raises(InvalidArgument) as caught:
        check.raise_if_any()
    named = [field for field, _ in caught.value.violations]
    assert {field: named.count(field) for field in dict.fromkeys(named)} == {
        "id": 8,
        "on": 6,
        "credits": 9,
        "minutes": 1,
        "state": 1,
        "kind": 2,
        "reason": 3,
    }


@given(st.text(max_size=80))
def test_no_text_breaks_a_check(text: str) -> None:
    check = Violations()
    check.id("a", text)
    check.date("a", text)
    check.decimal("a", text)
    check.text("a", text, 50)


def test_a_batch_is_neither_empty_nor_endless() -> None:
    assert rows([1, 2]) == [1, 2]
    with pytest.raises(InvalidArgument, match="rows"):
        rows([])
    assert len(rows(range(1000))) == 1000
    with pytest.raises(InvalidArgument) as caught:
        rows(range(1001))
    assert "1001 rows" in caught.value.violations[0][1]


class Status(Enum):
    """As the kernel's."""

    ACCEPTED = "accepted"
    UNCHANGED = "unchanged"
    REPLAYED = "replayed"
    REFUSED = "refused"
    CONFLICT = "conflict"
    DROPPED = "dropped"
    UNKNOWN = "unknown"
    ABORTED = "aborted"


@dataclass(frozen=True)
class Refusal:
    code: str
    message: str
    fields: tuple[tuple[str, str], ...] = ()
    conflict: bool = False


@dataclass(frozen=True)
class Outcome:
    status: Status
    stream: str = "cohort-1"
    version: int = 7
    refusal: Refused | None = None


@pytest.mark.parametrize("status", Status)
def test_every_status_of_the_kernel_has_its_message(status: Status) -> None:
    message = decided(3, Outcome(status))
    expected = "ABORTED" if status is Status.DROPPED else status.name
    assert outcome_pb2.OutcomeStatus.Name(message.status) == f"OUTCOME_STATUS_{expected}"
    assert (message.row, message.stream, message.version) == (3, "cohort-1", 7)
    stored = status in {Status.ACCEPTED, Status.UNCHANGED, Status.REPLAYED}
    assert bool(message.code) is bool(message.message) is not stored


def test_a_refusal_keeps_its_code_its_words_and_its_fields() -> None:
    refusal = Refusal("cohort-full", "join the waiting list", (("capacity", "is 26"),))
    message = decided(0, Outcome(Status.REFUSED, refusal=refusal))
    assert message.status == outcome_pb2.OUTCOME_STATUS_REFUSED
    assert (message.code, message.message) == ("cohort-full", "join the waiting list")
    assert [(v.field, v.description) for v in message.violations] == [("capacity", "is 26")]
    clash = decided(0, Outcome(Status.REFUSED, refusal=Refusal("value-differs", "send a correction", conflict=True)))
    assert clash.status == outcome_pb2.OUTCOME_STATUS_CONFLICT


def test_a_batch_is_answered_row_by_row_in_the_requests_order() -> None:
    answer = batch_response([decided(row, Outcome(Status.ACCEPTED)) for row in (2, 0, 1)], "t")
    assert [outcome.row for outcome in answer.outcomes] == [0, 1, 2]
    assert answer.token == "t"


@pytest.mark.parametrize("numbers", [[0, 2], [0, 0], [1]])
def test_a_row_without_its_answer_is_a_defect(numbers: list[int]) -> None:
    with pytest.raises(ValueError, match="exactly one outcome"):
        batch_response([decided(n, Outcome(Status.ACCEPTED)) for n in numbers], "")


def test_pages_are_bounded_and_continue_where_they_ended() -> None:
    first = page(0, "", query="enrolments cohort-1")
    assert (first.size, first.after) == (1000, None)
    assert page(5000, "", query="enrolments cohort-1").size == 1000
    following = page(50, first.token("person-9|ü"), query="enrolments cohort-1")
    assert (following.size, following.after) == (50, "person-9|ü")


def test_a_page_token_of_another_query_or_made_up_is_refused() -> None:
    token = page(0, "", query="enrolments cohort-1").token("person-9")
    for query, given_token in [("enrolments cohort-2", token), ("enrolments cohort-1", "x" + token), ("q", "\ud800")]:
        with pytest.raises(InvalidArgument):
            page(0, given_token, query=query)
    with pytest.raises(InvalidArgument):
        page(-1, "", query="enrolments cohort-1")


@given(st.text(max_size=1200))
def test_no_page_token_breaks_it(token: str) -> None:
    with suppress(InvalidArgument):
        page(10, token, query="q")
