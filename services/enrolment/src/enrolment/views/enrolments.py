"""Enrolments with their attendance, every value of it: one learner on one cohort a document."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from enrolment.domain.enrolment import CATEGORY, ENROLMENT, Enrolment
from eventcore.evaluate import Reader
from eventcore.event import Recorded
from eventcore.fold import View
from eventcore.personal import Erased
from servicekit.kernel import Kernel


def fold(document: Enrolment | None, event: Recorded[Any]) -> Enrolment | None:
    return ENROLMENT.evolve(document, event.event, event.version)


ENROLMENTS = View(
    name="enrolments",
    category=CATEGORY,
    document=Enrolment,
    fold=fold,
    indexes=(("cohort_id", "status"), ("cohort_id", "references.provider_id"), ("person_id",)),
)


async def of_cohorts(reader: Reader, cohort_ids: Collection[str]) -> list[Enrolment]:
    """Everybody who ever asked for a place on these cohorts, which the caller may see, by cohort and person."""
    found = await reader.find(ENROLMENTS, {"cohort_id": sorted(cohort_ids)}) if cohort_ids else {}
    return [fact.document for fact in found.values() if fact.document]


async def asking(reader: Reader, cohort_ids: Collection[str]) -> list[Enrolment]:
    """Who asked for a place on these cohorts and got no answer yet."""
    found = await reader.find(ENROLMENTS, {"cohort_id": sorted(cohort_ids), "status": "requested"})
    return [fact.document for fact in found.values() if fact.document]


async def by_reference(kernel: Kernel, cohort_id: str, provider_id: str) -> dict[str, list[str]]:
    """The persons of a cohort, which the caller may see, by what the provider calls them.

    The cohort's references are opened and looked through. An index of keyed hashes would spare that, and would be one
    more thing that says, after an erasure, who somebody was.
    """
    found = await kernel.reader.find(ENROLMENTS, {"cohort_id": cohort_id, "references.provider_id": provider_id})
    enrolments = [fact.document for fact in found.values() if fact.document]
    persons: dict[str, list[str]] = {}
    for enrolment, opened in zip(enrolments, await open_references(kernel, enrolments), strict=True):
        reference = opened[provider_id]
        if not isinstance(reference, Erased):
            persons.setdefault(reference, []).append(enrolment.person_id)
    return persons


async def open_references(kernel: Kernel, enrolments: Sequence[Enrolment]) -> list[dict[str, str | Erased]]:
    """What each provider calls these learners, for each enrolment."""
    named = [(i, each) for i, enrolment in enumerate(enrolments) for each in enrolment.references]
    opened = await kernel.keyring.open_all([each.reference for _, each in named])
    found: list[dict[str, str | Erased]] = [{} for _ in enrolments]
    for (i, each), reference in zip(named, opened, strict=True):
        found[i][each.provider_id] = reference
    return found
