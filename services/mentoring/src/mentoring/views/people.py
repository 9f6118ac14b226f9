"""Whether a person was erased, as enrolment tells it: their key here goes when this is folded."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from credence.enrolment.v1 import events_pb2
from eventcore.event import Recorded
from eventcore.fold import View
from eventcore.personal import AboutPerson

CATEGORY = "person"


class PersonDocument(AboutPerson):
    model_config = ConfigDict(frozen=True)


def fold(document: PersonDocument | None, event: Recorded[Any]) -> PersonDocument:
    match event.event:
        case events_pb2.PersonRegistered() | events_pb2.PersonNamed():
            return document or PersonDocument()
        case events_pb2.PersonErased():
            return PersonDocument(erased=True)
        case other:
            raise ValueError(f"a person's stream holds {type(other).__name__} at {event.id}")


PEOPLE = View(name="people", category=CATEGORY, document=PersonDocument, fold=fold, indexes=(("erased",),))
