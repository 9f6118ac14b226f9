"""Checks of one rule tree against its programme: references, treatments, thresholds nobody can reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from catalogue.fault import Check, Fault, Path, ids, known, walk
from catalogue.limits import RULE_DEPTH_MAX, RULE_NODES_MAX
from catalogue.model import (
    AllOf,
    AnyOf,
    AssessmentPassed,
    AtLeast,
    Attended,
    Award,
    CreditsHeld,
    MeetingsHeld,
    Programme,
    Rule,
    ShareOfSessions,
    Treatment,
)


def guaranteed(rule: Rule, leaf: Callable[[Rule], bool]) -> bool:
    """True when no way of meeting the rule goes without a leaf of that sort."""
    match rule:
        case AllOf():
            return any(guaranteed(child, leaf) for child in rule.of)
        case AnyOf():
            return all(guaranteed(child, leaf) for child in rule.of)
        case AtLeast():
            return sum(not guaranteed(child, leaf) for child in rule.of) < rule.at_least
        case _:
            return leaf(rule)


def rule_size(path: Path, programme: Programme, award: Award) -> Iterator[Fault]:
    nodes = list(walk((*path, "rule"), award.rule))
    deepest = max(len(at) for at, _ in nodes) - len(path)
    # Each step down adds "of" and a position to the path.
    if (deepest + 1) // 2 > RULE_DEPTH_MAX:
        yield Fault((*path, "rule"), f"a rule has at most {RULE_DEPTH_MAX} levels", "rule-too-large")
    if len(nodes) > RULE_NODES_MAX:
        yield Fault((*path, "rule"), f"a rule has at most {RULE_NODES_MAX} nodes", "rule-too-large")


def node_ids(path: Path, programme: Programme, award: Award) -> Iterator[Fault]:
    named = [(at, node.id) for at, node in walk((*path, "rule"), award.rule) if getattr(node, "id", None)]
    twice = Counter(node_id for _, node_id in named)
    for at, node_id in named:
        if twice[node_id] > 1:
            yield Fault((*at, "id"), f"the id {node_id!r} is used twice in this rule", "duplicate-id")


def rule_checks(path: Path, programme: Programme, rule: Rule) -> Iterator[Check]:
    for at, node in walk(path, rule):
        match node:
            case AtLeast():
                yield partial(_at_least, at, node)
            case Attended():
                for attended_check in (
                    _attended_kind,
                    _attended_where,
                    _attended_module,
                    _attended_possible,
                    _attended_minutes,
                ):
                    yield partial(attended_check, at, programme, node)
                yield partial(_leaf_module, at, programme, node)
                yield partial(_treatment, at, node)
                yield partial(_no_denominator, at, node)
            case ShareOfSessions():
                yield partial(_share_kind, at, programme, node)
                yield partial(_share_possible, at, programme, node)
                yield partial(_leaf_module, at, programme, node)
                yield partial(_treatment, at, node)
            case MeetingsHeld():
                yield partial(_meetings, at, programme, node)
            case AssessmentPassed():
                yield partial(_component, at, programme, node)
            case CreditsHeld():
                yield partial(_credits, at, node)
                yield partial(_own_awards, at, programme, node)
            case _:
                pass


def _at_least(path: Path, node: AtLeast) -> Iterator[Fault]:
    if node.at_least > len(node.of):
        message = f"{node.at_least} of {len(node.of)} conditions cannot be met"
        yield Fault((*path, "at_least"), message, "impossible-threshold")


def _attended_kind(path: Path, programme: Programme, node: Attended) -> Iterator[Fault]:
    yield from known((*path, "unit_kind"), node.unit_kind, ids(programme.unit_kinds), "unit kind", "unknown-unit-kind")


def _attended_where(path: Path, programme: Programme, node: Attended) -> Iterator[Fault]:
    kind = programme.unit_kind(node.unit_kind)
    if kind is None:
        return
    asked: set[str] = set()
    for i, where in enumerate(node.where):
        at = (*path, "where", i)
        name, value = getattr(where, "attribute", None), getattr(where, "value", None)
        if name is None:
            continue
        if name in asked:
            yield Fault((*at, "attribute"), f"the attribute {name!r} is asked for twice", "duplicate-id")
        asked.add(name)
        yield from known((*at, "attribute"), name, ids(kind.attributes), "attribute", "unknown-attribute")
        attribute = next((each for each in kind.attributes if each.id == name), None)
        if attribute is not None and value is not None:
            yield from known((*at, "value"), value, attribute.values, "value", "unknown-value")


def _attended_module(path: Path, programme: Programme, node: Attended) -> Iterator[Fault]:
    kind = programme.unit_kind(node.unit_kind)
    if kind is not None and kind.kind == "unscheduled" and node.module is not None:
        message = f"{kind.id!r} is unscheduled: its records belong to no module, so none would ever count; leave it out"
        yield Fault((*path, "module"), message, "module-of-unscheduled")


def _matching(programme: Programme, unit_kind: str | None, module: str | None) -> int:
    return sum(
        (unit_kind is None or session.unit_kind == unit_kind) and (module is None or session.module == module)
        for session in programme.timetable
    )


def _attended_possible(path: Path, programme: Programme, node: Attended) -> Iterator[Fault]:
    kind = programme.unit_kind(node.unit_kind)
    # Without a timetable the sessions come with the cohort, and there is nothing to compare with.
    if kind is None or kind.kind == "unscheduled" or not programme.timetable:
        return
    there = _matching(programme, node.unit_kind, node.module)
    if there < node.at_least:
        message = f"{node.at_least} are needed and the timetable has {there} such sessions"
        yield Fault((*path, "at_least"), message, "impossible-threshold")


def _attended_minutes(path: Path, programme: Programme, node: Attended) -> Iterator[Fault]:
    kind = programme.unit_kind(node.unit_kind)
    if kind is None or kind.kind == "scheduled" or kind.minutes is not None:
        return
    treatment = node.treatment
    if treatment.partial == "proportional" or treatment.threshold_share is not None:
        message = (
            f"a partial record of {kind.id!r} is measured against the kind's minutes: "
            "state them there, or let the treatment of partial be not, or a threshold in minutes"
        )
        yield Fault((*path, "unit_kind"), message, "unit-minutes-missing")


def _leaf_module(path: Path, programme: Programme, node: Attended | ShareOfSessions) -> Iterator[Fault]:
    if node.module is not None:
        yield from known((*path, "module"), node.module, ids(programme.modules), "module", "unknown-module")


def _treatment(path: Path, node: Attended | ShareOfSessions) -> Iterator[Fault]:
    treatment: Treatment = node.treatment
    at = (*path, "treatment")
    stated = [treatment.threshold_minutes is not None, treatment.threshold_share is not None]
    if treatment.partial == "threshold" and sum(stated) != 1:
        message = "with partial: threshold state one of threshold_minutes and threshold_share"
        yield Fault((*at, "partial"), message, "threshold-missing")
    if treatment.partial != "threshold" and any(stated):
        message = f"a threshold is stated and partial is {treatment.partial}: write partial: threshold, or leave it out"
        yield Fault((*at, "threshold_minutes" if stated[0] else "threshold_share"), message, "threshold-unused")


def _no_denominator(path: Path, node: Attended) -> Iterator[Fault]:
    if node.treatment.excused == "leaves-denominator":
        message = "a count of units has no denominator: say counts or absent, or ask for a share-of-sessions"
        yield Fault((*path, "treatment", "excused"), message, "no-denominator")


def _share_kind(path: Path, programme: Programme, node: ShareOfSessions) -> Iterator[Fault]:
    if node.unit_kind is None:
        return
    at = (*path, "unit_kind")
    yield from known(at, node.unit_kind, ids(programme.unit_kinds), "unit kind", "unknown-unit-kind")
    kind = programme.unit_kind(node.unit_kind)
    if kind is not None and kind.kind == "unscheduled":
        message = f"{kind.id!r} is unscheduled: there is no whole to take a share of; use attended"
        yield Fault(at, message, "share-of-unscheduled")


def _share_possible(path: Path, programme: Programme, node: ShareOfSessions) -> Iterator[Fault]:
    if programme.timetable and not _matching(programme, node.unit_kind, node.module):
        yield Fault((*path, "at_least"), "the timetable has no such session", "impossible-threshold")


def _meetings(path: Path, programme: Programme, node: MeetingsHeld) -> Iterator[Fault]:
    if programme.mentoring is None:
        yield Fault((*path, "check"), "meetings need the programme's mentoring", "no-mentoring")
    elif node.at_least > programme.mentoring.meetings:
        message = f"{node.at_least} are needed and mentoring foresees {programme.mentoring.meetings} meetings"
        yield Fault((*path, "at_least"), message, "impossible-threshold")


def _component(path: Path, programme: Programme, node: AssessmentPassed) -> Iterator[Fault]:
    yield from known(
        (*path, "component"), node.component, ids(programme.assessments), "assessment", "unknown-component"
    )


def _credits(path: Path, node: CreditsHeld) -> Iterator[Fault]:
    if (node.of_which is None) != (node.level is None):
        missing = "level" if node.level is None else "of_which"
        stated = "of_which" if node.level is None else "level"
        yield Fault((*path, stated), f"of_which and level belong together: add {missing}", "of-which-without-level")
    if node.of_which is not None and node.of_which > node.at_least:
        message = f"{node.of_which} of {node.at_least} credits cannot be"
        yield Fault((*path, "of_which"), message, "impossible-threshold")


def _own_awards(path: Path, programme: Programme, node: CreditsHeld) -> Iterator[Fault]:
    for i, reference in enumerate(node.from_awards):
        if getattr(reference, "programme", None) == programme.id and hasattr(reference, "award"):
            at = (*path, "from_awards", i, "award")
            yield from known(at, reference.award, ids(programme.awards), "award", "unknown-award")
