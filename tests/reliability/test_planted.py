"""Real processes with a bug in them, under the fault that brings it out: the checker of the promise goes red."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from credence.enrolment.v1 import attendance_pb2, cohorts_pb2, people_pb2
from credence_cli import topics
from tests.reliability.checks import CHECKS, Case, p9_held_whole, p17_views_are_fresh
from tests.reliability.clients import Client
from tests.reliability.evidence import Reading, left, read
from tests.reliability.faults import thrice
from tests.reliability.freshness import Freshness
from tests.reliability.history import History
from tests.reliability.planted import BUGS, Bug, overlay, unreadable
from tests.reliability.rig import Rig
from tests.reliability.writers import COURSE, LATE, SESSIONS, Writers, enrols, mark, opens, registers, stored
from tests.system.evidence import SERVICES, records
from tests.system.platform import ADMISSIONS, IMPORTER, outcomes_of, settled
from tests.system.story import PRESENT

pytestmark = pytest.mark.servers

TOPIC = SERVICES["enrolment"].topic
STUCK = "enrolment-c1--p7"
# Between a cohort's opening with its timetable and the cancellation of one of its sessions, both with their headers.
RECORD_BYTES = 700
SEEN_SECONDS = 12.0
STEP_SECONDS, STEPS = 0.15, 6  # one way to the database; how many ways a command goes at least, and some more
LOOK_SECONDS = 60.0  # what one look may take
LOOKS = 20
POISON_SECONDS = 400.0


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    running = Rig(tmp_path_factory.mktemp("planted"), services=("enrolment", "accreditation"))
    running.start_servers()
    try:
        yield running
    finally:
        running.close()


@dataclass
class Stage:
    """One try: services with a bug in them or without, on empty servers."""

    rig: Rig
    folder: Path
    bugs: tuple[Bug, ...]
    history: History = field(default_factory=History)

    def release(self, instance: str, *more: Bug) -> None:
        """That instance from now on with these bugs on top of the ones that it is about."""
        self.rig.release(instance, self.path(*more), ready=False)

    def path(self, *more: Bug) -> Sequence[Path]:
        bugs = (*self.bugs, *more)
        return [overlay(Path(mkdtemp(dir=self.folder)), *bugs)] if bugs else []

    @property
    def client(self) -> Client:
        return Client(self.rig, self.history, random.Random(1), threading.Event())

    @property
    def writers(self) -> Writers:
        return Writers(self.rig, self.history, "planted", 1)

    def asks(self, instance: str, request: Any) -> None:
        """Once, of this instance; the answer is noted."""
        self.history.sent("enrolment", request.rows)
        answer = self.rig.ask(instance, request, IMPORTER)
        self.history.answered("enrolment", request.rows, outcomes_of(answer))

    def enrolled(self, *people: str) -> None:
        opens(self.client, "c1", COURSE, "ipc", 70)
        registers(self.client, people)
        enrols(self.client, "c1", people)

    def marked(self, person: str, **more: Any) -> int:
        """One mark, or its correction; the version that it got."""
        replaced = more.get("replaces", 0)
        row = mark("c1", person, "s1", (PRESENT, LATE)[replaced % 2], **more)
        row.command_id += f"-{replaced}"
        request = attendance_pb2.PostAttendanceRequest(provider_id="ipc", rows=[row])
        return int(stored(self.client, request, IMPORTER).answers[0].outcome.version)

    def unsettled(self, *services: str) -> dict[str, Any]:
        with closing(Reading(self.rig.mongo.uri, services)) as reading:
            return left(self.rig.kafka.bootstrap, reading)

    def committed(self) -> int:
        """How many records of others accreditation says it has handled."""
        (found,) = topics.lag(self.rig.kafka.bootstrap, ["accreditation.facts"])
        return sum(p.committed or 0 for p in found.partitions)

    def rests(self, *services: str) -> None:
        settled("all is at rest", lambda: not self.unsettled(*services), seconds=60)

    def folded(self, people: Sequence[str]) -> dict[str, int]:
        """How far accreditation has folded their enrolments."""
        with closing(Reading(self.rig.mongo.uri, BOTH)) as reading:
            views = reading.documents("accreditation").views["enrolments"]
        return {p: views.get(f"enrolment-c1--{p}", (0, None))[0] for p in people}

    def seen(self, look: Callable[[], bool], seconds: float = SEEN_SECONDS) -> bool:
        """Whether it comes about within a while: the bug at work. Without the bug it never does."""
        found, deadline = False, time.monotonic() + seconds

        def looked() -> bool:
            nonlocal found
            found = bool(look())
            return found or time.monotonic() > deadline

        settled("the bug at work", looked, seconds=seconds + LOOK_SECONDS)
        return found

    def restarted(self, instance: str) -> None:
        self.rig.kill(instance)
        self.rig.mend()
        settled(f"{instance} is back", partial(self.rig.ready, instance), seconds=60)

    def wrong(self, promise: str, *services: str) -> list[str]:
        with closing(Reading(self.rig.mongo.uri, services)) as reading:
            found = read(self.rig.kafka.bootstrap, reading)
        return CHECKS[promise](Case(self.history, found))


Scenario = Callable[[Stage], dict[str, list[str]]]
"""Gives what the checkers found, by promise."""

BOTH = ("enrolment", "accreditation")


def _of(stage: Stage, promises: str, *services: str) -> dict[str, list[str]]:
    return {promise: stage.wrong(promise, *services) for promise in promises.split()}


def killed_over_what_it_had_fetched(stage: Stage) -> dict[str, list[str]]:
    """A consumer cannot reach its database; what it fetched meanwhile is not folded when it dies."""
    stage.rests(*BOTH)
    before = stage.committed()
    stage.rig.disturb("accreditation-1/mongo", "refuse")
    stage.enrolled("p1", "p2")
    settled("all is published", lambda: not stage.unsettled("enrolment"))
    stage.seen(lambda: stage.committed() > before)
    stage.restarted("accreditation-1")
    stage.rests(*BOTH)
    return _of(stage, "P6", *BOTH)


def killed_between_fold_and_marks(stage: Stage) -> dict[str, list[str]]:
    stage.enrolled("p1", "p2")
    settled("all is published and consumed", lambda: not stage.unsettled(*BOTH))
    stage.restarted("accreditation-1")
    stage.rests(*BOTH)
    return _of(stage, "P6", *BOTH)


def killed_after_an_answer(stage: Stage) -> dict[str, list[str]]:
    registers(stage.client, ["p1", "p2"])
    stage.restarted("enrolment-1")
    return _of(stage, "P1", "enrolment")


def fifty_rivals(stage: Stage) -> dict[str, list[str]]:
    stage.writers.rivals(stage.client, "x")
    return _of(stage, "P2", "enrolment")


def marked_at_once(stage: Stage) -> dict[str, list[str]]:
    """One learner's six sessions, each posted by a client of its own at the same time."""
    stage.enrolled("p1")

    def one(session: str) -> None:
        rows = [mark("c1", "p1", session, PRESENT)]
        stored(stage.client, attendance_pb2.PostAttendanceRequest(provider_id="ipc", rows=rows), IMPORTER)

    with ThreadPoolExecutor(len(SESSIONS)) as pool:
        list(pool.map(one, SESSIONS))
    return _of(stage, "P4", "enrolment")


