"""The least a query can be: a gRPC server that finds documents and sends them as they are stored.

Run by `bench.query`: `python -m bench.bare_server MONGO_URI` says its address on one line and serves until it is ended.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import bson
import grpc
import uvloop

from bench.bare import database

METHOD = "/bench.Bare/Find"


async def _serve(uri: str) -> None:
    databases: dict[str, Any] = {}

    async def find(request: bytes, _context: Any) -> bytes:
        name, collection, field, value = request.decode().split("\n")
        if name not in databases:
            databases[name] = database(uri, name)
        found = await databases[name][collection].find({field: value}).to_list(None)
        return b"".join(bson.encode(document) for document in found)

    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    handler = grpc.unary_unary_rpc_method_handler(find)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Bare", {"Find": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await server.stop(1)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(sys.argv[1]))
