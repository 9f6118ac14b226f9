"""A service's database is lost and restored (P14), by the steps of docs/backup.md, on a platform of its own.

The backup is taken while the service takes commands. What it does not hold (a person, an erasure) is lost with the
database; what it holds comes back, under another epoch, and listeners wait until their views are built from it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import text_format
from pymongo import MongoClient

from catalogue.files import check
from catalogue.proto import programme_to_proto
from credence.accreditation.v1 import assessments_pb2 as work
from credence.accreditation.v1 import standings_pb2
from credence.enrolment.v1 import catalogue_pb2, people_pb2
from credence_cli.embedded.service import ServiceSpec
from credence_cli.embedded.stack import Stack
from credence_cli.identity import Identity
from tests.system.conftest import ROOT
from tests.system.evidence import SERVICES
from tests.system.lone import start
from tests.system.platform import (
    ADMISSIONS,
    IMPORTER,
    OPERATOR,
    Platform,
    Refused,
    all_stored,
    outcomes_of,
    settled,
    told,
)
from tests.system.story import Story
from tests.system.test_rebuild import beside, delivered

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

CREDIT = "commissioning-credit"
LISTENERS = ("accreditation", "mentoring")
PRIVACY_OFFICER = Identity.of("privacy-officer")


@dataclass
class Lost:
    """A platform whose enrolment service is restored: what was known before, and what each step said."""

    platform: Platform
    folder: Path
    story: Story
    registered: list[str] = field(default_factory=list)  # before the backup was begun
    meanwhile: list[str] = field(default_factory=list)  # and while it was taken
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    before: str = ""
    created: Any = None
    restored: Any = None
    refusals: dict[str, str] = field(default_factory=dict)
    missed: dict[str, Any] = field(default_factory=dict)  # what a listener knew and the restored log does not
    rebuilt: dict[str, list[Any]] = field(default_factory=dict)

    def spec(self, service: str) -> ServiceSpec:
        return next(spec for spec in self.platform.stack.specs if spec.name == service)

    def stop(self, service: str, by: signal.Signals) -> None:
        pid = self._pid(service)
        assert pid is not None
        os.kill(pid, by)
        settled(f"{service} has ended", lambda: self._pid(service) is None)

    def start(self, service: str) -> None:
        """Alone: the stack would start those anew that refuse the new history, and wait for them."""
        self.started.append(start(self.spec(service), self.folder / f"{service}.log"))

    def _pid(self, service: str) -> int | None:
        return next(part.pid for part in self.platform.stack.status() if part.name == service)

    def named(self, person: str) -> people_pb2.RegisterPerson:
        return people_pb2.RegisterPerson(command_id=f"register-{person}", person_id=person, name=f"Name of {person}")

    def register(self, person: str) -> Any:
        request = people_pb2.RegisterPeopleRequest(rows=[self.named(person)])
        return all_stored(self.platform.ask(request, IMPORTER))

    def write(self) -> None:
        """Registers somebody: done again and again while the backup is taken."""
        person = self.story.id(f"meanwhile{len(self.meanwhile)}")
        self.register(person)
        self.meanwhile.append(person)

    def standing(self) -> str:
        """What the learner has earned, as text, whatever the views' versions."""
        standing = self.story.standing_at_rest(self.story.id("learner"))
        standing.basis.clear()
        return text_format.MessageToString(standing)

    def backup(self, *words: str) -> Any:
        """`python -m servicekit.backup` with the service's own settings: what it prints."""
        command = [sys.executable, "-m", "servicekit.backup", *words]
        ran = subprocess.run(command, env={**os.environ, **self.spec("enrolment").env}, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    def checks(self, service: str) -> dict[str, Any]:
        """Each check that is not ok, by its name."""
        status = json.loads(self.platform.run("status", "--service", service, "--json").stdout)[service]
        return {check["name"]: check for check in status.get("checks", []) if check["state"] != "STATE_OK"}


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lost]:
    home = tmp_path_factory.mktemp("restored")
    stack = Stack(home / "stack", port_base=0, owned=True, say=lambda line: None)
    platform = Platform(stack, home)
    lost = Lost(platform, home, Story(platform, "r14-commissioners-course", "ipc", began_days_ago=70))
    try:
        stack.up()
        programmes = [programme_to_proto(p) for p in check([ROOT / "catalogue"]).programmes.values()]
        all_stored(platform.ask(catalogue_pb2.LoadProgrammesRequest(programmes=programmes), OPERATOR))
        earn(lost)
        take_the_backup(lost)
        lose(lost)
        restore(lost)
        go_on(lost)
        yield lost
    finally:
        platform.close()
        for process in lost.started:
            process.kill()
            process.wait()
        stack.down()


def earn(lost: Lost) -> None:
    """Somebody is known by name, and a learner has earned a credit."""
    story, learner = lost.story, lost.story.id("learner")
    for name in ("known", "gone"):
        lost.register(story.id(name))
        lost.registered.append(story.id(name))
    story.opens()
    story.enrols(learner)
    story.attends(learner, ("s1", "s2", "s3", "s4"))
    who = Identity.of("learner", person=learner)
    story.records(learner, "project", who, register=work.RecordAssessment.Register())
    story.submits(learner, "project")
    story.assesses(learner, "project", work.RESULT_PASSED)
    story.award(learner, CREDIT, standings_pb2.AWARD_STATE_PROVISIONAL)
    delivered(lost.platform, *SERVICES)
    lost.before = lost.standing()


def take_the_backup(lost: Lost) -> None:
    with beside(lost.write):
        settled("it takes commands", lambda: len(lost.meanwhile) > 2)
        lost.created = lost.backup("create", "--to", str(lost.folder / "data"), "--keys", str(lost.folder / "keys"))
    lost.backup("verify", "--from", str(lost.folder / "data"))


