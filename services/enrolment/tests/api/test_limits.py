"""What a row may say: at each limit it is taken, beyond it it is refused naming the field, and nothing is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from catalogue.limits import ID_MAX_LENGTH
from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import attendance_pb2, cohorts_pb2, enrolments_pb2, people_pb2
from enrolment.domain import limits

from .desk import COURSE, STARTS_ON, Desk, mark

Answer = Awaitable[outcome_pb2.BatchResponse]
Send = Callable[[Desk, int], Answer]


def person(desk: Desk, **said: Any) -> Answer:
    rows = [people_pb2.RegisterPerson(**({"person_id": "p1"} | said))]
    return desk.call(desk.people.RegisterPeople, people_pb2.RegisterPeopleRequest(rows=rows), "importer")


def session(n: int = 0, **other: Any) -> cohorts_pb2.Session:
    said: dict[str, Any] = {"session_id": f"x{n}", "title": "Half-day", "unit_kind": "half-day", "start": "09:30"}
    said |= {"on": STARTS_ON.isoformat(), "minutes": 60, "provider_id": "provider-a"}
    return cohorts_pb2.Session(**(said | other))


def opened(desk: Desk, **said: Any) -> Answer:
    return desk.open("c2", **said)


def enrolled(desk: Desk, *references: tuple[str, str]) -> Answer:
    wanted = [enrolments_pb2.LearnerReference(provider_id=each, reference=text) for each, text in references]
    return desk.enrol(enrolments_pb2.RequestEnrolment(cohort_id="c1", person_id="p1", references=wanted))


async def marked(desk: Desk, attributes: int) -> outcome_pb2.BatchResponse:
    on = STARTS_ON.isoformat()
    record = attendance_pb2.UnscheduledUnit(unit_kind="half-day", record_id="r1", on=on)
    record.attributes.update({f"a{n}": "x" for n in range(attributes)})
    answer = await desk.post(mark("p1", None, unscheduled=record))
    return outcome_pb2.BatchResponse(outcomes=[each.outcome for each in answer.answers])


# A field, its limit, and a row that says so much.
TABLE: tuple[tuple[str, int, Send], ...] = (
    ("person_id", ID_MAX_LENGTH, lambda desk, n: person(desk, person_id="x" * n)),
    ("name", limits.NAME_CHARS_MAX, lambda desk, n: person(desk, name="x" * n)),
    ("email", limits.EMAIL_CHARS_MAX, lambda desk, n: person(desk, email="x" * (n - 12) + "@example.org")),
    ("sessions", limits.SESSIONS_MAX, lambda desk, n: opened(desk, sessions=[session(i) for i in range(n)])),
    ("capacity", limits.CAPACITY_MAX, lambda desk, n: opened(desk, capacity=n)),
    ("sessions[0].title", limits.NAME_CHARS_MAX, lambda desk, n: opened(desk, sessions=[session(title="x" * n)])),
    ("sessions[0].place", limits.NAME_CHARS_MAX, lambda desk, n: opened(desk, sessions=[session(place="x" * n)])),
    ("sessions[0].minutes", limits.MINUTES_MAX, lambda desk, n: opened(desk, sessions=[session(minutes=n)])),
    (
        "references",
        limits.REFERENCES_MAX,
        lambda desk, n: enrolled(desk, *((f"provider-{i}", "x") for i in range(n))),
    ),
    ("references[0].reference", limits.REFERENCE_CHARS_MAX, lambda desk, n: enrolled(desk, ("provider-a", "x" * n))),
    ("programme_version", limits.VERSION_MAX, lambda desk, n: opened(desk, programme_version=n)),
    ("unscheduled.attributes", limits.ATTRIBUTES_MAX, marked),
)
# What is read at its limit, and then refused for what it says: its code, and the field that it names.
NOT_OF_THE_COURSE = {
    "programme_version": ("programme-unknown", ["programme_version"]),
    "unscheduled.attributes": ("invalid-argument", ["unscheduled.unit_kind"]),
}


@pytest.mark.parametrize(("field", "most", "send"), TABLE, ids=[field for field, *_ in TABLE])
async def test_a_row_at_the_limit_is_taken_and_one_beyond_it_is_refused_by_name(
    desk: Desk, field: str, most: int, send: Send
) -> None:
    await desk.load(COURSE)
    await desk.open()
    if field.startswith("references"):
        await desk.register("p1")
    await desk.settle()
    stored = {name: len(slots) for name, slots in desk.world["enrolment"].appends.streams.items()}
    [refused] = (await send(desk, most + 1)).outcomes
    assert refused.code == "invalid-argument"
    assert [violation.field for violation in refused.violations] == [field]
    assert stored == {name: len(slots) for name, slots in desk.world["enrolment"].appends.streams.items()}
    [taken] = (await send(desk, most)).outcomes
    named = [violation.field for violation in taken.violations]
    assert (taken.code, named) == NOT_OF_THE_COURSE.get(field, ("", [])), taken
