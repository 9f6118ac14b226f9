"""One command is one trace: from the call through append, delivery, the topic, fold and evaluation (P15)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from accreditation.application.confirmation import CONFIRMATION
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
from eventcore import fold
from eventcore.evaluate import Evaluator
from servicekit import kernel
from servicekit.telemetry import span_from, start_tracing
from servicekit.testing import Log, World

CATALOGUE = Path(__file__).parents[2] / "catalogue"
PROGRAMME = "r14-commissioners-course"
NOW = datetime(2025, 1, 15, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def spans() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    start_tracing("trace-test", [SimpleSpanProcessor(exporter)])
    return exporter


async def _placed(world: World) -> None:
    """One learner on a course whose sessions were all held; all of it in traces of its own, as calls are."""
    with span_from(None, "set up"):
        await _set_up(world)
    await world.settle()


async def _set_up(world: World) -> None:
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
    assert breaks(spans.get_finished_spans(), third) == []


async def test_another_trace_is_not_drawn_in(spans: InMemorySpanExporter) -> None:
    world = World(ENROLMENT, ACCREDITATION, now=NOW)
    await _placed(world)
    first = await _mark(world, "s1")
    names = {span.name for span in spans.get_finished_spans() if f"{span.context.trace_id:032x}" == first}
    assert "evaluate confirmation" not in names


# By span: what it hangs on, one of these. What an evaluation orders is published and folded under it.
EDGES = {
    "publish": {"post a mark", "evaluate standing", "evaluate confirmation"},
    "fold": {"post a mark", "evaluate standing", "evaluate confirmation"},
    "evaluate standing": {"post a mark"},
    "evaluate confirmation": {"post a mark", "evaluate standing"},
}


def breaks(spans: Sequence[ReadableSpan], trace: str) -> list[str]:
    """Where the flow is not connected, span by span."""
    own = {s.context.span_id: s for s in spans if f"{s.context.trace_id:032x}" == trace}
    by_name = {name: [s for s in own.values() if s.name == name] for name in EDGES}
    found = [f"{name}: not there" for name, there in by_name.items() if not there]
    for name, there in by_name.items():
        for span in there:
            parent = own.get(span.parent.span_id) if span.parent else None
            if parent is None or parent.name not in EDGES[name]:
                found.append(f"{name}: hangs on {parent.name if parent else 'nothing of its trace'}")
    return found


# ---- the checker is checked


def _no_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record on the topic carries no trace."""
    send = Log.send

    async def sent(self: Log, records: Sequence[Any]) -> list[bool]:
        bare = [replace(r, headers={n: v for n, v in r.headers.items() if n != "traceparent"}) for r in records]
        return await send(self, bare)

    monkeypatch.setattr(Log, "send", sent)


def _forgetful_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document does not keep the trace of what was folded into it."""
    advance = fold._advance
    monkeypatch.setattr(fold, "_advance", lambda *given: replace(advance(*given), trace=""))


def _bare_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation's commands begin a trace of their own."""

    async def causes(self: Evaluator, targets: Any, facts: Any) -> dict[str, str]:
        return dict.fromkeys(targets, "")

    monkeypatch.setattr(Evaluator, "_causes", causes)


def _last_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation goes on with the trace of the last of its facts: the programme's, on a first look."""
    load = CONFIRMATION.facts

    async def reversed_facts(reader: Any, targets: Any) -> Any:
        return {target: dict(reversed(list(facts.items()))) for target, facts in (await load(reader, targets)).items()}

    evaluations = [replace(e, facts=reversed_facts) for e in ACCREDITATION.evaluations]
    monkeypatch.setattr(f"{__name__}.ACCREDITATION", replace(ACCREDITATION, evaluations=evaluations))


def _bare_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call's commands are stored without its trace."""
    monkeypatch.setattr(kernel, "traceparent", lambda: "")


@pytest.mark.parametrize("bug", [_no_header, _forgetful_fold, _bare_orders, _last_fact, _bare_commands])
async def test_the_checker_turns_red_when(
    bug: Callable[[pytest.MonkeyPatch], None], spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug(monkeypatch)
    world = World(ENROLMENT, ACCREDITATION, now=NOW)
    await _placed(world)
    trace = [await _mark(world, session) for session in ("s1", "s2", "s3")][-1]
    assert breaks(spans.get_finished_spans(), trace)
