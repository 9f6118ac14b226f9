"""`credence republish`: a service publishes its log again, for a topic that was lost or lost records."""

from __future__ import annotations

from typing import Annotated

import typer

from credence.operations.v1 import log_pb2 as pb
from credence.operations.v1 import log_pb2_grpc
from credence_cli.client import Client, connected
from credence_cli.command import Json, run
from credence_cli.embedded.stack import SERVICES
from credence_cli.exits import Exit
from credence_cli.identity import Identity
from credence_cli.output import out, say, show
from credence_cli.progress import Phases
from credence_cli.services import chosen

# The longest that a service lets a stream last.
LONGEST_SECONDS = 14_400.0
PHASES = {
    pb.REPUBLISH_PHASE_COUNTING: "counting streams",
    pb.REPUBLISH_PHASE_ASKING: "marking streams",
    pb.REPUBLISH_PHASE_PUBLISHING: "publishing streams",
}


def republish(
    service: Annotated[str, typer.Option("--service", help=f"Whose log: {', '.join(SERVICES)}.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; recorded. Name no person in it.")] = "",
    stream: Annotated[list[str] | None, typer.Option("--stream", help="Only this stream. Repeatable.")] = None,
    category: Annotated[
        list[str] | None, typer.Option("--category", help='Only streams of this category ("cohort"). Repeatable.')
    ] = None,
    after: Annotated[
        str, typer.Option("--after", help="Only streams beyond this one: where an interrupted run goes on.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go out.")] = False,
    as_json: Json = False,
) -> None:
    """Publishes a service's log again, each stream whole and in order, beside whatever goes on.

    Consumers take what they have for duplicates; what they miss fills their gaps, and what was held behind a gap goes
    on by itself. When the topic itself is gone, run this first and `credence topics create` then: so each stream
    begins with its first event. Ctrl-C is harmless: what was marked goes out all the same.
    """
    (name,) = chosen(service)
    if not (dry_run or reason.strip()):
        raise typer.BadParameter("say why with --reason: it is recorded")
    request = pb.RepublishRequest(
        reason=reason, dry_run=dry_run, streams=stream or (), categories=category or (), after=after
    )

    async def work() -> Exit:
        async with connected(Identity.of("operator")) as client:
            told = await republished(client, name, request)
        counted = f"{name}: {told.streams_total:,} streams with {told.events_total:,} events"
        would = "would go out; nothing was changed." if dry_run else "went out."
        data = {"service": name, "dry_run": dry_run, "streams": told.streams_total, "events": told.events_total}
        show(data, as_json, lambda: out.print(counted, would, markup=False))
        return Exit.OK

    run(work())


async def republished(client: Client, service: str, request: pb.RepublishRequest) -> pb.RepublishResponse:
    """A service's log published again, drawn as it goes on; interrupted, it is said what is left to do."""
    told = pb.RepublishResponse()
    with Phases() as phases:
        try:
            stub = client.stub(log_pb2_grpc.LogServiceStub, service)
            async for told in client.stream(stub.Republish, request, deadline=LONGEST_SECONDS):
                if (title := PHASES.get(told.phase)) is not None:
                    phases.show(f"{service}: {title}", told.streams, told.streams_total, told.problem)
        except BaseException:
            phases.close()
            _say_where(service, told)
            raise
    return told


def _say_where(service: str, told: pb.RepublishResponse) -> None:
    """What is left to do after an interruption, whatever its cause."""
    match told.phase:
        case pb.REPUBLISH_PHASE_ASKING:
            say(
                f"{service}: marked up to {told.after}, and that goes out. Go on with `credence republish --service "
                f"{service} --after {told.after}`, with what else you had named."
            )
        case pb.REPUBLISH_PHASE_PUBLISHING:
            say(
                f"{service}: all is marked and goes out by itself; watch it with `credence status --service {service} "
                "--watch`."
            )
