"""`credence status`: what is away, what is behind and by how much, over all services."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import grpc
import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from credence.operations.v1 import status_pb2 as pb
from credence.operations.v1 import status_pb2_grpc
from credence_cli.client import CallFailed, Client, connected
from credence_cli.command import Json, run
from credence_cli.exits import CommandFailed, Exit
from credence_cli.identity import Identity
from credence_cli.output import out, plain, show, write
from credence_cli.services import Service, ask_each, chosen, worst

# A service that does not answer by then is away: whoever asks this is in a hurry.
ANSWER_SECONDS = 3.0
WATCH_EVERY_SECONDS = 1.0
STATES = {pb.STATE_OK: "ok", pb.STATE_DEGRADED: "degraded", pb.STATE_FAILING: "failing"}
AWAY = "away"
_COLOURS = {"ok": "green", "degraded": "yellow", "busy": "yellow"}
COLUMNS = ("service", "part", "state", "behind", "held", "")


@dataclass(frozen=True)
class Seen:
    """What the services said, and why some did not."""

    answers: Mapping[str, pb.GetStatusResponse]
    failures: Mapping[str, CommandFailed]

    @property
    def exit_code(self) -> Exit:
        states = {answer.state for answer in self.answers.values()}
        told = Exit.SOME_REFUSED if pb.STATE_DEGRADED in states else Exit.OK
        if states & {pb.STATE_FAILING, pb.STATE_UNSPECIFIED}:
            told = Exit.UNAVAILABLE
        return max(told, worst(self.failures))

    def data(self) -> dict[str, Any]:
        """By service, as --json shows it; of one that did not say its status only why."""
        silent = {name: {"state": word(failure), "detail": str(failure)} for name, failure in self.failures.items()}
        told = {
            name: {**plain(answer), "state": STATES.get(answer.state, "?")} for name, answer in self.answers.items()
        }
        return told | silent


def word(failure: CommandFailed) -> str:
    """What it says of a service that it did not tell its status: away is one that does not answer, and no other."""
    if isinstance(failure, CallFailed) and failure.status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return "busy"
    match failure.exit_code:
        case Exit.UNAVAILABLE:
            return AWAY
        case Exit.FAILED:
            return "failed"
        case _:
            return "refused"


async def look(client: Client, services: tuple[str, ...]) -> Seen:
    """Asks them all at once."""

    async def ask(name: str) -> pb.GetStatusResponse:
        stub = client.stub(status_pb2_grpc.StatusServiceStub, name)
        return await client.call(stub.GetStatus, pb.GetStatusRequest(), deadline=ANSWER_SECONDS)

    return Seen(*await ask_each(services, ask))


def status(
    service: Service = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every second, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """What is away, what is behind and by how much, what is held: true within 5 seconds.

    Exit code 0: all is whole; 1: degraded (it works, with what is told); 5: you may not ask; 6: a service
    fails, is too busy or does not answer.
    """
    services = tuple(chosen(service))

    async def once() -> Exit:
        async with connected(Identity.of("operator")) as client:
            seen = await look(client, services)
        show(seen.data(), as_json, lambda: out.print(drawn(seen)))
        return seen.exit_code

    try:
        run(_watch(services, as_json=as_json) if watch else once())
    except KeyboardInterrupt:
        if not watch:
            raise
        raise typer.Exit(int(Exit.OK)) from None  # the one way to end it


async def _watch(services: tuple[str, ...], *, as_json: bool) -> None:
    async with connected(Identity.of("operator")) as client:
        if as_json:
            while True:
                write(json.dumps((await look(client, services)).data()) + "\n")
                await asyncio.sleep(WATCH_EVERY_SECONDS)
        # A table is drawn over and over at a terminal only: a pipe or a file would be given the last one, at the end.
        while not out.is_interactive:
            out.print(drawn(await look(client, services)))
            await asyncio.sleep(WATCH_EVERY_SECONDS)
        with Live(console=out, auto_refresh=False) as live:
            while True:
                live.update(drawn(await look(client, services)), refresh=True)
                await asyncio.sleep(WATCH_EVERY_SECONDS)


def drawn(seen: Seen) -> Table:
    """One table: each service, then what of it is not ok, then each of its consumers."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for name, failure in seen.failures.items():
        table.add_row(name, "", _state(word(failure)), "", "", escape(str(failure)))
    for name, answer in seen.answers.items():
        for row in _rows(name, answer):
            table.add_row(*row)
    return table


def _rows(name: str, answer: pb.GetStatusResponse) -> Iterator[tuple[str, ...]]:
    yield name, "", _state(STATES.get(answer.state, "?")), "", "", ""
    checks = {check.name: check for check in answer.checks}
    # What a consumer is behind by, and what it holds, stands in its own line, once that is known.
    in_lines = {name for c in answer.consumers for name in (f"{c.name}-lag", f"held-{c.name}")}
    for check in answer.checks:
        if check.state != pb.STATE_OK and check.name not in in_lines:
            said = AWAY if check.dependency else STATES.get(check.state, "?")
            since = check.since.ToDatetime(UTC)
            seconds = (answer.at.ToDatetime(UTC) - since).total_seconds()
            detail = f"since {_clock(since)} ({seconds:.0f} s): {check.detail}"
            yield "", escape(check.name), _state(said), "", "", escape(detail)
    for consumer in answer.consumers:
        lag = checks.get(f"{consumer.name}-lag") or checks.get(f"held-{consumer.name}")
        state = STATES.get(lag.state, "?") if lag is not None else "?"
        behind = _behind(consumer) if f"{consumer.name}-lag" in checks else ""
        held = f"{consumer.held_streams}, oldest {consumer.oldest_held_seconds:.0f} s" if consumer.held_streams else ""
        detail = lag.detail if lag is not None else ""
        yield "", escape(consumer.name), _state(state), behind, held, escape(detail)


def _behind(consumer: pb.Consumer) -> str:
    waiting = f"{consumer.waiting}{'+' if consumer.more else ''}" if consumer.HasField("waiting") else "?"
    age = f"{consumer.age_seconds + consumer.seen_seconds:.1f} s" if consumer.HasField("age_seconds") else "? s"
    return f"{waiting}, {age}"


def _clock(instant: datetime) -> str:
    return f"{instant:%H:%M:%S} UTC"


def _state(word: str) -> str:
    return f"[{_COLOURS.get(word, 'red')}]{word}[/]"
