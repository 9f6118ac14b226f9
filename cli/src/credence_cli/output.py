"""What commands print: tables and trees for people, or with --json one document for programs, on standard output.

Progress and messages go to standard error, so that a pipe gets the answer only.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.markup import escape
from rich.table import Table

# A pipe or a file has no width of its own: wide enough that nothing is cut.
_PIPE_COLUMNS = 200


class OutputClosed(Exception):
    """Whoever read standard output has stopped (`| head`). Typer and Rich would end the process with exit code 1,
    which says with us that rows were refused."""


class _Printer(Console):
    def on_broken_pipe(self) -> None:
        raise OutputClosed


out = _Printer(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def plain(value: Any) -> Any:
    """A message, or a structure of them, as JSON-shaped data with the names of the .proto."""
    if isinstance(value, Message):
        return MessageToDict(value, preserving_proto_field_name=True)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [plain(v) for v in value]
    return value


def show(data: Any, as_json: bool, render: Callable[[], None]) -> None:
    """Prints `data` as JSON, or calls `render`."""
    if as_json:
        write(json.dumps(plain(data), indent=2, ensure_ascii=False, default=str) + "\n")
    else:
        render()


def write(text: str) -> None:
    """Exactly this, to standard output. A full disk behind it is told now, not at the interpreter's end."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise OutputClosed from error


def give_up_output() -> None:
    """What standard output has not taken yet is let go: the interpreter's end would try once more, complain, and
    change the exit code."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints a table; cells are shown as they are, never read as markup."""
    drawn = Table(
        title=escape(title) if title else None, title_justify="left", header_style="bold", box=None, pad_edge=False
    )
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(escape(str(cell)) for cell in row))
    out.print(drawn)


def say(text: str) -> None:
    """A line for the person at the terminal."""
    err.print(escape(text))
