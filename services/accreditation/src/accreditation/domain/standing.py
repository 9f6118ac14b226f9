"""A learner's standing on one enrolment: which awards are met, why or why not, and what the ledger makes of them.

Pure: facts in, the standing and at most one command to the ledger out. Nothing here depends on the order in which the
facts came.

Who can be awarded: a learner who has, or had, a place on the cohort. After a withdrawal only what is true of the days
before it counts, so a withdrawn learner keeps an award that was met by then, may even be given one when the facts of
those days arrive late, and earns nothing afterwards. Credits held from elsewhere are the person's, not the
enrolment's: they count without regard to the withdrawal.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from accreditation.domain import credit
from accreditation.domain.assessment import Assessments
from accreditation.domain.civil import day_after, day_before, last_day
from accreditation.domain.credit import (
    UNRANKED,
    AwardTerms,
    Credit,
    Earned,
    Frozen,
    Ledger,
    LedgerAward,
    Lost,
    Revocation,
    SettleAwards,
)
from accreditation.domain.facts import Cut, EnrolmentRecord, EnrolmentStatus, LearnerFacts, current, evidence_as_of
from accreditation.domain.rules import (
    Attendance,
    CohortSession,
    Explanation,
    HeldCredit,
    Meeting,
    Missing,
    Passed,
    RuleFacts,
    UnscheduledUnit,
    Window,
    explain,
)
from catalogue.ids import join_id
from catalogue.model import Award, MeetingsHeld, Programme, Rule, children, rule_version

StandingState: TypeAlias = Literal[
    "not-met", "pending", "provisional", "confirmed", "under-review", "capped", "revoked", "held-from-another-cohort"
]
CertificateState: TypeAlias = Literal["not-due", "due", "blocked"]

SETTLED: Final = frozenset({"provisional", "confirmed", "capped", "held-from-another-cohort"})  # met, and dealt with
STANDS: Final = frozenset({"confirmed", "under-review"})  # until the awarding body has decided, it stands


class Certificate(Frozen):
    """`reason_code` is empty when a certificate is due and nothing stands in its way."""

    state: CertificateState
    reason_code: str = ""
    reason: str = ""


class AwardStanding(Frozen):
    """One award of the programme. `met` is what the explanation says; `state` is what the ledger made of it.

    `waits_for`: what must come before its confirmation, whoever confirms it. `revocation`: of an award that is
    revoked, or that was when it was earned again.
    """

    award_id: str
    title: str
    kind: Literal["completion", "credit"]
    credit: Credit | None
    met: bool
    state: StandingState
    explanation: Explanation
    certificate: Certificate
    review_id: str | None = None
    held_from: str | None = None
    waits_for: tuple[Missing, ...] = ()
    revocation: Revocation | None = None


class Standing(Frozen):
    """`whole` is False while the enrolment, its cohort or its programme is not known here yet: then nothing is decided.

    Credits are those of this programme, from whatever cohort.
    """

    cohort_id: str
    person_id: str
    whole: bool
    programme: str = ""
    body: str = ""
    enrolment: EnrolmentStatus | None = None
    awards: tuple[AwardStanding, ...] = ()
    credits_provisional: Decimal = Decimal(0)
    credits_confirmed: Decimal = Decimal(0)

    def award(self, award_id: str) -> AwardStanding | None:
        return next((each for each in self.awards if each.award_id == award_id), None)


def standing(facts: LearnerFacts, today: date) -> Standing:
    """The standing on these facts, on the civil date `today` in the programme's zone.

    `today` bears on what is still possible and on who is enrolled, on nothing else: a withdrawal to come has not come.
    "As of" an earlier time it is this function over fewer facts (`facts.as_of`).
    """
    enrolment, cohort, programme = facts.enrolment, facts.cohort, facts.programme
    bare = Standing(cohort_id=facts.cohort_id, person_id=facts.person_id, whole=False)
    if enrolment is None:
        return bare
    enrolment = enrolment.on(today)
    bare = bare.model_copy(update={"programme": enrolment.programme, "enrolment": enrolment.status})
    if cohort is None or programme is None:
        return bare
    scheme, ledger = programme.programme, facts.ledger
    found = rule_facts(facts, enrolment, today)
    awards = tuple(_award(award, scheme, facts, enrolment, found) for award in scheme.awards)
    mine = [each for each in ledger.live() if each.terms.programme_id == scheme.id]
    return bare.model_copy(
        update={
            "whole": True,
            "body": body_of(scheme),
            "awards": awards,
            "credits_provisional": sum((a.credits for a in mine if a.state == "provisional"), Decimal(0)),
            "credits_confirmed": sum((a.credits for a in mine if a.state in STANDS), Decimal(0)),
        }
    )


def settlement(facts: LearnerFacts, found: Standing, today: date) -> SettleAwards | None:
    """What the ledger is told, or None when it would change nothing."""
    programme = facts.programme
    if not found.whole or programme is None:
        return None
    scheme = programme.programme
    earned: list[Earned] = []
    lost: list[Lost] = []
    for award, said in zip(scheme.awards, found.awards, strict=True):
        # Only what the ledger could act on: most looks find nothing, and trees are long.
        if said.met and said.state not in SETTLED:
            earned.append(_earned(award, facts, scheme, said.explanation))
        elif not said.met and said.state in ("provisional", "confirmed"):
            lost.append(_lost(said.explanation, award.id))
    command = SettleAwards(
        cohort_id=facts.cohort_id,
        credit_cap=scheme.credit_cap,
        earned=tuple(earned),
        lost=tuple(lost),
        today=today,
    )
    return command if credit.settle(command, facts.ledger) else None


def confirmable(facts: LearnerFacts, found: Standing) -> tuple[str, ...]:
    """Provisional awards that are still met, wait for nothing, and may be confirmed without a board."""
    held = {each.terms.award_id: each for each in facts.ledger.awards if each.terms.cohort_id == facts.cohort_id}
    return tuple(
        each.award_id
        for each in found.awards
        if each.met and each.state == "provisional" and not each.waits_for and not held[each.award_id].board_decides
    )


def look_again_on(facts: LearnerFacts, today: date) -> date | None:
    """The next civil date on which time alone changes the standing.

    A register falls due, a window closes, a place or a withdrawal that was told ahead comes.
    """
    if facts.enrolment is None or facts.cohort is None or facts.programme is None:
        return None
    window = _window(facts, facts.enrolment)
    days = {session.on for session in facts.cohort.sessions().values() if not session.cancelled}
    days |= {window.last} if window is not None else set()
    if facts.match is not None and facts.match.matched_on is not None:
        matched_on = facts.match.matched_on
        days |= {last_day(matched_on, months) for months in _meeting_months(facts.programme.programme)}
    ahead = {each.on for each in facts.enrolment.statuses if each.on > today}
    ahead |= {day_after(day) for day in days if day >= today}
    return min((day for day in ahead if day > today), default=None)


def _meeting_months(programme: Programme) -> set[int]:
    """The months from a match that any rule names."""

    def months(rule: Rule) -> set[int]:
        own = {rule.within_months} if isinstance(rule, MeetingsHeld) and rule.within_months is not None else set()
        return own.union(*(months(child) for child in children(rule)))

    return set().union(*(months(award.rule) for award in programme.awards))


def body_of(programme: Programme) -> str:
    """Who answers for the programme's awards: its awarding body or, where it names none, its owner."""
    return (programme.awarding_body or programme.owner).id


