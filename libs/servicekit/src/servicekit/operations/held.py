"""HeldService: what stands aside is listed, shown whole, tried again, or gone on without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc

from credence.operations.v1 import held_pb2 as pb
from credence.operations.v1 import held_pb2_grpc
from eventcore.decider import is_stream_name
from eventcore.held import Holding, NeverDiscarded, NotStuckThere
from eventcore.held import Released as KernelReleased
from eventcore.limits import VERSION_MAX
from eventcore.store import Entry, Head, HeldGroup, HeldKind, HeldStore, grouped
from servicekit.call import current_call
from servicekit.errors import FailedPrecondition, InvalidArgument, NotFound
from servicekit.limits import (
    HELD_ENTRIES_BYTES_MAX,
    HELD_ENTRIES_MAX,
    REASON_CHARS_MAX,
    REDRIVEN_AT_ONCE_MAX,
    SELECTED_STREAMS_MAX,
)
from servicekit.operations.recording import Recording, check_reason
from servicekit.pages import Page, page
from servicekit.violations import Violations

_KINDS: dict[HeldKind, pb.HeldKind.ValueType] = {"poison": pb.HELD_KIND_POISON, "gap": pb.HELD_KIND_GAP}
_NAMES = {number: kind for kind, number in _KINDS.items()}


class HeldApi(held_pb2_grpc.HeldServiceServicer):
    def __init__(self, store: HeldStore, holdings: Iterable[Holding], recording: Recording) -> None:
        self._store = store
        self._holdings = {holding.consumer: holding for holding in holdings}
        self._recording = recording

    async def ListHeld(
        self, request: pb.ListHeldRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListHeldResponse:
        self._check(request.selection)
        wanted = page(request.page_size, request.page_token, query=f"held {request.selection!r}")
        heads, more = await self._select(request.selection, wanted, wanted.size)
        groups = [] if wanted.after else await self._groups(request.selection)
        return pb.ListHeldResponse(
            groups=[_group(group) for group in groups],
            streams=[_head(head) for head in heads],
            next_page_token=wanted.token(_place(heads[-1])) if more else "",
        )

    async def GetHeld(
        self, request: pb.GetHeldRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetHeldResponse:
        found = Violations()
        self._check_place(found, request.consumer, request.stream)
        found.raise_if_any()
        wanted = page(request.page_size, request.page_token, query=f"held {request.consumer} {request.stream}")
        head = (await self._store.heads(request.consumer, [request.stream])).get(request.stream)
        if head is None:
            raise NotFound("held stream: it may have been released meanwhile")
        size = min(wanted.size, HELD_ENTRIES_MAX)
        entries = await self._store.entries(
            request.consumer, head.epoch, request.stream, after=_version(wanted), limit=size + 1
        )
        shown = _fitting(entries[:size])
        more = len(entries) > len(shown)
        return pb.GetHeldResponse(
            held=_head(head),
            entries=[_entry(entry) for entry in shown],
            next_page_token=wanted.token(str(shown[-1].version)) if more else "",
        )

    async def RedriveHeld(
        self, request: pb.RedriveHeldRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RedriveHeldResponse:
        found = Violations()
        found.text("reason", request.reason, REASON_CHARS_MAX, optional=True)
        found.raise_if_any()
        self._check(request.selection)
        wanted = page(request.page_size, request.page_token, query=f"redrive {request.selection!r}")
        if not request.dry_run and not wanted.after:
            await self._recording("redrive", _subject(request.selection), request.reason)
        heads, more = await self._select(request.selection, wanted, min(wanted.size, REDRIVEN_AT_ONCE_MAX))
        tried = []
        for head in heads:
            # What a consumer held that this release has no more is listed, and cannot be tried here.
            if (holding := self._holdings.get(head.consumer)) is not None:
                released = await holding.redrive([head.stream], dry_run=request.dry_run)
                tried += [_released(head.consumer, each) for each in released]
        return pb.RedriveHeldResponse(tried=tried, next_page_token=wanted.token(_place(heads[-1])) if more else "")

    async def DiscardHeld(
        self, request: pb.DiscardHeldRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.DiscardHeldResponse:
        found = Violations()
        self._check_place(found, request.consumer, request.stream)
        if not 1 <= request.version <= VERSION_MAX:
            found.add("version", "must be the version at which the stream is stuck")
        check_reason(found, request.reason)
        found.raise_if_any()
        holding = self._holdings[request.consumer]
        actor = current_call().principal.subject
        try:
            if not request.dry_run:
                # First of all whether it can be: what is refused was not done, and is not recorded.
                await holding.check_discard(request.stream, request.version)
                await self._recording(
                    "discard", f"{request.consumer} {request.stream}@{request.version}", request.reason
                )
            released = await holding.discard(
                request.stream, request.version, reason=request.reason, actor=actor, dry_run=request.dry_run
            )
        except NeverDiscarded as error:
            mend = await self._mend(request.consumer, request.stream)
            raise FailedPrecondition("never-discarded", f"{error}. {mend}") from error
        except NotStuckThere as error:
            stuck = {"stuck_version": str(error.head.version)} if error.head else {}
            raise FailedPrecondition("not-stuck-there", str(error), stuck) from error
        return pb.DiscardHeldResponse(released=_released(request.consumer, released))

    async def _mend(self, consumer: str, stream: str) -> str:
        """How a stream goes on that must not lose a version."""
        mend = (
            "A release that cannot fold it: start one that can, then "
            f"`credence held redrive --consumer {consumer} --stream {stream}`"
        )
        if not consumer.endswith(".facts"):
            return mend
        head = (await self._store.heads(consumer, [stream])).get(stream)
        entries = await self._store.entries(consumer, head.epoch, stream, limit=1) if head else []
        source = entries[0].topic.split(".")[1] if entries and entries[0].topic.count(".") else "..."
        again = f'`credence republish --service {source} --stream {stream} --reason "..."`'
        return f"A gap or damaged bytes: {again}. {mend}"

    # ---- what is asked for

    def _check(self, selection: pb.HeldSelection) -> None:
        found = Violations()
        if selection.consumer:
            self._check_consumer(found, "selection.consumer", selection.consumer)
        if len(selection.streams) > SELECTED_STREAMS_MAX:
            found.add("selection.streams", f"must be at most {SELECTED_STREAMS_MAX}")
        for i, stream in enumerate(selection.streams[:SELECTED_STREAMS_MAX]):
            if not is_stream_name(stream):
                found.add(f"selection.streams[{i}]", "is not the name of a held stream: see `credence held list`")
        if selection.kind and selection.kind not in _NAMES:
            found.add("selection.kind", "is not a value this version knows")
        found.raise_if_any()

    def _check_place(self, found: Violations, consumer: str, stream: str) -> None:
        self._check_consumer(found, "consumer", consumer)
        if not is_stream_name(stream):
            found.add("stream", "is not the name of a held stream: see `credence held list`")

    def _check_consumer(self, found: Violations, field: str, consumer: str) -> None:
        if consumer not in self._holdings:
            found.add(field, f"is none of this service's: {', '.join(sorted(self._holdings))}")

    async def _groups(self, selection: pb.HeldSelection) -> list[HeldGroup]:
        if selection.streams:
            return grouped(await self._named(selection))
        return [group for group in await self._store.groups() if _selects(selection, group)]

    async def _named(self, selection: pb.HeldSelection) -> list[Head]:
        """The heads of the streams that are named, so far as the rest selects them too, in order."""
        return [
            head
            for consumer in sorted(self._holdings)
            for _, head in sorted((await self._store.heads(consumer, sorted(set(selection.streams)))).items())
            if _selects(selection, head)
        ]

    async def _select(self, selection: pb.HeldSelection, wanted: Page, size: int) -> tuple[list[Head], bool]:
        """A page of what is selected, in order of (consumer, stream), and whether there is more."""
        consumer, _, stream = (wanted.after or "").partition(" ")
        if selection.streams:
            found = [h for h in await self._named(selection) if (h.consumer, h.stream) > (consumer, stream)]
        else:
            found = await self._store.find(
                consumer=selection.consumer,
                kind=_NAMES.get(selection.kind),
                error=selection.error,
                after=(consumer, stream),
                limit=size + 1,
            )
        return found[:size], len(found) > size


def _selects(selection: pb.HeldSelection, of: Head | HeldGroup) -> bool:
    """But for its streams."""
    return (
        selection.consumer in ("", of.consumer)
        and _NAMES.get(selection.kind) in (None, of.kind)
        and selection.error in ("", of.error)
    )


def _place(head: Head) -> str:
    return f"{head.consumer} {head.stream}"


def _version(wanted: Page) -> int:
    try:
        return int(wanted.after or "0")
    except ValueError:
        raise InvalidArgument([("page_token", "is not a token of this query: start without one")]) from None


def _subject(selection: pb.HeldSelection) -> str:
    named: Mapping[str, str] = {
        "consumer": selection.consumer,
        "kind": _NAMES.get(selection.kind, ""),
        "error": selection.error,
        "streams": ", ".join(selection.streams[:20]),
    }
    return "; ".join(f"{name} {value}" for name, value in named.items() if value) or "all"


def _fitting(entries: list[Entry]) -> list[Entry]:
    """As many as one answer holds; always one."""
    shown: list[Entry] = []
    size = 0
    for entry in entries:
        size += len(entry.value or b"") + len(entry.key or b"") + sum(len(v or b"") + len(n) for n, v in entry.headers)
        if shown and size > HELD_ENTRIES_BYTES_MAX:
            break
        shown.append(entry)
    return shown


def _head(head: Head) -> pb.HeldStream:
    told = pb.HeldStream(
        consumer=head.consumer,
        stream=head.stream,
        epoch=head.epoch,
        kind=_KINDS[head.kind],
        version=head.version,
        error=head.error,
        attempts=head.attempts,
    )
    told.first.FromDatetime(head.first)
    told.last.FromDatetime(head.last)
    return told


def _group(group: HeldGroup) -> pb.HeldGroup:
    told = pb.HeldGroup(consumer=group.consumer, kind=_KINDS[group.kind], error=group.error, streams=group.streams)
    told.oldest.FromDatetime(group.oldest)
    return told


def _entry(entry: Entry) -> pb.HeldEntry:
    told = pb.HeldEntry(
        version=entry.version,
        topic=entry.topic,
        partition=entry.partition,
        offset=entry.offset,
        key=entry.key or b"",
        headers=[pb.HeldHeader(name=name, value=value) for name, value in entry.headers],
        value=entry.value,
    )
    told.held.FromDatetime(entry.at)
    return told


def _released(consumer: str, released: KernelReleased) -> pb.Released:
    fault = released.fault
    return pb.Released(
        consumer=consumer,
        stream=released.stream,
        folded=released.folded,
        stuck_version=fault.version if fault else 0,
        error=fault.reason if fault else "",
    )