def named_there_and_back(stage: Stage) -> dict[str, list[str]]:
    """Named A, named B, and the first command once more: its answer again, not a third name."""
    registers(stage.client, ["p1"])
    for command, name in (("to-a", "Sample A"), ("to-b", "Sample B"), ("to-a", "Sample A")):
        row = people_pb2.NamePerson(command_id=command, person_id="p1", name=name)
        stage.client.sends(people_pb2.NamePeopleRequest(rows=[row]), ADMISSIONS)
    return _of(stage, "P7", "enrolment")


def woken_with_a_write_under_way(stage: Stage) -> dict[str, list[str]]:
    """An instance is paused at each step of a command; the other one answers it meanwhile; then the first wakes up."""
    stage.rig.disturb("enrolment-1/mongo", "delay", STEP_SECONDS)
    with ThreadPoolExecutor(1) as pool:
        for steps in range(1, STEPS + 1):
            row = people_pb2.RegisterPerson(command_id=f"reg-{steps}", person_id=f"p{steps}")
            request = people_pb2.RegisterPeopleRequest(rows=[row])
            slept = pool.submit(stage.asks, "enrolment-1", request)
            threading.Event().wait(steps * STEP_SECONDS)  # how far it has come is what is varied
            stage.rig.pause("enrolment-1")
            try:
                stage.asks("enrolment-2", request)
            finally:
                stage.rig.resume("enrolment-1")
            slept.result()
    return _of(stage, "P1 P2 P7", "enrolment")


