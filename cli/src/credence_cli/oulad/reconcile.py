"""The files beside the platform's answers, key by key. Pure: what is compared is passed in.

A difference is explained only by a row that was not taken, and only if the platform then holds exactly what such a row
leaves behind. Everything else is unexplained, whatever its cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from credence_cli.oulad.importer import Refused
from credence_cli.oulad.mapping import FINAL
from credence_cli.oulad.plan import Category, Key, NotTaken, Plan, Work

Compared: TypeAlias = Literal["enrolments", "withdrawals", "results", "carried-over", "awards", "standings"]


@dataclass(frozen=True, slots=True)
class Result:
    """What stands for one component of one learner: "submitted", "passed" or "failed", with its mark and dates."""

    state: str
    mark: Decimal | None
    submitted_on: date | None
    result_on: date | None

    def __str__(self) -> str:
        mark = "" if self.mark is None else f" {self.mark.normalize():f}"
        return f"{self.state}{mark} (submitted {self.submitted_on or '-'}, result {self.result_on or '-'})"


@dataclass(frozen=True, slots=True)
class Award:
    """What a learner holds from one cohort: "confirmed", "provisional"."""

    state: str
    credits: Decimal

    def __str__(self) -> str:
        return f"{self.credits.normalize():f} credits, {self.state}"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the learner is told: the enrolment's status and the credits confirmed on this cohort."""

    enrolment: str
    credits: Decimal

    def __str__(self) -> str:
        return f"{self.enrolment}, {self.credits.normalize():f} credits"


@dataclass(frozen=True)
class Answers:
    """One side of the comparison, by (cohort, person) and results by (cohort, person, component).

    An enrolment is the day of its placement, a withdrawal its own day, as "2013-10-01".
    """

    enrolments: Mapping[Key, str] = field(default_factory=dict)
    withdrawals: Mapping[Key, str] = field(default_factory=dict)
    results: Mapping[Key, Result] = field(default_factory=dict)
    carried_over: Mapping[Key, Result] = field(default_factory=dict)
    awards: Mapping[Key, Award] = field(default_factory=dict)
    standings: Mapping[Key, Standing] = field(default_factory=dict)

    def of(self, category: Compared) -> Mapping[Key, object]:
        found: Mapping[Key, object] = getattr(self, category.replace("-", "_"))
        return found


CATEGORIES: Final[tuple[Compared, ...]] = (
    "enrolments",
    "withdrawals",
    "results",
    "carried-over",
    "awards",
    "standings",
)


@dataclass(frozen=True, slots=True)
class Difference:
    """Two things under one key that are not the same; "" is nothing at all."""

    key: Key
    expected: str
    found: str


@dataclass(frozen=True)
class Comparison:
    """One category. `in_files` = `expected` + the rows not taken; the rest is the platform's."""

    category: Compared
    in_files: int
    expected: int
    found: int
    not_taken: tuple[NotTaken, ...]
    unexplained: tuple[Difference, ...]


@dataclass(frozen=True)
class Credits:
    """The credits of one module's awards, confirmed: what the files come to beside what the ledger holds."""

    programme: str
    expected: Decimal
    found: Decimal


@dataclass(frozen=True)
class Reconciled:
    categories: tuple[Comparison, ...]
    credits: tuple[Credits, ...]

    @property
    def unexplained(self) -> int:
        return sum(len(each.unexplained) for each in self.categories) + sum(
            each.expected != each.found for each in self.credits
        )


@dataclass(frozen=True)
class Expected:
    """What the platform must hold: the files, less the rows not taken, which are named."""

    answers: Answers
    not_taken: tuple[NotTaken, ...]
    programmes: Mapping[str, str]  # by cohort


