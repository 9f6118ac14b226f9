"""Verify: a generation that was built against the one that serves, document by document, while both are folded on.

Content is body and version; the trace of the last event is not. A document at two versions says nothing yet: it is
looked at again after the builder has read to the end of the log, and whatever is then still behind the serving one
can never have been folded. That is done page by page, so that nothing grows with how much is unequal: a comparison
that gives up on counting would take a topic that lost everything for a serving generation that is late.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eventcore.limits import COMPARED_AT_ONCE_MAX, DIFFERENCES_SHOWN_MAX, NAMED_AT_ONCE_MAX, PATHS_SHOWN_MAX
from eventcore.parts import parts
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
    """What was found for one view, each stream counted once, when it is settled what it is.

    `serving` and `built` are those with a document there. Each stream is one of `equal`, `different`, `behind`, and
    `ahead`: the serving generation has yet to fold it so far.
    """

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
    await catch_up()  # what came while it was built makes no page unequal
    async for streams, old, new in _pages(view, serving, built):
        unequal = _judge(found, streams, old, new)
        for _ in range(ROUNDS):
            if not unequal:
                break
            # This order makes "behind" certain: what was serving before the builder read to the end was in the log.
            old = await serving.load(view, unequal)
            await catch_up()
            new = await built.load(view, unequal)
            unequal = _judge(found, unequal, old, new, certain=True)
        found.ahead += len(unequal)
        _count(found, unequal, old, new)
        yield found
    yield found


def _count(
    found: Comparison, streams: Sequence[str], old: Mapping[str, Versioned], new: Mapping[str, Versioned]
) -> None:
    found.serving += sum(old.get(stream, ABSENT).body is not None for stream in streams)
    found.built += sum(new.get(stream, ABSENT).body is not None for stream in streams)


async def _pages(
    view: str, serving: ViewStore, built: ViewStore
) -> AsyncIterator[tuple[list[str], dict[str, Versioned], dict[str, Versioned]]]:
    """Both generations side by side, in order of their streams."""
    after = ""
    while True:
        old = await serving.names(view, {}, after=after, limit=NAMED_AT_ONCE_MAX)
        new = await built.names(view, {}, after=after, limit=NAMED_AT_ONCE_MAX)
        if not old and not new:
            return
        # Full names end where they end: beyond the nearer end the others may have what these were cut before.
        ends = [names[-1] for names in (old, new) if len(names) == NAMED_AT_ONCE_MAX]
        after = min(ends) if ends else max(names[-1] for names in (old, new) if names)
        streams = sorted({stream for stream in (*old, *new) if stream <= after})
        for part in parts(streams, COMPARED_AT_ONCE_MAX):
            yield part, await serving.load(view, part), await built.load(view, part)


def _judge(
    found: Comparison,
    streams: Sequence[str],
    old: Mapping[str, Versioned],
    new: Mapping[str, Versioned],
    *,
    certain: bool = False,
) -> list[str]:
    """Counts what can be told; gives the streams to look at again."""
    again: list[str] = []
    for stream in streams:
        serving, built = old.get(stream, ABSENT), new.get(stream, ABSENT)
        if serving.version == built.version:
            if content_hash(serving) == content_hash(built):
                found.equal += serving.body is not None
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
    _count(found, sorted(set(streams) - set(again)), old, new)
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
