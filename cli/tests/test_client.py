"""What a service, or the way to it, refuses is told in one sentence, and the exit code says what to do about it.

The refusals are those that the services make (`servicekit.errors`), answered by a real gRPC server.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from google.protobuf.message import Message
from grpc_status import rpc_status

from credence.enrolment.v1 import catalogue_pb2, catalogue_pb2_grpc
from credence.operations.v1 import views_pb2, views_pb2_grpc
from credence_cli.client import CallFailed, Client, Method
from credence_cli.embedded.development_secrets import ensure_development_secrets
from credence_cli.embedded.ports import free_port
from credence_cli.exits import CommandFailed, Exit
from credence_cli.identity import Identity, mint, token_for
from servicekit import errors

OPERATOR = Identity.of("operator")
Refusal = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def development_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("CREDENCE_TOKEN", raising=False)
    monkeypatch.setenv("CREDENCE_DEVELOPMENT_SECRETS", str(ensure_development_secrets(tmp_path / "secrets").folder))
    return tmp_path / "secrets"


class Catalogue(catalogue_pb2_grpc.CatalogueServiceServicer):
    """Refuses every question, or keeps what it was asked with."""

    def __init__(self, refuse: Refusal | None) -> None:
        self.refuse = refuse
        self.metadata: dict[str, str] = {}

    async def ListProgrammes(self, request: Any, context: Any) -> catalogue_pb2.ListProgrammesResponse:
        self.metadata = dict(context.invocation_metadata())
        if self.refuse is not None:
            await self.refuse(context)
        return catalogue_pb2.ListProgrammesResponse()

    async def LoadProgrammes(self, request: Any, context: Any) -> Any:
        raise NotImplementedError("no test loads anything")


@asynccontextmanager
async def serving(service: Catalogue) -> AsyncIterator[Client]:
    server, port = grpc.aio.server(), free_port()
    catalogue_pb2_grpc.add_CatalogueServiceServicer_to_server(service, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    client = Client(OPERATOR, {"enrolment": f"127.0.0.1:{port}"})
    try:
        yield client
    finally:
        await client.close()
        await server.stop(None)


async def ask(client: Client, deadline: float = 10.0) -> Message:
    stub: Any = client.stub(catalogue_pb2_grpc.CatalogueServiceStub, "enrolment")
    method: Method[Message, Message] = stub.ListProgrammes
    return await client.call(method, catalogue_pb2.ListProgrammesRequest(), deadline=deadline)


async def failure_of(refuse: Refusal, deadline: float = 10.0) -> CallFailed:
    async with serving(Catalogue(refuse)) as client:
        with pytest.raises(CallFailed) as failed:
            await ask(client, deadline)
        return failed.value


def rich(failure: errors.RpcFailure) -> Refusal:
    async def refuse(context: Any) -> None:
        await context.abort_with_status(rpc_status.to_status(failure.status()))

    return refuse


@pytest.mark.parametrize(
    ("failure", "exit_code"),
    [
        (errors.InvalidArgument([("token", "is none")]), Exit.USAGE),
        (errors.NotFound("cohort"), Exit.NOT_FOUND),
        (errors.FailedPrecondition("cohort-full", "the cohort is full"), Exit.REFUSED),
        (errors.Conflict("other-body", "the id was used"), Exit.REFUSED),
        (errors.Unauthenticated("the token has expired"), Exit.NOT_ALLOWED),
        (errors.PermissionDenied("not for a learner"), Exit.NOT_ALLOWED),
        (errors.Aborted("others kept winning"), Exit.UNAVAILABLE),
        (errors.Unavailable("MongoDB is away"), Exit.UNAVAILABLE),
        (errors.TooMuch("too-many-calls", "256 calls are being served"), Exit.UNAVAILABLE),
        (errors.DeadlineExceeded("not in time"), Exit.UNAVAILABLE),
        (errors.Internal("ref-1"), Exit.FAILED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, errors.RpcFailure) else "",
)
async def test_every_refusal_of_a_service_has_its_exit_code_its_reason_and_its_own_words(
    failure: errors.RpcFailure, exit_code: Exit
) -> None:
    told = await failure_of(rich(failure))
    said = str(told) if exit_code is not Exit.NOT_ALLOWED else str(told).partition(" (the token ")[0]
    assert (told.exit_code, told.code, said) == (exit_code, failure.reason, failure.message)


def test_every_kind_of_refusal_is_among_them() -> None:
    tried = {
        "InvalidArgument", "NotFound", "FailedPrecondition", "Conflict", "Unauthenticated", "PermissionDenied",
        "Aborted", "Unavailable", "TooMuch", "DeadlineExceeded", "Internal",
    }  # fmt: skip
    assert {kind.__name__ for kind in errors.RpcFailure.__subclasses__()} == tried


async def test_every_violated_field_is_told_on_a_line_of_its_own() -> None:
    told = await failure_of(rich(errors.InvalidArgument([("rows[0].on", "is no date"), ("token", "is none")])))
    assert told.details == ("rows[0].on: is no date", "token: is none")


async def test_what_a_program_needs_to_know_is_told_too() -> None:
    told = await failure_of(rich(errors.Conflict("other-body", "the id was used", {"current": "7"})))
    assert told.details == ("current: 7",)


async def test_a_refusal_without_details_is_told_in_its_own_words() -> None:
    async def refuse(context: Any) -> None:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much at once")

    told = await failure_of(refuse)
    assert (told.exit_code, told.code, str(told)) == (Exit.UNAVAILABLE, "", "too much at once")


async def test_details_that_cannot_be_read_do_not_hide_the_refusal() -> None:
    async def refuse(context: Any) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff"),))
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such cohort")

    told = await failure_of(refuse)
    assert (told.exit_code, str(told)) == (Exit.NOT_FOUND, "no such cohort")


async def test_details_of_another_status_do_not_hide_the_refusal() -> None:
    async def refuse(context: Any) -> None:
        status = errors.NotFound("cohort").status().SerializeToString()
        context.set_trailing_metadata((("grpc-status-details-bin", status),))
        await context.abort(grpc.StatusCode.UNAVAILABLE, "a proxy's own words")

    told = await failure_of(refuse)
    assert told.exit_code is Exit.UNAVAILABLE


async def unreachable(address: str) -> CallFailed:
    client = Client(OPERATOR, {"enrolment": address})
    try:
        with pytest.raises(CallFailed) as failed:
            await ask(client)
    finally:
        await client.close()
    return failed.value


async def test_a_service_that_is_not_there_is_told_with_what_to_do() -> None:
    address = f"127.0.0.1:{free_port()}"
    told = await unreachable(address)
    assert told.exit_code is Exit.UNAVAILABLE
    assert str(told) == (
        f"enrolment at {address} does not answer: is it running? (`credence stack status`, or `docker compose ps` for "
        "containers)"
    )


async def test_a_service_that_is_not_where_a_setting_says_is_told_with_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CREDENCE_ENROLMENT", "nowhere.invalid:443")
    told = await unreachable("nowhere.invalid:443")
    assert told.exit_code is Exit.UNAVAILABLE
    assert str(told) == (
        "enrolment at nowhere.invalid:443 does not answer: is it running there? CREDENCE_ENROLMENT names the address"
    )


async def test_a_call_that_a_service_does_not_know_is_told_as_one_of_a_newer_release() -> None:
    server, port = grpc.aio.server(), free_port()
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        told = await unreachable(f"127.0.0.1:{port}")
    finally:
        await server.stop(None)
    assert told.exit_code is Exit.REFUSED
    assert str(told) == (
        f"enrolment at 127.0.0.1:{port} does not know this call: it is of an older release than this command (upgrade "
        "it), or another service listens there"
    )


async def test_an_answer_that_is_a_stream_fails_in_the_same_words() -> None:
    address = f"127.0.0.1:{free_port()}"
    client = Client(OPERATOR, {"mentoring": address})
    stub: Any = client.stub(views_pb2_grpc.ViewsServiceStub, "mentoring")
    try:
        with pytest.raises(CallFailed, match=rf"^mentoring at {address} does not answer: is it running\?"):
            async for _ in client.stream(stub.RebuildViews, views_pb2.RebuildViewsRequest(), deadline=10.0):
                pass
    finally:
        await client.close()


async def test_a_service_that_answers_too_late_is_told_as_safe_to_repeat() -> None:
    async def never(context: Any) -> None:
        await asyncio.Event().wait()

    told = await failure_of(never, deadline=0.2)
    assert told.exit_code is Exit.UNAVAILABLE
    assert str(told) == "no answer in time: run it again; commands can be repeated safely"


async def test_a_call_that_grpc_itself_turned_away_is_told_as_safe_to_repeat() -> None:
    async def turned_away(context: Any) -> None:
        await context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")

    told = await failure_of(turned_away)
    assert told.exit_code is Exit.UNAVAILABLE
    assert str(told) == "the service is overrun, or going down: run it again; commands can be repeated safely"


async def test_a_call_is_signed_for_its_identity_with_a_token_of_fifteen_minutes() -> None:
    service = Catalogue(None)
    async with serving(service) as client:
        await ask(client)
    token = service.metadata["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["roles"] == ["operator"]
    assert claims["exp"] - claims["iat"] == 15 * 60
    assert abs(claims["iat"] - time.time()) < 60


async def test_a_given_token_is_sent_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENCE_TOKEN", "of-your-issuer")
    service = Catalogue(None)
    async with serving(service) as client:
        await ask(client)
    assert service.metadata["authorization"] == "Bearer of-your-issuer"


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"CREDENCE_TOKEN": "x"}, "the token is that of CREDENCE_TOKEN"),
        (
            {"CREDENCE_DEVELOPMENT_SECRETS": "{folder}"},
            "the token is signed with the development key in {folder}, which CREDENCE_DEVELOPMENT_SECRETS names",
        ),
        (
            {"CREDENCE_HOME": "{home}"},
            "the token is signed with the development key of this machine's stack, for CREDENCE_TOKEN is not set",
        ),
    ],
    ids=["a token", "other secrets", "neither"],
)
async def test_who_is_not_signed_in_is_told_where_the_token_came_from(
    env: dict[str, str], says: str, development_key: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ensure_development_secrets(tmp_path / "home" / "stack" / "secrets")
    places = {"folder": str(development_key), "home": str(tmp_path / "home")}
    monkeypatch.delenv("CREDENCE_DEVELOPMENT_SECRETS")
    for name, value in env.items():
        monkeypatch.setenv(name, value.format(**places))
    told = await failure_of(rich(errors.Unauthenticated("signed with a key the issuer does not publish")))
    assert str(told) == f"signed with a key the issuer does not publish ({says.format(**places)})"


async def test_a_client_of_a_platform_of_its_own_signs_with_that_ones_key_whatever_the_shell_exports(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = ensure_development_secrets(tmp_path / "own")
    monkeypatch.setenv("CREDENCE_TOKEN", "of-your-issuer")
    monkeypatch.setenv("CREDENCE_DEVELOPMENT_SECRETS", str(tmp_path / "nowhere"))
    service = Catalogue(None)
    async with serving(service) as client:
        client.secrets = own.folder
        await ask(client)
    token = service.metadata["authorization"].removeprefix("Bearer ")
    assert jwt.get_unverified_header(token)["kid"] == json.loads(own.jwks.read_text())["keys"][0]["kid"]


def test_two_tokens_of_one_identity_differ() -> None:
    assert mint(OPERATOR) != mint(OPERATOR)


@pytest.mark.parametrize("spoilt", ["absent", "torn"])
def test_without_a_development_key_it_says_how_to_sign_in(development_key: Path, spoilt: str) -> None:
    jwks = development_key / "dev-jwks.json"
    jwks.unlink()
    if spoilt == "torn":
        jwks.write_text("{")
    with pytest.raises(CommandFailed, match="set CREDENCE_TOKEN to a token of your issuer, or start") as failed:
        token_for(OPERATOR)
    assert failed.value.exit_code is Exit.NOT_ALLOWED
