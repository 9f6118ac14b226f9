"""A sample of every stored event: with everything it may say, and with no more than it must."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Final

from accreditation.domain.assessment import (
    ASSESSMENT,
    AssessmentRegistered,
    ResultCarriedOver,
    ResultRevised,
    WorkAssessed,
    WorkSubmitted,
)
from accreditation.domain.credit import (
    CREDIT,
    AwardConfirmed,
    AwardMade,
    AwardTakenBack,
    AwardTerms,
    Credit,
    ReviewClosed,
    ReviewOpened,
)
from eventcore.goldens import Goldens

DAY = date(2024, 10, 1)
TERMS = AwardTerms(
    cohort_id="c1",
    award_id="credit",
    programme_id="course",
    programme_version=1,
    rule_version="rules-1",
    title="Course credit",
    kind="credit",
    credit=Credit(credits=Decimal("15"), scheme="CATS", level=7, ects=Decimal("7.5"), transferable=True),
    owner="owner",
    body="body",
    confirmation="board",
    certificate=True,
    rank=1,
    cohort_starts_on=DAY,
)
COMPLETION = TERMS.model_copy(update={"award_id": "done", "kind": "completion", "credit": None, "certificate": False})


def assessed(mark: Decimal | None) -> WorkAssessed:
    return WorkAssessed(component_id="project", result="passed", mark=mark, assessed_on=DAY)


def revised(mark: Decimal | None) -> ResultRevised:
    return ResultRevised(
        component_id="project", result="passed", mark=mark, assessed_on=DAY, replaces=3, reason_code="marking-error"
    )


def carried(mark: Decimal | None, from_cohort: str | None) -> ResultCarriedOver:
    return ResultCarriedOver(
        component_id="project", result="passed", mark=mark, carried_on=DAY, from_cohort=from_cohort
    )


GOLDENS: Final = Goldens(
    Path(__file__).parent / "golden",
    (ASSESSMENT, CREDIT),
    {
        "full": [
            AssessmentRegistered(component_id="project", registered_on=DAY),
            WorkSubmitted(component_id="project", attempt=1, submitted_on=DAY),
            assessed(Decimal("62.5")),
            carried(Decimal("62.5"), "c0"),
            revised(Decimal("62.5")),
            AwardMade(terms=TERMS, made_on=DAY, tree="tree-1"),
            AwardConfirmed(cohort_id="c1", award_id="credit", by="board", decided_on=DAY),
            AwardTakenBack(cohort_id="c1", award_id="credit", reason_code="not-met", taken_on=DAY),
            ReviewOpened(
                cohort_id="c1", award_id="credit", review_id="r1", basis="basis-1", opened_on=DAY, tree="tree-2"
            ),
            ReviewClosed(
                cohort_id="c1",
                award_id="credit",
                review_id="r1",
                outcome="upheld",
                reason_code="appeal",
                decided_on=DAY,
            ),
        ],
        "required": [
            assessed(None),
            carried(None, None),
            revised(None),
            AwardMade(terms=COMPLETION, made_on=DAY, tree="tree-1"),
        ],
        "without-mark": [carried(None, "c0")],
        "revoked": [
            ReviewClosed(
                cohort_id="c1",
                award_id="credit",
                review_id="r1",
                outcome="revoked",
                reason_code="appeal",
                decided_on=DAY,
            )
        ],
    },
)
