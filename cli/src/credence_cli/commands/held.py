"""`credence held`: streams that stand aside, why, with every record as it came; tried again, or gone on without."""

from __future__ import annotations

import json
import shlex
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from credence.accreditation.v1 import events_pb2 as accreditation_events
from credence.enrolment.v1 import events_pb2 as enrolment_events
from credence.mentoring.v1 import events_pb2 as mentoring_events
from credence.operations.v1 import held_pb2 as pb
from credence.operations.v1 import held_pb2_grpc
from credence_cli.client import Client, connected
from credence_cli.command import Json, run
from credence_cli.contract import UINT64_MAX
from credence_cli.embedded.stack import SERVICES
from credence_cli.exits import Exit
from credence_cli.identity import Identity
from credence_cli.limits import SHOWN_BYTES_MAX
from credence_cli.output import out, plain, say, show, table
from credence_cli.services import Service, ask_each, chosen, told

app = typer.Typer(
    help="Streams that stand aside because a record of theirs cannot be folded, or one before it has not come.",
    no_args_is_help=True,
)
KINDS = {"poison": pb.HELD_KIND_POISON, "gap": pb.HELD_KIND_GAP}
_KIND_WORDS = {number: word for word, number in KINDS.items()}
# The modules are imported so that the pool knows their messages.
_EVENTS = (enrolment_events, accreditation_events, mentoring_events)

Consumer = Annotated[
    str | None, typer.Option("--consumer", help='Only what this one holds, e.g. "accreditation.facts".')
]
Streams = Annotated[list[str] | None, typer.Option("--stream", help="Only this stream. Repeatable.")]
Kind = Annotated[str | None, typer.Option("--kind", help="Only these: poison or gap.")]
Error = Annotated[str | None, typer.Option("--error", help="Only those with this error, as the list shows it.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many streams of a service.")]
Holder = Annotated[str, typer.Argument(metavar="CONSUMER", help='Who holds it, e.g. "accreditation.facts".')]
Stream = Annotated[str, typer.Argument(help="The stream's name.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")]


def service_of(consumer: str) -> str:
    """The service that a consumer is of: the first word of its name."""
    name = consumer.partition(".")[0]
    if name not in SERVICES:
        raise typer.BadParameter(f"there is no consumer {consumer!r}: see `credence held list`")
    return name


def _selection(
    consumer: str | None, streams: Sequence[str] | None, kind: str | None, error: str | None
) -> pb.HeldSelection:
    if kind is not None and kind not in KINDS:
        raise typer.BadParameter(f"--kind is poison or gap, not {kind!r}")
    return pb.HeldSelection(
        consumer=consumer or "",
        streams=streams or (),
        kind=KINDS[kind] if kind else pb.HELD_KIND_UNSPECIFIED,
        error=error or "",
    )


def _services(service: str | None, consumer: str | None) -> Sequence[str]:
    """Which to ask: the consumer's, else those that --service names. Raises BadParameter where the two differ."""
    named = chosen(service)
    if not consumer:
        return named
    its = service_of(consumer)
    if its not in named:
        raise typer.BadParameter(f"--consumer {consumer} is one of {its}, not of {service}: leave --service out")
    return (its,)


def _stub(client: Client, service: str) -> held_pb2_grpc.HeldServiceStub:
    return client.stub(held_pb2_grpc.HeldServiceStub, service)


def _when(stamp: Timestamp) -> str:
    return f"{stamp.ToDatetime(UTC):%Y-%m-%d %H:%M:%S}"


def _age(stamp: Timestamp) -> str:
    seconds = (datetime.now(UTC) - stamp.ToDatetime(UTC)).total_seconds()
    return (
        f"{seconds / 3600:.1f} h"
        if seconds > 7200
        else f"{seconds / 60:.0f} min"
        if seconds > 120
        else f"{seconds:.0f} s"
    )


# ---- list


