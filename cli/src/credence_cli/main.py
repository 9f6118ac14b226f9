"""The `credence` command."""

from __future__ import annotations

import sys

import typer
from typer.exceptions import Abort, TyperException

from credence_cli.command import fail
from credence_cli.commands import (
    assessments,
    attendance,
    catalogue,
    enrolments,
    held,
    imports,
    mentor,
    operations,
    person,
    republish,
    running,
    standing,
    status,
    views,
)
from credence_cli.commands.demo import demo
from credence_cli.exits import INTERRUPTED, Exit
from credence_cli.output import give_up_output, say

app = typer.Typer(
    name="credence",
    help="Credence from the command line: for partners, admissions, assessors, learners and operators.",
    epilog="Exit codes: 0 done, 1 some rows refused, 2 wrong usage or file, 3 not found, 4 refused, 5 not allowed, "
    "6 a server is away or slow (run it again), 7 a defect, 8 it waits for a confirmation, "
    "130 interrupted, 141 nobody reads the output any more.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(catalogue.app, name="catalogue")
app.add_typer(enrolments.cohort_app, name="cohort")
app.command()(enrolments.enrol)
app.command()(enrolments.name)
app.command()(enrolments.withdraw)
app.add_typer(attendance.app, name="attendance")
app.add_typer(assessments.assess_app, name="assess")
app.add_typer(assessments.board_app, name="board")
app.add_typer(standing.app, name="standing")
app.add_typer(mentor.app, name="mentor")
app.add_typer(person.app, name="person")
app.add_typer(imports.app, name="import")
app.add_typer(held.app, name="held")
app.add_typer(running.stack_app, name="stack")
app.add_typer(running.topics_app, name="topics")
app.command()(demo)
app.command()(status.status)
app.command()(running.lag)
app.command()(operations.operations)
app.command()(republish.republish)
app.add_typer(views.app, name="views")
app.command()(running.token)
app.command()(running.secrets)


def main() -> None:
    """What `__main__` runs once all is loaded: exit codes are those of `exits.Exit`."""
    try:
        code = app(standalone_mode=False)
        if code == Exit.INTERRUPTED:  # Typer makes this code of Ctrl-C, and says nothing
            raise KeyboardInterrupt
        sys.exit(code)
    except (KeyboardInterrupt, Abort):
        say(INTERRUPTED)
        sys.exit(int(Exit.INTERRUPTED))
    except TyperException as usage:
        # Typer's own rendering of a usage error, which only its standalone mode calls; that mode swallows Ctrl-C.
        message = str(usage)
        getattr(usage, "show", lambda: say(message))()
        sys.exit(int(Exit.USAGE))
    except Exception as error:  # noqa: BLE001 (`fail` shows the trace of what it does not know)
        code = fail(error)
        give_up_output()
        sys.exit(code)


if __name__ == "__main__":
    main()
