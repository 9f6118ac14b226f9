"""People. A person's document is what their stream's decisions see; it stays sealed until an answer opens it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from enrolment.domain.person import CATEGORY, PERSON, Person, person_stream
from eventcore.event import Recorded
from eventcore.fold import View
from eventcore.personal import ERASED, Erased, Sealed
from servicekit.kernel import Kernel
from servicekit.scope import Scope


def fold(document: Person | None, event: Recorded[Any]) -> Person:
    return PERSON.evolve(document or PERSON.initial, event.event, event.version)


PEOPLE = View(name="people", category=CATEGORY, document=Person, fold=fold, indexes=(("email_index",),))


@dataclass(frozen=True)
class PersonEntry:
    """A person in the clear; empty where nothing is known, or nothing any more."""

    name: str
    email: str
    erased: bool


async def find_person(kernel: Kernel, scope: Scope, person_id: str) -> PersonEntry | None:
    """None when there is nobody, or nobody the caller may see."""
    if not scope.sees_person(person_id):
        return None
    stream = person_stream(person_id)
    person = (await kernel.reader.get(PEOPLE, [stream]))[stream].document
    if person is None:
        return None
    opened = [await _open(kernel, person.name), await _open(kernel, person.email)]
    name, email = ("" if isinstance(value, Erased) else value for value in opened)
    return PersonEntry(name, email, erased=ERASED in opened)


async def _open(kernel: Kernel, sealed: Sealed | None) -> str | Erased:
    return "" if sealed is None else await kernel.keyring.open(sealed)
