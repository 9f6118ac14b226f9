"""The topics on Kafka: made as declared in `deploy/topics.yml`, described, and how far each group is behind.

Through kafka-python's admin client, whose results are plain dictionaries and whose errors often come back per topic
instead of being raised: this module checks each and turns them into typed values and one-sentence errors.

kafka-python is imported where it is used: it takes as long as all the rest of the command, and most commands never
speak to Kafka.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from credence_cli.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from kafka import TopicPartition
    from kafka.admin import KafkaAdminClient

_BOOTSTRAP_SECONDS = 10.0
_MIN_INSYNC = "min.insync.replicas"
_PORT_HIGHEST = 65_535


class TopicsError(CommandFailed):
    """Something the operator can act on: one sentence that says what is wrong and what to do next.

    Running it again may help, unless its exit code says something else.
    """

    def __init__(self, message: str, exit_code: Exit = Exit.UNAVAILABLE) -> None:
        super().__init__(exit_code, message)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TopicDefaults(_Strict):
    """What a topic gets unless it says otherwise; `config` values are strings, as Kafka keeps them."""

    partitions: int = Field(ge=1)
    replication_factor: int = Field(ge=1)
    config: dict[str, str] = {}


class TopicOverrides(_Strict):
    partitions: int | None = Field(default=None, ge=1)
    replication_factor: int | None = Field(default=None, ge=1)
    config: dict[str, str] = {}


class TopicsFile(_Strict):
    """The whole of `deploy/topics.yml`."""

    version: Literal[1]
    defaults: TopicDefaults
    topics: dict[str, TopicOverrides] = Field(min_length=1)


@dataclass(frozen=True)
class DeclaredTopic:
    """One topic with the defaults applied."""

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]


@dataclass(frozen=True)
class CreatedTopic:
    """What `create` found or made. `drift`: setting -> (declared, actual) of a topic that existed before.

    `copies` is how many it has; `copies_missing` how many fewer were made than declared, for want of brokers.
    """

    name: str
    partitions: int
    created: bool
    drift: Mapping[str, tuple[str, str]]
    copies: int
    copies_missing: int


@dataclass(frozen=True)
class DescribedTopic:
    """A topic as the cluster has it; `without_leader` are the partitions that take no records now."""

    name: str
    partitions: int
    replication_factor: int
    without_leader: tuple[int, ...]
    config: Mapping[str, str]


@dataclass(frozen=True)
class PartitionLag:
    """`latest` is the next offset to be written; `committed` the next to be read, None when none was committed yet."""

    topic: str
    partition: int
    latest: int
    committed: int | None

    @property
    def events(self) -> int | None:
        """How many records the group has not committed; None when it has committed none yet."""
        return None if self.committed is None else max(self.latest - self.committed, 0)

    def __str__(self) -> str:
        return "none yet" if self.events is None else str(self.events)


@dataclass(frozen=True)
class GroupLag:
    """One consumer group: its state (`Stable`, `Empty`, `Dead` when unknown) and every partition it reads."""

    group: str
    state: str
    members: int
    partitions: tuple[PartitionLag, ...]


def read_topics(file: Path) -> tuple[DeclaredTopic, ...]:
    """The declared topics, in the file's order. Raises TopicsError naming every fault of the file."""
    try:
        content = TopicsFile.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise TopicsError(f"The topics file {file} cannot be read: {error.strerror}.", Exit.USAGE) from error
    except yaml.YAMLError as error:
        raise TopicsError(f"The topics file {file} is not YAML: {error}", Exit.USAGE) from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise TopicsError(f"The topics file {file} is not valid: {faults}.", Exit.USAGE) from error
    defaults = content.defaults
    return tuple(
        DeclaredTopic(
            name=name,
            partitions=topic.partitions or defaults.partitions,
            replication_factor=topic.replication_factor or defaults.replication_factor,
            config={**defaults.config, **topic.config},
        )
        for name, topic in content.topics.items()
    )


