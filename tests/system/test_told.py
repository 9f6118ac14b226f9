"""Health tells the truth (P12): what is away or behind is told within 5 s, whole again within 10 s of its return with
no human; commands say so, and what others published shows its age.

One service on servers of its own, killed and paused (SIGSTOP: connections stay, nothing answers) under it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from pymongo import MongoClient

from credence.common.v1 import outcome_pb2
from credence.mentoring.v1 import mentors_pb2
from credence.operations.v1 import status_pb2
from credence_cli.embedded.kafka import EmbeddedKafka
from credence_cli.embedded.mongo import EmbeddedMongo
from servicekit.lookout import BEHIND_SECONDS_MAX
from tests.system.evidence import on_topic
from tests.system.lone import ENROLMENT_TOPIC, TOPIC, Lone, alone, another, beside, seconds_until
from tests.system.platform import OPERATOR, all_stored, refusal_of, settled, suffix

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

TOLD_SECONDS = 5.0
WHOLE_SECONDS = 10.0
AGE = "credence-age-seconds"
Outage = Callable[[Lone, EmbeddedKafka | EmbeddedMongo], AbstractContextManager[None]]
HOW: dict[str, Outage] = {"killed": Lone.away, "paused": Lone.silent}


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lone]:
    with alone(tmp_path_factory.mktemp("told")) as running:
        yield running


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[[str, float], None]:
    """Keeps a measured time with the test's result, and shows it."""

    def keep(what: str, seconds: float) -> None:
        record_property(what, round(seconds, 2))
        print(f"{what}: {seconds:.2f} s", file=sys.stderr)

    return keep


def told_away(lone: Lone, server: str, state: str) -> float:
    """How long until the service says so. Raises AssertionError when that takes longer than promised."""
    return seconds_until(f"{server} is told as {state}", lambda: lone.check(server) == state, within=TOLD_SECONDS)


def status_of(lone: Lone) -> status_pb2.GetStatusResponse:
    answer: status_pb2.GetStatusResponse = lone.ask(status_pb2.GetStatusRequest(), OPERATOR, seconds=3)
    return answer


def check_of(lone: Lone, name: str) -> status_pb2.Check:
    return next(check for check in status_of(lone).checks if check.name == name)


def listed(lone: Lone, person: str = "") -> tuple[Any, dict[str, str]]:
    return lone.told(mentors_pb2.ListMentorsRequest(person_id=person))


@pytest.mark.parametrize("how", HOW)
def test_kafka_away_is_told_commands_and_own_views_go_on_and_what_others_published_shows_its_age(
    lone: Lone, how: str, figures: Callable[[str, float], None]
) -> None:
    person = f"kafka-{suffix()}"
    assert float(listed(lone)[1][AGE]) < TOLD_SECONDS
    with HOW[how](lone, lone.kafka):
        began = time.monotonic()
        figures(f"Kafka {how}, told after", told_away(lone, "kafka", "degraded"))
        behind_too = f"{ENROLMENT_TOPIC}-lag"
        seconds_until(f"{behind_too} is told", lambda: lone.check(behind_too) == "degraded", within=TOLD_SECONDS)
        figures(f"Kafka {how}, its topics told after", time.monotonic() - began)
        assert lone.state() == "degraded"
        stored = all_stored(lone.registers(person))
        answer, _ = lone.told(mentors_pb2.ListMentorsRequest(person_id=person, token=stored.token))
        assert [mentor.person_id for mentor in answer.mentors] == [person]

        settled("its age is told", lambda: float(listed(lone)[1][AGE]) > TOLD_SECONDS)
        behind = {consumer.name: consumer for consumer in status_of(lone).consumers}
        assert behind[ENROLMENT_TOPIC].age_seconds > 3
        assert behind["fold"].waiting == 0
        settled("what waits to be published is told", lambda: lone.check("publish-lag") == "degraded")
        assert next(c for c in status_of(lone).consumers if c.name == "publish").waiting == 1
        away = check_of(lone, "kafka")
        assert away.dependency
        assert away.since.ToSeconds() < time.time() - 2
        shown = lone.command("mentor", "list")
        assert shown.returncode == 0
        assert "What other services published may be missing here" in shown.stderr
    figures(
        f"Kafka {how}, whole again after",
        seconds_until("all is whole", lambda: lone.state() == "ok", within=WHOLE_SECONDS),
    )
    # At least once: what a paused broker did not acknowledge may have landed, and is sent again.
    settled("it is published", lambda: asyncio.run(on_topic(lone.kafka.bootstrap, TOPIC, person)) or None)
    assert float(listed(lone)[1][AGE]) < TOLD_SECONDS


@pytest.mark.parametrize("how", HOW)
def test_the_database_away_is_told_commands_say_so_and_a_repeated_one_counts_once(
    lone: Lone, how: str, figures: Callable[[str, float], None]
) -> None:
    assert lone.mongo is not None
    person = f"mongo-{suffix()}"
    with HOW[how](lone, lone.mongo):
        figures(f"MongoDB {how}, told after", told_away(lone, "mongo", "failing"))
        assert status_of(lone).state == status_pb2.STATE_FAILING
        assert unanswered(lone, person)
    figures(
        f"MongoDB {how}, whole again after",
        seconds_until("all is whole", lambda: lone.state() == "ok", within=WHOLE_SECONDS),
    )
    first, second = (all_stored(lone.registers(person, "once")).outcomes[0] for _ in range(2))
    assert (first.stream, first.version) == (second.stream, second.version)
    assert second.version == 1


def unanswered(lone: Lone, person: str) -> bool:
    """Whether a command is told that nobody knows what became of it: row by row, or as a whole."""
    try:
        (outcome,) = lone.registers(person, "once").outcomes
    except grpc.RpcError as error:
        return refusal_of(error).status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    return bool(outcome.status == outcome_pb2.OUTCOME_STATUS_UNKNOWN)


