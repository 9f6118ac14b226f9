"""A gRPC server in this process that stands in for services: a method is a function of a request and its context."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

Answer = Callable[[Any, Any], Any]


@contextmanager
def serving(methods: Mapping[str, Answer], *files: FileDescriptor, secured: Any = None) -> Iterator[tuple[int, int]]:
    """(port in clear text, port with TLS or 0). `methods`: by name, of whichever service in these files has it."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    for service in (service for file in files for service in file.services_by_name.values()):
        handlers = {name: _handler(service, name, methods[name]) for name in service.methods_by_name if name in methods}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    clear = server.add_insecure_port("127.0.0.1:0")
    tls = server.add_secure_port("127.0.0.1:0", secured) if secured is not None else 0
    server.start()
    try:
        yield clear, tls
    finally:
        server.stop(None)


def _handler(service: Any, name: str, answer: Answer) -> Any:
    asked = GetMessageClass(service.methods_by_name[name].input_type)
    return grpc.unary_unary_rpc_method_handler(answer, asked.FromString, _bytes)


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()
