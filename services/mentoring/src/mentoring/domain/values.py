"""What several aggregates are made of."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

# A field of a command that was looked up for the decision, not said by the sender: left out of the command's digest, so
# that a retry stays the same command although midnight passed, a mentor fell out of standing or a colleague sends it.
LOOKED_UP: Final[Any] = Field(exclude=True)
