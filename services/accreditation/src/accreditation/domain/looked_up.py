"""What a command is decided on beside what its sender said."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

# A field of a command that was looked up for the decision and not said by the sender. It is left out of the command's
# digest: a retry must stay the same command although midnight passed or the learner left.
LOOKED_UP: Final[Any] = Field(exclude=True)


class Circumstances(BaseModel):
    """`today` in the programme's zone; `placed`, `withdrawn_on`: of the enrolment, as known here."""

    model_config = ConfigDict(frozen=True)

    today: date
    importer: bool
    placed: bool = True
    withdrawn_on: date | None = None
