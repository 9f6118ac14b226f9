"""Whom the demo speaks as: the platform that it has started, and no other. On a server that only looks at who asks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest

from cli.tests.stand_in import serving
from credence.enrolment.v1 import catalogue_pb2
from credence_cli.client import Client
from credence_cli.commands import demo
from credence_cli.demo.stage import IMPORTER
from credence_cli.embedded.development_secrets import ensure_development_secrets
from credence_cli.exits import CommandFailed
from credence_cli.identity import Identity


def knocks(secrets: Path) -> str:
    """The token of the demo's first call, which lets nobody in."""
    tokens = list[str]()

    def load(request: Any, context: Any) -> None:
        tokens.append(dict(context.invocation_metadata())["authorization"].removeprefix("Bearer "))
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not in")

    with serving({"LoadProgrammes": load}, catalogue_pb2.DESCRIPTOR) as (port, _):
        with pytest.raises(CommandFailed, match="not in"):
            asyncio.run(demo._play({"enrolment": f"127.0.0.1:{port}"}, secrets))
    return tokens[0]


def test_the_demo_signs_with_the_secrets_of_its_own_stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = ensure_development_secrets(tmp_path / "own")
    monkeypatch.setenv("CREDENCE_TOKEN", "of-your-issuer")
    monkeypatch.setenv("CREDENCE_DEVELOPMENT_SECRETS", str(tmp_path / "of containers"))
    token = knocks(own.folder)
    assert jwt.get_unverified_header(token)["kid"] == json.loads(own.jwks.read_text())["keys"][0]["kid"]


def test_whoever_else_speaks_on_the_stage_speaks_to_the_same_platform(tmp_path: Path) -> None:
    client = Client(IMPORTER, {"enrolment": "127.0.0.1:1"}, tmp_path)
    provider = Identity.of("provider", providers=["ipc"])
    other = client.speaking_as(provider)
    assert (other.identity, other.addresses, other.secrets) == (provider, client.addresses, tmp_path)