# One award


def _award(
    award: Award, programme: Programme, facts: LearnerFacts, enrolment: EnrolmentRecord, found: RuleFacts
) -> AwardStanding:
    ledger = facts.ledger
    own_left_out = tuple(each for each in found.credits if (each.programme, each.award) != (programme.id, award.id))
    found = replace(found, credits=own_left_out)
    tree = explain(award.rule, programme, found)
    if enrolment.placed_on is None:
        tree = _without_a_place(tree, enrolment.status)
    held = ledger.award(facts.cohort_id, award.id)
    state, twin = _state(award, programme, facts, tree, held)
    revocation = held.revocation if held is not None else None
    return AwardStanding(
        award_id=award.id,
        title=award.title,
        kind=award.kind,
        credit=_credit(award),
        met=tree.satisfied,
        state=state,
        explanation=tree,
        certificate=_certificate(award, state, facts, revocation),
        waits_for=_waits_for(award, programme, ledger, found, tree) if state in ("pending", "provisional") else (),
        revocation=revocation,
        review_id=held.review_id if held is not None and held.state == "under-review" else None,
        held_from=twin.terms.cohort_id if twin is not None else None,
    )


def _state(
    award: Award, programme: Programme, facts: LearnerFacts, tree: Explanation, held: LedgerAward | None
) -> tuple[StandingState, LedgerAward | None]:
    """The award's state, and the award of another cohort that bars it."""
    if held is not None and held.live:
        return held.state, None
    if not tree.satisfied:
        return ("revoked" if held is not None else "not-met"), None
    place = credit.place(facts.ledger, _earned(award, facts, programme, tree), programme.credit_cap)
    match place.barred:
        case "cap":
            return "capped", None
        case "held-from-another-cohort":
            return "held-from-another-cohort", place.by
        case None:
            return "pending", None


