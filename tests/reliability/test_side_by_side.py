"""Two releases side by side (P13): instances of the release before and of today's on one stack, under clients' load.

The release before is `releases.BASELINE`. What may not be done while it still runs, of which nothing happens here:
- no `credence republish`: it does not know the mark by which a stream is published again, and takes it for done;
- no `credence views rebuild`: it folds into the first generation only, and goes on to after the switch;
- no pool of more than 2,000 places: it still takes 10,000, what it took is kept, and today's release takes no more.
Its health may stay degraded for good after a broker was away (mended since), so that `ok` is awaited of today's alone.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import grpc
import pytest
from pymongo import MongoClient

from credence.accreditation.v1 import standings_pb2
from credence.enrolment.v1 import attendance_pb2, people_pb2
from credence.mentoring.v1 import mentors_pb2
from credence.operations.v1 import privacy_pb2, views_pb2
from credence_cli.identity import Identity
from tests.reliability import releases
from tests.reliability.checks import CHECKS, Case, verdicts
from tests.reliability.clients import Client, Pace, Unhealed
from tests.reliability.evidence import Reading, read, rest
from tests.reliability.history import Batch, History
from tests.reliability.planted import BAD_RELEASES, overlay
from tests.reliability.rig import SERVICES, Ended, Rig
from tests.reliability.writers import BEGAN, COURSE, SESSIONS, Writers, enrols, mark, opens, registers, stored
from tests.system.platform import ADMISSIONS, IMPORTER, OPERATOR, Refused, outcomes_of, settled, told
from tests.system.story import PRESENT, ago

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1800)]

PRIVACY_OFFICER = Identity.of("privacy-officer")
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))
ROWS_A_SECOND, ROWS = 30.0, 1_500
KNOWN_SECONDS = 30.0
STUCK_SECONDS = 1.0
REST_SECONDS = 60.0
TWINS = 6
COMMANDS = 200
REPEATED = 2  # of the newest batches of each kind, to each instance


@dataclass
class Sides:
    """A stack on which either release may run. `old`: the instances of the release before; `wrong`: what was found on
    the way, by promise."""

    rig: Rig
    before: Sequence[Path]
    run: str
    history: History = field(default_factory=History)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    old: set[str] = field(default_factory=set)
    services: Sequence[str] = SERVICES
    patience_seconds: float = KNOWN_SECONDS

    @cached_property
    def writers(self) -> Writers:
        return Writers(self.rig, self.history, self.run, SEED, Pace(ROWS_A_SECOND, ROWS))

    def start(self, *names: str) -> None:
        """The release before, on all of these."""
        self.rig.start_services(*names, path=self.before)
        self.old |= set(names or self.rig.services)

    def under_load(self) -> None:
        w = self.writers
        w.prepare()
        w.start([w.course, w.queue, w.mentees, w.twins])

    def release(self, name: str, *, back: bool = False) -> None:
        """One instance is asked to end, and runs today's release from now on, or the one before again. What was
        commanded of its service until now is repeated to each of the service's instances."""
        try:
            self.rig.release(name, self.before if back else ())
        except AssertionError as error:
            self.found("P11", str(error))
        else:
            self.old ^= {name}
        self._repeats(self.rig.instances[name])

    def found(self, promise: str, what: str) -> None:
        self.wrong.setdefault(promise, []).append(what)

    def of(self, service: str) -> tuple[str, str]:
        """One instance of the release before, one of today's."""
        instances = self.rig.of(service)
        (old,), (new,) = set(instances) & self.old, set(instances) - self.old
        return old, new

    def client(self, *only: str) -> Client:
        return Client(
            self.rig, self.history, random.Random(SEED), threading.Event(),
            only=only, patience_seconds=self.patience_seconds,
        )  # fmt: skip

    def _repeats(self, service: str) -> None:
        newest: dict[type, dict[bytes, Batch]] = {}
        for batch in list(self.history.batches):
            if batch.service == service:
                newest.setdefault(type(batch.request), {})[batch.request.SerializeToString(deterministic=True)] = batch
        for instance in self.rig.of(service):
            for batches in newest.values():
                for batch in list(batches.values())[-REPEATED:]:
                    self.client(instance).sends(batch.request, batch.who)

    def speaks_to_both(self, one: str, other: str) -> None:
        """People whose streams both instances write in turn, each call repeated to the other; then twins, at once to
        both."""
        for person, (first, second) in {f"p1-{self.run}": (one, other), f"p2-{self.run}": (other, one)}.items():
            row = people_pb2.RegisterPerson(command_id=f"reg-{person}", person_id=person, name="Sample Learner")
            for by, then, request in (
                (first, second, people_pb2.RegisterPeopleRequest(rows=[row])),
                (second, first, naming(person, "Sample B")),
                (first, second, naming(person, "Sample C")),
            ):
                self.tries(by, request)
                self.tries(then, request)
            twin = naming(person, "Sample Twin")
            with ThreadPoolExecutor(2 * TWINS) as pool:
                list(pool.map(self.tries, (one, other) * TWINS, (twin,) * 2 * TWINS))

    def tries(self, instance: str, request: Any) -> None:
        """Sends it to this instance until that knows."""
        who = IMPORTER if isinstance(request, people_pb2.RegisterPeopleRequest) else ADMISSIONS
        try:
            stored(self.client(instance), request, who)
        except (Unhealed, AssertionError) as error:
            self.found("P13", str(error))

    def rests(self) -> None:
        with closing(Reading(self.rig.mongo.uri, self.services)) as reading:
            if found := rest(self.rig.kafka.bootstrap, reading, REST_SECONDS):
                self.found("P13", f"not at rest: {found}")

    def case(self) -> Case:
        with closing(Reading(self.rig.mongo.uri, self.services)) as reading:
            return Case(self.history, read(self.rig.kafka.bootstrap, reading))

    def left_to_newer(self) -> list[str]:
        """Commands that an instance could not answer, since it cannot read what another release stored."""
        return [row.id for row in self.history if any(code == "newer-release" for *_, code in row.answers)]

    def rebuilds(self, service: str) -> None:
        """What the changelog asks of operators: what an earlier release found by other rules is found anew."""
        reason = "another release counts otherwise"
        request = views_pb2.RebuildViewsRequest(all=True, confirmed="all", accept_differences=True, reason=reason)
        told = list(self.rig.told(self.rig.of(service)[0], request, OPERATOR, seconds=REST_SECONDS))
        if not told[-1].HasField("done"):
            self.found("P13", f"{service} was not rebuilt: {told[-1]}")

    def ends(self) -> None:
        """The load is over and all instances run today's release; when nothing moves any more, all checks are made."""
        self.writers.stop()
        for trouble in self.writers.troubles:
            self.found("P13", trouble)
        self.rests()
        self.rebuilds("accreditation")
        self.rests()
        for promise, found in verdicts(self.case()).items():
            for what in found:
                self.found(promise, what)
        for each in self.left_to_newer():
            self.found("P13", f"{each} waited for an instance of a newer release")


