"""PrivacyService: what this service holds about a person, and whether its key of theirs is gone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from credence.operations.v1 import privacy_pb2 as pb
from credence.operations.v1 import privacy_pb2_grpc
from eventcore.fold import View
from eventcore.personal import AboutPerson
from eventcore.store import KeyStore, Tombstone
from servicekit.errors import Unavailable
from servicekit.operations.recording import Recording
from servicekit.pages import page
from servicekit.person_data import Item, Kind, PersonData
from servicekit.violations import Violations

KINDS: dict[Kind, pb.ItemKind.ValueType] = {
    "event": pb.ITEM_KIND_EVENT,
    "step": pb.ITEM_KIND_STEP,
    "document": pb.ITEM_KIND_DOCUMENT,
    "result": pb.ITEM_KIND_RESULT,
    "held": pb.ITEM_KIND_HELD,
}


class PrivacyApi(privacy_pb2_grpc.PrivacyServiceServicer):
    """`people` is the service's view of the streams that tell of erasures; `behind` says what of all that is stored or
    told was not folded and evaluated yet, empty where nothing is worth a word."""

    def __init__(
        self, data: PersonData, people: View[Any], keys: KeyStore, recording: Recording, behind: Callable[[], str]
    ) -> None:
        self._data = data
        self._people = people
        self._keys = keys
        self._recording = recording
        self._behind = behind

    async def ExportPerson(
        self, request: pb.ExportPersonRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.ExportPersonResponse]:
        _check(request.person_id)
        await self._recording("export", f"{self._people.category}-{request.person_id}", "")
        behind = self._behind()
        async for item in self._data.of(request.person_id):
            yield _item(item)
        if behind:
            # Views name the streams that are read: of one they have not heard of, nothing was.
            raise Unavailable(f"it is behind, and newer items may be missing: {behind}", reason="behind")

    async def GetErasure(
        self, request: pb.GetErasureRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Erasure:
        _check(request.person_id)
        stream = f"{self._people.category}-{request.person_id}"
        found = (await self._data.documents.load(self._people.name, [stream])).get(stream)
        document = self._people.read(found) if found is not None else None
        key = (await self._keys.read([request.person_id])).get(request.person_id)
        erasure = _erasure(request.person_id, key if isinstance(key, Tombstone) else None)
        erasure.heard = isinstance(document, AboutPerson) and document.erased
        if not erasure.destroyed:
            for consumer in self._data.consumers:
                if await self._data.held.heads(consumer, [stream]):
                    erasure.held_by, erasure.stream = consumer, stream
        return erasure

    async def ListErasures(
        self, request: pb.ListErasuresRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListErasuresResponse:
        wanted = page(request.page_size, request.page_token, query="erasures")
        found = await self._keys.tombstones(after=wanted.after or "", limit=wanted.size + 1)
        shown = found[: wanted.size]
        erasures = [_erasure(person, tombstone) for person, tombstone in shown]
        for erasure in erasures:
            erasure.heard = True
        more = wanted.token(shown[-1][0]) if len(found) > len(shown) else ""
        return pb.ListErasuresResponse(erasures=erasures, next_page_token=more)


def _check(person_id: str) -> None:
    found = Violations()
    found.id("person_id", person_id)
    found.raise_if_any()


def _erasure(person_id: str, tombstone: Tombstone | None) -> pb.Erasure:
    erasure = pb.Erasure(person_id=person_id, destroyed=tombstone is not None)
    if tombstone is not None:
        erasure.destroyed_at.FromDatetime(tombstone.at)
    return erasure


def _item(item: Item) -> pb.ExportPersonResponse:
    told = pb.ExportPersonResponse(
        kind=KINDS[item.kind],
        stream=item.stream,
        version=item.version,
        name=item.name,
        content=json.dumps(item.content, ensure_ascii=False, default=str),
    )
    if item.recorded is not None:
        told.recorded.FromDatetime(item.recorded)
    return told
