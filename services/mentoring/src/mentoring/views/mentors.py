"""Mentors as registered."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from eventcore.event import Recorded
from eventcore.fold import View
from mentoring.domain.mentor import CATEGORY, MentorProfileChanged, MentorRegistered, Profile


class MentorDocument(BaseModel):
    model_config = ConfigDict(frozen=True)

    person_id: str
    profile: Profile


def fold(document: MentorDocument | None, event: Recorded[Any]) -> MentorDocument:
    match event.event:
        case MentorRegistered() as registered:
            return MentorDocument(person_id=registered.person_id, profile=registered.profile)
        case MentorProfileChanged() as changed if document is not None:
            return document.model_copy(update={"profile": changed.profile})
        case other:
            raise ValueError(f"a mentor's stream holds {type(other).__name__} at {event.id}")


MENTORS = View(name="mentors", category=CATEGORY, document=MentorDocument, fold=fold)
