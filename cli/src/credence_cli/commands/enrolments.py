"""`credence cohort`, `credence enrol`, `credence withdraw`: open a cohort, put learners on it, take them off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import (
    cohorts_pb2,
    cohorts_pb2_grpc,
    enrolments_pb2,
    enrolments_pb2_grpc,
    people_pb2,
    people_pb2_grpc,
)
from credence_cli import outcomes
from credence_cli.client import Client, connected
from credence_cli.command import Json, run
from credence_cli.contract import UINT32_MAX
from credence_cli.exits import CommandFailed, Exit
from credence_cli.files import read_sheet
from credence_cli.identity import Identity
from credence_cli.limits import ROWS_MAX
from credence_cli.output import out, say, show, table
from credence_cli.spreadsheet import SheetUnreadable, columns_of, shown
from credence_cli.state import last_token

cohort_app = typer.Typer(help="Cohorts and their sessions.", no_args_is_help=True)

ADMISSIONS = Identity.of("admissions")
IMPORTER = Identity.of("importer")
STATUS_WORDS = {
    enrolments_pb2.ENROLMENT_STATUS_REQUESTED: "requested",
    enrolments_pb2.ENROLMENT_STATUS_WAITING: "waiting",
    enrolments_pb2.ENROLMENT_STATUS_PLACED: "placed",
    enrolments_pb2.ENROLMENT_STATUS_WITHDRAWN: "withdrawn",
    enrolments_pb2.ENROLMENT_STATUS_DECLINED: "declined",
}

# Columns as people name them, without case, spaces and punctuation.
_COLUMNS = {
    "person": "person", "personid": "person", "learner": "person", "learnerid": "person",
    "name": "name", "fullname": "name",
    "email": "email", "emailaddress": "email", "mail": "email",
    "employer": "employer", "employerid": "employer",
    "provider": "provider", "providerid": "provider",
    "reference": "reference", "ref": "reference", "learnerreference": "reference", "yourreference": "reference",
}  # fmt: skip

CohortId = Annotated[str, typer.Argument(help="The cohort's id.")]


def cohort_stub(client: Client) -> cohorts_pb2_grpc.CohortServiceStub:
    return client.stub(cohorts_pb2_grpc.CohortServiceStub, "enrolment")


def enrolment_stub(client: Client) -> enrolments_pb2_grpc.EnrolmentServiceStub:
    return client.stub(enrolments_pb2_grpc.EnrolmentServiceStub, "enrolment")


def people_stub(client: Client) -> people_pb2_grpc.PeopleServiceStub:
    return client.stub(people_pb2_grpc.PeopleServiceStub, "enrolment")


@cohort_app.command("open")
def open_cohort(
    cohort: CohortId,
    programme: Annotated[str, typer.Option("--programme", help="The programme's id.")],
    starts_on: Annotated[str, typer.Option("--starts-on", help="First day, YYYY-MM-DD.")],
    provider: Annotated[str, typer.Option("--provider", help="Who posts the registers.")],
    version: Annotated[int, typer.Option("--version", min=1, max=UINT32_MAX, help="The programme's version.")] = 1,
    capacity: Annotated[
        int | None,
        typer.Option(
            "--capacity", min=0, max=UINT32_MAX, help="Places; the programme's default unless given, 0: no limit."
        ),
    ] = None,
    waiting_list: Annotated[
        bool | None,
        typer.Option(
            "--waiting-list/--no-waiting-list", help="Whether who finds it full waits; as the programme says."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Opens a cohort with the sessions of the programme's timetable."""

    async def work() -> Exit:
        row = cohorts_pb2.OpenCohort(
            cohort_id=cohort,
            programme_id=programme,
            programme_version=version,
            starts_on=starts_on,
            provider_id=provider,
            capacity=capacity,
            waiting_list=waiting_list,
        )
        async with connected(ADMISSIONS) as client:
            request = cohorts_pb2.OpenCohortsRequest(rows=[row])
            answer = await client.call(cohort_stub(client).OpenCohorts, request)
        return outcomes.report(answer, [cohort], as_json)

    run(work())


@cohort_app.command("cancel-session")
def cancel_session(
    cohort: CohortId,
    session: Annotated[str, typer.Argument(help="The session's id.")],
    reason: Annotated[str, typer.Option("--reason", help="A code, e.g. snow.")],
    as_json: Json = False,
) -> None:
    """Cancels a session: it leaves every denominator; marks stay on record and stop counting."""

    async def work() -> Exit:
        row = cohorts_pb2.CancelSession(cohort_id=cohort, session_id=session, reason_code=reason)
        async with connected(ADMISSIONS) as client:
            request = cohorts_pb2.CancelSessionsRequest(rows=[row])
            answer = await client.call(cohort_stub(client).CancelSessions, request)
        return outcomes.report(answer, [f"{cohort} {session}"], as_json)

    run(work())


