"""Queries that read more than one view: mentors with the awards they hold, a match in the caller's reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from catalogue.ids import join_id
from catalogue.model import AwardReference
from eventcore.personal import Erased
from mentoring.domain import match, mentor
from mentoring.views import awards
from mentoring.views.awards import AWARDS, AwardsDocument, HeldAward
from mentoring.views.matches import MATCHES, MatchDocument
from mentoring.views.mentors import MENTORS, MentorDocument
from mentoring.views.programmes import PROGRAMMES
from servicekit.kernel import Kernel
from servicekit.scope import Scope


@dataclass(frozen=True)
class MentorEntry:
    """A mentor, opened: `pen_portrait` is empty when there is none."""

    document: MentorDocument
    awards: tuple[HeldAward, ...]
    pen_portrait: str | Erased


@dataclass(frozen=True)
class MentorProfile:
    """A mentor who was offered, opened as in MentorEntry."""

    document: MentorDocument
    pen_portrait: str | Erased


@dataclass(frozen=True)
class FoundMatch:
    """`mentors`: the shortlist as the mentee and admissions, who choose, may read it; empty for everybody else."""

    version: int
    document: MatchDocument
    mentors: tuple[MentorProfile, ...]


async def list_mentors(
    kernel: Kernel, scope: Scope, *, person_id: str, in_standing_only: bool, after: str, limit: int
) -> tuple[list[MentorEntry], str]:
    """Mentors in order of person, and where the next page starts (empty on the last).

    In standing is whoever holds an award that some programme names as its mentors' standing. A mentor sees itself
    only.
    """
    if scope.unrestricted and not person_id:
        found = await kernel.views.find(MENTORS.name, {}, after=after, limit=limit)
        documents = {stream: MENTORS.read(stored) for stream, stored in found}
        more = found[-1][0] if len(found) == limit else ""
    else:
        documents, more = await _one(kernel, scope, person_id or scope.person), ""
    held = await kernel.reader.get(AWARDS, [_credit(stream) for stream in documents])
    wanted = await _standings(kernel) if in_standing_only else []
    known = [document for document in documents.values() if document is not None]
    portraits = await _portraits(kernel, known)
    entries = []
    for stream, document in documents.items():
        mine = held[_credit(stream)].document or AwardsDocument()
        stands = any(mine.holds(standing.programme, standing.award) for standing in wanted)
        if document is not None and (stands or not in_standing_only):
            entries.append(MentorEntry(document, mine.held, portraits[document.person_id]))
    return entries, more


async def _one(kernel: Kernel, scope: Scope, person_id: str | None) -> dict[str, MentorDocument | None]:
    """One mentor by its stream; nobody for a token that names nobody, and nobody beyond the caller's reach."""
    if person_id is None or not scope.sees_person(person_id):
        return {}
    stream = f"{mentor.CATEGORY}-{person_id}"
    return {stream: (await kernel.reader.get(MENTORS, [stream]))[stream].document}


async def _standings(kernel: Kernel) -> list[AwardReference]:
    """What the programmes with mentoring ask of their mentors."""
    programmes = await kernel.reader.find(PROGRAMMES, {})
    known = [fact.document.mentoring for fact in programmes.values() if fact.document is not None]
    return [mentoring.mentor_standing for mentoring in known if mentoring is not None]


def _credit(mentor_stream: str) -> str:
    return f"{awards.CATEGORY}-{mentor_stream.removeprefix(f'{mentor.CATEGORY}-')}"


async def _portraits(kernel: Kernel, documents: Sequence[MentorDocument]) -> dict[str, str | Erased]:
    """By person; empty where there is none."""
    sealed = {each.person_id: each.profile.pen_portrait for each in documents if each.profile.pen_portrait is not None}
    opened = dict(zip(sealed, await kernel.keyring.open_all(list(sealed.values())), strict=True))
    return {each.person_id: opened.get(each.person_id, "") for each in documents}


async def find_match(kernel: Kernel, scope: Scope, cohort_id: str, person_id: str) -> FoundMatch | None:
    """The match for the mentee, its mentor, or who may see all; else None, as if there were none."""
    stream = f"{match.CATEGORY}-{join_id(cohort_id, person_id)}"
    fact = (await kernel.reader.get(MATCHES, [stream]))[stream]
    document = fact.document
    if document is None or not scope.sees_person(document.person_id, document.mentor_id):
        return None
    chooses = "admissions" in scope.roles or ("learner" in scope.roles and scope.person == document.person_id)
    return FoundMatch(fact.version, document, await _shortlisted(kernel, document) if chooses else ())


async def _shortlisted(kernel: Kernel, document: MatchDocument) -> tuple[MentorProfile, ...]:
    streams = [f"{mentor.CATEGORY}-{mentor_id}" for mentor_id in document.shortlist]
    offered = [fact.document for fact in (await kernel.reader.get(MENTORS, streams)).values()]
    known = [each for each in offered if each is not None]
    portraits = await _portraits(kernel, known)
    return tuple(MentorProfile(each, portraits[each.person_id]) for each in known)