@app.command("list")
def list_held(
    service: Service = None,
    consumer: Consumer = None,
    stream: Streams = None,
    kind: Kind = None,
    error: Error = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """What is held, grouped by error, then stream by stream."""
    selection = _selection(consumer, stream, kind, error)

    async def work() -> Exit:
        async with connected(Identity.of("operator")) as client:

            async def ask(name: str) -> pb.ListHeldResponse:
                whole = pb.ListHeldResponse()
                while True:
                    request = pb.ListHeldRequest(
                        selection=selection,
                        page_size=min(1000, limit - len(whole.streams)),
                        page_token=whole.next_page_token,
                    )
                    page = await client.call(_stub(client, name).ListHeld, request)
                    whole.next_page_token = ""
                    whole.MergeFrom(page)
                    if not page.next_page_token or len(whole.streams) >= limit:
                        return whole

            answers, failures = await ask_each(_services(service, consumer), ask)
        if answers or as_json:
            show(answers, as_json, lambda: _show_list(list(answers.values()), selected=selection != pb.HeldSelection()))
        return told(failures)

    run(work())


def _show_list(answers: Sequence[pb.ListHeldResponse], *, selected: bool) -> None:
    groups = [g for answer in answers for g in answer.groups]
    if not groups:
        out.print("Nothing that is held was selected." if selected else "Nothing is held.")
        return
    rows = [(g.consumer, _KIND_WORDS.get(g.kind, "?"), g.streams, _age(g.oldest), g.error) for g in groups]
    table("By error", ("consumer", "kind", "streams", "oldest", "error"), rows)
    heads = [h for answer in answers for h in answer.streams]
    lines = [
        (h.consumer, h.stream, f"@{h.version}", _KIND_WORDS.get(h.kind, "?"), _age(h.first), h.attempts) for h in heads
    ]
    table("Streams", ("consumer", "stream", "stuck at", "kind", "held for", "tries"), lines)
    if any(answer.next_page_token for answer in answers):
        say("There are more: raise --limit, or select with --consumer, --kind or --error.")
    say("Look at one: credence held show CONSUMER STREAM. Once it is mended: credence held redrive.")


# ---- show


@app.command("show")
def show_held(consumer: Holder, stream: Stream, limit: Limit = 20, as_json: Json = False) -> None:
    """One held stream, with every record as it came: its place, headers and bytes, read where that is possible."""
    name = service_of(consumer)

    async def pages(client: Client) -> AsyncIterator[pb.GetHeldResponse]:
        token = ""
        while True:
            request = pb.GetHeldRequest(consumer=consumer, stream=stream, page_size=min(100, limit), page_token=token)
            page = await client.call(_stub(client, name).GetHeld, request)
            yield page
            token = page.next_page_token
            if not token:
                return

    async def work() -> Exit:
        entries: list[pb.HeldEntry] = []
        held, more = pb.HeldStream(), False
        async with connected(Identity.of("operator")) as client:
            async for page in pages(client):
                held = page.held
                entries += page.entries
                more = len(entries) > limit or bool(page.next_page_token)
                if len(entries) >= limit:
                    break
        shown = [entry_data(entry) for entry in entries[:limit]]
        show({"held": held, "entries": shown, "more": more}, as_json, lambda: _show_stream(held, shown, more=more))
        return Exit.OK

    run(work())


def entry_data(entry: pb.HeldEntry) -> dict[str, Any]:
    """A record for people and programs: bytes as hex, and what they say where that can be read."""
    headers = {h.name: h.value.decode(errors="backslashreplace") for h in entry.headers}
    return {
        "version": entry.version,
        "topic": entry.topic,
        "partition": entry.partition,
        "offset": entry.offset,
        "key": entry.key.decode(errors="backslashreplace"),
        "headers": headers,
        "value": entry.value.hex() if entry.HasField("value") else None,
        "reads": _read(headers.get("ce_type", ""), entry),
        "held": entry.held.ToDatetime(UTC).isoformat(),
    }


def _read(kind: str, entry: pb.HeldEntry) -> Any:
    """The value as its message, or as the stored event's JSON; None where it is neither."""
    try:
        if entry.topic == "appends":
            return json.loads(entry.value)
        known = descriptor_pool.Default().FindMessageTypeByName(kind)
        message: Message = message_factory.GetMessageClass(known).FromString(entry.value)
        return plain(message)
    except (KeyError, ValueError, DecodeError):
        return None


def _show_stream(held: pb.HeldStream, entries: Sequence[dict[str, Any]], *, more: bool) -> None:
    kind = _KIND_WORDS.get(held.kind, "?")
    out.print(f"{held.consumer} holds {held.stream}, stuck at version {held.version} ({kind})", markup=False)
    out.print(f"  {held.error}", markup=False)
    out.print(
        f"  held since {_when(held.first)} UTC, tried {held.attempts} times, last at {_when(held.last)}; "
        f"epoch {held.epoch}",
        markup=False,
    )
    for entry in entries:
        out.print(f"@{entry['version']}  {entry['topic']}[{entry['partition']}]@{entry['offset']}", markup=False)
        for name, value in entry["headers"].items():
            out.print(f"    {name}: {value}", markup=False)
        if entry["reads"] is not None:
            out.print(f"    {json.dumps(entry['reads'], ensure_ascii=False)}", markup=False)
        elif entry["value"] is None:
            out.print("    a tombstone: no bytes at all")
        else:
            cut = entry["value"][: 2 * SHOWN_BYTES_MAX]
            dots = " ..." if cut != entry["value"] else ""
            out.print(f"    {len(entry['value']) // 2} bytes that cannot be read: {cut}{dots}", markup=False)
    if more:
        say("There are more records behind these: raise --limit.")
    for step in next_steps(held, entries):
        say(step)


def next_steps(held: pb.HeldStream, entries: Sequence[dict[str, Any]]) -> list[str]:
    """What mends it, a sentence each, the likeliest first."""
    service, _, kind = held.consumer.partition(".")
    source = next((e["topic"].split(".")[1] for e in entries if e["topic"].count(".") > 1), "...")
    stray = next((e for e in entries if held.stream.startswith(f"{e['topic']}[")), None)
    name = shlex.quote(held.stream)
    named = shlex.quote(stray["key"] if stray is not None else held.stream)
    again = f'credence republish --service {source} --stream {named} --reason "..."'
    redrive = f"credence held redrive --consumer {held.consumer} --stream {name}"
    discard = f'credence held discard {held.consumer} {name} {held.version} --reason "..."'
    if held.kind == pb.HELD_KIND_GAP:
        if kind == "own":
            return [f"It is tried again by itself. Where that does not help: credence views rebuild {service}"]
        return [f"Version {held.version} has not come. Publish the stream again: {again}"]
    steps = []
    if stray is not None and stray["key"]:
        steps.append(f"Its key names a stream. Publish that again first, whatever becomes of this record: {again}")
    elif kind != "own":
        steps.append(f"Where its bytes are damaged, publish the stream again: {again}")
    steps.append(f"Once a release can fold it: {redrive}")
    steps.append(f"To go on without it, for ever (refused where a stream tells of erasures): {discard}")
    return steps


# ---- redrive and discard


@app.command()
def redrive(
    service: Service = None,
    consumer: Consumer = None,
    stream: Streams = None,
    kind: Kind = None,
    error: Error = None,
    limit: Limit = 10_000,
    dry_run: DryRun = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; recorded. Name no person in it.")] = "",
    as_json: Json = False,
) -> None:
    """Tries held streams again, once what stood in their way is mended. Without a selection, all.

    What still cannot be folded stays held, as it was. Exit code 1 when some of it does.
    """
    selection = _selection(consumer, stream, kind, error)

    async def work() -> Exit:
        async with connected(Identity.of("operator")) as client:

            async def ask(name: str) -> list[pb.Released]:
                tried: list[pb.Released] = []
                token = ""
                while len(tried) < limit:
                    request = pb.RedriveHeldRequest(
                        selection=selection,
                        reason=reason,
                        dry_run=dry_run,
                        page_size=min(100, limit - len(tried)),
                        page_token=token,
                    )
                    page = await client.call(_stub(client, name).RedriveHeld, request, deadline=120)
                    tried += page.tried
                    token = page.next_page_token
                    if not token:
                        break
                    say(f"{name}: {len(tried)} streams tried ...")
                return tried

            answers, failures = await ask_each(_services(service, consumer), ask)
        tried = [released for answer in answers.values() for released in answer]
        if answers or as_json:
            show(answers, as_json, lambda: _show_tried(tried, dry_run=dry_run))
        stuck = Exit.SOME_REFUSED if any(t.stuck_version for t in tried) else Exit.OK
        return max(told(failures), stuck)

    run(work())


@app.command()
def discard(
    consumer: Holder,
    stream: Stream,
    version: Annotated[
        int, typer.Argument(min=1, max=UINT64_MAX, help="The version at which it is stuck; no other can be given up.")
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why; recorded for ever. Name no person in it.")],
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Goes on without one version, for ever: the last resort. The views will never show what it says.

    Exit code 1 when the stream is stuck again behind it, 4 when it is not stuck there, or its
    stream tells of erasures: then the answer says what mends it.
    """
    name = service_of(consumer)
    request = pb.DiscardHeldRequest(consumer=consumer, stream=stream, version=version, reason=reason, dry_run=dry_run)

    async def work() -> Exit:
        async with connected(Identity.of("operator")) as client:
            answer = await client.call(_stub(client, name).DiscardHeld, request)
        show(answer, as_json, lambda: _show_tried([answer.released], dry_run=dry_run))
        return Exit.SOME_REFUSED if answer.released.stuck_version else Exit.OK

    run(work())


def _show_tried(tried: Sequence[pb.Released], *, dry_run: bool) -> None:
    if not tried:
        out.print("Nothing that is held was selected.")
        return
    rows = [
        (
            t.consumer,
            t.stream,
            t.folded,
            f"stuck at @{t.stuck_version}: {t.error}" if t.stuck_version else "released",
        )
        for t in tried
    ]
    table("", ("consumer", "stream", "would be folded" if dry_run else "folded", ""), rows)
    stuck = sum(bool(t.stuck_version) for t in tried)
    would = "would be " if dry_run else ""
    say(f"{len(tried) - stuck} {would}released, {stuck} stuck still.")
