"""`credence standing`: what a learner has, what is missing, and why."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.tree import Tree

from credence.accreditation.v1 import standings_pb2 as pb
from credence.accreditation.v1 import standings_pb2_grpc
from credence_cli.client import Client, connected
from credence_cli.command import Json, run
from credence_cli.commands.assessments import AWARD_STATES
from credence_cli.exits import Exit
from credence_cli.identity import Identity
from credence_cli.output import out, show, table
from credence_cli.state import last_token

app = typer.Typer(help="What a learner has, what is missing, and why.", no_args_is_help=True)

CohortId = Annotated[str, typer.Argument(help="The cohort's id.")]
Person = Annotated[str, typer.Argument(help="The learner's id.")]
KnownAt = Annotated[
    str | None, typer.Option("--known-at", help="Only what was recorded up to this instant (RFC 3339).")
]
TrueAt = Annotated[str, typer.Option("--true-at", help="Only what was true up to this date, YYYY-MM-DD.")]

CERTIFICATES = {
    pb.CERTIFICATE_STATE_NOT_DUE: "not due",
    pb.CERTIFICATE_STATE_DUE: "due",
    pb.CERTIFICATE_STATE_BLOCKED: "blocked",
}


def stub(client: Client) -> standings_pb2_grpc.StandingServiceStub:
    return client.stub(standings_pb2_grpc.StandingServiceStub, "accreditation")


async def get_standing(
    client: Client, cohort: str, person: str, *, token: str = "", known_at: str | None = None, true_at: str = ""
) -> pb.Standing:
    """The standing as the learner sees it. Raises CommandFailed."""
    request = pb.GetStandingRequest(cohort_id=cohort, person_id=person, token=token, true_at=true_at)
    if known_at:
        try:
            instant = datetime.fromisoformat(known_at)
        except ValueError:
            raise typer.BadParameter(f"{known_at!r} is no instant like 2024-10-31T12:00:00Z") from None
        if instant.tzinfo is None:
            raise typer.BadParameter(f"{known_at!r} names no time zone; write 2024-10-31T12:00:00Z")
        try:
            request.known_at.FromDatetime(instant)
        except OverflowError:
            raise typer.BadParameter(f"{known_at!r} is beyond the years 1 to 9999, in UTC") from None
    return await client.call(stub(client).GetStanding, request, identity=Identity.of("learner", person=person))


@app.command("show")
def show_standing(
    cohort: CohortId, person: Person, known_at: KnownAt = None, true_at: TrueAt = "", as_json: Json = False
) -> None:
    """One line for each award: its state and its certificate's."""

    async def work() -> Exit:
        async with connected(Identity.of("learner", person=person)) as client:
            standing = await get_standing(
                client, cohort, person, token=last_token(), known_at=known_at, true_at=true_at
            )
        show(standing, as_json, lambda: render_lines(standing))
        return Exit.OK

    run(work())


@app.command()
def explain(
    cohort: CohortId, person: Person, known_at: KnownAt = None, true_at: TrueAt = "", as_json: Json = False
) -> None:
    """The whole tree: at each rule how much of how much, the facts that count, and what is missing."""

    async def work() -> Exit:
        async with connected(Identity.of("learner", person=person)) as client:
            standing = await get_standing(
                client, cohort, person, token=last_token(), known_at=known_at, true_at=true_at
            )
        show(standing, as_json, lambda: render_trees(standing))
        return Exit.OK

    run(work())


def _headline(standing: pb.Standing) -> str:
    pending = " [yellow](being looked at again)[/]" if standing.pending else ""
    return (
        f"[bold]{escape(standing.person_id)}[/] on {escape(standing.cohort_id)} "
        f"({escape(standing.programme_id)} version {standing.programme_version}): {standing.enrolment}; "
        f"credits {standing.credits_provisional or 0} provisional, {standing.credits_confirmed or 0} confirmed{pending}"
    )


def render_lines(standing: pb.Standing) -> None:
    """The standing as a table."""
    out.print(_headline(standing))
    table(
        "",
        ("award", "state", "credits", "certificate"),
        ((a.title, _state(a), _credits(a), _certificate(a)) for a in standing.awards),
    )


def _state(award: pb.AwardStanding) -> str:
    word = AWARD_STATES.get(award.state, "?")
    if not award.HasField("revocation"):
        return word
    told = f"{award.revocation.revoked_on}: {award.revocation.reason_code}"
    return f"{word} ({told})" if award.state == pb.AWARD_STATE_REVOKED else f"{word} (revoked {told})"


def _credits(award: pb.AwardStanding) -> str:
    if not award.HasField("credit"):
        return ""
    credit = award.credit
    transferable = ", transferable" if credit.transferable else ""
    return f"{credit.credits} CATS, level {credit.level}, {credit.ects} ECTS{transferable}"


def _certificate(award: pb.AwardStanding) -> str:
    word = CERTIFICATES.get(award.certificate.state, "")
    return f"{word}: {award.certificate.reason}" if award.certificate.reason else word


def render_trees(standing: pb.Standing) -> None:
    """The standing with every rule's explanation."""
    out.print(_headline(standing))
    for award in standing.awards:
        worth = f", {_credits(award)}" if _credits(award) else ""
        certificate = f"; certificate {_certificate(award)}" if _certificate(award) else ""
        tree = Tree(f"[bold]{escape(award.title)}[/]: {escape(_state(award) + worth + certificate)}")
        _grow(tree, award.explanation)
        for each in award.waits_for:
            tree.add(f"[dim]waits for: {escape(each.message)}[/]")
        out.print(tree)


def _grow(tree: Tree, node: pb.Explanation) -> None:
    open_or_lost = "[yellow]○[/]" if node.possible else "[red]✗[/]"
    sign = "[green]✓[/]" if node.satisfied else open_or_lost
    amount = f" {node.have} of {node.need} {node.unit}" if node.need else ""
    branch = tree.add(f"{sign} {escape(node.title or node.check)}:{escape(amount)}")
    # A node over others counts what they count: said once, where it is decided.
    if node.facts and not node.children:
        branch.add(f"[dim]counted: {escape(_facts(node.facts))}[/]")
    for missing in node.missing:
        branch.add(f"[dim]missing: {escape(missing.message)}[/]")
    for child in node.children:
        _grow(branch, child)


def _facts(ids: Iterable[str]) -> str:
    """Event ids, each stream named once: "enrolment-c1--p1 @3 @7"."""
    versions: dict[str, list[str]] = {}
    for event_id in ids:
        stream, _, version = event_id.rpartition("@")
        versions.setdefault(stream, []).append(f"@{version}")
    return ", ".join(f"{stream} {' '.join(found)}" for stream, found in versions.items())