def killed_while_kafka_is_away(stage: Stage) -> dict[str, list[str]]:
    settled("all is published", lambda: not stage.unsettled("enrolment"))
    stage.rig.disturb("enrolment-1/kafka", "refuse")
    registers(stage.client, ["p1"])
    stage.seen(lambda: not stage.unsettled("enrolment"))
    stage.restarted("enrolment-1")
    stage.rests("enrolment")
    return _of(stage, "P3", "enrolment")


def first_record_refused(stage: Stage) -> dict[str, list[str]]:
    """The broker takes no large record for a while: a stream's first event is one, its second is not."""
    with broker_limit(stage.rig, RECORD_BYTES):
        settled("the limit holds", lambda: _held_up(stage))
        _opened_and_changed(stage)
        overtaken = stage.seen(lambda: bool(stage.wrong("P5", "enrolment")))
    if not overtaken:
        stage.rests("enrolment")
    return _of(stage, "P5", "enrolment")


def kafka_away_for_a_while(stage: Stage) -> dict[str, list[str]]:
    settled("all is published", lambda: not stage.unsettled("enrolment"))
    stage.rig.disturb("enrolment-1/kafka", "refuse")
    _opened_and_changed(stage, between=lambda: _publish(stage) != "ok")
    stage.rig.mend()
    stage.rests("enrolment")
    return _of(stage, "P5", "enrolment")


def _opened_and_changed(stage: Stage, between: Callable[[], bool] = lambda: True) -> None:
    """Two events of one stream, the second when `between` is so."""
    opens(stage.client, "c1", COURSE, "ipc", 70)
    settled("the first record did not get out", between)
    row = cohorts_pb2.CancelSession(command_id="cancel", cohort_id="c1", session_id="s1", reason_code="weather")
    stored(stage.client, cohorts_pb2.CancelSessionsRequest(rows=[row]), ADMISSIONS)


def _held_up(stage: Stage) -> bool:
    """Whether one more large record does not get out: a topic's setting takes a moment to be so."""
    opens(stage.client, f"c-{len(stage.history.rows())}", COURSE, "ipc", 70)
    return stage.seen(lambda: _publish(stage) != "ok", seconds=2)


def _publish(stage: Stage) -> str:
    return str(stage.rig.health("enrolment-1")["checks"]["publish"]["state"])


def nothing_at_all(stage: Stage) -> dict[str, list[str]]:
    stage.enrolled("p1")
    stage.rests("enrolment")
    return _of(stage, "P3 P4 P5", *SERVICES)


def everything_three_times(stage: Stage) -> dict[str, list[str]]:
    stage.enrolled("p1")
    stage.marked("p1")
    stage.rests(*BOTH)
    asyncio.run(thrice(stage.rig.kafka.bootstrap, TOPIC))
    stage.rests(*BOTH)
    # All at once they may be one batch, and then nothing of a stream comes without its last version.
    asyncio.run(thrice(stage.rig.kafka.bootstrap, TOPIC, _first_of_each))
    stage.rests(*BOTH)
    return _of(stage, "P6", *BOTH)


def _first_of_each(found: Sequence[Any]) -> list[Any]:
    return list({record.key: record for record in reversed(found)}.values())


def facts_that_move_on(stage: Stage) -> dict[str, list[str]]:
    """Facts change faster than what was found of them is written."""
    people = ["p0", "p1"]
    stage.enrolled(*people)
    version = {p: stage.marked(p) for p in people}
    stage.rests(*BOTH)
    for _ in range(2):
        version = {p: stage.marked(p, replaces=version[p], reason_code="wrong-learner") for p in people}
        settled("the corrections are folded", lambda: stage.folded(people) == version)  # noqa: B023
    stage.rests(*BOTH)
    return _of(stage, "P6", *BOTH)


