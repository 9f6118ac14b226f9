"""Every kind of object has a bounded history, which one load can read; and what ends something is always stored."""

from __future__ import annotations

from typing import Any

import pytest

from accreditation.domain.limits import CREDIT_EVENTS_MAX
from accreditation.main import PARTS as ACCREDITATION
from enrolment.domain.limits import COHORT_EVENTS_MAX, ENROLMENT_EVENTS_MAX, PERSON_EVENTS_MAX, POOL_EVENTS_MAX
from enrolment.main import PARTS as ENROLMENT
from eventcore.decider import Decider
from eventcore.limits import STREAM_EVENTS_MAX
from mentoring.domain.limits import MATCH_EVENTS_MAX, MENTOR_EVENTS_MAX
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


# What a history takes at its limit and beyond it is the kernel's to decide (`libs/eventcore/tests/test_execute.py`).
HISTORIES = {
    "person": PERSON_EVENTS_MAX,
    "cohort": COHORT_EVENTS_MAX,
    "pool": POOL_EVENTS_MAX,
    "enrolment": ENROLMENT_EVENTS_MAX,
    "credit": CREDIT_EVENTS_MAX,
    "mentor": MENTOR_EVENTS_MAX,
    "match": MATCH_EVENTS_MAX,
}


@pytest.mark.parametrize("decider", DECIDERS, ids=lambda decider: decider.category)
def test_a_history_is_bounded(decider: Decider[Any, Any, Any]) -> None:
    assert 0 < decider.events_max <= STREAM_EVENTS_MAX
    assert decider.events_max == HISTORIES.get(decider.category, STREAM_EVENTS_MAX)


def test_what_ends_something_is_stored_even_in_a_full_history() -> None:
    assert {event.stored_type for decider in DECIDERS for event in decider.events if event.ends} == ENDS
