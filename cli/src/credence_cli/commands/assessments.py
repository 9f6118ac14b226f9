"""`credence assess` and `credence board`: assessed work and the awarding body's decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from credence.accreditation.v1 import assessments_pb2 as pb
from credence.accreditation.v1 import assessments_pb2_grpc, awards_pb2, awards_pb2_grpc, standings_pb2
from credence_cli import outcomes
from credence_cli.client import Client, connected
from credence_cli.command import Json, run
from credence_cli.contract import UINT64_MAX
from credence_cli.exits import Exit
from credence_cli.identity import Identity
from credence_cli.output import show, table
from credence_cli.state import last_token

assess_app = typer.Typer(help="Assessed work: register, submit, mark, revise, look.", no_args_is_help=True)
board_app = typer.Typer(help="The awarding body: confirm awards, decide reviews.", no_args_is_help=True)

CohortId = Annotated[str, typer.Argument(help="The cohort's id.")]
Person = Annotated[str, typer.Argument(help="The learner's id.")]
Component = Annotated[str, typer.Argument(help="The component of the programme, e.g. project.")]
Body = Annotated[str, typer.Option("--body", help="The awarding body you speak for.")]
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        help="Civil date, YYYY-MM-DD; the programme's today unless given. Only an importer may name a past one.",
    ),
]
Mark = Annotated[str, typer.Option("--mark", help="Decimal of 100; may be left out.")]
ResultWord = Annotated[str, typer.Argument(help="passed, referred or failed.")]

RESULTS = {"passed": pb.RESULT_PASSED, "referred": pb.RESULT_REFERRED, "failed": pb.RESULT_FAILED}
STATES = {
    pb.ASSESSMENT_STATE_REGISTERED: "registered",
    pb.ASSESSMENT_STATE_SUBMITTED: "submitted",
    pb.ASSESSMENT_STATE_REFERRED: "referred",
    pb.ASSESSMENT_STATE_PASSED: "passed",
    pb.ASSESSMENT_STATE_FAILED: "failed",
}
AWARD_STATES = {
    standings_pb2.AWARD_STATE_NOT_MET: "not met",
    standings_pb2.AWARD_STATE_PENDING: "pending",
    standings_pb2.AWARD_STATE_PROVISIONAL: "provisional",
    standings_pb2.AWARD_STATE_CONFIRMED: "confirmed",
    standings_pb2.AWARD_STATE_UNDER_REVIEW: "under review",
    standings_pb2.AWARD_STATE_CAPPED: "capped",
    standings_pb2.AWARD_STATE_REVOKED: "revoked",
    standings_pb2.AWARD_STATE_HELD_FROM_ANOTHER_COHORT: "held from another cohort",
}


def stub(client: Client) -> assessments_pb2_grpc.AssessmentServiceStub:
    return client.stub(assessments_pb2_grpc.AssessmentServiceStub, "accreditation")


def award_stub(client: Client) -> awards_pb2_grpc.AwardServiceStub:
    return client.stub(awards_pb2_grpc.AwardServiceStub, "accreditation")


def result_of(word: str) -> pb.Result.ValueType:
    if word not in RESULTS:
        raise typer.BadParameter(f"{word!r} is none of {', '.join(RESULTS)}")
    return RESULTS[word]


def _record(identity: Identity, row: pb.RecordAssessment, label: str, as_json: bool) -> None:
    async def work() -> Exit:
        async with connected(identity) as client:
            request = pb.RecordAssessmentsRequest(rows=[row], token=last_token())
            answer = await client.call(stub(client).RecordAssessments, request)
        return outcomes.report(answer, [label], as_json)

    run(work())


@assess_app.command()
def register(cohort: CohortId, person: Person, component: Component, as_json: Json = False) -> None:
    """The learner opts in."""
    row = pb.RecordAssessment(cohort_id=cohort, person_id=person, component_id=component)
    row.register.SetInParent()
    _record(Identity.of("learner", person=person), row, f"{person} registers for {component}", as_json)


@assess_app.command()
def submit(cohort: CohortId, person: Person, component: Component, on: On = None, as_json: Json = False) -> None:
    """The learner submits, or submits again after a referral."""
    row = pb.RecordAssessment(cohort_id=cohort, person_id=person, component_id=component)
    row.submit.submitted_on = on or ""
    _record(Identity.of("learner", person=person), row, f"{person} submits {component}", as_json)


@assess_app.command()
def mark(
    cohort: CohortId,
    person: Person,
    component: Component,
    result: ResultWord,
    body: Body,
    mark: Mark = "",
    on: On = None,
    as_json: Json = False,
) -> None:
    """The assessor's result of the submission that waits."""
    row = pb.RecordAssessment(cohort_id=cohort, person_id=person, component_id=component)
    row.assess.MergeFrom(pb.RecordAssessment.Assess(result=result_of(result), mark=mark, assessed_on=on or ""))
    _record(Identity.of("assessor", bodies=[body]), row, f"{person} {component}: {result}", as_json)


