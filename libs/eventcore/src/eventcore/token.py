"""Read your own writes: a command's answer names the versions it wrote, a query waits until it has seen them."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from eventcore.decider import category_of
from eventcore.evaluate import Evaluation
from eventcore.fold import View
from eventcore.limits import TOKEN_BYTES_MAX, TOKEN_CHARS_MAX, TOKEN_STREAMS_MAX
from eventcore.store import ABSENT, TargetStore, ViewStore

SIGNATURE_BYTES = 16


class BadToken(ValueError):
    """Not a token of ours."""

    def __init__(self) -> None:
        super().__init__("not a token of this platform: pass back what a command answered")


class Tokens:
    """Makes and reads tokens: `{stream: version}` as an opaque string (empty for nothing).

    They are signed (HMAC-SHA256), because whether and when a query's wait ends tells how far a stream has come: with
    tokens of one's own making one could ask that of any stream. The signing key is derived from the digest key, which
    all services share; a token of one service is good at every other.
    """

    def __init__(self, digest_key: bytes) -> None:
        self._key = hmac.digest(digest_key, b"token", "sha256")

    def encode(self, versions: Mapping[str, int]) -> str:
        if not versions:
            return ""
        text = zlib.compress(json.dumps(dict(sorted(versions.items())), separators=(",", ":")).encode())
        return base64.urlsafe_b64encode(self._signature(text) + text).decode()

    def decode(self, token: str) -> dict[str, int]:
        """Raises BadToken, also for one that would unpack beyond TOKEN_BYTES_MAX."""
        if not token:
            return {}
        if len(token) > TOKEN_CHARS_MAX or not token.isascii():
            raise BadToken
        try:
            signed = base64.b64decode(token, altchars=b"-_", validate=True)
        except binascii.Error as error:
            raise BadToken from error
        signature, text = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(text)):
            raise BadToken
        try:
            unpacker = zlib.decompressobj()
            unpacked = unpacker.decompress(text, TOKEN_BYTES_MAX)
            versions = json.loads(unpacked) if not unpacker.unconsumed_tail else None
        except (ValueError, zlib.error, RecursionError) as error:
            # RecursionError: a few bytes unpack to a hundred thousand brackets, within every limit on size.
            raise BadToken from error
        if (
            not isinstance(versions, dict)
            or len(versions) > TOKEN_STREAMS_MAX
            or not all(type(v) is int and v > 0 for v in versions.values())
        ):
            raise BadToken
        return versions

    def _signature(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, "sha256")[:SIGNATURE_BYTES]


async def until(met: Callable[[], Awaitable[bool]], pause: Callable[[], Awaitable[bool]]) -> bool:
    """Looks until `met`, pausing in between; False when `pause` says that the deadline has passed."""
    while not await met():
        if not await pause():
            return False
    return True


async def missing(store: ViewStore, views: Iterable[View[Any]], versions: Mapping[str, int]) -> dict[str, int]:
    """What these views have yet to fold: ask again for this only, a token names up to TOKEN_STREAMS_MAX streams."""
    behind: dict[str, int] = {}
    for view in views:
        mine = {s: v for s, v in versions.items() if category_of(s) == view.category}
        if mine:
            found = await store.load(view.name, list(mine))
            behind.update({s: v for s, v in mine.items() if found.get(s, ABSENT).version < v})
    return behind


async def unevaluated(
    store: TargetStore, evaluation: Evaluation, target: str, versions: Mapping[str, int]
) -> dict[str, int]:
    """What the token names and the target's result does not rest on yet.

    Folded and not dirty is not enough: the result's own basis must have reached the versions.
    """
    mine = {s: versions[s] for s in evaluation.rests_on(target) if s in versions}
    if not mine:
        return {}
    found = (await store.read(evaluation.name, [target])).get(target)
    basis = found.basis if found else {}
    return {s: v for s, v in mine.items() if basis.get(s, 0) < v}