def naming(person: str, name: str) -> people_pb2.NamePeopleRequest:
    command = f"{name.lower().replace(' ', '-')}-{person}"
    return people_pb2.NamePeopleRequest(rows=[people_pb2.NamePerson(command_id=command, person_id=person, name=name)])


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    folder = tmp_path_factory.mktemp("before")
    try:
        return releases.unpacked(releases.BASELINE, folder)
    except releases.NoHistory as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    print(f"again: SEED={SEED} pytest tests/reliability/test_side_by_side.py")
    running = Rig(tmp_path_factory.mktemp("sides"))
    running.start_servers()
    try:
        yield running
    finally:
        running.close()


# What a release may not do


@pytest.mark.parametrize("name", BAD_RELEASES)
def test_a_bad_release_is_noticed(rig: Rig, before: Sequence[Path], name: str, tmp_path: Path) -> None:
    """Before the others: they leave their services running."""
    bug = BAD_RELEASES[name]
    sides = Sides(rig, before, name[:12].replace("_", "-"), services=["enrolment"], patience_seconds=STUCK_SECONDS)
    try:
        sides.start("enrolment-1")
        rig.start_services("enrolment-2", path=[overlay(tmp_path, bug)])
        sides.speaks_to_both("enrolment-1", "enrolment-2")
        sides.rests()
        for promise in bug.red:
            found = sides.left_to_newer() if promise == "P13" else CHECKS[promise](sides.case())
            assert found, f"{bug.what}: the checker of {promise} did not notice"
    finally:
        rig.stop_services()
        rig.empty()


