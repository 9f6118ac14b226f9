"""`credence import`: other people's registers, through the public contracts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from credence_cli.client import connected
from credence_cli.command import Json, fail, run
from credence_cli.exits import CommandFailed, Exit
from credence_cli.files import try_to_write
from credence_cli.identity import Identity
from credence_cli.oulad import files, mapping, oddities, plan, reconcile
from credence_cli.oulad import report as reports
from credence_cli.oulad.importer import IN_FLIGHT, Imported, Importer
from credence_cli.oulad.readback import Reader
from credence_cli.output import say, show
from credence_cli.progress import Report

app = typer.Typer(help="Imports: registrations and results that somebody else has kept.", no_args_is_help=True)
IMPORTER = Identity.of("importer")


@app.callback()
def _group() -> None:
    """Imports: registrations and results that somebody else has kept."""


@app.command()
def oulad(
    folder: Annotated[Path, typer.Argument(metavar="DIR", envvar="CREDENCE_DATA", help="The data set's folder.")],
    presentation: Annotated[
        list[str] | None, typer.Option("--presentation", help="Only this one, e.g. AAA-2013J; repeatable.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--reconcile", help="Then compare the platform's answers with the files.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write every row that was not taken to this CSV file.")
    ] = None,
    mapping_file: Annotated[
        Path | None, typer.Option("--mapping", help="Credits, levels and dates; the command brings its own.")
    ] = None,
    in_flight: Annotated[int, typer.Option("--in-flight", min=1, max=32, help="Batches sent at a time.")] = IN_FLIGHT,
    as_json: Json = False,
) -> None:
    """Imports the Open University's data set: presentations, registrations, withdrawals and results of 2013.

    It can be interrupted at any point and run again: what is there already is found and not stored twice. Credit
    values, levels and award titles are not in the data; they come from the mapping file, which says so.
    """

    async def work() -> Exit:
        wanted = presentation or []
        dataset, planned = _read(folder, mapping_file, wanted)
        odd = oddities.count(dataset, wanted)
        if report is not None:
            try_to_write(report)
        progress = Report()
        compared, reported = None, Exit.OK
        async with connected(IMPORTER) as client:
            importer = Importer(client, progress, in_flight)
            try:
                done = await importer.run(planned)
                if compare:
                    compared = await _compared(Reader(client, progress), planned, done)
            finally:
                # Also when it was interrupted: what is known by now is worth having.
                if report is not None:
                    reported = _reported(report, planned, importer.result, compared)

        def render() -> None:
            reports.render_import(done, planned.left_out, odd)
            if compared is not None:
                reports.render_reconciled(compared)

        show(reports.as_data(done, planned.left_out, odd, compared), as_json, render)
        wrong = compared.unexplained if compared is not None else done.refused
        return max(Exit.SOME_REFUSED if wrong else Exit.OK, reported)

    run(work())


def _reported(file: Path, planned: plan.Plan, done: Imported, compared: reconcile.Reconciled | None) -> Exit:
    """Writes the report. Where it cannot be written that is told, and how the import itself ended stays so."""
    try:
        lines = reports.write(file, planned.left_out, done.refused, compared)
    except (CommandFailed, OSError) as error:
        return Exit(fail(error))
    say(f"{lines} rows that were not taken are in {file}.")
    return Exit.OK


async def _compared(reader: Reader, planned: plan.Plan, done: Imported) -> reconcile.Reconciled:
    cohorts = [cohort.cohort for cohort in planned.cohorts]
    if not await reader.settled({cohort: done.tokens.get(cohort, []) for cohort in cohorts}):
        say("The standings did not come to rest: they are compared as they are.")
    return reconcile.compare(reconcile.expected(planned, done.refused), await reader.answers(cohorts))


def _read(folder: Path, mapping_file: Path | None, presentations: Sequence[str]) -> tuple[files.Dataset, plan.Plan]:
    # CREDENCE_DATA names the folder of every data set, and this one's is within it.
    if (folder / "oulad" / files.COURSES).is_file():
        folder = folder / "oulad"
    try:
        dataset = files.read(folder)
        return dataset, plan.make(dataset, mapping.load(mapping_file), presentations)
    except (files.DataUnreadable, mapping.MappingFault, plan.UnknownPresentation) as fault:
        raise CommandFailed(Exit.USAGE, str(fault)) from fault
