"""Bad input is refused with every violated field named, stores nothing, and never shows as a defect (P20)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credence_cli.identity import Identity
from tests.system.evidence import SERVICES, Databases
from tests.system.malformed import garbage, places
from tests.system.platform import REFUSED, Platform, Refused, outcomes_of, suffix, told
from tests.system.realms import Names
from tests.system.rpcs import BATCHES, RPCS, Rpc
from tests.system.sick import Edit, sick
from tests.system.test_authorisation import CASES, RESTRICTED, Ask

pytestmark = pytest.mark.servers

NOTHING = Names.of("nothing0")
ACTOR = f"fuzz-{suffix()}"
ROWS_MAX = 1_000
BOUNDED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# What a caller may be told of a malformed request as a whole.
CALLERS_FAULT = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
}
# Programmes are checked by the catalogue, whose own tests fuzz them field by field (libs/catalogue/tests).
BY_ROW = tuple(rpc for rpc in BATCHES if rpc.name != "LoadProgrammes")


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_stored(platform: Platform) -> Iterator[None]:
    """Whatever these tests send, none of it may be found."""
    yield
    assert left_by(platform, ACTOR, f"person-{NOTHING.person}", f"person-{NOTHING.mentor}") == {}


@pytest.fixture
def actor() -> str:
    return ACTOR


def left_by(platform: Platform, *actors: str) -> dict[str, int]:
    """How many commands of theirs are stored, and how many operations recorded, by service; only where there are."""
    databases = Databases(platform.stack.addresses.mongo_uri)
    try:
        found = {
            name: sum(databases.steps_of(name, actor) + databases.operations_of(name, actor) for actor in actors)
            for name in SERVICES
        }
    finally:
        databases.close()
    return {name: many for name, many in found.items() if many}


def caller(rpc: Rpc, actor: str = ACTOR) -> tuple[str, Identity]:
    """A role that the RPC names, in the widest scope there is."""
    role = next((r for r in sorted(rpc.roles) if r not in RESTRICTED), sorted(rpc.roles)[0])
    mine = NOTHING.identity(role)
    return role, Identity(mine.roles, actor, mine.person, mine.providers, mine.bodies)


def well_formed(rpc: Rpc) -> Any:
    """A batch of one row without a fault, of an object that does not exist."""
    role, _ = caller(rpc)
    return CASES[rpc.name][0](Ask(NOTHING, NOTHING, role))


def rows_of(rpc: Rpc, request: Any) -> Any:
    assert rpc.batch_field is not None
    return getattr(request, rpc.batch_field)


def never_right(rpc: Rpc, request: Any) -> None:
    """Spoils what would otherwise be done if it happened to be right: "all of it", for an operator, takes no field."""
    if rpc in BY_ROW:
        for row in rows_of(rpc, request):
            row.command_id = "not a command id"
    elif "reason" in rpc.request.DESCRIPTOR.fields_by_name:
        request.reason += "\x00"
    elif rpc.name == "ExportPerson":
        request.person_id += "-"


@pytest.mark.parametrize("rpc", BY_ROW, ids=lambda rpc: rpc.name)
def test_every_violated_field_of_every_row_is_named(platform: Platform, rpc: Rpc, actor: str) -> None:
    _, who = caller(rpc, actor)
    template = well_formed(rpc)
    row = rows_of(rpc, template)[0]
    where = list(places(row))
    assert where

    @BOUNDED
    @given(data=st.data())
    def spoiled(data: st.DataObject) -> None:
        request = type(template)()
        request.CopyFrom(template)
        request.ClearField(rpc.batch_field)
        faults = []
        for _ in range(data.draw(st.integers(1, 4))):
            chosen = data.draw(st.lists(st.sampled_from(where), min_size=1, max_size=4, unique_by=lambda p: p.path))
            bad = type(row)()
            bad.CopyFrom(row)
            for place in chosen:
                place.spoil(bad, data.draw(place.bad))
            rows_of(rpc, request).append(bad)
            faults.append({place.path for place in chosen})
        outcomes = outcomes_of(platform.ask(request, who))
        assert len(outcomes) == len(faults)
        for outcome, paths in zip(outcomes, faults, strict=True):
            assert (outcome.status, outcome.code) == (REFUSED, "invalid-argument")
            named = {violation.field for violation in outcome.violations}
            assert paths <= named, f"{paths - named} not named among {named}"

    spoiled()


@pytest.mark.parametrize("rpc", [r for r in BY_ROW if r.roles & set(RESTRICTED)], ids=lambda rpc: rpc.name)
def test_a_malformed_row_does_not_spoil_its_neighbours(platform: Platform, rpc: Rpc) -> None:
    role = next(r for r in sorted(rpc.roles) if r in RESTRICTED)
    mine = NOTHING.identity(role)
    who = Identity(mine.roles, ACTOR, mine.person, mine.providers, mine.bodies)
    request: Any = CASES[rpc.name][0](Ask(NOTHING, NOTHING, role))
    alone = told(outcomes_of(platform.ask(request, who)))
    bad = type(request)()
    bad.CopyFrom(request)
    rows_of(rpc, bad)[0].command_id = "not a command id"
    bad.MergeFrom(request)
    assert told(outcomes_of(platform.ask(bad, who))) == ["invalid-argument", *alone]


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
def test_whatever_the_wire_can_carry_is_the_callers_fault_and_never_a_defect(
    platform: Platform, rpc: Rpc, actor: str
) -> None:
    _, who = caller(rpc, actor)

    @BOUNDED
    @given(fields=garbage(rpc.request.DESCRIPTOR))
    def sent(fields: dict[str, Any]) -> None:
        request: Any = rpc.request(**fields)
        never_right(rpc, request)
        try:
            platform.ask(request, who)
        except Refused as refused:
            told_of = refused.status
        else:
            told_of = grpc.StatusCode.INVALID_ARGUMENT
        assert told_of in CALLERS_FAULT

    sent()


@pytest.mark.parametrize("rpc", BATCHES, ids=lambda rpc: rpc.name)
def test_a_batch_of_none_and_one_of_too_many_rows_are_refused(platform: Platform, rpc: Rpc) -> None:
    _, who = caller(rpc)
    request = well_formed(rpc)
    empty, many = type(request)(), type(request)()
    empty.CopyFrom(request)
    empty.ClearField(rpc.batch_field)
    many.CopyFrom(empty)
    rows_of(rpc, many).extend([type(rows_of(rpc, request)[0])()] * (ROWS_MAX + 1))
    for batch in (empty, many):
        with pytest.raises(Refused) as refused:
            platform.ask(batch, who)
        assert refused.value.status == grpc.StatusCode.INVALID_ARGUMENT
        assert refused.value.fields == ("rows",)


@pytest.mark.parametrize("rpc", [next(r for r in BATCHES if s in r.services) for s in SERVICES], ids=lambda r: r.name)
def test_a_message_over_the_limit_is_refused_before_it_is_read(platform: Platform, rpc: Rpc) -> None:
    _, who = caller(rpc)
    request = well_formed(rpc)
    row = rows_of(rpc, request)[0]
    text = next(f.name for f in row.DESCRIPTOR.fields if f.type == f.TYPE_STRING)
    setattr(row, text, "x" * (5 * 1024 * 1024))
    with pytest.raises(Refused) as refused:
        platform.ask(request, who)
    assert refused.value.status == grpc.StatusCode.RESOURCE_EXHAUSTED


# ---- the checkers are checked

SICK = f"sick-{suffix()}"
RPC_NAMED = {rpc.name: rpc for rpc in RPCS}
# It crashes on two fields, keeps something of rows that it refuses, and notes a rebuild before it looks at the request.
BUGS: tuple[Edit, ...] = (
    (
        "enrolment/api/people.py",
        'all(email.strip().rpartition("@"))',
        'all([email.strip().split("@")[1], *email.strip().rpartition("@")])',
    ),
    (
        "enrolment/api/people.py",
        'found.id("person_id", request.person_id)',
        'found.id("person_id", request.person_id.encode("ascii").decode())',
    ),
    (
        "enrolment/api/people.py",
        "wishes = [_naming(row) for row in rows(request.rows)]",
        "wishes = [_naming(row) for row in rows(request.rows)]\n"
        f'        kept = [RegisterWish("", "{SICK}", "", "")]\n'
        "        await register_people(self._kernel, current_scope(), kept)",
    ),
    (
        "servicekit/operations/views.py",
        "        _check(request)\n",
        '        await self._record("rebuild", "", request.reason)\n        _check(request)\n',
    ),
)


@pytest.fixture(scope="module")
def clumsy(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with sick(platform, "enrolment", tmp_path_factory.mktemp("clumsy"), *BUGS) as running:
        yield running


def test_the_checker_turns_red_on_a_field_of_a_row_that_makes_the_service_crash(clumsy: Platform) -> None:
    with pytest.raises(Refused, match="INTERNAL"):
        test_every_violated_field_of_every_row_is_named(clumsy, RPC_NAMED["RegisterPeople"], SICK)


def test_the_checker_turns_red_on_a_field_of_a_query_that_makes_the_service_crash(clumsy: Platform) -> None:
    with pytest.raises(AssertionError, match="INTERNAL"):
        test_whatever_the_wire_can_carry_is_the_callers_fault_and_never_a_defect(clumsy, RPC_NAMED["GetPerson"], SICK)


def test_the_checker_turns_red_on_a_row_that_is_refused_and_stored(clumsy: Platform) -> None:
    actor = f"{SICK}-row"
    test_every_violated_field_of_every_row_is_named(clumsy, RPC_NAMED["NamePeople"], actor)
    assert left_by(clumsy, actor) == {"enrolment": 1}


def test_the_checker_turns_red_on_an_operators_call_that_is_refused_and_recorded(clumsy: Platform) -> None:
    actor = f"{SICK}-call"
    test_whatever_the_wire_can_carry_is_the_callers_fault_and_never_a_defect(clumsy, RPC_NAMED["RebuildViews"], actor)
    assert left_by(clumsy, actor)["enrolment"] >= 1
