"""One connection to the three services: addresses, tokens, deadlines, and failures in plain words."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from credence_cli.addresses import addresses, variable
from credence_cli.channels import CLEAR_TEXT, ROOTS, in_clear_text, open_channel, with_tls
from credence_cli.exits import CommandFailed, Exit
from credence_cli.identity import Identity, token_for, token_origin
from credence_cli.limits import MESSAGE_BYTES_MAX
from credence_cli.output import say
from credence_cli.state import forget, last_token

DEADLINE_SECONDS = 30.0
# A query's answer says in its trailing metadata how old what it was answered from may be, where that comes from other
# services. Normally a second or less.
AGE = "credence-age-seconds"
AGE_TOLD_SECONDS = 5.0

Q = TypeVar("Q", contravariant=True)
A = TypeVar("A", covariant=True)
S = TypeVar("S")


class PageRequest(Protocol):
    """A query whose answer comes in pages."""

    page_token: str


class Page(Protocol):
    """One page; `next_page_token` is empty on the last."""

    next_page_token: str

    def MergeFrom(self, other: Any) -> None: ...


PQ = TypeVar("PQ", bound=PageRequest)
PA = TypeVar("PA", bound=Page)


class Method(Protocol[Q, A]):
    """A unary method of an asynchronous stub."""

    def __call__(self, request: Q, *, timeout: float | None = None, metadata: Any = None) -> Awaitable[A]: ...


class Streaming(Protocol[Q, A]):
    """A method of an asynchronous stub whose answer is a stream."""

    def __call__(self, request: Q, *, timeout: float | None = None, metadata: Any = None) -> AsyncIterable[A]: ...


@dataclass
class Client:
    """Calls services as one identity, or as another for a single call.

    `secrets`: the folder of the platform's own development key, where it is to sign with no other. `remembered`: the
    token that an earlier command left.
    """

    identity: Identity
    addresses: dict[str, str] = field(default_factory=addresses)
    secrets: Path | None = None
    remembered: str = ""
    _channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)
    _services: WeakKeyDictionary[object, str] = field(default_factory=WeakKeyDictionary)
    _age_told: bool = False
    _forgotten: bool = False
    _clear_told: bool = False

    def speaking_as(self, identity: Identity) -> Client:
        """Another client of the same platform."""
        return Client(identity, self.addresses, self.secrets)

    def stub(self, stub: Callable[[grpc.aio.Channel], S], service: str) -> S:
        """The stub of `service`: "enrolment", "accreditation" or "mentoring". Raises CommandFailed."""
        if service not in self._channels:
            options = [
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
                ("grpc.enable_http_proxy", 0),
                # A service that comes back is found soon: whoever watches is not told of its absence for minutes.
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 1_000),
            ]
            address = self.addresses[service]
            self._channels[service] = open_channel(address, variable(service), options)
            if in_clear_text(address) and not self._clear_told:
                self._clear_told = True
                say(
                    f"Your token goes to {address} in clear text: put that service behind TLS, and write "
                    f"https://host:port in {variable(service)}. ({CLEAR_TEXT}=accepted where it is meant.)"
                )
        made = stub(self._channels[service])
        # What fails is a method, and says nothing of the service: those of operations are the same in all of them.
        self._services.update(dict.fromkeys(vars(made).values(), service))
        return made

    async def call(
        self, method: Method[Q, A], request: Q, *, identity: Identity | None = None, deadline: float = DEADLINE_SECONDS
    ) -> A:
        """One call. Raises CommandFailed. An answer from views that are old is told as such, once a command.

        Where what the last write left is not known there any more, it is asked once more without it.
        """
        speaker = identity or self.identity
        if not self.remembered or getattr(request, "token", "") != self.remembered:
            return await self._call(method, request, speaker, deadline)
        if not self._forgotten:
            try:
                return await self._call(method, request, speaker, deadline)
            except CallFailed as failure:
                if not (why := _why_not_known(failure)):
                    raise
                self._forgotten = True
                forget(self.remembered)
                say(
                    f"{self._services[method]} does not know what was last written from here: {why}. It is forgotten, "
                    "and this asked again without waiting for it."
                )
        bare: Any = deepcopy(request)
        bare.ClearField("token")
        return await self._call(method, bare, speaker, deadline)

    async def _call(self, method: Method[Q, A], request: Q, identity: Identity, deadline: float) -> A:
        metadata = (("authorization", f"Bearer {token_for(identity, self.secrets)}"),)
        call: Any = method(request, timeout=deadline, metadata=metadata)
        try:
            answer: A = await call
            self._tell_age(await call.trailing_metadata() or ())
        except grpc.aio.AioRpcError as error:
            raise self._explained(error, method) from error
        return answer

    def _explained(self, error: grpc.aio.AioRpcError, method: object) -> CallFailed:
        service = self._services[method]
        return explain(error, service, self.addresses[service], token_origin(self.secrets))

    def _tell_age(self, trailing: Iterable[tuple[str, str | bytes]]) -> None:
        age = next((str(value) for name, value in trailing if name == AGE), "0")
        if self._age_told or (age != "unknown" and float(age) < AGE_TOLD_SECONDS):
            return
        self._age_told = True
        known = "not known" if age == "unknown" else f"{age} s"
        say(f"What other services published may be missing here; its age is {known} (see `credence status`).")

    async def whole(self, method: Method[PQ, PA], request: PQ) -> PA:
        """A query's answer with what all its pages hold, however many there are. Raises CommandFailed."""
        found = pages(lambda asked: self.call(method, asked), request)
        answer = await anext(found)
        async for page in found:
            answer.MergeFrom(page)
        answer.next_page_token = ""
        return answer

    async def stream(self, method: Streaming[Q, A], request: Q, *, deadline: float) -> AsyncIterator[A]:
        """One call whose answer is a stream; it is all there once this ends. Raises CommandFailed."""
        metadata = (("authorization", f"Bearer {token_for(self.identity, self.secrets)}"),)
        try:
            async for part in method(request, timeout=deadline, metadata=metadata):
                yield part
        except grpc.aio.AioRpcError as error:
            raise self._explained(error, method) from error

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close(None)


