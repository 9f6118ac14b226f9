"""`credence person`: what is held about somebody, in every service; and its erasure, in every service, for good."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import people_pb2, people_pb2_grpc
from credence.operations.v1 import privacy_pb2 as pb
from credence.operations.v1 import privacy_pb2_grpc
from credence_cli.client import Client, connected
from credence_cli.command import Json, run
from credence_cli.embedded.stack import SERVICES
from credence_cli.exits import CommandFailed, Exit
from credence_cli.files import write_secret
from credence_cli.identity import Identity
from credence_cli.limits import ROWS_MAX
from credence_cli.outcomes import exit_of, line, word
from credence_cli.output import out, say, show, table, write
from credence_cli.services import ask_each, worst

app = typer.Typer(help="What is held about a person, and its erasure.", no_args_is_help=True)

PRIVACY_OFFICER = Identity.of("privacy-officer")
LOOK_AGAIN_SECONDS = 0.3
EXPORT_SECONDS = 600.0
PAGE = 1_000

PersonId = Annotated[str, typer.Argument(help="The person's id.")]


def privacy_stub(client: Client, service: str) -> privacy_pb2_grpc.PrivacyServiceStub:
    return client.stub(privacy_pb2_grpc.PrivacyServiceStub, service)


@app.command()
def export(
    person: PersonId,
    to: Annotated[Path | None, typer.Option("--out", help="Write it there, for your eyes only, instead.")] = None,
    as_json: Json = False,
) -> None:
    """Everything that every service holds about a person, as one JSON document, whatever is personal in the clear.

    Where a service does not answer, or is behind with what it has to fold, the document says so ("complete": false,
    "missing") and the exit code is not 0.
    """

    async def work() -> Exit:
        held: dict[str, list[dict[str, Any]]] = {service: [] for service in SERVICES}
        async with connected(PRIVACY_OFFICER) as client:

            async def ask(service: str) -> None:
                method = privacy_stub(client, service).ExportPerson
                request = pb.ExportPersonRequest(person_id=person)
                async for item in client.stream(method, request, deadline=EXPORT_SECONDS):
                    held[service].append(_item(item))  # one by one: what came before a failure is told too

            _, failures = await ask_each(SERVICES, ask)
        document = {
            "person_id": person,
            "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "complete": not failures,
            "missing": {service: str(failure) for service, failure in failures.items()},
            "services": held,
        }
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        if to is None:
            write(text)
        else:
            write_secret(to, text)
            summary = {service: len(items) for service, items in held.items()}
            rows = [(service, f"{count} items") for service, count in summary.items()]
            show(
                {"file": str(to), "complete": not failures, "items": summary},
                as_json,
                lambda: table(str(to), ("service", "holds"), rows),
            )
        for service, failure in failures.items():
            say(f"NOT COMPLETE: {service}: {failure}")
        return worst(failures)

    run(work())


def _item(item: pb.ExportPersonResponse) -> dict[str, Any]:
    return {
        "kind": pb.ItemKind.Name(item.kind).removeprefix("ITEM_KIND_").lower(),
        "stream": item.stream,
        "version": item.version,
        "name": item.name,
        "recorded": _instant(item.recorded) if item.HasField("recorded") else None,
        "content": json.loads(item.content),
    }


def _instant(at: Timestamp) -> str:
    return at.ToDatetime(UTC).isoformat(timespec="milliseconds")


@app.command()
def erase(
    persons: Annotated[list[str], typer.Argument(help="The ids of those to erase.")],
    reason: Annotated[str, typer.Option("--reason", help="A code, e.g. person-asked; never words about somebody.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the ids again.")] = False,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait until every service has done it.")] = 60,
    as_json: Json = False,
) -> None:
    """Makes everything personal of these people unreadable, in every service, for good. What they earned stays.

    It is stored first; then each service destroys its own key of theirs, and this waits until all say so. With a
    service away (exit code 6), or interrupted, it goes on by itself: run it again to see it through. Where a service
    holds a person's stream aside, it goes on only once that is mended: this says which.
    """
    wanted = list(dict.fromkeys(persons))
    _confirm(wanted, yes)

    async def work() -> Exit:
        rows = [people_pb2.ErasePerson(person_id=person, reason_code=reason) for person in wanted]
        async with connected(PRIVACY_OFFICER) as client:
            stub = client.stub(people_pb2_grpc.PeopleServiceStub, "enrolment")
            outcomes = list[outcome_pb2.Outcome]()
            for start in range(0, len(rows), ROWS_MAX):
                request = people_pb2.ErasePeopleRequest(rows=rows[start : start + ROWS_MAX])
                outcomes += (await client.call(stub.ErasePeople, request)).outcomes
            said = {person: word(o.status) for person, o in zip(wanted, outcomes, strict=True)}
            stored = exit_of(outcomes)
            if stored is not Exit.OK:
                show({"outcomes": said}, as_json, lambda: _tell_rows(wanted, outcomes))
                say("Nothing was waited for: mend what is named and run it again; what is stored stays so.")
                return stored
            for person, status in said.items():
                say(f"{person}: " + ("was erased already" if status == "unchanged" else "stored as erased"))
            left = await _wait(client, wanted, wait)
        done = {service: service not in left for service in SERVICES}
        show({"outcomes": said, "destroyed": done, "waiting_for": left}, as_json, lambda: _tell(left))
        return Exit.UNAVAILABLE if left else Exit.OK

    run(work())


def _tell_rows(persons: list[str], outcomes: list[outcome_pb2.Outcome]) -> None:
    for person, outcome in zip(persons, outcomes, strict=True):
        line(outcome, person)


def _confirm(persons: list[str], yes: bool) -> None:
    """There is no way back, so a terminal asks for the ids once more. Raises CommandFailed."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailed(Exit.USAGE, "an erasure cannot be undone: say --yes where nobody can be asked")
    say("This cannot be undone: name, address, references and portraits become unreadable in every service, for good.")
    if typer.prompt("Type the id again" if len(persons) == 1 else "Type the ids again").split() != persons:
        raise CommandFailed(Exit.REFUSED, "that is something else: nothing was erased")


