"""Settings from the environment and secrets from files, checked whole before anything starts.

Secrets never come from the environment, which other processes and crash reports can read.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretBytes, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from servicekit import limits
from servicekit.exits import CannotStart, Exit

PREFIX = "CREDENCE_"
KEY_BYTES = 32


class SettingsInvalid(CannotStart):
    """The settings cannot be used; the message lists everything that is wrong and what to do."""

    def __init__(self, problems: list[str]) -> None:
        many = "1 setting is wrong" if len(problems) == 1 else f"{len(problems)} settings are wrong"
        super().__init__(Exit.SETTINGS, "\n".join([f"{many}.", *(f"  - {problem}" for problem in problems)]))
        self.problems = problems


def secret_file(name: str) -> Any:
    """A field whose value is the text of the file `name` in the secrets directory."""
    return Field(json_schema_extra={"secret_file": name}, repr=False)


def _secret_file_of(field: FieldInfo) -> str | None:
    extra = field.json_schema_extra
    name = extra.get("secret_file") if isinstance(extra, dict) else None
    return name if isinstance(name, str) else None


def _key(value: Any) -> Any:
    """32 bytes from base64 text (`openssl rand -base64 32`). Messages never quote the value."""
    if isinstance(value, SecretBytes):
        return value
    try:
        raw = base64.b64decode(value, validate=True) if isinstance(value, str | bytes) else b""
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != KEY_BYTES:
        raise ValueError(f"must hold {KEY_BYTES} random bytes as base64: openssl rand -base64 {KEY_BYTES}")
    return raw


SecretKey = Annotated[SecretBytes, BeforeValidator(_key)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=3_600)]


class _SecretFiles(PydanticBaseSettingsSource):
    """Fields made by `secret_file`, from the directory the sources before it named."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        directory, name = self.current_state.get("secrets_dir"), _secret_file_of(field)
        if not directory or name is None:
            return None, field_name, False
        try:
            with (Path(str(directory)) / name).open("rb") as file:
                return file.read(limits.SECRET_FILE_BYTES_MAX).decode().strip(), field_name, False
        except (OSError, UnicodeDecodeError):
            return None, field_name, False  # reported as missing, by the name of its file

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class ServiceSettings(BaseSettings):
    """What every service is told; a service's own settings subclass it. Variables are CREDENCE_<NAME>.

    Load with `load()`, which reports every violation at once.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

    profile: Literal["production", "development"] = "production"
    secrets_dir: Path
    master_key: SecretKey = secret_file("master.key")
    digest_key: SecretKey = secret_file("digest.key")

    # From CREDENCE_MONGO_URI, or from the file mongo.uri in the secrets directory when it carries a password.
    mongo_uri: SecretStr = secret_file("mongo.uri")
    mongo_database: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,37}$")]
    kafka_bootstrap: Annotated[str, Field(pattern=r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$")]

    grpc_host: str = "127.0.0.1"
    grpc_port: Port
    http_host: str = "127.0.0.1"
    http_port: Port

    jwks: str
    issuer: Annotated[str, Field(min_length=1, max_length=500)]
    audience: Annotated[str, Field(min_length=1, max_length=500)] = "credence"

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    startup_timeout_seconds: Seconds = 60
    drain_timeout_seconds: Seconds = 20
    default_deadline_seconds: Seconds = 15
    longest_deadline_seconds: Seconds = 120
    longest_stream_seconds: Annotated[float, Field(gt=0, le=86_400)] = 14_400  # an operator's rebuild or export
    max_message_bytes: Annotated[int, Field(ge=65_536, le=64 * 1024 * 1024)] = limits.MESSAGE_BYTES_MAX
    max_concurrent_rpcs: Annotated[int, Field(ge=1, le=100_000)] = limits.CALLS_MAX
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = limits.CONNECTIONS_MAX

    @field_validator("mongo_uri")
    @classmethod
    def _mongo_uri_is_one(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("mongodb://", "mongodb+srv://")):
            raise ValueError("must start with mongodb:// or mongodb+srv://")
        return value

    @field_validator("jwks")
    @classmethod
    def _jwks_can_be_trusted(cls, value: str, info: ValidationInfo) -> str:
        if value.startswith("http://"):
            loopback = urlsplit(value).hostname in {"127.0.0.1", "::1", "localhost"}
            if info.data.get("profile") != "development" or not loopback:
                raise ValueError(
                    "must use https: whoever can change the answer can sign in as anybody "
                    "(http is for the development profile on loopback)"
                )
        elif not value.startswith("https://") and not Path(value).is_file():
            raise ValueError("must be an https URL or the path of a readable JWKS file")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _SecretFiles(settings_cls)

    @classmethod
    def load(cls) -> Self:
        """The settings. Raises SettingsInvalid with everything that is wrong."""
        problems = _secrets_in_environment(cls)
        try:
            settings = cls()
        except ValidationError as error:
            problems += [
                _explain(cls, str(e["loc"][0]), e["type"], e["msg"]) for e in error.errors(include_input=False)
            ]
        except SettingsError as error:
            problems.append(str(error))
        if problems:
            raise SettingsInvalid(problems)
        return settings


def _secrets_in_environment(cls: type[ServiceSettings]) -> list[str]:
    environment = {name.upper(): value for name, value in os.environ.items()}
    problems = []
    for name, field in cls.model_fields.items():
        file, variable = _secret_file_of(field), f"{PREFIX}{name.upper()}"
        value = environment.get(variable)
        if file is None or value is None:
            continue
        # A Mongo address without a password is no secret, and one variable less to mount.
        if name != "mongo_uri":
            problems.append(f"{variable} is a secret: put it into the file {file} in the secrets directory instead")
        elif "@" in value:
            problems.append(
                f"{variable} carries credentials: put it into the file {file} in the secrets directory instead"
            )
    return problems


def _explain(cls: type[ServiceSettings], name: str, kind: str, message: str) -> str:
    variable, file = f"{PREFIX}{name.upper()}", _secret_file_of(cls.model_fields[name])
    where = variable if file is None else f"the file {file} in the secrets directory ({PREFIX}SECRETS_DIR)"
    if name == "mongo_uri":
        where = f"{variable}, or {where}"
    if kind == "missing":
        return f"{where} is missing: set it" if file is None else f"{where} is missing or unreadable: provide it"
    return f"{where}: {message.removeprefix('Value error, ')}"
