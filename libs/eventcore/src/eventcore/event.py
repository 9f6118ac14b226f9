"""What a stored event is: an immutable pydantic model with a type name set by hand.

The stored name (`enrolment.placed.v1`) is data for decades; a class path is not, so it never reaches the store. What
was stored under an older version of a name is read through that name's upcasts, one a step, and never rewritten.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict

Upcast: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""One step of a chain: the data of one stored version to that of the next. Pure; it leaves its argument as it is."""

_TYPE = re.compile(r"([a-z0-9-]+(?:\.[a-z0-9-]+)*)\.v([1-9][0-9]*)")


class Event(BaseModel):
    """A fact that happened, in past tense. Subclasses set `stored_type`: `<name>.v<n>`.

    `upcasts` names the older types this class also reads, each with the step to the next version:
    `{"person.registered.v1": without_index}` on `person.registered.v2`. `ends`: it ends something that an event before
    it began, at most once each; so it is stored even where the stream's history is full.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    stored_type: ClassVar[str]
    upcasts: ClassVar[Mapping[str, Upcast]] = {}
    ends: ClassVar[bool] = False


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


class StoredByNewer(UnknownEventType):
    """An event in this service's own log that this release cannot read: only a newer release can have stored it.

    Its stream is left to that release's instances: nothing of it is decided, folded or published here by guess.
    """


class Codec:
    """Stored events to and from their classes: writes each class's own type, reads its older ones too.

    Raises ValueError when a type is not `<name>.v<n>`, two classes claim one, or a name's versions have a hole.
    """

    def __init__(self, classes: Iterable[type[Event]]) -> None:
        self._readers: dict[str, tuple[type[Event], tuple[Upcast, ...]]] = {}
        for cls in dict.fromkeys(classes):
            for stored_type, chain in _chains(cls).items():
                if stored_type in self._readers:
                    other = self._readers[stored_type][0]
                    raise ValueError(f"{other.__name__} and {cls.__name__} both read {stored_type}")
                self._readers[stored_type] = (cls, chain)
        for name, version in map(split_type, self._readers):
            if version > 1 and f"{name}.v{version - 1}" not in self._readers:
                raise ValueError(f"nothing reads {name}.v{version - 1}: name its step among the upcasts")

    @property
    def reads(self) -> tuple[str, ...]:
        """Every stored type, the older ones included."""
        return tuple(self._readers)

    def encode(self, event: Event) -> StoredEvent:
        cls, _ = self._readers.get(event.stored_type, (None, ()))
        if cls is not type(event):
            raise UnknownEventType(f"{event.stored_type} is not among this stream's events")
        return StoredEvent(event.stored_type, event.model_dump(mode="json"))

    def decode(self, stored: StoredEvent) -> Event:
        try:
            cls, chain = self._readers[stored.type]
        except KeyError:
            raise StoredByNewer(f"{stored.type} is not known to this release: a newer one stored it") from None
        data = stored.data
        for upcast in chain:
            data = upcast(data)
        return cls.model_validate(data)


def split_type(stored_type: str) -> tuple[str, int]:
    """`person.registered.v2` -> `person.registered`, 2. Raises ValueError."""
    matched = _TYPE.fullmatch(stored_type)
    if matched is None:
        raise ValueError(f"{stored_type!r} is not <name>.v<n>")
    return matched[1], int(matched[2])


def _chains(cls: type[Event]) -> dict[str, tuple[Upcast, ...]]:
    """Each type the class reads, with the steps from there to the class."""
    name, newest = split_type(cls.stored_type)
    chains: dict[str, tuple[Upcast, ...]] = {cls.stored_type: ()}
    for version in range(newest - 1, newest - 1 - len(cls.upcasts), -1):
        step = cls.upcasts.get(f"{name}.v{version}")
        if step is None:
            raise ValueError(f"{cls.__name__}: the upcasts {sorted(cls.upcasts)} leave out {name}.v{version}")
        chains[f"{name}.v{version}"] = (step, *chains[f"{name}.v{version + 1}"])
    return chains
