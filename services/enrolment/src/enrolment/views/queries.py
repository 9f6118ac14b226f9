"""What callers ask of cohorts and enrolments, over several views, each answer within the caller's scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalogue.ids import join_id
from enrolment.domain.cohort import Cohort, cohort_stream
from enrolment.domain.enrolment import Enrolment, enrolment_stream
from enrolment.domain.placing import Placement
from enrolment.domain.pool import pool_stream
from enrolment.domain.programme import programme_stream
from enrolment.views.cohorts import COHORTS, posted_cohorts
from enrolment.views.enrolments import ENROLMENTS, open_references
from enrolment.views.pools import POOLS
from enrolment.views.programmes import PROGRAMMES
from eventcore.evaluate import Reader
from eventcore.personal import Erased
from servicekit.kernel import Kernel
from servicekit.scope import Scope

PLACES = "places"  # the evaluation whose results say who waits where


@dataclass(frozen=True)
class CohortEntry:
    cohort: Cohort
    placed: int
    waiting: int


@dataclass(frozen=True)
class EnrolmentEntry:
    """`references` are (provider, its word for the learner), of providers whose words the caller may read."""

    version: int
    enrolment: Enrolment
    waiting_position: int
    references: list[tuple[str, str | Erased]]


async def find_cohort(reader: Reader, scope: Scope, cohort_id: str) -> CohortEntry | None:
    """None when there is none, or none the caller may see."""
    stream = cohort_stream(cohort_id)
    cohort = (await reader.get(COHORTS, [stream]))[stream].document
    if cohort is None or not await _sees_cohort(reader, scope, cohort):
        return None
    if cohort.capacity is None:
        return CohortEntry(cohort, await reader.count(ENROLMENTS, {"cohort_id": cohort_id, "status": "placed"}), 0)
    pool = (await reader.get(POOLS, [pool_stream(cohort_id)]))[pool_stream(cohort_id)].document
    return CohortEntry(cohort, len(pool.placed) if pool else 0, len(pool.waiting) if pool else 0)


async def _sees_cohort(reader: Reader, scope: Scope, cohort: Cohort) -> bool:
    """A learner sees the cohorts they asked for, a provider those it posts for, an awarding body (or, where a programme
    names none, its owner) its programmes'."""
    if scope.sees_provider(*cohort.provider_ids):
        return True
    if scope.person is not None:
        stream = enrolment_stream(cohort.cohort_id, scope.person)
        if (await reader.get(ENROLMENTS, [stream]))[stream].document is not None:
            return True
    if scope.bodies:
        stream = programme_stream(cohort.programme_id, cohort.programme_version)
        version = (await reader.get(PROGRAMMES, [stream]))[stream].document
        programme = version.programme if version else None
        return programme is not None and scope.sees_body((programme.awarding_body or programme.owner).id)
    return False


async def find_enrolment(kernel: Kernel, scope: Scope, cohort_id: str, person_id: str) -> EnrolmentEntry | None:
    """None when there is none, or none the caller may see."""
    stream = enrolment_stream(cohort_id, person_id)
    fact = (await kernel.reader.get(ENROLMENTS, [stream]))[stream]
    if fact.document is None:
        return None
    if not scope.sees_person(person_id) and not await _posts_for(kernel.reader, scope, cohort_id):
        return None
    return (await _entries(kernel, scope, [(fact.version, fact.document)]))[0]


async def _posts_for(reader: Reader, scope: Scope, cohort_id: str) -> bool:
    cohort = (await reader.get(COHORTS, [cohort_stream(cohort_id)]))[cohort_stream(cohort_id)].document
    return cohort is not None and scope.sees_provider(*cohort.provider_ids)


async def list_enrolments(
    kernel: Kernel, scope: Scope, *, cohort_id: str, person_id: str, after: str, limit: int
) -> tuple[list[EnrolmentEntry], str]:
    """Up to `limit` enrolments of the cohort, the person, or both, beyond the stream `after`; and the last one's
    stream when there may be more. What the caller may not see is left out, as if it did not exist."""
    where = await _within(kernel.reader, scope, cohort_id, person_id)
    if where is None:
        return [], ""
    found = await kernel.views.find(ENROLMENTS.name, where, after=after, limit=limit)
    documents = [(stored.version, ENROLMENTS.read(stored)) for _, stored in found]
    entries = await _entries(kernel, scope, [(version, each) for version, each in documents if each is not None])
    return entries, found[-1][0] if len(found) == limit else ""


async def _within(reader: Reader, scope: Scope, cohort_id: str, person_id: str) -> Mapping[str, Any] | None:
    """The query, narrowed to what the caller may see; None for nothing."""
    wanted = {name: value for name, value in (("cohort_id", cohort_id), ("person_id", person_id)) if value}
    if scope.unrestricted or (scope.person is not None and scope.person == person_id):
        return wanted
    posted = sorted(await posted_cohorts(reader, scope))
    if cohort_id in posted:
        return wanted
    if posted and not cohort_id:
        return wanted | {"cohort_id": posted}
    if scope.person is not None and not person_id:
        return wanted | {"person_id": scope.person}
    return None


async def _entries(kernel: Kernel, scope: Scope, found: Sequence[tuple[int, Enrolment]]) -> list[EnrolmentEntry]:
    targets = {id(each): join_id(each.cohort_id, each.person_id) for _, each in found if each.status == "waiting"}
    results = await kernel.targets.read(PLACES, list(targets.values())) if targets else {}
    opened = await open_references(kernel, [each for _, each in found])
    entries = []
    for (version, each), named in zip(found, opened, strict=True):
        target = results.get(targets.get(id(each), ""))
        position = Placement.model_validate(target.result).waiting_position if target and target.result else 0
        references = [(provider, reference) for provider, reference in named.items() if scope.sees_provider(provider)]
        entries.append(EnrolmentEntry(version, each, position, references))
    return entries
