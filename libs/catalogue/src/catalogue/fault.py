"""One fault, and what every check of the catalogue needs to find it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from catalogue.model import Part, Rule

Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: where in the programme (keys and list positions from the top), what and what to do, a stable code."""

    path: Path
    message: str
    code: str


Check: TypeAlias = Callable[[], Iterator[Fault]]


def run(checks: Iterable[Check], *, drafts: bool) -> list[Fault]:
    found: list[Fault] = []
    for check in checks:
        try:
            found.extend(check())
        except AttributeError:
            # A draft lacks what is faulty itself, and that fault is said already. On a whole programme a missing
            # attribute would be a mistake in this module and must not pass for "no fault".
            if not drafts:
                raise
    return found


def items(part: Part, field: str) -> Iterator[tuple[int, Part]]:
    yield from enumerate(getattr(part, field, ()))


def known(path: Path, value: str, among: Iterable[str], what: str, code: str) -> Iterator[Fault]:
    declared = sorted(among)
    if value not in declared:
        choice = (
            f"declared: {', '.join(declared[:12])}{' ...' if len(declared) > 12 else ''}" if declared else "none is"
        )
        yield Fault(path, f"no {what} {value!r} is declared ({choice})", code)


def ids(items: Iterable[Part]) -> set[str]:
    return {item.id for item in items if hasattr(item, "id")}


def walk(path: Path, rule: Rule) -> Iterator[tuple[Path, Rule]]:
    todo: list[tuple[Path, Rule]] = [(path, rule)]
    while todo:
        at, node = todo.pop()
        yield at, node
        of: tuple[Rule, ...] = getattr(node, "of", ())
        todo.extend(((*at, "of", i), child) for i, child in enumerate(of))
