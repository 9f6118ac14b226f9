"""The answer to one command."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from eventcore.decider import Refusal

S_co = TypeVar("S_co", covariant=True)


class Status(Enum):
    ACCEPTED = "accepted"  # its events are stored
    UNCHANGED = "unchanged"  # nothing to store: it is so already
    REPLAYED = "replayed"  # this id was stored before with the same body: the first answer again
    REFUSED = "refused"  # nothing stored; `refusal` says why
    CONFLICT = "conflict"  # this id was stored before with another body
    DROPPED = "dropped"  # decided on a version that is no longer current
    # The store did not answer, or (`refusal`) a newer release's events are in the way: send it again with the same id.
    UNKNOWN = "unknown"
    ABORTED = "aborted"  # other writers kept winning: send it again


SETTLED = frozenset(Status) - {Status.UNKNOWN, Status.ABORTED}


@dataclass(frozen=True, slots=True)
class Outcome(Generic[S_co]):
    """`version` is the command's last event when stored, else the stream's current version.

    `state` is the stream's state after the decision, for answers that show the current value; None when the
    stream could not be read.
    """

    status: Status
    stream: str
    version: int
    state: S_co | None = None
    refusal: Refusal | None = None
