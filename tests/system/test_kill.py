"""kill -9 of each service in the middle of an import: nothing acknowledged is lost, nothing counts twice (P1 to P7).

The checks are functions of what was found; each is shown red on a fault planted in what was found.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf import text_format
from google.protobuf.message import Message

from credence.accreditation.v1 import assessments_pb2 as work
from credence.accreditation.v1 import standings_pb2
from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import attendance_pb2, enrolments_pb2, people_pb2
from credence.mentoring.v1 import mentors_pb2
from credence_cli.identity import Identity
from tests.system.evidence import (
    SERVICES,
    Acknowledged,
    Databases,
    Public,
    Stored,
    holes,
    invented,
    lost,
    on_topic,
    out_of_order,
    twice,
    unpublished,
)
from tests.system.platform import ADMISSIONS, IMPORTER, STORED, Platform, Refused, outcomes_of, settled, told
from tests.system.story import PRESENT, Story, ago

pytestmark = pytest.mark.servers

LEARNERS = 300
BATCH = 50
AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
UNSETTLED = (outcome_pb2.OUTCOME_STATUS_UNKNOWN, outcome_pb2.OUTCOME_STATUS_ABORTED)
RETRY_SECONDS = 60.0
# What becomes of a learner, by kind: sessions attended, and the project's results.
KINDS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("s1", "s2", "s3"), ("passed",)),
    (("s1", "s2", "s3"), ()),
    (("s1",), ("passed",)),
    ((), ()),
    (("s1", "s2", "s3"), ("referred", "passed")),
)
RESULTS = {"passed": work.RESULT_PASSED, "referred": work.RESULT_REFERRED}


@dataclass
class Import:
    """An importer's run: it sends until it knows, as `credence import` does, and notes what it was told."""

    story: Story
    acknowledged: dict[str, list[Acknowledged]] = field(default_factory=lambda: {name: [] for name in SERVICES})
    kills: int = 0

    @property
    def platform(self) -> Platform:
        return self.story.platform

    def sends(self, service: str, batches: Sequence[Message], who: Identity, *, kill: bool = False) -> None:
        """Every batch in turn; with `kill`, the service is killed while the middle one is under way."""
        with ThreadPoolExecutor(1) as sender:
            for n, batch in enumerate(batches):
                sent = sender.submit(self._until_known, service, batch, who)
                if kill and n == len(batches) // 2:
                    self.kill(service)
                sent.result()

    def kill(self, service: str) -> None:
        pid = next(part.pid for part in self.platform.stack.status() if part.name == service)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self.kills += 1
        self.platform.stack.up()

    def _until_known(self, service: str, batch: Any, who: Identity) -> None:
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            assert time.monotonic() < deadline, f"{service} did not take a batch within {RETRY_SECONDS:g} s"
            try:
                answer = self.platform.ask(batch, who)
            except Refused as refused:
                if refused.status not in AGAIN:
                    raise
                continue
            outcomes = outcomes_of(answer)
            if any(o.status in UNSETTLED for o in outcomes):
                continue
            assert all(o.status in STORED for o in outcomes), told(outcomes)
            for row, outcome in zip(batch.rows, outcomes, strict=True):
                # An unchanged row stored nothing, so there is nothing of it to find.
                if outcome.status != outcome_pb2.OUTCOME_STATUS_UNCHANGED:
                    known = Acknowledged(row.command_id, outcome.stream, outcome.version)
                    self.acknowledged[service].append(known)
            self.story.token = answer.token or self.story.token
            return

    # What is imported

    def people(self, people: Sequence[str], *, kill: bool = False) -> None:
        """Registered, enrolled and marked, each kind in its way."""
        cohort, provider = self.story.cohort, self.story.provider
        registered = [people_pb2.RegisterPerson(command_id=f"reg-{p}", person_id=p) for p in people]
        enrolled = [
            enrolments_pb2.RequestEnrolment(
                command_id=f"enrol-{p}", cohort_id=cohort, person_id=p, effective_on=ago(self.story.began_days_ago)
            )
            for p in people
        ]
        marked = [
            attendance_pb2.AttendanceRow(
                command_id=f"mark-{p}-{session}",
                cohort_id=cohort,
                person_id=p,
                session_id=session,
                value=attendance_pb2.AttendanceValue(state=PRESENT),
            )
            for n, p in enumerate(people)
            for session in KINDS[n % len(KINDS)][0]
        ]
        batches: list[Message] = []
        batches += [people_pb2.RegisterPeopleRequest(rows=rows) for rows in parts(registered)]
        batches += [enrolments_pb2.RequestEnrolmentsRequest(rows=rows) for rows in parts(enrolled)]
        batches += [attendance_pb2.PostAttendanceRequest(provider_id=provider, rows=rows) for rows in parts(marked)]
        self.sends("enrolment", batches, IMPORTER, kill=kill)

    def projects(self, people: Sequence[str], *, kill: bool = False) -> None:
        """Registered for, submitted and assessed as each kind's are."""
        steps = [step for n, p in enumerate(people) for step in self._project(p, KINDS[n % len(KINDS)][1])]
        batches = [work.RecordAssessmentsRequest(rows=rows, token=self.story.token) for rows in parts(steps)]
        self.sends("accreditation", batches, IMPORTER, kill=kill)

    def _project(self, person: str, results: Sequence[str]) -> Iterator[work.RecordAssessment]:
        def step(name: str, **more: Any) -> work.RecordAssessment:
            return work.RecordAssessment(
                command_id=f"{name}-{person}",
                cohort_id=self.story.cohort,
                person_id=person,
                component_id="project",
                **more,
            )

        if results:
            yield step("opt-in", register=work.RecordAssessment.Register())
        for n, result in enumerate(results):
            on = ago(20 - n)
            yield step(f"submit-{n}", submit=work.RecordAssessment.Submit(submitted_on=on))
            yield step(f"assess-{n}", assess=work.RecordAssessment.Assess(result=RESULTS[result], assessed_on=on))

    def mentors(self, people: Sequence[str], *, kill: bool = False) -> None:
        rows = [
            mentors_pb2.RegisterMentor(
                command_id=f"mentor-{p}", person_id=p, background="children", sector="public", in_post=True,
                employer_id="sample-council", pen_portrait="A sample pen portrait.",
            )
            for p in people
        ]  # fmt: skip
        batches = [mentors_pb2.RegisterMentorsRequest(rows=part) for part in parts(rows)]
        self.sends("mentoring", batches, ADMISSIONS, kill=kill)


