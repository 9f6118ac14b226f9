"""Settings are checked whole, and secrets stay out of the environment and of messages."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from servicekit.exits import Exit
from servicekit.settings import ServiceSettings, SettingsInvalid


class SampleSettings(ServiceSettings):
    grpc_port: int = 50051
    http_port: int = 8080


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, secrets_dir: Path, issuer: Any) -> None:
    for name, value in {
        "SECRETS_DIR": str(secrets_dir),
        "MONGO_URI": "mongodb://127.0.0.1:27017",
        "MONGO_DATABASE": "enrolment",
        "KAFKA_BOOTSTRAP": "127.0.0.1:9092",
        "JWKS": str(issuer.jwks),
        "ISSUER": "https://issuer.test",
    }.items():
        monkeypatch.setenv(f"CREDENCE_{name}", value)


def problems() -> list[str]:
    with pytest.raises(SettingsInvalid) as caught:
        SampleSettings.load()
    assert caught.value.code is Exit.SETTINGS
    return caught.value.problems


def test_good_settings_load_with_careful_defaults() -> None:
    settings = SampleSettings.load()
    assert settings.profile == "production"
    assert (settings.grpc_host, settings.http_host) == ("127.0.0.1", "127.0.0.1")
    assert settings.drain_timeout_seconds == 20
    assert settings.max_message_bytes == 4 * 1024 * 1024
    assert settings.master_key.get_secret_value() == bytes(range(32))
    assert settings.digest_key.get_secret_value() == bytes(range(32))


def test_everything_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch, secrets_dir: Path) -> None:
    monkeypatch.setenv("CREDENCE_GRPC_PORT", "many")
    monkeypatch.setenv("CREDENCE_PROFILE", "staging")
    monkeypatch.setenv("CREDENCE_KAFKA_BOOTSTRAP", "nowhere")
    monkeypatch.delenv("CREDENCE_ISSUER")
    (secrets_dir / "master.key").unlink()
    (secrets_dir / "digest.key").write_text("short")
    said = problems()
    assert len(said) == 6
    for part in (
        "CREDENCE_GRPC_PORT",
        "CREDENCE_PROFILE",
        "CREDENCE_KAFKA_BOOTSTRAP",
        "CREDENCE_ISSUER is missing",
        "the file master.key",
        "openssl rand -base64 32",
    ):
        assert any(part in line for line in said), part


def test_a_missing_secrets_directory_is_said_with_what_it_should_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENCE_SECRETS_DIR")
    said = problems()
    assert any("CREDENCE_SECRETS_DIR is missing" in line for line in said)
    assert any("master.key" in line for line in said)


@pytest.mark.parametrize("name", ["MASTER_KEY", "DIGEST_KEY"])
def test_a_key_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    value = base64.b64encode(b"x" * 32).decode()
    monkeypatch.setenv(f"CREDENCE_{name}", value)
    (said,) = problems()
    assert f"CREDENCE_{name} is a secret" in said
    assert value not in said


def test_a_mongo_password_belongs_into_a_file(monkeypatch: pytest.MonkeyPatch, secrets_dir: Path) -> None:
    uri = "mongodb://someone:hunter2@mongo.test/?directConnection=true"
    monkeypatch.setenv("CREDENCE_MONGO_URI", uri)
    (said,) = problems()
    assert "mongo.uri" in said
    assert "hunter2" not in said
    monkeypatch.delenv("CREDENCE_MONGO_URI")
    (secrets_dir / "mongo.uri").write_text(uri)
    settings = SampleSettings.load()
    assert settings.mongo_uri.get_secret_value() == uri
    assert "hunter2" not in repr(settings)


def test_a_wrong_secret_is_never_quoted(secrets_dir: Path) -> None:
    (secrets_dir / "master.key").write_text("hunter2hunter2")
    assert "hunter2" not in "".join(problems())


@pytest.mark.parametrize(
    ("jwks", "profile", "good"),
    [
        ("https://issuer.test/jwks", "production", True),
        ("http://issuer.test/jwks", "production", False),
        ("http://issuer.test/jwks", "development", False),
        ("http://127.0.0.1:8000/jwks", "development", True),
        ("http://127.0.0.1:8000/jwks", "production", False),
        ("/nowhere/jwks.json", "production", False),
    ],
)
def test_signing_keys_come_only_from_where_they_can_be_trusted(
    monkeypatch: pytest.MonkeyPatch, jwks: str, profile: str, good: bool
) -> None:
    monkeypatch.setenv("CREDENCE_JWKS", jwks)
    monkeypatch.setenv("CREDENCE_PROFILE", profile)
    if good:
        assert SampleSettings.load().jwks == jwks
    else:
        assert "CREDENCE_JWKS" in problems()[0]


def test_the_readme_names_every_setting_with_its_default_and_every_exit_code() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    for name, field in ServiceSettings.model_fields.items():
        extra = field.json_schema_extra
        listed = extra["secret_file"] if isinstance(extra, dict) else f"CREDENCE_{name.upper()}"
        assert f"`{listed}`" in readme, name
        if not field.is_required():
            default = "4 MiB" if name == "max_message_bytes" else str(field.default)
            assert f"({default})" in readme, name
    for code in Exit:
        assert f"| {int(code)} |" in readme
