"""Whose objects a caller may touch."""

from __future__ import annotations

import pytest

from credence.common.v1 import access_pb2
from servicekit.access import role_name
from servicekit.scope import ROLES, Principal, Scope

BUSY = Principal(
    "sample-subject-01",
    frozenset({"learner", "provider", "assessor", "operator"}),
    person="person-1",
    providers=frozenset({"provider-1"}),
    bodies=frozenset({"body-1"}),
)


def test_the_roles_known_here_are_those_of_the_contract() -> None:
    assert {role_name(role) for role in access_pb2.Role.values() if role} == ROLES


@pytest.mark.parametrize(
    ("rpc_roles", "person", "providers", "bodies", "unrestricted"),
    [
        ({"learner"}, "person-1", set(), set(), False),
        ({"provider"}, None, {"provider-1"}, set(), False),
        ({"awarding-body", "assessor"}, None, set(), {"body-1"}, False),
        ({"operator"}, None, set(), set(), True),
        ({"learner", "provider"}, "person-1", {"provider-1"}, set(), False),
        ({"mentor"}, None, set(), set(), False),
    ],
)
def test_only_roles_that_the_rpc_names_widen_the_scope(
    rpc_roles: set[str], person: str | None, providers: set[str], bodies: set[str], unrestricted: bool
) -> None:
    scope = Scope.of(BUSY, rpc_roles)
    assert scope == Scope(
        person,
        frozenset(providers),
        frozenset(bodies),
        unrestricted,
        "sample-subject-01",
        BUSY.roles & rpc_roles,
    )


def test_a_learner_sees_their_own_and_no_others() -> None:
    scope = Scope.of(BUSY, {"learner"})
    assert scope.sees_person("person-1")
    assert scope.sees_person("person-2", "person-1")
    assert not scope.sees_person("person-2")
    assert not scope.sees_person(None)
    assert not scope.sees_provider("provider-1")
    assert not scope.sees_body("body-1")


def test_a_caller_without_a_person_does_not_own_what_has_none() -> None:
    assert not Scope.of(BUSY, {"provider"}).sees_person(None)


def test_an_unrestricted_caller_sees_all() -> None:
    scope = Scope.of(BUSY, {"operator"})
    assert scope.sees_person("person-2")
    assert scope.sees_provider("provider-2")
    assert scope.sees_body("body-2")
