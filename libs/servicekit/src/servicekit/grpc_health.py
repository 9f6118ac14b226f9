"""The standard gRPC health service (grpc.health.v1), told by the process and ended with it."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio  # type: ignore[attr-defined, unused-ignore]


class GrpcHealth(health_aio.HealthServicer):  # type: ignore[misc, no-any-unimported, unused-ignore]
    """Serves the status of the whole server (service name "")."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = asyncio.Event()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        watch = asyncio.create_task(super().Watch(request, context))
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({watch, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            ended.cancel()
        # Said, not just cancelled: gRPC keeps a cancelled stream open until the grace period is over.
        await context.abort(grpc.StatusCode.UNAVAILABLE, "stopping")

    async def tell(self, *, ready: bool) -> None:
        """Sets the status; ignored once ended."""
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        await self.set("", status)

    async def end(self) -> None:
        """NOT_SERVING for good, and hangs up on watchers: a watch never ends by itself and would hold up the drain."""
        await self.enter_graceful_shutdown()
        self._ended.set()
