"""People. A person's document is what their stream's decisions see; it stays sealed until an answer opens it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from enrolment.domain.person import CATEGORY, PERSON, Person, person_stream
from eventcore.event import Recorded
from eventcore.fold import View
from eventcore.personal import Erased
from servicekit.kernel import Kernel
from servicekit.scope import Scope


def fold(document: Person | None, event: Recorded[Any]) -> Person:
    return PERSON.evolve(document or PERSON.initial, event.event, event.version)


PEOPLE = View(name="people", category=CATEGORY, document=Person, fold=fold, indexes=(("erased",),))


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
    sealed = {name: value for name, value in (("name", person.name), ("email", person.email)) if value is not None}
    opened = dict(zip(sealed, await kernel.keyring.open_all(list(sealed.values())), strict=True))
    readable = {name: value for name, value in opened.items() if not isinstance(value, Erased)}
    # The key may be gone before the fold has come this far, and the other way round.
    erased = person.erased or len(readable) < len(opened)
    return PersonEntry(readable.get("name", ""), readable.get("email", ""), erased)
