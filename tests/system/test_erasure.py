"""An erased person is unreadable everywhere and the ledger still adds up (P19), on real processes and servers.

People with values that stand nowhere else go through every call that takes something personal, and through the main
job. They are erased while more of it is under way, a record of theirs is held, and every service is killed in between.
Then everything there is is searched for their values, in any usual form and as digests, and a backup of it; the search
is shown red on a leak in each place. At the end all views are built anew: what was erased stays so.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from google.protobuf import text_format
from google.protobuf.message import Message
from pymongo import MongoClient
from pymongo.collection import Collection

from credence.accreditation.v1 import assessments_pb2 as work
from credence.accreditation.v1 import awards_pb2, standings_pb2
from credence.enrolment.v1 import attendance_pb2, enrolments_pb2, events_pb2, people_pb2
from credence.mentoring.v1 import mentors_pb2
from credence.operations.v1 import privacy_pb2
from credence_cli.identity import Identity
from tests.system.evidence import SERVICES, Databases
from tests.system.platform import (
    ADMISSIONS,
    IMPORTER,
    PRIVACY_OFFICER,
    Platform,
    Refused,
    all_stored,
    outcomes_of,
    settled,
    told,
)
from tests.system.story import Story, ago
from tests.system.test_held import PLACED, Put, put
from tests.system.traces import Places, Search, backups, databases, everywhere, files, forms, topics

# The fixture tells a long story, on a machine that may be busy.
pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

PROGRAMME, PROVIDER, CREDIT = "r14-commissioners-course", "ipc", "commissioning-credit"
LEAK = 'Żaneta "leak" Sample'
ERASED = 2
LISTENERS = ("accreditation", "mentoring")
SAID = 5  # different names and portraits of each that are sent in the storm, again and again
AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


@dataclass
class People:
    """Those to be erased, one who stays, and every personal value that was ever sent for the former, by what it is."""

    story: Story
    erased: list[str]
    stays: str
    values: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, story: Story) -> People:
        return cls(story, [story.id(f"gone{n}") for n in range(ERASED)], story.id("stays"))

    def value(self, person: str, what: str) -> str:
        """A personal value that stands nowhere else. It holds what JSON, URLs and encodings each write otherwise."""
        said = f'Zoë "{what}" O\'Sample {person}'
        return self._noted(person, what, said)

    def address(self, person: str) -> str:
        return self._noted(person, "address", f"Zoe.OSample.{person}@example.org")

    def _noted(self, person: str, what: str, said: str) -> str:
        if person != self.stays:
            # Without the id, which stays for good and may stand anywhere.
            self.values[f"{what} of {person}"] = said
        return said

    def learner(self, person: str) -> Identity:
        """Whose token's subject is their address, as an issuer may choose."""
        return Identity(("learner",), self.address(person), person)

    # Every call that takes something personal

    def come(self) -> None:
        people = [*self.erased, self.stays]
        rows = [
            people_pb2.RegisterPerson(person_id=p, name=self.value(p, "first name"), email=self.address(p))
            for p in people
        ]
        self.story.writes(people_pb2.RegisterPeopleRequest(rows=rows), IMPORTER)
        naming = [people_pb2.NamePerson(person_id=p, name=self.value(p, "name")) for p in people]
        self.story.writes(people_pb2.NamePeopleRequest(rows=naming), ADMISSIONS)
        wishes = [
            enrolments_pb2.RequestEnrolment(
                cohort_id=self.story.cohort,
                person_id=p,
                effective_on=ago(self.story.began_days_ago),
                references=[enrolments_pb2.LearnerReference(provider_id=PROVIDER, reference=self.value(p, "word"))],
            )
            for p in people
        ]
        self.story.writes(enrolments_pb2.RequestEnrolmentsRequest(rows=wishes), IMPORTER)
        mentors = [self.portrayed(p, "portrait") for p in people]
        self.story.writes(mentors_pb2.RegisterMentorsRequest(rows=mentors), ADMISSIONS)

    def portrayed(self, person: str, what: str) -> mentors_pb2.RegisterMentor:
        return mentors_pb2.RegisterMentor(
            person_id=person, background="children", sector="public", in_post=True, employer_id="sample-council",
            pen_portrait=self.value(person, what),
        )  # fmt: skip

    def err(self) -> None:
        """The same where it does not belong: whoever refuses it may not write it down."""
        for person in self.erased:
            wrong = self.value(person, "name in a wrong place")
            row = people_pb2.RegisterPerson(command_id=wrong, person_id=wrong, name="\0" + wrong, email=wrong)
            answer = self.story.asks(people_pb2.RegisterPeopleRequest(rows=[row]), IMPORTER)
            assert told(outcomes_of(answer)) == ["invalid-argument"]
            with pytest.raises(Refused):
                self.story.asks(people_pb2.GetPersonRequest(person_id=wrong), ADMISSIONS)
            reference = attendance_pb2.AttendanceRow(
                cohort_id=self.story.cohort, learner_reference=wrong, session_id="s1",
                value=attendance_pb2.AttendanceValue(state=attendance_pb2.ATTENDANCE_STATE_PRESENT),
            )  # fmt: skip
            assert told(outcomes_of(self.story.posts([reference]))) == ["not-enrolled"]

    def earn(self) -> None:
        """The main job: attended (by the provider's own word once), assessed, confirmed."""
        for person in (*self.erased, self.stays):
            by_word = attendance_pb2.AttendanceRow(
                cohort_id=self.story.cohort, learner_reference=self.value(person, "word"), session_id="s1",
                value=attendance_pb2.AttendanceValue(state=attendance_pb2.ATTENDANCE_STATE_PRESENT),
            )  # fmt: skip
            all_stored(self.story.posts([by_word]))
            self.story.attends(person, ["s2", "s3"])
            self.story.records(person, "project", self.learner(person), register=work.RecordAssessment.Register())
            self.story.submits(person, "project", self.learner(person))
            self.story.assesses(person, "project", work.RESULT_PASSED)
            self.story.award(person, CREDIT, standings_pb2.AWARD_STATE_PROVISIONAL)
            assert self.story.confirms(person, CREDIT) == ["accepted"]
            self.story.award(person, CREDIT, standings_pb2.AWARD_STATE_CONFIRMED)

    def earned(self, person: str) -> str:
        """Standing and awards as text; whether a certificate has a holder is not part of what was earned."""
        standing = self.story.standing_at_rest(person)
        for award in standing.awards:
            award.ClearField("certificate")
        standing.basis.clear()
        awards = self.story.asks(awards_pb2.ListAwardsRequest(person_id=person), IMPORTER)
        return "\n".join(map(text_format.MessageToString, (standing, awards)))


