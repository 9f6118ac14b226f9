"""Who is enrolled where, as enrolment says: only a placed learner is matched."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict

from credence.enrolment.v1 import events_pb2
from eventcore.event import Recorded
from eventcore.fold import View

CATEGORY = "enrolment"


class EnrolmentDocument(BaseModel):
    model_config = ConfigDict(frozen=True)

    person_id: str = ""  # what earlier releases wrote says nothing of it, until the view is rebuilt
    programme_id: str
    programme_version: int
    placed_on: date | None = None
    # First day on which the learner is no longer enrolled.
    withdrawn_on: date | None = None

    def placed(self, on: date) -> bool:
        """Whether the learner has a place on that civil date."""
        has_come = self.placed_on is not None and self.placed_on <= on
        return has_come and (self.withdrawn_on is None or on < self.withdrawn_on)


def fold(document: EnrolmentDocument | None, event: Recorded[Any]) -> EnrolmentDocument:
    match event.event:
        case events_pb2.EnrolmentRequested() as requested:
            return EnrolmentDocument(
                person_id=requested.person_id,
                programme_id=requested.programme_id,
                programme_version=requested.programme_version,
            )
        case events_pb2.EnrolmentPlaced() as placed if document is not None:
            return document.model_copy(update={"placed_on": date.fromisoformat(placed.placed_on)})
        case events_pb2.EnrolmentWithdrawn() as withdrawn if document is not None:
            return document.model_copy(update={"withdrawn_on": date.fromisoformat(withdrawn.withdrawn_on)})
        case (
            events_pb2.EnrolmentWaitlisted()
            | events_pb2.EnrolmentDeclined()
            | events_pb2.AttendanceRecorded()
            | events_pb2.AttendanceCorrected()
        ) if document is not None:
            return document
        case other:
            raise ValueError(f"an enrolment's stream holds {type(other).__name__} at {event.id}")


ENROLMENTS = View(
    name="enrolments", category=CATEGORY, document=EnrolmentDocument, fold=fold, indexes=(("person_id",),)
)