# Half way: of every service one instance of each release


@pytest.fixture(scope="module")
def halfway(rig: Rig, before: Sequence[Path]) -> Iterator[Sides]:
    sides = Sides(rig, before, f"s{SEED}")
    try:
        sides.start()
        sides.under_load()
        for name in ("enrolment-1", "accreditation-1", "mentoring-1"):
            sides.release(name)
        yield sides
    finally:
        sides.writers.stop()


def test_each_instance_runs_the_release_that_it_is_said_to(halfway: Sides) -> None:
    packages = ("eventcore", "servicekit", "catalogue", "credence", "credence_cli", *SERVICES)
    look = f"import importlib.util as u; print(*[u.find_spec(p).submodule_search_locations[0] for p in {packages}])"
    path = {"PYTHONPATH": os.pathsep.join(map(str, halfway.before))}
    ran = subprocess.run(
        [sys.executable, "-P", "-c", look], env={**os.environ, **path}, capture_output=True, text=True, check=True
    )
    assert {str(Path(found).parent) for found in ran.stdout.split()} == {str(each) for each in halfway.before}
    for name, service in halfway.rig.services.items():
        environment = Path(f"/proc/{service.process.pid}/environ").read_bytes().split(b"\0")
        assert (f"PYTHONPATH={path['PYTHONPATH']}".encode() in environment) is (name in halfway.old)
        assert _knows_generations(halfway.rig, name) is (name not in halfway.old)


def _knows_generations(rig: Rig, name: str) -> bool:
    """What only today's release does. A later BASELINE does it too, and needs another difference here."""
    try:
        rig.ask(name, views_pb2.ListViewsRequest(), OPERATOR)
    except Refused as refused:
        return refused.status is not grpc.StatusCode.UNIMPLEMENTED
    return True


def test_both_releases_write_one_stream_and_know_each_others_commands(halfway: Sides) -> None:
    old, new = halfway.of("enrolment")
    halfway.speaks_to_both(old, new)
    assert halfway.wrong == {}


def test_a_token_of_one_release_is_taken_by_the_other(halfway: Sides) -> None:
    rig, cohort, person = halfway.rig, f"c-token-{halfway.run}", f"p-token-{halfway.run}"
    client = halfway.client()
    opens(client, cohort, COURSE, "ipc", BEGAN)
    registers(client, [person])
    enrols(client, cohort, [person])
    (old, new), listening = halfway.of("enrolment"), halfway.of("accreditation")
    for session, writer, own, foreign in (("s1", old, new, listening[1]), ("s2", new, old, listening[0])):
        rows = [mark(cohort, person, session, PRESENT)]
        request = attendance_pb2.PostAttendanceRequest(provider_id="ipc", rows=rows)
        answer = stored(halfway.client(writer), request, IMPORTER)
        register = attendance_pb2.GetRegisterRequest(
            cohort_id=cohort, provider_id="ipc", session_id=session, token=answer.token
        )
        (entry,) = rig.ask(own, register, Identity.of("provider", providers=["ipc"])).entries
        assert entry.current.value.state == PRESENT
        asked = standings_pb2.GetStandingRequest(cohort_id=cohort, person_id=person, token=answer.token)
        outcome = answer.answers[0].outcome
        assert rig.ask(foreign, asked, IMPORTER).basis[outcome.stream] >= outcome.version


