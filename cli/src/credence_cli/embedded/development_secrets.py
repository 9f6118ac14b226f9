"""Secrets for development, made once on this machine: keys that encrypt, keys that fingerprint, a key that signs.

A service takes them from files exactly as it takes real ones. They are never made anew: personal data encrypted
under a lost master key stays unreadable.
"""

import base64
import json
import os
import secrets
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from credence_cli.embedded.errors import EmbeddedError

# A service takes a key of this name in the development profile only.
_KEY_ID_PREFIX = "dev-"

ISSUER = "https://issuer.credence.test"
AUDIENCE = "credence"


@dataclass(frozen=True)
class DevelopmentSecrets:
    """The folder's files: two keys of 32 bytes in base64, an Ed25519 key in PEM, its public half as a JWKS."""

    folder: Path

    @property
    def master_key(self) -> Path:
        return self.folder / "master.key"

    @property
    def digest_key(self) -> Path:
        return self.folder / "digest.key"

    @property
    def signing_key(self) -> Path:
        return self.folder / "dev-signing.pem"

    @property
    def jwks(self) -> Path:
        return self.folder / "dev-jwks.json"


def ensure_development_secrets(folder: Path) -> DevelopmentSecrets:
    """Make what is missing, readable by this user only; what is there stays as it is. Raises EmbeddedError."""
    made = DevelopmentSecrets(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _create_once(made.master_key, base64.b64encode(secrets.token_bytes(32)) + b"\n")
        _create_once(made.digest_key, base64.b64encode(secrets.token_bytes(32)) + b"\n")
        private = Ed25519PrivateKey.generate()
        _create_once(made.signing_key, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        stored = load_pem_private_key(made.signing_key.read_bytes(), password=None)
        if not isinstance(stored, Ed25519PrivateKey):
            raise EmbeddedError(
                f"{made.signing_key} is not an Ed25519 key; delete it and its JWKS, and run this again."
            )
        _create_once(made.jwks, json.dumps({"keys": [_public_jwk(stored)]}, indent=2).encode() + b"\n")
    except (OSError, ValueError) as error:
        raise EmbeddedError(f"The development secrets in {folder} cannot be read or made: {error}.") from error
    return made


def _create_once(path: Path, content: bytes) -> None:
    """Write the file whole, unless it exists: two commands at once end with the same keys."""
    if path.exists():
        return
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(draft, path)  # fails if another command was first, unlike a rename
        except FileExistsError:
            return
    finally:
        os.unlink(draft)


def _public_jwk(private: Ed25519PrivateKey) -> dict[str, str]:
    x = _base64url(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    # RFC 7638 (thumbprint) over the members RFC 8037 requires of an OKP key, in this order.
    thumbprint = sha256(json.dumps({"crv": "Ed25519", "kty": "OKP", "x": x}, separators=(",", ":")).encode()).digest()
    kid = _KEY_ID_PREFIX + _base64url(thumbprint)
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": "EdDSA"}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
