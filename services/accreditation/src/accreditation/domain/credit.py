"""The credit ledger: one stream per person, so that caps and "never counted twice" are one decision.

An evaluation says which awards of an enrolment are met and which are not; the ledger decides what follows. What is
provisional comes and goes with the facts. What is confirmed never goes by itself: a review opens, and the awarding
body decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import ClassVar, Final, Literal, TypeAlias, assert_never

from pydantic import BaseModel, ConfigDict

from accreditation.domain.limits import CREDIT_EVENTS_MAX
from accreditation.domain.looked_up import LOOKED_UP
from eventcore.decider import Command, Decider, Refusal
from eventcore.event import Event

CATEGORY = "credit"

AwardState: TypeAlias = Literal["provisional", "confirmed", "under-review", "revoked"]
ReviewOutcome: TypeAlias = Literal["upheld", "revoked", "restored"]
LIVE: Final[frozenset[AwardState]] = frozenset({"provisional", "confirmed", "under-review"})
# What LedgerAward says of its latest review.
REVIEW: Final = ("review_id", "review_basis", "review_opened_on", "review_outcome", "review_closed_on", "reason_code")
UNRANKED: Final = 1_000_000


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Credit(Frozen):
    """`credits` in the scheme's unit (CATS: one is ten notional hours); decimals, never floats."""

    credits: Decimal
    scheme: Literal["CATS"]
    level: int
    ects: Decimal
    transferable: bool


class AwardTerms(Frozen):
    """What is awarded, copied whole from the programme version, so that the ledger can be read alone.

    `body`: who answers for the award (the awarding body, or the owner where the programme names none). `rule_version`
    names the rule it was decided on. `rank` and `cohort_starts_on` settle who comes first; see `precedence`.
    """

    cohort_id: str
    award_id: str
    programme_id: str
    programme_version: int
    rule_version: str
    title: str
    kind: Literal["completion", "credit"]
    credit: Credit | None
    owner: str
    body: str
    confirmation: Literal["automatic", "board"]
    certificate: bool
    rank: int
    cohort_starts_on: date

    @property
    def precedence(self) -> tuple[int, date, str, str]:
        """The lower, the earlier in line: the stated rank, then the earlier cohort. Never the order of arrival."""
        return self.rank, self.cohort_starts_on, self.cohort_id, self.award_id


# Events


class AwardMade(Event):
    """Provisional. `tree` is the explanation it was decided on, as JSON."""

    stored_type: ClassVar[str] = "credit.award-made.v1"
    terms: AwardTerms
    made_on: date
    tree: str


class AwardConfirmed(Event):
    stored_type: ClassVar[str] = "credit.award-confirmed.v1"
    ends: ClassVar[bool] = True
    cohort_id: str
    award_id: str
    by: Literal["automatic", "board"]
    decided_on: date


class AwardTakenBack(Event):
    """A provisional award went: its rule is not met any more, or an award that comes first needs its place."""

    stored_type: ClassVar[str] = "credit.award-taken-back.v1"
    ends: ClassVar[bool] = True
    cohort_id: str
    award_id: str
    reason_code: Literal["not-met", "outranked", "held-from-another-cohort"]
    taken_on: date


class ReviewOpened(Event):
    """What a confirmed award rests on is gone. `basis` names what was found, `tree` shows it."""

    stored_type: ClassVar[str] = "credit.review-opened.v1"
    cohort_id: str
    award_id: str
    review_id: str
    basis: str
    opened_on: date
    tree: str


class ReviewClosed(Event):
    """By the awarding body (`upheld`, `revoked`), or by itself when the facts came back (`restored`)."""

    stored_type: ClassVar[str] = "credit.review-closed.v1"
    ends: ClassVar[bool] = True
    cohort_id: str
    award_id: str
    review_id: str
    outcome: ReviewOutcome
    reason_code: str
    decided_on: date


CreditEvent: TypeAlias = AwardMade | AwardConfirmed | AwardTakenBack | ReviewOpened | ReviewClosed


def effective_on(event: CreditEvent) -> date:
    """The civil date from which an event is true, whenever it was recorded."""
    match event:
        case AwardMade():
            return event.made_on
        case AwardConfirmed() | ReviewClosed():
            return event.decided_on
        case AwardTakenBack():
            return event.taken_on
        case ReviewOpened():
            return event.opened_on
        case _:
            assert_never(event)


# State


class Revocation(Frozen):
    """Why and when the awarding body revoked an award. `on` None: folded by a release that kept no date."""

    reason_code: str
    on: date | None