async def _wait(client: Client, persons: list[str], seconds: float) -> dict[str, str]:
    """Until every service says that it has destroyed all these keys; who has not when the time is up, and why."""
    deadline = time.monotonic() + seconds
    left = {service: [pb.Erasure(person_id=person) for person in persons] for service in SERVICES}

    async def ask(service: str) -> list[pb.Erasure]:
        return await _keeping(client, service, [erasure.person_id for erasure in left[service]])

    while True:
        answers, failures = await ask_each(list(left), ask)
        for failure in failures.values():
            if failure.exit_code is not Exit.UNAVAILABLE:
                raise failure
        left |= answers
        for service in [service for service, missing in left.items() if not missing]:
            del left[service]
            say(f"{service}: destroyed")
        if not left or time.monotonic() >= deadline:
            return {
                service: str(failures[service]) if service in failures else left_to_do(missing, len(persons))
                for service, missing in left.items()
            }
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def _keeping(client: Client, service: str, persons: list[str]) -> list[pb.Erasure]:
    """Those whose key the service has yet to destroy."""
    stub = privacy_stub(client, service)
    asked = [await client.call(stub.GetErasure, pb.GetErasureRequest(person_id=person)) for person in persons]
    return [erasure for erasure in asked if not erasure.destroyed]


def left_to_do(left: Sequence[pb.Erasure], persons: int) -> str:
    """What is left to do in a service, and what of it somebody has to do."""
    said = f"has yet to destroy the keys of {len(left)} of {persons}"
    held = [erasure for erasure in left if erasure.held_by]
    if not held:
        return said
    first, more = held[0], f", as are {len(held) - 1} more," if len(held) > 1 else ""
    return (
        f"{said}; {first.stream} is held{more} and does not go on by itself: `credence held show {first.held_by} "
        f"{first.stream}` says what mends it, then `credence held redrive --consumer {first.held_by} "
        f"--stream {first.stream}`"
    )


def _tell(left: Mapping[str, str]) -> None:
    if not left:
        out.print("Erased: nothing personal of theirs can be read in any service any more.")
    for service, why in left.items():
        out.print(f"  {service}: {why}", markup=False)
    if left:
        out.print("It is stored, and goes on by itself but where a stream is held: run it again to see it through.")


@app.command()
def erasures(as_json: Json = False) -> None:
    """Everybody who was erased, and in which services. Keep it with the backups: a restored one may bring keys back."""

    async def work() -> Exit:
        async with connected(PRIVACY_OFFICER) as client:
            found, failures = await ask_each(SERVICES, lambda service: _listed(client, service))
        people = sorted({person for dates in found.values() for person in dates})
        data = {p: {service: dates[p] for service, dates in found.items() if p in dates} for p in people}
        rows = [(person, *(dates.get(service, "-") for service in SERVICES)) for person, dates in data.items()]
        show(
            {"erased": data, "missing": {service: str(failure) for service, failure in failures.items()}},
            as_json,
            lambda: table("", ("person", *SERVICES), rows),
        )
        for service, failure in failures.items():
            say(f"NOT COMPLETE: {service}: {failure}")
        return worst(failures)

    run(work())


async def _listed(client: Client, service: str) -> dict[str, str]:
    """When the key of each was destroyed in this service."""
    answer = await client.whole(privacy_stub(client, service).ListErasures, pb.ListErasuresRequest(page_size=PAGE))
    return {erasure.person_id: _instant(erasure.destroyed_at) for erasure in answer.erasures}
