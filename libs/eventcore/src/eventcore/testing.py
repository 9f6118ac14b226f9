"""Domain tests as sentences: `given(decider, *events).when(command).then(*events)` or `.then_refused(code)`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from eventcore.decider import Command, Decider, Refusal
from eventcore.event import Event

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
