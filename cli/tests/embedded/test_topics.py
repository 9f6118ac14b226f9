"""Topics as declared, on a real Kafka."""

from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from kafka.errors import CoordinatorLoadInProgressError, GroupAuthorizationFailedError, KafkaError

from credence_cli import topics
from credence_cli.embedded.home import project_root
from credence_cli.embedded.ports import free_port
from credence_cli.exits import Exit
from credence_cli.topics import TopicsError
from tests.servers import Servers

DECLARED = """\
version: 1
defaults: {{partitions: 2, replication_factor: 3, config: {{retention.ms: "-1", min.insync.replicas: "2"}}}}
topics: {{{topics}}}
"""


def written(folder: Path, declared: str) -> Path:
    file = folder / "topics.yml"
    file.write_text(DECLARED.format(topics=declared))
    return file


def test_the_projects_file_declares_one_topic_a_service_kept_for_ever() -> None:
    root = project_root()
    assert root is not None
    declared = {topic.name: topic for topic in topics.read_topics(root / "deploy" / "topics.yml")}
    assert set(declared) == {f"credence.{name}.v1" for name in ("enrolment", "accreditation", "mentoring")}
    for topic in declared.values():
        assert topic.partitions == 6
        assert topic.config["retention.ms"] == topic.config["retention.bytes"] == "-1"
        assert int(topic.config["max.message.bytes"]) == 2**20


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("version: 2\ndefaults: {partitions: 1, replication_factor: 1}\ntopics: {a: {}}", "version"),
        ("version: 1\ndefaults: {partitions: 0, replication_factor: 1}\ntopics: {a: {}}", "defaults.partitions"),
        ("version: 1\ndefaults: {partitions: 1, replication_factor: 1}\ntopics: {a: {shards: 2}}", "topics.a.shards"),
        ("version: 1\ndefaults: {partitions: 1, replication_factor: 1}\ntopics: {}", "topics"),
        ("topics: [", "is not YAML"),
    ],
)
def test_a_fault_of_the_file_is_named(tmp_path: Path, content: str, fault: str) -> None:
    file = tmp_path / "topics.yml"
    file.write_text(content)
    with pytest.raises(TopicsError, match=fault):
        topics.read_topics(file)


def test_kafka_that_is_not_there_is_told_within_the_wait(tmp_path: Path) -> None:
    with pytest.raises(TopicsError, match=r"Kafka at .* did not answer within 1 s; is it started there\?"):
        topics.create(f"127.0.0.1:{free_port()}", written(tmp_path, "a.v1: {}"), wait_seconds=1)


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (
            CoordinatorLoadInProgressError("g is read."),
            "g is read. It passes, as after a start: try again in a moment.",
            Exit.UNAVAILABLE,
        ),
        (GroupAuthorizationFailedError("g is not yours"), "g is not yours.", Exit.REFUSED),
    ],
)
def test_an_error_of_kafka_says_whether_to_try_again(
    monkeypatch: pytest.MonkeyPatch, error: KafkaError, said: str, code: Exit
) -> None:
    class Refusing:
        def __init__(self, **_: object) -> None: ...

        def describe_groups(self, _: object) -> None:
            raise error

        def close(self) -> None: ...

    monkeypatch.setattr(topics, "_accepts", lambda _: True)
    monkeypatch.setattr("kafka.admin.KafkaAdminClient", Refusing)
    with pytest.raises(TopicsError) as failed:
        topics.lag("a:9092", ["g"])
    assert str(failed.value).endswith(said)
    assert failed.value.exit_code is code


@pytest.mark.servers
def test_topics_are_created_once_and_a_second_time_is_harmless(servers: Servers, tmp_path: Path) -> None:
    file = written(tmp_path, "once.v1: {}, wide.v1: {partitions: 5}")
    first = topics.create(servers.kafka_bootstrap, file, replication_factor=1)
    assert [(topic.name, topic.partitions, topic.created) for topic in first] == [
        ("once.v1", 2, True),
        ("wide.v1", 5, True),
    ]
    again = topics.create(servers.kafka_bootstrap, file, replication_factor=1)
    assert [(topic.created, topic.drift) for topic in again] == [(False, {}), (False, {})]
    found = {topic.name: topic for topic in topics.describe(servers.kafka_bootstrap, ["once.v1", "wide.v1", "none.v1"])}
    assert {name: topic.partitions for name, topic in found.items()} == {"once.v1": 2, "wide.v1": 5}
    assert found["once.v1"].replication_factor == 1
    assert found["once.v1"].without_leader == ()
    assert found["once.v1"].config["retention.ms"] == "-1"
    assert found["once.v1"].config["min.insync.replicas"] == "1"  # lowered with the replication factor


