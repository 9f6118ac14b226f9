"""Which streams of this service, and of those it listens to, are about a person."""

from __future__ import annotations

from eventcore.evaluate import Reader
from mentoring.views.awards import AWARDS
from mentoring.views.enrolments import ENROLMENTS
from mentoring.views.matches import MATCHES
from mentoring.views.mentors import MENTORS
from mentoring.views.people import PEOPLE
from servicekit.person_data import About


async def about(reader: Reader, person_id: str) -> About:
    """A match is its mentee's and its mentor's; of whoever was offered and not chosen it says that, and no more."""
    enrolments = await reader.names(ENROLMENTS, {"person_id": person_id})
    mine = {stream for side in ("person_id", "mentor_id") for stream in await reader.names(MATCHES, {side: person_id})}
    offered = await reader.names(MATCHES, {"shortlist": person_id})
    own = [f"{view.category}-{person_id}" for view in (MENTORS, PEOPLE, AWARDS)]
    return About(whole=[*own, *enrolments, *mine], names=set(offered) - mine)
