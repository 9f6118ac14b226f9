"""Rules over facts, explained: the same tree with, at each node, how much of how much, by which facts, what is missing.

Pure: what was known on a date, and what was true on it, is this function over fewer facts. The tree both decides an
award and answers "why?", so the learner sees what decided, never a second telling of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal, TypeAlias, assert_never

from pydantic import BaseModel, ConfigDict

from accreditation.domain.civil import last_day
from catalogue.model import (
    AllOf,
    Always,
    AnyOf,
    AssessmentPassed,
    AtLeast,
    Attended,
    CreditsHeld,
    MeetingsHeld,
    Programme,
    Rule,
    ShareOfSessions,
    Treatment,
    UnitKind,
)

AttendanceState: TypeAlias = Literal["present", "late", "partial", "excused", "absent"]

_TEN_THOUSAND: Final = 10_000


@dataclass(frozen=True, slots=True)
class CohortSession:
    """A session of the learner's cohort. A cancelled one can neither be attended nor missed."""

    id: str
    unit_kind: str
    on: date
    minutes: int
    module: str | None = None
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Attendance:
    """The current mark of one session. `event` is `<stream>@<version>`; minutes were attended, for partial."""

    event: str
    session: str
    state: AttendanceState
    minutes: int | None = None
    excuse: str | None = None


@dataclass(frozen=True, slots=True)
class UnscheduledUnit:
    """The current state of one unit that its own record created: a coaching session, a placement.

    `minutes` were attended, for partial; `length` is the unit's own, None: its kind's.
    """

    event: str
    unit_kind: str
    on: date
    state: AttendanceState
    module: str | None = None
    minutes: int | None = None
    excuse: str | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """A component passed, here or, carried over, in an earlier presentation."""

    event: str
    component: str
    carried_over: bool = False


@dataclass(frozen=True, slots=True)
class Meeting:
    """A mentoring meeting that both sides confirmed."""

    event: str
    on: date


@dataclass(frozen=True, slots=True)
class HeldCredit:
    """Credit the person holds from an award. The award being decided is left out by whoever collects the facts."""

    event: str
    programme: str
    award: str
    credits: Decimal
    level: int


@dataclass(frozen=True, slots=True)
class Window:
    """Civil dates, both included."""

    first: date
    last: date

    def holds(self, day: date) -> bool:
        return self.first <= day <= self.last


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """All that one learner's rules may count; nothing else decides.

    `window`: what is dated outside it neither counts nor is missed. `matched_on`: start of the mentoring match.
    `exhausted`: components with no attempt left. `placed_on`, `withdrawn_on`: the days from which the learner has a
    place (None: none yet) and no longer has it (None: still); after a withdrawal nothing more can come but registers
    of the days before. `now`: the civil date in the programme's zone; it bears on what is still possible, never on
    what counts.
    Raises ValueError when a session has two current marks: whoever collects the facts folds corrections first.
    """

    now: date
    window: Window | None = None
    sessions: tuple[CohortSession, ...] = ()
    attendances: tuple[Attendance, ...] = ()
    unscheduled: tuple[UnscheduledUnit, ...] = ()
    passed: tuple[Passed, ...] = ()
    exhausted: frozenset[str] = frozenset()
    meetings: tuple[Meeting, ...] = ()
    matched_on: date | None = None
    credits: tuple[HeldCredit, ...] = ()
    placed_on: date | None = None
    withdrawn_on: date | None = None

    def __post_init__(self) -> None:
        # Counting one session twice would earn an award with half the attendance.
        if len({each.session for each in self.attendances}) != len(self.attendances):
            raise ValueError("a session has two current marks")
        if len({each.id for each in self.sessions}) != len(self.sessions):
            raise ValueError("a session is listed twice")

    @property
    def ended(self) -> bool:
        return self.withdrawn_on is not None

    def enrolled_on(self, day: date) -> bool:
        """Whether a register of that day may name the learner: enrolment refuses every other."""
        placed = self.placed_on is not None and self.placed_on <= day
        return placed and (self.withdrawn_on is None or day < self.withdrawn_on)

    def may_be_marked_on(self, day: date) -> bool:
        """The same, or it may yet be so: from which day on a place will be given, nobody knows."""
        return self.enrolled_on(day) or (self.placed_on is None and not self.ended)


class Missing(BaseModel):
    """One thing that is missing: a stable code, and the words for the learner."""

    model_config = ConfigDict(frozen=True)

    code: str
    text: str


