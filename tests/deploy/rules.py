"""What must hold of `docker-compose.yml`, as functions from the file to the faults found in it.

Apart from the tests, so that each rule can be run on a file with a planted fault and be seen to catch it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Compose = dict[str, Any]

# A variable of one of these names carries a secret, unless it only says where the secret files are.
_SECRET_NAME = re.compile(r"(SECRET|PASSWORD|PASSWD|TOKEN|PRIVATE|CREDENTIAL|_KEY)", re.IGNORECASE)
_FOLDERS = frozenset({"CREDENCE_SECRETS_DIR"})
_CREDENTIALS_IN_URL = re.compile(r"://[^/\s@]+@")
_LOOPBACK_PORT = re.compile(r"^127\.0\.0\.1:\d+:\d+$")
_DEFAULT = re.compile(r"\$\{\w+:-([^}]*)\}")


def read(file: Path) -> Compose:
    """The file with anchors merged and every variable at its default."""
    text = _DEFAULT.sub(r"\1", file.read_text(encoding="utf-8"))
    content = yaml.safe_load(text)
    # Through JSON: services that share an anchor share it no more, so that a fault is planted in one of them only.
    unshared = json.loads(json.dumps(content))
    assert isinstance(unshared, dict)
    return unshared


def one_shot(service: Compose) -> bool:
    """Ends by itself: started again by nobody."""
    return service.get("restart") == "no"


def mebibytes(size: str) -> int:
    unit = {"m": 1, "g": 1024}[size[-1]]
    return int(size[:-1]) * unit


def seconds(duration: str) -> int:
    assert duration.endswith("s"), f"{duration}: write seconds"
    return int(duration[:-1])


def unchecked(compose: Compose) -> Iterator[str]:
    """Containers whose health nobody would know: without a health check, or one-shots that nobody waits for."""
    awaited = {
        name
        for service in compose["services"].values()
        for name, wait in service.get("depends_on", {}).items()
        if wait["condition"] == "service_completed_successfully"
    }
    for name, service in compose["services"].items():
        if one_shot(service):
            # `up --wait` takes a container that ended for a failed one, unless another waits for its success.
            if name not in awaited and not service.get("profiles"):
                yield f"{name} is a one-shot that nobody waits for"
        elif not service.get("healthcheck", {}).get("test"):
            yield f"{name} has no health check"


def started_too_early(compose: Compose) -> Iterator[str]:
    """Dependencies that are only started, not healthy or completed."""
    for name, service in compose["services"].items():
        for other, wait in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if one_shot(compose["services"][other]) else "service_healthy"
            # The one exception: MongoDB is healthy only once its replica set is there.
            if wait["condition"] != wanted and name != "mongo-replica-set":
                yield f"{name} waits for {other} with {wait['condition']}, not {wanted}"


def unlimited(compose: Compose) -> Iterator[str]:
    """Containers that could take the machine's memory, processes or disk."""
    for name, service in compose["services"].items():
        if not service.get("mem_limit"):
            yield f"{name} has no memory limit"
        if not service.get("pids_limit"):
            yield f"{name} has no limit of processes"
        if not service.get("logging", {}).get("options", {}).get("max-size"):
            yield f"{name} logs without a bound"


def exposed(compose: Compose) -> Iterator[str]:
    """Ports that another machine could reach, and servers that anybody on the host could use without a token."""
    for name, service in compose["services"].items():
        for port in service.get("ports", []):
            if not _LOOPBACK_PORT.match(str(port)):
                yield f"{name} publishes {port}, which is not on 127.0.0.1"
        if name in {"kafka", "mongo"}:
            if service.get("ports"):
                yield f"{name} is published, and takes commands without a password"
            if [n for n in service["networks"] if not (compose["networks"][n] or {}).get("internal")]:
                yield f"{name} is on a network with a way out"


def secrets_in_variables(compose: Compose) -> Iterator[str]:
    """Secrets where `docker inspect` and every child process can read them."""
    for name, service in compose["services"].items():
        environment = service.get("environment", {})
        assert isinstance(environment, dict), f"{name}: write the environment as a mapping"
        for variable, value in environment.items():
            if _SECRET_NAME.search(variable) and variable not in _FOLDERS:
                yield f"{name} has {variable} in its environment"
            if _CREDENTIALS_IN_URL.search(str(value)):
                yield f"{name} has credentials in the address {variable}"
        for argument in service.get("build", {}).get("args", []):
            if "=" in argument:
                yield f"{name} has a value for the build argument {argument.split('=')[0]}"


def privileged(compose: Compose) -> Iterator[str]:
    """Containers that may do more than they need."""
    for name, service in compose["services"].items():
        if str(service.get("user", "root")).split(":")[0] in {"root", "0"}:
            yield f"{name} runs as root"
        if not service.get("read_only"):
            yield f"{name} may write its image's files"
        if service.get("cap_drop") != ["ALL"]:
            yield f"{name} keeps capabilities"
        if "no-new-privileges:true" not in service.get("security_opt", []):
            yield f"{name} may gain privileges"


def killed_while_draining(compose: Compose) -> Iterator[str]:
    """Containers that are killed before they had the time they take to stop."""
    for name, service in compose["services"].items():
        if one_shot(service):
            continue
        drain = int(service.get("environment", {}).get("CREDENCE_DRAIN_TIMEOUT_SECONDS", 20))
        if seconds(service.get("stop_grace_period", "10s")) <= drain:
            yield f"{name} has no more than its drain of {drain} s to stop"
        if service.get("restart") != "unless-stopped":
            yield f"{name} stays down when it ends"


def lost_with_the_container(compose: Compose) -> Iterator[str]:
    """Data that is not in a volume with a name."""
    for name, folder in (("kafka", "/var/lib/kafka/data"), ("mongo", "/data/db")):
        mounts = compose["services"][name].get("volumes", [])
        if not any(f"{volume}:{folder}" in mounts for volume in compose["volumes"]):
            yield f"{name} keeps {folder} in no named volume"


RULES = (
    unchecked,
    started_too_early,
    unlimited,
    exposed,
    secrets_in_variables,
    privileged,
    killed_while_draining,
    lost_with_the_container,
)
