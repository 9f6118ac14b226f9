"""How old what is served is (P17), measured from outside: one learner's mark is corrected again and again, and the
standings that every instance serves meanwhile say which version of it they rest on.

The age of an answer is how long ago the oldest correction was acknowledged that it does not rest on yet.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

import grpc

from credence.accreditation.v1 import standings_pb2
from credence.enrolment.v1 import attendance_pb2
from tests.reliability.clients import AGAIN, Client, Stopped
from tests.reliability.history import History
from tests.reliability.rig import Rig
from tests.reliability.writers import BEGAN, COURSE, LATE, enrols, mark, opens, registers, stored
from tests.system.platform import IMPORTER, Refused
from tests.system.story import PRESENT

WRITE_EVERY_SECONDS = 0.5
READ_EVERY_SECONDS = 0.5
READ_SECONDS = 2.0
FRESH_SECONDS = 2.0
# A learner's document grows with every correction: after so many another learner takes over.
CORRECTIONS = 100


@dataclass(frozen=True)
class Served:
    """One answer: when it was asked for, by whom it was given, how old it was."""

    at: float
    instance: str
    age: float


@dataclass
class _Probe:
    """One learner's corrections, as acknowledged: the version of each, and when."""

    cohort: str
    person: str
    written: list[tuple[int, float]] = field(default_factory=list)


class Freshness:
    """`instances`: those that are asked, all of accreditation unless named. `failed`: what was answered to a read and
    is neither the standing nor that the instance is away (P8)."""

    def __init__(self, rig: Rig, history: History, run: str, instances: Sequence[str] = ()) -> None:
        self._instances = list(instances) or rig.of("accreditation")
        self.served: list[Served] = []
        self.troubles: list[str] = []
        self.failed: list[str] = []
        self._known: set[tuple[str, str]] = set()
        self._rig = rig
        self._run = run
        self._over = threading.Event()
        self._client = Client(rig, history, random.Random(run), self._over)
        self._probe: _Probe | None = None
        self._seen: dict[str, float] = {}
        self._age: dict[str, float] = {}
        self._threads = [
            threading.Thread(target=work, name=work.__name__, daemon=True) for work in (self._write, self._read)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def fresh_since(self, instant: float) -> bool:
        """Whether every instance serves what is fresh, and written after this (monotonic) instant."""
        return all(
            self._seen.get(name, 0.0) > instant and self._age.get(name, inf) <= FRESH_SECONDS
            for name in self._instances
        )

    def _write(self) -> None:
        number = 0
        while not self._over.is_set():
            try:
                self._correct(f"probe-{self._run}-{number}")
            except Stopped:
                return
            except Exception as error:  # noqa: BLE001 - told in the report; the probing goes on
                self.troubles.append(f"freshness: {type(error).__name__}: {error}")
                self._over.wait(WRITE_EVERY_SECONDS)
            number += 1

    def _correct(self, name: str) -> None:
        client, probe = self._client, _Probe(f"c-{name}", f"p-{name}")
        opens(client, probe.cohort, COURSE, "ipc", BEGAN)
        registers(client, [probe.person])
        enrols(client, probe.cohort, [probe.person])
        version = 0
        for n in range(CORRECTIONS):
            row = mark(probe.cohort, probe.person, "s1", (PRESENT, LATE)[n % 2])
            row.command_id += f"-{n}"
            if version:
                row.replaces, row.reason_code = version, "wrong-learner"
            answer = stored(client, attendance_pb2.PostAttendanceRequest(provider_id="ipc", rows=[row]), IMPORTER)
            version = answer.answers[0].outcome.version
            probe.written.append((version, time.monotonic()))
            self._probe = probe
            if self._over.wait(WRITE_EVERY_SECONDS):
                raise Stopped

    def _read(self) -> None:
        while not self._over.wait(READ_EVERY_SECONDS):
            for instance in self._instances:
                if probe := self._probe:
                    try:
                        self._look(instance, probe)
                    except Exception as error:  # noqa: BLE001 - the same
                        self.troubles.append(f"freshness of {instance}: {type(error).__name__}: {error}")

    def _look(self, instance: str, probe: _Probe) -> None:
        request = standings_pb2.GetStandingRequest(cohort_id=probe.cohort, person_id=probe.person)
        at = time.monotonic()
        try:
            standing = self._rig.ask(instance, request, IMPORTER, seconds=READ_SECONDS)
        except Refused as refused:
            # Nothing was served: it is away, or has not heard of the learner. Who was served once stays.
            unheard = refused.status is grpc.StatusCode.NOT_FOUND and (instance, probe.person) not in self._known
            if refused.status not in AGAIN and not unheard:
                self.failed.append(f"{instance}: {refused}")
            return
        self._known.add((instance, probe.person))
        version = standing.basis.get(f"enrolment-{probe.cohort}--{probe.person}", 0)
        unseen = [when for v, when in tuple(probe.written) if v > version and when <= at]
        age = at - min(unseen, default=at)
        self.served.append(Served(at, instance, age))
        self._age[instance] = age
        self._seen[instance] = max((when for v, when in probe.written if v <= version), default=0.0)
