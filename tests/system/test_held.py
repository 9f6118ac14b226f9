"""What cannot be folded is told, listed, shown as it came, tried again and gone on without (P9, P10), on a real topic.

One service; the records of another are put on its topic by hand.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from google.protobuf.message import Message
from pymongo import MongoClient

from credence.enrolment.v1 import events_pb2
from credence.operations.v1 import operations_pb2, privacy_pb2
from credence_cli.identity import Identity
from tests.system.lone import ENROLMENT_TOPIC, Lone, alone, seconds_until
from tests.system.platform import OPERATOR, Platform, settled, suffix

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

FACTS = "mentoring.facts"
TOLD_SECONDS = 5.0
GARBAGE = b"\xff\xffno message\x00"
REQUESTED = events_pb2.EnrolmentRequested(
    cohort_id="c1", person_id="sample-1", programme_id="r7-mentor-plus", programme_version=1, effective_on="2024-10-01"
)
PLACED = events_pb2.EnrolmentPlaced(placed_on="2024-10-02")
REGISTERED = events_pb2.PersonRegistered()
ERASED = events_pb2.PersonErased()
PRIVACY_OFFICER = Identity.of("privacy-officer")
WITHDRAWN = events_pb2.EnrolmentWithdrawn(withdrawn_on="2024-11-02")


@dataclass(frozen=True)
class Put:
    """A record as enrolment would send it: `value` in place of the message's own bytes."""

    stream: str
    version: int
    message: Message
    value: bytes | None = None
    epoch: str = "by-hand"

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        texts = {
            "ce_specversion": "1.0",
            "ce_id": f"{self.stream}@{self.version}",
            "ce_type": self.message.DESCRIPTOR.full_name,
            "ce_source": f"credence/enrolment?epoch={self.epoch}",
            "ce_time": datetime(2024, 10, 1, tzinfo=UTC).isoformat(),
            "ce_subject": self.stream,
            "ce_sequence": str(self.version),
            "ce_partitionkey": self.stream,
            "content-type": "application/protobuf",
        }
        return [(name, text.encode()) for name, text in texts.items()]


def put(to: Lone | Platform, *records: Put) -> None:
    bootstrap = to.kafka.bootstrap if isinstance(to, Lone) else to.stack.addresses.kafka_bootstrap

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
        await producer.start()
        try:
            for r in records:
                value = r.message.SerializeToString() if r.value is None else r.value
                await producer.send_and_wait(ENROLMENT_TOPIC, value=value, key=r.stream.encode(), headers=r.headers)
        finally:
            await producer.stop()

    asyncio.run(send())


def stream_name() -> str:
    return f"enrolment-c-{suffix()}--sample-1"


def folded(lone: Lone, stream: str) -> int:
    """Up to which version mentoring's view has folded it."""
    client: MongoClient[dict[str, Any]] = MongoClient(lone.mongo_uri)
    with client:
        database = client[lone.database]
        (name,) = [n for n in database.list_collection_names() if n.startswith("view") and n.endswith("enrolments")]
        found = database[name].find_one({"_id": stream})
        return int(found["version"]) if found else 0


def told_held(lone: Lone) -> float:
    """How long until health names the consumer. Raises AssertionError when that takes longer than promised."""
    return seconds_until(
        "health names who holds", lambda: lone.check(f"held-{FACTS}") == "degraded", within=TOLD_SECONDS
    )


def command(lone: Lone, *words: str, exits: int = 0) -> Any:
    ran = lone.command("held", *words, "--json")
    assert ran.returncode == exits, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lone]:
    with alone(tmp_path_factory.mktemp("held")) as running:
        yield running