def poison(stage: Stage, streams: int = 25) -> dict[str, list[str]]:
    """The release cannot read one stream of many; more of it comes; then the fix ships."""
    people = [f"p{n}" for n in range(streams)]
    stopped = partial(_ended, stage, "accreditation-1", "consume")
    stage.enrolled(*people)
    marked = stage.marked("p7")
    stage.marked("p7", replaces=marked, reason_code="wrong-learner")
    settled("all else is done", lambda: _only_held(stage.unsettled(*BOTH)) or bool(stopped()), seconds=POISON_SECONDS)
    with closing(Reading(stage.rig.mongo.uri, BOTH)) as reading:
        held = reading.held("accreditation")
    came = [r for r in asyncio.run(records(stage.rig.kafka.bootstrap, TOPIC)) if r.key.decode() == STUCK]
    others = [wrong for wrong in stage.wrong("P6", *BOTH) if "c1--p7" not in wrong]
    p9 = [*p9_held_whole(STUCK, held, came), *others, *stopped()]
    stage.release("accreditation-1")
    lost: list[str] = []

    def done() -> bool:
        nonlocal lost
        looks = [_lost(stage) for _ in range(3)]  # between an entry's end and its head's it looks so for a moment
        lost = looks[-1] if all(looks) else [f"{STUCK} held up all others: {why}" for why in stopped()]
        return bool(lost) or not stage.unsettled(*BOTH)

    settled("all is done with the fix, or never will be", done, seconds=POISON_SECONDS)
    p9 += lost
    return {"P9": p9, "P10": stage.wrong("P6", *BOTH)}


def _only_held(left: Mapping[str, Any]) -> bool:
    """Whether nothing is left to do but what accreditation holds, if it does."""
    return left.keys() <= {"accreditation"} and left.get("accreditation", {}).keys() <= {"held", "held_heads"}


def _lost(stage: Stage) -> list[str]:
    """What the stream waits for though all was consumed, and which is held no more: it will wait for ever."""
    waiting = stage.unsettled(*BOTH)
    if not waiting or not _only_held(waiting):
        return []
    with closing(Reading(stage.rig.mongo.uri, BOTH)) as reading:
        before = _folded_to(reading)
        held = [entry["version"] for entry in reading.held("accreditation") if entry["stream"] == STUCK]
        folded = _folded_to(reading)
    waits = folded + 1 not in held and folded == before
    return [f"{STUCK}@{folded + 1} is neither folded nor held"] if waits else []


def _folded_to(reading: Reading) -> int:
    return reading.documents("accreditation").views["enrolments"].get(STUCK, (0, None))[0]


def _ended(stage: Stage, instance: str, check: str) -> list[str]:
    """Why this work of an instance has ended for good; nothing while it goes on."""
    told = str(stage.rig.health(instance).get("checks", {}).get(check, {}))
    return [told] if "ended by" in told else []


def asked_to_end(stage: Stage) -> dict[str, list[str]]:
    try:
        with stage.rig.down("enrolment-1"):
            pass
    except AssertionError as error:
        return {"P11": [str(error)]}
    return {"P11": []}


def kafka_back_after_a_while(stage: Stage) -> dict[str, list[str]]:
    _held_up_by_kafka(stage)
    ended = partial(_ended, stage, "enrolment-1", "publish")
    settled("it goes on, or never will", lambda: bool(ended()) or not stage.unsettled("enrolment"), seconds=60)
    return {"P12": ended()}


def _held_up_by_kafka(stage: Stage) -> None:
    settled("all is published", lambda: not stage.unsettled("enrolment"))
    stage.rig.disturb("enrolment-1/kafka", "refuse")
    registers(stage.client, ["p1"])
    settled("that is told", lambda: _publish(stage) != "ok")
    stage.rig.mend()


def looked_at_for_a_while(stage: Stage) -> dict[str, list[str]]:
    fresh = Freshness(stage.rig, stage.history, "x", instances=["accreditation-1"])
    fresh.start()
    try:
        settled("enough was served", lambda: len(fresh.served) >= LOOKS, seconds=60)
    finally:
        fresh.stop()
    assert not fresh.troubles
    return {"P17": p17_views_are_fresh([served.age for served in fresh.served])}


ENROLMENT = ("enrolment-1",)
ONE_EACH = ("enrolment-1", "accreditation-1")


@dataclass(frozen=True)
class BroughtOut:
    """What brings a bug out, on which instances; and what else is wrong with the release that they start from."""

    scenario: Scenario
    instances: tuple[str, ...]
    release: tuple[Bug, ...] = ()


