"""Civil dates of a zone: sessions and windows are dates where the programme is, whatever the hour in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo


def civil_date(instant: datetime, zone: str) -> date:
    """The date in `zone` (IANA name) at an instant."""
    return instant.astimezone(ZoneInfo(zone)).date()


def start_of(day: date, zone: str) -> datetime:
    """The instant (UTC) at which a date begins in `zone`."""
    return datetime.combine(day, time.min, tzinfo=ZoneInfo(zone)).astimezone(UTC)
