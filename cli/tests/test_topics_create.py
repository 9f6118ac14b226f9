"""How many copies of a topic are made, on brokers that only answer: the real Kafka is in `embedded/test_topics.py`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cli.tests.running import Home
from credence_cli import topics
from credence_cli.exits import Exit
from credence_cli.topics import TopicsError

INVALID_REPLICATION_FACTOR, REQUEST_TIMED_OUT = 38, 7
DECLARED = """\
version: 1
defaults: {partitions: 2, replication_factor: 3, config: {min.insync.replicas: "2"}}
topics: {a.v1: {}, b.v1: {replication_factor: 1}}
"""


@dataclass
class Brokers:
    """What the admin client is to `topics`. `error`: the code and words that it answers a creation with."""

    count: int
    before_3_7: bool = False
    error: tuple[int, str] | None = None
    made: dict[str, Any] = field(default_factory=dict)

    def describe_cluster(self) -> dict[str, Any]:
        if self.before_3_7:
            raise KeyError("endpoint_type")
        return {"brokers": [{"broker_id": n, "is_fenced": n > 0} for n in range(self.count)]}

    def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "error_code": 0,
                "is_internal": False,
                "partitions": [
                    {"partition_index": n, "replica_nodes": [0], "leader_id": 0}
                    for n in range(self.made[name]["num_partitions"])
                ],
            }
            for name in names
            if name in self.made
        ]

    def describe_configs(self, resources: list[Any], config_filter: str) -> dict[str, Any]:
        found = {each.name: self.made[each.name]["configs"] for each in resources}
        return {"topic": {name: {key: {"value": value} for key, value in of.items()} for name, of in found.items()}}

    def create_topics(self, missing: dict[str, Any], raise_errors: bool) -> dict[str, Any]:
        code, message = self.error or (0, None)
        if not code:
            self.made |= missing
        return {"topics": [{"name": name, "error_code": code, "error_message": message} for name in missing]}

    def wait_for_topics(self, names: list[str]) -> None:
        return None


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    file = tmp_path / "topics.yml"
    file.write_text(DECLARED)
    return file


def speaking_to(brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def admin(bootstrap: str, wait_seconds: float) -> Iterator[Any]:
        yield brokers

    monkeypatch.setattr(topics, "_admin", admin)


def copies(brokers: Brokers) -> dict[str, int]:
    return {name: made["replication_factor"] for name, made in brokers.made.items()}


@pytest.mark.parametrize(
    ("count", "given", "made", "insync", "fewer"),
    [
        (3, None, {"a.v1": 3, "b.v1": 1}, "2", {}),
        (9, None, {"a.v1": 3, "b.v1": 1}, "2", {}),
        (2, None, {"a.v1": 2, "b.v1": 1}, "2", {"a.v1": 1}),
        (1, None, {"a.v1": 1, "b.v1": 1}, "1", {"a.v1": 2}),
        (1, 1, {"a.v1": 1, "b.v1": 1}, "1", {}),
        (9, 5, {"a.v1": 5, "b.v1": 5}, "2", {}),
    ],
)
def test_there_are_as_many_copies_as_declared_but_no_more_than_brokers(
    count: int,
    given: int | None,
    made: dict[str, int],
    insync: str,
    fewer: dict[str, int],
    declared: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    brokers = Brokers(count)
    speaking_to(brokers, monkeypatch)
    created = topics.create("any", declared, replication_factor=given)
    assert copies(brokers) == made == {topic.name: topic.copies for topic in created}
    assert brokers.made["a.v1"]["configs"]["min.insync.replicas"] == insync
    assert {topic.name: topic.copies_missing for topic in created if topic.copies_missing} == fewer


def test_a_topic_that_is_there_keeps_the_copies_it_has(declared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speaking_to(Brokers(1), monkeypatch)
    topics.create("any", declared)
    again = topics.create("any", declared)
    assert [(topic.created, topic.copies, topic.copies_missing, topic.drift) for topic in again] == [
        (False, 1, 0, {})
    ] * 2


def test_brokers_that_cannot_be_counted_get_what_is_declared(declared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brokers = Brokers(1, before_3_7=True)
    speaking_to(brokers, monkeypatch)
    topics.create("any", declared)
    assert copies(brokers) == {"a.v1": 3, "b.v1": 1}


def test_too_many_copies_are_refused_with_the_option_that_mends_it(
    declared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "Unable to replicate the partition 3 time(s): only 1 broker(s) are registered."
    speaking_to(Brokers(1, error=(INVALID_REPLICATION_FACTOR, said)), monkeypatch)
    with pytest.raises(TopicsError, match=r"Kafka refused to create a\.v1: Unable to replicate") as failed:
        topics.create("any", declared, replication_factor=3)
    assert str(failed.value).endswith(
        "are registered. Give --replication-factor no more than there are brokers, or leave it out."
    )
    assert failed.value.exit_code is Exit.REFUSED


def test_a_refusal_that_passes_may_be_tried_again(declared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speaking_to(Brokers(1, error=(REQUEST_TIMED_OUT, "not in time")), monkeypatch)
    with pytest.raises(TopicsError) as failed:
        topics.create("any", declared)
    assert failed.value.exit_code is Exit.UNAVAILABLE


def test_the_command_says_where_there_are_too_few_brokers(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    speaking_to(Brokers(1), monkeypatch)
    names = [f"credence.{service}.v1" for service in ("enrolment", "accreditation", "mentoring")]
    ran = home.call("topics", "create")
    assert ran.err.splitlines() == [
        f"{name}: 1 of the 3 declared copies, for there are no more brokers." for name in names
    ]
    speaking_to(Brokers(1), monkeypatch)
    assert [topic["replication"] for topic in home.ask("topics", "create")] == [1, 1, 1]
    assert home.call("topics", "create", "--replication-factor", "1").err == ""
    assert (
        "Invalid value for '--replication-factor'"
        in home.call("topics", "create", "--replication-factor", "0", exits=2).err
    )