@cohort_app.command("show")
def show_cohort(cohort: CohortId, as_json: Json = False) -> None:
    """A cohort, its sessions, its learners."""

    async def work() -> Exit:
        async with connected(ADMISSIONS) as client:
            token = last_token()
            found = await client.call(
                cohort_stub(client).GetCohort, cohorts_pb2.GetCohortRequest(cohort_id=cohort, token=token)
            )
            learners = await list_enrolments(client, cohort, token)
        show({"cohort": found, "enrolments": learners}, as_json, lambda: _render(found, learners))
        return Exit.OK

    run(work())


def _render(cohort: cohorts_pb2.Cohort, learners: list[enrolments_pb2.Enrolment]) -> None:
    places = f"{cohort.placed} of {cohort.capacity} places" if cohort.capacity else f"{cohort.placed} placed, no limit"
    out.print(
        f"{cohort.cohort_id}: {cohort.programme_id} version {cohort.programme_version}, {cohort.starts_on} to "
        f"{cohort.ends_on}, {places}, {cohort.waiting} waiting",
        markup=False,
    )
    rows = (
        (
            s.session.session_id,
            s.session.on,
            s.session.start,
            s.session.minutes,
            s.session.provider_id,
            s.cancelled_reason_code,
        )
        for s in cohort.sessions
    )
    table("", ("session", "on", "at", "minutes", "provider", "cancelled"), rows)
    render_enrolments(learners)


def render_enrolments(learners: list[enrolments_pb2.Enrolment]) -> None:
    """Learners with their status."""
    table(
        "",
        ("person", "status", "since", "waiting at", "employer"),
        (
            (
                e.person_id,
                STATUS_WORDS.get(e.status, "?"),
                e.withdrawn_on or e.placed_on,
                e.waiting_position or "",
                e.employer_id,
            )
            for e in learners
        ),
    )


async def list_enrolments(client: Client, cohort: str, token: str = "") -> list[enrolments_pb2.Enrolment]:
    """All of a cohort's enrolments."""
    request = enrolments_pb2.ListEnrolmentsRequest(cohort_id=cohort, token=token, page_size=ROWS_MAX)
    answer = await client.whole(enrolment_stub(client).ListEnrolments, request)
    return list(answer.enrolments)


