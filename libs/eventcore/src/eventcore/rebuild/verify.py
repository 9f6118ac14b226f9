"""Verify: a generation that was built against the one that serves, document by document, while both are folded on.

Content is body and version; the trace of the last event is not. A document at two versions says nothing yet: it is
looked at again after the builder has read to the end of the log, and whatever is then still behind the serving one
can never have been folded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eventcore.limits import COMPARED_AT_ONCE_MAX, DIFFERENCES_SHOWN_MAX, PATHS_SHOWN_MAX, UNEQUAL_DOCUMENTS_MAX
from eventcore.store import ABSENT, Versioned, ViewStore

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """One stream whose documents differ. Only the paths: the values may be personal.

    `serving` and `built` are the versions; behind, when built is the smaller.
    """

    stream: str
    serving: int
    built: int
    paths: tuple[str, ...] = ()


@dataclass
class Comparison:
    """What was found for one view. `ahead` counts documents that the serving generation has yet to fold so far."""

    view: str
    serving: int = 0
    built: int = 0
    equal: int = 0
    different: int = 0
    behind: int = 0
    ahead: int = 0
    shown: list[Difference] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return not self.different and not self.behind


def content_hash(document: Versioned) -> str:
    """Of what a document says and up to which version of its stream."""
    text = json.dumps([document.version, document.body], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


async def compare(
    view: str, serving: ViewStore, built: ViewStore, catch_up: Callable[[], Awaitable[None]]
) -> AsyncIterator[Comparison]:
    """Yields what was found so far, after every page; the last one is whole.

    `catch_up` folds everything published or stored so far into the built generation.
    """
    found = Comparison(view)
    unequal: list[str] = []
    async for streams, old, new in _pages(view, serving, built):
        found.serving += sum(v.body is not None for v in old.values())
        found.built += sum(v.body is not None for v in new.values())
        unequal += _judge(found, streams, old, new)
        yield found
    for _ in range(ROUNDS if len(unequal) <= UNEQUAL_DOCUMENTS_MAX else 0):
        again: list[str] = []
        for start in range(0, len(unequal), COMPARED_AT_ONCE_MAX):
            streams = unequal[start : start + COMPARED_AT_ONCE_MAX]
            # This order makes "behind" certain: what was serving before the builder read to the end was in the log.
            old = await serving.load(view, streams)
            await catch_up()
            again += _judge(found, streams, old, await built.load(view, streams), certain=True)
            yield found
        unequal = again
    found.ahead = len(unequal)
    yield found


async def _pages(
    view: str, serving: ViewStore, built: ViewStore
) -> AsyncIterator[tuple[list[str], dict[str, Versioned], dict[str, Versioned]]]:
    """Both generations side by side, in order of their streams."""
    after = ""
    while True:
        old = await serving.find(view, {}, after=after, limit=COMPARED_AT_ONCE_MAX)
        new = await built.find(view, {}, after=after, limit=COMPARED_AT_ONCE_MAX)
        if not old and not new:
            return
        # A full page ends where it ends: beyond the nearer end the other page may have what this one was cut before.
        ends = [page[-1][0] for page in (old, new) if len(page) == COMPARED_AT_ONCE_MAX]
        after = min(ends) if ends else max(page[-1][0] for page in (old, new) if page)
        here, there = ({s: v for s, v in page if s <= after} for page in (old, new))
        yield sorted(here.keys() | there.keys()), here, there


def _judge(
    found: Comparison,
    streams: Sequence[str],
    old: Mapping[str, Versioned],
    new: Mapping[str, Versioned],
    *,
    certain: bool = False,
) -> list[str]:
    """Counts what can be told; gives the streams to look at again."""
    again = []
    for stream in streams:
        serving, built = old.get(stream, ABSENT), new.get(stream, ABSENT)
        if serving.version == built.version:
            if content_hash(serving) == content_hash(built):
                found.equal += 1
                continue
            found.different += 1
            paths = tuple(sorted(set(differing(serving.body, built.body))))[:PATHS_SHOWN_MAX]
        elif certain and built.version < serving.version:
            found.behind += 1
            paths = ()
        else:
            again.append(stream)
            continue
        if len(found.shown) < DIFFERENCES_SHOWN_MAX:
            found.shown.append(Difference(stream, serving.version, built.version, paths))
    return again


def differing(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """The paths at which two bodies differ; a list's elements share one (`rows[].state`)."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted(one.keys() | other.keys(), key=str):
            yield from differing(one.get(key), other.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for left, right in zip(one, other, strict=True):
            yield from differing(left, right, f"{path}[]")
    elif one != other:
        yield path or "(the whole document)"
