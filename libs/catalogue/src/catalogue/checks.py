"""What ties the fields of a programme together: references, sums, cycles, thresholds nobody can reach.

Enrolment runs these before it loads a version, the command line before anybody tries. They run on a file that has
other faults as well (`draft_faults`): what a faulty field leaves open is passed over, the rest is still said.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from functools import cache, partial
from typing import Final

from catalogue.cross_checks import cycles
from catalogue.fault import Check, Fault, Path, ids, items, known, run
from catalogue.model import (
    AssessmentPassed,
    Award,
    CreditsHeld,
    Mentoring,
    Part,
    Programme,
    Rule,
    TimetableSession,
    UnitKind,
)
from catalogue.rule_checks import guaranteed, node_ids, rule_checks, rule_size

_HOURS_PER_CREDIT: Final = 10


def faults(programme: Programme) -> list[Fault]:
    """Every fault of one programme that its types alone do not catch; empty when it may be loaded."""
    return run(_checks(programme), drafts=False)


def draft_faults(programme: Programme) -> list[Fault]:
    """As `faults`, on a draft some of whose attributes are missing because they have faults of their own."""
    return run(_checks(programme), drafts=True)


def _checks(programme: Programme) -> Iterator[Check]:
    yield partial(_programme, programme)
    yield partial(_zone, programme)
    for field in ("modules", "unit_kinds", "events", "timetable", "assessments", "excuse_codes", "awards"):
        yield partial(unique, (field,), programme, field)
    for i, kind in items(programme, "unit_kinds"):
        assert isinstance(kind, UnitKind)
        yield partial(_unit_kind, ("unit_kinds", i), kind)
        yield partial(unique, ("unit_kinds", i, "attributes"), kind, "attributes")
        for j, attribute in items(kind, "attributes"):
            yield partial(_unique_values, ("unit_kinds", i, "attributes", j, "values"), attribute)
    for i, session in items(programme, "timetable"):
        assert isinstance(session, TimetableSession)
        for check in (_session_kind, _session_event, _session_module, _session_day):
            yield partial(check, ("timetable", i), programme, session)
    yield partial(_mentoring, programme)
    for i, award in items(programme, "awards"):
        assert isinstance(award, Award)
        for award_check in (
            _credit_kind,
            _credit_ects,
            _credit_assessed,
            _credit_hours,
            _credit_cap,
            _awarding_body,
            _qualification,
            rule_size,
            node_ids,
        ):
            yield partial(award_check, ("awards", i), programme, award)
        if hasattr(award, "rule"):
            yield from rule_checks(("awards", i, "rule"), programme, award.rule)
    yield partial(_ranks, programme)
    yield partial(cycles, [programme], programme)


def _programme(programme: Programme) -> Iterator[Fault]:
    if programme.duration.min_months > programme.duration.max_months:
        yield Fault(("duration", "min_months"), "the shortest duration is longer than the longest", "duration-reversed")


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _zone(programme: Programme) -> Iterator[Fault]:
    if programme.zone not in _zones():
        message = f"{programme.zone!r} is not an IANA time zone; write one like Europe/London"
        yield Fault(("zone",), message, "unknown-zone")


def unique(path: Path, part: Part, field: str) -> Iterator[Fault]:
    seen: set[str] = set()
    for i, item in items(part, field):
        item_id = getattr(item, "id", None)
        if item_id in seen:
            yield Fault((*path, i, "id"), f"the id {item_id!r} is used twice; each names one thing", "duplicate-id")
        elif item_id is not None:
            seen.add(item_id)


def _unique_values(path: Path, attribute: Part) -> Iterator[Fault]:
    values: tuple[str, ...] = getattr(attribute, "values", ())
    for i, value in enumerate(values):
        if value in values[:i]:
            yield Fault((*path, i), f"the value {value!r} is listed twice", "duplicate-id")


def _unit_kind(path: Path, kind: UnitKind) -> Iterator[Fault]:
    if kind.kind != "scheduled":
        return
    if kind.minutes is not None:
        yield Fault(
            (*path, "minutes"),
            "a scheduled kind takes its length from each session; leave this out",
            "not-for-scheduled-units",
        )
    if kind.attributes:
        yield Fault(
            (*path, "attributes"),
            "only the records of an unscheduled kind state attributes; leave them out",
            "not-for-scheduled-units",
        )


def _session_kind(path: Path, programme: Programme, session: TimetableSession) -> Iterator[Fault]:
    yield from known(
        (*path, "unit_kind"), session.unit_kind, ids(programme.unit_kinds), "unit kind", "unknown-unit-kind"
    )
    kind = programme.unit_kind(session.unit_kind)
    if kind is not None and kind.kind == "unscheduled":
        message = f"{kind.id!r} is unscheduled: its records create it, so it is in no timetable"
        yield Fault((*path, "unit_kind"), message, "unscheduled-in-timetable")


def _session_event(path: Path, programme: Programme, session: TimetableSession) -> Iterator[Fault]:
    if session.event is not None:
        yield from known((*path, "event"), session.event, ids(programme.events), "event", "unknown-event")


def _session_module(path: Path, programme: Programme, session: TimetableSession) -> Iterator[Fault]:
    if session.module is not None:
        yield from known((*path, "module"), session.module, ids(programme.modules), "module", "unknown-module")


def _session_day(path: Path, programme: Programme, session: TimetableSession) -> Iterator[Fault]:
    # No month is longer than 31 days: a later day is outside the window wherever the cohort starts.
    if session.day > programme.duration.max_months * 31:
        message = f"day {session.day} is after the longest duration of {programme.duration.max_months} months"
        yield Fault((*path, "day"), message, "session-after-end")


def _mentoring(programme: Programme) -> Iterator[Fault]:
    mentoring: Mentoring | None = programme.mentoring
    if mentoring is not None and mentoring.choices > mentoring.shortlist:
        message = f"{mentoring.choices} choices cannot be made from a shortlist of {mentoring.shortlist}"
        yield Fault(("mentoring", "choices"), message, "impossible-threshold")


def _credit_kind(path: Path, programme: Programme, award: Award) -> Iterator[Fault]:
    if award.kind == "credit" and award.credit is None:
        message = "a credit award says what it is worth: add credit (credits, scheme, level, ects, transferable)"
        yield Fault((*path, "kind"), message, "credit-missing")
    if award.kind == "completion" and award.credit is not None:
        message = "completion is not credit: leave credit out, or make the award's kind credit"
        yield Fault((*path, "credit"), message, "credit-not-allowed")


def _credit_ects(path: Path, programme: Programme, award: Award) -> Iterator[Fault]:
    if award.credit is not None and award.credit.ects * 2 != award.credit.credits:
        message = f"{award.credit.credits} CATS credits are {award.credit.credits / 2} ECTS, not {award.credit.ects}"
        yield Fault((*path, "credit", "ects"), message, "ects-mismatch")


def _credit_assessed(path: Path, programme: Programme, award: Award) -> Iterator[Fault]:
    if award.kind == "credit" and not guaranteed(award.rule, lambda leaf: isinstance(leaf, AssessmentPassed)):
        message = (
            "this rule can be met without a passed assessment, and attendance never earns credit: "
            "put assessment-passed where every way through the rule needs it"
        )
        yield Fault((*path, "rule"), message, "credit-without-assessment")


def _credit_hours(path: Path, programme: Programme, award: Award) -> Iterator[Fault]:
    if award.credit is None or programme.notional_hours is None:
        return
    hours = award.credit.credits * _HOURS_PER_CREDIT
    if hours > programme.notional_hours:
        message = (
            f"{award.credit.credits} credits are {hours} notional hours; the programme has {programme.notional_hours}"
        )
        yield Fault((*path, "credit", "credits"), message, "notional-hours")


def _credit_cap(path: Path, programme: Programme, award: Award) -> Iterator[Fault]:
    if award.credit is not None and programme.credit_cap is not None and award.credit.credits > programme.credit_cap:
        message = f"{award.credit.credits} credits are above the programme's cap of {programme.credit_cap}"
        yield Fault((*path, "credit", "credits"), message, "above-credit-cap")


def _awarding_body(path: Path, programme: Programme, award: Award) -> Iterator[Fault]:
    if programme.awarding_body is not None:
        return
    if award.kind == "credit":
        yield Fault((*path, "kind"), "credit needs the programme's awarding_body", "awarding-body-missing")
    if award.confirmation == "board":
        yield Fault((*path, "confirmation"), "a board needs the programme's awarding_body", "awarding-body-missing")


def _qualification(path: Path, programme: Programme, award: Award) -> Iterator[Fault]:
    claimed = award.qualification
    if claimed is None:
        return
    if claimed.of_which > claimed.credits:
        message = f"{claimed.of_which} of {claimed.credits} credits cannot be"
        yield Fault((*path, "qualification", "of_which"), message, "impossible-threshold")
    if claimed.claim != "completed":
        return
    carried = award.credit
    whole_by_itself = carried is not None and carried.credits >= claimed.credits and carried.level >= claimed.level

    def whole_by_rule(leaf: Rule) -> bool:
        return (
            isinstance(leaf, CreditsHeld)
            and leaf.at_least >= claimed.credits
            and leaf.of_which is not None
            and leaf.of_which >= claimed.of_which
            and leaf.level is not None
            and leaf.level >= claimed.level
        )

    if not whole_by_itself and not guaranteed(award.rule, whole_by_rule):
        message = (
            f"the award does not complete {claimed.credits} credits of which {claimed.of_which} at level "
            f"{claimed.level}: claim contributes, or let the rule require those credits"
        )
        yield Fault((*path, "qualification", "claim"), message, "qualification-not-earned")


def _ranks(programme: Programme) -> Iterator[Fault]:
    if programme.credit_cap is None:
        return
    seen: set[int] = set()
    for i, award in enumerate(programme.awards):
        if getattr(award, "kind", None) != "credit" or not hasattr(award, "rank"):
            continue
        if award.rank is None:
            message = "under a credit cap a stated rank decides, never who comes first: add rank"
            yield Fault(("awards", i, "kind"), message, "rank-missing")
        elif award.rank in seen:
            message = f"rank {award.rank} is taken: under a credit cap each credit award has its own"
            yield Fault(("awards", i, "rank"), message, "rank-taken")
        else:
            seen.add(award.rank)
