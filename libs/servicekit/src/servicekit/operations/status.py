"""StatusService: the process's own health, over gRPC. Asks no server, so that it answers whatever is away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc

from credence.operations.v1 import status_pb2 as pb
from credence.operations.v1 import status_pb2_grpc
from eventcore.store import AppendStore
from servicekit.health import CheckReport, ConsumerReport, Health, State

_STATES = {State.OK: pb.STATE_OK, State.DEGRADED: pb.STATE_DEGRADED, State.FAILING: pb.STATE_FAILING}


class StatusApi(status_pb2_grpc.StatusServiceServicer):
    def __init__(self, service: str, appends: AppendStore, health: Health) -> None:
        self._service = service
        self._appends = appends
        self._health = health

    async def GetStatus(
        self, request: pb.GetStatusRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetStatusResponse:
        now, report = datetime.now(UTC), self._health.readiness()
        answer = pb.GetStatusResponse(
            service=self._service,
            state=_STATES[report.state],
            checks=[_check(name, check, now) for name, check in report.checks.items()],
            consumers=[_consumer(name, known) for name, known in sorted(self._health.consumers().items())],
            epoch=self._appends.epoch,
        )
        answer.at.FromDatetime(now)
        return answer


def _check(name: str, check: CheckReport, now: datetime) -> pb.Check:
    told = pb.Check(
        name=name,
        state=_STATES[check.state],
        detail=check.detail,
        age_seconds=check.age_seconds,
        dependency=check.dependency,
    )
    told.since.FromDatetime(now - timedelta(seconds=check.since_seconds))
    return told


def _consumer(name: str, known: ConsumerReport) -> pb.Consumer:
    behind = known.behind
    return pb.Consumer(
        name=name,
        waiting=behind.waiting,
        more=behind.more,
        age_seconds=behind.age_seconds,
        held_streams=behind.held_streams,
        oldest_held_seconds=behind.oldest_held_seconds,
        seen_seconds=known.seen_seconds,
    )
