"""Queries that read more than one view: mentors with the awards they hold, a match in the caller's reach."""

from __future__ import annotations

from dataclasses import dataclass

from catalogue.ids import join_id
from eventcore.personal import Erased
from mentoring.domain import match, mentor
from mentoring.views import awards
from mentoring.views.awards import AWARDS, AwardsDocument, HeldAward
from mentoring.views.matches import MATCHES, MatchDocument
from mentoring.views.mentors import MENTORS, MentorDocument
from servicekit.kernel import Kernel
from servicekit.scope import Scope


@dataclass(frozen=True)
class MentorEntry:
    """A mentor, opened: `pen_portrait` is empty when there is none or it was erased."""

    document: MentorDocument
    awards: tuple[HeldAward, ...]
    pen_portrait: str


async def list_mentors(
    kernel: Kernel, scope: Scope, *, person_id: str, in_standing_only: bool, after: str, limit: int
) -> tuple[list[MentorEntry], str]:
    """Mentors in order of person, and where the next page starts (empty on the last).

    A mentor sees itself only.
    """
    reach = person_id or ("" if scope.unrestricted else scope.person or "")
    if reach and not scope.sees_person(reach):
        return [], ""
    where = {"person_id": reach} if reach else {}
    found = await kernel.views.find(MENTORS.name, where, after=after, limit=limit)
    held = await kernel.reader.get(AWARDS, [_credit(stream) for stream, _ in found])
    entries = []
    for stream, stored in found:
        document = MENTORS.read(stored)
        mine = held[_credit(stream)].document or AwardsDocument()
        if document is not None and (mine.held or not in_standing_only):
            entries.append(MentorEntry(document, mine.held, await _portrait(kernel, document)))
    return entries, found[-1][0] if len(found) == limit else ""


def _credit(mentor_stream: str) -> str:
    return f"{awards.CATEGORY}-{mentor_stream.removeprefix(f'{mentor.CATEGORY}-')}"


async def _portrait(kernel: Kernel, document: MentorDocument) -> str:
    sealed = document.profile.pen_portrait
    opened = await kernel.keyring.open(sealed) if sealed else ""
    return "" if isinstance(opened, Erased) else opened


async def find_match(kernel: Kernel, scope: Scope, cohort_id: str, person_id: str) -> tuple[int, MatchDocument] | None:
    """The match and its version, for the mentee, its mentor, or who may see all; else None, as if there were none."""
    stream = f"{match.CATEGORY}-{join_id(cohort_id, person_id)}"
    fact = (await kernel.reader.get(MATCHES, [stream]))[stream]
    document = fact.document
    if document is None or not scope.sees_person(document.person_id, document.mentor_id):
        return None
    return fact.version, document
