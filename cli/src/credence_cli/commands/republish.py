"""`credence republish`: a service publishes its log again, for a topic that was lost or lost records."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Annotated

import typer

from credence.operations.v1 import log_pb2 as pb
from credence.operations.v1 import log_pb2_grpc
from credence_cli.client import connected
from credence_cli.command import Json, run
from credence_cli.embedded.stack import SERVICES
from credence_cli.exits import Exit
from credence_cli.identity import Identity
from credence_cli.oulad.progress import Meter, Report
from credence_cli.output import out, say, show
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
        told = pb.RepublishResponse()
        with Shown(name) as shown:
            try:
                async with connected(Identity.of("operator")) as client:
                    stub = client.stub(log_pb2_grpc.LogServiceStub, name)
                    async for told in client.stream(stub.Republish, request, deadline=LONGEST_SECONDS):
                        shown(told)
            except BaseException:
                shown.close()
                _say_where(name, told)
                raise
        counted = f"{name}: {told.streams_total:,} streams with {told.events_total:,} events"
        would = "would go out; nothing was changed." if dry_run else "went out."
        data = {"service": name, "dry_run": dry_run, "streams": told.streams_total, "events": told.events_total}
        show(data, as_json, lambda: out.print(counted, would, markup=False))
        return Exit.OK

    run(work())


def _say_where(service: str, told: pb.RepublishResponse) -> None:
    """What is left to do after an interruption, whatever its cause."""
    match told.phase:
        case pb.REPUBLISH_PHASE_ASKING:
            say(f"Marked up to {told.after}, and that goes out. Go on with the same command and --after {told.after}")
        case pb.REPUBLISH_PHASE_PUBLISHING:
            say(f"All is marked and goes out by itself; watch it with `credence status --service {service} --watch`.")


class Shown:
    """A bar for each phase, on standard error."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._report = Report()
        self._phase = pb.REPUBLISH_PHASE_UNSPECIFIED
        self._open: AbstractContextManager[Meter] | None = None
        self._meter: Meter | None = None

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, told: pb.RepublishResponse) -> None:
        if told.phase != self._phase:
            self.close()
            self._phase = told.phase
            if (title := PHASES.get(told.phase)) is not None:
                self._open = self._report.meter(f"{self._service}: {title}", told.streams_total)
                self._meter = self._open.__enter__()
        if self._meter is not None:
            self._meter.total = told.streams_total
            moved = told.streams - self._meter.done
            if moved > 0 or not told.problem:
                self._meter.advance(max(0, moved))
            else:
                self._meter.note(told.problem)

    def close(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)
        self._open = self._meter = None