def _waits_for(
    award: Award, programme: Programme, ledger: Ledger, found: RuleFacts, tree: Explanation
) -> tuple[Missing, ...]:
    """Credits that the award needs and that nobody has confirmed.

    It is earned on what is provisional, but a confirmation is never taken back by itself: were those credits to go,
    a qualification and its certificate would stand on nothing. Credits under review are not confirmed either: their
    body is about to decide.
    """
    confirmed = {each.made for each in ledger.awards if each.state == "confirmed"}
    firm, open_ = [], Decimal(0)
    for each in found.credits:
        if _ledger_version(each.event) in confirmed:
            firm.append(each)
        elif each.event in tree.counted:
            open_ += each.credits
    if not open_ or explain(award.rule, programme, replace(found, credits=tuple(firm))).satisfied:
        return ()
    words = f"credits that count and are not confirmed yet: {format(open_, 'f')}"
    return (Missing(code="credits-not-confirmed", text=words),)


def _without_a_place(tree: Explanation, status: EnrolmentStatus) -> Explanation:
    """Met or not, a rule gives nothing to a learner who never had a place."""
    place = Explanation(
        check="placed",
        id=None,
        title="A place on the cohort",
        satisfied=False,
        have=Decimal(0),
        need=Decimal(1),
        unit="places",
        counted=(),
        missing=(Missing(code="not-placed", text="the learner has no place on the cohort"),),
        possible=status in ("requested", "waiting"),
    )
    return Explanation(
        check="all-of",
        id=None,
        title="All of these",
        satisfied=False,
        have=Decimal(1 if tree.satisfied else 0),
        need=Decimal(2),
        unit="conditions",
        counted=tree.counted,
        missing=place.missing,
        possible=place.possible and tree.possible,
        children=(place, tree),
    )


def _certificate(award: Award, state: StandingState, facts: LearnerFacts, revocation: Revocation | None) -> Certificate:
    if not award.certificate:
        return Certificate(state="not-due", reason_code="no-certificate", reason="this award carries no certificate")
    if state == "under-review":
        words = "the award is under review by the awarding body"
        return Certificate(state="blocked", reason_code="under-review", reason=words)
    if state == "revoked" and revocation is not None:
        when = f" on {revocation.on}" if revocation.on is not None else ""
        words = f"the awarding body revoked the award{when}: {revocation.reason_code}"
        return Certificate(state="not-due", reason_code="revoked", reason=words)
    if state != "confirmed":
        return Certificate(state="not-due", reason_code="not-confirmed", reason="the award is not confirmed")
    if facts.person is not None and facts.person.erased:
        words = "the learner was erased, and no certificate is issued without its holder's name"
        return Certificate(state="blocked", reason_code="holder-erased", reason=words)
    if facts.person is None or not facts.person.named:
        words = "the learner's name is not on file: have it registered"
        return Certificate(state="blocked", reason_code="no-name", reason=words)
    return Certificate(state="due")


def _credit(award: Award) -> Credit | None:
    worth = award.credit
    if worth is None:
        return None
    return Credit(
        credits=worth.credits,
        scheme=worth.scheme,
        level=worth.level,
        ects=worth.ects,
        transferable=worth.transferable,
    )


def _earned(award: Award, facts: LearnerFacts, programme: Programme, tree: Explanation) -> Earned:
    assert facts.cohort is not None  # a standing that is not whole has no awards
    terms = AwardTerms(
        cohort_id=facts.cohort_id,
        award_id=award.id,
        programme_id=programme.id,
        programme_version=programme.version,
        rule_version=rule_version(award),
        title=award.title,
        kind=award.kind,
        credit=_credit(award),
        owner=programme.owner.id,
        body=body_of(programme),
        confirmation=award.confirmation,
        certificate=award.certificate,
        rank=award.rank if award.rank is not None else UNRANKED,
        cohort_starts_on=facts.cohort.starts_on,
    )
    ledger_facts = f"{credit.CATEGORY}-{facts.person_id}@"
    rests_on = tuple(_ledger_version(each) for each in tree.counted if each.startswith(ledger_facts))
    return Earned(terms=terms, tree=tree.model_dump_json(), rests_on=rests_on)