class Explanation(BaseModel):
    """One node of a rule, decided: satisfied exactly when `have` >= `need`, both in `unit`.

    `counted` are the ids of the events that count, in order; with them alone the node is satisfied as well. `possible`
    is true while facts still to come can satisfy it (a correction of what is marked is not foreseen).
    """

    model_config = ConfigDict(frozen=True)

    check: str
    id: str | None
    title: str
    satisfied: bool
    have: Decimal
    need: Decimal
    unit: str
    counted: tuple[str, ...]
    missing: tuple[Missing, ...]
    possible: bool
    children: tuple[Explanation, ...] = ()


def explain(rule: Rule, programme: Programme, facts: RuleFacts) -> Explanation:
    """Decides the rule on the facts. Total: any programme without faults and any facts give an explanation."""
    match rule:
        case AllOf():
            return _group(rule, len(rule.of), "All of these", rule.of, programme, facts)
        case AnyOf():
            return _group(rule, 1, "Any of these", rule.of, programme, facts)
        case AtLeast():
            return _group(rule, rule.at_least, f"At least {rule.at_least} of these", rule.of, programme, facts)
        case Attended():
            return _attended(rule, programme, facts)
        case ShareOfSessions():
            return _share(rule, programme, facts)
        case MeetingsHeld():
            return _meetings(rule, facts)
        case AssessmentPassed():
            return _assessment(rule, programme, facts)
        case CreditsHeld():
            return _credits(rule, facts)
        case Always():
            return _node(rule, "No condition", have=Fraction(0), need=Decimal(0), unit="conditions")
        case _:
            assert_never(rule)


def _node(
    rule: Rule,
    words: str,
    *,
    have: Fraction,
    need: Decimal,
    unit: str,
    counted: Iterable[str] = (),
    missing: Iterable[Missing] = (),
    possible: bool = True,
    children: tuple[Explanation, ...] = (),
) -> Explanation:
    satisfied = have >= Fraction(need)
    lacking = () if satisfied else tuple(missing)
    if not satisfied and not possible:
        lacking = (*lacking, Missing(code="no-longer-possible", text="this can no longer be reached"))
    return Explanation(
        check=rule.check,
        id=rule.id,
        title=rule.title or words,
        satisfied=satisfied,
        have=_decimal(have),
        need=need,
        unit=unit,
        counted=tuple(sorted(set(counted))),
        missing=lacking,
        possible=satisfied or possible,
        children=children,
    )


