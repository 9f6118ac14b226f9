"""Runs a command's coroutine: its failures become one message and an exit code, never a traceback."""

from __future__ import annotations

import asyncio
import errno
import traceback
from collections.abc import Coroutine
from typing import Annotated, Any, NoReturn

import typer
from rich.markup import escape

from credence_cli.exits import CommandFailed, Exit
from credence_cli.output import OutputClosed, err
from credence_cli.spreadsheet import shown

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def run(work: Coroutine[Any, Any, Exit | None]) -> NoReturn:
    """Runs the command to its end and exits with its code."""
    raise typer.Exit(int(asyncio.run(work) or Exit.OK))


def fail(error: Exception) -> int:
    """Prints what went wrong and gives the exit code. Anything unforeseen is a defect, and wants its trace."""
    match error:
        case CommandFailed():
            err.print(f"[red]{escape(str(error))}[/]")
            for detail in error.details:
                err.print(f"  {escape(detail)}")
            return int(error.exit_code)
        case UnicodeEncodeError(reason="surrogates not allowed", object=text):
            # Python reads bytes of the command line that are no UTF-8 as such: they can be no part of a message.
            err.print(
                f"[red]'{escape(shown(text))}' is not written in UTF-8: type it anew, at a terminal set to UTF-8[/]"
            )
            return int(Exit.USAGE)
        case OutputClosed():
            return int(Exit.OUTPUT_CLOSED)
        case OSError(errno=errno.ENOSPC):
            err.print("[red]The disk is full: free some space and run it again; what was acknowledged is kept.[/]")
            return int(Exit.UNAVAILABLE)
        case _:
            # Python itself would end with exit code 1, which says that rows were refused.
            traceback.print_exception(error)
            return int(Exit.FAILED)
