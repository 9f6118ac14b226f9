"""`credence mentor`: mentors, shortlists, the choice, meetings."""

from __future__ import annotations

from typing import Annotated

import typer

from credence.mentoring.v1 import matches_pb2, matches_pb2_grpc, mentors_pb2, mentors_pb2_grpc
from credence_cli import outcomes
from credence_cli.client import Client, connected
from credence_cli.command import Json, run
from credence_cli.exits import Exit
from credence_cli.identity import Identity
from credence_cli.output import out, show, table
from credence_cli.state import last_token

app = typer.Typer(help="Mentors and mentees: register, list, offer, choose, meet, look.", no_args_is_help=True)

CohortId = Annotated[str, typer.Argument(help="The cohort's id.")]
Mentee = Annotated[str, typer.Argument(help="The mentee's person id.")]
ADMISSIONS = Identity.of("admissions")
IMPORTER = Identity.of("importer")
SIDES = {"mentee": matches_pb2.SIDE_MENTEE, "mentor": matches_pb2.SIDE_MENTOR}


def mentor_stub(client: Client) -> mentors_pb2_grpc.MentorServiceStub:
    return client.stub(mentors_pb2_grpc.MentorServiceStub, "mentoring")


def match_stub(client: Client) -> matches_pb2_grpc.MatchServiceStub:
    return client.stub(matches_pb2_grpc.MatchServiceStub, "mentoring")


@app.command()
def register(
    person: Annotated[str, typer.Argument(help="The mentor's person id.")],
    background: Annotated[
        str, typer.Option("--background", help="children, adults, health, education, corporate or other.")
    ],
    sector: Annotated[str, typer.Option("--sector", help="public, private or third.")] = "public",
    retired: Annotated[bool, typer.Option("--retired", help="Recently retired, not in post.")] = False,
    corporate: Annotated[bool, typer.Option("--corporate", help="Has corporate experience.")] = False,
    employer: Annotated[str, typer.Option("--employer", help="Employer's id; needed while in post.")] = "",
    portrait: Annotated[str, typer.Option("--portrait", help="What a mentee reads before choosing.")] = "",
    as_json: Json = False,
) -> None:
    """Registers a mentor, or replaces the profile of one."""

    async def work() -> Exit:
        row = mentors_pb2.RegisterMentor(
            person_id=person,
            background=background,
            sector=sector,
            in_post=not retired,
            corporate_experience=corporate,
            employer_id=employer,
            pen_portrait=portrait,
        )
        async with connected(ADMISSIONS) as client:
            request = mentors_pb2.RegisterMentorsRequest(rows=[row])
            answer = await client.call(mentor_stub(client).RegisterMentors, request)
        return outcomes.report(answer, [person], as_json)

    run(work())


@app.command("list")
def list_mentors(
    in_standing: Annotated[
        bool, typer.Option("--in-standing", help="Only those who hold the award that a programme asks of mentors.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Mentors and the awards they hold."""

    async def work() -> Exit:
        async with connected(ADMISSIONS) as client:
            request = mentors_pb2.ListMentorsRequest(in_standing_only=in_standing, token=last_token())
            answer = await client.whole(mentor_stub(client).ListMentors, request)
        rows = [
            (
                m.person_id,
                m.background,
                m.sector,
                "in post" if m.in_post else "retired",
                ", ".join(m.awards),
                m.pen_portrait,
            )
            for m in answer.mentors
        ]
        columns = ("mentor", "background", "sector", "post", "holds", "portrait")
        show(answer, as_json, lambda: table("", columns, rows))
        return Exit.OK

    run(work())


@app.command()
def offer(
    cohort: CohortId,
    mentee: Mentee,
    mentors: Annotated[list[str], typer.Argument(help="The mentors offered, as many as the programme says.")],
    as_json: Json = False,
) -> None:
    """Offers a shortlist."""

    async def work() -> Exit:
        row = matches_pb2.OfferShortlist(cohort_id=cohort, person_id=mentee, mentor_ids=mentors)
        async with connected(ADMISSIONS) as client:
            request = matches_pb2.OfferShortlistsRequest(rows=[row], token=last_token())
            answer = await client.call(match_stub(client).OfferShortlists, request)
        return outcomes.report(answer, [f"{mentee}: {', '.join(mentors)}"], as_json)

    run(work())


@app.command()
def choose(
    cohort: CohortId,
    mentee: Mentee,
    mentor: Annotated[str, typer.Argument(help="The chosen mentor.")],
    on: Annotated[
        str,
        typer.Option(
            "--on",
            help="First day of the match, YYYY-MM-DD; today unless given. A past one is an importer's to name, and "
            "with this option the command speaks as one.",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """The mentee's one choice."""

    async def work() -> Exit:
        row = matches_pb2.ChooseMentor(cohort_id=cohort, person_id=mentee, mentor_id=mentor, matched_on=on)
        async with connected(IMPORTER if on else Identity.of("learner", person=mentee)) as client:
            request = matches_pb2.ChooseMentorsRequest(rows=[row])
            answer = await client.call(match_stub(client).ChooseMentors, request)
        return outcomes.report(answer, [f"{mentee} chooses {mentor}"], as_json)

    run(work())


@app.command()
def meet(
    cohort: CohortId,
    mentee: Mentee,
    meeting: Annotated[str, typer.Argument(help="The pair's own id for the meeting, e.g. m1.")],
    on: Annotated[str, typer.Option("--on", help="When they met, YYYY-MM-DD.")],
    as_mentor: Annotated[str | None, typer.Option("--as-mentor", help="Speak as this mentor, not the mentee.")] = None,
    as_json: Json = False,
) -> None:
    """One side's word for a meeting; it counts once both have given it."""

    async def work() -> Exit:
        side = SIDES["mentor" if as_mentor else "mentee"]
        identity = Identity.of("mentor", person=as_mentor) if as_mentor else Identity.of("learner", person=mentee)
        row = matches_pb2.ConfirmMeeting(cohort_id=cohort, person_id=mentee, meeting_id=meeting, on=on, side=side)
        async with connected(identity) as client:
            request = matches_pb2.ConfirmMeetingsRequest(rows=[row])
            answer = await client.call(match_stub(client).ConfirmMeetings, request)
        return outcomes.report(answer, [f"{meeting} on {on}, says {as_mentor or mentee}"], as_json)

    run(work())


@app.command("show")
def show_match(cohort: CohortId, mentee: Mentee, as_json: Json = False) -> None:
    """A match, who was offered, and its meetings."""

    async def work() -> Exit:
        async with connected(Identity.of("learner", person=mentee)) as client:
            request = matches_pb2.GetMatchRequest(cohort_id=cohort, person_id=mentee, token=last_token())
            found = await client.call(match_stub(client).GetMatch, request)
        show(found, as_json, lambda: _render(found))
        return Exit.OK

    run(work())


def _render(found: matches_pb2.Match) -> None:
    until = f", from {found.matched_on} to {found.window_ends_on}" if found.mentor_id else ""
    out.print(f"shortlist {', '.join(found.shortlist)}; chosen {found.mentor_id or 'nobody yet'}{until}", markup=False)
    offered = (
        (m.mentor_id, m.background, m.sector, "in post" if m.in_post else "retired", m.pen_portrait)
        for m in found.mentors
    )
    table("", ("mentor", "background", "sector", "post", "portrait"), offered)
    rows = (
        (m.meeting_id, m.on, "yes" if m.mentee_confirmed else "", "yes" if m.mentor_confirmed else "")
        for m in found.meetings
    )
    table("", ("meeting", "on", "mentee", "mentor"), rows)
