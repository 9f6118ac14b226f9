"""Which roles each RPC names, read from the contracts; an RPC that names none is refused at start, not at the call."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf import descriptor_pool

from credence.common.v1 import access_pb2

QUERIES = ("Get", "List")
EXEMPT = ("grpc.health.v1.", "grpc.reflection.")


class AccessUndeclared(Exception):
    """An RPC breaks the rules of access; the message lists every such RPC."""


def is_exempt(service_or_method: str) -> bool:
    """Whether this is the health or reflection service, which carry no data and ask for no token."""
    return service_or_method.lstrip("/").startswith(EXEMPT)


def is_query(method: str) -> bool:
    """Whether this "/package.Service/Method" reads, of what the service is for: not of how it is run."""
    return method.rpartition("/")[2].startswith(QUERIES) and not method.startswith("/credence.operations.")


def role_name(role: access_pb2.Role.ValueType) -> str:
    """ROLE_AWARDING_BODY -> awarding-body."""
    return access_pb2.Role.Name(role).removeprefix("ROLE_").lower().replace("_", "-")


def check_every_rpc_declares_access(
    service_names: Iterable[str], pool: descriptor_pool.DescriptorPool | None = None
) -> dict[str, frozenset[str]]:
    """The roles of every RPC, by "/package.Service/Method", from the `credence.common.v1.access` option.

    Raises AccessUndeclared when an RPC lacks the option, names an unspecified role, or takes a stream of
    requests, whose length nothing bounds. An answer may be a stream.
    """
    pool = pool or descriptor_pool.Default()
    access: dict[str, frozenset[str]] = {}
    faults = []
    for name in service_names:
        if is_exempt(name):
            continue
        try:
            service = pool.FindServiceByName(name)
        except KeyError:
            faults.append(f"{name}: not in the descriptor pool")
            continue
        for method in service.methods:
            roles = list(method.GetOptions().Extensions[access_pb2.access].roles)
            known = access_pb2.Role.values()
            if not roles or any(role == access_pb2.ROLE_UNSPECIFIED or role not in known for role in roles):
                faults.append(f"{method.full_name}: name its roles with `option (credence.common.v1.access)`")
            elif method.client_streaming:
                faults.append(f"{method.full_name}: takes a stream of requests; use a batch")
            else:
                access[f"/{name}/{method.name}"] = frozenset(role_name(role) for role in roles)
    if faults:
        raise AccessUndeclared("; ".join(faults))
    return access
