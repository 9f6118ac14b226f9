"""Development secrets: made once, private, and usable as real ones."""

import base64
import json
import stat
from pathlib import Path

import jwt
import pytest

from credence_cli.embedded.development_secrets import ensure_development_secrets
from credence_cli.embedded.errors import EmbeddedError


def test_secrets_are_made_once_and_stay(tmp_path: Path) -> None:
    first = ensure_development_secrets(tmp_path / "secrets")
    made = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    assert set(made) == {"master.key", "digest.key", "dev-signing.pem", "dev-jwks.json"}
    ensure_development_secrets(tmp_path / "secrets")
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == made


def test_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    made = ensure_development_secrets(tmp_path / "secrets")
    assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.folder.iterdir()} == {0o600}


def test_the_keys_are_32_different_random_bytes(tmp_path: Path) -> None:
    made = ensure_development_secrets(tmp_path / "secrets")
    master, digest = (base64.b64decode(path.read_text(), validate=False) for path in (made.master_key, made.digest_key))
    assert len(master) == len(digest) == 32
    assert master != digest


def test_a_token_signed_with_the_key_is_verified_by_the_public_set(tmp_path: Path) -> None:
    made = ensure_development_secrets(tmp_path / "secrets")
    token = jwt.encode({"sub": "sample"}, made.signing_key.read_text(), algorithm="EdDSA")
    (public,) = json.loads(made.jwks.read_text())["keys"]
    assert "d" not in public
    assert public["kid"].startswith("dev-")
    assert jwt.decode(token, jwt.PyJWK(public), algorithms=["EdDSA"]) == {"sub": "sample"}


def test_a_signing_key_that_is_none_is_told_in_one_sentence(tmp_path: Path) -> None:
    made = ensure_development_secrets(tmp_path / "secrets")
    made.signing_key.write_text("nonsense")
    with pytest.raises(EmbeddedError, match=r"development secrets in .* cannot be read"):
        ensure_development_secrets(tmp_path / "secrets")
