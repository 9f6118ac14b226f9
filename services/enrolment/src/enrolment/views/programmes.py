"""Programme versions as loaded."""

from __future__ import annotations

from typing import Any

from catalogue.model import Programme
from enrolment.domain.programme import CATEGORY, PROGRAMME, ProgrammeVersion
from eventcore.evaluate import Reader
from eventcore.event import Recorded
from eventcore.fold import View
from servicekit.kernel import Kernel


def fold(document: ProgrammeVersion | None, event: Recorded[Any]) -> ProgrammeVersion:
    return PROGRAMME.evolve(document or PROGRAMME.initial, event.event, event.version)


PROGRAMMES = View(
    name="programmes", category=CATEGORY, document=ProgrammeVersion, fold=fold, indexes=(("programme.id",),)
)


async def all_programmes(reader: Reader) -> list[Programme]:
    """Every version of every programme: what the references of a new one may name."""
    found = await reader.find(PROGRAMMES, {})
    return [fact.document.programme for fact in found.values() if fact.document and fact.document.programme]


async def list_programmes(kernel: Kernel, programme_id: str, after: str, limit: int) -> list[tuple[str, Programme]]:
    """Up to `limit` versions, of one programme or of all (empty), beyond the stream `after`, each with its stream and
    in their order. The catalogue is for everybody: no scope."""
    where = {"programme.id": programme_id} if programme_id else {}
    found = await kernel.views.find(PROGRAMMES.name, where, after=after, limit=limit)
    read = ((stream, PROGRAMMES.read(stored)) for stream, stored in found)
    return [(stream, document.programme) for stream, document in read if document and document.programme]