@pytest.mark.servers
def test_another_partition_count_is_an_error_and_changes_nothing(servers: Servers, tmp_path: Path) -> None:
    topics.create(servers.kafka_bootstrap, written(tmp_path, "fixed.v1: {}"), replication_factor=1)
    with pytest.raises(
        TopicsError, match=r"Partition counts do not change in place.*fixed\.v1 has 2 and 4 are declared"
    ):
        topics.create(
            servers.kafka_bootstrap,
            written(tmp_path, "fixed.v1: {partitions: 4}, fresh.v1: {}"),
            replication_factor=1,
        )
    assert [topic.name for topic in topics.describe(servers.kafka_bootstrap, ["fixed.v1", "fresh.v1"])] == ["fixed.v1"]


@pytest.mark.servers
def test_other_settings_of_a_topic_that_exists_come_back_as_drift(servers: Servers, tmp_path: Path) -> None:
    topics.create(
        servers.kafka_bootstrap,
        written(tmp_path, 'drifted.v1: {config: {retention.ms: "1000"}}'),
        replication_factor=1,
    )
    (topic,) = topics.create(servers.kafka_bootstrap, written(tmp_path, "drifted.v1: {}"), replication_factor=1)
    assert topic.drift == {"retention.ms": ("-1", "1000")}


@pytest.mark.servers
def test_more_copies_than_brokers_is_refused_by_name(servers: Servers, tmp_path: Path) -> None:
    with pytest.raises(
        TopicsError, match=r"Kafka refused to create copied\.v1: .*replicat.* Give --replication-factor"
    ):
        topics.create(servers.kafka_bootstrap, written(tmp_path, "copied.v1: {}"), replication_factor=3)


@pytest.mark.servers
def test_without_a_number_there_are_no_more_copies_than_brokers(servers: Servers, tmp_path: Path) -> None:
    (topic,) = topics.create(servers.kafka_bootstrap, written(tmp_path, "fitted.v1: {}"))
    assert (topic.copies, topic.copies_missing) == (1, 2)
    (found,) = topics.describe(servers.kafka_bootstrap, ["fitted.v1"])
    assert (found.replication_factor, found.config["min.insync.replicas"]) == (1, "1")


@pytest.mark.servers
async def test_lag_counts_what_is_not_committed_and_says_where_nothing_is_yet(servers: Servers, tmp_path: Path) -> None:
    topics.create(servers.kafka_bootstrap, written(tmp_path, "read.v1: {}"), replication_factor=1)
    producer = AIOKafkaProducer(bootstrap_servers=servers.kafka_bootstrap)
    await producer.start()
    for number in range(10):
        await producer.send_and_wait("read.v1", str(number).encode(), partition=0)
    await producer.send_and_wait("read.v1", b"other", partition=1)
    await producer.stop()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers.kafka_bootstrap, group_id="sample.facts", enable_auto_commit=False
    )
    await consumer.start()
    consumer.assign([TopicPartition("read.v1", 0)])
    await consumer.commit({TopicPartition("read.v1", 0): 7})
    await consumer.stop()

    groups = {group.group: group for group in topics.lag(servers.kafka_bootstrap, ["sample.facts", "unheard.of"])}
    first, second = groups["sample.facts"].partitions
    assert (first.partition, first.latest, first.committed, first.events, str(first)) == (0, 10, 7, 3, "3")
    assert (second.partition, second.latest, second.committed, second.events, str(second)) == (
        1,
        1,
        None,
        None,
        "none yet",
    )
    assert groups["unheard.of"].partitions == ()
    assert groups["unheard.of"].state == "Dead"
    assert "sample.facts" in {group.group for group in topics.lag(servers.kafka_bootstrap)}