def create(
    bootstrap: str, file: Path, wait_seconds: float = _BOOTSTRAP_SECONDS, replication_factor: int | None = None
) -> tuple[CreatedTopic, ...]:
    """Make every declared topic that is not there, wait until each has its leaders, and report all of them.

    `wait_seconds` bounds the wait for Kafka. `replication_factor` replaces the declared one; without it there are as
    many copies as declared, but no more than brokers. Nothing that exists is changed: another partition count raises
    TopicsError, other settings come back as drift.
    """
    written = read_topics(file)
    with _admin(bootstrap, wait_seconds) as admin:
        brokers = _brokers(admin) if replication_factor is None else None
        declared = [
            _replicated(topic, replication_factor or min(topic.replication_factor, brokers or topic.replication_factor))
            for topic in written
        ]
        existing = _described(admin, [topic.name for topic in declared])
        _refuse_other_partition_counts(declared, existing)
        missing = {topic.name: _creation(topic) for topic in declared if topic.name not in existing}
        if missing:
            _check_created(admin.create_topics(missing, raise_errors=False))
            admin.wait_for_topics(list(missing))
            # Another creator may have come first, with another count.
            _refuse_other_partition_counts(declared, _described(admin, list(missing)))
        return tuple(
            CreatedTopic(
                name=topic.name,
                partitions=topic.partitions,
                created=topic.name in missing,
                drift=_drift(topic, existing[topic.name].config) if topic.name in existing else {},
                copies=existing.get(topic.name, topic).replication_factor,
                copies_missing=0
                if topic.name in existing or replication_factor
                else as_written.replication_factor - topic.replication_factor,
            )
            for topic, as_written in zip(declared, written, strict=True)
        )


def describe(bootstrap: str, names: Sequence[str] | None = None) -> tuple[DescribedTopic, ...]:
    """The named topics that exist, or all but Kafka's own, by name."""
    with _admin(bootstrap, _BOOTSTRAP_SECONDS) as admin:
        found = _described(admin, list(names) if names is not None else None)
        return tuple(found[name] for name in sorted(found))


def lag(bootstrap: str, groups: Sequence[str] | None = None) -> tuple[GroupLag, ...]:
    """How far each group (all consumer groups unless named) is behind, by partition of every topic it reads.

    A topic counts as read when the group has committed an offset in it or a member is assigned to it. Each such topic
    is shown whole: a partition without a commit would otherwise be missing from the sum unnoticed.
    """
    from kafka.admin import OffsetSpec

    with _admin(bootstrap, _BOOTSTRAP_SECONDS) as admin:
        names = sorted(set(groups)) if groups is not None else _consumer_groups(admin)
        if not names:
            return ()
        described = admin.describe_groups(names)
        committed = admin.list_group_offsets(dict.fromkeys(names))
        read = {name: _topics_read(described[name], committed[name]) for name in names}
        partitions = _partitions(admin, sorted(set().union(*read.values())))
        # Asked after the commits: an offset committed in between would show as a lag below zero.
        latest = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST)) if partitions else {}
        return tuple(
            GroupLag(
                group=name,
                state=described[name]["group_state"],
                members=len(described[name]["members"]),
                partitions=tuple(
                    PartitionLag(at.topic, at.partition, latest[at].offset, _offset(committed[name].get(at)))
                    for at in partitions
                    if at.topic in read[name]
                ),
            )
            for name in names
        )


@contextmanager
def _admin(bootstrap: str, wait_seconds: float) -> Iterator[KafkaAdminClient]:
    from kafka.admin import KafkaAdminClient
    from kafka.errors import KafkaError

    deadline = time.monotonic() + wait_seconds
    # The client logs every refused connection; knock first, so that waiting for a starting broker is quiet.
    while not _accepts(bootstrap):
        if time.monotonic() > deadline:
            raise TopicsError(f"Kafka at {bootstrap} did not answer within {wait_seconds:.0f} s; is it started there?")
        time.sleep(0.1)
    try:
        left = max(deadline - time.monotonic(), 1.0)
        admin = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=int(left * 1000))
    except KafkaError as error:
        raise TopicsError(
            f"Kafka at {bootstrap} did not answer within {wait_seconds:.0f} s; is it started there?"
        ) from error
    try:
        yield admin
    except KafkaError as error:
        passing = " It passes, as after a start: try again in a moment." if error.retriable else ""
        raise TopicsError(
            f"Kafka at {bootstrap} answered with an error: {str(error).rstrip('.')}.{passing}",
            Exit.UNAVAILABLE if error.retriable else Exit.REFUSED,
        ) from error
    finally:
        admin.close()


def _accepts(bootstrap: str) -> bool:
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            number = int(port)
            if not 0 < number <= _PORT_HIGHEST:
                raise ValueError
            with socket.create_connection((host.strip("[]"), number), timeout=1):
                return True
        except ValueError as error:
            raise TopicsError(f"{address!r} is not an address; write host:port.", Exit.USAGE) from error
        except OSError:
            continue
    return False


