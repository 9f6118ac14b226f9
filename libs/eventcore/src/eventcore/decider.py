"""The pure half of a command: `decide` and `evolve` over one stream, with no I/O, no clock, no chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from eventcore.event import Codec, Event
from eventcore.limits import STREAM_BYTES_MAX, STREAM_EVENTS_MAX

S = TypeVar("S")
C = TypeVar("C", bound="Command")
E = TypeVar("E", bound=Event)


class Command(BaseModel):
    """A wish, in the imperative. What it is decided on is its fields, the stream's state and `now`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing was stored.

    `code` is stable (`cohort-full`), `message` is for people and says what to do next, `fields` name the
    violated fields with what is wrong in each. `conflict` says that the wish differs from what is stored.
    """

    code: str
    message: str
    fields: tuple[tuple[str, str], ...] = ()
    conflict: bool = False


def invalid(*fields: tuple[str, str]) -> Refusal:
    """The refusal of a row that cannot be meant: every violated field with what is wrong in it."""
    names = ", ".join(dict.fromkeys(name for name, _ in fields))
    return Refusal("invalid-argument", f"mend {names} and send the row again", fields)


@dataclass(frozen=True)
class Decider(Generic[S, C, E]):
    """One kind of stream: its name, its events, and the two pure functions over them.

    `evolve(state, event, version)` gives the next state; `decide(command, state, now)` gives the events to store
    (none: it is so already) or a refusal. Both are total and pure. `events_max` bounds a stream's history, which is
    read whole for each command.
    """

    category: str
    events: tuple[type[E], ...]
    initial: S
    evolve: Callable[[S, E, int], S]
    decide: Callable[[C, S, datetime], Sequence[E] | Refusal]
    events_max: int = STREAM_EVENTS_MAX

    def __post_init__(self) -> None:
        _ = self.codec  # a faulty chain of upcasts stops the process that is being composed, not a later read

    @cached_property
    def codec(self) -> Codec:
        return Codec(self.events)


def category_of(stream: str) -> str:
    """`enrolment-c1--p1` -> `enrolment`."""
    return stream.partition("-")[0]


def is_stream_name(name: str) -> bool:
    """Whether a text can stand wherever a stream is named: in a list, a command, a page's token."""
    return name.isprintable() and 0 < len(name.encode()) <= STREAM_BYTES_MAX
