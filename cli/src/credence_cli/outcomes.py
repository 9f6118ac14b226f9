"""A batch's answer on the screen: one line per row, and the exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.markup import escape

from credence.common.v1 import outcome_pb2
from credence_cli.exits import Exit
from credence_cli.output import out, show
from credence_cli.state import remember

_STYLE = {
    outcome_pb2.OUTCOME_STATUS_ACCEPTED: ("accepted", "green"),
    outcome_pb2.OUTCOME_STATUS_UNCHANGED: ("unchanged", "cyan"),
    outcome_pb2.OUTCOME_STATUS_REPLAYED: ("replayed", "cyan"),
    outcome_pb2.OUTCOME_STATUS_REFUSED: ("refused", "red"),
    outcome_pb2.OUTCOME_STATUS_CONFLICT: ("conflict", "yellow"),
    outcome_pb2.OUTCOME_STATUS_UNKNOWN: ("unknown", "magenta"),
    outcome_pb2.OUTCOME_STATUS_ABORTED: ("try again", "magenta"),
}
_UNSETTLED = {outcome_pb2.OUTCOME_STATUS_UNKNOWN, outcome_pb2.OUTCOME_STATUS_ABORTED}
_FINE = {
    outcome_pb2.OUTCOME_STATUS_ACCEPTED,
    outcome_pb2.OUTCOME_STATUS_UNCHANGED,
    outcome_pb2.OUTCOME_STATUS_REPLAYED,
}


def word(status: int) -> str:
    """A status in one word."""
    return _STYLE[outcome_pb2.OutcomeStatus.ValueType(status)][0]


def line(outcome: outcome_pb2.Outcome, label: str, note: str = "") -> None:
    """One row's answer."""
    name, style = _STYLE[outcome.status]
    reason = f" {outcome.code}: {outcome.message}" if outcome.code else ""
    out.print(f"  [{style}]{name:<10}[/] {escape(label)}[dim]{escape(reason)}{escape(note)}[/]")
    for violation in outcome.violations:
        out.print(f"             [dim]{escape(violation.field)}: {escape(violation.description)}[/]")


def summary(outcomes: Sequence[outcome_pb2.Outcome]) -> str:
    """ "12 accepted, 1 refused"."""
    counts = Counter(word(o.status) for o in outcomes)
    return ", ".join(f"{n} {name}" for name, n in counts.items()) or "no rows"


def exit_of(outcomes: Sequence[outcome_pb2.Outcome]) -> Exit:
    """What a batch's outcomes mean for the exit code."""
    if any(o.status in _UNSETTLED for o in outcomes):
        return Exit.UNAVAILABLE
    return Exit.OK if all(o.status in _FINE for o in outcomes) else Exit.SOME_REFUSED


def report(answer: outcome_pb2.BatchResponse, labels: Sequence[str], as_json: bool) -> Exit:
    """Prints a batch's answer and remembers its token."""
    remember(answer.token)

    def render() -> None:
        for outcome, label in zip(answer.outcomes, labels, strict=True):
            line(outcome, label)
        out.print(f"  {summary(answer.outcomes)}")

    show(answer, as_json, render)
    return exit_of(answer.outcomes)