POISON = BroughtOut(poison, ONE_EACH, (unreadable(STUCK),))
ZOMBIE = BroughtOut(woken_with_a_write_under_way, ("enrolment-1", "enrolment-2"))
BROUGHT_OUT: dict[str, BroughtOut] = {
    "answered_before_append": BroughtOut(killed_after_an_answer, ENROLMENT),
    "no_unique_id": BroughtOut(fifty_rivals, ENROLMENT),
    "published_before_append": BroughtOut(marked_at_once, ENROLMENT),
    "no_replay": BroughtOut(named_there_and_back, ENROLMENT),
    "cleared_before_acknowledgement": BroughtOut(killed_while_kafka_is_away, ENROLMENT),
    "sends_ahead": BroughtOut(first_record_refused, ENROLMENT),
    "retry_breaks_order": BroughtOut(kafka_away_for_a_while, ENROLMENT),
    "two_topics": BroughtOut(nothing_at_all, ENROLMENT),
    "held_in_part": POISON,
    "one_stops_all": POISON,
    "dropped_unfolded": POISON,
    "gives_up": BroughtOut(kafka_back_after_a_while, ENROLMENT),
    "no_drain": BroughtOut(asked_to_end, ENROLMENT),
    "dawdles": BroughtOut(looked_at_for_a_while, ONE_EACH),
    "default_acknowledgement": BroughtOut(killed_over_what_it_had_fetched, ONE_EACH),
    "committed_before_marks": BroughtOut(killed_between_fold_and_marks, ONE_EACH),
    "no_version_check": BroughtOut(everything_three_times, ONE_EACH),
    "no_evaluation_guard": BroughtOut(facts_that_move_on, ONE_EACH),
}
WITHOUT = {each.scenario.__name__: each for each in BROUGHT_OUT.values()}


@contextmanager
def staged(rig: Rig, brought_out: BroughtOut, folder: Path, *bugs: Bug) -> Iterator[Stage]:
    """Services on empty servers, with these bugs in them."""
    stage = Stage(rig, folder, bugs)
    try:
        rig.start_services(*brought_out.instances, path=stage.path(*brought_out.release))
        yield stage
    finally:
        rig.stop_services()
        rig.empty()


@contextmanager
def broker_limit(rig: Rig, size: int) -> Iterator[None]:
    """The largest record that the broker takes."""

    def limit(value: int) -> None:
        with closing(KafkaAdminClient(bootstrap_servers=rig.kafka.bootstrap)) as admin:
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, TOPIC, {"max.message.bytes": str(value)})])

    limit(size)
    try:
        yield
    finally:
        limit(1_048_576)


def test_every_planted_bug_has_what_brings_it_out() -> None:
    assert BROUGHT_OUT.keys() == BUGS.keys()


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_finds_its_lines(name: str, tmp_path: Path) -> None:
    overlay(tmp_path, BUGS[name])


@pytest.mark.parametrize("name", BROUGHT_OUT)
def test_planted(rig: Rig, name: str, tmp_path: Path) -> None:
    bug, brought_out = BUGS[name], BROUGHT_OUT[name]
    with staged(rig, brought_out, tmp_path, bug) as stage:
        found = brought_out.scenario(stage)
    for promise, words in bug.red.items():
        noticed = [each for each in found[promise] if words in each]
        assert noticed, f"{bug.what}: the checker of {promise} did not notice, but {found[promise]}"


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT)
def test_without_a_bug_the_same_faults_leave_nothing_wrong(rig: Rig, name: str, tmp_path: Path) -> None:
    with staged(rig, WITHOUT[name], tmp_path) as stage:
        assert not any(WITHOUT[name].scenario(stage).values())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_poison_among_a_thousand_streams_and_its_fix(rig: Rig, tmp_path: Path) -> None:
    with staged(rig, POISON, tmp_path) as stage:
        assert poison(stage, streams=1_000) == {"P9": [], "P10": []}


@pytest.mark.parametrize("bug", [None, "no_unique_id"])
def test_a_process_that_wakes_with_a_write_under_way_does_no_harm(rig: Rig, tmp_path: Path, bug: str | None) -> None:
    """Shown red where the slot of a version is not unique."""
    with staged(rig, ZOMBIE, tmp_path, *([BUGS[bug]] if bug else [])) as stage:
        found = woken_with_a_write_under_way(stage)
    assert bool(found["P2"]) is (bug is not None), found
    assert bug or not any(found.values()), found


def test_one_poison_among_a_few_streams_and_its_fix(rig: Rig, tmp_path: Path) -> None:
    with staged(rig, POISON, tmp_path) as stage:
        assert poison(stage) == {"P9": [], "P10": []}
