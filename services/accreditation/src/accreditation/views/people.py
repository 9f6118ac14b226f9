"""Whether a person's name is on file, and whether they were erased; the name itself never comes here."""

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
            change = NameChange(recorded=event.recorded, named=registered.named)
        case events_pb2.PersonNamed():
            change = NameChange(recorded=event.recorded, named=True)
        case events_pb2.PersonErased():
            change = NameChange(recorded=event.recorded, named=False, erased=True)
        case other:
            raise ValueError(f"a person's stream holds {type(other).__name__} at {event.id}")
    names = document.names if document is not None else ()
    return PersonRecord.of((*names, change))


PEOPLE = View(name="people", category=CATEGORY, document=PersonRecord, fold=fold, indexes=(("erased",),))
