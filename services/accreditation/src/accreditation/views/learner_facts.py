"""The facts of many enrolments at once, one read a view; and, the other way round, whom a changed document concerns.

A target is an enrolment's id, `<cohort>--<person>`. Its streams follow from it, but for the programme's, which the
enrolment names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from accreditation.domain.facts import LearnerFacts
from accreditation.views.assessments import ASSESSMENTS
from accreditation.views.cohorts import COHORTS
from accreditation.views.credits import CREDITS
from accreditation.views.enrolments import ENROLMENTS
from accreditation.views.matches import MATCHES
from accreditation.views.people import PEOPLE
from accreditation.views.programmes import PROGRAMMES
from catalogue.ids import split_id
from eventcore.evaluate import Dependants, Fact, Facts, Reader
from eventcore.fold import View

BY_TARGET: tuple[View[Any], ...] = (ENROLMENTS, ASSESSMENTS, MATCHES)
BY_PERSON: tuple[View[Any], ...] = (PEOPLE, CREDITS)
VIEWS: tuple[View[Any], ...] = (*BY_TARGET, *BY_PERSON, COHORTS, PROGRAMMES)


def rests_on(target: str) -> tuple[str, ...]:
    """The streams that follow from a target's id alone."""
    cohort_id, person_id = split_id(target)
    return (
        *(f"{view.category}-{target}" for view in BY_TARGET),
        f"{COHORTS.category}-{cohort_id}",
        *(f"{view.category}-{person_id}" for view in BY_PERSON),
    )


async def load(reader: Reader, targets: Sequence[str]) -> Mapping[str, Facts]:
    """Every document of every target."""
    named = {target: rests_on(target) for target in targets}
    wanted = [stream for streams in named.values() for stream in streams]
    found: dict[str, Fact[Any]] = {}
    reads = (
        reader.get(view, [s for s in wanted if s.startswith(f"{view.category}-")])
        for view in (*BY_TARGET, COHORTS, *BY_PERSON)
    )
    for part in await asyncio.gather(*reads):
        found |= part
    programmes: dict[str, str] = {}
    for target in targets:
        enrolment = found[f"{ENROLMENTS.category}-{target}"].document
        if enrolment is not None:
            programmes[target] = f"{PROGRAMMES.category}-{enrolment.programme}"
    found |= await reader.get(PROGRAMMES, list(programmes.values()))

    def facts(target: str) -> Facts:
        streams = [*named[target], *([programmes[target]] if target in programmes else [])]
        return {stream: found[stream] for stream in streams}

    return {target: facts(target) for target in targets}


def learner_facts(target: str, facts: Facts) -> LearnerFacts:
    """One target's documents, by what they are."""
    cohort_id, person_id = split_id(target)

    def document(view: View[Any], stream_id: str) -> Any:
        fact = facts.get(f"{view.category}-{stream_id}")
        return fact.document if fact is not None else None

    enrolment = document(ENROLMENTS, target)
    return LearnerFacts(
        cohort_id=cohort_id,
        person_id=person_id,
        enrolment=enrolment,
        cohort=document(COHORTS, cohort_id),
        programme=document(PROGRAMMES, enrolment.programme) if enrolment is not None else None,
        assessment=document(ASSESSMENTS, target),
        match=document(MATCHES, target),
        person=document(PEOPLE, person_id),
        credit=document(CREDITS, person_id),
    )


# Whom a changed document concerns


async def _itself(reader: Reader, documents: Mapping[str, Any]) -> Collection[str]:
    return [stream.partition("-")[2] for stream in documents]


def _by(field: str) -> Dependants:
    async def enrolments_that_name_it(reader: Reader, documents: Mapping[str, Any]) -> Collection[str]:
        found = await reader.names(ENROLMENTS, {field: [stream.partition("-")[2] for stream in documents]})
        return [stream.partition("-")[2] for stream in found]

    return enrolments_that_name_it


DEPENDANTS: Mapping[str, Dependants] = {
    **{view.name: _itself for view in BY_TARGET},
    COHORTS.name: _by("cohort_id"),
    PROGRAMMES.name: _by("programme"),
    # The ledger is the person's: an award on one cohort may bar, or make room for, one on another.
    **{view.name: _by("person_id") for view in BY_PERSON},
}
