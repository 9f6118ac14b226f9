"""`credence catalogue`: check scheme files, load them, list what runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catalogue.files import Checked
from catalogue.files import check as check_files
from catalogue.proto import programme_to_proto
from credence.enrolment.v1 import catalogue_pb2 as pb
from credence.enrolment.v1 import catalogue_pb2_grpc
from credence_cli import outcomes
from credence_cli.client import Client, connected
from credence_cli.command import Json, run
from credence_cli.embedded.home import project_root
from credence_cli.exits import CommandFailed, Exit
from credence_cli.identity import Identity
from credence_cli.output import out, show, table
from credence_cli.state import last_token

app = typer.Typer(help="The schemes that run: check their files, load them, list them.", no_args_is_help=True)

Paths = Annotated[list[Path] | None, typer.Argument(help="Files or folders; the project's catalogue/ unless given.")]
OPERATOR = Identity.of("operator")


def stub(client: Client) -> catalogue_pb2_grpc.CatalogueServiceStub:
    return client.stub(catalogue_pb2_grpc.CatalogueServiceStub, "enrolment")


def checked(paths: list[Path] | None) -> Checked:
    """The files' programmes and every fault of every file. Raises CommandFailed without a place to look."""
    if not paths:
        root = project_root()
        if root is None:
            raise CommandFailed(Exit.USAGE, "name the scheme files: no catalogue/ was found above this folder")
        paths = [root / "catalogue"]
    return check_files(paths)


@app.command()
def check(paths: Paths = None, as_json: Json = False) -> None:
    """Reports every fault of every file, each with file and line. Needs no server."""
    found = checked(paths)
    faults = [str(fault) for fault in found.faults]
    data = {"programmes": [f"{p.id} version {p.version}" for p in found.programmes.values()], "faults": faults}

    def render() -> None:
        for fault in faults:
            out.print(fault, style="red", markup=False)
        out.print(f"{found.files} files, {len(found.programmes)} without a fault, {len(faults)} faults")

    show(data, as_json, render)
    raise typer.Exit(int(Exit.SOME_REFUSED if faults else Exit.OK))


@app.command()
def load(
    paths: Paths = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show every answer, store nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Checks the files and loads them. A loaded version never changes: a change is a new version."""

    async def work() -> Exit:
        found = checked(paths)
        if found.faults:
            details = tuple(str(fault) for fault in found.faults)
            raise CommandFailed(Exit.USAGE, "nothing was loaded: mend these faults first", details)
        programmes = list(found.programmes.values())
        request = pb.LoadProgrammesRequest(programmes=[programme_to_proto(p) for p in programmes], dry_run=dry_run)
        async with connected(OPERATOR) as client:
            answer = await client.call(stub(client).LoadProgrammes, request)
        return outcomes.report(answer, [f"{p.id} version {p.version}" for p in programmes], as_json)

    run(work())


@app.command("list")
def list_programmes(
    programme: Annotated[str, typer.Argument(help="Only this programme.")] = "", as_json: Json = False
) -> None:
    """What is loaded."""

    async def work() -> Exit:
        async with connected(OPERATOR) as client:
            request = pb.ListProgrammesRequest(programme_id=programme, token=last_token())
            answer = await client.whole(stub(client).ListProgrammes, request)
        rows = [
            (p.id, p.version, p.title, p.owner.title, ", ".join(a.title for a in p.awards)) for p in answer.programmes
        ]
        show(answer, as_json, lambda: table("", ("programme", "version", "title", "owner", "awards"), rows))
        return Exit.OK

    run(work())
