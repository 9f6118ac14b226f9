"""Every limit has one place, says what happens beyond it, and stands in docs/limits.md."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from credence_cli import limits as command
from scripts.generate_limits import MODULES, PAGE, limits_of, page
from servicekit import limits as services

ROOT = Path(__file__).parents[2]
FOLDERS = ("libs/*/src", "services/*/src", "cli/src")
SOURCES = sorted(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.py"))
TESTS = sorted(path for folder in ("tests", "*/tests", "*/*/tests") for path in ROOT.glob(f"{folder}/**/test_*.py"))
# Whoever is told no, or that there is more, has met a limit.
MET = re.compile(
    r"naming|named|refused|declined|aborted|(not|cannot be) read|token for the next|`[a-z]+(-[a-z]+)+`"
    r"|INVALID_ARGUMENT|UNAUTHENTICATED|RESOURCE_EXHAUSTED|CANCELLED|FAILED_PRECONDITION|DEADLINE_EXCEEDED|UNAVAILABLE"
)
# What waits, is remembered or is tried again: nobody is told, so that only a test sees whether something is lost.
KEPT = re.compile(
    r"\bwaits?\b|\bnext\b|\banew\b|\bstops\b|forgotten|dropped|noted|stay dirty|held by itself|called off|taken for one"
    r"|(tried|met|read|goes on) again|several (appends|reads|requests|writes)|tried for as long|never more|see [A-Z_]+"
)
# What only shortens what is told, and what ends a connection. Whatever is beyond a limit is one of the four.
SHORTENED = re.compile(
    r"\bcut\b|are counted|only counted|left out|are kept|many violated fields|and more|says so, and nothing"
)
CLOSED = re.compile(r"closed|told to go|\b400\b|is not that data set")
# Those met or kept that no test names: where they are met at another size, or why they cannot be.
ELSEWHERE = {
    "CALLS_MAX": "a setting: test_load.py takes one more than a smaller one",
    "WAITING_CALLS_SHARE": "of the calls: test_arrivals.py fills a smaller room",
    "CALLS_REFUSED_AT_ONCE": "gRPC's own door: test_hostile.py opens more streams than all of them",
    "STRANGERS_SECONDS_MAX": "a time: test_hostile.py sends a request that never ends",
    "SECRET_FILE_BYTES_MAX": "no user's: whoever sets the service up",
    "BACKUP_FAULTS_MAX": "no refusal of its own: the first fault refuses already",
    "EVENT_BYTES_MAX": "test_execute.py sets a smaller one",
    "COMMAND_BYTES_MAX": "test_execute.py sets a smaller one, at it and beyond",
    "PRODUCE_REQUEST_BYTES_MAX": "cannot be met: EVENT_BYTES_MAX is half of it",
    "HELD_STREAMS_MAX": "no user's: test_held.py sets a smaller one",
    "TOKEN_CHARS_MAX": "cannot be met alone: what unpacks within TOKEN_BYTES_MAX is shorter",
    "MONGO_QUEUE_SECONDS_MAX": "a time: test_told.py takes the database away",
    "MONGO_ANSWER_SECONDS_MAX": "a time: test_told.py silences the database",
    "RACE_ATTEMPTS_MAX": "no request reaches it: two processes would have to lose ten races in a row",
    "DATA_SET_DAYS_MAX": "no user's: of a published data set",
    "APPEND_BYTES_MAX": "test_execute.py sets a smaller one",
    "CONSUMED_AT_ONCE_MAX": "a setting: test_kafka.py takes three at a time",
    "REBUILT_FROM_AT_ONCE_MAX": "a setting: test_kafka_log.py takes three at a time",
    "FETCH_BYTES_MAX": "a setting: test_kafka.py fetches less at a time",
    "FETCH_PARTITION_BYTES_MAX": "a setting: test_kafka.py fetches less at a time",
    "HANDLING_SECONDS_MAX": "a time, and a setting: test_kafka.py waits for a third of a second",
    "BULK_MAX": "store_contract.py writes more on both stores",
    "READ_BATCH_MAX": "the driver's: its cursor asks for the next by itself",
    "INSTANCES_KEPT_SECONDS": "store_contract.py notes one of the day before",
    "SCANNED_AT_ONCE_MAX": "a parameter: rebuild_rig.py takes two at a time in every test of a rebuild",
}


def strays(source: str) -> Iterator[str]:
    """Sizes and counts that a module names for itself. How long to wait for something may stand where it is done, and
    what a type can hold is no limit of ours."""
    for statement in ast.parse(source).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and target.id.isupper():
                words = target.id.strip("_").split("_")
                if ("MAX" in words or "LIMIT" in words) and not {"SECONDS", "DATE", "UINT32", "UINT64"} & set(words):
                    yield target.id


def named_by(source: str) -> Iterator[str]:
    """The limits that a test takes from their module and uses, or sets to something smaller."""
    nodes = list(ast.walk(ast.parse(source)))
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    for node in nodes:
        match node:
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[-1] == "limits":
                yield from (each.name for each in names if (each.asname or each.name) in used)
            case ast.Attribute(value=ast.Name(id="limits"), attr=name):
                yield name
            case ast.Call(func=ast.Attribute(attr="setattr"), args=[*_, ast.Constant(value=str(path)), _]):
                yield path.split(".")[-1]


def test_the_page_is_what_the_modules_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python scripts/generate_limits.py"


def test_there_is_a_module_for_every_service_and_library() -> None:
    named = {module.split(".")[0] for _, module in MODULES}
    packages = {path.name for folder in FOLDERS for path in ROOT.glob(f"{folder}/*") if path.is_dir()}
    assert {name for name in packages if not name.endswith(".egg-info")} == named


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_limit_stands_in_a_module_of_limits_and_nowhere_else(path: Path) -> None:
    if path.name not in ("limits.py", "testing.py"):
        assert list(strays(path.read_text(encoding="utf-8"))) == []


def test_the_command_and_the_services_mean_the_same() -> None:
    assert (command.ROWS_MAX, command.MESSAGE_BYTES_MAX) == (services.ROWS_MAX, services.MESSAGE_BYTES_MAX)


def beyond(*kinds: re.Pattern[str]) -> set[str]:
    """The limits that say one of these of what is beyond them."""
    limits = [limit for _, module in MODULES for limit in limits_of(module)]
    return {limit.name for limit in limits if any(kind.search(limit.beyond) for kind in kinds)}


@pytest.mark.parametrize("kind", [MET, KEPT], ids=["users meet it", "something waits, is remembered or tried again"])
def test_every_limit_of_a_kind_that_matters_is_named_by_a_test_or_says_why_not(kind: re.Pattern[str]) -> None:
    tested = {name for path in TESTS for name in named_by(path.read_text(encoding="utf-8"))}
    assert beyond(kind) - tested == ELSEWHERE.keys() & beyond(kind)
    assert not ELSEWHERE.keys() - beyond(MET, KEPT)


def test_every_limit_says_of_which_kind_it_is() -> None:
    """Else a new one would need no test, for the words in which it is told."""
    assert {limit.name for _, module in MODULES for limit in limits_of(module)} == beyond(MET, KEPT, SHORTENED, CLOSED)


def test_a_limit_that_only_a_comment_or_an_import_names_is_not_tested() -> None:
    source = """
