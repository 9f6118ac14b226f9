"""Which streams of this service, and of those it listens to, are about a person."""

from __future__ import annotations

from accreditation.views.assessments import ASSESSMENTS
from accreditation.views.credits import CREDITS
from accreditation.views.enrolments import ENROLMENTS
from accreditation.views.matches import MATCHES
from accreditation.views.people import PEOPLE
from eventcore.evaluate import Reader
from servicekit.person_data import About


async def about(reader: Reader, person_id: str) -> About:
    """Assessments and matches are named as their learner's enrolment is. Whose mentor somebody is, mentoring knows."""
    enrolments = await reader.names(ENROLMENTS, {"person_id": person_id})
    targets = [stream.partition("-")[2] for stream in enrolments]
    return About(
        whole=[
            *(f"{view.category}-{person_id}" for view in (PEOPLE, CREDITS)),
            *(f"{view.category}-{target}" for view in (ENROLMENTS, ASSESSMENTS, MATCHES) for target in targets),
        ]
    )