def test_poison_is_told_shown_as_it_came_tried_again_and_gone_on_without(lone: Lone) -> None:
    sick, well = stream_name(), stream_name()
    put(
        lone,
        Put(sick, 1, REQUESTED),
        Put(sick, 2, PLACED, GARBAGE),
        Put(sick, 3, WITHDRAWN),
        Put(well, 1, REQUESTED),
        Put(well, 2, PLACED),
    )
    told_held(lone)
    settled("the other stream goes on", lambda: folded(lone, well) == 2)
    assert lone.state() == "degraded"
    assert lone.health()["consumers"][FACTS]["held_streams"] == 1
    assert FACTS in lone.health()["checks"][f"held-{FACTS}"]["detail"]
    assert f'credence_consumer_held_streams{{consumer="{FACTS}"}} 1.0' in lone.get("/metrics")
    shown = lone.command("status", "--service", "mentoring")
    assert shown.returncode == 1
    assert "1, oldest" in shown.stdout

    listed = command(lone, "list", "--service", "mentoring")["mentoring"]
    (group,) = listed["groups"]
    (head,) = listed["streams"]
    assert (group["consumer"], group["kind"], int(group["streams"])) == (FACTS, "HELD_KIND_POISON", 1)
    assert (head["stream"], int(head["version"]), head["error"]) == (sick, 2, group["error"])
    assert "no message" not in group["error"], "an error never quotes the record"

    whole = command(lone, "show", FACTS, sick)
    assert [(e["version"], e["topic"]) for e in whole["entries"]] == [(2, ENROLMENT_TOPIC), (3, ENROLMENT_TOPIC)]
    poison, behind = whole["entries"]
    assert bytes.fromhex(poison["value"]) == GARBAGE
    assert poison["headers"] == {name: value.decode() for name, value in Put(sick, 2, PLACED).headers}
    assert (poison["key"], poison["reads"]) == (sick, None)
    assert behind["reads"] == {"withdrawn_on": "2024-11-02"}
    text = lone.command("held", "show", FACTS, sick).stdout
    assert GARBAGE.hex() in text

    (tried,) = command(lone, "redrive", "--consumer", FACTS, "--reason", "just a try", exits=1)["mentoring"]
    assert int(tried["stuck_version"]) == 2
    assert lone.command("held", "discard", FACTS, sick, "3", "--reason", "not there").returncode == 4
    would = command(lone, "discard", FACTS, sick, "2", "--reason", "never to be read", "--dry-run")["released"]
    assert int(would["folded"]) == 2
    assert command(lone, "list", "--consumer", FACTS)["mentoring"]["streams"], "a dry run changes nothing"
    command(lone, "discard", FACTS, sick, "2", "--reason", "never to be read")
    assert folded(lone, sick) == 3
    assert command(lone, "list", "--service", "mentoring") == {"mentoring": {}}
    settled("all is whole", lambda: lone.state() == "ok")
    done = lone.ask(operations_pb2.ListOperationsRequest(), OPERATOR).operations
    assert [(o.action, o.subject, o.reason) for o in done] == [
        ("discard", f"{FACTS} {sick}@2", "never to be read"),
        ("redrive", f"consumer {FACTS}", "just a try"),
    ]


def test_a_persons_stream_is_never_gone_on_without_and_an_erasure_is_told_to_wait_for_it(lone: Lone) -> None:
    person = f"person-sample-{suffix()}"
    put(lone, Put(person, 1, REGISTERED), Put(person, 2, ERASED, GARBAGE))
    told_held(lone)
    for more in ((), ("--dry-run",)):
        refused = lone.command("held", "discard", FACTS, person, "2", "--reason", "mistaken", *more)
        assert refused.returncode == 4
        assert f"credence republish --service enrolment --stream {person}" in refused.stderr
    request = privacy_pb2.GetErasureRequest(person_id=person.removeprefix("person-"))
    erasure = lone.ask(request, PRIVACY_OFFICER)
    assert (erasure.held_by, erasure.stream, erasure.destroyed) == (FACTS, person, False)

    put(lone, Put(person, 1, REGISTERED), Put(person, 2, ERASED))
    settled("the key is gone", lambda: lone.ask(request, PRIVACY_OFFICER).destroyed)
    settled("all is whole", lambda: lone.state() == "ok")
    assert lone.ask(request, PRIVACY_OFFICER).held_by == ""


def test_a_gap_says_what_fills_it_and_releases_itself_when_it_is_filled(lone: Lone) -> None:
    stream = stream_name()
    put(lone, Put(stream, 1, REQUESTED), Put(stream, 3, WITHDRAWN))
    told_held(lone)
    shown = lone.command("held", "show", FACTS, stream)
    assert "stuck at version 2 (gap)" in shown.stdout
    assert f"credence republish --service enrolment --stream {stream}" in shown.stderr
    put(lone, Put(stream, 2, PLACED))
    settled("it goes on by itself", lambda: folded(lone, stream) == 3)
    settled("all is whole", lambda: lone.state() == "ok")
    assert lone.command("held", "show", FACTS, stream).returncode == 3


