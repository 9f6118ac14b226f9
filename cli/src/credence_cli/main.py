"""The `credence` command."""

from __future__ import annotations

import sys

import typer

from credence_cli.command import fail
from credence_cli.exits import Exit
from credence_cli.output import say

app = typer.Typer(
    name="credence",
    help="Credence from the command line: for partners, admissions, assessors, learners and operators.",
    epilog="Exit codes: 0 done, 1 some rows refused, 2 wrong usage or file, 3 not found, 4 refused, 5 not allowed, "
    "6 a server is away or slow (run it again), 7 a defect, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The entry point: exit codes are those of `exits.Exit`."""
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        say("Interrupted. What was acknowledged is kept; run it again to go on.")
        sys.exit(int(Exit.INTERRUPTED))
    except Exception as error:  # noqa: BLE001 (`fail` raises again what it does not know)
        sys.exit(fail(error))


if __name__ == "__main__":
    main()
