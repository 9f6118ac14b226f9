"""What `credence held show` says of the way on, by what holds the stream up; `credence person erase` of one."""

from __future__ import annotations

from typing import Any

from credence.operations.v1 import held_pb2 as pb
from credence.operations.v1 import privacy_pb2
from credence_cli.commands.held import KINDS, next_steps
from credence_cli.commands.person import left_to_do

ENTRY = {"topic": "credence.enrolment.v1", "partition": 3, "offset": 42, "key": "person-a"}
OWN = {"topic": "appends", "partition": 0, "offset": 7, "key": "person-a"}


def steps(kind: str, entry: dict[str, Any], *, stream: str = "person-a", consumer: str = "mentoring.facts") -> str:
    return "\n".join(next_steps(pb.HeldStream(consumer=consumer, stream=stream, kind=KINDS[kind], version=7), [entry]))


def test_a_gap_is_filled_by_publishing_again() -> None:
    assert "credence republish --service enrolment --stream person-a" in steps("gap", ENTRY)
    assert "discard" not in steps("gap", ENTRY)


def test_poison_may_be_damaged_bytes_or_want_another_release() -> None:
    said = steps("poison", ENTRY)
    assert "credence republish --service enrolment --stream person-a" in said
    assert "credence held redrive --consumer mentoring.facts --stream person-a" in said
    assert "credence held discard mentoring.facts person-a 7" in said


def test_what_a_service_stored_itself_is_not_mended_by_publishing_it() -> None:
    for kind in KINDS:
        assert "republish" not in steps(kind, OWN, consumer="enrolment.own")
    assert "credence views rebuild enrolment" in steps("gap", OWN, consumer="enrolment.own")


def test_of_a_record_without_a_stream_that_of_its_key_is_published_first() -> None:
    first, *_, last = steps("poison", ENTRY, stream="credence.enrolment.v1[3]@42.0badcafe").splitlines()
    assert "credence republish --service enrolment --stream person-a" in first
    assert "credence held discard mentoring.facts 'credence.enrolment.v1[3]@42.0badcafe' 7" in last


def test_an_erasure_that_a_held_stream_keeps_back_names_it_and_what_mends_it() -> None:
    behind = [privacy_pb2.Erasure(person_id=p) for p in "ab"]
    assert left_to_do(behind, 3) == "has yet to destroy the keys of 2 of 3"
    behind[1].held_by, behind[1].stream = "mentoring.facts", "person-b"
    assert "person-b is held and does not go on by itself" in left_to_do(behind, 3)
    assert "credence held redrive --consumer mentoring.facts --stream person-b" in left_to_do(behind, 3)
