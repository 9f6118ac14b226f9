"""Matches as both sides see them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from catalogue.ids import split_id
from eventcore.event import Recorded
from eventcore.fold import View
from mentoring.domain.match import CATEGORY, MeetingConfirmed, MeetingHeld, MentorChosen, ShortlistOffered, Side


class MeetingDocument(BaseModel):
    model_config = ConfigDict(frozen=True)

    meeting_id: str
    on: date
    confirmed_by: tuple[Side, ...]
    held_recorded_at: datetime | None = None


class MatchDocument(BaseModel):
    model_config = ConfigDict(frozen=True)

    cohort_id: str
    person_id: str
    shortlist: tuple[str, ...] = ()
    mentor_id: str | None = None
    matched_on: date | None = None
    window_ends_on: date | None = None
    meetings: tuple[MeetingDocument, ...] = ()


def fold(document: MatchDocument | None, event: Recorded[Any]) -> MatchDocument:
    cohort_id, person_id = split_id(event.stream.removeprefix(f"{CATEGORY}-"))
    match_ = document or MatchDocument(cohort_id=cohort_id, person_id=person_id)
    match event.event:
        case ShortlistOffered() as offered:
            return match_.model_copy(update={"shortlist": offered.mentor_ids})
        case MentorChosen() as chosen:
            chosen_fields = chosen.model_dump(include={"mentor_id", "matched_on", "window_ends_on"})
            return match_.model_copy(update=chosen_fields)
        case MeetingConfirmed() as said:
            known = next((m for m in match_.meetings if m.meeting_id == said.meeting_id), None)
            meeting = known or MeetingDocument(meeting_id=said.meeting_id, on=said.on, confirmed_by=())
            return _with(match_, meeting.model_copy(update={"confirmed_by": (*meeting.confirmed_by, said.side)}))
        case MeetingHeld() as held:
            known = next(m for m in match_.meetings if m.meeting_id == held.meeting_id)
            return _with(match_, known.model_copy(update={"held_recorded_at": event.recorded}))
        case other:
            raise ValueError(f"a match's stream holds {type(other).__name__} at {event.id}")


def _with(match_: MatchDocument, meeting: MeetingDocument) -> MatchDocument:
    """The match with this meeting in place of the one of its id, or added."""
    if any(m.meeting_id == meeting.meeting_id for m in match_.meetings):
        meetings = tuple(meeting if m.meeting_id == meeting.meeting_id else m for m in match_.meetings)
    else:
        meetings = (*match_.meetings, meeting)
    return match_.model_copy(update={"meetings": meetings})


MATCHES = View(
    name="matches",
    category=CATEGORY,
    document=MatchDocument,
    fold=fold,
    indexes=(("person_id",), ("mentor_id",), ("shortlist",)),
)
