"""The contracts are clean, what is generated is fresh, and each RPC and public event keeps the house rules."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from credence.accreditation.v1 import events_pb2 as accreditation_events
from credence.common.v1 import access_pb2
from credence.enrolment.v1 import events_pb2 as enrolment_events
from credence.enrolment.v1 import people_pb2
from credence.mentoring.v1 import events_pb2 as mentoring_events
from credence.mentoring.v1 import mentors_pb2
from tests.contracts.free_text import free_text
from tests.system.rpcs import FILES

ROOT = Path(__file__).parents[2]
BUF = Path(sys.executable).parent / "buf"
EVENT_FILES = (enrolment_events, accreditation_events, mentoring_events)


def methods() -> list[MethodDescriptor]:
    return [m for f in FILES for s in f.DESCRIPTOR.services_by_name.values() for m in s.methods]


def buf_lint(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BUF), "lint"], cwd=root, capture_output=True, text=True)


def test_buf_finds_nothing() -> None:
    linted = buf_lint(ROOT)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_buf_finds_what_is_planted(tmp_path: Path) -> None:
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    shutil.copytree(ROOT / "proto", tmp_path / "proto", ignore=shutil.ignore_patterns("*.py", "*.pyi"))
    with (tmp_path / "proto/credence/enrolment/v1/people.proto").open("a") as file:
        file.write("message planted { string CamelCase = 1; }\n")
    assert "planted" in buf_lint(tmp_path).stdout


def breaking(root: Path) -> subprocess.CompletedProcess[str]:
    against = ["--against", str(ROOT / "proto/released.binpb")]
    return subprocess.run([str(BUF), "breaking", *against], cwd=root, capture_output=True, text=True)


def test_nothing_of_the_released_contract_is_broken() -> None:
    compared = breaking(ROOT)
    assert compared.returncode == 0, compared.stdout + compared.stderr


@pytest.mark.parametrize(
    ("there", "planted"),
    [
        pytest.param("string placed_on = 1;", "string placed_on = 2;", id="a field renumbered"),
        pytest.param("string placed_on = 1;", "int64 placed_on = 1;", id="a field of another type"),
        pytest.param("string placed_on = 1;", "", id="a field removed"),
        pytest.param("message EnrolmentPlaced {", "message EnrolmentSeated {", id="an event renamed"),
    ],
)
def test_a_planted_break_of_the_contract_is_found(tmp_path: Path, there: str, planted: str) -> None:
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    shutil.copytree(ROOT / "proto", tmp_path / "proto", ignore=shutil.ignore_patterns("*.py", "*.pyi"))
    events = tmp_path / "proto/credence/enrolment/v1/events.proto"
    assert there in events.read_text()
    events.write_text(events.read_text().replace(there, planted))
    assert breaking(tmp_path).returncode == 100, "buf's code for findings"


def test_what_is_generated_is_fresh() -> None:
    command = [sys.executable, str(ROOT / "scripts/generate_protos.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_no_file_with_an_rpc_or_an_event_is_left_out_here() -> None:
    known = {module.DESCRIPTOR.name for module in (*FILES, *EVENT_FILES)}
    sources = {str(p.relative_to(ROOT / "proto")) for p in (ROOT / "proto/credence").rglob("*.proto")}
    assert {name for name in sources if "/common/" not in name} == known


@pytest.mark.parametrize("method", methods(), ids=lambda m: m.full_name)
def test_every_rpc_names_its_roles(method: MethodDescriptor) -> None:
    roles = list(method.GetOptions().Extensions[access_pb2.access].roles)
    assert roles
    assert access_pb2.ROLE_UNSPECIFIED not in roles


def events() -> Iterator[Descriptor]:
    for module in EVENT_FILES:
        yield from module.DESCRIPTOR.message_types_by_name.values()


@pytest.mark.parametrize("event", list(events()), ids=lambda e: e.full_name)
def test_a_public_event_has_no_field_for_free_text(event: Descriptor) -> None:
    assert not free_text(event)


def test_a_field_for_free_text_is_found_however_deep() -> None:
    # Messages that never are events: what a person wrote, and an organisation's words outside the catalogue.
    assert free_text(people_pb2.RegisterPeopleRequest.DESCRIPTOR) == [
        "credence.enrolment.v1.RegisterPerson.name",
        "credence.enrolment.v1.RegisterPerson.email",
    ]
    assert "credence.mentoring.v1.RegisterMentor.pen_portrait" in free_text(
        mentors_pb2.RegisterMentorsRequest.DESCRIPTOR
    )
    assert FieldDescriptor.TYPE_BYTES not in {f.type for e in events() for f in e.fields}
