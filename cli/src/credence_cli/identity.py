"""Who the command speaks for: the token of CREDENCE_TOKEN, else one minted with this machine's development key."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jwt

from credence_cli.embedded.development_secrets import AUDIENCE, ISSUER, DevelopmentSecrets
from credence_cli.embedded.home import credence_home
from credence_cli.exits import CommandFailed, Exit

LIFETIME_SECONDS = 15 * 60
ROLES = (
    "learner",
    "mentor",
    "provider",
    "assessor",
    "awarding-body",
    "commissioner",
    "admissions",
    "importer",
    "operator",
    "privacy-officer",
    "service",
)


@dataclass(frozen=True)
class Identity:
    """The claims of a token: roles, and whom they act for."""

    roles: tuple[str, ...]
    subject: str = "developer"
    person: str | None = None
    providers: tuple[str, ...] = ()
    bodies: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, role: str, *, person: str | None = None, providers: Iterable[str] = (), bodies: Iterable[str] = ()
    ) -> Identity:
        return cls((role,), f"dev-{role}", person, tuple(providers), tuple(bodies))


def secrets_folder() -> Path:
    """The folder CREDENCE_DEVELOPMENT_SECRETS names, else the development secrets of this machine's stack."""
    named = os.environ.get("CREDENCE_DEVELOPMENT_SECRETS")
    return Path(named) if named else credence_home() / "stack" / "secrets"


def mint(identity: Identity, folder: Path | None = None, *, lifetime_seconds: int = LIFETIME_SECONDS) -> str:
    """A development token (JWT, EdDSA). Raises CommandFailed where there is no development key."""
    secrets = DevelopmentSecrets(folder or secrets_folder())
    try:
        pem = secrets.signing_key.read_text()
        kid = json.loads(secrets.jwks.read_text())["keys"][0]["kid"]
    except (OSError, ValueError, LookupError):
        raise CommandFailed(
            Exit.NOT_ALLOWED,
            f"no development key that can be read in {secrets.folder}: set CREDENCE_TOKEN to a token of your issuer, "
            "or start the development stack with `credence stack up`",
        ) from None
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": identity.subject,
        "iat": now,
        "exp": now + lifetime_seconds,
        "jti": uuid.uuid4().hex,
        "roles": list(identity.roles),
        "providers": list(identity.providers),
        "bodies": list(identity.bodies),
    }
    if identity.person:
        claims["person"] = identity.person
    return jwt.encode(claims, pem, algorithm="EdDSA", headers={"kid": kid})


def token_for(identity: Identity, secrets: Path | None = None) -> str:
    """CREDENCE_TOKEN as it is, whatever `identity` says, else a development token for it.

    `secrets`: signed with the key of this folder, whatever the environment says.
    """
    if secrets is not None:
        return mint(identity, secrets)
    return os.environ.get("CREDENCE_TOKEN") or mint(identity)


def token_origin(secrets: Path | None = None) -> str:
    """Where `token_for` has its token from, for whom a service does not take it from."""
    if secrets is None and os.environ.get("CREDENCE_TOKEN"):
        return "the token is that of CREDENCE_TOKEN"
    signed = "the token is signed with the development key"
    if secrets is None and os.environ.get("CREDENCE_DEVELOPMENT_SECRETS"):
        return f"{signed} in {secrets_folder()}, which CREDENCE_DEVELOPMENT_SECRETS names"
    if secrets is None:
        return f"{signed} of this machine's stack, for CREDENCE_TOKEN is not set"
    return f"{signed} in {secrets}"