def test_lists_are_selected_and_bounded(lone: Lone) -> None:
    streams = sorted(stream_name() for _ in range(5))
    put(lone, *(Put(stream, 2, PLACED) for stream in streams))
    settled("all are held", lambda: lone.health()["consumers"][FACTS]["held_streams"] == 5)
    shown = lone.command("held", "list", "--limit", "2")
    assert "There are more" in shown.stderr
    two = command(lone, "list", "--service", "mentoring", "--limit", "2")["mentoring"]["streams"]
    assert [h["stream"] for h in two] == streams[:2]
    assert "streams" not in command(lone, "list", "--service", "mentoring", "--kind", "poison")["mentoring"]
    one = command(lone, "redrive", "--stream", streams[3], "--service", "mentoring", "--dry-run", exits=1)
    assert [t["stream"] for t in one["mentoring"]] == [streams[3]]
    some = command(lone, "redrive", "--service", "mentoring", "--limit", "3", "--kind", "gap", exits=1)
    assert [t["stream"] for t in some["mentoring"]] == streams[:3]
    put(lone, *(Put(stream, 1, REQUESTED) for stream in streams))
    settled("all is whole", lambda: lone.state() == "ok")


def test_what_is_not_held_or_not_said_is_refused_with_what_to_do(lone: Lone) -> None:
    assert "see `credence held list`" in lone.command("held", "show", "billing.facts", "enrolment-x").stderr
    assert "no such held stream" in lone.command("held", "show", FACTS, "enrolment-x").stderr
    assert lone.command("held", "discard", FACTS, "enrolment-x", "1").returncode == 2
    nothing = lone.command("held", "redrive", "--service", "mentoring")
    assert (nothing.returncode, nothing.stdout.strip()) == (0, "Nothing that is held was selected.")


def test_too_much_at_once_stops_the_consumer_unready_and_the_message_says_what_to_do(lone: Lone) -> None:
    """Last: this release is at fault, and only another one goes on."""
    lone.process.send_signal(signal.SIGSTOP)
    put(lone, *(Put(stream_name(), 1, REQUESTED, GARBAGE) for _ in range(60)))
    lone.process.send_signal(signal.SIGCONT)
    settled("it is unready", lambda: lone.state() == "failing")
    detail = lone.health()["checks"]["consume"]["detail"]
    assert "TooManyFaults" in detail
    assert "Start a release that can fold them" in detail
    assert lone.command("status", "--service", "mentoring").returncode == 6


# ---- a release that is at fault

PLANTED = """
import sys
from pathlib import Path
from eventcore import consume, held

async def none(self):
    return held.Holdings(0, 0.0)

def decode(where, value, parse):
    return whole(where, b"\\xff" if where.type.endswith("Placed") and Path({broken!r}).exists() else value, parse)

held.Holding.count = none
whole, consume.decode = consume.decode, decode
from mentoring.main import main
sys.exit(main())
"""


@dataclass(frozen=True)
class AtFault:
    """A service that keeps what it holds to itself, and cannot read places while the file `broken` is there."""

    lone: Lone
    broken: Path


@pytest.fixture(scope="module")
def at_fault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AtFault]:
    folder = tmp_path_factory.mktemp("at-fault")
    broken = folder / "broken"
    broken.touch()

    def planted(_: Sequence[str]) -> Sequence[str]:
        return (sys.executable, "-P", "-c", PLANTED.format(broken=str(broken)))

    with alone(folder, command=planted) as running:
        yield AtFault(running, broken)


def test_what_is_mended_is_tried_again_by_hand_and_goes_on(at_fault: AtFault) -> None:
    lone, stream = at_fault.lone, stream_name()
    put(lone, Put(stream, 1, REQUESTED), Put(stream, 2, PLACED), Put(stream, 3, WITHDRAWN))
    settled("it is held", lambda: lone.command("held", "show", FACTS, stream).returncode == 0)
    words = ("redrive", "--consumer", FACTS, "--stream", stream)
    (stuck,) = command(lone, *words, exits=1)["mentoring"]
    assert int(stuck["stuck_version"]) == 2

    at_fault.broken.unlink()
    (would,) = command(lone, *words, "--dry-run")["mentoring"]
    assert (int(would["folded"]), folded(lone, stream)) == (2, 1)
    (done,) = command(lone, *words, "--reason", "a release that reads it")["mentoring"]

    assert (int(done["folded"]), "stuck_version" in done, folded(lone, stream)) == (2, False, 3)
    assert lone.command("held", "show", FACTS, stream).returncode == 3
    assert lone.ask(operations_pb2.ListOperationsRequest(), OPERATOR).operations[0].reason == "a release that reads it"


def test_the_checker_turns_red_on_a_service_that_keeps_what_it_holds_to_itself(at_fault: AtFault) -> None:
    put(at_fault.lone, Put(stream_name(), 1, REQUESTED, GARBAGE))
    with pytest.raises(AssertionError, match="health names who holds"):
        told_held(at_fault.lone)
