"""Every kind of object has a bounded history, which one load can read; and what ends something is always stored."""

from __future__ import annotations

from typing import Any

import pytest

from accreditation.main import PARTS as ACCREDITATION
from enrolment.main import PARTS as ENROLMENT
from eventcore.decider import Decider
from eventcore.limits import STREAM_EVENTS_MAX
from mentoring.main import PARTS as MENTORING

DECIDERS = [decider for parts in (ENROLMENT, ACCREDITATION, MENTORING) for decider in parts.deciders]
ENDS = {
    "person.erased.v1",
    "enrolment.withdrawn.v1",
    "pool.place-released.v1",
    "pool.queue-left.v1",
    "credit.award-confirmed.v1",
    "credit.award-taken-back.v1",
    "credit.review-closed.v1",
}


@pytest.mark.parametrize("decider", DECIDERS, ids=lambda decider: decider.category)
def test_a_history_is_bounded(decider: Decider[Any, Any, Any]) -> None:
    assert 0 < decider.events_max <= STREAM_EVENTS_MAX


def test_what_ends_something_is_stored_even_in_a_full_history() -> None:
    assert {event.stored_type for decider in DECIDERS for event in decider.events if event.ends} == ENDS