def parts(rows: Sequence[Any]) -> list[Any]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


@dataclass(frozen=True)
class Aftermath:
    """What was told and what is there, by service; and the standings, the clean ones by kind."""

    kills: int
    acknowledged: dict[str, list[Acknowledged]]
    stored: dict[str, Stored]
    topics: dict[str, list[Public]]
    clean: list[str]
    standings: list[str]


@pytest.fixture(scope="module")
def aftermath(platform: Platform) -> Iterator[Aftermath]:
    story = Story(platform, "r14-commissioners-course", "ipc", began_days_ago=70)
    story.opens()
    run = Import(story)
    clean = [story.id(f"clean-{n}") for n in range(len(KINDS))]
    people = [story.id(f"p{n}") for n in range(LEARNERS)]
    for named, kill in ((clean, False), (people, True)):
        run.people(named, kill=kill)
        settled("the last enrolment is heard of", partial(heard, story, named[-1]), seconds=60)
        run.projects(named, kill=kill)
        run.mentors(named, kill=kill)
    databases = Databases(platform.stack.addresses.mongo_uri)
    try:
        settle(databases)
        standings = [standing(story, person) for person in (*clean, *people)]
        settle(databases)  # what the last evaluations made of it
        bootstrap = platform.stack.addresses.kafka_bootstrap
        yield Aftermath(
            kills=run.kills,
            acknowledged=run.acknowledged,
            stored={name: databases.stored(name, story.run) for name in SERVICES},
            topics={
                name: asyncio.run(on_topic(bootstrap, service.topic, story.run)) for name, service in SERVICES.items()
            },
            clean=standings[: len(KINDS)],
            standings=standings[len(KINDS) :],
        )
    finally:
        databases.close()


def settle(databases: Databases) -> None:
    for name in SERVICES:
        settled(f"{name} has delivered everything", partial(delivered, databases, name), seconds=60)


def delivered(databases: Databases, service: str) -> bool:
    return databases.undelivered(service) == 0


def heard(story: Story, person: str) -> bool:
    """Whether accreditation knows this learner by now."""
    request = standings_pb2.ListStandingsRequest(cohort_id=story.cohort, person_id=person)
    return len(story.asks(request, IMPORTER).standings) == 1


