"""The kernel's own documents outlive releases too: each is pinned as it is stored, and read beside what a newer release
adds to it.

A file is `<collection>.<variant>.json`, MongoDB's Extended JSON: added once, never edited. `make goldens` writes what
is missing.
"""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import json_util
from pymongo import MongoClient

from eventcore.event import StoredEvent
from eventcore.generations import Building, Catalogue, Instance, Standing
from eventcore.goldens import add_or_fail
from eventcore.mongo import MongoAppends, MongoStores, connect
from eventcore.store import Append, Discard, Finding, Step, Write

from .store_contract import NOON, append, entry, head, view_body

pytestmark = pytest.mark.servers

FOLDER = Path(__file__).parent / "golden"
ADDED = "of_the_next_release"
BUILDING = Building(
    views={"tallies": 2}, fingerprints={"tallies": "f2"}, builder="b1", started=NOON, actor="operator", reason="a test",
    offsets=(("credence.sample.v1", 3, 17),), after="tally-a", done=4, total=5, stuck=("tally-b",),
    epochs={"credence/sample": "e2"},
)  # fmt: skip
CATALOGUE = Catalogue(
    views={"tallies": Standing(generation=1, fingerprint="f1", last=2)},
    building=BUILDING,
    epochs={"credence/sample": "e2"},
    retired={"credence/sample": ("e1",)},
)
BARE = Append("tally-b", 1, (Step("k1", "digest", "", "", "", "", 1, 1),), (StoredEvent("tally.reset.v1", {}),), NOON)


@dataclass(frozen=True)
class Kept:
    """How a document comes to be stored, under which `_id`, and how it is read; `within`: where else than at its top a
    newer release may add fields."""

    id: str
    store: Callable[[MongoStores], Awaitable[Any]]
    read: Callable[[MongoStores], Awaitable[Any]]
    within: tuple[tuple[str | int, ...], ...] = ()


async def asked_again(stores: MongoStores) -> None:
    await stores.appends.insert([append("tally-a", count=2)])
    await stores.appends.ask_again(["tally-a"], "republication-1")


async def delivered(stores: MongoStores) -> None:
    await stores.appends.insert([BARE])
    for mark in ("unfolded", "unpublished"):
        await stores.appends.clear(mark, [BARE])


async def found_and_marked(stores: MongoStores) -> None:
    finding = Finding("c1--p1", 0, {"met": True}, {"tally-a": 2}, NOON + timedelta(days=1))
    await stores.targets.finish("standing", [finding])
    await stores.targets.mark("standing", ["c1--p1"])


async def destroyed(stores: MongoStores) -> None:
    await stores.keys.destroy_keys(["person-b"], NOON)


async def bound_anew(stores: MongoStores) -> None:
    await stores.views.rebind("credence/sample", "e2", ["e1"])


async def catalogue(stores: MongoStores) -> Any:
    return without_added((await stores.generations.read()).model_dump(mode="json"))


DISCARD = Discard("e1", "tally-a", 3, "never to be read", "operator", NOON)
KEPT: dict[str, Kept] = {
    "appends.full": Kept(
        "tally-a@1", asked_again, lambda s: s.appends.load(["tally-a"]), (("steps", 0), ("events", 0))
    ),
    "appends.required": Kept("tally-b@1", delivered, lambda s: s.appends.load(["tally-b"]), (("steps", 0),)),
    "held.full": Kept(
        "facts/e1/tally-a@3",
        lambda s: s.held.keep([entry("tally-a", 3)]),
        lambda s: s.held.entries("facts", "e1", "tally-a", limit=1),
    ),
    "held.required": Kept(
        "facts/e1/tally-b@1",
        lambda s: s.held.keep([entry("tally-b", 1, key=None, headers=(), value=None)]),
        lambda s: s.held.entries("facts", "e1", "tally-b", limit=1),
    ),
    "held_heads.full": Kept(
        "facts/tally-a", lambda s: s.held.park([head("tally-a")]), lambda s: s.held.heads("facts", ["tally-a"])
    ),
    "held_discards.full": Kept(
        "e1/tally-a@3", lambda s: s.held.discard([DISCARD]), lambda s: s.held.discards("e1", "tally-a")
    ),
    "keys.full": Kept(
        "person-a", lambda s: s.keys.create_key("person-a", b"wrapped"), lambda s: s.keys.read(["person-a"])
    ),
    "keys.erased": Kept("person-b", destroyed, lambda s: s.keys.read(["person-b"])),
    "targets_standing.full": Kept("c1--p1", found_and_marked, lambda s: s.targets.read("standing", ["c1--p1"])),
    "targets_standing.required": Kept(
        "c1--p2", lambda s: s.targets.mark("standing", ["c1--p2"]), lambda s: s.targets.read("standing", ["c1--p2"])
    ),
    "view_tallies.full": Kept(
        "tally-a",
        lambda s: s.views.write("tallies", [Write("tally-a", 0, 2, view_body("c1", "open"), "00-trace-1")]),
        lambda s: s.views.load("tallies", ["tally-a"]),
    ),
    "view_tallies.required": Kept(
        "tally-b",
        lambda s: s.views.write("tallies", [Write("tally-b", 0, 1, None)]),
        lambda s: s.views.load("tallies", ["tally-b"]),
    ),
    "epochs.full": Kept("credence/sample", bound_anew, lambda s: s.views.histories()),
    "epochs.required": Kept(
        "credence/sample", lambda s: s.views.bind_epoch("credence/sample", "e1"), lambda s: s.views.histories()
    ),
    "generations.full": Kept(
        "views",
        lambda s: s.generations.swap(Catalogue(), CATALOGUE),
        catalogue,
        (("catalogue",), ("catalogue", "views", "tallies"), ("catalogue", "building")),
    ),
    "generations.required": Kept(
        "views", lambda s: s.generations.swap(Catalogue(), Catalogue()), catalogue, (("catalogue",),)
    ),
    "instances.full": Kept(
        "sample-1",
        lambda s: s.generations.note(Instance(name="sample-1", fingerprints={"tallies": "f1"}, at=NOON)),
        lambda s: s.generations.instances(NOON),
    ),
}


