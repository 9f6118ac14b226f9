"""Read your own writes: a command's answer names the versions it wrote, a query waits until it has seen them."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from eventcore.decider import category_of
from eventcore.evaluate import Evaluation
from eventcore.fold import View
from eventcore.store import ABSENT, TargetStore, ViewStore

MAX_STREAMS = 1000
MAX_BYTES = 256 * 1024


class BadToken(ValueError):
    """Not a token of ours."""


def encode(versions: Mapping[str, int]) -> str:
    """`{stream: version}` as an opaque string (empty for nothing)."""
    if not versions:
        return ""
    text = json.dumps(dict(sorted(versions.items())), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(zlib.compress(text)).decode()


def decode(token: str) -> dict[str, int]:
    """Raises BadToken, also for one that would unpack beyond MAX_BYTES."""
    if not token:
        return {}
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(base64.urlsafe_b64decode(token.encode()), MAX_BYTES)
        versions = json.loads(text) if not unpacker.unconsumed_tail else None
    except (ValueError, binascii.Error, zlib.error, RecursionError) as error:
        # RecursionError: a few bytes unpack to a hundred thousand brackets, within every limit on size.
        raise BadToken("not a token of this platform: pass back what a command answered") from error
    if (
        not isinstance(versions, dict)
        or len(versions) > MAX_STREAMS
        or not all(type(v) is int and v > 0 for v in versions.values())
    ):
        raise BadToken("not a token of this platform: pass back what a command answered")
    return versions


def merge(tokens: Iterable[str]) -> str:
    """One token that waits for everything that these wait for."""
    versions: dict[str, int] = {}
    for token in tokens:
        for stream, version in decode(token).items():
            versions[stream] = max(version, versions.get(stream, 0))
    return encode(versions)


async def until(met: Callable[[], Awaitable[bool]], pause: Callable[[], Awaitable[bool]]) -> bool:
    """Looks until `met`, pausing in between; False when `pause` says that the deadline has passed."""
    while not await met():
        if not await pause():
            return False
    return True


async def folded(store: ViewStore, views: Iterable[View[Any]], versions: Mapping[str, int]) -> bool:
    """Whether these views have folded what the token names of their streams."""
    return not await missing(store, views, versions)


async def missing(store: ViewStore, views: Iterable[View[Any]], versions: Mapping[str, int]) -> dict[str, int]:
    """What these views have yet to fold: ask again for this only, a token names up to MAX_STREAMS streams."""
    behind: dict[str, int] = {}
    for view in views:
        mine = {s: v for s, v in versions.items() if category_of(s) == view.category}
        if mine:
            found = await store.load(view.name, list(mine))
            behind.update({s: v for s, v in mine.items() if found.get(s, ABSENT).version < v})
    return behind


async def evaluated(store: TargetStore, evaluation: Evaluation, target: str, versions: Mapping[str, int]) -> bool:
    """Whether the target's result rests on what the token names.

    Folded and not dirty is not enough: the result's own basis must have reached the versions.
    """
    mine = {s: versions[s] for s in evaluation.rests_on(target) if s in versions}
    if not mine:
        return True
    found = (await store.read(evaluation.name, [target])).get(target)
    return found is not None and all(found.basis.get(s, 0) >= v for s, v in mine.items())
