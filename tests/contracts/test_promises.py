"""The page of promises names tests that exist: each promise the ones that prove it, and what shows those red."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.reliability import report

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "promises.md"
PROMISES = [f"P{n}" for n in range(1, 21)]
PARTS = ("Proved by", "Shown red by", "Last shown")
CITED = re.compile(r"`([\w/]+(?:\.py)?)(?:::(\w+))?`")


def promises(page: str) -> dict[str, dict[str, str]]:
    """Promise -> part -> its words."""
    found = {}
    for section in re.split(r"^### ", page, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        lines = (line.partition(": ") for line in body.splitlines())
        found[heading.split()[0]] = {part: words for part, _, words in lines if part in PARTS}
    return found


def wrong(page: str) -> Iterator[str]:
    """What is missing on the page, and what it names that is not there."""
    found = promises(page)
    if list(found) != PROMISES:
        yield f"the page has {', '.join(found)}"
    for promise, parts in found.items():
        for part in PARTS:
            if not parts.get(part, "").strip():
                yield f"{promise} does not say: {part}"
        for part in PARTS[:2]:
            cited = CITED.findall(parts.get(part, ""))
            if not cited:
                yield f"{promise} names no test: {part}"
            yield from (f"{promise} names {fault}" for path, name in cited if (fault := _fault(path, name)))


def _fault(path: str, name: str) -> str:
    """Why this is no test of ours, empty when it is one."""
    file = ROOT / path
    if not file.exists():
        return f"{path}, which is not there"
    if name and name not in _functions(file):
        return f"{path}::{name}, which is not there"
    return ""


def _functions(file: Path) -> Mapping[str, ast.AST]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name: node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, kinds)}


def test_every_promise_names_the_tests_that_prove_it_and_what_shows_them_red() -> None:
    assert list(wrong(PAGE.read_text())) == []


def test_every_promise_of_a_report_is_on_the_page() -> None:
    assert set(report.PROMISES) <= set(promises(PAGE.read_text()))


def test_a_promise_that_was_dropped_and_one_without_a_proof_are_found() -> None:
    page = PAGE.read_text()
    start, end = page.index("### P7 "), page.index("### P8 ")
    assert "the page has" in next(wrong(page[:start] + page[end:]))
    unproved = re.sub(r"^Proved by: .*$", "Proved by: reading", page, count=1, flags=re.MULTILINE)
    assert list(wrong(unproved)) == ["P1 names no test: Proved by"]


def test_a_test_that_is_not_there_is_found() -> None:
    page = PAGE.read_text()
    assert list(wrong(page.replace("test_checks.py::test_p17_old_answers", "test_checks.py::test_p17_older"))) == [
        "P17 names tests/reliability/test_checks.py::test_p17_older, which is not there"
    ]
    assert list(wrong(page.replace("libs/eventcore/tests/store_contract.py", "libs/eventcore/tests/contract.py"))) == [
        "P2 names libs/eventcore/tests/contract.py, which is not there"
    ]
