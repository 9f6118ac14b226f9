"""What the clients of one seed ask for."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from eventcore.personal import Sealed

from . import domain

NOTE = "a note about the person"


@dataclass
class Wish:
    """A command as its client remembers it. What it once sent it sends again: the note is sealed anew (to the same
    bytes), the version a correction replaces is read once."""

    id: str
    stream: str
    verb: str
    args: tuple[Any, ...]
    deadline: int | None
    replaces: int | None = None

    def command(self, sealed: Sealed | None) -> domain.Wish:
        deadline = None if self.deadline is None else domain.instant(self.deadline)
        match self.verb:
            case "place":
                assert sealed is not None
                person, cohort = domain.parts(self.stream)
                return domain.Place(person=person, cohort=cohort, note=sealed, deadline=deadline)
            case "mark":
                return domain.Mark(session=self.args[0], state=self.args[1], deadline=deadline)
            case "correct":
                return domain.Correct(
                    session=self.args[0], state=self.args[1], replaces=self.replaces or 0, deadline=deadline
                )
            case "cancel":
                return domain.Cancel(session=self.args[0], deadline=deadline)
            case _:
                return domain.Assess(passed=self.args[0], deadline=deadline)


Queue = list[list[Wish]]


def write(r: random.Random, keep: Collection[int] | None, *, twins: bool, race_p: float) -> tuple[list[Queue], int]:
    """Two clients' batches, and how many commands there are: enrolments with their marks, then whatever comes."""
    if r.random() < race_p:
        return _race(keep)
    pairs = [("p", "c1"), ("p", "c2"), ("q", "c1")][: r.choice([1, 2, 3, 3])]
    wanted: list[tuple[str, str, tuple[Any, ...]]] = []
    for person, cohort in sorted(pairs, key=lambda _: r.random()):
        stream, assess = domain.enrol(person, cohort), f"assess-{cohort}--{person}"
        wanted += [
            (stream, "place", ()),
            (stream, "mark", (1, "P")),
            (stream, "mark", (2, r.choice("PPPAA"))),
            (assess, "assess", (True,)),
        ]
    for _ in range(r.choice((0, 2, 4, 7, 7))):
        person, cohort = r.choice(pairs)
        stream, session = domain.enrol(person, cohort), r.choice(domain.SESSIONS)
        wanted.append(
            r.choice(
                [
                    (stream, "correct", (session, r.choice("PA"))),
                    (stream, "correct", (session, r.choice("PA"))),
                    (stream, "mark", (session, "A")),
                    (f"cohort-{cohort}", "cancel", (session,)),
                    (f"assess-{cohort}--{person}", "assess", (r.random() < 0.5,)),
                ]
            )
        )
    if r.random() < 0.3:
        wanted.append((domain.enrol(*pairs[0]), "place", ()))  # the same wish under another id
    if r.random() < 0.3:
        wanted.append(("cohort-c1", "cancel", (2,)))
    if r.random() < 0.3:
        wanted.append((f"assess-c1--{pairs[0][0]}", "assess", (False,)))  # what others may rest on falls
    wishes = [
        Wish(f"k{i}", stream, verb, args, r.randint(20, 600) if r.random() < 0.15 else None)
        for i, (stream, verb, args) in enumerate(wanted)
    ]
    if r.random() < 0.15:
        r.shuffle(wishes)
    if r.random() < 0.3:
        wishes.sort(key=lambda wish: wish.verb != "cancel")  # the cohort's event comes first
    if keep is not None:
        wishes = [wish for wish in wishes if int(wish.id[1:]) in keep]
    return _deal(r, wishes, twins), len(wanted)


def _race(keep: Collection[int] | None) -> tuple[list[Queue], int]:
    """One person's whole story in one call, while the session missed is cancelled in another."""
    stream = domain.enrol("q", "c1")
    wanted: list[tuple[str, str, tuple[Any, ...]]] = [
        ("cohort-c1", "cancel", (2,)),
        (stream, "place", ()),
        (stream, "mark", (1, "P")),
        (stream, "mark", (2, "A")),
        ("assess-c1--q", "assess", (True,)),
    ]
    told = [Wish(f"k{i}", *each, None) for i, each in enumerate(wanted) if keep is None or i in keep]
    calls = [[w for w in told if w.verb == "cancel"], [w for w in told if w.verb != "cancel"]]
    return [[call] if call else [] for call in calls], len(wanted)


def _deal(r: random.Random, wishes: list[Wish], twins: bool) -> list[Queue]:
    queues: list[Queue] = [[], []]
    if r.random() < 0.3:  # the calendar changes while people still enrol
        calendar = [wish for wish in wishes if wish.verb == "cancel"]
        wishes = [wish for wish in wishes if wish.verb != "cancel"]
        queues[0] += [[wish] for wish in calendar]
    while wishes:
        size = r.choice((1, 2, 4, 5))
        batch, wishes = wishes[:size], wishes[size:]
        if twins and r.random() < 0.2:
            batch.append(batch[0])
        queues[1 if queues[0] and queues[0][0][0].verb == "cancel" else r.randint(0, 1)].append(batch)
    return queues
