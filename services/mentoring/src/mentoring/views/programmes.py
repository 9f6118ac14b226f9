"""What a programme says of mentoring, as enrolment publishes it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from catalogue.model import Mentoring
from catalogue.proto import programme_from_proto
from credence.enrolment.v1 import events_pb2
from eventcore.event import Recorded
from eventcore.fold import View

CATEGORY = "programme"


class ProgrammeDocument(BaseModel):
    model_config = ConfigDict(frozen=True)

    zone: str
    mentoring: Mentoring | None


def fold(document: ProgrammeDocument | None, event: Recorded[Any]) -> ProgrammeDocument:
    match event.event:
        case events_pb2.ProgrammePublished() as published:
            programme = programme_from_proto(published.programme)
            return ProgrammeDocument(zone=programme.zone, mentoring=programme.mentoring)
        case other:
            raise ValueError(f"a programme's stream holds {type(other).__name__} at {event.id}")


PROGRAMMES = View(name="programmes", category=CATEGORY, document=ProgrammeDocument, fold=fold)
