"""Cohorts with their sessions."""

from __future__ import annotations

from typing import Any

from enrolment.domain.cohort import CATEGORY, COHORT, Cohort, cohort_stream
from eventcore.evaluate import Reader
from eventcore.event import Recorded
from eventcore.fold import View
from servicekit.scope import Scope


def fold(document: Cohort | None, event: Recorded[Any]) -> Cohort | None:
    return COHORT.evolve(document, event.event, event.version)


COHORTS = View(name="cohorts", category=CATEGORY, document=Cohort, fold=fold, indexes=(("provider_ids",),))


async def posted_cohorts(reader: Reader, scope: Scope, provider_id: str = "") -> dict[str, Cohort]:
    """By id: the cohorts in which this provider, or any the caller speaks for, posts registers."""
    providers = [provider_id] if provider_id else sorted(scope.providers)
    if not providers or not scope.sees_provider(*providers):
        return {}
    found = await reader.find(COHORTS, {"provider_ids": providers})
    return {fact.document.cohort_id: fact.document for fact in found.values() if fact.document}


async def posted_cohort(reader: Reader, scope: Scope, cohort_id: str, provider_id: str) -> Cohort | None:
    """A cohort in which this provider posts registers (empty: any, for callers without limits); None when there is
    none, or none the caller may see."""
    stream = cohort_stream(cohort_id)
    cohort = (await reader.get(COHORTS, [stream]))[stream].document
    if cohort is None or not scope.sees_provider(provider_id):
        return None
    return cohort if not provider_id or provider_id in cohort.provider_ids else None
