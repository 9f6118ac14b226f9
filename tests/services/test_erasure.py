"""A person is known to every service, exported, erased in all of them at once by one event, and never kept again (P19).

In memory, on the real kernel: the same on real processes and servers is in `tests/system/test_erasure.py`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from accreditation.main import PARTS as ACCREDITATION
from catalogue.files import check
from catalogue.proto import programme_to_proto
from credence.enrolment.v1 import attendance_pb2, catalogue_pb2, cohorts_pb2, enrolments_pb2, people_pb2
from credence.mentoring.v1 import mentors_pb2
from credence.operations.v1 import privacy_pb2
from enrolment.api.attendance import AttendanceApi
from enrolment.api.catalogue import CatalogueApi
from enrolment.api.cohorts import CohortApi
from enrolment.api.enrolments import EnrolmentApi
from enrolment.api.people import PeopleApi
from enrolment.main import PARTS as ENROLMENT
from eventcore.store import Entry, Head, Tombstone
from mentoring.api.mentors import MentorApi
from mentoring.main import PARTS as MENTORING
from servicekit.errors import InvalidArgument, Unavailable
from servicekit.health import Health
from servicekit.operations.privacy import PrivacyApi
from servicekit.testing import World

CATALOGUE = Path(__file__).parents[2] / "catalogue"
PROGRAMME = "r14-commissioners-course"
NOW = datetime(2025, 1, 15, 12, 0, tzinfo=UTC)
STARTED = "2024-10-17"
PERSON, OTHER = "learner-01", "other-learner-01"  # the one's id ends as the other's
VALUES = ("Sample Learner 01", "sample.learner.01@example.org", "REF-LEARNER-01", "A sample portrait of learner 01.")
SERVICES = ("enrolment", "accreditation", "mentoring")


async def call(world: World, method: Any, request: Any, role: str, **who: Any) -> Any:
    return await world.call(method, request, roles={role}, **who)


@pytest.fixture
async def world() -> World:
    """Two people on a limited cohort, both mentors too, one of them marked once."""
    world = World(ENROLMENT, ACCREDITATION, MENTORING, now=NOW)
    kernel = world.kernel("enrolment")
    programmes = [programme_to_proto(p) for p in check([CATALOGUE]).programmes.values() if p.id == PROGRAMME]
    load = catalogue_pb2.LoadProgrammesRequest(programmes=programmes)
    await call(world, CatalogueApi(kernel).LoadProgrammes, load, "importer")
    await world.settle()
    cohort = cohorts_pb2.OpenCohort(
        cohort_id="c1", programme_id=PROGRAMME, programme_version=1, starts_on=STARTED, provider_id="ipc", capacity=5
    )
    await call(world, CohortApi(kernel).OpenCohorts, cohorts_pb2.OpenCohortsRequest(rows=[cohort]), "importer")
    name, email, reference, portrait = VALUES
    people = [
        people_pb2.RegisterPerson(person_id=PERSON, name=name, email=email),
        people_pb2.RegisterPerson(person_id=OTHER, name="Sample Learner 02", email="sample.learner.02@example.org"),
    ]
    await call(world, PeopleApi(kernel).RegisterPeople, people_pb2.RegisterPeopleRequest(rows=people), "importer")
    await world.settle()
    wishes = [
        enrolments_pb2.RequestEnrolment(
            cohort_id="c1",
            person_id=person,
            effective_on=STARTED,
            references=[enrolments_pb2.LearnerReference(provider_id="ipc", reference=word)],
        )
        for person, word in ((PERSON, reference), (OTHER, "REF-LEARNER-02"))
    ]
    request = enrolments_pb2.RequestEnrolmentsRequest(rows=wishes)
    await call(world, EnrolmentApi(kernel).RequestEnrolments, request, "importer")
    mentors = [
        mentors_pb2.RegisterMentor(
            person_id=person, background="children", sector="public", in_post=True, employer_id="e1", pen_portrait=text
        )
        for person, text in ((PERSON, portrait), (OTHER, "A sample portrait of learner 02."))
    ]
    registered = mentors_pb2.RegisterMentorsRequest(rows=mentors)
    await call(world, MentorApi(world.kernel("mentoring")).RegisterMentors, registered, "admissions")
    await world.settle()
    await post(world, "s1")
    return world


async def post(world: World, session: str) -> None:
    row = attendance_pb2.AttendanceRow(
        cohort_id="c1",
        person_id=PERSON,
        session_id=session,
        value=attendance_pb2.AttendanceValue(state=attendance_pb2.ATTENDANCE_STATE_PRESENT),
    )
    request = attendance_pb2.PostAttendanceRequest(provider_id="ipc", rows=[row])
    api = AttendanceApi(world.kernel("enrolment"))
    answer = await call(world, api.PostAttendance, request, "provider", providers=["ipc"])
    assert [each.outcome.code for each in answer.answers] == [""]
    await world.settle()


async def erase(world: World, person: str = PERSON) -> None:
    row = people_pb2.ErasePerson(person_id=person, reason_code="person-asked")
    api = PeopleApi(world.kernel("enrolment"))
    await call(world, api.ErasePeople, people_pb2.ErasePeopleRequest(rows=[row]), "privacy-officer")


def privacy(world: World, service: str, behind: str = "") -> PrivacyApi:
    running = world[service]
    data = running.parts.person_data(running.appends, running.held, running.kernel)
    return PrivacyApi(data, running.parts.people, running.keys, running.kernel.recording, lambda: behind)


async def exported(
    world: World,
    service: str,
    person: str = PERSON,
    *,
    behind: str = "",
    found_before: list[privacy_pb2.ExportPersonResponse] | None = None,
) -> list[privacy_pb2.ExportPersonResponse]:
    async def whole(request: privacy_pb2.ExportPersonRequest, context: Any) -> list[privacy_pb2.ExportPersonResponse]:
        found = [] if found_before is None else found_before
        async for item in privacy(world, service, behind).ExportPerson(request, context):
            found.append(item)  # one by one: what came before it failed counts
        return found

    found: list[privacy_pb2.ExportPersonResponse] = await call(
        world, whole, privacy_pb2.ExportPersonRequest(person_id=person), "privacy-officer"
    )
    return found


async def erasure(world: World, service: str, person: str = PERSON) -> privacy_pb2.Erasure:
    request = privacy_pb2.GetErasureRequest(person_id=person)
    found: privacy_pb2.Erasure = await call(world, privacy(world, service).GetErasure, request, "privacy-officer")
    return found


def kept(world: World) -> str:
    """All that any service keeps or told."""
    parts: list[Any] = [world.log.records]
    for service in SERVICES:
        running = world[service]
        parts += [running.appends.streams, running.views.documents, running.targets.targets]
    return repr(parts)


async def test_an_export_holds_every_personal_value_in_the_clear_and_the_streams_of_each_service(world: World) -> None:
    items = {service: await exported(world, service) for service in SERVICES}
    text = {service: "\n".join(item.content for item in found) for service, found in items.items()}
    assert all(value in text["enrolment"] for value in VALUES[:3])
    assert VALUES[3] in text["mentoring"]
    assert {item.stream for item in items["enrolment"]} == {
        "person-learner-01",
        "enrolment-c1--learner-01",
        "pool-c1",
        "c1--learner-01",
    }
    assert {item.stream for item in items["accreditation"]} == {
        "person-learner-01",
        "enrolment-c1--learner-01",
        "c1--learner-01",
    }
    assert {item.stream for item in items["mentoring"]} == {
        "mentor-learner-01",
        "person-learner-01",
        "enrolment-c1--learner-01",
    }
    kinds = {item.kind for found in items.values() for item in found}
    assert kinds == {
        privacy_pb2.ITEM_KIND_EVENT,
        privacy_pb2.ITEM_KIND_STEP,
        privacy_pb2.ITEM_KIND_DOCUMENT,
        privacy_pb2.ITEM_KIND_RESULT,
    }
    steps = [json.loads(i.content) for i in items["enrolment"] if i.kind == privacy_pb2.ITEM_KIND_STEP]
    assert steps
    assert all("digest" not in step and step["actor"] in ("tester", "enrolment") for step in steps)


async def test_an_export_holds_what_waits_to_be_folded_as_it_came(world: World) -> None:
    stream, held = "person-learner-01", world["mentoring"].held
    entry = Entry(
        "mentoring.facts",
        "epoch",
        stream,
        3,
        "credence.enrolment.v1",
        0,
        7,
        b"key",
        (("ce_type", b"Unknown"),),
        b"v",
        NOW,
    )
    await held.keep([entry, replace(entry, version=4)])
    await held.park([Head("mentoring.facts", stream, "epoch", "poison", 3, "cannot be read", NOW, NOW)])
    items = [i for i in await exported(world, "mentoring") if i.kind == privacy_pb2.ITEM_KIND_HELD]
    assert [(i.stream, i.version, i.name) for i in items] == [(stream, n, "credence.enrolment.v1") for n in (3, 4)]
    assert json.loads(items[0].content) == {"headers": {"ce_type": "Unknown"}, "value_base64": "dg=="}


async def test_an_export_holds_a_stream_that_is_held_from_its_first_event_on_which_no_view_knows(world: World) -> None:
    theirs, anothers, held = f"enrolment-c9--{PERSON}", f"enrolment-c9--{OTHER}", world["mentoring"].held
    for stream in (theirs, anothers):
        where = ("mentoring.facts", "epoch", stream, 1, "credence.enrolment.v1", 0, 7, b"key")
        await held.keep([Entry(*where, (("ce_type", b"Unknown"),), b"v", NOW)])
        await held.park([Head("mentoring.facts", stream, "epoch", "poison", 1, "cannot be read", NOW, NOW)])
    items = [i for i in await exported(world, "mentoring") if i.kind == privacy_pb2.ITEM_KIND_HELD]
    assert [(i.stream, i.version) for i in items] == [(theirs, 1)]


async def test_an_export_of_a_service_that_is_behind_ends_with_what_it_is_behind_with(world: World) -> None:
    whole, partly = await exported(world, "enrolment"), list[privacy_pb2.ExportPersonResponse]()
    with pytest.raises(Unavailable, match="behind by 9 s"):
        await exported(world, "enrolment", behind="fold: behind by 9 s", found_before=partly)
    assert partly == whole


def test_whatever_is_behind_or_was_never_built_is_told_and_nothing_where_all_is_folded() -> None:
    health = Health()
    for name in ("views", "fold-lag"):
        health.check(name).ok()
    assert health.problems(["views", "fold-lag"]) == ""
    health.check("views").degraded("people: never built")
    told = "views: people: never built; evaluate-standing-lag: starting"
    assert health.problems(["views", "fold-lag", "evaluate-standing-lag"]) == told


async def test_an_export_holds_nothing_of_anybody_else(world: World) -> None:
    for person, others in ((PERSON, OTHER), (OTHER, PERSON)):
        for service in SERVICES:
            for item in await exported(world, service, person):
                content = item.content.replace(person, "<person>")
                assert others not in content
                assert others not in item.stream.replace(person, "<person>")
                assert "box" not in content


async def test_one_event_erases_a_person_in_every_service_also_where_there_never_was_a_key(world: World) -> None:
    await erase(world)
    await world.settle()
    for service in SERVICES:
        assert world[service].keys.keys[PERSON] == Tombstone(NOW)
        told = await erasure(world, service)
        assert (told.heard, told.destroyed, told.destroyed_at.ToDatetime(UTC)) == (True, True, NOW)
        listed = await call(
            world, privacy(world, service).ListErasures, privacy_pb2.ListErasuresRequest(), "privacy-officer"
        )
        assert list(listed.erasures) == [told]
        other = await erasure(world, service, OTHER)
        assert (other.heard, other.destroyed) == (False, False)


async def test_an_export_after_an_erasure_says_erased_and_the_rest_is_as_it_was(world: World) -> None:
    before = {service: await exported(world, service) for service in SERVICES}
    await erase(world)
    await world.settle()
    after = {service: await exported(world, service) for service in SERVICES}
    text = "\n".join(item.content for found in after.values() for item in found)
    assert not [value for value in VALUES if value in text]
    # In events the name, the address, the reference and the portrait; the last two in documents too.
    assert text.count(': {"erased": true}') == 6
    # What it had of events stays, one by one, but for what was personal.
    for service in SERVICES:
        events = [(i.stream, i.version, i.name) for i in before[service] if i.kind == privacy_pb2.ITEM_KIND_EVENT]
        still = [(i.stream, i.version, i.name) for i in after[service] if i.kind == privacy_pb2.ITEM_KIND_EVENT]
        assert [event for event in still if event[2] != "person.erased.v1"] == events


async def test_who_exported_and_who_erased_somebody_is_kept(world: World) -> None:
    await exported(world, "mentoring")
    await erase(world)
    kept_ = {service: await world[service].operations.list(limit=10) for service in SERVICES}
    assert {s: [(o.action, o.subject, o.actor, o.reason) for o in found] for s, found in kept_.items()} == {
        "enrolment": [("erase", "person-learner-01", "tester", "person-asked")],
        "accreditation": [],
        "mentoring": [("export", "person-learner-01", "tester", "")],
    }


async def test_attendance_goes_on_after_an_erasure_and_nothing_anywhere_says_who_it_was(world: World) -> None:
    await erase(world)
    await world.settle()
    await post(world, "s2")
    assert not [value for value in VALUES if value in kept(world)]


async def test_an_erased_persons_key_is_never_made_again_by_any_service(world: World) -> None:
    await erase(world, "never-seen")
    await world.settle()
    row = mentors_pb2.RegisterMentor(
        person_id="never-seen", background="children", sector="public", in_post=True, employer_id="e1", pen_portrait="x"
    )
    api = MentorApi(world.kernel("mentoring"))
    answer = await call(world, api.RegisterMentors, mentors_pb2.RegisterMentorsRequest(rows=[row]), "admissions")
    assert [outcome.code for outcome in answer.outcomes] == ["person-erased"]
    assert all(world[service].keys.keys["never-seen"] == Tombstone(NOW) for service in SERVICES)


async def test_what_is_not_an_id_is_named(world: World) -> None:
    with pytest.raises(InvalidArgument, match="person_id"):
        await exported(world, "enrolment", "Sample Learner 01")
