"""Public events are read by others, of whatever release: each has its golden files, added once and never edited."""

from pathlib import Path
from typing import Final

import pytest

from credence.enrolment.v1 import events_pb2
from enrolment.main import PARTS
from servicekit.goldens import PublicGoldens
from services.enrolment.tests.domain.samples import GOLDENS as STORED

STREAMS: Final = {
    "person": "person-learner-01",
    "programme": "programme-course--1",
    "cohort": "cohort-c1",
    "pool": "pool-c1",
    "enrolment": "enrolment-c1--learner-01",
}
GOLDENS: Final = PublicGoldens(
    Path(__file__).parent / "golden",
    PARTS,
    events_pb2,
    STORED.samples,
    STREAMS,
    withdrawn=frozenset({"credence.enrolment.v1.Session.title", "credence.enrolment.v1.Session.place"}),
)


@pytest.mark.parametrize("name", GOLDENS.messages())
def test_a_message_is_told_as_its_golden_file_says(name: str) -> None:
    GOLDENS.check_told(name, GOLDENS.messages()[name])


@pytest.mark.parametrize("path", GOLDENS.files(), ids=lambda path: path.stem)
def test_what_was_told_once_is_read_as_it_was_meant(path: Path) -> None:
    GOLDENS.check_read(path)


def test_every_message_and_every_field_that_may_come_on_the_topic_is_pinned() -> None:
    assert GOLDENS.faults() == []
