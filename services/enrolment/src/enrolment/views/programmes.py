"""Programme versions as loaded."""

from __future__ import annotations

from typing import Any

from catalogue.model import Programme
from enrolment.domain.programme import CATEGORY, PROGRAMME, ProgrammeVersion
from eventcore.evaluate import Reader
from eventcore.event import Recorded
from eventcore.fold import View


def fold(document: ProgrammeVersion | None, event: Recorded[Any]) -> ProgrammeVersion:
    return PROGRAMME.evolve(document or PROGRAMME.initial, event.event, event.version)


PROGRAMMES = View(
    name="programmes", category=CATEGORY, document=ProgrammeVersion, fold=fold, indexes=(("programme.id",),)
)


async def list_programmes(reader: Reader, programme_id: str = "") -> list[Programme]:
    """Every version, of one programme or of all, by id and version. The catalogue is for everybody: no scope."""
    found = await reader.find(PROGRAMMES, {"programme.id": programme_id} if programme_id else {})
    loaded = [fact.document.programme for fact in found.values() if fact.document and fact.document.programme]
    return sorted(loaded, key=lambda programme: (programme.id, programme.version))
