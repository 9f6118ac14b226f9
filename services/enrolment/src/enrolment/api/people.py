"""PeopleService: proto to command, document to proto."""

from __future__ import annotations

from typing import Any

import grpc

from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import people_pb2, people_pb2_grpc
from enrolment.application.people import (
    EraseWish,
    NameWish,
    RegisterWish,
    erase_people,
    name_people,
    register_people,
)
from enrolment.domain.limits import EMAIL_CHARS_MAX, NAME_CHARS_MAX
from enrolment.views.people import PEOPLE, find_person
from eventcore.decider import Refusal
from servicekit.batches import rows
from servicekit.call import current_scope
from servicekit.errors import NotFound
from servicekit.kernel import Kernel, malformed
from servicekit.violations import Violations


class PeopleApi(people_pb2_grpc.PeopleServiceServicer):
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def RegisterPeople(
        self, request: people_pb2.RegisterPeopleRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> outcome_pb2.BatchResponse:
        wishes = [_registration(row) for row in rows(request.rows)]
        return self._kernel.answer(await register_people(self._kernel, current_scope(), wishes))

    async def NamePeople(
        self, request: people_pb2.NamePeopleRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> outcome_pb2.BatchResponse:
        wishes = [_naming(row) for row in rows(request.rows)]
        return self._kernel.answer(await name_people(self._kernel, current_scope(), wishes))

    async def ErasePeople(
        self, request: people_pb2.ErasePeopleRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> outcome_pb2.BatchResponse:
        wishes = [_erasure(row) for row in rows(request.rows)]
        return self._kernel.answer(await erase_people(self._kernel, current_scope(), wishes))

    async def GetPerson(
        self, request: people_pb2.GetPersonRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> people_pb2.Person:
        found = Violations()
        found.id("person_id", request.person_id)
        found.raise_if_any()
        await self._kernel.caught_up(request.token, views=[PEOPLE])
        person = await find_person(self._kernel, current_scope(), request.person_id)
        if person is None:
            raise NotFound("person")
        return people_pb2.Person(
            person_id=request.person_id, name=person.name, email=person.email, erased=person.erased
        )


def _registration(row: people_pb2.RegisterPerson) -> RegisterWish | Refusal:
    found = Violations()
    found.command_id(row.command_id)
    found.id("person_id", row.person_id)
    found.text("name", row.name, NAME_CHARS_MAX, optional=True)
    email = found.text("email", row.email, EMAIL_CHARS_MAX, optional=True)
    if email is not None and not all(email.strip().rpartition("@")):
        found.add("email", "must be an address, written like somebody@example.org")
    if found:
        return malformed(found)
    return RegisterWish(row.command_id, row.person_id, row.name.strip(), row.email.strip())


def _naming(row: people_pb2.NamePerson) -> NameWish | Refusal:
    found = Violations()
    found.command_id(row.command_id)
    found.id("person_id", row.person_id)
    found.text("name", row.name, NAME_CHARS_MAX)
    return malformed(found) if found else NameWish(row.command_id, row.person_id, row.name.strip())


def _erasure(row: people_pb2.ErasePerson) -> EraseWish | Refusal:
    found = Violations()
    found.command_id(row.command_id)
    found.id("person_id", row.person_id)
    found.id("reason_code", row.reason_code)
    return malformed(found) if found else EraseWish(row.command_id, row.person_id, row.reason_code)
