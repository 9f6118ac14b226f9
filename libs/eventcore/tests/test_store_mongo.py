"""The store contract on a real MongoDB-protocol server, and what only a real server can show.

Which server answered is in the session's summary: what a stand-in proves, it does not prove about MongoDB.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pymongo.errors import BulkWriteError

from eventcore.consume import Consumer
from eventcore.execute import Executor, Request
from eventcore.fold import Folder, View
from eventcore.limits import IN_MAX, MONGO_CONNECTIONS_MAX, PARTS_AT_ONCE_MAX
from eventcore.mongo import Bounds, MongoAppends, MongoStores, connect
from eventcore.mongo.link import Link, reason
from eventcore.outcome import Status
from eventcore.store import Append, Insert, StoreUnavailable, Unstorable, Write

from .mongo_server import MongoServer
from .sample import JARS, NoMarks, clock, parse
from .store_contract import NOON, WRITERS, StoreContract, Stores, append, check_dense, entry, head
from .store_writer import DIGEST_KEY, TALLY, Count, write_all
from .test_held import came

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parents[3]


class Place(BaseModel):
    cohort: str | None


PLACES: View[Place] = View("places", "tally", Place, lambda document, _event: document, (("cohort",), ("tags", "open")))
SHORT = Bounds(
    selection_seconds=0.5,
    connect_seconds=0.5,
    socket_seconds=1.0,
    majority_seconds=1.0,
    answer_seconds=3.0,
    ping_seconds=0.5,
)
PATIENT = Bounds(queue_seconds=10.0)
"""For tests that race: twenty at once open twenty connections, which a busy machine does not do in two seconds."""


@pytest.fixture
def database() -> str:
    return f"test_{secrets.token_hex(6)}"


@pytest.fixture
async def mongo(mongo_uri: str, database: str) -> AsyncIterator[MongoStores]:
    stores = await connect(mongo_uri, database, views=[PLACES], evaluations=["standing"], bounds=PATIENT)
    yield stores
    await stores.close()


class TestMongoStores(StoreContract):
    @pytest.fixture
    def stores(self, mongo: MongoStores) -> Stores:
        return Stores(
            mongo.appends, mongo.views, mongo.targets, mongo.keys, mongo.operations, mongo.held, mongo.generations
        )


async def test_fifty_writers_in_five_processes_leave_dense_versions_and_lose_nothing(
    mongo: MongoStores, mongo_uri: str, database: str
) -> None:
    async def process(writers: list[str]) -> dict[str, int]:
        arguments = ["-m", "libs.eventcore.tests.store_writer", mongo_uri, database, "tally-raced", "2", *writers]
        running = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await running.communicate()
        assert running.returncode == 0
        answers: dict[str, int] = json.loads(printed)
        return answers

    answers = await asyncio.gather(*(process(WRITERS[start : start + 10]) for start in range(0, 50, 10)))
    acknowledged = {id_: version for answer in answers for id_, version in answer.items()}
    assert len(acknowledged) == 100
    check_dense((await mongo.appends.load(["tally-raced"]))["tally-raced"], acknowledged)


class AppendsWithoutTheLock(MongoAppends):
    """A planted bug: an `_id` by chance, so that nothing makes a slot unique."""

    @staticmethod
    def _document(append: Append) -> dict[str, Any]:
        return MongoAppends._document(append) | {"_id": secrets.token_hex(8)}


async def test_the_check_turns_red_on_a_store_without_the_lock(mongo: MongoStores) -> None:
    store = AppendsWithoutTheLock(mongo._link)
    acknowledged = await write_all(store, "tally-raced", WRITERS, 2)
    with pytest.raises(AssertionError, match=r"where \d+ is due"):
        check_dense((await store.load(["tally-raced"]))["tally-raced"], acknowledged)


async def test_a_target_that_somebody_else_makes_meanwhile_is_marked(
    mongo: MongoStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    await mongo.targets.mark("standing", ["p2"])

    async def none_yet(*_: Any, **__: Any) -> list[Any]:
        return []

    with monkeypatch.context() as before:
        before.setattr(mongo._link, "find_any", none_yet)
        await mongo.targets.mark("standing", ["p1", "p2", "p3"])
    assert await mongo.targets.due("standing", NOON, limit=10) == {"p1": 1, "p2": 2, "p3": 1}


@pytest.mark.parametrize("more", [0, 1], ids=["at the limit", "one beyond it"])
async def test_a_wide_question_asks_a_few_parts_at_once_and_leaves_connections_to_others(
    mongo: MongoStores, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    people = [f"p{n:04}" for n in range(IN_MAX * (PARTS_AT_ONCE_MAX + more))]
    await mongo.targets.mark("standing", people)
    find, asked, most = mongo._link.find, 0, 0

    async def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal asked, most
        asked += 1
        most = max(most, asked)
        try:
            return await find(*args, **kwargs)
        finally:
            asked -= 1

    monkeypatch.setattr(mongo._link, "find", counting)
    assert await mongo.targets.known("standing", people) == set(people)
    assert most == PARTS_AT_ONCE_MAX


async def test_processes_that_start_together_agree_on_one_epoch(mongo_uri: str, database: str) -> None:
    started = await asyncio.gather(
        *(connect(mongo_uri, database, views=[PLACES], evaluations=["standing"]) for _ in range(10))
    )
    assert len({stores.appends.epoch for stores in started}) == 1
    for stores in started:
        await stores.close()
    other = await connect(mongo_uri, f"{database}_other")
    assert other.appends.epoch != started[0].appends.epoch
    await other.close()


async def test_poison_and_gaps_are_held_and_released_by_two_processes_at_once(mongo: MongoStores) -> None:
    """The whole of holding on a real server: every operation of it, raced."""

    def process(parse_: Any = parse) -> Consumer:
        return Consumer("sample.facts", Folder([JARS], mongo.views, NoMarks()), mongo.views, mongo.held, parse_, clock)

    def mended(kind: str, data: bytes) -> Any:
        return parse(kind, b"1" if data == b"broken" else data)

    streams = [f"jar-{n}--a" for n in range(12)]
    spoilt = [r for s in streams for r in (*came(s, 1), *came(s, 2, value=b"broken"), *came(s, 4, 5))]
    await asyncio.gather(process().handle(spoilt[:24]), process().handle(spoilt[12:]), process().handle(spoilt[24:]))
    assert {h.stream: (h.kind, h.version) for h in await mongo.held.find(limit=99)} == dict.fromkeys(
        streams, ("poison", 2)
    )
    assert [e.version for e in await mongo.held.entries("sample.facts", "e1", streams[0], limit=9)] == [2, 4, 5]

    missing = [r for s in streams for r in came(s, 3)]
    await asyncio.gather(
        process(mended).holding.redrive(streams),
        process(mended).handle(missing[:8]),
        process().handle(missing[4:]),
        process(mended).holding.sweep(everything=True),
    )
    await process(mended).holding.redrive(streams)

    assert await mongo.held.find(limit=99) == []
    assert await mongo.held.orphans("sample.facts", limit=99) == []
    assert await mongo.held.entries("sample.facts", "e1", streams[0], limit=9) == []
    found = await mongo.views.load("jars", streams)
    assert {s: (v.version, v.body and v.body["coins"]) for s, v in found.items()} == dict.fromkeys(streams, (5, 5))


async def test_a_value_that_cannot_be_stored_is_a_mistake_and_not_an_outage(mongo: MongoStores) -> None:
    with pytest.raises(Unstorable, match="OverflowError"):
        await mongo.views.write("places", [Write("tally-a", 0, 1, {"n": 2**70})])
    with pytest.raises(Unstorable, match="DocumentTooLarge"):
        await mongo.views.write("places", [Write("tally-a", 0, 1, {"text": "x" * 17 * 1024 * 1024})])


async def test_concerns_are_written_in_code_whatever_the_connection_string_says(mongo_uri: str, database: str) -> None:
    careless = "&w=0&journal=false&readConcernLevel=local&readPreference=secondaryPreferred&socketTimeoutMS=0"
    stores = await connect(mongo_uri + careless, database)
    collection = stores._link["appends"]
    assert collection.read_concern.level == "majority"
    assert collection.read_preference.name == "Primary"
    assert (collection.write_concern.document["w"], collection.write_concern.document["j"]) == ("majority", True)
    assert stores._link._client.options.pool_options.socket_timeout == Bounds().socket_seconds
    await stores.close()


@pytest.mark.parametrize(
    ("named", "size"),
    [
        ("", MONGO_CONNECTIONS_MAX),
        ("&maxPoolSize=8", 8),
        ("&maxpoolsize=8", 8),
        (f"&maxPoolSize={MONGO_CONNECTIONS_MAX + 1}", MONGO_CONNECTIONS_MAX),
        ("&maxPoolSize=0", MONGO_CONNECTIONS_MAX),
    ],
)
async def test_a_connection_string_may_name_fewer_connections_and_not_more(named: str, size: int) -> None:
    link = Link(f"mongodb://127.0.0.1:1/?directConnection=true{named}", "unreached", Bounds())
    assert link._client.options.pool_options.max_pool_size == size
    link.close()


def test_a_refusal_never_repeats_the_documents_it_refused() -> None:
    refusal = {"index": 0, "code": 121, "errmsg": "Sample Learner 01", "op": {"name": "Sample Learner 01"}}
    error = BulkWriteError({"writeErrors": [refusal], "writeConcernErrors": []})
    assert "Sample Learner" in str(error)
    assert reason(error) == "the database refused with 121"


# What a server does when it dies, freezes or is not there


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[MongoServer]:
    server = MongoServer(tmp_path)
    server.start()
    yield server
    server.stop()


async def answered_as_away(stores: MongoStores) -> None:
    """Everything a service asks at once says that the database is away, within its bound."""
    started = time.monotonic()
    inserted, *refused = await asyncio.gather(
        stores.appends.insert([append("tally-away"), append("tally-away2")]),
        *(stores.appends.load([f"tally-{n}"]) for n in range(20)),
        stores.appends.pending("unfolded", limit=10),
        stores.appends.clear("unfolded", [append("tally-away")]),
        stores.views.load("places", ["tally-a"]),
        stores.views.write("places", [Write("tally-a", 0, 1, {})]),
        stores.views.find("places", {}, limit=1),
        stores.views.bind_epoch("enrolment", "e"),
        stores.targets.mark("standing", ["p1"]),
        stores.targets.due("standing", NOON, limit=1),
        stores.targets.read("standing", ["p1"]),
        stores.keys.read(["p1"]),
        stores.keys.create_key("p1", b"key"),
        stores.keys.destroy_keys(["p2"], NOON),
        stores.keys.tombstones(limit=1),
        stores.operations.record("redrive", "all", "operator", "again", NOON),
        stores.operations.list(limit=1),
        stores.held.keep([entry("tally-a", 1)]),
        stores.held.park([head("tally-a")]),
        stores.held.heads("facts", ["tally-a"]),
        stores.held.remove(head("tally-a")),
        stores.held.move(head("tally-a")),
        stores.held.held("facts"),
        stores.held.orphans("facts", limit=1),
        stores.ping(),
        return_exceptions=True,
    )
    assert time.monotonic() - started < SHORT.answer_seconds + 1
    assert inserted == [Insert.UNKNOWN, Insert.UNKNOWN]
    assert {type(answer) for answer in refused} == {StoreUnavailable}


async def reachable_again(stores: MongoStores) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(StoreUnavailable):
                return await stores.ping()


async def test_a_killed_server_loses_nothing_acknowledged(own_server: MongoServer, database: str) -> None:
    """kill -9 amid inserts, three times; the writers go on by themselves."""
    stores = await connect(own_server.uri, database, bounds=SHORT)
    stop = asyncio.Event()
    acknowledged: dict[str, dict[str, int]] = {f"tally-{n}": {} for n in range(4)}
    waiting: list[asyncio.Semaphore] = []
    unanswered = 0

    async def keep_writing(stream: str, writer: int) -> None:
        nonlocal unanswered
        executor = Executor(stores.appends, DIGEST_KEY)
        number = 0
        request = Request(stream, f"{writer}-{number}", Count(), "writer", NOON)
        while not stop.is_set():
            [outcome] = await executor.execute(TALLY, [request])
            if outcome.status in (Status.ACCEPTED, Status.REPLAYED):
                acknowledged[stream][request.id] = outcome.version
                for one_more in waiting:
                    one_more.release()
                number += 1
                request = Request(stream, f"{writer}-{number}", Count(), "writer", NOON)
            else:
                unanswered += outcome.status is Status.UNKNOWN

    async def more_acknowledged(count: int) -> None:
        one_more = asyncio.Semaphore(0)
        waiting.append(one_more)
        async with asyncio.timeout(60):
            for _ in range(count):
                await one_more.acquire()
        waiting.remove(one_more)

    writing = [asyncio.create_task(keep_writing(s, n)) for s in acknowledged for n in range(3)]
    for _ in range(3):
        await more_acknowledged(100)
        own_server.kill()
        await answered_as_away(stores)
        own_server.start()
        await reachable_again(stores)
    await more_acknowledged(100)
    stop.set()
    await asyncio.gather(*writing)
    assert unanswered
    stored = await stores.appends.load(list(acknowledged))
    for stream, answers in acknowledged.items():
        check_dense(stored[stream], answers)
    await stores.close()


async def test_a_frozen_server_leaves_inserts_unknown_and_one_append_in_the_slot(
    own_server: MongoServer, database: str
) -> None:
    stores = await connect(own_server.uri, database, bounds=SHORT)
    await stores.appends.insert([append("tally-before")])
    own_server.pause()
    await answered_as_away(stores)
    own_server.resume()
    await reachable_again(stores)
    # The unknown insert may have landed by now, or land late: whoever asks again is told the truth by the slot.
    answer = await stores.appends.insert([append("tally-away")])
    assert answer in ([Insert.STORED], [Insert.TAKEN])
    assert (await stores.appends.load(["tally-away"]))["tally-away"] == [append("tally-away")]
    await stores.close()


async def test_a_server_that_is_not_there_is_told_at_once(tmp_path: Path, database: str) -> None:
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await connect(MongoServer(tmp_path).uri, database, bounds=SHORT)
    assert time.monotonic() - started < SHORT.answer_seconds + 1