def test_who_is_erased_by_either_release_is_erased_in_both(halfway: Sides) -> None:
    rig, enrolment, mentoring = halfway.rig, halfway.of("enrolment"), halfway.of("mentoring")
    people = {instance: f"gone{n}-{halfway.run}" for n, instance in enumerate(enrolment)}
    aside = History()  # once erased, what holds something personal is refused, repeated or not
    for n, (eraser, person) in enumerate(people.items()):
        row = people_pb2.RegisterPerson(command_id=f"reg-{person}", person_id=person, name="Sample Gone")
        mentor = mentors_pb2.RegisterMentor(
            command_id=f"mentor-{person}", person_id=person, background="children", sector="public", in_post=True,
            employer_id="sample-council", pen_portrait="A sample pen portrait.",
        )  # fmt: skip
        stored(
            replace(halfway.client(enrolment[1 - n]), history=aside),
            people_pb2.RegisterPeopleRequest(rows=[row]),
            IMPORTER,
        )
        stored(
            replace(halfway.client(mentoring[n]), history=aside),
            mentors_pb2.RegisterMentorsRequest(rows=[mentor]),
            ADMISSIONS,
        )
        for name in enrolment:  # what one release sealed the other opens
            settled(f"{name} shows {person}", lambda n=name, p=person: _name(rig, n, p) == "Sample Gone")  # type: ignore[misc]
        for name in mentoring:
            settled(f"{name} shows {person}", lambda n=name, p=person: _portrait(rig, n, p) == (False, True))  # type: ignore[misc]
        erasing = people_pb2.ErasePerson(command_id=f"erase-{person}", person_id=person, reason_code="person-asked")
        stored(halfway.client(eraser), people_pb2.ErasePeopleRequest(rows=[erasing]), PRIVACY_OFFICER)
    for person in people.values():
        for name in rig.services:
            settled(f"{name} has erased {person}", lambda n=name, p=person: _destroyed(rig, n, p))  # type: ignore[misc]
        for name in enrolment:
            gone = people_pb2.Person(person_id=person, erased=True)
            assert rig.ask(name, people_pb2.GetPersonRequest(person_id=person), PRIVACY_OFFICER) == gone
            again = people_pb2.RegisterPerson(command_id=f"again-{person}", person_id=person, name="Sample Gone")
            answer = rig.ask(name, people_pb2.RegisterPeopleRequest(rows=[again]), IMPORTER)
            assert told(outcomes_of(answer)) == ["person-erased"]
        for name in mentoring:
            settled(f"{name} shows {person} no more", lambda n=name, p=person: _portrait(rig, n, p) == (True, False))  # type: ignore[misc]
    with MongoClient[Any](rig.mongo.uri) as client:
        for service in SERVICES:
            kept = list(client[f"credence_{service}"]["keys"].find({"_id": {"$in": list(people.values())}}))
            assert [document.keys() for document in kept] == [{"_id", "erased"}] * len(people)


def _name(rig: Rig, instance: str, person: str) -> str:
    try:
        return str(rig.ask(instance, people_pb2.GetPersonRequest(person_id=person), ADMISSIONS).name)
    except Refused:  # not folded yet
        return ""


def _portrait(rig: Rig, instance: str, person: str) -> tuple[bool, bool] | None:
    """Whether the mentor is erased, and whether there is a portrait."""
    mentors = rig.ask(instance, mentors_pb2.ListMentorsRequest(person_id=person), ADMISSIONS).mentors
    return (mentors[0].erased, bool(mentors[0].pen_portrait)) if mentors else None


def _destroyed(rig: Rig, instance: str, person: str) -> bool:
    erasure = rig.ask(instance, privacy_pb2.GetErasureRequest(person_id=person), PRIVACY_OFFICER)
    return bool(erasure.heard and erasure.destroyed)


# The command of either release against the services of the other


@dataclass
class Command:
    """`credence` of one release, speaking to instances of the other, with a home of its own."""

    sides: Sides
    home: Path
    before: bool

    def __call__(self, *words: str) -> Any:
        """What it prints as JSON; it must end with 0."""
        asked = [self.sides.of(service)[1 if self.before else 0] for service in SERVICES]
        addresses = {
            f"CREDENCE_{self.sides.rig.instances[name].upper()}": self.sides.rig.services[name].address
            for name in asked
        }
        env = {
            **os.environ,
            **addresses,
            "PYTHONPATH": os.pathsep.join(map(str, self.sides.before if self.before else ())),
            "CREDENCE_HOME": str(self.home),
            "CREDENCE_DEVELOPMENT_SECRETS": str(self.sides.rig.secrets.folder),
        }
        ran = subprocess.run(
            [sys.executable, "-P", "-m", "credence_cli.main", *words, "--json"],
            env=env, cwd=self.home, capture_output=True, text=True,
        )  # fmt: skip
        assert ran.returncode == 0, f"credence {' '.join(words)}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return json.loads(ran.stdout)

    @property
    def ids(self) -> tuple[str, str]:
        run = f"{self.home.name}-{self.sides.run}"
        return f"c-{run}", f"p-{run}"

    def writes(self) -> None:
        """A cohort is opened, a learner enrolled and marked."""
        cohort, person = self.ids
        lines = "".join(f"{cohort},{session},{person},present\n" for session in SESSIONS)
        (self.home / "register.csv").write_text("cohort,session,person,state\n" + lines)
        self("cohort", "open", cohort, "--programme", COURSE, "--starts-on", ago(BEGAN), "--provider", "ipc")
        self("enrol", cohort, person, "--on", ago(BEGAN))
        assert self.posts(self.home) == {"OUTCOME_STATUS_ACCEPTED"}

    def posts(self, home: Path) -> set[str]:
        posted = self("attendance", "post", str(home / "register.csv"), "--provider", "ipc")
        return {row["outcome"]["status"] for row in posted}

    def reads(self, cohort: str, person: str) -> list[Any]:
        """Something of each service: a register, a learner's standing, the mentors."""
        return [
            self("attendance", "show", cohort, "--provider", "ipc"),
            self("standing", "explain", cohort, person),
            self("mentor", "list"),
        ]


