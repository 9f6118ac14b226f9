"""Whose objects a caller may touch: the required argument of every loader and query.

Pure, so that application and views may import it without a server library.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# The names of credence.common.v1.Role, as tokens write them, by what a role lets its holder see.
OWN_PERSON = frozenset({"learner", "mentor"})
OWN_PROVIDERS = frozenset({"provider"})
OWN_BODIES = frozenset({"assessor", "awarding-body"})
UNRESTRICTED = frozenset({"commissioner", "admissions", "importer", "operator", "privacy-officer", "service"})
ROLES = OWN_PERSON | OWN_PROVIDERS | OWN_BODIES | UNRESTRICTED


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a verified token speaks for. `person`, `providers` and `bodies` are Credence ids; `subject` is the name under
    which what they do is kept (`auth.recorded_as`)."""

    subject: str
    roles: frozenset[str]
    person: str | None = None
    providers: frozenset[str] = frozenset()
    bodies: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Scope:
    """What this caller may see and change in this RPC.

    `roles` are the caller's roles that the RPC names; `actor` is the caller's subject, recorded with every step.
    """

    person: str | None
    providers: frozenset[str]
    bodies: frozenset[str]
    unrestricted: bool
    actor: str
    roles: frozenset[str]

    @classmethod
    def of(cls, principal: Principal, rpc_roles: Iterable[str]) -> Scope:
        """The scope of a call to an RPC that names `rpc_roles`.

        Only roles the caller has AND the RPC names count: otherwise an operator's token that also says learner would
        open an RPC meant for learners to everybody's objects.
        """
        roles = principal.roles & frozenset(rpc_roles)
        return cls(
            person=principal.person if roles & OWN_PERSON else None,
            providers=principal.providers if roles & OWN_PROVIDERS else frozenset(),
            bodies=principal.bodies if roles & OWN_BODIES else frozenset(),
            unrestricted=bool(roles & UNRESTRICTED),
            actor=principal.subject,
            roles=roles,
        )

    def sees_person(self, *persons: str | None) -> bool:
        """Whether one of these persons is the caller (or the caller is unrestricted)."""
        return self.unrestricted or (self.person is not None and self.person in persons)

    def sees_provider(self, *providers: str | None) -> bool:
        """Whether the caller acts for one of these providers (or is unrestricted)."""
        return self.unrestricted or not self.providers.isdisjoint(providers)

    def sees_body(self, *bodies: str | None) -> bool:
        """Whether the caller acts for one of these awarding bodies (or is unrestricted)."""
        return self.unrestricted or not self.bodies.isdisjoint(bodies)
