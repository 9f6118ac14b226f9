"""What operators do while the platform is in a storm: they rebuild views, and see a bad release through to its mending.

As they would: what is broken off is begun again until it is done, on whichever instance answers.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from credence.enrolment.v1 import attendance_pb2
from credence.operations.v1 import held_pb2, views_pb2
from tests.reliability.clients import AGAIN, Client
from tests.reliability.evidence import Reading
from tests.reliability.history import History
from tests.reliability.planted import overlay, unreadable
from tests.reliability.reads import reading
from tests.reliability.rig import Rig
from tests.reliability.writers import BEGAN, COURSE, enrols, mark, opens, registers, stored
from tests.system.evidence import SERVICES, records
from tests.system.platform import IMPORTER, OPERATOR, Refused, settled
from tests.system.story import PRESENT

REBUILD_SECONDS = 2400.0  # liveness, not speed: a long log, beside clients, on a slow machine
HELD_SECONDS = 240.0
AGAIN_SECONDS = 0.5
REASON = "to see that it comes to the same"


@dataclass(frozen=True)
class Rebuilt:
    """A rebuild of all views of a service, how often it was begun, and the generations before and after.

    `said` is what the last try was told that did not end it; `done` whether one ended it; `reads`: how many questions
    the service answered rightly meanwhile; `failed`: the other answers.
    """

    service: str
    tries: int
    done: bool
    said: str
    before: Mapping[str, int]
    after: Mapping[str, int]
    reads: int
    failed: Sequence[str]


@dataclass(frozen=True)
class Poisoned:
    """A stream that a release of one service could not read.

    `held` and `came`: what that service held of it (with all else that it held) and what was on the topic, when the
    last of it had come; `flowed`: whether what others wrote meanwhile was served; `redriven`: how many records a
    redrive folded, once they could be read; `left`: what was held after it.
    """

    stream: str
    held: Sequence[Mapping[str, Any]]
    came: Sequence[Any]
    flowed: bool
    redriven: int
    left: Sequence[Mapping[str, Any]]


@dataclass
class Operators:
    """`flows(since)` says whether every instance serves what was written after that (monotonic) instant;
    `not_overrun()` is held while something is seen through that clients must not keep from ending."""

    rig: Rig
    history: History
    run: str
    over: threading.Event
    flows: Callable[[float], bool]
    not_overrun: Callable[[], AbstractContextManager[None]]
    rebuilds: list[Rebuilt] = field(default_factory=list)
    poisonings: list[Poisoned] = field(default_factory=list)

    def rebuild(self, instance: str, kills: int) -> None:
        """All views of the instance's service. The builder is killed, in the midst of it, in as many tries."""
        service = self.rig.instances[instance]
        instances = self.rig.of(service)
        first = instances.index(instance)
        request = views_pb2.RebuildViewsRequest(all=True, confirmed="all", reason=REASON)
        tries, done, said = 0, False, ""
        with (
            self.not_overrun(),
            closing(Reading(self.rig.mongo.uri, [service])) as database,
            reading(self.rig, service, self.run) as reads,
        ):
            before = database.generations(service)
            deadline = time.monotonic() + REBUILD_SECONDS
            while not done and time.monotonic() < deadline:
                builder = instances[(first + tries) % len(instances)]
                tries += 1
                try:
                    killed = tries > kills
                    for told in self.rig.told(builder, request, OPERATOR, seconds=REBUILD_SECONDS):
                        done = told.HasField("done")
                        said = f"it waits: {told.findings.suspect}" if told.findings.waits else ""
                        if not done and not killed:
                            self.rig.kill(builder)
                            killed = True
                except Refused as refused:
                    said = str(refused)
                if not done:
                    self.over.wait(AGAIN_SECONDS)
            if not done:
                _within("what nobody goes on with is dropped", lambda: self._dropped(service, before))
            after = database.generations(service)
        self.rebuilds.append(Rebuilt(service, tries, done, said, before, after, reads.right, reads.failed))

    def _dropped(self, service: str, views: Iterable[str]) -> bool:
        """Whether an instance did it. What is not dropped is folded into beside the views that serve."""
        request = views_pb2.DropViewsRequest(views=views, reason="it does not come to its end")
        for instance in self.rig.of(service):
            with suppress(Refused):
                self.rig.ask(instance, request, OPERATOR)
                return True
        return False

    def poison(self, service: str) -> None:
        """All instances of the service get a release that cannot read one stream; what stands aside is looked at, the
        cause is mended and the stream redriven; then the release is taken back."""
        number = len(self.poisonings)
        name = f"poison-{self.run}-{number}"
        cohort, person = f"c-{name}", f"p-{name}"
        stream = f"enrolment-{cohort}--{person}"
        client = Client(self.rig, self.history, random.Random(name), self.over)
        opens(client, cohort, COURSE, "ipc", BEGAN)
        registers(client, [person])
        folder = Path(mkdtemp(dir=self.rig.folder))
        mended = folder / "mended"
        first, *beside = self.rig.of(service)
        self.rig.release(first, [overlay(folder, unreadable(stream, until=mended))], *beside)
        try:
            enrols(client, cohort, [person])
            row = mark(cohort, person, "s1", PRESENT)
            last = stored(client, attendance_pb2.PostAttendanceRequest(provider_id="ipc", rows=[row]), IMPORTER)
            self.poisonings.append(self._seen_through(service, stream, last.answers[0].outcome.version, mended))
        finally:
            self.rig.release(first, (), *beside)

    def _seen_through(self, service: str, stream: str, version: int, mended: Path) -> Poisoned:
        """The stream, which was written up to this version just now, from its holding to its redrive."""
        since = time.monotonic()
        with self.not_overrun(), closing(Reading(self.rig.mongo.uri, [service])) as database:
            _within("the stream stands aside", lambda: _holds(database.held(service), stream, version))
            flowed = _within("the others go on", lambda: self.flows(since))
            held = database.held(service)
            on_topic = asyncio.run(records(self.rig.kafka.bootstrap, SERVICES["enrolment"].topic))
            came = [record for record in on_topic if record.key.decode() == stream]
            mended.touch()
            redriven = self._redrive(service, stream)
            return Poisoned(stream, held, came, flowed, redriven, database.held(service))

    def _redrive(self, service: str, stream: str) -> int:
        """How many records it folded. Until an instance answers: it may be away."""
        selection = held_pb2.HeldSelection(consumer=f"{service}.facts", streams=[stream])
        request = held_pb2.RedriveHeldRequest(selection=selection, reason="the cause is mended")
        folded = 0

        def tried() -> bool:
            nonlocal folded
            for instance in self.rig.of(service):
                try:
                    tried = self.rig.ask(instance, request, OPERATOR).tried
                except Refused as refused:
                    if refused.status not in AGAIN:
                        raise
                else:
                    folded += sum(released.folded for released in tried)
                    return not any(released.stuck_version for released in tried)
            return False

        _within("it is redriven", tried)
        return folded


def _holds(held: Sequence[Mapping[str, Any]], stream: str, version: int) -> bool:
    return any((entry["stream"], entry["version"]) == (stream, version) for entry in held)


def _within(what: str, look: Callable[[], bool]) -> bool:
    """Whether it comes about: the checkers tell what it means that it does not."""
    try:
        return settled(what, look, seconds=HELD_SECONDS)
    except AssertionError:
        return False
