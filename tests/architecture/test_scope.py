"""Whose object is an argument: every function of `application/` and `views/` that an api can reach takes a scope.

What takes a `Kernel` can read and command on a caller's behalf. What takes only a `Reader` serves evaluations, which
act for nobody and are no caller's to call.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Steps of functions that have checked the scope already, each with what makes it safe.
WITHOUT = {
    ("accreditation/views/standings.py", "current"): "its callers give it targets that they found with the scope",
    ("enrolment/application/cohorts.py", "cohorts_of"): "what rows are decided on; each row is checked by its caller",
    ("enrolment/application/cohorts.py", "programmes_of"): "programmes are public to every role",
    ("enrolment/views/enrolments.py", "by_reference"): "whom a provider's words name; the provider was checked",
    ("enrolment/views/enrolments.py", "open_references"): "opens values of documents found with the scope",
    ("enrolment/views/programmes.py", "list_programmes"): "programmes are public to every role",
    ("enrolment/views/registers.py", "references_of"): "opens one provider's words; the provider was checked",
}


def without_scope(root: Path) -> Iterator[tuple[str, str]]:
    """(file, function) of every public function that takes a Kernel and no Scope."""
    for file in sorted(root.glob("services/*/src/*/*/*.py")):
        if file.parent.name not in {"application", "views"}:
            continue
        for node in ast.parse(file.read_text()).body:
            if not isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) or node.name.startswith("_"):
                continue
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            types = {ast.unparse(a.annotation) for a in arguments if a.annotation is not None}
            if "Kernel" in types and "Scope" not in types:
                yield "/".join(file.parts[-3:]), node.name


def test_what_an_api_can_reach_takes_a_scope() -> None:
    assert sorted(set(without_scope(ROOT)) - WITHOUT.keys()) == []


def test_no_exception_has_outlived_its_function() -> None:
    assert sorted(WITHOUT.keys() - set(without_scope(ROOT))) == []


def test_a_query_without_a_scope_is_caught(tmp_path: Path) -> None:
    views = tmp_path / "services" / "enrolment" / "src" / "enrolment" / "views"
    views.mkdir(parents=True)
    (views / "leak.py").write_text("async def everybody(kernel: Kernel, cohort_id: str) -> list[str]: ...\n")
    (views / "fine.py").write_text("async def mine(kernel: Kernel, scope: Scope, cohort_id: str) -> list[str]: ...\n")
    assert list(without_scope(tmp_path)) == [("enrolment/views/leak.py", "everybody")]
