"""What several aggregates are made of."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field


class Value(BaseModel):
    """A frozen piece of an event, a state or a document."""

    model_config = ConfigDict(frozen=True)


# A field of a command that was looked up for the decision and not said by the sender. It is left out of the command's
# digest: a retry must stay the same command although a session moved, midnight passed or a colleague sends it.
LOOKED_UP: Final[Any] = Field(exclude=True)


def civil_date(now: datetime, zone: str) -> date:
    """The date on the wall at `now` in the programme's zone (IANA name)."""
    return now.astimezone(ZoneInfo(zone)).date()
