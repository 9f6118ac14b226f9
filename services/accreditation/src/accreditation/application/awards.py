"""What the awarding body's decisions need: the ledger, and a standing that rests on the current facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from accreditation.domain.civil import DEFAULT_ZONE, civil_date
from accreditation.domain.credit import CREDIT, ConfirmAwards, CreditCommand, DecideReview, Ledger, LedgerAward
from accreditation.views.credits import stream_of
from accreditation.views.programmes import PROGRAMMES
from accreditation.views.standings import Answer, current
from catalogue.ids import join_id
from eventcore.decider import Refusal
from eventcore.execute import Request
from eventcore.outcome import Outcome
from servicekit.kernel import NOT_FOUND, Kernel
from servicekit.scope import Scope

STANDING_PENDING = Refusal(
    "standing-pending", "something this award rests on has just changed and is being looked at: send it again"
)
NOT_MET = Refusal("not-met", "the award's rule is not met any more: look at its standing")
CREDITS_NOT_CONFIRMED = Refusal(
    "credits-not-confirmed", "this award counts credits that are not confirmed: have those confirmed first"
)


@dataclass(frozen=True)
class ConfirmWish:
    """`decided_on` None: today, in the programme's zone."""

    command_id: str
    cohort_id: str
    person_id: str
    award_id: str
    decided_on: date | None


@dataclass(frozen=True)
class ReviewWish:
    command_id: str
    cohort_id: str
    person_id: str
    award_id: str
    review_id: str
    decision: Literal["upheld", "revoked"]
    reason_code: str
    decided_on: date | None


async def confirm_awards(
    kernel: Kernel, scope: Scope, wishes: Sequence[ConfirmWish | Refusal]
) -> list[Outcome[Ledger]]:
    """The board confirms what is provisional and, by a standing that is up to date, met."""
    known = [w for w in wishes if isinstance(w, ConfirmWish)]
    ledgers = await _ledgers(kernel, known)
    zones = await _zones(kernel, ledgers)
    standings = await current(kernel, list(dict.fromkeys(join_id(w.cohort_id, w.person_id) for w in known)))

    def request(wish: ConfirmWish) -> Request[CreditCommand] | Refusal:
        held = ledgers[stream_of(wish.person_id)].award(wish.cohort_id, wish.award_id)
        if held is None or not scope.sees_body(held.terms.body):
            return NOT_FOUND
        # The decider asks it of what is provisional alone: an award confirmed already is answered from the ledger,
        # and a row sent again with its first answer, whatever the facts have come to since.
        command = ConfirmAwards(
            cohort_id=wish.cohort_id,
            award_ids=(wish.award_id,),
            by="board",
            decided_on=wish.decided_on,
            today=civil_date(kernel.clock(), zones[_programme(held)]),
            objection=_unfit(standings.get(join_id(wish.cohort_id, wish.person_id)), wish.award_id),
        )
        return kernel.request(stream_of(wish.person_id), command, wish.command_id)

    return await kernel.execute(CREDIT, [w if isinstance(w, Refusal) else request(w) for w in wishes])


def _unfit(answer: Answer | None, award_id: str) -> Refusal | None:
    """Why the standing does not carry a confirmation; None when it does."""
    if answer is None or answer.pending:
        return STANDING_PENDING
    award = answer.standing.award(award_id)
    if award is None or not award.met:
        return NOT_MET
    return CREDITS_NOT_CONFIRMED if award.waits_for else None


async def decide_reviews(kernel: Kernel, scope: Scope, wishes: Sequence[ReviewWish | Refusal]) -> list[Outcome[Ledger]]:
    """The body lets a confirmed award stand, or revokes it."""
    ledgers = await _ledgers(kernel, [w for w in wishes if isinstance(w, ReviewWish)])
    zones = await _zones(kernel, ledgers)

    def request(wish: ReviewWish) -> Request[CreditCommand] | Refusal:
        held = ledgers[stream_of(wish.person_id)].award(wish.cohort_id, wish.award_id)
        if held is None or not scope.sees_body(held.terms.body):
            return NOT_FOUND
        command = DecideReview(
            cohort_id=wish.cohort_id,
            award_id=wish.award_id,
            review_id=wish.review_id,
            decision=wish.decision,
            reason_code=wish.reason_code,
            decided_on=wish.decided_on,
            today=civil_date(kernel.clock(), zones[_programme(held)]),
        )
        return kernel.request(stream_of(wish.person_id), command, wish.command_id)

    return await kernel.execute(CREDIT, [w if isinstance(w, Refusal) else request(w) for w in wishes])


async def _ledgers(kernel: Kernel, wishes: Sequence[ConfirmWish | ReviewWish]) -> dict[str, Ledger]:
    """The ledger of each person, as stored now: the scope of a decision must not rest on a view that lags."""
    states = await kernel.executor.states(CREDIT, [stream_of(w.person_id) for w in wishes])
    return {stream: ledger for stream, (_, ledger) in states.items()}


def _programme(held: LedgerAward) -> str:
    return f"{PROGRAMMES.category}-{join_id(held.terms.programme_id, str(held.terms.programme_version))}"


async def _zones(kernel: Kernel, ledgers: dict[str, Ledger]) -> dict[str, str]:
    """The zone of every programme version that these ledgers name."""
    streams = {_programme(award) for ledger in ledgers.values() for award in ledger.awards}
    found = await kernel.reader.get(PROGRAMMES, sorted(streams))
    return {s: f.document.programme.zone if f.document is not None else DEFAULT_ZONE for s, f in found.items()}
