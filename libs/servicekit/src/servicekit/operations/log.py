"""LogService: publishing again.

It only asks: the first append of each stream is marked, and the service's one Publisher sends the stream from there on,
whole and in order, as it sends everything else. So it needs no publisher of its own that could overtake the other, and
goes on by itself when whoever asked has gone.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any

import grpc

from credence.operations.v1 import log_pb2 as pb
from credence.operations.v1 import log_pb2_grpc
from eventcore.store import AppendStore, Outbox
from servicekit.limits import PAGE_SIZE_MAX, SELECTED_STREAMS_MAX
from servicekit.operations.recording import Recording, check_reason
from servicekit.violations import Violations

# Between two looks at what is not out yet; a look that takes long makes the pause longer, not the database busy.
LOOK_SECONDS = 0.5
LOOK_SHARE = 5
_LAST = 1 << 62  # beyond any version
_STREAM = re.compile(r"[a-z]+(-[a-z0-9-]{1,64})")


class LogApi(log_pb2_grpc.LogServiceServicer):
    """`wake` tells the publisher that there is work; `problem` says why it is held up, if it is."""

    def __init__(
        self,
        appends: AppendStore,
        outbox: Outbox,
        categories: Collection[str],
        recording: Recording,
        *,
        wake: Callable[[], None],
        problem: Callable[[], str],
    ) -> None:
        self._appends = appends
        self._outbox = outbox
        self._categories = categories
        self._recording = recording
        self._wake = wake
        self._problem = problem

    async def Republish(
        self, request: pb.RepublishRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.RepublishResponse]:
        self._check(request)
        if missing := await self._unknown(request.streams):
            found = Violations()
            found.add("streams", f"there is no stream {', '.join(missing[:10])}: look at the ids")
            found.raise_if_any()
        told = pb.RepublishResponse(phase=pb.REPUBLISH_PHASE_COUNTING)
        async for streams, events in self._pages(request):
            told.streams += len(streams)
            told.streams_total += len(streams)
            told.events_total += events
            yield told
        if not request.dry_run and told.streams_total:
            await self._recording("republish", _subject(request), request.reason)
            republication = secrets.token_hex(8)
            async for step in self._ask(request, republication, told):
                yield step
            async for step in self._published(republication, told):
                yield step
        told.phase, told.streams, told.problem = pb.REPUBLISH_PHASE_DONE, told.streams_total, ""
        yield told

    async def _ask(
        self, request: pb.RepublishRequest, republication: str, told: pb.RepublishResponse
    ) -> AsyncIterator[pb.RepublishResponse]:
        told.phase, told.streams = pb.REPUBLISH_PHASE_ASKING, 0
        async for streams, _ in self._pages(request):
            if streams:
                await self._outbox.ask_again(streams, republication)
                self._wake()
                told.streams += len(streams)
                told.after = streams[-1]
                yield told

    async def _published(self, republication: str, told: pb.RepublishResponse) -> AsyncIterator[pb.RepublishResponse]:
        told.phase, told.after = pb.REPUBLISH_PHASE_PUBLISHING, ""
        while True:
            began = time.monotonic()
            left = await self._outbox.asked(republication)
            # What was stored meanwhile is not counted, and what another asks for again is no longer this one's.
            told.streams, told.problem = max(0, told.streams_total - left), self._problem()
            yield told
            if not left:
                return
            await asyncio.sleep(max(LOOK_SECONDS, LOOK_SHARE * (time.monotonic() - began)))

    async def _pages(self, request: pb.RepublishRequest) -> AsyncIterator[tuple[list[str], int]]:
        """(streams that begin, events) of each page of what is asked for."""
        if request.streams:
            streams = sorted({s for s in request.streams if s > request.after})
            loaded = await self._appends.load(streams)
            yield streams, sum(len(append.events) for appends in loaded.values() for append in appends)
            return
        for category in sorted(set(request.categories)) or [""]:
            after = (request.after, _LAST) if request.after else ("", 0)
            while page := await self._outbox.slots(category=category, after=after, limit=PAGE_SIZE_MAX):
                yield [stream for stream, first, _ in page if first == 1], sum(last - f + 1 for _, f, last in page)
                after = page[-1][:2]

    async def _unknown(self, streams: Sequence[str]) -> list[str]:
        known = await self._appends.load(sorted(set(streams))) if streams else {}
        return sorted(set(streams) - known.keys())

    def _check(self, request: pb.RepublishRequest) -> None:
        found = Violations()
        if not request.dry_run:
            check_reason(found, request.reason)
        if request.streams and request.categories:
            found.add("categories", "must be empty where streams are named: name streams, or categories, or neither")
        if len(request.streams) > SELECTED_STREAMS_MAX:
            found.add("streams", f"must be at most {SELECTED_STREAMS_MAX}: ask for categories, or again for the rest")
        for i, stream in enumerate(request.streams[:SELECTED_STREAMS_MAX]):
            if not _STREAM.fullmatch(stream):
                found.add(f"streams[{i}]", "is not the name of a stream, such as cohort-com-1")
        if request.after and not _STREAM.fullmatch(request.after):
            found.add("after", "is not the name of a stream, such as cohort-com-1")
        for i, category in enumerate(request.categories):
            if category not in self._categories:
                known = ", ".join(sorted(self._categories))
                found.add(f"categories[{i}]", f"is not one of this service's: {known}")
        found.raise_if_any()


def _subject(request: pb.RepublishRequest) -> str:
    what = ", ".join([*request.categories, *request.streams[:20]]) or "all"
    more = f" and {len(request.streams) - 20} more" if len(request.streams) > 20 else ""
    return what + more + (f" beyond {request.after}" if request.after else "")
