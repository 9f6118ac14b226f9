"""The service's page says what the code says: RPCs with their roles, stored events, refusal codes."""

from pathlib import Path

from credence.enrolment.v1 import attendance_pb2, catalogue_pb2, cohorts_pb2, enrolments_pb2, people_pb2
from enrolment.main import PARTS
from servicekit.readme import check_files, check_refusal_codes, check_rpcs, check_stored_types

SERVICE = Path(__file__).parents[1]
README = (SERVICE / "README.md").read_text()
CONTRACTS = (attendance_pb2, catalogue_pb2, cohorts_pb2, enrolments_pb2, people_pb2)


def test_every_rpc_is_on_the_page_and_every_commands_roles_are_the_contracts() -> None:
    check_rpcs(README, CONTRACTS)


def test_every_stored_event_is_on_the_page() -> None:
    check_stored_types(README, PARTS.deciders)


def test_every_refusal_code_is_on_the_page() -> None:
    check_refusal_codes(README, SERVICE / "src", at_least=21)


def test_every_file_the_page_names_is_there() -> None:
    check_files(README, SERVICE / "src" / "enrolment")
