"""Whom the demo speaks as: the platform that it has started, and no other. On a server that only looks at who asks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest

from credence.enrolment.v1 import catalogue_pb2_grpc
from credence_cli.client import Client
from credence_cli.commands import demo
from credence_cli.demo.stage import IMPORTER
from credence_cli.embedded.development_secrets import ensure_development_secrets
from credence_cli.exits import CommandFailed
from credence_cli.identity import Identity


class Door(catalogue_pb2_grpc.CatalogueServiceServicer):
    """Keeps who knocked, and lets nobody in."""

    token = ""

    async def LoadProgrammes(self, request: Any, context: Any) -> Any:
        self.token = dict(context.invocation_metadata())["authorization"].removeprefix("Bearer ")
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not in")


async def knocks(secrets: Path) -> str:
    """The token of the demo's first call."""
    door, server = Door(), grpc.aio.server()
    catalogue_pb2_grpc.add_CatalogueServiceServicer_to_server(door, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        with pytest.raises(CommandFailed, match="not in"):
            await demo._play({"enrolment": f"127.0.0.1:{port}"}, secrets)
    finally:
        await server.stop(None)
    return door.token


def test_the_demo_signs_with_the_secrets_of_its_own_stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = ensure_development_secrets(tmp_path / "own")
    monkeypatch.setenv("CREDENCE_TOKEN", "of-your-issuer")
    monkeypatch.setenv("CREDENCE_DEVELOPMENT_SECRETS", str(tmp_path / "of containers"))
    token = asyncio.run(knocks(own.folder))
    assert jwt.get_unverified_header(token)["kid"] == json.loads(own.jwks.read_text())["keys"][0]["kid"]


def test_whoever_else_speaks_on_the_stage_speaks_to_the_same_platform(tmp_path: Path) -> None:
    client = Client(IMPORTER, {"enrolment": "127.0.0.1:1"}, tmp_path)
    provider = Identity.of("provider", providers=["ipc"])
    other = client.speaking_as(provider)
    assert (other.identity, other.addresses, other.secrets) == (provider, client.addresses, tmp_path)
