"""P8: views rebuilt beside live traffic, on real processes: no read fails, the content is equal, no award is missed or
made twice; killed in the middle it goes on.

The checks are functions of what was found; each is shown red on a fault planted in what was found.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from pymongo import MongoClient

from accreditation.main import PARTS
from credence.accreditation.v1 import assessments_pb2 as work
from credence.accreditation.v1 import standings_pb2
from credence.operations.v1 import views_pb2 as pb
from credence_cli.identity import Identity
from tests.system.evidence import SERVICES, Databases
from tests.system.platform import IMPORTER, OPERATOR, Platform, Refused, settled
from tests.system.story import Story

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

CREDIT = "commissioning-credit"
SESSIONS = ("s1", "s2", "s3", "s4")
FOREIGN = {"enrolments", "cohorts", "programmes", "people", "matches"}
RESTING = 6  # learners who stand before the rebuild begins
REBUILD_SECONDS = 240.0
PACE_SECONDS = 0.5  # between two learners who are awarded beside it: traffic, and not more than a slow server bears
REASON = "to see that it comes to the same"

Content = dict[str, str]  # stream -> hash of version and body


# ---- what was found, and what is asked of it


def different(one: Content, other: Content) -> list[str]:
    """The streams whose documents are not the same, or not in both."""
    return sorted(stream for stream in one.keys() | other.keys() if one.get(stream) != other.get(stream))


def not_once(awarded: Mapping[str, int], people: Sequence[str]) -> list[str]:
    """Who of these was not awarded exactly once."""
    return sorted(person for person in people if awarded.get(person, 0) != 1)


@dataclass
class Reads:
    """Queries asked again and again while something goes on. `failed` holds what went wrong in any of them."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)

    def look(self, story: Story, people: Sequence[str]) -> None:
        """Every learner who had an award still has it: a rebuild must never be seen half done."""
        request = standings_pb2.ListStandingsRequest(cohort_id=story.cohort)
        try:
            found = {s.person_id: s for s in story.asks(request, IMPORTER).standings}
        except Refused as refused:
            self.failed.append(f"{refused.status.name}: {refused.message}")
            return
        self.answered += 1
        missing = [p for p in people if p not in found]
        provisional = standings_pb2.AWARD_STATE_PROVISIONAL
        held = {p for p, s in found.items() if any(a.award_id == CREDIT and a.state == provisional for a in s.awards)}
        taken = [p for p in people if p in found and p not in held]
        self.failed += [f"{p} is gone" for p in missing] + [f"{p} has lost the award" for p in taken]


class Collections:
    """A service's views as they are stored, with the plain driver."""

    def __init__(self, uri: str, service: str) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(uri)
        self._database = self._client[f"credence_{service}"]

    def close(self) -> None:
        self._client.close()

    def building(self) -> dict[str, Any] | None:
        found = self._database["generations"].find_one({"_id": "views"})
        return None if found is None else found["catalogue"]["building"]

    def generations(self) -> dict[str, int]:
        found = self._database["generations"].find_one({"_id": "views"})
        assert found is not None
        return {name: standing["generation"] for name, standing in found["catalogue"]["views"].items()}

    def content(self, view: str, generation: int) -> Content:
        name = f"view_{view}" if generation == 1 else f"view_{view}__g{generation}"
        return {d["_id"]: _hash((d["version"], d["body"])) for d in self._database[name].find()}

    def awarded(self, cohort: str) -> Counter[str]:
        """How often each person was ever awarded in this cohort, and not how it stands: a second one would count."""
        made: Counter[str] = Counter()
        for append in self._database["appends"].find({"stream": {"$regex": "^credit-"}}):
            for event in append["events"]:
                terms = event["data"].get("terms", {})
                if event["type"].startswith("credit.award-made.") and (terms["cohort_id"], terms["award_id"]) == (
                    cohort,
                    CREDIT,
                ):
                    made[append["stream"].partition("-")[2]] += 1
        return made


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


# ---- a cohort whose learners earn their credit, before, during and after


def awarded_learners(story: Story, people: Sequence[str]) -> None:
    story.enrols(*people)
    for person in people:
        story.attends(person, SESSIONS)
        story.records(
            person, "project", Identity.of("learner", person=person), register=work.RecordAssessment.Register()
        )
        story.submits(person, "project")
        story.assesses(person, "project", work.RESULT_PASSED)


@pytest.fixture
def stored(platform: Platform) -> Iterator[Collections]:
    collections = Collections(platform.stack.addresses.mongo_uri, "accreditation")
    try:
        yield collections
    finally:
        collections.close()


