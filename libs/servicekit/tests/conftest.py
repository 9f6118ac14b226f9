"""A test issuer with real keys, a small guarded service on a dynamic contract, and processes on free ports."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.wrappers_pb2 import StringValue
from prometheus_client import CollectorRegistry

from credence.common.v1 import access_pb2
from servicekit.call import current_scope
from servicekit.exits import Exit
from servicekit.process import Build, Kit, Process, Service
from servicekit.settings import ServiceSettings

ISSUER = "https://issuer.test"
AUDIENCE = "credence"
KEY_TEXT = base64.b64encode(bytes(range(32))).decode()


@dataclass
class Issuer:
    """Signs tokens as the external issuer would; every claim and header can be overridden to make a wrong one."""

    jwks: Path
    keys: dict[str, tuple[Any, str]] = field(default_factory=dict)
    published: dict[str, dict[str, Any]] = field(default_factory=dict)

    def publish(self, kid: str, algorithm: str, **extra: Any) -> None:
        private: Any
        match algorithm:
            case "EdDSA":
                private = ed25519.Ed25519PrivateKey.generate()
            case "ES256":
                private = ec.generate_private_key(ec.SECP256R1())
            case _:
                private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        raw = jwt.get_algorithm_by_name(algorithm).to_jwk(private.public_key(), as_dict=True)
        self.keys[kid] = (private, algorithm)
        self.published[kid] = {**raw, "kid": kid, "use": "sig", **extra}
        self.write()

    def write(self) -> None:
        self.jwks.write_text(json.dumps({"keys": list(self.published.values())}))

    def token(self, kid: str = "key-1", *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        now = int(time.time())
        payload: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "sample-subject-01",
            "iat": now,
            "exp": now + 600,
            "roles": ["operator"],
        }
        payload |= claims
        payload = {name: value for name, value in payload.items() if value is not None}
        private, algorithm = self.keys[kid]
        return jwt.encode(payload, private, algorithm=algorithm, headers={"kid": kid, **(headers or {})})


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    made = Issuer(tmp_path / "jwks.json")
    made.publish("key-1", "EdDSA")
    return made


@pytest.fixture
def secrets_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "secrets"
    directory.mkdir()
    (directory / "master.key").write_text(KEY_TEXT)
    (directory / "digest.key").write_text(KEY_TEXT + "\n")
    return directory


SettingsMaker = Callable[..., ServiceSettings]


@pytest.fixture
def make_settings(issuer: Issuer, secrets_dir: Path) -> SettingsMaker:
    def make(**overrides: Any) -> ServiceSettings:
        values: dict[str, Any] = {
            "secrets_dir": secrets_dir,
            "mongo_uri": "mongodb://127.0.0.1:1",
            "mongo_database": "sample",
            "kafka_bootstrap": "127.0.0.1:1",
            "grpc_port": 0,
            "http_port": 0,
            "jwks": str(issuer.jwks),
            "issuer": ISSUER,
            "startup_timeout_seconds": 10,
            "drain_timeout_seconds": 5,
        }
        return ServiceSettings(**(values | overrides))

    return make


# --- a contract with access options, made at run time -------------------------------------------------------------

_PACKAGE = "credence.testing.v1"


def _add_contract() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="credence/testing/v1/echo.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.extend(["google/protobuf/wrappers.proto", "credence/common/v1/access.proto"])

    def method(service: str, name: str, *roles: access_pb2.Role.ValueType, streams: bool = False) -> None:
        found = next((s for s in file.service if s.name == service), None) or file.service.add(name=service)
        added = found.method.add(
            name=name,
            input_type=".google.protobuf.StringValue",
            output_type=".google.protobuf.StringValue",
            client_streaming=streams,
            server_streaming=name == "Count",
        )
        if roles:
            added.options.Extensions[access_pb2.access].roles.extend(roles)

    method("Echo", "Say", access_pb2.ROLE_LEARNER, access_pb2.ROLE_PROVIDER, access_pb2.ROLE_OPERATOR)
    method("Echo", "Learn", access_pb2.ROLE_LEARNER)
    method("Echo", "Count", access_pb2.ROLE_OPERATOR)
    method("Careless", "Open")
    method("Careless", "Nobody", access_pb2.ROLE_UNSPECIFIED)
    method("Streaming", "Watch", access_pb2.ROLE_OPERATOR, streams=True)
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())


_add_contract()

Handler = Callable[[StringValue, Any], Awaitable[StringValue] | AsyncIterator[StringValue]]


async def say_scope(request: StringValue, context: Any) -> StringValue:
    scope = current_scope()
    return StringValue(value=f"{scope.actor} {scope.person} {sorted(scope.providers)} {scope.unrestricted}")


def registering(
    service: str = "Echo", method: str = "Say", handler: Handler = say_scope
) -> Callable[[grpc.aio.Server], None]:
    """What generated code does: registers `handler` as one method of a service of the contract above."""

    def register(server: grpc.aio.Server) -> None:
        make: Any = grpc.unary_stream_rpc_method_handler if method == "Count" else grpc.unary_unary_rpc_method_handler
        rpc = make(
            handler, request_deserializer=StringValue.FromString, response_serializer=StringValue.SerializeToString
        )
        name = f"{_PACKAGE}.{service}"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {method: rpc}),))

    return register


def building(**parts: Any) -> Build[ServiceSettings]:
    async def build(settings: ServiceSettings, kit: Kit) -> Service:
        return Service(**({"register": registering()} | parts))

    return build


@dataclass
class Running:
    """A process that serves, and how to call it."""

    process: Process[ServiceSettings]
    task: asyncio.Task[Exit]
    channel: grpc.aio.Channel

    async def call(
        self, text: str = "", *, token: str = "", method: str = "Say", raw: bytes | None = None, **kwargs: Any
    ) -> Any:
        metadata = list(kwargs.pop("metadata", ()))
        if token:
            metadata.append(("authorization", f"Bearer {token}"))
        kwargs.setdefault("timeout", 10)
        rpc = self.channel.unary_unary(
            f"/{_PACKAGE}.Echo/{method}",
            request_serializer=lambda message: raw if raw is not None else message.SerializeToString(),
            response_deserializer=StringValue.FromString,
        )
        return await rpc(StringValue(value=text), metadata=metadata, **kwargs)

    def count(self, text: str, *, token: str, timeout: float = 10) -> Any:
        """The RPC whose answer is a stream."""
        rpc = self.channel.unary_stream(
            f"/{_PACKAGE}.Echo/Count",
            request_serializer=StringValue.SerializeToString,
            response_deserializer=StringValue.FromString,
        )
        return rpc(StringValue(value=text), metadata=[("authorization", f"Bearer {token}")], timeout=timeout)

    async def refused(self, *args: Any, **kwargs: Any) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(*args, **kwargs)
        return caught.value

    async def get(self, path: str) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.process.http_port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        answer = (await asyncio.wait_for(reader.read(), 10)).decode()
        writer.close()
        return int(answer.split(" ", 2)[1]), answer.split("\r\n\r\n", 1)[1]

    async def ready(self) -> tuple[int, dict[str, Any]]:
        status, body = await self.get("/ready")
        return status, json.loads(body)


Starter = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def start(make_settings: SettingsMaker) -> Starter:
    """`async with start(build=..., **settings) as running`: a process in this loop that serves, drained at the end."""

    @asynccontextmanager
    async def started(build: Build[ServiceSettings] | None = None, **overrides: Any) -> AsyncIterator[Running]:
        process = Process("sample", build or building(), make_settings(**overrides), CollectorRegistry())
        task = asyncio.create_task(process.run())
        serving = asyncio.create_task(process.serving.wait())
        await asyncio.wait({task, serving}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        if task.done():
            task.result()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel:
            yield Running(process, task, channel)
        process.stop()
        await asyncio.wait_for(task, 20)

    return started


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 10) -> None:
    """Waits for a condition, with a deadline."""
    async with asyncio.timeout(seconds):
        while True:
            held = condition()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.02)


@pytest.fixture
def kit() -> Any:
    """The helpers above for test modules, which cannot import a conftest."""

    class Helpers:
        register = staticmethod(registering)
        build = staticmethod(building)
        wait_until = staticmethod(until)

    return Helpers