async def pages(ask: Callable[[PQ], Awaitable[PA]], request: PQ) -> AsyncIterator[PA]:
    """Every page of a query, from the first."""
    while True:
        page = await ask(request)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


@asynccontextmanager
async def connected(identity: Identity) -> AsyncIterator[Client]:
    """A client that is closed at the end."""
    client = Client(identity, remembered=last_token())
    try:
        yield client
    finally:
        await client.close()


_EXITS = {
    grpc.StatusCode.INVALID_ARGUMENT: Exit.USAGE,
    grpc.StatusCode.NOT_FOUND: Exit.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION: Exit.REFUSED,
    grpc.StatusCode.ALREADY_EXISTS: Exit.REFUSED,
    grpc.StatusCode.ABORTED: Exit.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Exit.UNAVAILABLE,
    grpc.StatusCode.CANCELLED: Exit.UNAVAILABLE,
    grpc.StatusCode.UNAVAILABLE: Exit.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Exit.UNAVAILABLE,
    grpc.StatusCode.UNAUTHENTICATED: Exit.NOT_ALLOWED,
    grpc.StatusCode.PERMISSION_DENIED: Exit.NOT_ALLOWED,
    grpc.StatusCode.UNIMPLEMENTED: Exit.REFUSED,
}


# What gRPC itself ends a call with, and says too little of.
_UNTOLD = {
    grpc.StatusCode.UNAVAILABLE: "{service} at {address} does not answer: {hint}",
    grpc.StatusCode.UNIMPLEMENTED: "{service} at {address} does not know this call: it is of an older release than "
    "this command (upgrade it), or another service listens there",
    grpc.StatusCode.DEADLINE_EXCEEDED: "no answer in time: run it again; commands can be repeated safely",
    # Where more calls wait than a service lets wait (servicekit's PENDING_CALLS_MAX).
    grpc.StatusCode.CANCELLED: "the service is overrun, or going down: run it again; commands can be repeated safely",
}


# What a service says that knows no more of the caller than its call: here it is known what can be done.
_HERE = {
    "not-caught-up": "what was just written has not arrived there yet: run it again (`credence status` says what is "
    "behind)",
}


class CallFailed(CommandFailed):
    """A call that a service, or the way to it, refused. `code` is the stable reason, e.g. "not-caught-up"."""

    def __init__(self, status: grpc.StatusCode, code: str, message: str, details: tuple[str, ...]) -> None:
        super().__init__(_EXITS.get(status, Exit.FAILED), message, details)
        self.status = status
        self.code = code


def explain(error: grpc.aio.AioRpcError, service: str, address: str, token: str) -> CallFailed:
    """A gRPC error in plain words, with every violated field on a line of its own."""
    status, reason, details = error.code(), "", list[str]()
    try:
        rich = rpc_status.from_call(cast(Any, error))
    except (ValueError, DecodeError):
        rich = None  # a proxy's details, of another status or no details at all: the status itself still holds
    for detail in rich.details if rich is not None else ():
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason = info.reason
            details += [f"{name}: {value}" for name, value in info.metadata.items()]
        elif detail.Unpack(bad):
            details += [f"{v.field}: {v.description}" for v in bad.field_violations]
    message = error.details() or status.name
    if rich is None:
        if with_tls(address) and status is grpc.StatusCode.UNAVAILABLE:
            details.append(message)  # which of it all was it
        untold = _UNTOLD.get(status)
        message = untold.format(service=service, address=address, hint=_hint(service, address)) if untold else message
    if status is grpc.StatusCode.UNAUTHENTICATED:
        message = f"{message} ({token})"
    return CallFailed(status, reason, _HERE.get(reason, message), tuple(details))


def _why_not_known(failure: CallFailed) -> str:
    """Why a token is not known; empty where the failure is about something else."""
    if failure.code == "not-caught-up":
        return "it is behind (`credence status`), or was restored or emptied since"
    if failure.status is grpc.StatusCode.INVALID_ARGUMENT and any(d.startswith("token: ") for d in failure.details):
        return "its token is of another platform, or of one that has other keys now"
    return ""


def _hint(service: str, address: str) -> str:
    """What to look at where nobody answers."""
    name = variable(service)
    if with_tls(address):
        return (
            "is it running there, with TLS, and with a certificate that is trusted here? "
            f"{name} names the address, {ROOTS} a file of roots to trust"
        )
    if os.environ.get(name) == address:
        return f"is it running there? {name} names the address"
    return "is it running? (`credence stack status`, or `docker compose ps` for containers)"
