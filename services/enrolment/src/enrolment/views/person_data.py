"""Which streams of this service are about a person."""

from __future__ import annotations

from enrolment.domain.person import person_stream
from enrolment.domain.pool import pool_stream
from enrolment.views.enrolments import ENROLMENTS
from eventcore.evaluate import Reader
from servicekit.person_data import About


async def about(reader: Reader, person_id: str) -> About:
    """A pool is its cohort's, and of each learner it says which place they have."""
    enrolments = await reader.find(ENROLMENTS, {"person_id": person_id})
    cohorts = {fact.document.cohort_id for fact in enrolments.values() if fact.document is not None}
    return About(whole=[person_stream(person_id), *enrolments], names=[pool_stream(each) for each in cohorts])
