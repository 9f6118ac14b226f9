"""Civil dates of a zone: sessions and windows are dates where the programme is, whatever the hour in UTC.

Every function is total. A date at an end of the calendar is nonsense that another service may have stored; it must
not stop the evaluations of everybody else.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from catalogue import periods

DEFAULT_ZONE: Final = "Europe/London"  # where the programme, which names the zone, has not arrived


def civil_date(instant: datetime, zone: str) -> date:
    """The date in `zone` (IANA name) at an instant."""
    try:
        return instant.astimezone(ZoneInfo(zone)).date()
    except OverflowError:
        return instant.date()


def start_of(day: date, zone: str) -> datetime:
    """The instant (UTC) at which a date begins in `zone`."""
    try:
        return datetime.combine(day, time.min, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    except OverflowError:
        return datetime.combine(day, time.min, tzinfo=UTC)


def day_before(day: date) -> date:
    """The calendar's first day has none before it: then itself."""
    return day - timedelta(days=1) if day > date.min else day


def day_after(day: date) -> date:
    """The calendar's last day has none after it: then itself."""
    return day + timedelta(days=1) if day < date.max else day


def last_day(start: date, months: int) -> date:
    """The last day of `months` calendar months from `start`, or of the calendar where they go beyond it."""
    try:
        return periods.last_day(start, months)
    except ValueError:
        return date.max