def test_a_deliverer_that_is_behind_is_told_with_how_much_and_since_when(
    lone: Lone, figures: Callable[[str, float], None]
) -> None:
    """An append that only a newer release can read waits for it; nothing else does."""
    client: MongoClient[dict[str, Any]] = MongoClient(lone.mongo_uri, tz_aware=True)
    appends = client[lone.database]["appends"]
    person = f"newer-{suffix()}"
    all_stored(lone.registers(person))
    settled("it is out", lambda: appends.count_documents({"unpublished": True}) == 0)
    kept = appends.find_one({"stream": f"mentor-{person}"})
    assert kept is not None
    newer = {**kept, "_id": f"mentor-{person}@2", "first": 2, "last": 2, "unfolded": True, "unpublished": True}
    newer["events"] = [{"type": "mentor.profile-changed.v99", "data": {}}]
    newer["recorded"] = datetime.now(UTC)
    appends.insert_one(newer)
    try:
        for name in ("fold", "publish"):
            took = seconds_until(
                f"{name} is told to be behind",
                lambda name=name: lone.check(f"{name}-lag") == "degraded",  # type: ignore[misc]
                within=TOLD_SECONDS,
            )
            figures(f"{name} behind, told after", took)
        behind = {consumer.name: consumer for consumer in status_of(lone).consumers}
        assert [behind[name].waiting for name in ("fold", "publish")] == [1, 1]
        assert behind["fold"].age_seconds > BEHIND_SECONDS_MAX
        metrics = lone.get("/metrics")
        assert 'credence_consumer_lag_events{consumer="fold"} 1.0' in metrics
        assert 'credence_check_state{check="fold-lag"} 1.0' in metrics
        shown = lone.command("status", "--service", "mentoring")
        assert shown.returncode == 1, shown.stderr
        assert "1 waiting" in shown.stdout
    finally:
        appends.delete_one({"_id": newer["_id"]})
        client.close()
    seconds_until("all is whole", lambda: lone.state() == "ok", within=WHOLE_SECONDS)


STANDS_STILL = """
import sys
from eventcore import evaluate
async def look(self): return evaluate.Pass()
evaluate.Evaluator.look = look
from accreditation.main import main
sys.exit(main())
"""


def test_an_evaluation_that_is_behind_is_told_with_how_much_though_it_says_itself_that_all_is_well(
    lone: Lone, tmp_path: Path, figures: Callable[[str, float], None]
) -> None:
    def still(_: Sequence[str]) -> Sequence[str]:
        return (sys.executable, "-P", "-c", STANDS_STILL)

    with (
        another(lone, "accreditation", tmp_path, still) as ledger,
        MongoClient[dict[str, Any]](lone.mongo_uri) as client,
    ):
        client[ledger.database]["targets_standing"].insert_one({"_id": "c1--p1", "revision": 1, "dirty": True})
        took = seconds_until(
            "standings are told to be behind",
            lambda: ledger.check("evaluate-standing-lag") == "degraded",
            within=TOLD_SECONDS,
        )
        figures("evaluate-standing behind, told after", took)
        assert ledger.check("evaluate-standing") == "ok"
        behind = {consumer.name: consumer for consumer in status_of(ledger).consumers}
        assert behind["evaluate-standing"].waiting == 1
        assert behind["evaluate-standing"].age_seconds > BEHIND_SECONDS_MAX
        assert 'credence_consumer_lag_events{consumer="evaluate-standing"} 1.0' in ledger.get("/metrics")


def test_credence_status_says_what_does_not_answer_within_a_few_seconds(lone: Lone) -> None:
    """Two of the three services are not there at all."""
    settled("the third is whole", lambda: lone.state() == "ok")
    began = time.monotonic()
    shown = lone.command("status", "--json")
    took = time.monotonic() - began
    told = json.loads(shown.stdout)
    assert shown.returncode == 6
    assert {name: answer["state"] for name, answer in told.items()} == {
        "enrolment": "away",
        "accreditation": "away",
        "mentoring": "ok",
    }
    assert {c["name"] for c in told["mentoring"]["consumers"]} == {
        "fold",
        "publish",
        "credence.enrolment.v1",
        "credence.accreditation.v1",
        "mentoring.own",
        "mentoring.facts",
    }
    assert took < 20, "starting the command on a busy machine included"
    whole = lone.command("status", "--service", "mentoring")
    assert whole.returncode == 0, whole.stdout + whole.stderr


# ---- the checker is checked

PLANTED = """
import sys
from servicekit import health, process, runtime
{bug}
from mentoring.main import main
sys.exit(main())
"""
BUGS = {
    "a check that stays ok": (
        "process.Health.check = lambda self, name, *, max_age_seconds=None, dependency=False, real=health.Health.check:"
        " (lambda c: setattr(c, 'degraded', lambda why: c.ok()) or c)(real(self, name, dependency=dependency))"
    ),
    "a probe that is asked once": "process.PROBE_EVERY_SECONDS = process.PROBE_SILENCE_SECONDS_MAX = 1e6",
}


@pytest.mark.parametrize("bug", BUGS)
def test_the_checker_turns_red_on(lone: Lone, bug: str, tmp_path: Path) -> None:
    def planted(_: Sequence[str]) -> Sequence[str]:
        return (sys.executable, "-P", "-c", PLANTED.format(bug=BUGS[bug]))

    with beside(lone, tmp_path, planted) as sick, sick.silent(sick.kafka):
        with pytest.raises(AssertionError, match="kafka is told as degraded"):
            told_away(sick, "kafka", "degraded")