@assess_app.command()
def revise(
    cohort: CohortId,
    person: Person,
    component: Component,
    result: ResultWord,
    body: Body,
    replaces: Annotated[
        int,
        typer.Option("--replaces", min=1, max=UINT64_MAX, help="Version of the result it replaces (`assess show`)."),
    ],
    reason: Annotated[str, typer.Option("--reason", help="A code, e.g. clerical-error.")],
    mark: Mark = "",
    on: On = None,
    as_json: Json = False,
) -> None:
    """Another result in place of the current one; the old one is kept."""
    row = pb.RecordAssessment(cohort_id=cohort, person_id=person, component_id=component)
    row.revise.MergeFrom(
        pb.RecordAssessment.Revise(
            result=result_of(result), mark=mark, assessed_on=on or "", replaces=replaces, reason_code=reason
        )
    )
    _record(Identity.of("assessor", bodies=[body]), row, f"{person} {component}: {result}", as_json)


@assess_app.command("show")
def show_assessments(cohort: CohortId, person: Person, body: Body, as_json: Json = False) -> None:
    """A learner's assessments with their history."""

    async def work() -> Exit:
        async with connected(Identity.of("assessor", bodies=[body])) as client:
            request = pb.GetAssessmentsRequest(cohort_id=cohort, person_id=person, token=last_token())
            answer = await client.call(stub(client).GetAssessments, request)
        rows = [
            (
                c.component_id,
                STATES.get(c.state, "?"),
                c.attempts,
                c.mark,
                c.result_version or "",
                ", ".join(f"{h.step} {h.on}".strip() for h in c.history),
            )
            for c in answer.components
        ]
        columns = ("component", "state", "attempts", "mark", "result version", "history")
        show(answer, as_json, lambda: table("", columns, rows))
        return Exit.OK

    run(work())


@board_app.command()
def confirm(
    cohort: CohortId,
    person: Person,
    award: Annotated[str, typer.Argument(help="The award's id.")],
    body: Body,
    on: On = None,
    as_json: Json = False,
) -> None:
    """Confirms a provisional award."""

    async def work() -> Exit:
        row = awards_pb2.ConfirmAward(cohort_id=cohort, person_id=person, award_id=award, decided_on=on or "")
        async with connected(Identity.of("awarding-body", bodies=[body])) as client:
            request = awards_pb2.ConfirmAwardsRequest(rows=[row], token=last_token())
            answer = await client.call(award_stub(client).ConfirmAwards, request)
        return outcomes.report(answer, [f"{person} {award}"], as_json)

    run(work())


@board_app.command()
def decide(
    cohort: CohortId,
    person: Person,
    award: Annotated[str, typer.Argument(help="The award's id.")],
    decision: Annotated[str, typer.Argument(help="uphold or revoke.")],
    body: Body,
    review: Annotated[
        str, typer.Option("--review", help="The review's id (`board reviews`); another one may have been opened since.")
    ],
    reason: Annotated[str, typer.Option("--reason", help="A code, e.g. clerical-error.")],
    on: On = None,
    as_json: Json = False,
) -> None:
    """Decides the review of a confirmed award."""
    decisions = {"uphold": awards_pb2.REVIEW_DECISION_UPHOLD, "revoke": awards_pb2.REVIEW_DECISION_REVOKE}
    if decision not in decisions:
        raise typer.BadParameter(f"{decision!r} is none of {', '.join(decisions)}")

    async def work() -> Exit:
        row = awards_pb2.DecideReview(
            cohort_id=cohort,
            person_id=person,
            award_id=award,
            decision=decisions[decision],
            reason_code=reason,
            decided_on=on or "",
            review_id=review,
        )
        async with connected(Identity.of("awarding-body", bodies=[body])) as client:
            request = awards_pb2.DecideReviewsRequest(rows=[row])
            answer = await client.call(award_stub(client).DecideReviews, request)
        return outcomes.report(answer, [f"{person} {award}: {decision}"], as_json)

    run(work())


def _list(state: standings_pb2.AwardState.ValueType) -> Callable[[str, bool], None]:
    def listed(body: str, as_json: bool) -> None:
        async def work() -> Exit:
            async with connected(Identity.of("awarding-body", bodies=[body])) as client:
                request = awards_pb2.ListAwardsRequest(state=state, token=last_token())
                answer = await client.whole(award_stub(client).ListAwards, request)
            rows = [
                (a.cohort_id, a.person_id, a.award_id, a.credit.credits, AWARD_STATES.get(a.state, "?"), a.review_id)
                for a in answer.awards
            ]
            columns = ("cohort", "person", "award", "credits", "state", "review")
            show(answer, as_json, lambda: table("", columns, rows))
            return Exit.OK

        run(work())

    return listed


@board_app.command()
def awards(body: Body, as_json: Json = False) -> None:
    """The ledger: every award of your body."""
    _list(standings_pb2.AWARD_STATE_UNSPECIFIED)(body, as_json)


@board_app.command()
def reviews(body: Body, as_json: Json = False) -> None:
    """Confirmed awards whose facts were corrected: yours to decide."""
    _list(standings_pb2.AWARD_STATE_UNDER_REVIEW)(body, as_json)
