from datetime import date
from typing import Any

from enrolment.domain.cohort import Cohort
from enrolment.domain.enrolment import ENROLMENT, Decline, Enrolment, EnrolmentRequested, Place, Waitlist
from enrolment.domain.placing import Placement, evaluate
from enrolment.domain.pool import POOL, Join, Leave, Member, Pool
from eventcore.evaluate import Fact, Facts, Order
from eventcore.testing import NOON

DAY = date(2024, 10, 1)
COHORT = Cohort(
    cohort_id="c1",
    programme_id="course",
    programme_version=1,
    zone="Europe/London",
    starts_on=DAY,
    ends_on=DAY,
    capacity=1,
    waiting_list=True,
    provider_id=None,
    sessions={},
    provider_ids=(),
    opening="",
)


def enrolment(**other: Any) -> Enrolment:
    said: dict[str, Any] = {"cohort_id": "c1", "person_id": "p1", "programme_id": "course", "programme_version": 1}
    said |= {"employer_id": None, "references": (), "effective_on": DAY, "limited": True, "asked": 1}
    return Enrolment(**(said | other))


def facts(asked: Enrolment | None, pool: Pool | None, cohort: Cohort | None = COHORT) -> Facts:
    return {
        "enrolment-c1--p1": Fact(3 if asked else 0, asked),
        "pool-c1": Fact(5 if pool else 0, pool),
        "cohort-c1": Fact(1 if cohort else 0, cohort),
    }


def step(asked: Enrolment | None, pool: Pool | None = None, cohort: Cohort | None = COHORT) -> Order | None:
    orders = evaluate("c1--p1", facts(asked, pool, cohort), NOON).orders
    assert len(orders) <= 1
    return orders[0] if orders else None


IN = Pool(placed=(Member(person_id="p1", request=1, on=DAY),))
QUEUED = Pool(waiting=(Member(person_id="p0", request=1, on=DAY), Member(person_id="p1", request=1, on=DAY)))


def test_a_request_the_pool_has_not_heard_of_is_put_to_it() -> None:
    join = Join(person_id="p1", request=1, on=DAY, capacity=1, waiting_list=True)
    assert step(enrolment()) == Order(POOL, "pool-c1", join, 0)


def test_the_pools_answer_is_carried_to_the_enrolment() -> None:
    stream = "enrolment-c1--p1"
    assert step(enrolment(), IN) == Order(ENROLMENT, stream, Place(placed_on=DAY), 3)
    assert step(enrolment(status="waiting"), IN) == Order(ENROLMENT, stream, Place(placed_on=DAY), 3)
    assert step(enrolment(), QUEUED) == Order(ENROLMENT, stream, Waitlist(), 3)
    assert step(enrolment(), Pool(declined={"p1": 1})) == Order(ENROLMENT, stream, Decline(), 3)


def test_an_answer_to_an_earlier_request_is_no_answer_to_this_one() -> None:
    order = step(enrolment(asked=3), Pool(declined={"p1": 1}))
    assert order is not None
    assert isinstance(order.command, Join)


def test_whoever_withdrew_leaves_the_pool() -> None:
    gone = enrolment(status="withdrawn", withdrawn_on=DAY)
    leave = Leave(person_id="p1", on=DAY)
    assert step(gone, IN) == Order(POOL, "pool-c1", leave, 5)
    assert step(gone, QUEUED) == Order(POOL, "pool-c1", leave, 5)


def test_it_rests_when_both_say_the_same() -> None:
    assert step(enrolment(status="placed", placed_on=DAY), IN) is None
    assert step(enrolment(status="waiting"), QUEUED) is None
    assert step(enrolment(status="declined"), Pool(declined={"p1": 1})) is None
    assert step(enrolment(status="withdrawn", withdrawn_on=DAY), Pool()) is None


def test_without_the_cohort_or_a_limit_there_is_nothing_to_ask() -> None:
    assert step(enrolment(), None, None) is None
    assert step(enrolment(limited=False, status="placed", placed_on=DAY)) is None
    assert step(None, IN) is None


def test_the_result_says_who_waits_where() -> None:
    waiting = evaluate("c1--p1", facts(enrolment(status="waiting"), QUEUED), NOON)
    assert waiting.result == Placement(status="waiting", waiting_position=2)
    gone = evaluate("c1--p1", facts(enrolment(status="withdrawn", withdrawn_on=DAY), QUEUED), NOON)
    assert gone.result == Placement(status="withdrawn", waiting_position=0)


def test_a_requested_enrolment_is_what_a_request_leaves() -> None:
    requested = EnrolmentRequested(**{name: getattr(enrolment(), name) for name in EnrolmentRequested.model_fields})
    assert ENROLMENT.evolve(None, requested, 1) == enrolment()
