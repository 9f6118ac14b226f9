"""`credence views`: how each service's views stand, and rebuilding them beside live traffic."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from credence.operations.v1 import log_pb2, views_pb2_grpc
from credence.operations.v1 import views_pb2 as pb
from credence_cli.client import Client, connected
from credence_cli.command import Json, run
from credence_cli.commands.republish import LONGEST_SECONDS, republished
from credence_cli.embedded.stack import SERVICES
from credence_cli.exits import CommandFailed, Exit
from credence_cli.identity import Identity
from credence_cli.output import plain, say, show, table, write
from credence_cli.progress import Phases
from credence_cli.services import Service, ask_each, chosen, worst

app = typer.Typer(help="Views: what queries and evaluations read, folded from events.", no_args_is_help=True)
OPERATOR = Identity.of("operator")

ServiceName = Annotated[str, typer.Argument(metavar="SERVICE", help=f"One of {', '.join(SERVICES)}.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for whoever looks later; kept for ever, so name nobody.")]


@app.command("list")
def list_views(service: Service = None, as_json: Json = False) -> None:
    """Each view: its generation, its documents, whether it wants a rebuild, and what is being rebuilt.

    Exit code 1 when a view wants a rebuild.
    """

    async def work() -> Exit:
        async with connected(OPERATOR) as client:

            async def ask(name: str) -> pb.ListViewsResponse:
                stub = client.stub(views_pb2_grpc.ViewsServiceStub, name)
                return await client.call(stub.ListViews, pb.ListViewsRequest())

            answers, failures = await ask_each(chosen(service), ask)
        rows = [
            (name, v.name, v.generation, v.documents, "topics" if v.foreign else "own log", _wants(v), " ".join(v.kept))
            for name, answer in answers.items()
            for v in answer.views
        ]
        columns = ("service", "view", "generation", "documents", "folded from", "stands", "kept beside it")

        def render() -> None:
            table("", columns, rows)
            for name, answer in answers.items():
                if answer.HasField("building"):
                    say(_building(name, answer.building))

        show(answers, as_json, render)
        for name, failure in failures.items():
            say(f"{name}: {failure}")
        if failures:
            return worst(failures)
        wanting = any(v.wants for answer in answers.values() for v in answer.views)
        return Exit.SOME_REFUSED if wanting else Exit.OK

    run(work())


def _wants(view: pb.ViewStanding) -> str:
    return f"{view.wants}: rebuild" if view.wants else "as this release folds it"


def _building(service: str, building: pb.ViewBuilding) -> str:
    share = f"{building.done:,} of {building.total:,}" if building.total else "nothing yet"
    return (
        f"{service}: {', '.join(building.views)} {building.state}, {share}, since "
        f"{building.started.ToDatetime():%Y-%m-%d %H:%M:%S} UTC by {building.actor} ({building.reason}). "
        f"`credence views rebuild {service}` goes on with it, "
        f"`credence views drop {service} {' '.join(building.views)}` gives it up."
    )


@app.command()
def rebuild(
    service: ServiceName,
    views: Annotated[list[str] | None, typer.Argument(help="Which; none: what wants it or is under way.")] = None,
    reason: Reason = "rebuild",
    foreign: Annotated[bool, typer.Option("--foreign", help="All views folded from topics.")] = False,
    every: Annotated[bool, typer.Option("--all", help="All views.")] = False,
    from_stores: Annotated[
        bool,
        typer.Option("--from-stores", help="Have the topics published again first: they are lost, or lost records."),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Confirm the decisions that change, whatever they are.")
    ] = False,
    accept_differences: Annotated[
        bool,
        typer.Option("--accept-differences", help="Switch although the content differs and the fold did not change."),
    ] = False,
    accept_epoch: Annotated[
        list[str] | None,
        typer.Option("--accept-epoch", metavar="SOURCE=EPOCH", help="Another history is the truth from now on."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line instead of text.")] = False,
) -> None:
    """Builds views anew beside those that serve, compares, and switches: reads go on all the while.

    Interrupted, it goes on from where it was when it is run again; `credence views drop` gives it up. When decisions
    would change it asks first; without a terminal and without --yes it ends with exit code 8 and waits.
    """

    async def work() -> Exit:
        request = pb.RebuildViewsRequest(
            views=views or [],
            foreign=foreign,
            all=every,
            reason=reason,
            confirmed="all" if yes else "",
            accept_differences=accept_differences,
            accept_epochs=_epochs(accept_epoch or []),
        )
        async with connected(OPERATOR) as client:
            if from_stores:
                await _republish(client, service, reason)
            findings = await _run(client, service, request, as_json)
            if findings is not None and not findings.suspect and _asked(findings, as_json):
                # The very list that was shown: if it is another by then, it is shown and asked again.
                request.confirmed = findings.digest
                findings = await _run(client, service, request, as_json)
        return _ended(service, findings)

    run(work())


@app.command()
def drop(
    service: ServiceName,
    views: Annotated[list[str], typer.Argument(help="Which.")],
    reason: Reason = "not needed any more",
    as_json: Json = False,
) -> None:
    """Gives up the rebuild of these views, and every generation of theirs that does not serve."""

    async def work() -> Exit:
        async with connected(OPERATOR) as client:
            stub = client.stub(views_pb2_grpc.ViewsServiceStub, _known(service))
            answer = await client.call(stub.DropViews, pb.DropViewsRequest(views=views, reason=reason))
        dropped = ", ".join(answer.dropped) or "nothing: only what serves is there"
        show(answer, as_json, lambda: say(f"{service}: dropped {dropped}"))
        return Exit.OK

    run(work())


def _known(service: str) -> str:
    if service not in SERVICES:
        raise CommandFailed(Exit.USAGE, f"no such service: {service}; name one of {', '.join(SERVICES)}")
    return service


def _epochs(given: Iterable[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if wrong := [text for text, (_, _, epoch) in zip(given, pairs, strict=True) if not epoch]:
        raise CommandFailed(
            Exit.USAGE, f"--accept-epoch wants SOURCE=EPOCH, as the refusal names them: {', '.join(wrong)}"
        )
    return {source: epoch for source, _, epoch in pairs}


async def _republish(client: Client, service: str, reason: str) -> None:
    """Whoever this service hears of publishes its log again. Interrupted, it is done again: all are duplicates."""
    stub = client.stub(views_pb2_grpc.ViewsServiceStub, _known(service))
    known = await client.call(stub.ListViews, pb.ListViewsRequest())
    if not known.topics:
        say(
            f"{service} listens to no topic: its views are folded from its own log, so --from-stores has nothing to do."
        )
    for name in sorted(topic.split(".")[1] for topic in known.topics):
        await republished(client, name, log_pb2.RepublishRequest(reason=reason))


async def _run(
    client: Client, service: str, request: pb.RebuildViewsRequest, as_json: bool
) -> pb.RebuildFindings | None:
    """One rebuild, drawn as it goes on; gives the findings that wait for a word, or None when it is done."""
    stub = client.stub(views_pb2_grpc.ViewsServiceStub, _known(service))
    waiting: pb.RebuildFindings | None = None
    with Phases() as phases:
        async for told in client.stream(stub.RebuildViews, request, deadline=LONGEST_SECONDS):
            if told.HasField("findings") and told.findings.waits:
                waiting = told.findings
            if as_json:
                write(json.dumps(plain(told), ensure_ascii=False) + "\n")
            elif told.HasField("progress"):
                progress = told.progress
                phases.show(f"{service} {progress.state}", progress.done, progress.total, progress.problem)
            else:
                phases.close()
                _show(service, told)
    return waiting


def _show(service: str, told: pb.RebuildViewsResponse) -> None:
    if told.HasField("findings"):
        _show_findings(told.findings)
    else:
        listed = ", ".join(f"{name} generation {n}" for name, n in sorted(told.done.generations.items()))
        say(f"{service} serves {listed}; {told.done.marked:,} targets are evaluated again.")


def _show_findings(found: pb.RebuildFindings) -> None:
    columns = ("view", "serving", "built", "equal", "different", "behind", "yet to fold")
    rows = [(c.view, c.serving, c.built, c.equal, c.different, c.behind, c.ahead) for c in found.comparisons]
    table("", columns, rows)
    different = [
        (c.view, d.stream, d.serving_version, d.built_version, ", ".join(d.paths))
        for c in found.comparisons
        for d in c.shown
    ]
    if different:
        table("Differences (the first of each view)", ("view", "stream", "serving", "built", "where"), different)
    if found.decisions:
        changes = [
            (c.evaluation, c.target, ", ".join(c.paths), "; ".join(c.before), "; ".join(c.after)) for c in found.changes
        ]
        title = f"{found.decisions:,} of {found.targets:,} decisions would change"
        table(title, ("evaluation", "target", "result differs at", "commands now", "commands then"), changes)
    else:
        say(f"None of {found.targets:,} decisions would change.")


def _asked(found: pb.RebuildFindings, as_json: bool) -> bool:
    """Asks at a terminal. Elsewhere nobody can answer, so it waits."""
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return typer.confirm(f"Switch, so that {found.decisions:,} decisions change?", err=True)


def _ended(service: str, waiting: pb.RebuildFindings | None) -> Exit:
    """What to do next, as whole commands: what was asked for, with its views and epochs, need not be named again."""
    if waiting is None:
        return Exit.OK
    again = f"credence views rebuild {service}"
    yes = " --yes" if waiting.decisions else ""
    if waiting.suspect and waiting.accepted_epochs:
        sources = ", ".join(sorted(waiting.accepted_epochs))
        say(
            f"Not switched: the history of {sources} that is accepted holds less for {', '.join(waiting.suspect)} than "
            "what serves, or other things. Of a log that was restored it is what its backup did not hold. If that is "
            f"so, run `{again} --accept-differences{yes}`. What was built is kept."
        )
        return Exit.REFUSED
    if waiting.suspect:
        say(
            f"Not switched: {', '.join(waiting.suspect)} differs although its fold did not change, or holds less. If a "
            f"topic lost records, have it filled: `{again} --from-stores{yes}`. If what was built is right: "
            f"`{again} --accept-differences{yes}`. What was built is kept."
        )
        return Exit.REFUSED
    say(f"Not switched: it waits for a confirmation. Run `{again} --yes`, or `{again}` at a terminal.")
    return Exit.UNCONFIRMED
