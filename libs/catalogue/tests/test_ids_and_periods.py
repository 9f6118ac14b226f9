"""Composite ids come apart as they were joined, and calendar months end where the rule says."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogue import is_id, join_id, last_day, split_id
from catalogue.testing import ids


@given(st.lists(ids, min_size=1, max_size=4))
def test_joined_ids_come_apart_into_the_same_parts(parts: list[str]) -> None:
    assert all(is_id(part) for part in parts)
    assert split_id(join_id(*parts)) == tuple(parts)


@pytest.mark.parametrize("part", ["", "a--b", "-a", "a-", "A", "a_b", "a b", "é", "a\n", "a" * 3 + "/"])
def test_what_is_no_id_is_never_joined(part: str) -> None:
    assert not is_id(part)
    with pytest.raises(ValueError, match="is not an id"):
        join_id("cohort", part)


@pytest.mark.parametrize("joined", ["", "--", "a----b", "a--", "a---b"])
def test_what_was_never_joined_does_not_come_apart(joined: str) -> None:
    with pytest.raises(ValueError, match="is not made of ids"):
        split_id(joined)


def test_an_id_of_more_than_30_characters_is_none() -> None:
    assert is_id("a" * 30)
    assert not is_id("a" * 31)


@pytest.mark.parametrize(
    ("start", "months", "last"),
    [
        (date(2024, 3, 1), 12, date(2025, 3, 1)),
        (date(2024, 2, 29), 12, date(2025, 2, 28)),
        (date(2024, 1, 31), 1, date(2024, 2, 29)),
        (date(2025, 1, 31), 1, date(2025, 2, 28)),
        (date(2025, 12, 31), 2, date(2026, 2, 28)),
        (date(2025, 11, 30), 1, date(2025, 12, 30)),
        (date(2025, 5, 5), 0, date(2025, 5, 5)),
    ],
)
def test_calendar_months_end_on_the_corresponding_date(start: date, months: int, last: date) -> None:
    assert last_day(start, months) == last


@given(st.dates(max_value=date(9000, 1, 1)), st.integers(0, 120))
def test_a_longer_period_never_ends_earlier(start: date, months: int) -> None:
    assert last_day(start, months) < last_day(start, months + 1)


def test_a_period_out_of_the_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        last_day(date(2024, 1, 1), -1)
    with pytest.raises(ValueError, match="9999"):
        last_day(date(9999, 12, 1), 1)
