"""`credence secrets`: files that a container's user may read and other users of the host may not reach."""

from __future__ import annotations

import base64
import json
import stat
import subprocess
import sys
from pathlib import Path

import jwt
import pytest

from credence_cli.embedded.development_secrets import AUDIENCE, ISSUER
from credence_cli.identity import Identity, mint

CREDENCE = Path(sys.executable).parent / "credence"


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(CREDENCE), "secrets", str(folder), "--json"], capture_output=True, text=True, timeout=60, check=False
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_keeps_others_out_and_mounted_files_are_readable_by_any_container_user(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    done = make(folder)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["files"]) == {file.name for file in folder.iterdir()}
    assert mode(folder) == 0o700
    assert {mode(folder / name) for name in ("master.key", "digest.key", "dev-jwks.json")} == {0o444}
    assert mode(folder / "dev-signing.pem") == 0o600
    keys = [base64.b64decode((folder / name).read_text()) for name in ("master.key", "digest.key")]
    assert [len(key) for key in keys] == [32, 32]
    assert keys[0] != keys[1]


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    make(tmp_path / "secrets")
    before = {file: file.read_bytes() for file in (tmp_path / "secrets").iterdir()}
    assert make(tmp_path / "secrets").returncode == 0
    assert {file: file.read_bytes() for file in (tmp_path / "secrets").iterdir()} == before


def test_a_folder_that_cannot_be_made_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = make(tmp_path / "file" / "secrets")
    assert done.returncode == 6
    assert "Traceback" not in done.stderr
    assert "cannot be read or made" in done.stderr


def test_the_command_signs_with_the_folder_it_is_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    monkeypatch.setenv("CREDENCE_DEVELOPMENT_SECRETS", str(tmp_path))
    token = mint(Identity.of("operator"))
    key = jwt.PyJWK(json.loads((tmp_path / "dev-jwks.json").read_text())["keys"][0])
    claims = jwt.decode(token, key, algorithms=["EdDSA"], audience=AUDIENCE, issuer=ISSUER)
    assert claims["roles"] == ["operator"]