def _replicated(topic: DeclaredTopic, replication_factor: int) -> DeclaredTopic:
    config = dict(topic.config)
    if int(config.get(_MIN_INSYNC, "1")) > replication_factor:
        # More copies demanded than exist would refuse every write.
        config[_MIN_INSYNC] = str(replication_factor)
    return DeclaredTopic(topic.name, topic.partitions, replication_factor, config)


def _creation(topic: DeclaredTopic) -> dict[str, Any]:
    return {
        "num_partitions": topic.partitions,
        "replication_factor": topic.replication_factor,
        "configs": dict(topic.config),
    }


def _check_created(answer: Mapping[str, Any]) -> None:
    from kafka.errors import InvalidReplicationFactorError, TopicAlreadyExistsError, for_code

    refused = [topic for topic in answer["topics"] if topic["error_code"] not in (0, TopicAlreadyExistsError.errno)]
    if not refused:
        return
    said = "; ".join(f"{topic['name']}: {topic['error_message'] or topic['error_code']}" for topic in refused)
    codes = {topic["error_code"] for topic in refused}
    passing = all(for_code(code).retriable for code in codes)
    if InvalidReplicationFactorError.errno in codes:
        said = f"{said.rstrip('.')}. Give --replication-factor no more than there are brokers, or leave it out."
    raise TopicsError(f"Kafka refused to create {said}", Exit.UNAVAILABLE if passing else Exit.REFUSED)


def _brokers(admin: KafkaAdminClient) -> int | None:
    """How many there are, those that are down for a while among them; None where that cannot be asked."""
    try:
        return len(admin.describe_cluster()["brokers"])
    except KeyError:
        return None  # kafka-python looks for what Kafka says from 3.7 on


def _refuse_other_partition_counts(declared: Sequence[DeclaredTopic], existing: Mapping[str, DescribedTopic]) -> None:
    wrong = [
        f"{topic.name} has {existing[topic.name].partitions} and {topic.partitions} are declared"
        for topic in declared
        if topic.name in existing and existing[topic.name].partitions != topic.partitions
    ]
    if wrong:
        raise TopicsError(
            "Partition counts do not change in place, for a stream's events would then be in two partitions and out "
            f"of order: {'; '.join(wrong)}. Declare the count that is there, or republish into a topic of a new name.",
            Exit.REFUSED,
        )


def _drift(topic: DeclaredTopic, actual: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {
        setting: (value, actual.get(setting, "unknown"))
        for setting, value in topic.config.items()
        if actual.get(setting) != value
    }


def _described(admin: KafkaAdminClient, names: list[str] | None) -> dict[str, DescribedTopic]:
    found = [
        topic
        for topic in admin.describe_topics(names)
        if topic["error_code"] == 0 and not topic["is_internal"] and not topic["name"].startswith("__")
    ]
    configs = _configs(admin, [topic["name"] for topic in found])
    return {
        topic["name"]: DescribedTopic(
            name=topic["name"],
            partitions=len(topic["partitions"]),
            replication_factor=min((len(part["replica_nodes"]) for part in topic["partitions"]), default=0),
            without_leader=tuple(part["partition_index"] for part in topic["partitions"] if part["leader_id"] < 0),
            config=configs[topic["name"]],
        )
        for topic in found
    }


def _configs(admin: KafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    from kafka.admin import ConfigResource, ConfigResourceType

    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    described = admin.describe_configs(resources, config_filter="all")["topic"]
    return {name: {key: str(setting["value"]) for key, setting in described[name].items()} for name in names}


def _consumer_groups(admin: KafkaAdminClient) -> list[str]:
    return sorted(group["group_id"] for group in admin.list_groups() if group["protocol_type"] in ("consumer", ""))


def _topics_read(group: Mapping[str, Any], committed: Mapping[TopicPartition, Any]) -> set[str]:
    topics = {at.topic for at, offset in committed.items() if _offset(offset) is not None}
    for member in group["members"]:
        assignment = member["member_assignment"] or {}
        topics |= {part["topic"] for part in assignment.get("assigned_partitions", ())}
    return topics


def _partitions(admin: KafkaAdminClient, topics: list[str]) -> list[TopicPartition]:
    from kafka import TopicPartition

    if not topics:
        return []
    return [
        TopicPartition(topic["name"], part["partition_index"])
        for topic in sorted(admin.describe_topics(topics), key=lambda topic: str(topic["name"]))
        for part in sorted(topic["partitions"], key=lambda part: int(part["partition_index"]))
    ]


def _offset(committed: Any) -> int | None:
    # Kafka writes "no commit" as -1.
    return None if committed is None or committed.offset < 0 else int(committed.offset)
