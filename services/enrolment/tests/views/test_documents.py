"""A view's document is what its stream's decisions see: folded event by event through JSON, as a store keeps it."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from enrolment.domain.enrolment import EnrolmentPlaced, EnrolmentRequested
from enrolment.domain.person import PersonNamed, PersonRegistered
from enrolment.domain.pool import PlaceReleased, PlaceTaken, QueueJoined
from enrolment.main import PARTS
from eventcore.event import Event, Recorded
from eventcore.fold import View
from eventcore.personal import Sealed
from eventcore.store import Versioned

NOW, DAY = datetime(2024, 10, 1, 12, 0, tzinfo=UTC), date(2024, 10, 1)
SEALED = Sealed(person="learner-01", field="name", box="Ym94")
HISTORIES: dict[str, list[Event]] = {
    "person": [PersonRegistered(name=None, email=SEALED), PersonNamed(name=SEALED)],
    "pool": [
        PlaceTaken(person_id="a", request=1, on=DAY, freed_on=None),
        QueueJoined(person_id="b", request=1, on=DAY),
        PlaceReleased(person_id="a", on=DAY),
        PlaceTaken(person_id="b", request=1, on=DAY, freed_on=DAY),
    ],
    "enrolment": [
        EnrolmentRequested(
            cohort_id="c1",
            person_id="learner-01",
            programme_id="course",
            programme_version=1,
            employer_id=None,
            references=(),
            effective_on=DAY,
            limited=False,
        ),
        EnrolmentPlaced(placed_on=DAY),
    ],
}
VIEWS = {view.category: view for view in PARTS.views}
DECIDERS = {decider.category: decider for decider in PARTS.deciders}


def fold(view: View[Any], events: list[Event]) -> Any:
    stored = Versioned(0, None)
    for version, event in enumerate(events, start=1):
        document = view.fold(view.read(stored), Recorded(f"{view.category}-x", version, event, NOW))
        assert document is not None
        stored = Versioned(version, document.model_dump(mode="json"))
    return view.read(stored)


@pytest.mark.parametrize("category", HISTORIES)
def test_a_document_is_the_state_its_streams_decisions_see(category: str) -> None:
    decider = DECIDERS[category]
    state = decider.initial
    for version, event in enumerate(HISTORIES[category], start=1):
        state = decider.evolve(state, event, version)
    assert fold(VIEWS[category], HISTORIES[category]) == state


@pytest.mark.parametrize("category", sorted(VIEWS))
def test_an_event_of_another_stream_is_a_fault_and_never_skipped(category: str) -> None:
    stranger: Event = PersonNamed(name=SEALED) if category != "person" else EnrolmentPlaced(placed_on=DAY)
    with pytest.raises((AssertionError, AttributeError)):
        fold(VIEWS[category], [stranger])


def test_every_stream_has_one_view() -> None:
    assert set(VIEWS) == set(DECIDERS)
    assert len(PARTS.views) == len(VIEWS)
