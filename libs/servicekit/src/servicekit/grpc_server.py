"""The gRPC server and every option of it that bounds what a client can make it hold.

gRPC's own defaults allow any number of connections and leave a silent one open for two minutes, an idle one for ever.
"""

from __future__ import annotations

import grpc

from servicekit import limits
from servicekit.interceptor import RpcInterceptor
from servicekit.load import calls_of_one
from servicekit.settings import ServiceSettings


def options(settings: ServiceSettings) -> tuple[tuple[str, int], ...]:
    """gRPC's channel arguments (`grpc_types.h`), times in milliseconds."""
    return (
        # On Linux gRPC shares a port by default: a second process would take half the calls instead of failing.
        ("grpc.so_reuseport", 0),
        # Also of what a compressed message unpacks to.
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # Both: between the first and the second gRPC would let some through by chance.
        ("grpc.max_metadata_size", limits.METADATA_BYTES_MAX),
        ("grpc.absolute_max_metadata_size", limits.METADATA_BYTES_MAX),
        ("grpc.max_concurrent_streams", calls_of_one(settings.max_concurrent_rpcs)),
        ("grpc.server.max_pending_requests", limits.PENDING_CALLS_MAX),
        ("grpc.server.max_pending_requests_hard_limit", limits.PENDING_CALLS_MAX),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.server_handshake_timeout_ms", limits.HANDSHAKE_SECONDS_MAX * 1000),
        # Until then none of the limits above holds for it.
        ("grpc.http2.settings_timeout", limits.HANDSHAKE_SECONDS_MAX * 1000),
        ("grpc.max_connection_idle_ms", limits.IDLE_SECONDS_MAX * 1000),
        ("grpc.max_connection_age_ms", limits.CONNECTION_AGE_SECONDS_MAX * 1000),
        ("grpc.max_connection_age_grace_ms", int(settings.longest_stream_seconds * 1000)),
        ("grpc.keepalive_time_ms", limits.KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", limits.KEEPALIVE_ANSWER_SECONDS_MAX * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", limits.PING_SECONDS_MIN * 1000),
        ("grpc.http2.max_ping_strikes", limits.PING_STRIKES_MAX),
    )


def grpc_server(settings: ServiceSettings, interceptor: RpcInterceptor) -> grpc.aio.Server:
    return grpc.aio.server(
        interceptors=(interceptor,),
        # The interceptor refuses earlier, and says what to do.
        maximum_concurrent_rpcs=settings.max_concurrent_rpcs * limits.CALLS_REFUSED_AT_ONCE,
        options=options(settings),
    )
