"""The evaluation `places`: which documents say who is placed and who waits, and whom a change of them concerns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from catalogue.ids import join_id, split_id
from enrolment.domain.cohort import Cohort, cohort_stream
from enrolment.domain.enrolment import Enrolment, enrolment_stream
from enrolment.domain.placing import evaluate
from enrolment.domain.pool import CATEGORY as POOL_CATEGORY
from enrolment.domain.pool import Pool, pool_stream
from enrolment.views.cohorts import COHORTS
from enrolment.views.enrolments import ENROLMENTS, asking
from enrolment.views.pools import POOLS
from enrolment.views.queries import PLACES as PLACES_NAME
from eventcore.evaluate import Evaluation, Fact, Facts, Reader


async def _of_enrolments(reader: Reader, documents: Mapping[str, Any]) -> Collection[str]:
    """Unlimited cohorts have no pool, and nothing to look at."""
    return {_target(enrolment) for enrolment in documents.values() if enrolment.limited}


async def _of_pools(reader: Reader, documents: Mapping[str, Pool]) -> Collection[str]:
    """Everybody in the pool, and everybody who is not in it yet: when several ask at once, the first one's answer
    makes the others' questions void, and they have to be put again."""
    cohorts = {stream.removeprefix(f"{POOL_CATEGORY}-"): pool for stream, pool in documents.items()}
    members = {
        join_id(cohort_id, member.person_id)
        for cohort_id, pool in cohorts.items()
        for member in (*pool.placed, *pool.waiting)
    }
    return members | {_target(enrolment) for enrolment in await asking(reader, cohorts.keys()) if enrolment.limited}


async def _of_cohorts(reader: Reader, documents: Mapping[str, Cohort]) -> Collection[str]:
    """A request may be folded before its cohort is."""
    limited = [cohort.cohort_id for cohort in documents.values() if cohort.capacity is not None]
    return {_target(enrolment) for enrolment in await asking(reader, limited)} if limited else ()


def _target(enrolment: Enrolment) -> str:
    return join_id(enrolment.cohort_id, enrolment.person_id)


async def _facts(reader: Reader, targets: Sequence[str]) -> Mapping[str, Facts]:
    pairs = {target: split_id(target) for target in targets}
    cohort_ids = sorted({cohort_id for cohort_id, _ in pairs.values()})
    enrolments = await reader.get(ENROLMENTS, [enrolment_stream(*pair) for pair in pairs.values()])
    shared: dict[str, Fact[Any]] = {
        **await reader.get(POOLS, [pool_stream(each) for each in cohort_ids]),
        **await reader.get(COHORTS, [cohort_stream(each) for each in cohort_ids]),
    }
    return {
        target: {
            enrolment_stream(cohort_id, person_id): enrolments[enrolment_stream(cohort_id, person_id)],
            pool_stream(cohort_id): shared[pool_stream(cohort_id)],
            cohort_stream(cohort_id): shared[cohort_stream(cohort_id)],
        }
        for target, (cohort_id, person_id) in pairs.items()
    }


def _rests_on(target: str) -> Collection[str]:
    cohort_id, person_id = split_id(target)
    return (enrolment_stream(cohort_id, person_id), pool_stream(cohort_id))


PLACES = Evaluation(
    name=PLACES_NAME,
    dependants={ENROLMENTS.name: _of_enrolments, POOLS.name: _of_pools, COHORTS.name: _of_cohorts},
    facts=_facts,
    evaluate=evaluate,
    rests_on=_rests_on,
)
