"""The whole platform as real processes, and how a test speaks to it: over gRPC as a partner does, or by `credence`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from credence.common.v1 import outcome_pb2
from credence_cli.embedded.stack import Stack
from credence_cli.identity import Identity, mint
from tests.system.rpcs import BY_REQUEST

LOOK_SECONDS, LOOK_SECONDS_MAX = 0.05, 1.0
SETTLED_SECONDS = 30.0
CALL_SECONDS = 15.0
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
T = TypeVar("T")

ADMISSIONS = Identity.of("admissions")
IMPORTER = Identity.of("importer")
OPERATOR = Identity.of("operator")
PRIVACY_OFFICER = Identity.of("privacy-officer")


class Refused(Exception):
    """A call that was refused as a whole: its status, its stable reason, its message and the violated fields."""

    def __init__(self, status: grpc.StatusCode, reason: str, message: str, fields: tuple[str, ...]) -> None:
        super().__init__(f"{status.name} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.fields = fields


def refusal_of(error: Any) -> Refused:
    reason, fields = "", list[str]()
    rich = rpc_status.from_call(error)
    for detail in rich.details if rich is not None else ():
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(bad):
            fields += [violation.field for violation in bad.field_violations]
    return Refused(error.code(), reason, error.details() or "", tuple(fields))


def open_channel(address: str) -> grpc.Channel:
    options = [
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        # A killed service is tried again soon, not after minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
    ]
    return grpc.insecure_channel(address, options=options)


def answer(channel: grpc.Channel, request: Message, token: str, seconds: float = CALL_SECONDS) -> Any:
    """The answer to the RPC that takes this request, a list where it is a stream. Raises Refused. No token: none is
    sent."""
    found = answers(channel, request, token, seconds)
    return list(found) if BY_REQUEST[type(request)].streams else next(found)


def answers(channel: grpc.Channel, request: Message, token: str, seconds: float) -> Iterator[Any]:
    """The same as it comes: one answer, or those of a stream, each when it is there."""
    rpc = BY_REQUEST[type(request)]
    method: Any = (channel.unary_stream if rpc.streams else channel.unary_unary)(
        rpc.path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=rpc.response.FromString,
    )
    metadata: tuple[tuple[str, str | bytes], ...] = (("authorization", f"Bearer {token}"),) if token else ()
    try:
        given = method(request, timeout=seconds, metadata=metadata)
        yield from given if rpc.streams else (given,)
    except grpc.RpcError as error:
        raise refusal_of(error) from error


def call(address: str, request: Message, token: str) -> Any:
    """The same, on a connection of its own."""
    with open_channel(address) as channel:
        return answer(channel, request, token)


@dataclass
class Platform:
    """A running stack. `home` is its CREDENCE_HOME, so that the command finds it."""

    stack: Stack
    home: Path
    _channels: dict[str, grpc.Channel] = field(default_factory=dict)

    def token(self, who: Identity) -> str:
        return mint(who, self.stack.secrets.folder)

    def ask(
        self,
        request: Message,
        who: Identity | None,
        *,
        token: str | None = None,
        seconds: float = CALL_SECONDS,
        service: str = "",
    ) -> Any:
        """The answer to the RPC that takes this request. Raises Refused. `token` in place of one made for `who`;
        `service` is which of those that serve it is asked."""
        bearer = token if token is not None else (self.token(who) if who else "")
        return answer(self.channel(service or BY_REQUEST[type(request)].services[0]), request, bearer, seconds)

    def channel(self, service: str) -> grpc.Channel:
        if service not in self._channels:
            self._channels[service] = open_channel(self.stack.addresses.grpc[service])
        return self._channels[service]

    def command(self, *words: str, exits: int = 0) -> Any:
        """`credence <words> --json` as a process of its own: what it prints, read."""
        ran = self.run(*words, "--json")
        assert ran.returncode == exits, f"credence {' '.join(words)}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return json.loads(ran.stdout)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`credence <words>` as a process of its own."""
        env = {**os.environ, "CREDENCE_HOME": str(self.home)}
        return subprocess.run(
            [sys.executable, "-m", "credence_cli.main", *words], env=env, cwd=self.home, capture_output=True, text=True
        )

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()


def suffix() -> str:
    """Makes a test's ids its own: every test of a session shares one platform."""
    return uuid.uuid4().hex[:8]


def settled(what: str, look: Callable[[], T | None], *, seconds: float = SETTLED_SECONDS) -> T:
    """What `look` gives once it gives something; fails after the deadline, saying what never came."""
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        found = look()
        if found is not None and found is not False:
            return found
        now = time.monotonic()
        assert now < deadline, f"not within {seconds:g} s: {what}"
        # A look that takes long is made more rarely: it would keep busy what it waits for. The last one is made at the
        # deadline, not after it: a promise of five seconds is not kept in six.
        time.sleep(min(max(LOOK_SECONDS, 2 * (now - began)), LOOK_SECONDS_MAX, deadline - now))


ACCEPTED = outcome_pb2.OUTCOME_STATUS_ACCEPTED
UNCHANGED = outcome_pb2.OUTCOME_STATUS_UNCHANGED
REPLAYED = outcome_pb2.OUTCOME_STATUS_REPLAYED
REFUSED = outcome_pb2.OUTCOME_STATUS_REFUSED
CONFLICT = outcome_pb2.OUTCOME_STATUS_CONFLICT
STORED = (ACCEPTED, UNCHANGED, REPLAYED)
NOT_READY = "not-ready"  # what it rests on is still on the way to that service: nothing is stored, send it again


def outcomes_of(response: Any) -> list[outcome_pb2.Outcome]:
    """One outcome a row, whichever batch was answered."""
    return [a.outcome for a in response.answers] if hasattr(response, "answers") else list(response.outcomes)


def told(outcomes: Iterable[outcome_pb2.Outcome]) -> list[str]:
    """Each outcome in a word: its code, or what became of it."""
    words = outcome_pb2.OutcomeStatus.Name
    return [o.code or words(o.status).removeprefix("OUTCOME_STATUS_").lower() for o in outcomes]


def all_stored(response: Any) -> Any:
    """The response, once it is sure that every row of it is stored."""
    outcomes = outcomes_of(response)
    assert outcomes
    assert all(o.status in STORED for o in outcomes), f"{told(outcomes)}: {[o.message for o in outcomes if o.code]}"
    return response


def row_with(rows: Sequence[Any], **named: Any) -> Any:
    """The only one of these whose fields are as named."""
    found = [row for row in rows if all(getattr(row, name) == value for name, value in named.items())]
    assert len(found) == 1, f"{len(found)} of {len(rows)} have {named}"
    return found[0]
