"""Views: others' events folded whole, an unknown one a fault, and the facts of many targets in one read a view."""

from __future__ import annotations

from typing import Any

import pytest

from accreditation.testing import START, Scene, schemes
from accreditation.views.cohorts import COHORTS
from accreditation.views.enrolments import ENROLMENTS
from accreditation.views.learner_facts import VIEWS, load
from accreditation.views.matches import MATCHES
from accreditation.views.people import PEOPLE
from accreditation.views.programmes import PROGRAMMES
from credence.enrolment.v1 import cohorts_pb2, events_pb2
from credence.mentoring.v1 import events_pb2 as mentoring_pb2
from eventcore.event import Recorded
from eventcore.fold import View

R14 = schemes()["r14-commissioners-course"]
DAY = START.date()


@pytest.mark.parametrize("view", [ENROLMENTS, COHORTS, PROGRAMMES, PEOPLE, MATCHES], ids=lambda view: view.name)
def test_a_message_of_another_stream_is_a_fault(view: View[Any]) -> None:
    strangers = [mentoring_pb2.MentorRegistered(person_id="p1"), events_pb2.EnrolmentWaitlisted()]
    for message in strangers:
        with pytest.raises(ValueError, match=f"{view.category}-x@1"):
            view.fold(None, Recorded(f"{view.category}-x", 1, message, START))


def test_a_moved_session_stands_where_it_was_moved_to_and_a_cancelled_one_is_kept_as_such() -> None:
    scene = Scene()
    scene.cohort("autumn", R14, DAY)
    opened = events_pb2.CohortOpened()
    opened.ParseFromString(scene.records[0].value)
    document = COHORTS.fold(None, Recorded("cohort-autumn", 1, opened, START))
    moved = cohorts_pb2.Session(session_id="s1", unit_kind="half-day", on="2024-12-31", minutes=180)
    events = [
        events_pb2.SessionScheduled(cohort_id="autumn", session=moved),
        events_pb2.SessionCancelled(cohort_id="autumn", session_id="s2", reason_code="snow"),
    ]
    for version, message in enumerate(events, start=2):
        document = COHORTS.fold(document, Recorded("cohort-autumn", version, message, START))
    assert document is not None
    sessions = document.sessions()
    assert sessions["s1"].on.isoformat() == "2024-12-31"
    assert [name for name, session in sessions.items() if session.cancelled] == ["s2"]


async def test_the_facts_of_many_targets_are_one_read_a_view() -> None:
    scene = Scene()
    scene.programme(R14)
    scene.cohort("autumn", R14, DAY)
    people = [f"p{n}" for n in range(50)]
    for person in people:
        scene.placed("autumn", person, R14, DAY)
    await scene.settle()
    operations: list[str] = []

    async def count(operation: str) -> None:
        operations.append(operation)

    scene.world["accreditation"].views.switch = count
    facts = await load(scene.kernel.reader, [f"autumn--{person}" for person in people])
    assert len(facts) == 50
    assert sorted(operations) == sorted(f"load {view.name}" for view in VIEWS)
