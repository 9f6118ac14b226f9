"""Whoever a folded document says erased has no key here any more: on the first fold, and on every duplicate."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel

from eventcore.erasure import ErasingMarks, destroy_again
from eventcore.event import Recorded
from eventcore.fold import Folder, View
from eventcore.memory import MemoryKeys, MemoryViews
from eventcore.personal import AboutPerson, Keyring
from eventcore.store import StoreUnavailable, Tombstone
from eventcore.testing import NOON


class Document(AboutPerson):
    folded: int


PEOPLE = View(
    "people",
    "person",
    Document,
    lambda document, event: Document(folded=event.version, erased=event.event == "erased"),
)


class Marked:
    def __init__(self) -> None:
        self.marked: list[str] = []

    async def mark(
        self, view: View[Any], documents: Mapping[str, BaseModel | None], repeated: Mapping[str, int]
    ) -> None:
        self.marked += documents


class Away(MemoryKeys):
    away = True

    async def destroy_keys(self, persons: Any, at: datetime) -> None:
        if self.away:
            raise StoreUnavailable("away")
        await super().destroy_keys(persons, at)


def told(person: str, version: int, event: str) -> Recorded[Any]:
    return Recorded(f"person-{person}", version, event, NOON)


def folding(keys: MemoryKeys) -> tuple[Folder, Marked]:
    marks = Marked()
    ring = Keyring(keys, bytes(32), lambda: 0.0)
    return Folder([PEOPLE], MemoryViews(), ErasingMarks(marks, ring, lambda: NOON)), marks


async def test_the_fold_of_an_erasure_destroys_the_key_and_marks_as_ever() -> None:
    keys = MemoryKeys(keys={"a-b": b"key", "c": b"key"})
    folder, marks = folding(keys)

    await folder.fold({"person-a-b": [told("a-b", 1, "erased")], "person-c": [told("c", 1, "named")]})

    assert keys.keys == {"a-b": Tombstone(NOON), "c": b"key"}
    assert marks.marked == ["person-a-b", "person-c"]


async def test_a_person_without_a_key_gets_a_tombstone() -> None:
    keys = MemoryKeys()
    folder, _ = folding(keys)

    await folder.fold({"person-a": [told("a", 1, "erased")]})

    assert keys.keys == {"a": Tombstone(NOON)}


async def test_nothing_is_marked_while_a_key_cannot_be_destroyed_and_the_duplicate_destroys_it() -> None:
    keys = Away(keys={"a": b"key"})
    folder, marks = folding(keys)
    with pytest.raises(StoreUnavailable):
        await folder.fold({"person-a": [told("a", 1, "erased")]})
    assert marks.marked == []

    keys.away = False
    await folder.fold({"person-a": [told("a", 1, "erased")]})

    assert keys.keys == {"a": Tombstone(NOON)}
    assert marks.marked == ["person-a"]


async def test_keys_that_came_back_with_a_backup_are_destroyed_again() -> None:
    keys, views = MemoryKeys(), MemoryViews()
    ring = Keyring(keys, bytes(32), lambda: 0.0)
    folder = Folder([PEOPLE], views, ErasingMarks(Marked(), ring, lambda: NOON))
    erased = [f"p{n:04d}" for n in range(1_001)]
    await folder.fold({f"person-{p}": [told(p, 1, "erased")] for p in erased})
    await folder.fold({"person-q": [told("q", 1, "named")]})
    keys.keys.clear()
    keys.keys |= dict.fromkeys(("p0000", "p1000", "q"), b"restored")

    await destroy_again(PEOPLE, views, ring, NOON)

    assert keys.keys == {**dict.fromkeys(erased, Tombstone(NOON)), "q": b"restored"}
