"""Who is enrolled where, as enrolment says: only a placed learner is matched."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from credence.enrolment.v1 import events_pb2
from eventcore.event import Recorded
from eventcore.fold import View

CATEGORY = "enrolment"


class EnrolmentDocument(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    programme_id: str
    programme_version: int
    placed: bool = False


def fold(document: EnrolmentDocument | None, event: Recorded[Any]) -> EnrolmentDocument:
    match event.event:
        case events_pb2.EnrolmentRequested() as requested:
            return EnrolmentDocument(programme_id=requested.programme_id, programme_version=requested.programme_version)
        case events_pb2.EnrolmentPlaced() if document is not None:
            return document.model_copy(update={"placed": True})
        case events_pb2.EnrolmentWithdrawn() if document is not None:
            return document.model_copy(update={"placed": False})
        case (
            events_pb2.EnrolmentWaitlisted()
            | events_pb2.EnrolmentDeclined()
            | events_pb2.AttendanceRecorded()
            | events_pb2.AttendanceCorrected()
        ) if document is not None:
            return document
        case other:
            raise ValueError(f"an enrolment's stream holds {type(other).__name__} at {event.id}")


ENROLMENTS = View(name="enrolments", category=CATEGORY, document=EnrolmentDocument, fold=fold)
