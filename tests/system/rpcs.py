"""Every RPC of the platform, read from the contracts: a new one is known here without a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from credence.accreditation.v1 import assessments_pb2, awards_pb2, standings_pb2
from credence.common.v1 import access_pb2
from credence.enrolment.v1 import attendance_pb2, catalogue_pb2, cohorts_pb2, enrolments_pb2, people_pb2
from credence.mentoring.v1 import matches_pb2, mentors_pb2
from credence.operations.v1 import held_pb2, log_pb2, operations_pb2, privacy_pb2, status_pb2, views_pb2

# tests/contracts checks that no file with an RPC is missing here.
FILES = (
    catalogue_pb2, people_pb2, cohorts_pb2, enrolments_pb2, attendance_pb2,
    assessments_pb2, standings_pb2, awards_pb2, mentors_pb2, matches_pb2,
    held_pb2, log_pb2, operations_pb2, privacy_pb2, status_pb2, views_pb2,
)  # fmt: skip
SERVICES = ("enrolment", "accreditation", "mentoring")
# Every service serves this package.
OPERATIONS = "operations"
# The repeated field of a batch.
BATCH_FIELDS = ("rows", "programmes")


@dataclass(frozen=True)
class Rpc:
    """One method; `services` are the processes that serve it, `roles` are those its access option names."""

    name: str
    services: tuple[str, ...]
    path: str
    request: type[Message]
    response: type[Message]
    roles: frozenset[str]
    streams: bool

    @property
    def batch_field(self) -> str | None:
        """Where its rows are, when it is a batch: queries have no field of that name."""
        return next((name for name in BATCH_FIELDS if name in self.request.DESCRIPTOR.fields_by_name), None)


def _rpcs() -> Iterator[Rpc]:
    for file in FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield _rpc(file.DESCRIPTOR.package.split(".")[1], method)


def _rpc(package: str, method: MethodDescriptor) -> Rpc:
    roles: Any = method.GetOptions().Extensions[access_pb2.access].roles
    return Rpc(
        name=method.name,
        services=SERVICES if package == OPERATIONS else (package,),
        path=f"/{method.containing_service.full_name}/{method.name}",
        request=message_factory.GetMessageClass(method.input_type),
        response=message_factory.GetMessageClass(method.output_type),
        roles=frozenset(access_pb2.Role.Name(r).removeprefix("ROLE_").lower().replace("_", "-") for r in roles),
        streams=method.server_streaming,
    )


RPCS = tuple(_rpcs())
# A request says which RPC it is for: no two RPCs share one.
BY_REQUEST = {rpc.request: rpc for rpc in RPCS}
assert len(BY_REQUEST) == len(RPCS) == len({rpc.name for rpc in RPCS})
BATCHES = tuple(rpc for rpc in RPCS if rpc.batch_field)
