"""What a stored event is: an immutable pydantic model with a type name set by hand.

The stored name (`enrolment.placed.v1`) is data for decades; a class path is not, so it never reaches the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict


class Event(BaseModel):
    """A fact that happened, in past tense. Subclasses set `stored_type`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    stored_type: ClassVar[str]


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as a store keeps it: its stored type and its JSON-shaped data."""

    type: str
    data: Mapping[str, Any]


E_co = TypeVar("E_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Recorded(Generic[E_co]):
    """An event in its place: `version` counts from 1 within `stream`; `recorded` is when it was stored (UTC).

    `trace` is the traceparent of the step that stored it, empty when it had none.
    """

    stream: str
    version: int
    event: E_co
    recorded: datetime
    trace: str = ""

    @property
    def id(self) -> str:
        """The event's id everywhere: in CloudEvents, in explanations, in corrections."""
        return f"{self.stream}@{self.version}"


class UnknownEventType(Exception):
    """A stored or published event whose type this release does not know: a fault, never a skip."""


class Codec:
    """Stored events to and from their classes.

    Raises ValueError when two classes claim one stored type.
    """

    def __init__(self, classes: Iterable[type[Event]]) -> None:
        self._classes: dict[str, type[Event]] = {}
        for cls in classes:
            if self._classes.setdefault(cls.stored_type, cls) is not cls:
                raise ValueError(f"two classes are stored as {cls.stored_type}")

    def encode(self, event: Event) -> StoredEvent:
        if self._classes.get(event.stored_type) is not type(event):
            raise UnknownEventType(f"{event.stored_type} is not among this stream's events")
        return StoredEvent(event.stored_type, event.model_dump(mode="json"))

    def decode(self, stored: StoredEvent) -> Event:
        try:
            cls = self._classes[stored.type]
        except KeyError:
            raise UnknownEventType(f"{stored.type} is not known to this release") from None
        return cls.model_validate(stored.data)