class LedgerAward(Frozen):
    """An award that the ledger holds. `made` is the version that made it: the fact other rules may count.

    `review_id` is the latest review, open while the state says so; `review_outcome` how it closed, `reason_code` why.
    `review_basis` is what it found: where the body upheld the award, it stands on that. What was revoked keeps its
    review while it is provisional again, so that no correction in between makes the body's decision forgotten.
    """

    terms: AwardTerms
    state: AwardState
    made: int
    made_on: date
    confirmed_on: date | None = None
    review_id: str | None = None
    review_basis: str | None = None
    review_opened_on: date | None = None
    review_outcome: ReviewOutcome | None = None
    review_closed_on: date | None = None
    reason_code: str | None = None

    @property
    def upheld(self) -> bool:
        return self.review_outcome == "upheld"

    @property
    def was_revoked(self) -> bool:
        """It is revoked, or it was when it was earned again and the body has not confirmed it since."""
        return self.review_outcome == "revoked" and self.state in ("revoked", "provisional")

    @property
    def revocation(self) -> Revocation | None:
        return Revocation(reason_code=self.reason_code or "", on=self.review_closed_on) if self.was_revoked else None

    @property
    def board_decides(self) -> bool:
        return self.was_revoked or self.terms.confirmation == "board"

    @property
    def key(self) -> tuple[str, str]:
        return self.terms.cohort_id, self.terms.award_id

    @property
    def credits(self) -> Decimal:
        return self.terms.credit.credits if self.terms.credit is not None else Decimal(0)

    @property
    def live(self) -> bool:
        return self.state in LIVE


class Ledger(Frozen):
    """One person's awards: those that live, and those the awarding body revoked."""

    version: int = 0
    awards: tuple[LedgerAward, ...] = ()
    reviews: int = 0

    def award(self, cohort_id: str, award_id: str) -> LedgerAward | None:
        return next((each for each in self.awards if each.key == (cohort_id, award_id)), None)

    def live(self) -> tuple[LedgerAward, ...]:
        return tuple(each for each in self.awards if each.live)


def evolve(ledger: Ledger, event: CreditEvent, version: int) -> Ledger:
    match event:
        case AwardMade():
            made = LedgerAward(terms=event.terms, state="provisional", made=version, made_on=event.made_on)
            before = ledger.award(*made.key)
            if before is not None and before.was_revoked:
                made = made.model_copy(update={name: getattr(before, name) for name in REVIEW})
            others = tuple(each for each in ledger.awards if each.key != made.key)
            return ledger.model_copy(update={"version": version, "awards": (*others, made)})
        case AwardTakenBack():
            held = ledger.award(event.cohort_id, event.award_id)
            if held is not None and held.was_revoked:
                return _changed(ledger, version, event, state="revoked")
            kept = tuple(each for each in ledger.awards if each is not held)
            return ledger.model_copy(update={"version": version, "awards": kept})
        case AwardConfirmed():
            return _changed(ledger, version, event, state="confirmed", confirmed_on=event.decided_on)
        case ReviewOpened():
            opened = ledger.model_copy(update={"reviews": ledger.reviews + 1})
            return _changed(
                opened,
                version,
                event,
                state="under-review",
                review_id=event.review_id,
                review_basis=event.basis,
                review_opened_on=event.opened_on,
                review_outcome=None,
                review_closed_on=None,
                reason_code=None,
            )
        case ReviewClosed():
            state = "revoked" if event.outcome == "revoked" else "confirmed"
            return _changed(
                ledger,
                version,
                event,
                state=state,
                review_outcome=event.outcome,
                review_closed_on=event.decided_on,
                reason_code=event.reason_code,
            )
        case _:
            assert_never(event)


def _changed(
    ledger: Ledger,
    version: int,
    event: AwardConfirmed | AwardTakenBack | ReviewOpened | ReviewClosed,
    **update: object,
) -> Ledger:
    """The ledger with one award changed. Total: "as of" replays may lack the event that made it."""
    key = (event.cohort_id, event.award_id)
    awards = tuple(each.model_copy(update=update) if each.key == key else each for each in ledger.awards)
    return ledger.model_copy(update={"version": version, "awards": awards})


# Who comes first


class Earned(Frozen):
    """An award whose rule is met. `rests_on`: the ledger versions of the awards whose credits its rule counted."""

    terms: AwardTerms
    tree: str
    rests_on: tuple[int, ...] = ()


class Lost(Frozen):
    """An award whose rule is not met. `basis` changes when, and only when, the facts that count do."""

    award_id: str
    basis: str
    tree: str