@dataclass
class Storm:
    """Names and portraits of those who are being erased, sent all the while; `refused` since when they must be."""

    people: People
    stop: threading.Event = field(default_factory=threading.Event)
    sent: int = 0
    refused: int = 0

    def __call__(self) -> None:
        while not self.stop.is_set():
            self.sent += 1
            for person in self.people.erased:
                self.send(people_pb2.NamePeopleRequest(rows=[self._name(person)]))
                self.send(
                    mentors_pb2.RegisterMentorsRequest(rows=[self.people.portrayed(person, f"face {self.sent % SAID}")])
                )

    def _name(self, person: str) -> people_pb2.NamePerson:
        return people_pb2.NamePerson(person_id=person, name=self.people.value(person, f"name {self.sent % SAID}"))

    def send(self, request: Any) -> None:
        try:
            self.refused += told(outcomes_of(self.people.story.asks(request, ADMISSIONS))).count("person-erased")
        except Refused as refused:
            if refused.status not in AGAIN:
                raise


@dataclass(frozen=True)
class Aftermath:
    people: People
    platform: Platform
    before: dict[str, str]  # what each had earned
    first: subprocess.CompletedProcess[str]  # the erasure during which all was killed
    places: Places
    keys: dict[str, bytes]

    @cached_property
    def theirs(self) -> Search:
        return Search(self.people.values, self.keys)

    @cached_property
    def leaks(self) -> Search:
        return Search({"a value": LEAK}, self.keys)