def enrol(
    cohort: CohortId,
    people: Annotated[list[str] | None, typer.Argument(help="Person ids.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            help="A CSV with the columns person, name, email, employer, provider, reference; all but person may be "
            "missing, and any other is refused. People who are not registered yet are.",
        ),
    ] = None,
    on: Annotated[
        str,
        typer.Option(
            "--on",
            help="First day of the enrolment, YYYY-MM-DD; today unless given. A past one is an importer's to name, and "
            "this signs as one.",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Registers people and asks for their places; who finds the cohort full waits.

    Where somebody cannot be registered, no place is asked for, for anybody: mend it and run it again.
    """

    async def work() -> Exit:
        rows = [{"person": p} for p in people or []] + (_read(file) if file else [])
        if not rows:
            raise CommandFailed(Exit.USAGE, "name the people, or a file with --file")
        if len(rows) > ROWS_MAX:
            raise CommandFailed(Exit.USAGE, f"{len(rows)} people: enrol at most {ROWS_MAX} at once")
        async with connected(IMPORTER if on else ADMISSIONS) as client:
            registered = await client.call(people_stub(client).RegisterPeople, _registration(rows))
            refused = outcomes.exit_of(registered.outcomes)
            if refused:
                outcomes.report(registered, [f"person {r['person']}" for r in rows], as_json)
                say(
                    "No place was asked for, for anybody: mend what is named or leave it out, and run it again. "
                    "Whoever is registered stays so."
                )
                return refused
            request = enrolments_pb2.RequestEnrolmentsRequest(rows=[_wish(cohort, row, on) for row in rows])
            answer = await client.call(enrolment_stub(client).RequestEnrolments, request)
            learners = {e.person_id: e for e in await _decided(client, cohort, answer, rows)}
        labels = [f"{row['person']}: {_status(learners.get(row['person']))}" for row in rows]
        return outcomes.report(answer, labels, as_json)

    run(work())


async def _decided(
    client: Client, cohort: str, answer: outcome_pb2.BatchResponse, rows: list[dict[str, str]]
) -> list[enrolments_pb2.Enrolment]:
    """The enrolments once the places were decided; none where every row was refused (perhaps there is no cohort)."""
    taken = [
        row["person"]
        for row, outcome in zip(rows, answer.outcomes, strict=True)
        if outcomes.exit_of([outcome]) == Exit.OK
    ]
    if not taken:
        return []
    last = enrolments_pb2.GetEnrolmentRequest(cohort_id=cohort, person_id=taken[-1], token=answer.token)
    await client.call(enrolment_stub(client).GetEnrolment, last)
    return await list_enrolments(client, cohort, answer.token)


def _status(enrolment: enrolments_pb2.Enrolment | None) -> str:
    if enrolment is None:
        return "not enrolled"
    position = f" at {enrolment.waiting_position}" if enrolment.waiting_position else ""
    return STATUS_WORDS.get(enrolment.status, "?") + position


def _read(file: Path) -> list[dict[str, str]]:
    lines = read_sheet(file)
    try:
        columns = columns_of(lines[0], _COLUMNS) if lines else ()
    except SheetUnreadable as error:
        raise CommandFailed(Exit.USAGE, f"{file}: {error}") from error
    if "person" not in columns:
        raise CommandFailed(Exit.USAGE, f"{file}: the first line must name the columns, among them `person`")
    # An address that is not registered with the person cannot be added later: none may be lost to a misspelt name.
    if unknown := [shown(cell) for cell, column in zip(lines[0].cells, columns, strict=True) if cell and not column]:
        raise CommandFailed(
            Exit.USAGE,
            f"{file}: columns without a meaning here: {', '.join(unknown)}. Name them as one of "
            f"{', '.join(dict.fromkeys(_COLUMNS.values()))}, or take them out",
        )
    for line in lines:
        # Which cell is one too many cannot be known: a name would be taken for an e-mail address.
        if any(line.cells[len(columns) :]):
            raise CommandFailed(Exit.USAGE, f"{file}: line {line.number} has more cells than there are columns")
    return [
        {"person": "", **{column: cell for column, cell in zip(columns, line.cells, strict=False) if column}}
        for line in lines[1:]
    ]


def _registration(rows: list[dict[str, str]]) -> people_pb2.RegisterPeopleRequest:
    return people_pb2.RegisterPeopleRequest(
        rows=[
            people_pb2.RegisterPerson(person_id=r["person"], name=r.get("name", ""), email=r.get("email", ""))
            for r in rows
        ]
    )


def _wish(cohort: str, row: dict[str, str], on: str) -> enrolments_pb2.RequestEnrolment:
    wish = enrolments_pb2.RequestEnrolment(
        cohort_id=cohort, person_id=row["person"], employer_id=row.get("employer", ""), effective_on=on
    )
    if row.get("reference"):
        wish.references.add(provider_id=row.get("provider", ""), reference=row["reference"])
    return wish


def name(
    person: Annotated[str, typer.Argument(help="The person's id.")],
    full_name: Annotated[str, typer.Argument(help="The name certificates are issued in.")],
    as_json: Json = False,
) -> None:
    """Puts a person's name on file, or changes it."""

    async def work() -> Exit:
        row = people_pb2.NamePerson(person_id=person, name=full_name)
        async with connected(ADMISSIONS) as client:
            request = people_pb2.NamePeopleRequest(rows=[row])
            answer = await client.call(people_stub(client).NamePeople, request)
        return outcomes.report(answer, [person], as_json)

    run(work())


def withdraw(
    cohort: CohortId,
    person: Annotated[str, typer.Argument(help="The person's id.")],
    reason: Annotated[str, typer.Option("--reason", help="A code, e.g. changed-job.")],
    as_json: Json = False,
) -> None:
    """Takes a learner off a cohort from today; a freed place goes to the first who waits."""

    async def work() -> Exit:
        row = enrolments_pb2.WithdrawEnrolment(cohort_id=cohort, person_id=person, reason_code=reason)
        async with connected(ADMISSIONS) as client:
            request = enrolments_pb2.WithdrawEnrolmentsRequest(rows=[row])
            answer = await client.call(enrolment_stub(client).WithdrawEnrolments, request)
        return outcomes.report(answer, [f"{cohort} {person}"], as_json)

    run(work())