def test_the_command_of_either_release_speaks_to_the_services_of_the_other(halfway: Sides, tmp_path: Path) -> None:
    old, new = commands = [Command(halfway, tmp_path / name, name == "old") for name in ("old", "new")]
    for command in commands:
        command.home.mkdir()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Command.writes, commands))
        # The same registers by the other command to the other services: to both they say what stands already.
        posted = list(pool.map(Command.posts, commands, (new.home, old.home)))
        assert posted == [{"OUTCOME_STATUS_UNCHANGED"}] * 2

        def printed_alike() -> list[Any] | None:
            by_old, by_new = pool.map(lambda command: command.reads(*old.ids), commands)
            return by_old if by_old == by_new else None

        register, explained, mentors = settled("both print the same", printed_alike, seconds=120)
    assert len(register["entries"]) == len(SESSIONS)
    assert explained["basis"].keys() >= {f"enrolment-{old.ids[0]}--{old.ids[1]}"}
    assert mentors["mentors"]


# To the end


@dataclass(frozen=True)
class RolledOut:
    wrong: Mapping[str, Sequence[str]]
    ended: Sequence[Ended]
    kinds: set[str]
    acknowledged: int


@pytest.fixture(scope="module")
def rolled_out(halfway: Sides) -> RolledOut:
    """One instance is taken back, and forward again; then the others follow."""
    halfway.release("enrolment-1", back=True)
    for name in ("enrolment-1", "accreditation-2", "mentoring-2", "enrolment-2"):
        halfway.release(name)
    halfway.ends()
    kinds = {type(batch.request).__name__ for batch in halfway.history.batches}
    return RolledOut(halfway.wrong, list(halfway.rig.ended), kinds, halfway.history.acknowledged)


@pytest.mark.parametrize("promise", [*CHECKS, "P11", "P13"])
def test_no_promise_was_broken_on_the_way(rolled_out: RolledOut, promise: str) -> None:
    assert not rolled_out.wrong.get(promise), f"{promise}; again: SEED={SEED}"


def test_commands_of_every_service_were_given_and_repeated(rolled_out: RolledOut) -> None:
    assert len(rolled_out.kinds) >= 10
    assert rolled_out.acknowledged >= COMMANDS


def test_no_instance_ended_by_itself(rolled_out: RolledOut) -> None:
    assert rolled_out.ended == []


def test_todays_release_is_whole_alone(halfway: Sides, rolled_out: RolledOut) -> None:
    assert halfway.old == set()
    for name in halfway.rig.services:
        settled(f"{name} is ok", lambda n=name: halfway.rig.health(n).get("status") == "ok")  # type: ignore[misc]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_instance_goes_there_and_back_and_there_again_under_load(rig: Rig, before: Sequence[Path]) -> None:
    """After the others: on empty servers, in an order of the seed, each step repeating what was commanded before."""
    rig.stop_services()
    rig.empty()
    sides = Sides(rig, before, f"l{SEED}")
    try:
        sides.start()
        sides.under_load()
        for name in random.Random(SEED).sample(sorted(rig.services), len(rig.services)):
            sides.release(name)
            sides.release(name, back=True)
            sides.release(name)
        sides.ends()
    finally:
        sides.writers.stop()
    assert sides.wrong == {}, f"again: SEED={SEED}"
    assert rig.ended == []
