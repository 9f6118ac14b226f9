"""The service's page says what the code says: RPCs with their roles, stored events, refusal codes."""

import re
from pathlib import Path

from credence.enrolment.v1 import attendance_pb2, catalogue_pb2, cohorts_pb2, enrolments_pb2, people_pb2
from enrolment.main import PARTS
from servicekit.access import check_every_rpc_declares_access

SERVICE = Path(__file__).parents[1]
README = (SERVICE / "README.md").read_text()
CONTRACTS = (attendance_pb2, catalogue_pb2, cohorts_pb2, enrolments_pb2, people_pb2)
SERVICES = [each.full_name for pb2 in CONTRACTS for each in pb2.DESCRIPTOR.services_by_name.values()]
ROLES = {rpc.rpartition("/")[2]: roles for rpc, roles in check_every_rpc_declares_access(SERVICES).items()}


def test_every_rpc_is_on_the_page_and_every_commands_roles_are_the_contracts() -> None:
    assert [rpc for rpc in ROLES if f"`{rpc}`" not in README] == []
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", README, re.MULTILINE)
    on_the_page = {rpc: {re.sub(r" \(.*\)", "", role) for role in roles.split(", ")} for rpc, roles in rows}
    assert on_the_page == {rpc: set(ROLES[rpc]) for rpc in on_the_page}
    queries = ("Get", "List")
    # Registers have a table of their own below the commands'.
    assert on_the_page.keys() == {rpc for rpc in ROLES if not rpc.startswith(queries)}


def test_every_stored_event_is_on_the_page() -> None:
    stored = [event.stored_type for decider in PARTS.deciders for event in decider.events]
    short = {name.partition(".")[2] for name in re.findall(r"`([a-z]*\.[a-z.0-9-]+)`", README)}
    assert [name for name in stored if name.partition(".")[2] not in short] == []


def test_every_refusal_code_is_on_the_page() -> None:
    source = "\n".join(path.read_text() for path in (SERVICE / "src").rglob("*.py"))
    codes = set(re.findall(r"Refusal\(\s*\"([a-z-]+)\"", source))
    assert len(codes) > 20
    assert sorted(code for code in codes if f"`{code}`" not in README) == []


def test_every_file_the_page_names_is_there() -> None:
    for name in re.findall(r"`((?:domain|application|views|api)/[a-z]+\.py)`", README):
        assert (SERVICE / "src" / "enrolment" / name).exists(), name
