"""Domain tests as sentences: `given(decider, *events).when(command).then(*events)` or `.then_refused(code)`; and the
golden files of stored events, which are read for decades: added once, never edited."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from eventcore.decider import Command, Decider, Refusal
from eventcore.event import Codec, Event, StoredEvent

S = TypeVar("S")
C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)

NOON = datetime(2024, 10, 1, 12, 0, tzinfo=UTC)


def given(decider: Decider[S, C, E], *events: E) -> Given[S, C, E]:
    """A stream that holds these events, versions 1..n."""
    state = decider.initial
    for version, event in enumerate(events, start=1):
        state = decider.evolve(state, decider.codec.decode(decider.codec.encode(event)), version)  # type: ignore[arg-type]
    return Given(decider, state)


@dataclass(frozen=True)
class Given(Generic[S, C, E]):
    decider: Decider[S, C, E]
    state: S

    def when(self, command: C, *, now: datetime = NOON) -> When:
        return When(self.decider.decide(command, self.state, now))

    def then_state(self, expected: S) -> None:
        assert self.state == expected


@dataclass(frozen=True)
class When:
    decision: Any

    def then(self, *events: Event) -> None:
        assert not isinstance(self.decision, Refusal), f"refused: {self.decision}"
        assert list(self.decision) == list(events)

    def then_nothing(self) -> None:
        self.then()

    def then_refused(self, code: str, *fields: str) -> Refusal:
        assert isinstance(self.decision, Refusal), f"not refused: {self.decision}"
        assert self.decision.code == code
        assert {name for name, _ in self.decision.fields} >= set(fields)
        return self.decision


def check_golden(
    folder: Path, deciders: Sequence[Decider[Any, Any, Any]], event: Event, *, stored_type: str = ""
) -> None:
    """Asserts that `event` is stored and read as `<stored type>.json` in `folder` says.

    A missing file is written, and the check fails, for you to look at and commit; a changed shape needs a new version.
    With an older `stored_type`: that the file of it is read as `event` today, and that nothing writes it any more.
    """
    codec = Codec([each for decider in deciders for each in decider.events])
    golden = folder / f"{stored_type or event.stored_type}.json"
    if stored_type:
        _check_older(golden, codec, event, stored_type)
        return
    stored = json.loads(json.dumps(codec.encode(event).data))
    if not golden.exists():
        folder.mkdir(exist_ok=True)
        golden.write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n")
        raise AssertionError(f"{golden.name} was missing and is written now: look at it and commit it")
    data = json.loads(golden.read_text())
    assert codec.decode(StoredEvent(event.stored_type, data)) == event
    assert stored == data


def _check_older(golden: Path, codec: Codec, event: Event, stored_type: str) -> None:
    assert stored_type != codec.encode(event).type
    data = json.loads(golden.read_text())
    assert codec.decode(StoredEvent(stored_type, data)) == event
    assert data == json.loads(golden.read_text()), "an upcast changed its argument"


def check_golden_complete(
    folder: Path,
    deciders: Sequence[Decider[Any, Any, Any]],
    samples: Sequence[Event],
    older: Mapping[str, Event] | None = None,
) -> None:
    """Asserts that every stored type, those of `older` releases included, has its sample and its file, and every file
    its type."""
    codec = Codec([event for decider in deciders for event in decider.events])
    types = {event.stored_type for decider in deciders for event in decider.events}
    assert {path.stem for path in folder.glob("*.json")} == set(codec.reads)
    assert {event.stored_type for event in samples} == types
    assert set(older or ()) == set(codec.reads) - types
