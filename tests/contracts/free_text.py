"""Which fields of a message could hold free text or something personal: all strings but those of a closed list."""

from __future__ import annotations

import re

from google.protobuf.descriptor import Descriptor, FieldDescriptor

# An id, a civil date, a time of day, a code of a closed list.
_CLOSED = re.compile(r"(.+_)?(id|ids|on|code)|unit_kind|start|command_id")
# The words of an organisation, from its catalogue. Nothing in them is about a person.
_CATALOGUE = "credence.common.v1."
# Of a session as admissions schedule it. Its public events leave them empty (enrolment's tests hold it to that).
_TIMETABLE = {"credence.enrolment.v1.Session.title", "credence.enrolment.v1.Session.place"}
# Attributes of a unit: name and value are of the catalogue's closed list.
_CLOSED_MAPS = {"credence.enrolment.v1.UnscheduledUnit.attributes"}


def free_text(message: Descriptor) -> list[str]:
    """Full names of the fields, of this message and those in it, that no rule admits."""
    return list(_walk(message, set()))


def _walk(message: Descriptor, seen: set[str]) -> list[str]:
    if message.full_name in seen or message.full_name.startswith(_CATALOGUE):
        return []
    seen.add(message.full_name)
    found: list[str] = []
    for field in message.fields:
        name = f"{message.full_name}.{field.name}"
        if name in _TIMETABLE or name in _CLOSED_MAPS:
            continue
        if field.message_type is not None:
            found += _walk(field.message_type, seen)
        elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            found += [] if _CLOSED.fullmatch(field.name) else [name]
    return found
