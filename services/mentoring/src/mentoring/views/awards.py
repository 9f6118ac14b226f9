"""Which awards a person holds, as accreditation says: a mentor stands by one of them. Folded from credit streams."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from credence.accreditation.v1 import events_pb2
from eventcore.event import Recorded
from eventcore.fold import View

CATEGORY = "credit"


class HeldAward(BaseModel):
    model_config = ConfigDict(frozen=True)

    programme_id: str
    award_id: str
    cohort_id: str


class AwardsDocument(BaseModel):
    """Awards that stand. One under review stands until the awarding body has decided."""

    model_config = ConfigDict(frozen=True)

    held: tuple[HeldAward, ...] = ()

    def holds(self, programme_id: str, award_id: str) -> bool:
        return any(a.programme_id == programme_id and a.award_id == award_id for a in self.held)


def fold(document: AwardsDocument | None, event: Recorded[Any]) -> AwardsDocument:
    awards = document or AwardsDocument()
    match event.event:
        case events_pb2.AwardMade() as made:
            award = HeldAward(programme_id=made.programme_id, award_id=made.award_id, cohort_id=made.cohort_id)
            return AwardsDocument(held=(*awards.held, award))
        case events_pb2.AwardTakenBack() as taken:
            return _without(awards, taken.cohort_id, taken.award_id)
        case events_pb2.ReviewClosed(revoked=True) as closed:
            return _without(awards, closed.cohort_id, closed.award_id)
        case events_pb2.AwardConfirmed() | events_pb2.ReviewOpened() | events_pb2.ReviewClosed():
            return awards
        case other:
            raise ValueError(f"a credit stream holds {type(other).__name__} at {event.id}")


def _without(awards: AwardsDocument, cohort_id: str, award_id: str) -> AwardsDocument:
    kept = tuple(a for a in awards.held if (a.cohort_id, a.award_id) != (cohort_id, award_id))
    return AwardsDocument(held=kept)


AWARDS = View(name="awards", category=CATEGORY, document=AwardsDocument, fold=fold)
