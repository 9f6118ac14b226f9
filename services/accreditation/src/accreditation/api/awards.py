"""AwardService: the board's decisions, and the ledger."""

from __future__ import annotations

from typing import Any, Literal

import grpc

from accreditation.api.rows import check_names, reason_code
from accreditation.api.standings import STATES, revocation_message
from accreditation.application.awards import ConfirmWish, ReviewWish, confirm_awards, decide_reviews
from accreditation.application.publishing import KINDS, credit_message
from accreditation.domain.credit import AwardState, LedgerAward
from accreditation.views.credits import CREDITS, list_awards
from accreditation.views.learner_facts import VIEWS
from accreditation.views.standings import STANDING
from catalogue.ids import join_id
from credence.accreditation.v1 import awards_pb2 as pb
from credence.accreditation.v1 import awards_pb2_grpc
from credence.common.v1 import outcome_pb2
from eventcore.decider import Refusal
from servicekit.batches import rows
from servicekit.call import current_scope
from servicekit.kernel import Kernel, malformed
from servicekit.pages import page
from servicekit.violations import Violations

_DECISIONS: dict[int, Literal["upheld", "revoked"]] = {
    pb.REVIEW_DECISION_UPHOLD: "upheld",
    pb.REVIEW_DECISION_REVOKE: "revoked",
}
_LEDGER_STATES: tuple[AwardState, ...] = ("provisional", "confirmed", "under-review", "revoked")
_STATES: dict[int, AwardState] = {STATES[state]: state for state in _LEDGER_STATES}


class AwardApi(awards_pb2_grpc.AwardServiceServicer):
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def ConfirmAwards(
        self, request: pb.ConfirmAwardsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> outcome_pb2.BatchResponse:
        wishes = [_confirm_wish(row) for row in rows(request.rows)]
        targets = dict.fromkeys(join_id(w.cohort_id, w.person_id) for w in wishes if isinstance(w, ConfirmWish))
        await self._kernel.caught_up(request.token, views=VIEWS, results=[(STANDING, target) for target in targets])
        return self._kernel.answer(await confirm_awards(self._kernel, current_scope(), wishes))

    async def DecideReviews(
        self, request: pb.DecideReviewsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> outcome_pb2.BatchResponse:
        wishes = [_review_wish(row) for row in rows(request.rows)]
        return self._kernel.answer(await decide_reviews(self._kernel, current_scope(), wishes))

    async def ListAwards(
        self, request: pb.ListAwardsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListAwardsResponse:
        found = Violations()
        found.id("person_id", request.person_id, optional=True)
        found.id("cohort_id", request.cohort_id, optional=True)
        state = _STATES.get(request.state)
        if request.state and state is None:
            found.add("state", "must be a state that the ledger holds: provisional, confirmed, under review, revoked")
        found.raise_if_any()
        wanted = page(
            request.page_size,
            request.page_token,
            query=f"awards/{request.person_id}/{request.cohort_id}/{request.state}",
        )
        await self._kernel.caught_up(request.token, views=[CREDITS])
        awards, next_token = await list_awards(
            self._kernel,
            current_scope(),
            wanted,
            person_id=request.person_id,
            cohort_id=request.cohort_id,
            state=state,
        )
        return pb.ListAwardsResponse(awards=[_award(*each) for each in awards], next_page_token=next_token)


def _confirm_wish(row: pb.ConfirmAward) -> ConfirmWish | Refusal:
    found = Violations()
    check_names(found, row.command_id, cohort_id=row.cohort_id, person_id=row.person_id, award_id=row.award_id)
    decided_on = found.date("decided_on", row.decided_on, optional=True)
    if found:
        return malformed(found)
    return ConfirmWish(row.command_id, row.cohort_id, row.person_id, row.award_id, decided_on)


def _review_wish(row: pb.DecideReview) -> ReviewWish | Refusal:
    found = Violations()
    check_names(found, row.command_id, cohort_id=row.cohort_id, person_id=row.person_id, award_id=row.award_id)
    found.id("review_id", row.review_id)
    decision = found.enum("decision", row.decision, _DECISIONS)
    code = reason_code(found, "reason_code", row.reason_code)
    decided_on = found.date("decided_on", row.decided_on, optional=True)
    if found or decision is None:
        return malformed(found)
    return ReviewWish(
        command_id=row.command_id,
        cohort_id=row.cohort_id,
        person_id=row.person_id,
        award_id=row.award_id,
        review_id=row.review_id,
        decision=_DECISIONS[decision],
        reason_code=code,
        decided_on=decided_on,
    )


def _award(person_id: str, award: LedgerAward) -> pb.LedgerAward:
    terms = award.terms
    return pb.LedgerAward(
        cohort_id=terms.cohort_id,
        person_id=person_id,
        award_id=terms.award_id,
        title=terms.title,
        programme_id=terms.programme_id,
        programme_version=terms.programme_version,
        kind=KINDS[terms.kind],
        credit=credit_message(terms.credit),
        state=STATES[award.state],
        review_id=(award.review_id or "") if award.state == "under-review" else "",
        awarding_body_id=terms.body,
        revocation=revocation_message(award.revocation),
    )
