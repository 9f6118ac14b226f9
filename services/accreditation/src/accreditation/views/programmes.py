"""Programme versions, whole, as enrolment publishes them. One never changes: a change is another stream."""

from __future__ import annotations

from typing import Any

from accreditation.domain.facts import ProgrammeRecord
from catalogue.proto import programme_from_proto
from credence.enrolment.v1 import events_pb2
from eventcore.event import Recorded
from eventcore.fold import View

CATEGORY = "programme"


def fold(document: ProgrammeRecord | None, event: Recorded[Any]) -> ProgrammeRecord:
    match event.event:
        case events_pb2.ProgrammePublished() as published:
            return ProgrammeRecord(programme=programme_from_proto(published.programme), recorded=event.recorded)
        case other:
            raise ValueError(f"a programme's stream holds {type(other).__name__} at {event.id}")


PROGRAMMES = View(name="programmes", category=CATEGORY, document=ProgrammeRecord, fold=fold)
