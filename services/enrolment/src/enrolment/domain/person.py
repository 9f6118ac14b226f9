"""A person who takes part: stream `person-<person id>`. What is personal comes sealed and stays sealed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Final, TypeAlias, assert_never

from enrolment.domain.values import Value
from eventcore.decider import Command, Decider, Refusal
from eventcore.event import Event
from eventcore.personal import Sealed

CATEGORY: Final = "person"


def person_stream(person_id: str) -> str:
    return f"{CATEGORY}-{person_id}"


# Events


class PersonRegistered(Event):
    stored_type: ClassVar[str] = "person.registered.v1"
    name: Sealed | None
    email: Sealed | None
    email_index: str | None  # keyed hash, to look an address up without keeping it


class PersonNamed(Event):
    stored_type: ClassVar[str] = "person.named.v1"
    name: Sealed


PersonEvent: TypeAlias = PersonRegistered | PersonNamed


# State


class Person(Value):
    """`registered_name` is what the registration said; `name` what holds now."""

    registered: bool = False
    registered_name: Sealed | None = None
    name: Sealed | None = None
    email: Sealed | None = None
    email_index: str | None = None


def evolve(state: Person, event: PersonEvent, version: int) -> Person:
    match event:
        case PersonRegistered(name=name, email=email, email_index=index):
            return Person(registered=True, registered_name=name, name=name, email=email, email_index=index)
        case PersonNamed(name=name):
            return state.model_copy(update={"name": name})
        case _:
            assert_never(event)


# Commands


class RegisterPerson(Command):
    """Names and addresses may be left out: then the registration says nothing about them."""

    name: Sealed | None
    email: Sealed | None
    email_index: str | None


class NamePerson(Command):
    name: Sealed


PersonCommand: TypeAlias = RegisterPerson | NamePerson


# Decide


def decide(command: PersonCommand, state: Person, now: datetime) -> Sequence[PersonEvent] | Refusal:
    match command:
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
        return [PersonRegistered(name=command.name, email=command.email, email_index=command.email_index)]
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
    events=(PersonRegistered, PersonNamed),
    initial=Person(),
    evolve=evolve,
    decide=decide,
)
