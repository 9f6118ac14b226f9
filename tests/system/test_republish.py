"""A lost topic is filled again from the store, beside live traffic, each stream whole and in order (P3, P5)."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from pymongo import MongoClient

from credence.operations.v1 import log_pb2, operations_pb2
from credence_cli import topics
from credence_cli.embedded.home import topics_file
from mentoring.main import PARTS
from tests.system.evidence import Public, on_topic, public
from tests.system.lone import TOPIC, Lone, alone, beside
from tests.system.platform import OPERATOR, all_stored, settled, suffix

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

MENTORS = 40


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lone]:
    with alone(tmp_path_factory.mktemp("republish")) as running:
        yield running


def store_of(lone: Lone) -> Any:
    client: MongoClient[dict[str, Any]] = MongoClient(lone.mongo_uri, tz_aware=True)
    return client[lone.database]["appends"]


def all_out(lone: Lone) -> bool:
    return bool(store_of(lone).count_documents({"unpublished": True}) == 0)


def on_the_topic(lone: Lone) -> list[Public]:
    return asyncio.run(on_topic(lone.kafka.bootstrap, TOPIC, ""))


def check_topic(lone: Lone) -> None:
    """Raises AssertionError unless the topic has exactly what is stored, each stream's first occurrences in order."""
    stored = [e for d in store_of(lone).find() for e in public(PARTS, d)]
    found = on_the_topic(lone)
    assert set(found) == set(stored), f"{len(set(stored) - set(found))} of {len(stored)} events are not on the topic"
    reached = Counter[str]()
    for event in found:
        assert event.version <= reached[event.stream] + 1, f"{event} after version {reached[event.stream]}"
        reached[event.stream] = max(reached[event.stream], event.version)


def lose_topic(lone: Lone) -> None:
    async def delete() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=lone.kafka.bootstrap)
        await admin.start()
        try:
            await admin.delete_topics([TOPIC])
        finally:
            await admin.close()

    asyncio.run(delete())


def create_topic(lone: Lone) -> None:
    topics.create(lone.kafka.bootstrap, topics_file(), replication_factor=1)


def mentors_with_profiles(lone: Lone, count: int) -> list[str]:
    """Each registered and then changed: streams of two appends."""
    people = [f"m{n}-{suffix()}" for n in range(count)]
    for person in people:
        all_stored(lone.registers(person))
        all_stored(lone.registers(person, employer="another-council"))
    settled("all is out", lambda: all_out(lone))
    return people


def start_command(lone: Lone, *words: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "credence_cli.main", *words]
    return subprocess.Popen(
        arguments, env=lone.command_env, cwd=lone.log.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_lost_topic_is_filled_in_order_while_commands_go_on(lone: Lone) -> None:
    people = mentors_with_profiles(lone, MENTORS)
    check_topic(lone)
    lose_topic(lone)
    settled("the missing topic is told", lambda: lone.check("kafka") == "degraded")
    assert "credence republish" in lone.health()["checks"]["kafka"]["detail"]

    running = start_command(lone, "republish", "--service", "mentoring", "--reason", "the topic was lost")
    settled("all is asked for", lambda: store_of(lone).count_documents({"again": {"$exists": True}}) >= MENTORS)
    late = f"late-{suffix()}"
    all_stored(lone.registers(people[0], employer="third-council"))
    all_stored(lone.registers(late))

    create_topic(lone)
    printed, told = running.communicate(timeout=60)
    assert running.returncode == 0, told
    assert f"{MENTORS} streams" in printed
    settled("all is out", lambda: all_out(lone))
    check_topic(lone)
    (done,) = lone.ask(operations_pb2.ListOperationsRequest(), OPERATOR).operations
    assert (done.action, done.subject, done.reason) == ("republish", "all", "the topic was lost")
    settled("all is whole", lambda: lone.state() == "ok")


def test_a_dry_run_counts_and_changes_nothing(lone: Lone) -> None:
    before = len(on_the_topic(lone))
    appends = store_of(lone).count_documents({})
    told = lone.stream(log_pb2.RepublishRequest(dry_run=True, categories=["mentor"]), OPERATOR)
    assert told[-1].phase == log_pb2.REPUBLISH_PHASE_DONE
    assert told[-1].events_total == appends
    none = lone.stream(log_pb2.RepublishRequest(dry_run=True, categories=["match"]), OPERATOR)
    assert none[-1].streams_total == 0
    assert len(on_the_topic(lone)) == before
    assert all_out(lone)


def test_one_stream_alone_goes_out_again_and_the_rest_does_not(lone: Lone) -> None:
    (person,) = mentors_with_profiles(lone, 1)
    before = Counter(on_the_topic(lone))
    words = ("republish", "--service", "mentoring", "--stream", f"mentor-{person}", "--reason", "a lost record")
    assert lone.command(*words).returncode == 0
    again = Counter(on_the_topic(lone)) - before
    assert {(e.stream, e.version): n for e, n in again.items()} == {
        (f"mentor-{person}", 1): 1,
        (f"mentor-{person}", 2): 1,
    }
    check_topic(lone)


def test_interrupted_it_says_how_it_goes_on_and_goes_on(lone: Lone) -> None:
    before = len(on_the_topic(lone))
    with lone.silent(lone.kafka):
        running = start_command(lone, "republish", "--service", "mentoring", "--reason", "to be interrupted")
        settled("all is asked for", lambda: store_of(lone).count_documents({"again": {"$exists": True}}) >= MENTORS)
        settled(
            "it is told why nothing goes out", lambda: "acknowledge" in lone.health()["checks"]["publish"]["detail"]
        )
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "goes out by itself" in told
    settled("it all went out without anybody", lambda: all_out(lone), seconds=60)
    assert len(on_the_topic(lone)) > before + 2 * MENTORS
    check_topic(lone)


def test_what_is_not_there_or_not_said_is_refused_with_what_to_do(lone: Lone) -> None:
    unknown = lone.command("republish", "--service", "mentoring", "--stream", "mentor-nobody", "--dry-run")
    assert unknown.returncode == 2
    assert "there is no stream mentor-nobody" in unknown.stderr
    category = lone.command("republish", "--service", "mentoring", "--category", "cohort", "--dry-run")
    assert "is not one of this service's: match, mentor" in category.stderr
    silent = lone.command("republish", "--service", "mentoring")
    assert silent.returncode == 2
    assert "--reason" in silent.stderr


PLANTED = """
import sys
from eventcore import deliver
async def only_marked(self, appends):
    return list(appends)
deliver.Publisher._whole = only_marked
from mentoring.main import main
sys.exit(main())
"""


def test_the_checker_turns_red_on_a_publisher_that_sends_only_what_is_marked(lone: Lone, tmp_path: Path) -> None:
    def planted(_: Sequence[str]) -> Sequence[str]:
        return (sys.executable, "-P", "-c", PLANTED)

    with beside(lone, tmp_path, planted, database=f"credence_sick_{suffix()}") as sick:
        mentors_with_profiles(sick, 2)
        lose_topic(sick)
        settled("the missing topic is told", lambda: sick.check("kafka") == "degraded")
        create_topic(sick)
        ran = sick.command("republish", "--service", "mentoring", "--reason", "the topic was lost")
        assert ran.returncode == 0, ran.stderr
        with pytest.raises(AssertionError, match="2 of 4 events are not on the topic"):
            check_topic(sick)
