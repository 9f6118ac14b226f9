"""`credence demo`: the main job on embedded servers, from nothing to a learner's credit."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from catalogue.proto import programme_to_proto
from credence.enrolment.v1 import catalogue_pb2
from credence_cli.client import Client
from credence_cli.commands.catalogue import OPERATOR, checked
from credence_cli.commands.catalogue import stub as catalogue_stub
from credence_cli.commands.running import Port
from credence_cli.demo import commissioners, directors, mentoring
from credence_cli.demo.stage import BODY, IMPORTER, Stage
from credence_cli.embedded.home import credence_home
from credence_cli.embedded.stack import Stack
from credence_cli.exits import Exit
from credence_cli.output import err, out, say

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the platform running, with commands to try.")] = False,
    port: Port = None,
) -> None:
    """The whole platform on embedded servers: real Kafka, a MongoDB-protocol database, three services, three schemes.

    Ends with nothing running unless --keep, or unless the stack ran already.
    """
    began = time.monotonic()
    # Without --keep the servers belong to this process and end with it, whatever ends it.
    stack = Stack(port_base=port, owned=not keep, say=say)
    ran_before = any(part.state != "stopped" for part in stack.status())
    out.rule("[bold]Credence: from a register to a learner's credit[/]", align="left")
    try:
        say("Starting the platform (the first time, Kafka is fetched once) ...")
        addresses = stack.up()
        out.print(f"The platform is up after {time.monotonic() - began:.1f} s: {stack.software}.", markup=False)
        stage = asyncio.run(_play(dict(addresses.grpc), stack.secrets.folder))
    finally:
        if not keep and not ran_before:
            with err.status("Stopping ..."):
                stack.down()
    out.print()
    _farewell(stage, time.monotonic() - began, running=keep or ran_before)
    raise typer.Exit(int(Exit.FAILED if stage.surprises else Exit.OK))


async def _play(addresses: dict[str, str], secrets: Path) -> Stage:
    # The schemes run in London: what is "today" there decides which sessions were held.
    today = datetime.now(ZoneInfo("Europe/London")).date()
    run = _base36(int(time.time()) - int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()))
    # Its own key, whatever the shell exports for another platform.
    client = Client(IMPORTER, addresses, secrets)
    stage = Stage(client, run, credence_home() / "demo" / run, today)
    try:
        stage.scene("The catalogue")
        stage.step("Four programmes, each one file, no code of its own.", "catalogue load")
        programmes = list(checked(None).programmes.values())
        request = catalogue_pb2.LoadProgrammesRequest(programmes=[programme_to_proto(p) for p in programmes])
        answer = await client.call(catalogue_stub(client).LoadProgrammes, request, identity=OPERATOR)
        stage.report(answer, [f"{p.id} version {p.version}: {p.title}" for p in programmes])
        await commissioners.play(stage)
        await directors.play(stage)
        await mentoring.play(stage)
    finally:
        await client.close()
    return stage


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits


def _farewell(stage: Stage, seconds: float, *, running: bool) -> None:
    for surprise in stage.surprises:
        out.print(f"unexpected: {surprise}", style="red", markup=False)
    out.print(f"{stage.steps} steps in {seconds:.1f} s. The registers that were posted: {stage.folder}", markup=False)
    if not running:
        out.print("Everything is stopped. `make demo KEEP=1` leaves it running for you to try.", markup=False)
        return
    learner = stage.id("sample-1")
    out.print("The platform is running. To try next (from this folder):")
    for command in (
        "stack status",
        f"cohort show {stage.id('com')}",
        f"standing explain {stage.id('com')} {learner}",
        f"attendance outstanding --provider {commissioners.PROVIDER}",
        f"board reviews --body {BODY}",
        "lag",
        "stack down",
    ):
        out.print(f"  .venv/bin/credence {command}", markup=False)
