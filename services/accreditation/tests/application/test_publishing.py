"""What others may see: every stored event has its public message, and none carries a mark, a tree or free text."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from accreditation.application.publishing import public
from accreditation.domain.assessment import ASSESSMENT, WorkAssessed
from accreditation.domain.credit import CREDIT, AwardMade, AwardTerms, Credit
from eventcore.event import Event, Recorded

NOW = datetime(2024, 12, 2, tzinfo=UTC)
DAY = date(2024, 12, 2)
TERMS = AwardTerms(
    cohort_id="autumn",
    award_id="credit",
    programme_id="course",
    programme_version=1,
    rule_version="0" * 16,
    title="Sample award",
    kind="credit",
    credit=Credit(credits=Decimal("7.5"), scheme="CATS", level=7, ects=Decimal("3.75"), transferable=True),
    owner="owner",
    body="body",
    confirmation="board",
    certificate=True,
    rank=1,
    cohort_starts_on=DAY,
)
VALUES: dict[str, Any] = {
    "component_id": "project",
    "registered_on": DAY,
    "submitted_on": DAY,
    "assessed_on": DAY,
    "carried_on": DAY,
    "attempt": 1,
    "result": "passed",
    "mark": Decimal(61),
    "from_cohort": "spring",
    "replaces": 3,
    "reason_code": "not-met",
    "terms": TERMS,
    "made_on": DAY,
    "tree": '{"title": "for the learner"}',
    "cohort_id": "autumn",
    "award_id": "credit",
    "by": "board",
    "decided_on": DAY,
    "taken_on": DAY,
    "review_id": "review-1",
    "basis": "facts",
    "opened_on": DAY,
    "outcome": "revoked",
}


def sample(cls: type[Event]) -> Event:
    return cls(**{name: VALUES[name] for name in cls.model_fields})


@pytest.mark.parametrize("cls", [*ASSESSMENT.events, *CREDIT.events], ids=lambda cls: cls.stored_type)
def test_every_stored_event_has_a_public_message_without_marks_trees_or_titles(cls: type[Event]) -> None:
    stream = "credit-p1" if cls in CREDIT.events else "assessment-autumn--p1"
    message = public(Recorded(stream, 1, sample(cls), NOW))
    assert message is not None
    assert message.DESCRIPTOR.full_name == f"credence.accreditation.v1.{cls.__name__}"
    data = message.SerializeToString()
    assert b"for the learner" not in data
    assert b"Sample award" not in data
    assert not {"mark", "tree", "title"} & {field.name for field in message.DESCRIPTOR.fields}


def test_credits_travel_as_plain_decimals() -> None:
    made = public(Recorded("credit-p1", 1, AwardMade(terms=TERMS, made_on=DAY, tree="{}"), NOW))
    assert made is not None
    assert made.person_id == "p1"  # type: ignore[attr-defined]
    assert made.credit.credits == "7.5"  # type: ignore[attr-defined]


def test_an_event_nobody_decided_on_is_a_fault() -> None:
    with pytest.raises(ValueError, match="nobody decided"):
        public(Recorded("credit-p1", 1, "something else", NOW))


def test_the_sample_result_is_public_without_its_mark() -> None:
    message = public(Recorded("assessment-autumn--p1", 3, sample(WorkAssessed), NOW))
    assert message is not None
    assert "61" not in str(message)
