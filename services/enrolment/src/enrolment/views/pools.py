"""Pools: who holds a place, and who waits in which order. Counted in a cohort's answer; a fact of placing."""

from __future__ import annotations

from typing import Any

from enrolment.domain.pool import CATEGORY, POOL, Pool
from eventcore.event import Recorded
from eventcore.fold import View


def fold(document: Pool | None, event: Recorded[Any]) -> Pool:
    return POOL.evolve(document or POOL.initial, event.event, event.version)


POOLS = View(name="pools", category=CATEGORY, document=Pool, fold=fold)
