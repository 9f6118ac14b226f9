"""Mentoring matches as mentoring tells them: when the mentor was chosen, and the meetings both sides confirmed."""

from __future__ import annotations

from datetime import date
from typing import Any

from accreditation.domain.facts import MatchRecord, MeetingHeld
from credence.mentoring.v1 import events_pb2
from eventcore.event import Recorded
from eventcore.fold import View

CATEGORY = "match"


def fold(document: MatchRecord | None, event: Recorded[Any]) -> MatchRecord:
    known = document or MatchRecord()
    match event.event:
        case events_pb2.ShortlistOffered():
            return known
        case events_pb2.MentorChosen() as chosen:
            matched_on = date.fromisoformat(chosen.matched_on)
            return known.model_copy(update={"matched_on": matched_on, "matched_recorded": event.recorded})
        case events_pb2.MeetingHeld() as held:
            meeting = MeetingHeld(
                version=event.version,
                recorded=event.recorded,
                meeting_id=held.meeting_id,
                on=date.fromisoformat(held.on),
            )
            return known.model_copy(update={"meetings": (*known.meetings, meeting)})
        case other:
            raise ValueError(f"a match's stream holds {type(other).__name__} at {event.id}")


MATCHES = View(name="matches", category=CATEGORY, document=MatchRecord, fold=fold)
