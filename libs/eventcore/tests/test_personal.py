"""Personal fields: sealed the same way each time, opened until erased, never again after."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore.memory import MemoryKeys
from eventcore.personal import CACHE_SECONDS, ERASED, Keyring, Sealed
from eventcore.store import KeyErased
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

    await store.destroy_key(PERSON, NOON)

    assert await keyring(store).open(sealed) is ERASED
    assert repr(ERASED) == "ERASED"


async def test_after_an_erasure_no_key_is_ever_made_again() -> None:
    store = MemoryKeys()
    await store.destroy_key(PERSON, NOON)

    with pytest.raises(KeyErased):
        await keyring(store).seal(PERSON, "name", "A")
    assert store.keys[PERSON] is None


async def test_a_cached_key_is_forgotten_within_its_time() -> None:
    store, clock = MemoryKeys(), Clock()
    ring = keyring(store, clock=clock)
    sealed = await ring.seal(PERSON, "name", "A")
    await store.destroy_key(PERSON, NOON)

    clock.now = CACHE_SECONDS - 1
    assert await ring.open(sealed) == "A"
    clock.now = CACHE_SECONDS
    assert await ring.open(sealed) is ERASED


async def test_a_key_can_be_forgotten_at_once() -> None:
    store = MemoryKeys()
    ring = keyring(store)
    sealed = await ring.seal(PERSON, "name", "A")
    await store.destroy_key(PERSON, NOON)

    ring.forget(PERSON)

    assert await ring.open(sealed) is ERASED


async def test_of_two_first_uses_one_key_stands() -> None:
    store = MemoryKeys()
    first, second = keyring(store), keyring(store)

    class Raced(MemoryKeys):
        async def key(self, person: str) -> bytes | None:
            return None

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


def test_a_blind_index_is_keyed_and_tells_fields_apart() -> None:
    ring = keyring(MemoryKeys())

    index = ring.blind_index("email", "a@example.org")

    assert index == keyring(MemoryKeys()).blind_index("email", "a@example.org")
    assert len(index) == 64
    assert index != ring.blind_index("name", "a@example.org")
    assert index != keyring(MemoryKeys(), bytes(32)).blind_index("email", "a@example.org")
