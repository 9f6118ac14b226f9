"""Calendar months, so that every service ends a window on the same day."""

from __future__ import annotations

from calendar import monthrange
from datetime import date


def last_day(start: date, months: int) -> date:
    """The last day, itself included, of the period of `months` calendar months from `start`.

    It is the day with the same number (the corresponding date), or the month's last day where there is none: twelve
    months from 1 March 2024 end with 1 March 2025, one month from 31 January with 28 or 29 February. Raises ValueError
    for fewer than 0 months, or a year after 9999.
    """
    if months < 0:
        raise ValueError("a period has at least 0 months")
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    if year > date.max.year:
        raise ValueError("the period ends after the year 9999")
    return date(year, month + 1, min(start.day, monthrange(year, month + 1)[1]))
