"""What running it again cannot heal does not end with the exit code that says to run it again. No server needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.tests.running import Home
from credence_cli import topics
from credence_cli.exits import Exit
from credence_cli.topics import DeclaredTopic, DescribedTopic, TopicsError


def test_a_part_that_is_none_is_a_usage_error(home: Home) -> None:
    told = home.call("stack", "logs", "billing", exits=2).told
    assert told == "There is no part named billing; the parts are kafka, mongo, enrolment, accreditation, mentoring."


@pytest.mark.parametrize("words", [("topics", "create", "--wait", "0"), ("topics", "describe"), ("lag",)])
@pytest.mark.parametrize("address", ["kafka", "kafka:port", "127.0.0.1:99999"])
def test_a_bootstrap_that_is_no_address_is_a_usage_error(home: Home, words: tuple[str, ...], address: str) -> None:
    told = home.call(*words, "--bootstrap", address, exits=2).told
    assert told == f"{address!r} is not an address; write host:port."


def test_a_java_that_is_none_is_a_usage_error(home: Home) -> None:
    told = home.call("stack", "up", "--port", "0", exits=2, CREDENCE_JAVA="/nonexistent/java").told
    assert told.startswith("CREDENCE_JAVA names /nonexistent/java, which is not a Java runtime")


@pytest.mark.parametrize("content", ["topics: [", "version: 2", None], ids=["not YAML", "not valid", "not there"])
def test_a_topics_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "topics.yml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(TopicsError) as failed:
        topics.read_topics(file)
    assert failed.value.exit_code is Exit.USAGE


def test_another_partition_count_than_declared_is_a_refusal() -> None:
    declared = [DeclaredTopic("a.v1", partitions=4, replication_factor=1, config={})]
    existing = {"a.v1": DescribedTopic("a.v1", partitions=2, replication_factor=1, without_leader=(), config={})}
    with pytest.raises(TopicsError, match=r"a\.v1 has 2 and 4 are declared") as failed:
        topics._refuse_other_partition_counts(declared, existing)
    assert failed.value.exit_code is Exit.REFUSED


def test_kafka_that_is_away_may_come_back(home: Home) -> None:
    told = home.call("topics", "create", "--bootstrap", "127.0.0.1:1", "--wait", "0", exits=6).told
    assert "is it started there?" in told
