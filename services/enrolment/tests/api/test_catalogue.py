"""Programme versions: loaded whole or not at all, each with every fault, in whatever order the files come."""

import pytest

from catalogue.model import AwardReference, Mentoring, Programme
from catalogue.proto import programme_to_proto
from credence.common.v1 import programme_pb2
from credence.enrolment.v1 import catalogue_pb2

from .desk import COURSE, Desk, codes

OTHER_TITLE = COURSE.model_copy(update={"title": "Another course"})
MENTORED = COURSE.model_copy(
    update={
        "id": "mentored",
        "mentoring": Mentoring(
            shortlist=3,
            choices=1,
            meetings=8,
            within_months=12,
            mentor_standing=AwardReference(programme="course", award="done"),
        ),
    }
)


async def loaded(desk: Desk, programme_id: str = "") -> list[programme_pb2.Programme]:
    await desk.settle()
    return [programme for page in await pages(desk, programme_id) for programme in page]


async def pages(desk: Desk, programme_id: str = "", size: int = 0) -> list[list[programme_pb2.Programme]]:
    found: list[list[programme_pb2.Programme]] = []
    token = ""
    while not found or token:
        request = catalogue_pb2.ListProgrammesRequest(programme_id=programme_id, page_size=size, page_token=token)
        answer = await desk.call(desk.catalogue.ListProgrammes, request, "learner")
        found.append(list(answer.programmes))
        token = answer.next_page_token
    return found


async def test_programmes_come_in_pages_of_so_many_and_of_so_many_bytes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [COURSE.model_copy(update={"version": n}) for n in range(1, 6)]
    await desk.load(*versions)
    await desk.settle()
    assert [len(page) for page in await pages(desk, size=2)] == [2, 2, 1]
    assert [len(page) for page in await pages(desk, "course", size=5)] == [5, 0]
    monkeypatch.setattr("enrolment.api.catalogue.PROGRAMMES_PER_PAGE_MAX", 3)
    assert [len(page) for page in await pages(desk, size=5)] == [3, 2]
    size = programme_to_proto(COURSE).ByteSize()
    monkeypatch.setattr("enrolment.api.catalogue.PROGRAMMES_PAGE_BYTES_MAX", 2 * size)
    assert [len(page) for page in await pages(desk)] == [2, 2, 1]
    monkeypatch.setattr("enrolment.api.catalogue.PROGRAMMES_PAGE_BYTES_MAX", 1)
    assert [[p.version for p in page] for page in await pages(desk)] == [[n] for n in range(1, 6)]


async def test_a_version_is_loaded_and_listed_whole(desk: Desk) -> None:
    assert codes((await desk.load(COURSE)).outcomes) == ["accepted"]
    [listed] = await loaded(desk, "course")
    assert (listed.id, listed.version, len(listed.timetable)) == ("course", 1, 4)
    assert await loaded(desk, "another") == []


async def test_the_same_again_is_harmless_and_other_content_conflicts(desk: Desk) -> None:
    answer = await desk.load(COURSE, COURSE, OTHER_TITLE)
    assert codes(answer.outcomes) == ["accepted", "unchanged", "version-immutable"]
    await desk.settle()
    assert codes((await desk.load(OTHER_TITLE)).outcomes) == ["version-immutable"]
    assert [each.title for each in await loaded(desk)] == ["Course"]


async def test_every_fault_is_a_field_violation(desk: Desk) -> None:
    faulty = COURSE.model_copy(
        update={
            "zone": "Europe/Nowhere",
            "timetable": (COURSE.timetable[0].model_copy(update={"unit_kind": "whole-day", "module": "none"}),),
        }
    )
    [outcome] = (await desk.load(faulty)).outcomes
    assert outcome.code == "invalid-argument"
    assert {v.field for v in outcome.violations} == {"zone", "timetable[0].unit_kind", "timetable[0].module"}


async def test_a_message_that_is_no_programme_is_refused_by_itself(desk: Desk) -> None:
    programmes = [programme_pb2.Programme(id="Bad Id"), programme_to_proto(COURSE)]
    request = catalogue_pb2.LoadProgrammesRequest(programmes=programmes)
    outcomes = (await desk.call(desk.catalogue.LoadProgrammes, request, "operator")).outcomes
    assert codes(outcomes) == ["invalid-argument", "accepted"]
    fields = {"credence", "id", "version", "title", "owner.id", "owner.title", "zone", "awards"}
    assert {v.field for v in outcomes[0].violations} == fields | {"duration.min_months", "duration.max_months"}


async def test_every_malformed_field_is_a_violation_with_its_path_however_deep_it_is(desk: Desk) -> None:
    course = programme_to_proto(COURSE)
    course.modules.extend([programme_pb2.Module(id=id_, title="Module") for id_ in ("a", "No Id", "b b")])
    course.modules[0].title = ""
    course.awards[0].id = "Done!"
    course.zone = "Europe/Nowhere"
    request = catalogue_pb2.LoadProgrammesRequest(programmes=[course])
    [outcome] = (await desk.call(desk.catalogue.LoadProgrammes, request, "operator")).outcomes
    assert outcome.code == "invalid-argument"
    named = ["awards[0].id", "modules[0].title", "modules[1].id", "modules[2].id", "zone"]
    assert sorted(v.field for v in outcome.violations) == named


async def test_a_reference_is_met_by_another_row_wherever_it_stands(desk: Desk) -> None:
    assert codes((await desk.load(MENTORED, COURSE)).outcomes) == ["accepted", "accepted"]


async def test_a_reference_is_met_by_what_is_loaded(desk: Desk) -> None:
    await desk.load(COURSE)
    await desk.settle()
    assert codes((await desk.load(MENTORED)).outcomes) == ["accepted"]


async def test_a_reference_to_nothing_or_to_a_faulty_row_is_refused(desk: Desk) -> None:
    [outcome] = (await desk.load(MENTORED)).outcomes
    assert [v.field for v in outcome.violations] == ["mentoring.mentor_standing.programme"]
    faulty: Programme = COURSE.model_copy(update={"zone": "Europe/Nowhere"})
    assert codes((await desk.load(MENTORED, faulty)).outcomes) == ["invalid-argument", "invalid-argument"]


async def test_nothing_is_loaded_by_a_rehearsal(desk: Desk) -> None:
    answer = await desk.load(COURSE, dry_run=True)
    assert (codes(answer.outcomes), answer.token) == (["accepted"], "")
    assert await loaded(desk) == []
