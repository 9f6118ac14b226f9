"""What is odd in the data although it is taken: counted and said, so that nobody takes it for a fault of the import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from decimal import Decimal

from credence_cli.oulad.files import Dataset

_SAYS = {
    "registrations-without-date": "registrations without a date: not taken, nor what rests on them",
    "withdrawals-without-date": "final result Withdrawn and no date: the withdrawal is not taken",
    "dates-without-withdrawal": "a withdrawal date and another final result: the date is taken, and so is the result",
    "withdrawn-on-registration-day": "registered and withdrawn on one day",
    "blank-scores": "submitted and never scored: taken as submitted",
    "banked": "results carried over from an earlier presentation",
    "banked-without-score": "carried over without a score: not taken",
    "banked-before-registration": "carried over, dated before the registration",
    "submitted-late": "submitted after the due date: the platform keeps no due dates",
    "submitted-before-registration": "submitted before the registration",
    "submitted-after-withdrawal": "submitted or carried over on or after the day of withdrawal",
    "weights-not-100": "presentations whose coursework or exam weights do not sum to 100: weights are not used",
    "assessments-without-date": "assessments without a due date",
    "retakes": "registrations of students who had attempted the module before",
    "distinctions": "distinctions: the platform records a pass",
}


def count(dataset: Dataset, presentations: Collection[str] = ()) -> dict[str, int]:
    """How many of each kind of oddity, in the presentations named, else in all; every kind, also with 0."""
    found: Counter[str] = Counter()
    wanted = set(presentations) or set(dataset.courses)
    for key, registration in dataset.registrations.items():
        if key[0] not in wanted:
            continue
        info, left = dataset.info[key], registration.unregistered
        found["registrations-without-date"] += registration.registered is None
        found["withdrawals-without-date"] += info.result == "Withdrawn" and left is None
        found["dates-without-withdrawal"] += info.result != "Withdrawn" and left is not None
        found["withdrawn-on-registration-day"] += left is not None and left == registration.registered
        found["retakes"] += info.previous_attempts > 0
        found["distinctions"] += info.result == "Distinction"
    for submission in dataset.submissions:
        key = dataset.enrolled(submission)
        if key[0] not in wanted:
            continue
        registration, due = dataset.registrations[key], dataset.assessments[submission.assessment].due
        registered, left, banked = registration.registered, registration.unregistered, submission.banked
        early = registered is not None and submission.day < registered
        found["blank-scores"] += submission.score is None and not banked
        found["banked"] += banked
        found["banked-without-score"] += banked and submission.score is None
        found["banked-before-registration"] += banked and early
        found["submitted-before-registration"] += early and not banked
        found["submitted-late"] += not banked and due is not None and submission.day > due
        found["submitted-after-withdrawal"] += left is not None and submission.day >= left
    found["assessments-without-date"] = sum(a.due is None for a in dataset.assessments.values() if a.course in wanted)
    found["weights-not-100"] = sum(not _weights_sum(dataset, code) for code in wanted)
    return {name: found[name] for name in _SAYS}


def says(name: str) -> str:
    """What an oddity is, in words."""
    return _SAYS[name]


def _weights_sum(dataset: Dataset, code: str) -> bool:
    """In this data set coursework and the exam each weigh 100 by themselves."""
    of_course = [a for a in dataset.assessments.values() if a.course == code]
    exam = sum((a.weight for a in of_course if a.type == "Exam"), Decimal(0))
    rest = sum((a.weight for a in of_course if a.type != "Exam"), Decimal(0))
    return exam == rest == 100