from servicekit import limits
from catalogue.limits import FILE_BYTES_MAX, ID_MAX_LENGTH, RULE_DEPTH_MAX as DEEPEST, RULE_NODES_MAX as MOST
assert limits.ROWS_MAX  # not PAGE_SIZE_MAX
assert "x" * ID_MAX_LENGTH and MOST
monkeypatch.setattr("enrolment.api.attendance.ANSWER_BYTES_MAX", 20)
monkeypatch.setattr(spreadsheet, "SHEET_LINES_MAX", 5)
"""
    named = {"ID_MAX_LENGTH", "RULE_NODES_MAX", "ROWS_MAX", "ANSWER_BYTES_MAX", "SHEET_LINES_MAX"}
    assert set(named_by(source)) == named


def test_a_stray_limit_is_found() -> None:
    assert list(strays("ROWS_MAX = 3\n_BYTES_MAX: Final = 4\nWAIT_SECONDS_MAX = 5\nrows_max = 6\n")) == [
        "ROWS_MAX",
        "_BYTES_MAX",
    ]


def test_a_limit_that_does_not_say_what_happens_beyond_it_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sample_limits.py").write_text('from typing import Final\nROWS_MAX: Final = 3\n"""Rows."""\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match="ROWS_MAX"):
        list(limits_of("sample_limits"))
    sys.modules.pop("sample_limits", None)