@contextmanager
def beside(*works: Callable[[], None]) -> Iterator[None]:
    """Repeats each of these at its pace, side by side, until the block ends."""
    over = threading.Event()

    def repeat(work: Callable[[], None]) -> None:
        while not over.is_set():
            work()
            over.wait(PACE_SECONDS)

    with ThreadPoolExecutor(len(works)) as pool:
        running = [pool.submit(repeat, work) for work in works]
        try:
            yield
        finally:
            over.set()
            for each in running:
                each.result()


def rebuild(platform: Platform, *words: str, exits: int = 0) -> list[dict[str, Any]]:
    ran = platform.run("views", "rebuild", "accreditation", *words, "--reason", REASON, "--json")
    assert ran.returncode == exits, f"{ran.returncode}\n{ran.stdout}{ran.stderr}"
    return [json.loads(line) for line in ran.stdout.splitlines()]


def delivered(platform: Platform, *services: str) -> None:
    """Returns when these, all unless named, have folded and published all they stored."""
    databases = Databases(platform.stack.addresses.mongo_uri)
    try:
        for name in services or SERVICES:
            settled(f"{name} has delivered everything", lambda n=name: databases.undelivered(n) == 0, seconds=60)  # type: ignore[misc]
    finally:
        databases.close()


@dataclass(frozen=True)
class Aftermath:
    """A rebuild of all views beside reads and writes, and how everything stood when it was quiet again."""

    told: list[dict[str, Any]]
    reads: Reads
    awarded: Counter[str]
    people: list[str]
    before: dict[str, int]
    after: dict[str, int]
    serving: dict[str, Content]
    again: dict[str, Content]


@pytest.fixture(scope="module")
def aftermath(platform: Platform) -> Iterator[Aftermath]:
    stored = Collections(platform.stack.addresses.mongo_uri, "accreditation")
    story = Story(platform, "r14-commissioners-course", "ipc", began_days_ago=70)
    story.opens()
    people = [story.id(f"p{n}") for n in range(RESTING)]
    awarded_learners(story, people)
    for person in people:
        story.award(person, CREDIT, standings_pb2.AWARD_STATE_PROVISIONAL)
    delivered(platform)
    before = stored.generations()
    reads = Reads()
    more: list[str] = []

    def write() -> None:
        more.append(story.id(f"more{len(more)}"))
        awarded_learners(story, more[-1:])

    try:
        with beside(lambda: reads.look(story, people), write):
            told = rebuild(platform, "--all", "--yes")
        for person in more:
            story.award(person, CREDIT, standings_pb2.AWARD_STATE_PROVISIONAL)
        delivered(platform)
        after = stored.generations()
        serving = {name: stored.content(name, number) for name, number in after.items()}
        # Nobody writes any more: another generation, built from the very start, has nothing to differ by.
        rebuild(platform, "--all")
        again = {name: stored.content(name, number) for name, number in stored.generations().items()}
        yield Aftermath(told, reads, stored.awarded(story.cohort), [*people, *more], before, after, serving, again)
    finally:
        stored.close()


def test_the_rebuild_was_beside_live_traffic_and_no_read_failed(aftermath: Aftermath) -> None:
    assert aftermath.reads.failed == []
    assert aftermath.reads.answered > 1
    assert len(aftermath.people) > RESTING, "somebody enrolled and was awarded while it went on"


def test_every_view_was_switched_after_it_was_found_equal(aftermath: Aftermath) -> None:
    (found,) = [line["findings"] for line in aftermath.told if "findings" in line]
    assert {c["view"] for c in found["comparisons"]} == {view.name for view in PARTS.views}
    assert [c for c in found["comparisons"] if c.get("different") or c.get("behind")] == []
    assert "decisions" not in found
    assert aftermath.after == {name: number + 1 for name, number in aftermath.before.items()}
    assert set(aftermath.told[-1]["done"]["generations"]) == set(aftermath.after)


def test_what_serves_is_what_a_second_rebuild_in_quiet_comes_to(aftermath: Aftermath) -> None:
    assert {name: different(aftermath.serving[name], aftermath.again[name]) for name in aftermath.serving} == {
        name: [] for name in aftermath.serving
    }
    assert len(aftermath.serving["enrolments"]) >= len(aftermath.people)


def test_no_award_was_missed_or_made_twice(aftermath: Aftermath) -> None:
    assert not_once(aftermath.awarded, aftermath.people) == []


def test_an_award_that_is_missing_or_made_twice_and_a_document_that_differs_are_noticed(aftermath: Aftermath) -> None:
    first, second = aftermath.people[:2]
    assert not_once({**aftermath.awarded, first: 0, second: 2}, aftermath.people) == sorted([first, second])
    one = aftermath.serving["enrolments"]
    stream = next(iter(one))
    assert different(one, {**one, stream: "else"}) == [stream]
    assert different(one, {s: h for s, h in one.items() if s != stream}) == [stream]