def _ledger_version(event: str) -> int:
    """Of a fact of the ledger, `credit-<person>@<version>`."""
    return int(event.rpartition("@")[2])


def _lost(tree: Explanation, award_id: str) -> Lost:
    return Lost(award_id=award_id, basis=_basis(tree), tree=tree.model_dump_json())


def _basis(tree: Explanation) -> str:
    """Names what counted at every node, and nothing that time alone changes: what a body upheld, it upheld on this."""

    def nodes(node: Explanation) -> list[object]:
        return [node.check, str(node.have), str(node.need), *node.counted, *(nodes(child) for child in node.children)]

    return hashlib.sha256(json.dumps(nodes(tree)).encode()).hexdigest()[:16]


# From documents to what rules count


def rule_facts(facts: LearnerFacts, enrolment: EnrolmentRecord, today: date) -> RuleFacts:
    """What the rules may count of this enrolment; after a withdrawal only what is true of the days before it."""
    withdrawn_on = enrolment.withdrawn_on
    if withdrawn_on is not None:
        facts = evidence_as_of(facts, Cut(true_at=day_before(withdrawn_on)))
    marks = _current_marks(facts)
    sessions = facts.cohort.sessions() if facts.cohort is not None else {}
    assessed = facts.assessment.state() if facts.assessment is not None else Assessments()
    programme = facts.programme.programme if facts.programme is not None else None
    target = join_id(facts.cohort_id, facts.person_id)
    return RuleFacts(
        now=today,
        window=_window(facts, enrolment),
        sessions=tuple(
            CohortSession(
                id=each.session_id,
                unit_kind=each.unit_kind,
                on=each.on,
                minutes=each.minutes,
                module=each.module,
                cancelled=each.cancelled,
            )
            for each in sessions.values()
        ),
        attendances=tuple(each for each in marks if isinstance(each, Attendance)),
        unscheduled=tuple(each for each in marks if isinstance(each, UnscheduledUnit)),
        passed=tuple(
            Passed(f"assessment-{target}@{component.current.version}", name, component.current.carried_over)
            for name, component in assessed.components.items()
            if component.current is not None and component.current.result == "passed"
        ),
        exhausted=frozenset(
            each.id
            for each in (programme.assessments if programme is not None else ())
            if assessed.of(each.id).exhausted(each.max_attempts)
        ),
        meetings=tuple(
            Meeting(f"match-{target}@{each.version}", each.on)
            for each in (facts.match.meetings if facts.match is not None else ())
        ),
        matched_on=facts.match.matched_on if facts.match is not None else None,
        credits=tuple(
            HeldCredit(
                event=f"{credit.CATEGORY}-{facts.person_id}@{each.made}",
                programme=each.terms.programme_id,
                award=each.terms.award_id,
                credits=each.credits,
                level=each.terms.credit.level,
            )
            for each in facts.ledger.live()
            if each.terms.credit is not None
        ),
        placed_on=enrolment.placed_on,
        withdrawn_on=withdrawn_on,
    )


def _current_marks(facts: LearnerFacts) -> list[Attendance | UnscheduledUnit]:
    """The value that stands for each unit."""
    if facts.enrolment is None:
        return []
    target = join_id(facts.cohort_id, facts.person_id)
    found: list[Attendance | UnscheduledUnit] = []
    for mark in current(facts.enrolment.marks):
        event = f"enrolment-{target}@{mark.version}"
        unit = mark.unscheduled
        if unit is not None:
            found.append(
                UnscheduledUnit(
                    event=event,
                    unit_kind=unit.unit_kind,
                    on=unit.on,
                    state=mark.state,
                    minutes=mark.minutes,
                    excuse=mark.excuse,
                    attributes=unit.attributes,
                    length=unit.minutes,
                )
            )
        elif mark.session_id is not None:
            found.append(Attendance(event, mark.session_id, mark.state, mark.minutes, mark.excuse))
    return found


def _window(facts: LearnerFacts, enrolment: EnrolmentRecord) -> Window | None:
    """From the placing or the cohort's start, whichever is earlier, to the end of the longest duration.

    A learner placed late has missed what was held before, so sessions since the cohort's start stay in the sum; the
    months run from the later of the two.
    """
    if facts.cohort is None or facts.programme is None or enrolment.placed_on is None:
        return None
    starts_on, placed_on = facts.cohort.starts_on, enrolment.placed_on
    last = last_day(max(starts_on, placed_on), facts.programme.programme.duration.max_months)
    return Window(min(starts_on, placed_on), last)
