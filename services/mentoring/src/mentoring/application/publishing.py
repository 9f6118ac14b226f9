"""What others may see of mentoring's events: the only place where a stored event becomes a public one."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from credence.mentoring.v1 import events_pb2
from eventcore.event import Recorded
from mentoring.domain.match import MatchEvent, MeetingConfirmed, MeetingHeld, MentorChosen, ShortlistOffered
from mentoring.domain.mentor import MentorEvent, MentorProfileChanged, MentorRegistered


def public(recorded: Recorded[Any]) -> Message | None:
    """The public form, or None for what concerns nobody else."""
    event: MentorEvent | MatchEvent = recorded.event
    match event:
        case MentorRegistered():
            return events_pb2.MentorRegistered(person_id=event.person_id)
        case MentorProfileChanged() | MeetingConfirmed():
            return None
        case ShortlistOffered():
            return events_pb2.ShortlistOffered(mentor_ids=event.mentor_ids)
        case MentorChosen():
            return events_pb2.MentorChosen(
                mentor_id=event.mentor_id,
                matched_on=event.matched_on.isoformat(),
                window_ends_on=event.window_ends_on.isoformat(),
            )
        case MeetingHeld():
            return events_pb2.MeetingHeld(meeting_id=event.meeting_id, on=event.on.isoformat())
