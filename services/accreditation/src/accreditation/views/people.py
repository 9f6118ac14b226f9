"""Whether a person's name is on file, as enrolment tells it; the name itself never comes here."""

from __future__ import annotations

from typing import Any

from accreditation.domain.facts import NameChange, PersonRecord
from credence.enrolment.v1 import events_pb2
from eventcore.event import Recorded
from eventcore.fold import View

CATEGORY = "person"


def fold(document: PersonRecord | None, event: Recorded[Any]) -> PersonRecord:
    match event.event:
        case events_pb2.PersonRegistered() as registered:
            named = registered.named
        case events_pb2.PersonNamed():
            named = True
        case events_pb2.PersonErased():
            named = False
        case other:
            raise ValueError(f"a person's stream holds {type(other).__name__} at {event.id}")
    names = document.names if document is not None else ()
    return PersonRecord(names=(*names, NameChange(recorded=event.recorded, named=named)))


PEOPLE = View(name="people", category=CATEGORY, document=PersonRecord, fold=fold)