def test_a_read_that_fails_and_an_award_that_is_not_there_are_noticed(platform: Platform) -> None:
    story = Story(platform, "r14-commissioners-course", "ipc", began_days_ago=70)
    story.opens()
    awarded = story.id("p1")
    story.enrols(awarded)
    story.standing(awarded)  # it is heard of, and has earned nothing
    reads = Reads()

    reads.look(story, [awarded, "nobody"])

    assert reads.failed == ["nobody is gone", f"{awarded} has lost the award"]


# ---- interrupted


def begun(platform: Platform, request: pb.RebuildViewsRequest) -> Any:
    """A rebuild that has told something and goes on, to be read, cancelled or cut off."""
    call: Any = platform.channel("accreditation").unary_stream(
        "/credence.operations.v1.ViewsService/RebuildViews",
        request_serializer=pb.RebuildViewsRequest.SerializeToString,
        response_deserializer=pb.RebuildViewsResponse.FromString,
    )
    metadata = (("authorization", f"Bearer {platform.token(OPERATOR)}"),)
    going_on = call(request, timeout=REBUILD_SECONDS, metadata=metadata)
    next(going_on)
    return going_on


def interrupted(
    platform: Platform, stored: Collections, request: pb.RebuildViewsRequest, interrupt: Callable[[Any], None]
) -> dict[str, int]:
    """Leaves a rebuild in its middle; gives the generations that serve. One that was quicker than we is done again."""
    for _ in range(5):
        before = stored.generations()
        interrupt(begun(platform, request))
        if stored.generations() == before:
            return before
        settled("what was switched to is marked", lambda: stored.building() is None)
    raise AssertionError("each time it was done before it was interrupted")


def test_killed_in_the_middle_it_is_told_and_goes_on(platform: Platform, stored: Collections) -> None:
    def kill(going_on: Any) -> None:
        pid = next(part.pid for part in platform.stack.status() if part.name == "accreditation")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with suppress(grpc.RpcError):
            list(going_on)
        platform.stack.up()

    delivered(platform)
    before = interrupted(platform, stored, pb.RebuildViewsRequest(foreign=True, reason=REASON), kill)

    told = platform.command("views", "list", "--service", "accreditation")["accreditation"]
    assert set(told["building"]["views"]) == FOREIGN
    assert told["building"]["state"] in ("building", "verifying", "switching")
    lines = rebuild(platform)  # what is under way need not be named
    assert "done" in lines[-1]
    assert stored.generations() == {n: g + 1 if n in FOREIGN else g for n, g in before.items()}
    for name in FOREIGN:
        assert different(stored.content(name, before[name]), stored.content(name, before[name] + 1)) == []


def test_given_up_it_leaves_nothing_behind(platform: Platform, stored: Collections) -> None:
    request = pb.RebuildViewsRequest(views=["enrolments"], reason=REASON)
    before = interrupted(platform, stored, request, lambda going_on: going_on.cancel())

    dropped = platform.command("views", "drop", "accreditation", "enrolments")

    assert f"enrolments__g{before['enrolments'] + 1}" in dropped["dropped"]
    assert "dropped" not in platform.command("views", "drop", "accreditation", "enrolments"), "it does not come back"
    assert stored.building() is None
    assert stored.generations() == before
    assert stored.content("enrolments", before["enrolments"] + 1) == {}


def test_a_document_spoilt_in_the_store_is_found_and_the_switch_refused(
    platform: Platform, stored: Collections
) -> None:
    delivered(platform)
    generation = stored.generations()["cohorts"]
    name = "view_cohorts" if generation == 1 else f"view_cohorts__g{generation}"
    whole = stored._database[name].find_one({"body": {"$ne": None}})
    assert whole is not None
    stored._database[name].update_one({"_id": whole["_id"]}, {"$set": {"body.programme": "spoilt--1"}})

    lines = rebuild(platform, "cohorts", "--yes", exits=4)

    found = lines[-1]["findings"]
    assert found["suspect"] == ["cohorts"]
    assert [(d["stream"], d["paths"]) for d in found["comparisons"][0]["shown"]] == [(whole["_id"], ["programme"])]
    assert stored.generations()["cohorts"] == generation
    assert "done" in rebuild(platform, "cohorts", "--yes", "--accept-differences")[-1]
    assert stored.content("cohorts", generation + 1)[whole["_id"]] == _hash((whole["version"], whole["body"]))