def standing(story: Story, person: str) -> str:
    """A learner's standing once it rests, as text without the learner's own id and without versions."""
    request = standings_pb2.GetStandingRequest(cohort_id=story.cohort, person_id=person)

    def look() -> standings_pb2.Standing | None:
        found: standings_pb2.Standing = story.asks(request, IMPORTER)
        moving = any(award.state == standings_pb2.AWARD_STATE_PENDING for award in found.awards)
        return None if found.pending or moving else found

    found = settled(f"the standing of {person} rests", look, seconds=60)
    found.basis.clear()  # a ledger may differ by pairs that cancel
    return text_format.MessageToString(found).replace(person, "<person>")


def unlike(standings: Sequence[str], clean: Sequence[str]) -> list[int]:
    """Learners whose standing is not that of the clean learner of their kind (P6)."""
    return [n for n, found in enumerate(standings) if found != clean[n % len(clean)]]


def test_each_service_was_killed_while_two_thousand_rows_were_under_way(aftermath: Aftermath) -> None:
    assert aftermath.kills == len(SERVICES)
    assert sum(len(rows) for rows in aftermath.acknowledged.values()) >= 2_000


@pytest.mark.parametrize("service", SERVICES)
def test_what_was_acknowledged_is_stored_once_and_densely(aftermath: Aftermath, service: str) -> None:
    stored = aftermath.stored[service]
    assert not lost(aftermath.acknowledged[service], stored)
    assert not twice(stored)
    assert not holes(stored)


@pytest.mark.parametrize("service", SERVICES)
def test_the_topic_is_what_is_stored_in_order(aftermath: Aftermath, service: str) -> None:
    stored, topic = aftermath.stored[service], aftermath.topics[service]
    assert not unpublished(stored, topic)
    assert not invented(stored, topic)
    assert not out_of_order(topic)


def test_every_standing_is_as_if_nothing_had_happened(aftermath: Aftermath) -> None:
    assert len(set(aftermath.clean)) == len(KINDS), "the kinds must differ to prove anything"
    assert not unlike(aftermath.standings, aftermath.clean)


# The checks themselves, on what was found with one fault planted.


def test_an_acknowledged_row_that_is_not_stored_is_noticed(aftermath: Aftermath) -> None:
    rows, stored = aftermath.acknowledged["enrolment"], aftermath.stored["enrolment"]
    steps = tuple(step for step in stored.steps if step != rows[7])
    assert lost(rows, replace(stored, steps=steps)) == [rows[7]]
    moved = replace(rows[7], version=rows[7].version + 1)
    assert lost([moved], stored) == [moved]


def test_a_command_that_took_effect_twice_is_noticed(aftermath: Aftermath) -> None:
    stored = aftermath.stored["accreditation"]
    again = replace(stored.steps[3], version=stored.steps[3].version + 1)
    assert len(twice(replace(stored, steps=(*stored.steps, again)))) == 1


def test_a_hole_in_a_stream_is_noticed(aftermath: Aftermath) -> None:
    stored = aftermath.stored["enrolment"]
    second = next(event for event in stored.events if event.version == 2)
    without = tuple(event for event in stored.events if event != second)
    assert holes(replace(stored, events=without)) == [second.stream]


def test_a_record_that_never_left_one_too_many_and_one_that_was_changed_are_noticed(aftermath: Aftermath) -> None:
    stored, topic = aftermath.stored["mentoring"], aftermath.topics["mentoring"]
    assert unpublished(stored, topic[1:]) == [topic[0]]
    assert out_of_order(topic[1:]) or topic[0].version == 1
    stranger = replace(topic[0], version=99)
    assert invented(stored, [*topic, stranger]) == [stranger]
    changed = [replace(topic[0], data=b"else"), *topic[1:]]
    assert unpublished(stored, changed) == [topic[0]]
    assert invented(stored, changed) == [changed[0]]


def test_two_records_of_a_stream_in_the_wrong_order_are_noticed(aftermath: Aftermath) -> None:
    topic = aftermath.topics["enrolment"]
    first = next(n for n, event in enumerate(topic) if event.version == 1 and successor(topic, event) is not None)
    second = successor(topic, topic[first])
    assert second is not None
    swapped = list(topic)
    swapped[first], swapped[second] = swapped[second], swapped[first]
    assert out_of_order(swapped)


def successor(topic: Sequence[Public], event: Public) -> int | None:
    wanted = (event.stream, event.version + 1)
    return next((n for n, each in enumerate(topic) if (each.stream, each.version) == wanted), None)


def test_a_standing_that_counts_an_event_twice_is_noticed(aftermath: Aftermath) -> None:
    wrong = [*aftermath.standings]
    wrong[5] = wrong[5].replace('have: "3"', 'have: "4"', 1)
    assert wrong[5] != aftermath.standings[5]
    assert unlike(wrong, aftermath.clean) == [5]
