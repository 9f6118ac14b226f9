"""The rules of who may import whom hold, and each of them catches what is planted against it."""

from __future__ import annotations

import re
import tomllib

import pytest

from .conftest import ROOT, Copy

# By contract: what is planted (module, its one line) and what the tool must say of it.
PLANTS = {
    "rooms": [
        ("enrolment.domain.planted_up", "import enrolment.views.enrolments", "enrolment.domain.planted_up ->"),
        ("enrolment.domain.planted_across", "import enrolment.application", "enrolment.domain.planted_across ->"),
        ("mentoring.views.planted_up", "import mentoring.api.mentors", "mentoring.views.planted_up ->"),
        ("mentoring.application.planted_up", "import mentoring.api.mentors", "mentoring.application.planted_up ->"),
        ("accreditation.api.planted_up", "import accreditation.main", "accreditation.api.planted_up ->"),
        ("accreditation.helpers", "", "- accreditation.helpers"),
    ],
    "services-apart": [
        ("enrolment.application.planted", "import mentoring.views.mentors", "enrolment.application.planted ->"),
        ("mentoring.api.planted", "import accreditation.domain.rules", "mentoring.api.planted ->"),
    ],
    "domain-pure": [
        ("enrolment.domain.planted_kit", "import servicekit.scope", "enrolment.domain.planted_kit -> servicekit"),
        ("enrolment.domain.planted_clock", "import time", "enrolment.domain.planted_clock -> time"),
        ("mentoring.domain.planted_store", "import eventcore.store", "planted_store -> eventcore.store"),
        ("mentoring.domain.planted_wire", "import credence.common.v1.outcome_pb2", "planted_wire -> credence"),
        ("accreditation.domain.planted_library", "import yaml", "planted_library -> yaml"),
    ],
    "scope-given": [
        ("enrolment.application.planted_call", "import servicekit.call", "enrolment.application.planted_call ->"),
        ("mentoring.views.planted_grpc", "import grpc", "mentoring.views.planted_grpc ->"),
    ],
    "mongo-driver": [
        ("servicekit.planted_motor", "import motor.motor_asyncio", "servicekit.planted_motor -> motor"),
        ("eventcore.planted_pymongo", "import pymongo", "eventcore.planted_pymongo -> pymongo"),
        ("credence_cli.planted_bson", "import bson", "credence_cli.planted_bson -> bson"),
    ],
    "kafka-client": [
        ("servicekit.planted_faststream", "import faststream", "servicekit.planted_faststream -> faststream"),
        ("eventcore.planted_aiokafka", "import aiokafka", "eventcore.planted_aiokafka -> aiokafka"),
    ],
    "kafka-admin": [
        ("servicekit.planted_admin", "import kafka.admin", "servicekit.planted_admin -> kafka"),
        ("credence_cli.planted_admin", "import kafka", "credence_cli.planted_admin -> kafka"),
    ],
    "kernel-below": [
        ("eventcore.planted_service", "import mentoring", "eventcore.planted_service -> mentoring"),
        ("eventcore.planted_contract", "import credence.common.v1.outcome_pb2", "planted_contract -> credence"),
        ("eventcore.planted_kit", "import servicekit.scope", "eventcore.planted_kit -> servicekit"),
    ],
    "kits-below": [
        ("servicekit.planted_service", "import enrolment.settings", "servicekit.planted_service -> enrolment"),
        ("catalogue.planted_command", "import credence_cli.exits", "catalogue.planted_command -> credence_cli"),
    ],
    "client-outside": [
        ("credence_cli.planted_service", "import enrolment.settings", "credence_cli.planted_service -> enrolment"),
        ("credence_cli.planted_kit", "import servicekit.scope", "credence_cli.planted_kit -> servicekit"),
        ("credence_cli.planted_kernel", "import eventcore.event", "credence_cli.planted_kernel -> eventcore"),
    ],
}
CONTRACTS = {
    contract["id"]: contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
LINT = ("lint-imports", "--no-logo", "--no-cache")


def broken(told: str) -> dict[str, str]:
    """What was said of each broken contract, by its name."""
    parts = re.split(r"\n(.+)\n-{4,}\n", told.partition("Broken contracts")[2])
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module")
def planted(copy: Copy) -> dict[str, str]:
    """One run over the copy with everything planted: each rule must find its own among the others."""
    for plants in PLANTS.values():
        for module, line, _ in plants:
            copy.plant(module, line)
    return broken(copy.run(*LINT).stdout)


def test_the_sources_keep_every_contract(copy: Copy) -> None:
    # Before anything is planted: pytest runs a file from top to bottom.
    ran = copy.run(*LINT)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{len(CONTRACTS)} kept, 0 broken" in ran.stdout


def test_every_contract_has_something_planted_against_it() -> None:
    assert PLANTS.keys() == CONTRACTS.keys()


@pytest.mark.parametrize(
    ("contract", "said"),
    [(name, said) for name, plants in PLANTS.items() for _, _, said in plants],
)
def test_a_planted_import_is_caught_by_its_contract(planted: dict[str, str], contract: str, said: str) -> None:
    assert said in planted[CONTRACTS[contract]]
