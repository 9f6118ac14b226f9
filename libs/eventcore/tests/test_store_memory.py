"""The store contract in memory, with every operation giving way to the others first."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from eventcore.memory import (
    MemoryAppends,
    MemoryGenerations,
    MemoryHeld,
    MemoryKeys,
    MemoryOperations,
    MemoryTargets,
    MemoryViews,
)
from eventcore.store import Append, Insert

from .store_contract import WRITERS, StoreContract, Stores, append, check_dense
from .store_writer import write_all


async def give_way(_operation: str) -> None:
    await asyncio.sleep(0)


class TestMemoryStores(StoreContract):
    @pytest.fixture
    def stores(self) -> Stores:
        return Stores(
            MemoryAppends(switch=give_way),
            MemoryViews(switch=give_way),
            MemoryTargets(switch=give_way),
            MemoryKeys(switch=give_way),
            MemoryOperations(switch=give_way),
            MemoryHeld(switch=give_way),
            MemoryGenerations(switch=give_way),
        )


@dataclass
class AppendsWithoutTheLock(MemoryAppends):
    """A planted bug: nothing makes a slot unique."""

    kept: list[Append] = field(default_factory=list)

    def store(self, append: Append) -> Insert:
        self.kept.append(append)
        return Insert.STORED

    async def load(self, streams: object) -> dict[str, list[Append]]:
        await self.switch("load appends")
        return {"tally-raced": sorted(self.kept, key=lambda a: a.first)} if self.kept else {}


async def test_the_check_turns_red_on_a_store_without_the_lock() -> None:
    store = AppendsWithoutTheLock(switch=give_way)
    acknowledged = await write_all(store, "tally-raced", WRITERS, 2)
    with pytest.raises(AssertionError, match=r"where \d+ is due"):
        check_dense(store.kept, acknowledged)


def test_the_check_turns_red_on_a_gap_a_lost_and_a_twice_done_command() -> None:
    whole = [append("tally-a"), append("tally-a", 2)]
    check_dense(whole, {"tally-a-1-someone": 1, "tally-a-2-someone": 2})
    with pytest.raises(AssertionError, match="where 2 is due"):
        check_dense([append("tally-a"), append("tally-a", 3)], {})
    with pytest.raises(AssertionError, match="acknowledged but not stored"):
        check_dense(whole, {"another": 2})
    with pytest.raises(AssertionError, match="acknowledged but not stored"):
        check_dense(whole, {"tally-a-1-someone": 2})
    twice = [whole[0], Append("tally-a", 2, whole[0].steps, whole[1].events, whole[1].recorded)]
    with pytest.raises(AssertionError, match="twice"):
        check_dense(twice, {})