def lose(lost: Lost) -> None:
    """More is stored, somebody is erased, and the database is gone with all of it."""
    lost.register(lost.story.id("too-late"))
    gone = lost.story.id("gone")
    done = lost.platform.run("person", "erase", gone, "--reason", "person-asked", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    erased = lost.platform.command("person", "erasures")["erased"]
    (lost.folder / "erased.txt").write_text("".join(f"{person}\n" for person in erased))
    lost.stop("enrolment", signal.SIGKILL)
    with MongoClient[dict[str, Any]](lost.platform.stack.addresses.mongo_uri) as client:
        client.drop_database("credence_enrolment")


def restore(lost: Lost) -> None:
    words = ["restore", "--from", str(lost.folder / "data"), "--keys", str(lost.folder / "keys")]
    lost.restored = lost.backup(*words, "--erased", str(lost.folder / "erased.txt"))


def go_on(lost: Lost) -> None:
    """Steps 3 to 6: it starts, listeners stand still and say so, erasures are said again, views are built."""
    platform, epoch = lost.platform, lost.restored["new_epoch"]
    lost.start("enrolment")
    settled("it takes commands again", partial(answers, platform), seconds=60)
    for name in LISTENERS:
        settled(f"{name} refuses another history", lambda n=name: "consume" in lost.checks(n), seconds=60)  # type: ignore[misc]
        lost.refusals[name] = lost.checks(name)["consume"]["detail"]
    erased = (lost.folder / "erased.txt").read_text().split()
    said = platform.run("person", "erase", *erased, "--reason", "restored", "--yes")
    assert said.returncode == 0, said.stdout + said.stderr
    delivered(platform, "enrolment")
    lost.rebuilt["enrolment"] = rebuild(platform, "enrolment", "--all")
    for name in LISTENERS:
        words = ("--foreign", "--accept-epoch", f"credence/enrolment={epoch}")
        lost.missed[name] = findings(rebuild(platform, name, *words, exits=4))
        lost.rebuilt[name] = rebuild(platform, name, *words, "--accept-differences")
        lost.stop(name, signal.SIGTERM)
        lost.start(name)


def rebuild(platform: Platform, service: str, *words: str, exits: int = 0) -> list[Any]:
    ran = platform.run("views", "rebuild", service, *words, "--reason", "restored", "--json")
    assert ran.returncode == exits, f"{ran.returncode}\n{ran.stdout}{ran.stderr}"
    return [json.loads(line) for line in ran.stdout.splitlines()]


def findings(lines: list[Any]) -> Any:
    (found,) = [line["findings"] for line in lines if "findings" in line]
    return found


def answers(platform: Platform) -> bool:
    try:
        platform.ask(people_pb2.GetPersonRequest(person_id="nobody"), ADMISSIONS)
    except Refused as refused:
        return refused.status is grpc.StatusCode.NOT_FOUND
    return True


def test_what_was_acknowledged_before_the_backup_is_restored_and_the_log_is_the_one_that_was_backed_up(
    lost: Lost,
) -> None:
    assert (lost.restored["log"], lost.restored["streams"]) == (lost.created["log"], lost.created["streams"])
    known = lost.platform.ask(people_pb2.GetPersonRequest(person_id=lost.story.id("known")), ADMISSIONS)
    assert known.name == f"Name of {lost.story.id('known')}", "its key came back too"
    with pytest.raises(Refused, match="NOT_FOUND"):
        lost.platform.ask(people_pb2.GetPersonRequest(person_id=lost.story.id("too-late")), ADMISSIONS)


def test_listeners_refused_the_new_history_with_the_way_out(lost: Lost) -> None:
    assert lost.restored["new_epoch"] != lost.created["epoch"]
    way_out = f"--foreign --accept-epoch credence/enrolment={lost.restored['new_epoch']}"
    for said in lost.refusals.values():
        assert "WrongEpoch" in said
        assert way_out in said


def test_what_the_backup_did_not_hold_is_shown_before_views_are_switched(lost: Lost) -> None:
    for found in lost.missed.values():
        assert found["suspect"] == ["people"]
        (people,) = [each for each in found["comparisons"] if each["view"] == "people"]
        assert int(people["behind"]) >= 1, "who came too late is not in the restored log"


def test_every_view_was_built_anew_and_no_decision_changed(lost: Lost) -> None:
    for lines in lost.rebuilt.values():
        assert "done" in lines[-1]
        assert findings(lines).get("decisions", 0) == 0


def test_standings_are_as_before_and_go_on(lost: Lost) -> None:
    assert lost.standing() == lost.before
    lost.story.attends(lost.story.id("learner"), ["s5"])
    settled("the new record is heard", lambda: lost.standing() != lost.before)
    for name in SERVICES:
        settled(f"{name} is whole", lambda n=name: not lost.checks(n))  # type: ignore[misc]


def test_who_was_erased_after_the_backup_stays_erased(lost: Lost) -> None:
    gone = lost.story.id("gone")
    shown = lost.platform.ask(people_pb2.GetPersonRequest(person_id=gone), PRIVACY_OFFICER)
    assert shown == people_pb2.Person(person_id=gone, erased=True)
    erased = lost.platform.command("person", "erasures")["erased"][gone]
    assert erased.keys() == set(SERVICES)


def test_what_was_lost_is_stored_when_it_is_sent_again_and_what_was_not_is_replayed(lost: Lost) -> None:
    rows = [lost.named(lost.story.id(name)) for name in ("too-late", "known")]
    answer = all_stored(lost.platform.ask(people_pb2.RegisterPeopleRequest(rows=rows), IMPORTER))
    assert told(outcomes_of(answer)) == ["accepted", "replayed"]
