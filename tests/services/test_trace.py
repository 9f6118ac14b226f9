"""One command is one trace: from the call through append, delivery, the topic, fold and evaluation (P15)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from accreditation.main import PARTS as ACCREDITATION
from catalogue.files import check
from catalogue.proto import programme_to_proto
from credence.enrolment.v1 import attendance_pb2, catalogue_pb2, cohorts_pb2, enrolments_pb2, people_pb2
from enrolment.api.attendance import AttendanceApi
from enrolment.api.catalogue import CatalogueApi
from enrolment.api.cohorts import CohortApi
from enrolment.api.enrolments import EnrolmentApi
from enrolment.api.people import PeopleApi
from enrolment.main import PARTS as ENROLMENT
from servicekit.telemetry import span_from, start_tracing
from servicekit.testing import World

CATALOGUE = Path(__file__).parents[2] / "catalogue"
PROGRAMME = "r14-commissioners-course"
NOW = datetime(2025, 1, 15, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def spans() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    start_tracing("trace-test", [SimpleSpanProcessor(exporter)])
    return exporter


async def _placed(world: World) -> None:
    """One learner on a course whose sessions were all held."""
    kernel = world.kernel("enrolment")
    importer: dict[str, Any] = {"roles": {"importer"}}
    programmes = [programme_to_proto(p) for p in check([CATALOGUE]).programmes.values() if p.id == PROGRAMME]
    load = catalogue_pb2.LoadProgrammesRequest(programmes=programmes)
    await world.call(CatalogueApi(kernel).LoadProgrammes, load, **importer)
    await world.settle()
    started = (NOW - timedelta(days=90)).date().isoformat()
    cohort = cohorts_pb2.OpenCohort(
        cohort_id="c1", programme_id=PROGRAMME, programme_version=1, starts_on=started, provider_id="ipc"
    )
    await world.call(CohortApi(kernel).OpenCohorts, cohorts_pb2.OpenCohortsRequest(rows=[cohort]), **importer)
    person = people_pb2.RegisterPeopleRequest(rows=[people_pb2.RegisterPerson(person_id="p1")])
    await world.call(PeopleApi(kernel).RegisterPeople, person, **importer)
    await world.settle()
    wish = enrolments_pb2.RequestEnrolment(cohort_id="c1", person_id="p1", effective_on=started)
    await world.call(
        EnrolmentApi(kernel).RequestEnrolments, enrolments_pb2.RequestEnrolmentsRequest(rows=[wish]), **importer
    )
    await world.settle()


async def _mark(world: World, session: str) -> str:
    """Posts one mark within a trace of its own, lets everything settle, and gives the trace's id."""
    row = attendance_pb2.AttendanceRow(
        cohort_id="c1",
        person_id="p1",
        session_id=session,
        value=attendance_pb2.AttendanceValue(state=attendance_pb2.ATTENDANCE_STATE_PRESENT),
    )
    request = attendance_pb2.PostAttendanceRequest(provider_id="ipc", rows=[row])
    with span_from(None, "post a mark") as span:
        api = AttendanceApi(world.kernel("enrolment"))
        answer: Any = await world.call(api.PostAttendance, request, roles={"provider"}, providers={"ipc"})
        assert not answer.answers[0].outcome.code
    await world.settle()
    return f"{span.get_span_context().trace_id:032x}"


def _steps(world: World, service: str, stream: str) -> list[str]:
    """The trace ids of a stream's steps, in order; "" for one outside any trace."""
    slots = world[service].appends.streams[stream]
    return ["-".join(step.traceparent.split("-")[1:2]) for first in sorted(slots) for step in slots[first].steps]


async def test_an_award_continues_the_trace_of_the_mark_that_earned_it(spans: InMemorySpanExporter) -> None:
    world = World(ENROLMENT, ACCREDITATION, now=NOW)
    await _placed(world)
    first, second, third = [await _mark(world, session) for session in ("s1", "s2", "s3")]

    assert _steps(world, "enrolment", "enrolment-c1--p1")[-3:] == [first, second, third]
    # The third half-day of six completes the course: the award, and its confirmation, go on with that row's trace.
    assert set(_steps(world, "accreditation", "credit-p1")) == {third}
    published = {r.headers["traceparent"].split("-")[1] for r in world.log.records if r.key == "credit-p1"}
    assert published == {third}
    names = {span.name for span in spans.get_finished_spans() if f"{span.context.trace_id:032x}" == third}
    assert names >= {"post a mark", "publish", "fold", "evaluate standing", "evaluate confirmation"}


async def test_another_trace_is_not_drawn_in(spans: InMemorySpanExporter) -> None:
    world = World(ENROLMENT, ACCREDITATION, now=NOW)
    await _placed(world)
    first = await _mark(world, "s1")
    names = {span.name for span in spans.get_finished_spans() if f"{span.context.trace_id:032x}" == first}
    assert "evaluate confirmation" not in names
