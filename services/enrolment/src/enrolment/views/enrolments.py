"""Enrolments with their attendance, every value of it: one learner on one cohort a document."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from enrolment.domain.enrolment import CATEGORY, ENROLMENT, Enrolment, Reference
from eventcore.evaluate import Reader
from eventcore.event import Recorded
from eventcore.fold import View
from eventcore.personal import Erased
from servicekit.kernel import Kernel
from servicekit.scope import Scope


def fold(document: Enrolment | None, event: Recorded[Any]) -> Enrolment | None:
    return ENROLMENT.evolve(document, event.event, event.version)


ENROLMENTS = View(
    name="enrolments",
    category=CATEGORY,
    document=Enrolment,
    fold=fold,
    indexes=(("cohort_id", "status"), ("cohort_id", "references.key"), ("person_id",)),
)


async def of_cohorts(reader: Reader, cohort_ids: Collection[str]) -> list[Enrolment]:
    """Everybody who ever asked for a place on these cohorts, which the caller may see, by cohort and person."""
    found = await reader.find(ENROLMENTS, {"cohort_id": sorted(cohort_ids)}) if cohort_ids else {}
    return [fact.document for fact in found.values() if fact.document]


async def asking(reader: Reader, cohort_ids: Collection[str]) -> list[Enrolment]:
    """Who asked for a place on these cohorts and got no answer yet."""
    found = await reader.find(ENROLMENTS, {"cohort_id": sorted(cohort_ids), "status": "requested"})
    return [fact.document for fact in found.values() if fact.document]


async def by_reference(reader: Reader, cohort_id: str, keys: Sequence[str]) -> dict[str, list[str]]:
    """The persons of a cohort, which the caller may see, whom a reference names, by the reference's key."""
    found = await reader.find(ENROLMENTS, {"cohort_id": cohort_id, "references.key": sorted(set(keys))})
    persons: dict[str, list[str]] = {}
    for fact in found.values():
        assert fact.document is not None
        for reference in fact.document.references:
            persons.setdefault(reference.key, []).append(fact.document.person_id)
    return persons


async def open_references(kernel: Kernel, scope: Scope, enrolment: Enrolment) -> list[tuple[str, str]]:
    """(provider, its word for the learner), those the caller may read and that can still be read."""
    return [
        (reference.provider_id, await open_reference(kernel, reference))
        for reference in enrolment.references
        if scope.sees_provider(reference.provider_id)
    ]


async def open_reference(kernel: Kernel, reference: Reference) -> str:
    opened = await kernel.keyring.open(reference.reference)
    return "" if isinstance(opened, Erased) else opened
