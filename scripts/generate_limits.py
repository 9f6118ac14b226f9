"""Writes docs/limits.md from the modules of limits, or with --check says whether it is stale.

A limit is a constant of a `limits.py` with a docstring below it: what it bounds, then `Beyond:` and what happens.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "limits.md"
MODULES = (
    ("The door of a service, and what passes it", "servicekit.limits"),
    ("The kernel", "eventcore.limits"),
    ("Catalogue files and ids", "catalogue.limits"),
    ("Enrolment", "enrolment.domain.limits"),
    ("Accreditation", "accreditation.domain.limits"),
    ("Mentoring", "mentoring.domain.limits"),
    ("The credence command", "credence_cli.limits"),
)
HEAD = """# Limits

Nothing grows without a bound. Each is named in one module of its service or library, from which this page is made
(`python scripts/generate_limits.py`); what is beyond it is refused by name, waits, or is dropped, as said. Each
that users meet (who are refused, or told that there is more), and each of what waits, is remembered or is tried again,
is named by a test, most at the limit and one beyond it; `tests/contracts/test_limits.py` holds that, and has those that
are met at another size, with the reason.

What no limit here can promise: a service takes up to CONNECTIONS_MAX connections from anywhere, so whoever opens them
all keeps new clients out until they are closed (those that are connected go on). Where strangers can reach the port,
put a proxy with limits by address before it. Callers who are signed in and act together can fill what there is for all;
each of them is named in the log.
"""


@dataclass(frozen=True)
class Limit:
    name: str
    value: str
    bounds: str
    beyond: str


def limits_of(module: str) -> Iterator[Limit]:
    """In their order. Raises ValueError for a constant that does not say what happens beyond it."""
    loaded = importlib.import_module(module)
    body = ast.parse(Path(str(loaded.__file__)).read_text(encoding="utf-8")).body
    for statement, below in zip(body, [*body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        said = below.value if isinstance(below, ast.Expr) else None
        words = " ".join(str(said.value).split()) if isinstance(said, ast.Constant) else ""
        bounds, found, beyond = words.partition(" Beyond")
        name = statement.target.id
        if not found or not bounds:
            raise ValueError(f"{module}.{name} does not say what it bounds and what happens beyond it")
        yield Limit(name, _shown(name, getattr(loaded, name)), bounds, beyond.lstrip(",: "))


def _shown(name: str, value: object) -> str:
    if "BYTES" in name and isinstance(value, int) and value % 1024 == 0:
        return f"{value // 2**20} MiB" if value % 2**20 == 0 else f"{value // 2**10} KiB"
    number = f"{value:,}" if isinstance(value, int) else str(value)
    for word, unit in (("BYTES", "bytes"), ("CHARS", "characters"), ("SECONDS", "s")):
        if word in name:
            return f"{number} {unit}"
    return number


def page() -> str:
    parts = [HEAD]
    for title, module in MODULES:
        rows = [f"| `{each.name}` | {each.value} | {each.bounds} | {each.beyond} |" for each in limits_of(module)]
        parts.append(
            "\n".join([f"## {title}\n", "| limit | value | of what | beyond it |", "|---|--:|---|---|", *rows]) + "\n"
        )
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write docs/limits.md from the modules of limits.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the page is stale")
    if parser.parse_args().check:
        stale = not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page()
        if stale:
            print("docs/limits.md is stale: run python scripts/generate_limits.py", file=sys.stderr)
        return int(stale)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