@dataclass(frozen=True)
class Place:
    """Whether an earned award finds its place: what bars it, and whose, or the awards that must give way."""

    barred: Literal["cap", "held-from-another-cohort"] | None = None
    by: LedgerAward | None = None
    outranked: tuple[LedgerAward, ...] = ()
    twins: tuple[LedgerAward, ...] = ()


def place(ledger: Ledger, earned: Earned, credit_cap: Decimal | None) -> Place:
    """Where an earned award stands among the awards of its programme.

    The same award of a programme counts once, whatever the cohort and the version; the credits of a programme never
    exceed its cap. An award gives way only while it is provisional and comes later by `precedence`: so the awards
    that live in the end do not depend on which came first. It never gives way to one that its own credits earned,
    which would take itself back in turn, for ever.
    """
    mine = earned.terms
    rivals = [
        each
        for each in ledger.live()
        if each.terms.programme_id == mine.programme_id and each.key != (mine.cohort_id, mine.award_id)
    ]

    def stays(rival: LedgerAward) -> bool:
        earlier = rival.terms.precedence < mine.precedence
        return earlier or rival.state != "provisional" or rival.made in earned.rests_on

    twins = [each for each in rivals if each.terms.award_id == mine.award_id]
    for twin in twins:
        if stays(twin):
            return Place(barred="held-from-another-cohort", by=twin)
    if credit_cap is None or mine.credit is None:
        return Place(twins=tuple(twins))
    room = credit_cap - mine.credit.credits - _credits(each for each in rivals if stays(each))
    if room < 0:
        return Place(barred="cap")
    outranked = []
    for rival in sorted((r for r in rivals if not stays(r) and r not in twins), key=lambda r: r.terms.precedence):
        if rival.credits <= room:
            room -= rival.credits
        else:
            outranked.append(rival)
    return Place(outranked=tuple(outranked), twins=tuple(twins))


def _credits(awards: Iterable[LedgerAward]) -> Decimal:
    return sum((each.credits for each in awards), Decimal(0))


# Commands


class SettleAwards(Command):
    """What one enrolment's rules come to: from an evaluation, never from a person. `today` in the programme's zone."""

    cohort_id: str
    credit_cap: Decimal | None
    earned: tuple[Earned, ...]
    lost: tuple[Lost, ...]
    today: date


class ConfirmAwards(Command):
    """`decided_on` None: today. `objection`: what the standings have against confirming what is provisional."""

    cohort_id: str
    award_ids: tuple[str, ...]
    by: Literal["automatic", "board"]
    decided_on: date | None
    today: date = LOOKED_UP
    objection: Refusal | None = LOOKED_UP


class DecideReview(Command):
    """Of the review named, and of no later one: the body decides on what it saw. `decided_on` None: today."""

    cohort_id: str
    award_id: str
    review_id: str
    decision: Literal["upheld", "revoked"]
    reason_code: str
    decided_on: date | None
    today: date = LOOKED_UP


CreditCommand: TypeAlias = SettleAwards | ConfirmAwards | DecideReview


def decide(command: CreditCommand, ledger: Ledger, now: datetime) -> Sequence[CreditEvent] | Refusal:
    match command:
        case SettleAwards():
            return settle(command, ledger)
        case ConfirmAwards():
            return _confirm(command, ledger)
        case DecideReview():
            return _decide_review(command, ledger)
        case _:
            assert_never(command)


def settle(command: SettleAwards, ledger: Ledger) -> list[CreditEvent]:
    """What is lost goes first and makes room; what is earned then finds its place, the first in line first."""
    events: list[CreditEvent] = []

    def note(*noted: CreditEvent) -> None:
        nonlocal ledger
        for event in noted:
            ledger = evolve(ledger, event, ledger.version + 1)
            events.append(event)

    for lost in command.lost:
        note(*_lose(command, lost, ledger))
    for earned in sorted(command.earned, key=lambda each: each.terms.precedence):
        note(*_earn(command, earned, ledger))
    return events


def _lose(command: SettleAwards, lost: Lost, ledger: Ledger) -> list[CreditEvent]:
    held = ledger.award(command.cohort_id, lost.award_id)
    if held is None:
        return []
    if held.state == "provisional":
        return [_taken_back(held, "not-met", command.today)]
    # What the body upheld stands until other facts go as well; without this its decision would be asked for again
    # at every look.
    if held.state == "confirmed" and not (held.upheld and held.review_basis == lost.basis):
        opened = ReviewOpened(
            cohort_id=command.cohort_id,
            award_id=lost.award_id,
            review_id=f"review-{ledger.reviews + 1}",
            basis=lost.basis,
            opened_on=command.today,
            tree=lost.tree,
        )
        return [opened]
    return []