def expected(plan: Plan, refused: Iterable[Refused]) -> Expected:
    """What the platform must hold after this plan, given the rows that it refused.

    A conflict explains nothing: there the platform holds something else than the files say.
    """
    refusals = [each for each in refused if not each.conflict]
    by_row = {(each.category, each.key, each.step): each for each in refusals}
    lost = {(each.category, each.key) for each in refusals}
    enrolments: dict[Key, str] = {
        (e.cohort, e.person): e.on.isoformat()
        for e in plan.enrolments
        if ("enrolments", (e.cohort, e.person)) not in lost
    }
    withdrawals: dict[Key, str] = {
        (e.cohort, e.person): e.withdrawn_on.isoformat()
        for e in plan.enrolments
        if e.withdrawn_on is not None and ("withdrawals", (e.cohort, e.person)) not in lost
    }
    results: dict[Category, dict[Key, Result]] = {"results": {}, "carried-over": {}}
    for work in (each for of_learner in plan.work.values() for each in of_learner):
        left = _left_behind(work, by_row)
        if left is not None:
            results[work.category][work.key] = left
    awards: dict[Key, Award] = {
        key[:2]: Award("confirmed", plan.credits[key[0]])
        for key, result in results["results"].items()
        if key[2] == FINAL and result.state == "passed"
    }
    standings: dict[Key, Standing] = {
        key: Standing(
            "withdrawn" if key in withdrawals else "placed", awards[key].credits if key in awards else Decimal(0)
        )
        for key in enrolments
    }
    not_taken = [*plan.left_out, *(_not_taken(each) for each in refusals)]
    not_taken += _without_award(plan, awards, not_taken)
    return Expected(
        Answers(enrolments, withdrawals, results["results"], results["carried-over"], awards, standings),
        tuple(not_taken),
        {cohort.cohort: cohort.programme for cohort in plan.cohorts},
    )


def compare(wanted: Expected, found: Answers) -> Reconciled:
    """Category by category, every key of either side."""
    categories = []
    for category in CATEGORIES:
        expected_, found_ = wanted.answers.of(category), found.of(category)
        rows = tuple(each for each in wanted.not_taken if each.category == category)
        # A submission that was taken and whose result was not is on both sides, and in the list.
        left_out = {each.key for each in rows} - expected_.keys()
        differences = [
            Difference(key, _words(expected_.get(key)), _words(found_.get(key)))
            for key in sorted(expected_.keys() | found_.keys())
            if expected_.get(key) != found_.get(key)
        ]
        categories.append(
            Comparison(category, len(expected_) + len(left_out), len(expected_), len(found_), rows, tuple(differences))
        )
    return Reconciled(tuple(categories), _credits(wanted, found))


def _left_behind(work: Work, refused: Mapping[tuple[Category, Key, str], Refused]) -> Result | None:
    """What the platform holds of a piece of work once some of its rows were refused; None for nothing."""

    def was_refused(step: str) -> bool:
        return (work.category, work.key, step) in refused

    if was_refused("") or was_refused("submit") or was_refused("carry-over"):
        return None
    if work.banked:
        assert work.result is not None
        return Result(work.result, work.mark, None, work.on)
    submitted = Result("submitted", None, work.on, None)
    if work.result is None or was_refused("assess"):
        return submitted
    return replace(submitted, state=work.result, mark=work.mark, result_on=work.on)


def _not_taken(refused: Refused) -> NotTaken:
    step = f"{refused.step}: " if refused.step else ""
    return NotTaken(refused.category, refused.key, refused.where, refused.code, f"{step}{refused.message}")


def _without_award(plan: Plan, awards: Mapping[Key, Award], not_taken: Sequence[NotTaken]) -> list[NotTaken]:
    """Awards that the files come to and that cannot be, because the final result they rest on was refused."""
    finals = {each.key: each for each in not_taken if each.category == "results" and each.key[2] == FINAL}
    passed = {
        work.key
        for of_learner in plan.work.values()
        for work in of_learner
        if work.component == FINAL and work.result == "passed"
    }
    return [
        NotTaken("awards", key[:2], finals[key].where, finals[key].code, "the final result was not taken")
        for key in sorted(passed)
        if key[:2] not in awards and key in finals
    ]


def _credits(wanted: Expected, found: Answers) -> tuple[Credits, ...]:
    def sums(awards: Mapping[Key, Award]) -> dict[str, Decimal]:
        totals: dict[str, Decimal] = {}
        for (cohort, _), award in awards.items():
            if award.state == "confirmed":
                programme = wanted.programmes.get(cohort, cohort)
                totals[programme] = totals.get(programme, Decimal(0)) + award.credits
        return totals

    expected_, found_ = sums(wanted.answers.awards), sums(found.awards)
    programmes = sorted({*wanted.programmes.values(), *expected_, *found_})
    zero = Decimal(0)
    return tuple(Credits(each, expected_.get(each, zero), found_.get(each, zero)) for each in programmes)


def _words(value: object) -> str:
    return "" if value is None else str(value)
