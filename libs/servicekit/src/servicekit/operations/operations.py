"""OperationService: what was done to this service, by whom and why."""

from __future__ import annotations

from typing import Any

import grpc

from credence.operations.v1 import operations_pb2 as pb
from credence.operations.v1 import operations_pb2_grpc
from eventcore.store import OperationLog
from servicekit.pages import page


class OperationApi(operations_pb2_grpc.OperationServiceServicer):
    def __init__(self, log: OperationLog) -> None:
        self._log = log

    async def ListOperations(
        self, request: pb.ListOperationsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListOperationsResponse:
        wanted = page(request.page_size, request.page_token, query="operations")
        found = await self._log.list(before=wanted.after or "", limit=wanted.size + 1)
        shown = found[: wanted.size]
        answer = pb.ListOperationsResponse(
            next_page_token=wanted.token(shown[-1].id) if len(found) > len(shown) else ""
        )
        for o in shown:
            kept = answer.operations.add(id=o.id, action=o.action, subject=o.subject, actor=o.actor, reason=o.reason)
            kept.at.FromDatetime(o.at)
        return answer