@pytest.fixture(scope="module")
def aftermath(platform: Platform) -> Aftermath:
    story = Story(platform, PROGRAMME, PROVIDER, began_days_ago=70)
    story.opens()
    people = People.of(story)
    people.come()
    settled("the references are known", partial(referenced, people))
    people.err()
    people.earn()
    for person in people.erased:
        exported = platform.run("person", "export", person).stdout
        assert "Zoë" in exported
        assert people.address(person) in exported
    before = everything_earned(people)
    put(platform, gap_of(platform, people))
    settled("a record of theirs is held by all who listen", partial(held_everywhere, platform, people))
    first = erased_in_a_storm(platform, people)
    settle(platform)
    secrets = platform.stack.secrets
    return Aftermath(
        people,
        platform,
        before,
        first,
        asyncio.run(everywhere(platform)),
        {
            name: base64.b64decode(file.read_text())
            for name, file in (("the master key", secrets.master_key), ("the digest key", secrets.digest_key))
        },
    )


def referenced(people: People) -> bool:
    answer = people.story.asks(enrolments_pb2.ListEnrolmentsRequest(cohort_id=people.story.cohort), IMPORTER)
    return len(answer.enrolments) == ERASED + 1


def everything_earned(people: People) -> dict[str, str]:
    return {person: people.earned(person) for person in people.erased}


def gap_of(platform: Platform, people: People, version: int = 2, message: Message = PLACED, value: bytes = b"") -> Put:
    """A record of an enrolment of theirs as it comes without its predecessor."""
    with client(platform) as connected:
        epoch = connected["credence_enrolment"]["store"].find_one({"_id": "epoch"})
    assert epoch is not None
    return Put(held_stream(people), version, message, value or None, epoch["epoch"])


def first_of(platform: Platform, people: People) -> Put:
    """The predecessor that it came without."""
    requested = events_pb2.EnrolmentRequested(
        cohort_id=people.story.id("elsewhere"), person_id=people.erased[0], programme_id=PROGRAMME, programme_version=1,
        effective_on=ago(70),
    )  # fmt: skip
    return gap_of(platform, people, 1, requested)


def held_stream(people: People) -> str:
    return f"enrolment-{people.story.id('elsewhere')}--{people.erased[0]}"


def held_everywhere(platform: Platform, people: People, version: int = 2) -> bool:
    where = {"stream": held_stream(people), "version": version}
    with client(platform) as connected:
        return all(connected[f"credence_{name}"]["held"].count_documents(where) for name in LISTENERS)


