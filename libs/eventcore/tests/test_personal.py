"""Personal fields: sealed the same way each time, opened until erased, never again after."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore.limits import KEY_CACHE_SECONDS_MAX
from eventcore.memory import MemoryKeys
from eventcore.personal import ERASED, Keyring, Sealed
from eventcore.store import KeyErased, Tombstone
from eventcore.testing import NOON

MASTER = bytes(range(32))
PERSON = "sample-learner-01"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def keyring(store: MemoryKeys, master: bytes = MASTER, clock: Clock | None = None) -> Keyring:
    return Keyring(store, master, clock or Clock())


@given(st.text())
async def test_a_sealed_value_opens_to_what_it_was(value: str) -> None:
    store = MemoryKeys()

    sealed = await keyring(store).seal(PERSON, "name", value)

    assert await keyring(store).open(sealed) == value
    assert len(value) < 4 or value not in sealed.model_dump_json()


async def test_sealing_again_gives_the_same_bytes_in_every_process() -> None:
    store = MemoryKeys()

    one, two = await keyring(store).seal(PERSON, "name", "A"), await keyring(store).seal(PERSON, "name", "A")

    assert one == two, "a retried command must have the same digest"


async def test_the_same_value_of_another_person_or_field_looks_different() -> None:
    ring = keyring(MemoryKeys())

    boxes = {
        (await ring.seal(person, name, "A")).box
        for person in (PERSON, "sample-learner-02")
        for name in ("name", "email")
    }

    assert len(boxes) == 4


async def test_a_value_moved_to_another_field_or_person_does_not_open() -> None:
    ring = keyring(MemoryKeys())
    sealed = await ring.seal(PERSON, "name", "A")
    await ring.seal("sample-learner-02", "name", "B")

    for moved in (
        sealed.model_copy(update={"field": "email"}),
        sealed.model_copy(update={"person": "sample-learner-02"}),
        sealed.model_copy(update={"box": "AAAA" + sealed.box[4:]}),
    ):
        with pytest.raises(ValueError, match="does not open"):
            await ring.open(moved)


async def test_an_erased_person_reads_as_erased_everywhere() -> None:
    store = MemoryKeys()
    sealed = await keyring(store).seal(PERSON, "name", "A")

    await store.destroy_keys([PERSON], NOON)

    assert await keyring(store).open(sealed) is ERASED
    assert repr(ERASED) == "ERASED"


async def test_after_an_erasure_no_key_is_ever_made_again() -> None:
    store = MemoryKeys()
    await store.destroy_keys([PERSON], NOON)

    with pytest.raises(KeyErased):
        await keyring(store).seal(PERSON, "name", "A")
    assert store.keys[PERSON] == Tombstone(NOON)


async def test_nothing_opens_once_its_key_is_destroyed_by_whichever_process() -> None:
    store = MemoryKeys()
    ring, other = keyring(store), keyring(store)
    sealed = await ring.seal(PERSON, "name", "A")
    assert await ring.open(sealed) == "A"

    await other.destroy([PERSON], NOON)

    assert await ring.open(sealed) is ERASED


async def test_what_is_sealed_with_a_cached_key_after_its_destruction_opens_nowhere() -> None:
    store, clock = MemoryKeys(), Clock()
    ring, other = keyring(store, clock=clock), keyring(store)
    await ring.seal(PERSON, "name", "A")
    await other.destroy([PERSON], NOON)

    clock.now = KEY_CACHE_SECONDS_MAX - 1
    assert await ring.open(await ring.seal(PERSON, "name", "B")) is ERASED
    clock.now = KEY_CACHE_SECONDS_MAX
    with pytest.raises(KeyErased):
        await ring.seal(PERSON, "name", "B")


async def test_who_destroys_a_key_forgets_it_at_once() -> None:
    ring = keyring(MemoryKeys())
    await ring.seal(PERSON, "name", "A")

    await ring.destroy([PERSON], NOON)

    with pytest.raises(KeyErased):
        await ring.seal(PERSON, "name", "A")


async def test_no_more_keys_are_in_memory_than_the_limit_and_a_dropped_one_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eventcore.personal.CACHED_KEYS_MAX", 3)
    ring, people = keyring(MemoryKeys()), [f"p{n}" for n in range(5)]

    sealed = {}
    sizes = []
    for person in people:
        sealed[person] = await ring.seal(person, "name", "A")
        sizes.append(len(ring))

    assert sizes == [1, 2, 3, 1, 2]
    for person in people:
        assert await ring.seal(person, "name", "A") == sealed[person], "it has the same key still"
        assert await ring.open(sealed[person]) == "A"
        assert len(ring) <= 3


async def test_many_values_open_with_one_read_of_the_keys() -> None:
    reads = []

    class Counted(MemoryKeys):
        async def read(self, persons: Sequence[str]) -> dict[str, bytes | Tombstone]:
            reads.append(list(persons))
            return await super().read(persons)

    store = Counted()
    ring = keyring(store)
    sealed = [await ring.seal(f"p{n % 3}", "name", f"A{n}") for n in range(9)]
    await ring.destroy(["p1"], NOON)
    reads.clear()

    assert await ring.open_all(sealed) == [ERASED if n % 3 == 1 else f"A{n}" for n in range(9)]
    assert reads == [["p0", "p1", "p2"]]
    assert await ring.open_all([]) == []


async def test_of_two_first_uses_one_key_stands() -> None:
    store = MemoryKeys()
    first, second = keyring(store), keyring(store)

    class Raced(MemoryKeys):
        async def read(self, persons: Sequence[str]) -> dict[str, bytes | Tombstone]:
            return {}

    raced = keyring(Raced(keys=store.keys))
    one = await first.seal(PERSON, "name", "A")
    two = await raced.seal(PERSON, "name", "A")

    assert one == two
    assert await second.open(two) == "A"


async def test_a_wrong_master_key_says_so() -> None:
    store = MemoryKeys()
    sealed = await keyring(store).seal(PERSON, "name", "A")

    with pytest.raises(ValueError, match="does not open with this master key"):
        await keyring(store, bytes(32)).open(sealed)


async def test_a_value_of_another_store_says_so() -> None:
    with pytest.raises(ValueError, match="the keys of another store"):
        await keyring(MemoryKeys()).open(Sealed(person=PERSON, field="name", box="AAAA"))


def test_a_master_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Keyring(MemoryKeys(), b"short", Clock())
