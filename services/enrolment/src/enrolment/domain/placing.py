"""Places: what the enrolment asks and what the pool answers, carried between the two until they agree.

The request itself asks the pool at once, in the order of its rows; this pure function brings the answer back, and
finishes what a crash left open. It rests when the enrolment says what the pool says.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from catalogue.ids import split_id
from enrolment.domain.cohort import Cohort, cohort_stream
from enrolment.domain.enrolment import ENROLMENT, Decline, Enrolment, Place, Status, Waitlist, enrolment_stream
from enrolment.domain.pool import POOL, Join, Leave, Pool, pool_stream
from enrolment.domain.values import Value
from eventcore.evaluate import Fact, Facts, Order, Verdict


class Placement(Value):
    """What is known of a place. `waiting_position` is from 1; 0 for somebody who does not wait."""

    status: Status | None
    waiting_position: int


def evaluate(target: str, facts: Facts, now: datetime) -> Verdict:
    cohort_id, person_id = split_id(target)
    asked: Fact[Any] = facts[enrolment_stream(cohort_id, person_id)]
    places: Fact[Any] = facts[pool_stream(cohort_id)]
    cohort: Cohort | None = facts[cohort_stream(cohort_id)].document
    enrolment: Enrolment | None = asked.document
    if enrolment is None:
        return Verdict(Placement(status=None, waiting_position=0))
    pool: Pool = places.document or POOL.initial
    # A withdrawal may be known here before the pool knows it: whoever is no longer waiting has no position.
    position = pool.position_of(person_id) if enrolment.status != "withdrawn" else 0
    result = Placement(status=enrolment.status, waiting_position=position)
    command = _next_command(enrolment, pool, cohort) if enrolment.limited else None
    match command:
        case None:
            return Verdict(result)
        case Join() | Leave():
            return Verdict(result, (Order(POOL, pool_stream(cohort_id), command, places.version),))
        case _:
            return Verdict(result, (Order(ENROLMENT, enrolment_stream(cohort_id, person_id), command, asked.version),))


def join(enrolment: Enrolment, cohort: Cohort) -> Join:
    """The question a request puts to the pool. The cohort's capacity must not be None."""
    assert cohort.capacity is not None, "an unlimited cohort has no pool"
    return Join(
        person_id=enrolment.person_id,
        request=enrolment.asked,
        on=enrolment.effective_on,
        capacity=cohort.capacity,
        waiting_list=cohort.waiting_list,
    )


def _next_command(
    enrolment: Enrolment, pool: Pool, cohort: Cohort | None
) -> Join | Leave | Place | Waitlist | Decline | None:
    """The one step that brings the two closer; None when they agree."""
    person_id = enrolment.person_id
    place = pool.place_of(person_id)
    match enrolment.status:
        case "requested" | "waiting" if place is not None:
            return Place(placed_on=place.on)
        case "requested" if pool.position_of(person_id):
            return Waitlist()
        case "requested" if pool.declined.get(person_id) == enrolment.asked:
            return Decline()
        case "requested":
            return join(enrolment, cohort) if cohort is not None else None
        case "withdrawn" if pool.holds(person_id):
            assert enrolment.withdrawn_on is not None
            return Leave(person_id=person_id, on=enrolment.withdrawn_on)
        case _:
            return None
