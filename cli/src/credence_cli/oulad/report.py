"""What the import comes to, for people, for programs and as a CSV of every row that was not taken."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from credence_cli.files import writing
from credence_cli.oulad import oddities
from credence_cli.oulad.importer import Imported, Refused
from credence_cli.oulad.plan import NotTaken
from credence_cli.oulad.reconcile import Reconciled
from credence_cli.output import out, table

COLUMNS: Final = ("category", "row", "code", "message")
# On the screen; all of them are in the report.
_SHOWN: Final = 20


def write(path: Path, left_out: Iterable[NotTaken], refused: Iterable[Refused], compared: Reconciled | None) -> int:
    """Every row that was not taken, and every difference nobody explains; the number of lines.

    Raises as `files.writing` does.
    """
    lines: list[Sequence[str]] = [(n.category, _row(n.where, n.key), n.code, n.message) for n in left_out]
    for each in refused:
        step = f"{each.step}: " if each.step else ""
        lines.append((each.category, _row(each.where, each.key), each.code, f"{step}{each.message}"))
    for category in compared.categories if compared else ():
        for each_ in category.unexplained:
            message = f"expected {each_.expected or 'nothing'}, found {each_.found or 'nothing'}"
            lines.append((category.category, _row("", each_.key), "unexplained", message))
    with writing(path), path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows(lines)
    return len(lines)


def _row(where: str, key: Sequence[str]) -> str:
    return f"{where} {'/'.join(key)}".strip()


def as_data(
    done: Imported, left_out: Sequence[NotTaken], odd: Mapping[str, int], compared: Reconciled | None
) -> dict[str, Any]:
    """The summary as one JSON document."""
    data: dict[str, Any] = {
        "rows": {
            title: {
                "stored": tally.stored,
                "already": tally.already,
                "refused": dict(tally.refused),
                "seconds": round(tally.seconds, 2),
            }
            for title, tally in done.tallies.items()
        },
        "left_out": _counted(left_out),
        "oddities": dict(odd),
    }
    if compared is not None:
        data["reconciled"] = {
            "categories": [
                {
                    "category": each.category,
                    "in_files": each.in_files,
                    "expected": each.expected,
                    "found": each.found,
                    "not_taken": _counted(each.not_taken).get(each.category, {}),
                    "unexplained": [
                        {"key": "/".join(d.key), "expected": d.expected, "found": d.found} for d in each.unexplained
                    ],
                }
                for each in compared.categories
            ],
            "credits": [
                {"programme": c.programme, "expected": str(c.expected), "found": str(c.found)} for c in compared.credits
            ],
            "unexplained": compared.unexplained,
        }
    return data


def _counted(rows: Iterable[NotTaken]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for each in rows:
        counts.setdefault(each.category, Counter())[each.code] += 1
    return {category: dict(codes) for category, codes in counts.items()}


def render_import(done: Imported, left_out: Sequence[NotTaken], odd: Mapping[str, int]) -> None:
    """What was sent and what was not."""
    table(
        "Sent",
        ("category", "stored", "there already", "refused", "seconds"),
        ((title, t.stored, t.already, t.refused.total(), f"{t.seconds:.1f}") for title, t in done.tallies.items()),
    )
    refused = {title: dict(t.refused) for title, t in done.tallies.items() if t.refused}
    for title, counts in (("Refused by the platform", refused), ("Left out before sending", _counted(left_out))):
        if counts:
            rows = [(category, code, n) for category, codes in counts.items() for code, n in codes.items()]
            table(title, ("category", "why", "rows"), rows)
    table("Odd in the data", ("rows", "what"), ((n, oddities.says(name)) for name, n in odd.items() if n))
    out.print("There is no attendance in the data: none was imported.")


def render_reconciled(compared: Reconciled) -> None:
    """The files beside the platform."""
    table(
        "Files and platform",
        ("category", "in the files", "not taken", "expected", "found", "unexplained"),
        (
            (c.category, c.in_files, len({n.key for n in c.not_taken}), c.expected, c.found, len(c.unexplained))
            for c in compared.categories
        ),
    )
    table(
        "Credits confirmed",
        ("programme", "expected", "found"),
        ((c.programme, f"{c.expected:f}", f"{c.found:f}") for c in compared.credits),
    )
    _listed(
        "Rows not taken",
        ((n.category, _row(n.where, n.key), n.code, n.message) for c in compared.categories for n in c.not_taken),
    )
    _listed(
        "Unexplained",
        (
            (c.category, "/".join(d.key), "expected " + (d.expected or "nothing"), "found " + (d.found or "nothing"))
            for c in compared.categories
            for d in c.unexplained
        ),
    )
    if compared.unexplained:
        out.print(f"[red]{compared.unexplained} differences are unexplained.[/]")
    else:
        out.print("[green]Every difference is explained.[/]")


def _listed(title: str, rows: Iterable[Sequence[str]]) -> None:
    listed = list(rows)
    if listed:
        table(title, ("category", "row", "why", ""), listed[:_SHOWN])
    if len(listed) > _SHOWN:
        out.print(f"... and {len(listed) - _SHOWN} more: --report FILE lists them all.")