def erased_in_a_storm(platform: Platform, people: People) -> subprocess.CompletedProcess[str]:
    """Erased while their names and portraits keep coming, each service killed on the way; then seen through."""
    storm = Storm(people)
    sender = threading.Thread(target=storm)
    sender.start()
    try:
        settled("the storm is on", lambda: storm.sent > 1)
        words = ["person", "erase", *people.erased, "--reason", "person-asked", "--yes", "--wait", "120"]
        env = {**os.environ, "CREDENCE_HOME": str(platform.home)}
        erasing = subprocess.Popen(
            [sys.executable, "-m", "credence_cli.main", *words],
            env=env, cwd=platform.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with client(platform) as connected:
            appends = connected["credence_enrolment"]["appends"]
            settled(
                "the erasure is stored",
                lambda: erasing.poll() is not None or stored_as_erased(appends, people),
                seconds=120,
            )
        kill(platform, "enrolment")
        kill(platform, "accreditation", "mentoring")
        out, err = erasing.communicate()
        refused = storm.refused
        settled("what comes later is refused", lambda: storm.refused > refused + 2 * len(people.erased), seconds=120)
    finally:
        storm.stop.set()
        sender.join()
    return subprocess.CompletedProcess(words, erasing.returncode, out, err)


def stored_as_erased(erased: Collection[dict[str, Any]], people: People) -> bool:
    where = {"stream": f"person-{people.erased[-1]}", "events.type": "person.erased.v1"}
    return erased.count_documents(where) > 0


def client(platform: Platform) -> MongoClient[dict[str, Any]]:
    return MongoClient(platform.stack.addresses.mongo_uri, tz_aware=True)


def kill(platform: Platform, *services: str) -> None:
    for pid in [part.pid for part in platform.stack.status() if part.name in services]:
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    platform.stack.up()


def settle(platform: Platform) -> None:
    seen = Databases(platform.stack.addresses.mongo_uri)
    try:
        for name in SERVICES:
            settled(f"{name} has delivered everything", partial(delivered, seen, name), seconds=60)
    finally:
        seen.close()


def delivered(seen: Databases, service: str) -> bool:
    return seen.undelivered(service) == 0


def erasures(aftermath: Aftermath, person: str) -> dict[str, privacy_pb2.Erasure]:
    request = privacy_pb2.GetErasureRequest(person_id=person)
    return {name: aftermath.platform.ask(request, PRIVACY_OFFICER, service=name) for name in SERVICES}


def test_nothing_personal_is_left_anywhere_in_any_form_nor_a_digest_of_it(aftermath: Aftermath) -> None:
    assert len(aftermath.people.values) > 10 * ERASED
    assert sum(map(len, aftermath.places.values())) > 100_000
    assert aftermath.theirs.traces(aftermath.places) == []


def test_every_key_is_gone_in_every_service_although_all_of_them_were_killed_in_between(aftermath: Aftermath) -> None:
    assert aftermath.first.returncode in (0, 6), aftermath.first
    again = aftermath.platform.run(*aftermath.first.args, "--json")
    assert again.returncode == 0, again
    for person in aftermath.people.erased:
        told_ = erasures(aftermath, person)
        assert all(each.heard and each.destroyed for each in told_.values())
        assert all(person in again.stdout for person in aftermath.people.erased)
    assert not any(each.destroyed or each.heard for each in erasures(aftermath, aftermath.people.stays).values())
    with client(aftermath.platform) as connected:
        for name in SERVICES:
            kept = list(connected[f"credence_{name}"]["keys"].find({"_id": {"$in": aftermath.people.erased}}))
            assert len(kept) == ERASED
            assert all(document.keys() == {"_id", "erased"} for document in kept)


def test_what_they_earned_is_as_it_was_and_goes_on(aftermath: Aftermath) -> None:
    people = aftermath.people
    assert everything_earned(people) == aftermath.before
    one = people.erased[0]
    all_stored(people.story.posts([people.story.mark(one, "s4")]))
    certificate = people.story.award(one, CREDIT, standings_pb2.AWARD_STATE_CONFIRMED).certificate
    assert certificate.reason_code in ("holder-erased", "no-certificate")


def test_every_read_says_erased_where_something_personal_was(aftermath: Aftermath) -> None:
    people, ask = aftermath.people, aftermath.platform.ask
    for person in people.erased:
        gone = ask(people_pb2.GetPersonRequest(person_id=person), PRIVACY_OFFICER)
        assert gone == people_pb2.Person(person_id=person, erased=True)
        (reference,) = people.story.enrolment(person).references
        assert reference == enrolments_pb2.LearnerReference(provider_id=PROVIDER, erased=True)
        (mentor,) = ask(mentors_pb2.ListMentorsRequest(person_id=person), ADMISSIONS).mentors
        assert (mentor.erased, mentor.pen_portrait) == (True, "")
        exported = settled("no service is behind", partial(whole_export, aftermath.platform, person), seconds=60)
        assert aftermath.theirs.traces({"export": exported.encode()}) == []
        assert '"erased": true' in exported
    rows = {entry.person_id: entry for entry in people.story.register("s1")}
    assert all(rows[person].reference_erased for person in people.erased)
    assert rows[people.stays].learner_reference == people.value(people.stays, "word")
    template = attendance_pb2.GetRegisterTemplateRequest(cohort_id=people.story.cohort, provider_id=PROVIDER)
    lines = people.story.asks(template, people.story.as_provider).rows
    assert {line.person_id for line in lines if line.reference_erased} == set(people.erased)


def whole_export(platform: Platform, person: str) -> str | None:
    ran = platform.run("person", "export", person)
    return ran.stdout + ran.stderr if ran.returncode == 0 else None


def test_who_stays_is_read_as_ever(aftermath: Aftermath) -> None:
    people, person = aftermath.people, aftermath.people.stays
    shown = aftermath.platform.ask(people_pb2.GetPersonRequest(person_id=person), ADMISSIONS)
    assert (shown.name, shown.email) == (people.value(person, "name"), people.address(person))
    (mentor,) = aftermath.platform.ask(mentors_pb2.ListMentorsRequest(person_id=person), ADMISSIONS).mentors
    assert mentor.pen_portrait == people.value(person, "portrait")


def test_what_was_told_and_stored_after_the_erasure_holds_no_trace_either(aftermath: Aftermath) -> None:
    """Runs after the others, whose reads and refusals have left lines in the logs."""
    people = aftermath.people
    for person in people.erased:
        row = people_pb2.RegisterPerson(
            person_id=person, name=people.value(person, "name"), email=people.address(person)
        )
        answer = people.story.asks(people_pb2.RegisterPeopleRequest(rows=[row]), IMPORTER)
        assert told(outcomes_of(answer)) == ["person-erased"]
    settle(aftermath.platform)
    assert aftermath.theirs.traces(asyncio.run(everywhere(aftermath.platform))) == []


def test_what_was_held_is_folded_when_its_gap_is_filled(aftermath: Aftermath) -> None:
    people, platform = aftermath.people, aftermath.platform
    put(platform, first_of(platform, people))
    settled("nothing is held any more", lambda: not any(platform.command("held", "list").values()))


def test_views_built_anew_bring_nothing_back_and_destroy_a_key_that_came_back(aftermath: Aftermath) -> None:
    people, platform, uri = aftermath.people, aftermath.platform, aftermath.platform.stack.addresses.mongo_uri
    came_back = {"_id": people.erased[0], "wrapped": b"as an older copy of the database would bring it"}
    with client(platform) as connected:
        connected["credence_mentoring"]["keys"].replace_one({"_id": people.erased[0]}, came_back)
    before, earned = generations(platform), everything_earned(people)

    for name in SERVICES:
        ran = platform.run("views", "rebuild", name, "--all", "--yes", "--reason", "after an erasure")
        assert ran.returncode == 0, ran.stdout + ran.stderr

    after = generations(platform)
    assert after.keys() == before.keys()
    assert [view for view, number in before.items() if after[view] <= number] == []
    for person in people.erased:
        assert all(each.heard and each.destroyed for each in erasures(aftermath, person).values())
        gone = platform.ask(people_pb2.GetPersonRequest(person_id=person), PRIVACY_OFFICER)
        assert gone == people_pb2.Person(person_id=person, erased=True)
    assert everything_earned(people) == earned
    with client(platform) as connected:
        for name in SERVICES:
            kept = list(connected[f"credence_{name}"]["keys"].find({"_id": {"$in": people.erased}}))
            assert [document.keys() for document in kept] == [{"_id", "erased"}] * ERASED
    assert aftermath.theirs.traces(dict(databases(uri))) == []


def generations(platform: Platform) -> dict[tuple[str, str], int]:
    listed = platform.command("views", "list")
    return {(name, view["name"]): view["generation"] for name, answer in listed.items() for view in answer["views"]}


# The search itself


@pytest.mark.parametrize("form", range(0, 100, 7))
def test_the_search_finds_a_value_in_each_form_in_each_place_that_was_searched(aftermath: Aftermath, form: int) -> None:
    every = list(forms(LEAK, aftermath.keys).items())
    _, leaked = every[form % len(every)]
    for place, held in aftermath.places.items():
        found = aftermath.leaks.traces({place: held + b"," + leaked + b"."})
        assert found
        assert all(line.endswith(f" in {place}") for line in found)


def test_the_places_that_are_searched_are_all_there_are(aftermath: Aftermath) -> None:
    wanted = [f"database credence_{name}.{kind}" for name in SERVICES for kind in ("appends", "keys", "store")]
    wanted += [f"database credence_{name}.{kind}" for name in LISTENERS for kind in ("held", "held_heads")]
    wanted += [f"backup {name}/{kind}.bson.gz" for name in SERVICES for kind in ("appends", "operations", "epochs")]
    wanted += [f"backup keys/credence_{name}.keys.bson.gz" for name in SERVICES]
    wanted += [f"topic {parts.topic}" for parts in SERVICES.values()]
    wanted += [f"page {name}/{page}" for name in SERVICES for page in ("metrics", "ready", "live")]
    assert set(wanted) <= aftermath.places.keys()
    for name in SERVICES:
        assert f"file stack/{name}/output.log" in aftermath.places
        assert any(place.startswith(f"database credence_{name}.view_") for place in aftermath.places)
    # What is known to be there is found there: an id in the clear, in every kind of place.
    kinds = ["database credence_enrolment.appends", f"topic {SERVICES['enrolment'].topic}"]
    kinds += [f"database credence_{name}.held" for name in LISTENERS]
    kinds += ["backup enrolment/appends.bson.gz", "backup keys/credence_enrolment.keys.bson.gz"]
    for kind in kinds:
        assert aftermath.people.erased[0].encode() in aftermath.places[kind], kind


@pytest.mark.parametrize("service", SERVICES)
def test_a_leak_in_a_database_is_found_whatever_the_collection(aftermath: Aftermath, service: str) -> None:
    with client(aftermath.platform) as connected:
        planted = connected[f"credence_{service}"]["planted"]
        planted.insert_one({"held": [{"value": LEAK.encode(), "note": "bytes as they came"}]})
        try:
            found = aftermath.leaks.traces(dict(databases(aftermath.platform.stack.addresses.mongo_uri)))
        finally:
            planted.drop()
    assert f"a value as it is in database credence_{service}.planted" in found


def test_a_leak_in_a_record_that_is_held_is_found(aftermath: Aftermath) -> None:
    people, platform = aftermath.people, aftermath.platform
    leak = gap_of(platform, people, 3, value=LEAK.encode())
    put(platform, leak)
    settled("it is held", partial(held_everywhere, platform, people, 3))
    found = aftermath.leaks.traces(dict(databases(platform.stack.addresses.mongo_uri)))
    for name in LISTENERS:
        assert f"a value as it is in database credence_{name}.held" in found
        platform.command("held", "discard", f"{name}.facts", held_stream(people), "3", "--reason", "planted")
    # As republishing would: whoever builds a view from this topic after us finds the stream whole and in order.
    put(platform, first_of(platform, people), gap_of(platform, people), leak)


def test_a_leak_in_a_backup_is_found(aftermath: Aftermath, tmp_path: Path) -> None:
    with client(aftermath.platform) as connected:
        operations = connected["credence_mentoring"]["operations"]
        operations.insert_one({"_id": "planted", "reason": LEAK})
        try:
            found = aftermath.leaks.traces(dict(backups(aftermath.platform, tmp_path)))
        finally:
            operations.delete_one({"_id": "planted"})
    assert "a value as it is in backup mentoring/operations.bson.gz" in found


@pytest.mark.parametrize("part", ["key", "value", "headers"])
def test_a_leak_in_any_part_of_a_record_is_found(aftermath: Aftermath, part: str) -> None:
    topic = f"planted-{part}"
    leaked = LEAK.encode()
    record: dict[str, Any] = {"value": b"v", part: [("header", leaked)] if part == "headers" else leaked}

    async def plant() -> list[str]:
        bootstrap = aftermath.platform.stack.addresses.kafka_bootstrap
        admin, producer = (
            AIOKafkaAdminClient(bootstrap_servers=bootstrap),
            AIOKafkaProducer(bootstrap_servers=bootstrap),
        )
        await admin.start()
        try:
            await admin.create_topics([NewTopic(topic, 1, 1)])
            await producer.start()
            await producer.send_and_wait(topic, **record)
            return aftermath.leaks.traces(await topics(bootstrap))
        finally:
            await producer.stop()
            with suppress(Exception):
                await admin.delete_topics([topic])
            await admin.close()

    assert f"a value as it is in topic {topic}" in asyncio.run(plant())


def test_a_line_of_a_log_and_an_answer_of_the_command_are_searched(aftermath: Aftermath, tmp_path: Path) -> None:
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "enrolment.log").write_text(f"first line\nsaid {LEAK}\n")
    assert "a value as it is in file stack/enrolment.log" in aftermath.leaks.traces(dict(files(tmp_path)))
