"""Fingerprint: what a view's fold is, so that a release in which it changed is noticed.

The hash covers the source of the document and of the fold, with everything they reach in our own packages: functions,
classes and constants, through imports. Comments, docstrings, annotations of functions and positions are left out,
since they change nothing. It is read from the source, not from what runs, so that it is the same in every process and
stays so when Python or pydantic is upgraded. What is called on an object (`document.with_mark()`) is found because the
object's class is reached as well, by its name or as a part of the document.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Collection, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from eventcore.fold import View

Definition: TypeAlias = tuple[str, str]  # module, name at its top level

OWN_PACKAGES = ("catalogue", "eventcore")


def fingerprint(view: View[Any]) -> str:
    """32 hexadecimal digits. First-party are the packages of fold and document, and OWN_PACKAGES.

    Raises OSError where the source is not there.
    """
    fold, document = _defined(view.fold), _defined(view.document)
    first_party = {*OWN_PACKAGES, fold[0].partition(".")[0], document[0].partition(".")[0]}
    told = hashlib.sha256()
    reached: set[Definition] = set()
    todo = [fold, document]
    while todo:
        definition = todo.pop()
        if definition not in reached:
            reached.add(definition)
            todo += _reached_from(definition, first_party)
    for module, name in sorted(reached):
        told.update(f"{module}.{name}: {_source(module, name)}\n".encode())
    return told.hexdigest()[:32]


def _defined(thing: Any) -> Definition:
    """Where a function or class stands; a nested one stands for the whole of what holds it."""
    thing = getattr(thing, "func", thing)  # a partial
    thing = getattr(thing, "__func__", thing)  # a bound method
    return thing.__module__, thing.__qualname__.partition(".")[0]


@cache
def _tree(module: str) -> ast.Module:
    origin = getattr(importlib.util.find_spec(module), "origin", None)
    if origin is None:
        raise OSError(f"the source of {module} is not there, so whether its folds changed cannot be told")
    return ast.parse(Path(origin).read_text(encoding="utf-8"))


@cache
def _definitions(module: str) -> dict[str, list[ast.stmt]]:
    """The statements at a module's top level that bind each name (in branches of `if` and `try` too)."""
    found: dict[str, list[ast.stmt]] = {}
    for statement in _top_level(_tree(module).body):
        for name in _bound(statement):
            found.setdefault(name, []).append(statement)
    return found


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, ast.If):
            yield from _top_level([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Try):
            handlers = [s for handler in statement.handlers for s in handler.body]
            yield from _top_level([*statement.body, *handlers, *statement.orelse, *statement.finalbody])
        else:
            yield statement


def _bound(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield statement.name
        case ast.Import() | ast.ImportFrom():
            for alias in statement.names:
                yield alias.asname or alias.name.partition(".")[0]
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def _reached_from(definition: Definition, first_party: Collection[str]) -> Iterator[Definition]:
    module, name = definition
    for statement in _definitions(module).get(name, ()):
        for path in _paths(_without_words(statement)):
            yield from _resolved(module, path, first_party)


def _resolved(module: str, path: tuple[str, ...], first_party: Collection[str]) -> Iterator[Definition]:
    """The first-party definition that a dotted path leads to, if one."""
    for statement in _definitions(module).get(path[0], ()):
        match statement:
            case ast.Import():
                for alias in statement.names:
                    dotted = alias.name if alias.asname else alias.name.partition(".")[0]
                    if (alias.asname or dotted) == path[0]:
                        yield from _in_module(dotted, path[1:], first_party)
            case ast.ImportFrom():
                source = _absolute(module, statement)
                for alias in statement.names:
                    if (alias.asname or alias.name) == path[0]:
                        yield from _in_module(source, (alias.name, *path[1:]), first_party)
            case _:
                yield module, path[0]


def _in_module(module: str, path: tuple[str, ...], first_party: Collection[str]) -> Iterator[Definition]:
    if module.partition(".")[0] not in first_party:
        return
    if path and path[0] in _definitions(module):
        yield from _resolved(module, path, first_party)
    elif path and _is_module(f"{module}.{path[0]}"):
        yield from _in_module(f"{module}.{path[0]}", path[1:], first_party)


def _absolute(module: str, statement: ast.ImportFrom) -> str:
    if not statement.level:
        return statement.module or ""
    package = module if hasattr(import_module(module), "__path__") else module.rpartition(".")[0]
    for _ in range(statement.level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{statement.module}" if statement.module else package


@cache
def _is_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _paths(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """Every dotted name that is read: `facts.Mark` as one path, not as two names."""
    match node:
        case ast.Attribute():
            path: list[str] = []
            inner: ast.expr = node
            while isinstance(inner, ast.Attribute):
                path.append(inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name):
                yield (inner.id, *reversed(path))
                return
            yield from _paths(inner)
        case ast.Name():
            yield (node.id,)
        case ast.Constant(value=str()):
            pass
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _paths(child)


def _source(module: str, name: str) -> str:
    return "\n".join(ast.unparse(_without_words(s)) for s in _definitions(module).get(name, ()))


def _without_words(statement: ast.stmt) -> ast.stmt:
    """Without docstrings and the annotations of functions; a class keeps its own, which are its fields."""
    copied = ast.parse(ast.unparse(statement)).body[0]
    for node in ast.walk(copied):
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
            for argument in (
                *node.args.posonlyargs,
                *node.args.args,
                *node.args.kwonlyargs,
                node.args.vararg,
                node.args.kwarg,
            ):
                if argument is not None:
                    argument.annotation = None
    return copied