@asynccontextmanager
async def database(uri: str) -> AsyncIterator[tuple[MongoStores, Any]]:
    """A fresh one: through the stores, and with the plain driver."""
    name = f"test_{secrets.token_hex(6)}"
    stores = await connect(uri, name, evaluations=["standing"])
    try:
        with MongoClient[dict[str, Any]](uri) as client:
            yield stores, client[name]
    finally:
        await stores.close()


def text(document: object) -> Any:
    return json.loads(json_util.dumps(document, json_options=json_util.CANONICAL_JSON_OPTIONS))


def pinned(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json_util.loads((FOLDER / f"{name}.json").read_text())
    return found


def with_added(name: str) -> dict[str, Any]:
    """The pinned document as a newer release might store it."""
    document = copy.deepcopy(pinned(name))
    for path in ((), *KEPT[name].within):
        inner: Any = document
        for step in path:
            inner = inner[step]
        inner[ADDED] = 1
    return document


def without_added(content: Any) -> Any:
    match content:
        case dict():
            return {name: without_added(value) for name, value in content.items() if name != ADDED}
        case list():
            return [without_added(each) for each in content]
        case _:
            return content


async def check(name: str, stores: MongoStores, plain: Any) -> None:
    """Asserts that the document is stored exactly as its file says."""
    await KEPT[name].store(stores)
    stored = plain[name.partition(".")[0]].find_one({"_id": KEPT[name].id})
    add_or_fail(FOLDER / f"{name}.json", text(stored))
    assert text(stored) == json.loads((FOLDER / f"{name}.json").read_text()), f"{name} is stored otherwise"


@pytest.mark.parametrize("name", KEPT)
async def test_a_document_is_stored_and_read_as_its_golden_file_says(mongo_uri: str, name: str) -> None:
    async with database(mongo_uri) as (stores, plain):
        await check(name, stores, plain)
        as_stored = await KEPT[name].read(stores)
    for document in (pinned(name), with_added(name)):
        async with database(mongo_uri) as (stores, plain):
            plain[name.partition(".")[0]].insert_one(document)
            assert as_stored == await KEPT[name].read(stores)


async def test_what_a_newer_release_keeps_in_the_generations_outlives_an_older_ones_change(mongo_uri: str) -> None:
    async with database(mongo_uri) as (stores, plain):
        plain["generations"].insert_one(with_added("generations.full"))
        seen = await stores.generations.read()
        assert await stores.generations.swap(seen, seen.model_copy(update={"retired": {}}))
        found = plain["generations"].find_one({"_id": "views"})["catalogue"]
    assert (found["retired"], found[ADDED], found["views"]["tallies"][ADDED], found["building"][ADDED]) == ({}, 1, 1, 1)


async def test_every_collection_of_the_kernel_is_pinned(mongo_uri: str) -> None:
    async with database(mongo_uri) as (stores, plain):
        for each in KEPT.values():
            await each.store(stores)
        await stores.operations.record("redrive", "facts", "operator", "a test", NOON)
        there = set(plain.list_collection_names())
        operation = plain["operations"].find_one()
        assert operation.keys() == {"_id", "key", "action", "subject", "actor", "reason", "at"}
        assert [d.keys() for d in plain["store"].find()] == [{"_id", "epoch"}]
    by_chance = {"operations", "store"}  # their ids are: looked at above
    assert there - by_chance == {name.partition(".")[0] for name in KEPT}
    assert {path.stem for path in FOLDER.glob("*.json")} == KEPT.keys()


# The check is checked.


class Renaming(MongoAppends):
    """A planted fault: a field under another name."""

    @staticmethod
    def _document(append: Append) -> dict[str, Any]:
        document = MongoAppends._document(append)
        return {**document, "at": document.pop("recorded")}


async def test_a_document_that_is_stored_otherwise_is_found(mongo_uri: str) -> None:
    async with database(mongo_uri) as (stores, plain):
        stores.appends = Renaming(stores._link)
        with pytest.raises(AssertionError, match=r"appends\.required is stored otherwise"):
            await check("appends.required", stores, plain)
