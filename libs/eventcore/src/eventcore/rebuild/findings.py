"""What a rebuild tells while it goes on and when it ends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eventcore.generations import State
from eventcore.rebuild.rehearse import Rehearsal
from eventcore.rebuild.verify import Comparison


class Refused(Exception):
    """It does not begin or go on, and nothing was changed. The message says what to do."""


class Stopped(Exception):
    """It was taken over, dropped or called off while it ran."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total`, in what `state` counts: streams and records while building, then documents and targets.

    `problem`: why it does not move; it is tried again.
    """

    state: State
    done: int
    total: int
    problem: str = ""


@dataclass(frozen=True)
class Findings:
    """What there is to know before the switch.

    `suspect` views have differences although their fold is the one that built the serving generation, or documents
    that are behind it: something is wrong with the log, the store or the fold. With `epochs` another history was
    accepted, and they show what it does not hold.
    """

    comparisons: Sequence[Comparison]
    rehearsals: Sequence[Rehearsal]
    suspect: tuple[str, ...] = ()
    epochs: Mapping[str, str] = field(default_factory=dict)

    @property
    def decisions(self) -> int:
        return sum(rehearsal.changed for rehearsal in self.rehearsals)

    @property
    def digest(self) -> str:
        """Names what is to be confirmed, so that a later run does not switch on another list than was confirmed."""
        told = sorted(f"{c.evaluation}/{c.target}: {c.after}" for r in self.rehearsals for c in r.shown)
        return hashlib.sha256(repr((self.suspect, self.decisions, told)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Done:
    """Switched, and everything that rests on the views is marked; `marked` counts marks."""

    generations: dict[str, int] = field(default_factory=dict)
    marked: int = 0
