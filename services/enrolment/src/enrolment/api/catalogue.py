"""CatalogueService: proto to command, document to proto."""

from __future__ import annotations

from typing import Any

import grpc

from catalogue.model import Programme
from catalogue.proto import programme_to_proto, read_programme
from credence.common.v1 import outcome_pb2, programme_pb2
from credence.enrolment.v1 import catalogue_pb2, catalogue_pb2_grpc
from enrolment.application.programmes import load_programmes, refused
from enrolment.domain.limits import PROGRAMMES_PAGE_BYTES_MAX, PROGRAMMES_PER_PAGE_MAX
from enrolment.views.programmes import PROGRAMMES, list_programmes
from eventcore.decider import Refusal
from servicekit.batches import rows
from servicekit.call import current_scope
from servicekit.kernel import Kernel
from servicekit.pages import page
from servicekit.violations import Violations


class CatalogueApi(catalogue_pb2_grpc.CatalogueServiceServicer):
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def LoadProgrammes(
        self, request: catalogue_pb2.LoadProgrammesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> outcome_pb2.BatchResponse:
        wishes = [_programme(row) for row in rows(request.programmes)]
        outcomes = await load_programmes(self._kernel, current_scope(), wishes, dry_run=request.dry_run)
        response = self._kernel.answer(outcomes)
        if request.dry_run:
            response.token = ""  # it would name versions that were never stored
        return response

    async def ListProgrammes(
        self, request: catalogue_pb2.ListProgrammesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> catalogue_pb2.ListProgrammesResponse:
        found = Violations()
        found.id("programme_id", request.programme_id, optional=True)
        found.raise_if_any()
        wanted = page(
            min(request.page_size or PROGRAMMES_PER_PAGE_MAX, PROGRAMMES_PER_PAGE_MAX),
            request.page_token,
            query=f"programmes/{request.programme_id}",
        )
        await self._kernel.caught_up(request.token, views=[PROGRAMMES])
        loaded = await list_programmes(self._kernel, request.programme_id, wanted.after or "", wanted.size)
        answer, size, last = catalogue_pb2.ListProgrammesResponse(), 0, ""
        for stream, programme in loaded:
            message = programme_to_proto(programme)
            size += message.ByteSize()
            if last and size > PROGRAMMES_PAGE_BYTES_MAX:
                break
            answer.programmes.append(message)
            last = stream
        if last and (len(loaded) == wanted.size or len(answer.programmes) < len(loaded)):
            answer.next_page_token = wanted.token(last)
        return answer


def _programme(row: programme_pb2.Programme) -> Programme | Refusal:
    found = read_programme(row)
    return found if isinstance(found, Programme) else refused(found)