def _earn(command: SettleAwards, earned: Earned, ledger: Ledger) -> list[CreditEvent]:
    terms = earned.terms
    held = ledger.award(terms.cohort_id, terms.award_id)
    if held is not None and held.state == "under-review" and held.review_id is not None:
        closed = ReviewClosed(
            cohort_id=terms.cohort_id,
            award_id=terms.award_id,
            review_id=held.review_id,
            outcome="restored",
            reason_code="facts-restored",
            decided_on=command.today,
        )
        return [closed]
    if held is not None and held.live:
        return []
    found = place(ledger, earned, command.credit_cap)
    if found.barred is not None:
        return []
    if held is not None:
        # The awarding body revoked it once: what comes back is for the body to confirm, not for a machine.
        terms = terms.model_copy(update={"confirmation": "board"})
    return [
        *(_taken_back(twin, "held-from-another-cohort", command.today) for twin in found.twins),
        *(_taken_back(rival, "outranked", command.today) for rival in found.outranked),
        AwardMade(terms=terms, made_on=command.today, tree=earned.tree),
    ]


def _taken_back(
    held: LedgerAward, reason: Literal["not-met", "outranked", "held-from-another-cohort"], today: date
) -> AwardTakenBack:
    cohort_id, award_id = held.key
    return AwardTakenBack(cohort_id=cohort_id, award_id=award_id, reason_code=reason, taken_on=today)


def _confirm(command: ConfirmAwards, ledger: Ledger) -> Sequence[CreditEvent] | Refusal:
    decided_on = _decided_on(command)
    if isinstance(decided_on, Refusal):
        return decided_on
    events: list[CreditEvent] = []
    for award_id in command.award_ids:
        held = ledger.award(command.cohort_id, award_id)
        if held is None or held.state in ("under-review", "revoked"):
            state = "not held" if held is None else held.state
            return Refusal("not-provisional", f"{award_id} is {state}: only a provisional award is confirmed")
        if held.state == "confirmed":
            continue
        if command.objection is not None:
            return command.objection
        if command.by == "automatic" and held.board_decides:
            return Refusal("board-decides", f"{award_id} waits for its awarding body")
        if decided_on < held.made_on:
            return Refusal(
                "decided-before-made",
                f"{award_id} was made on {held.made_on}: name that date or a later one",
                (("decided_on", f"must not be before {held.made_on}"),),
            )
        events.append(
            AwardConfirmed(cohort_id=command.cohort_id, award_id=award_id, by=command.by, decided_on=decided_on)
        )
    return events


def _decided_on(command: ConfirmAwards | DecideReview) -> date | Refusal:
    """The decision's civil date, which nobody names ahead."""
    today = command.today
    if command.decided_on is not None and command.decided_on > today:
        return Refusal("date-in-future", f"today is {today}: name it or leave it out", (("decided_on", "is to come"),))
    return command.decided_on or today


def _decide_review(command: DecideReview, ledger: Ledger) -> Sequence[CreditEvent] | Refusal:
    decided_on = _decided_on(command)
    if isinstance(decided_on, Refusal):
        return decided_on
    held = ledger.award(command.cohort_id, command.award_id)
    named = held is not None and held.review_id == command.review_id
    if held is not None and named and held.state == "under-review":
        opened_on = held.review_opened_on
        if opened_on is not None and decided_on < opened_on:
            return Refusal(
                "decided-before-opened",
                f"the review was opened on {opened_on}: name that date or a later one",
                (("decided_on", f"must not be before {opened_on}"),),
            )
        closed = ReviewClosed(
            cohort_id=command.cohort_id,
            award_id=command.award_id,
            review_id=command.review_id,
            outcome=command.decision,
            reason_code=command.reason_code,
            decided_on=decided_on,
        )
        return [closed]
    if held is not None and named and held.review_outcome == command.decision:
        return []
    return Refusal("review-not-open", "this review is not open: look at the award's standing")


CREDIT: Decider[Ledger, CreditCommand, CreditEvent] = Decider(
    category=CATEGORY,
    events=(AwardMade, AwardConfirmed, AwardTakenBack, ReviewOpened, ReviewClosed),
    initial=Ledger(),
    evolve=evolve,
    decide=decide,
    events_max=CREDIT_EVENTS_MAX,
)
