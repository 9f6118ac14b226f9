"""Registering and naming people: what is personal is sealed before anything is decided or stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from enrolment.domain.person import (
    PERSON,
    PERSON_ERASED,
    ErasePerson,
    NamePerson,
    Person,
    PersonCommand,
    RegisterPerson,
    person_stream,
)
from eventcore.decider import Command, Refusal
from eventcore.execute import Request
from eventcore.outcome import Outcome
from eventcore.store import KeyErased
from servicekit.kernel import NOT_FOUND, Kernel
from servicekit.scope import Scope

SEALING_AT_ONCE: Final = 50  # each may read or create a key

W = TypeVar("W")
C = TypeVar("C", bound=Command)


@dataclass(frozen=True)
class RegisterWish:
    """Name and address in the clear; empty where not known."""

    command_id: str
    person_id: str
    name: str
    email: str


@dataclass(frozen=True)
class EraseWish:
    command_id: str
    person_id: str
    reason_code: str


@dataclass(frozen=True)
class NameWish:
    command_id: str
    person_id: str
    name: str


async def register_people(
    kernel: Kernel, scope: Scope, wishes: Sequence[RegisterWish | Refusal]
) -> list[Outcome[Person]]:
    async def request(wish: RegisterWish) -> Request[PersonCommand] | Refusal:
        if not scope.sees_person(wish.person_id):
            return NOT_FOUND
        seal = kernel.keyring.seal
        command = RegisterPerson(
            name=await seal(wish.person_id, "name", wish.name) if wish.name else None,
            email=await seal(wish.person_id, "email", wish.email) if wish.email else None,
        )
        return kernel.request(person_stream(wish.person_id), command, wish.command_id)

    return await kernel.execute(PERSON, await sealing(wishes, request))


async def name_people(kernel: Kernel, scope: Scope, wishes: Sequence[NameWish | Refusal]) -> list[Outcome[Person]]:
    async def request(wish: NameWish) -> Request[PersonCommand] | Refusal:
        if not scope.sees_person(wish.person_id):
            return NOT_FOUND
        command = NamePerson(name=await kernel.keyring.seal(wish.person_id, "name", wish.name))
        return kernel.request(person_stream(wish.person_id), command, wish.command_id)

    return await kernel.execute(PERSON, await sealing(wishes, request))


async def erase_people(kernel: Kernel, scope: Scope, wishes: Sequence[EraseWish | Refusal]) -> list[Outcome[Person]]:
    """Says it, and no more: each service destroys its own key when it hears of it (`eventcore.erasure`)."""

    def request(wish: EraseWish | Refusal) -> Request[PersonCommand] | Refusal:
        if isinstance(wish, Refusal):
            return wish
        if not scope.sees_person(wish.person_id):
            return NOT_FOUND
        return kernel.request(person_stream(wish.person_id), ErasePerson(reason_code=wish.reason_code), wish.command_id)

    requests = [request(wish) for wish in wishes]
    for asked in requests:
        if isinstance(asked, Request) and isinstance(asked.command, ErasePerson):
            await kernel.recording("erase", asked.stream, asked.command.reason_code)
    return await kernel.execute(PERSON, requests)


async def sealing(
    wishes: Sequence[W | Refusal], request: Callable[[W], Awaitable[Request[C] | Refusal]]
) -> list[Request[C] | Refusal]:
    """Each wish's request, some at a time; an erased person's is refused."""
    turn = asyncio.Semaphore(SEALING_AT_ONCE)

    async def one(wish: W | Refusal) -> Request[C] | Refusal:
        if isinstance(wish, Refusal):
            return wish
        async with turn:
            try:
                return await request(wish)
            except KeyErased:
                return PERSON_ERASED

    return list(await asyncio.gather(*(one(wish) for wish in wishes)))
