"""What tests ask of a service's page: that it names what the code has. Shared, so that all pages say the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from eventcore.decider import Decider
from servicekit.access import QUERIES, check_every_rpc_declares_access


def check_rpcs(page: str, contracts: Iterable[Any]) -> None:
    """Asserts that every RPC of these `_pb2` modules is on the page, every command in a table row
    "| `Rpc` | role, role (remark) |", and that the roles of every such row are the contract's."""
    services = [each.full_name for pb2 in contracts for each in pb2.DESCRIPTOR.services_by_name.values()]
    declared = {rpc.rpartition("/")[2]: roles for rpc, roles in check_every_rpc_declares_access(services).items()}
    assert [rpc for rpc in declared if f"`{rpc}`" not in page] == []
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE)
    said = {rpc: {re.sub(r" \(.*\)", "", role) for role in roles.split(", ")} for rpc, roles in rows if rpc in declared}
    assert said == {rpc: set(declared[rpc]) for rpc in said}
    assert [rpc for rpc in declared if not rpc.startswith(QUERIES) and rpc not in said] == []


def check_stored_types(page: str, deciders: Sequence[Decider[Any, Any, Any]]) -> None:
    """Asserts that every stored type is on the page, in full or as `.rest-of-it.v1` after another of its stream."""
    stored = [event.stored_type for decider in deciders for event in decider.events]
    short = {name.partition(".")[2] for name in re.findall(r"`([a-z]*\.[a-z.0-9-]+)`", page)}
    assert [name for name in stored if name.partition(".")[2] not in short] == []


def check_refusal_codes(page: str, source: Path, *, at_least: int) -> None:
    """Asserts that every code of a `Refusal("code", ...)` below `source` is on the page; `at_least` so many are found,
    so that the search itself is seen to work."""
    text = "\n".join(path.read_text() for path in source.rglob("*.py"))
    codes = set(re.findall(r"Refusal\(\s*\"([a-z-]+)\"", text))
    assert len(codes) >= at_least
    assert sorted(code for code in codes if f"`{code}`" not in page) == []


def check_files(page: str, package: Path) -> None:
    """Asserts that every `room/file.py` the page names is in the package."""
    named = re.findall(r"`((?:domain|application|views|api)/[a-z_]+\.py)`", page)
    assert [name for name in named if not (package / name).exists()] == []