def _decimal(value: Fraction) -> Decimal:
    """To four places, downwards. A need has at most four, so rounding never turns a "no" into a "yes", nor back."""
    return Decimal(_plain(Decimal(value.numerator * _TEN_THOUSAND // value.denominator) / _TEN_THOUSAND))


def _plain(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _more(have: Fraction, need: Decimal, one: str, many: str) -> str:
    short = need - _decimal(have)
    return f"{_plain(short)} more {one if short == 1 else many}"


# Groups


def _group(
    rule: Rule, need: int, words: str, of: tuple[Rule, ...], programme: Programme, facts: RuleFacts
) -> Explanation:
    children = tuple(explain(each, programme, facts) for each in of)
    have = Fraction(sum(child.satisfied for child in children))
    # What satisfied it, or, while nothing does, all that was done towards it.
    counting = [child for child in children if child.satisfied] if have >= need else children
    return _node(
        rule,
        words,
        have=have,
        need=Decimal(need),
        unit="conditions",
        counted=(event for child in counting for event in child.counted),
        missing=[
            Missing(code="conditions-short", text=_more(have, Decimal(need), "of the conditions", "of the conditions"))
        ],
        possible=sum(child.possible for child in children) >= need,
        children=children,
    )


# Attendance


def _worth(
    treatment: Treatment,
    programme: Programme,
    state: AttendanceState,
    *,
    attended: int | None,
    scheduled: int | None,
    excuse: str | None,
) -> Fraction | None:
    """What one mark is worth, 0 to 1 unit; None when the unit leaves the denominator."""
    match state:
        case "present":
            return Fraction(1)
        case "late":
            return Fraction(treatment.late == "counts")
        case "absent":
            return Fraction(0)
        case "partial":
            return _partial(treatment, attended or 0, scheduled)
        case "excused":
            treated = treatment.excused
            if treated == "by-code":
                code = programme.excuse(excuse) if excuse is not None else None
                treated = "absent" if code is None else code.treatment
            return None if treated == "leaves-denominator" else Fraction(treated == "counts")
        case _:
            assert_never(state)


def _partial(treatment: Treatment, attended: int, scheduled: int | None) -> Fraction:
    if treatment.threshold_minutes is not None:
        return Fraction(treatment.partial == "threshold" and attended >= treatment.threshold_minutes)
    # A unit without a stated length cannot be measured; the catalogue refuses the rules that would need to.
    share = min(Fraction(max(attended, 0), scheduled), Fraction(1)) if scheduled else Fraction(0)
    match treatment.partial:
        case "proportional":
            return share
        case "threshold":
            return Fraction(treatment.threshold_share is not None and share >= Fraction(treatment.threshold_share))
        case "not":
            return Fraction(0)
        case _:
            assert_never(treatment.partial)


@dataclass(frozen=True, slots=True)
class _Tally:
    """Sessions of one rule: the sum of their worth, how many are the whole, how many may yet be marked, who counted."""

    have: Fraction
    whole: int
    unmarked: int
    overdue: int
    counted: tuple[str, ...]
    excused: tuple[str, ...]


def _sessions(
    treatment: Treatment, programme: Programme, facts: RuleFacts, unit_kind: str | None, module: str | None
) -> _Tally:
    marks: Mapping[str, Attendance] = {each.session: each for each in facts.attendances}
    have, whole, unmarked, overdue = Fraction(0), 0, 0, 0
    counted: list[str] = []
    excused: list[str] = []
    for session in facts.sessions:
        if session.cancelled or unit_kind not in (None, session.unit_kind) or module not in (None, session.module):
            continue
        if facts.window is not None and not facts.window.holds(session.on):
            continue
        whole += 1
        mark = marks.get(session.id)
        if mark is None:
            unmarked += facts.may_be_marked_on(session.on)
            overdue += facts.enrolled_on(session.on) and session.on < facts.now
            continue
        worth = _worth(
            treatment, programme, mark.state, attended=mark.minutes, scheduled=session.minutes, excuse=mark.excuse
        )
        if worth is None:
            whole -= 1
            excused.append(mark.event)
        elif worth > 0:
            have += worth
            counted.append(mark.event)
    return _Tally(have, whole, unmarked, overdue, tuple(counted), tuple(excused))


def _units(rule: Attended, programme: Programme, kind: UnitKind, facts: RuleFacts) -> tuple[Fraction, list[str]]:
    have, counted = Fraction(0), []
    wanted = {(where.attribute, where.value) for where in rule.where}
    for unit in facts.unscheduled:
        if unit.unit_kind != kind.id or rule.module not in (None, unit.module) or not wanted <= set(unit.attributes):
            continue
        if facts.window is not None and not facts.window.holds(unit.on):
            continue
        length = unit.length or kind.minutes
        worth = _worth(
            rule.treatment, programme, unit.state, attended=unit.minutes, scheduled=length, excuse=unit.excuse
        )
        if worth:
            have += worth
            counted.append(unit.event)
    return have, counted


def _open(facts: RuleFacts) -> bool:
    return not facts.ended and (facts.window is None or facts.now <= facts.window.last)


def _attended(rule: Attended, programme: Programme, facts: RuleFacts) -> Explanation:
    kind = programme.unit_kind(rule.unit_kind)
    one, many = (kind.unit, kind.units) if kind is not None else ("unit", "units")
    need = Decimal(rule.at_least)
    words = f"{kind.title if kind is not None else rule.unit_kind}: at least {rule.at_least}"
    if kind is not None and kind.kind == "unscheduled":
        have, counted = _units(rule, programme, kind, facts)
        missing = [Missing(code="units-short", text=_more(have, need, one, many))]
        return _node(
            rule, words, have=have, need=need, unit=many, counted=counted, missing=missing, possible=_open(facts)
        )
    tally = _sessions(rule.treatment, programme, facts, rule.unit_kind, rule.module)
    return _node(
        rule,
        words,
        have=tally.have,
        need=need,
        unit=many,
        counted=tally.counted,
        missing=_short_of_sessions("units-short", tally, need, one, many),
        possible=_sessions_possible(tally, need, facts),
    )


def _share(rule: ShareOfSessions, programme: Programme, facts: RuleFacts) -> Explanation:
    kind = programme.unit_kind(rule.unit_kind) if rule.unit_kind is not None else None
    one, many = (kind.unit, kind.units) if kind is not None else ("session", "sessions")
    tally = _sessions(rule.treatment, programme, facts, rule.unit_kind, rule.module)
    # Of no sessions at all every share is nothing: without this a cohort not yet scheduled would be satisfied.
    need = Decimal(_plain(rule.at_least * max(tally.whole, 1)))
    return _node(
        rule,
        f"At least {_plain(rule.at_least * 100)} % of the {many}",
        have=tally.have,
        need=need,
        unit=many,
        # An excuse that leaves the denominator lowers the need: without it the rest might no longer do.
        counted=(*tally.counted, *tally.excused),
        missing=_short_of_sessions("share-short", tally, need, one, many),
        possible=_sessions_possible(tally, need, facts),
    )


def _short_of_sessions(code: str, tally: _Tally, need: Decimal, one: str, many: str) -> list[Missing]:
    missing = [Missing(code=code, text=_more(tally.have, need, one, many))]
    if tally.overdue:
        words = f"{tally.overdue} {one if tally.overdue == 1 else many} held and not marked yet"
        missing.append(Missing(code="register-outstanding", text=words))
    return missing


def _sessions_possible(tally: _Tally, need: Decimal, facts: RuleFacts) -> bool:
    """Sessions to come, and held ones whose register is still due, may all yet be attended.

    Sessions outside the window are not in the tally, and of days without a place not unmarked: so a closed window and
    a withdrawal leave only registers that are due.
    """
    if not facts.sessions:
        return _open(facts)  # nothing is scheduled yet: nobody can say that it is too late
    return tally.have + tally.unmarked >= Fraction(need)


# The rest


def _meetings(rule: MeetingsHeld, facts: RuleFacts) -> Explanation:
    window = facts.window
    if rule.within_months is not None:
        start = facts.matched_on
        window = None if start is None else Window(start, last_day(start, rule.within_months))
    # Months from a match that is not made have not begun: nothing counts yet, everything is still possible.
    begun = rule.within_months is None or window is not None
    counting = [each for each in facts.meetings if begun and (window is None or window.holds(each.on))]
    have, need = Fraction(len(counting)), Decimal(rule.at_least)
    by = "" if window is None else f", by {window.last.isoformat()}"
    return _node(
        rule,
        f"At least {rule.at_least} mentoring meetings, each confirmed by both",
        have=have,
        need=need,
        unit="meetings",
        counted=(each.event for each in counting),
        missing=[Missing(code="meetings-short", text=_more(have, need, "meeting", "meetings") + by)],
        possible=not facts.ended and (window is None or facts.now <= window.last),
    )


def _assessment(rule: AssessmentPassed, programme: Programme, facts: RuleFacts) -> Explanation:
    assessment = programme.assessment(rule.component)
    title = rule.component if assessment is None else assessment.title
    passes = [each for each in facts.passed if each.component == rule.component]
    counting = [each for each in passes if rule.carried_over or not each.carried_over]
    missing = [Missing(code="assessment-not-passed", text=f"{title}: not passed yet")]
    if passes and not counting:
        missing.append(Missing(code="carried-over-not-counted", text="a pass carried over does not count here"))
    exhausted = rule.component in facts.exhausted
    if exhausted:
        missing.append(Missing(code="no-attempt-left", text=f"{title}: no attempt is left"))
    return _node(
        rule,
        f"{title}: passed",
        have=Fraction(1 if counting else 0),
        need=Decimal(1),
        unit="passes",
        counted=(each.event for each in counting),
        missing=missing,
        possible=not facts.ended and not exhausted,
    )


def _credits(rule: CreditsHeld, facts: RuleFacts) -> Explanation:
    named = {(each.programme, each.award) for each in rule.from_awards}
    counting = [each for each in facts.credits if not named or (each.programme, each.award) in named]
    floor, level = rule.of_which or Decimal(0), rule.level or 0
    high = sum((Fraction(each.credits) for each in counting if each.level >= level), Fraction(0))
    low = sum((Fraction(each.credits) for each in counting if each.level < level), Fraction(0))
    # Lower credits serve only for the part that need not be at the level, so that one figure says both conditions.
    have = high + min(low, Fraction(rule.at_least - floor))
    missing = [Missing(code="credits-short", text=_more(have, rule.at_least, "credit", "credits"))]
    if high < Fraction(floor):
        words = f"{_more(high, floor, 'credit', 'credits')} at level {level} or above"
        missing.append(Missing(code="credits-short-at-level", text=words))
    at_level = f", {_plain(floor)} of them at level {level} or above" if rule.of_which is not None else ""
    return _node(
        rule,
        f"At least {_plain(rule.at_least)} credits{at_level}",
        have=have,
        need=rule.at_least,
        unit="credits",
        counted=(each.event for each in counting),
        missing=missing,
        # Other programmes award credit at any time.
        possible=not facts.ended,
    )
