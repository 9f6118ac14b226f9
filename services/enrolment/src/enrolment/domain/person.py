"""A person who takes part: stream `person-<person id>`. What is personal comes sealed and stays sealed.

A person may be erased who never registered here: other services may know them, and hear of it from this stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final, TypeAlias, assert_never

from enrolment.domain.limits import PERSON_EVENTS_MAX
from enrolment.domain.values import Value
from eventcore.decider import Command, Decider, Refusal
from eventcore.event import Event, Upcast
from eventcore.personal import AboutPerson, Sealed

CATEGORY: Final = "person"


def person_stream(person_id: str) -> str:
    return f"{CATEGORY}-{person_id}"


# Events


def _without_index(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """v1 kept a keyed hash of the address, which would outlive the person's key."""
    return {name: value for name, value in data.items() if name != "email_index"}


class PersonRegistered(Event):
    stored_type: ClassVar[str] = "person.registered.v2"
    upcasts: ClassVar[Mapping[str, Upcast]] = {"person.registered.v1": _without_index}
    name: Sealed | None
    email: Sealed | None


class PersonNamed(Event):
    stored_type: ClassVar[str] = "person.named.v1"
    name: Sealed


class PersonErased(Event):
    """Stored first; then every service that folds it destroys its own key of this person."""

    stored_type: ClassVar[str] = "person.erased.v1"
    ends: ClassVar[bool] = True
    reason_code: str


PersonEvent: TypeAlias = PersonRegistered | PersonNamed | PersonErased


# State


class Person(Value, AboutPerson):
    """`registered_name` is what the registration said; `name` what holds now. Once erased, nothing sealed is left."""

    registered: bool = False
    registered_name: Sealed | None = None
    name: Sealed | None = None
    email: Sealed | None = None


def evolve(state: Person, event: PersonEvent, version: int) -> Person:
    match event:
        case PersonRegistered(name=name, email=email):
            return Person(registered=True, registered_name=name, name=name, email=email)
        case PersonNamed(name=name):
            return state.model_copy(update={"name": name})
        case PersonErased():
            return Person(registered=state.registered, erased=True)
        case _:
            assert_never(event)


# Commands


class RegisterPerson(Command):
    """Names and addresses may be left out: then the registration says nothing about them."""

    name: Sealed | None
    email: Sealed | None


class NamePerson(Command):
    name: Sealed


class ErasePerson(Command):
    reason_code: str


PersonCommand: TypeAlias = RegisterPerson | NamePerson | ErasePerson


# Decide

PERSON_ERASED: Final = Refusal(
    "person-erased", "this person was erased: nothing personal is kept of them again, so leave it out"
)


def decide(command: PersonCommand, state: Person, now: datetime) -> Sequence[PersonEvent] | Refusal:
    match command:
        case ErasePerson(reason_code=reason_code):
            return [] if state.erased else [PersonErased(reason_code=reason_code)]
        case RegisterPerson() | NamePerson() if state.erased:
            # The key may still be there: it goes when this service folds the erasure.
            return PERSON_ERASED
        case RegisterPerson():
            return _register(command, state)
        case NamePerson(name=name):
            if not state.registered:
                return Refusal("not-registered", "nobody is registered with this id: register the person first")
            # Sealing is deterministic, so the same name again is the same sealed value.
            return [] if name == state.name else [PersonNamed(name=name)]
        case _:
            assert_never(command)


def _register(command: RegisterPerson, state: Person) -> Sequence[PersonEvent] | Refusal:
    if not state.registered:
        return [PersonRegistered(name=command.name, email=command.email)]
    differing = []
    if command.name not in (None, state.registered_name, state.name):
        differing.append(("name", "differs from the name on file: change it with NamePeople"))
    if command.email not in (None, state.email):
        differing.append(("email", "differs from the address on file"))
    if differing:
        return Refusal(
            "person-differs", "this person is registered with other details", tuple(differing), conflict=True
        )
    return []


PERSON: Decider[Person, PersonCommand, PersonEvent] = Decider(
    category=CATEGORY,
    events=(PersonRegistered, PersonNamed, PersonErased),
    initial=Person(),
    evolve=evolve,
    decide=decide,
    events_max=PERSON_EVENTS_MAX,
)
