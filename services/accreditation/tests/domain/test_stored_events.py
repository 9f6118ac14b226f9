"""Stored events are read for decades: every type has a golden file, which is added once and never edited.

A missing file is written by the failing test for you to look at and commit; a changed shape needs a new type name.
"""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

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
from eventcore.event import Event
from eventcore.testing import check_golden, check_golden_complete

GOLDEN = Path(__file__).parent / "golden"
DECIDERS = (ASSESSMENT, CREDIT)
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
SAMPLES: list[Event] = [
    AssessmentRegistered(component_id="project", registered_on=DAY),
    WorkSubmitted(component_id="project", attempt=1, submitted_on=DAY),
    WorkAssessed(component_id="project", result="passed", mark=Decimal("62.5"), assessed_on=DAY),
    ResultCarriedOver(component_id="project", result="passed", mark=None, carried_on=DAY, from_cohort="c0"),
    ResultRevised(
        component_id="project",
        result="passed",
        mark=Decimal("62.5"),
        assessed_on=DAY,
        replaces=3,
        reason_code="marking-error",
    ),
    AwardMade(terms=TERMS, made_on=DAY, tree="tree-1"),
    AwardConfirmed(cohort_id="c1", award_id="credit", by="board", decided_on=DAY),
    AwardTakenBack(cohort_id="c1", award_id="credit", reason_code="not-met", taken_on=DAY),
    ReviewOpened(cohort_id="c1", award_id="credit", review_id="r1", basis="basis-1", opened_on=DAY, tree="tree-2"),
    ReviewClosed(
        cohort_id="c1",
        award_id="credit",
        review_id="r1",
        outcome="upheld",
        reason_code="appeal",
        decided_on=DAY,
    ),
]
# What the golden file of an older version is read as today.
OLDER: dict[str, Event] = {}


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: event.stored_type)
def test_an_event_is_stored_and_read_as_its_golden_file_says(event: Event) -> None:
    check_golden(GOLDEN, DECIDERS, event)


@pytest.mark.parametrize(("stored_type", "event"), OLDER.items(), ids=OLDER)
def test_an_older_version_is_read_as_todays_event(stored_type: str, event: Event) -> None:
    check_golden(GOLDEN, DECIDERS, event, stored_type=stored_type)


def test_every_type_has_its_golden_file_and_every_golden_file_its_type() -> None:
    check_golden_complete(GOLDEN, DECIDERS, SAMPLES, OLDER)
