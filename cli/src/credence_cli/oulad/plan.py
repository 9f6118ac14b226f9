"""From the files to what is sent, and what is not and why. Pure: the same files always give the same plan."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal, TypeAlias

from catalogue.model import Programme
from credence_cli.oulad import mapping as mapped
from credence_cli.oulad.files import Course, Dataset, Info, Registration, Submission
from credence_cli.oulad.mapping import FINAL, cohort_id, person_id

Category: TypeAlias = Literal[
    "programmes", "cohorts", "people", "enrolments", "withdrawals", "results", "carried-over", "awards"
]
Key: TypeAlias = tuple[str, ...]  # (cohort, person) or (cohort, person, component)


@dataclass(frozen=True, slots=True)
class Cohort:
    """One presentation as the platform runs it."""

    where: str
    cohort: str
    programme: str
    version: int
    starts_on: date
    ends_on: date
    provider: str


@dataclass(frozen=True, slots=True)
class Enrolment:
    """`on` is the registration date; `withdrawn_on`, where there is one, the first day on which it no longer counts."""

    where: str
    cohort: str
    person: str
    on: date
    withdrawn_on: date | None


@dataclass(frozen=True, slots=True)
class Work:
    """One component of one learner. `result` None: submitted and never marked. `final` has no mark."""

    where: str
    cohort: str
    person: str
    component: str
    on: date
    result: Literal["passed", "failed"] | None
    mark: Decimal | None
    banked: bool = False

    @property
    def key(self) -> Key:
        return self.cohort, self.person, self.component

    @property
    def category(self) -> Category:
        return "carried-over" if self.banked else "results"


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A row of the files that the platform does not hold: `code` and `message` say why. `where` is file:line."""

    category: Category
    key: Key
    where: str
    code: str
    message: str


@dataclass(frozen=True)
class Plan:
    """What is sent, in this order, and what is left out before anything is sent.

    `work` holds a learner's components in the order of their dates. `credits` is what each cohort's award is worth.
    """

    programmes: tuple[Programme, ...]
    cohorts: tuple[Cohort, ...]
    people: tuple[str, ...]
    enrolments: tuple[Enrolment, ...]
    work: Mapping[tuple[str, str], tuple[Work, ...]]
    left_out: tuple[NotTaken, ...]
    credits: Mapping[str, Decimal]


class UnknownPresentation(Exception):
    """A presentation was asked for that the data does not have; the message lists those it has."""


def make(dataset: Dataset, mapping: mapped.Mapping, presentations: Collection[str] = ()) -> Plan:
    """The plan for the presentations named ("AAA-2013J"), else for all. Raises UnknownPresentation, MappingFault."""
    if unknown := sorted(set(presentations) - dataset.courses.keys()):
        known = ", ".join(sorted(dataset.courses))
        raise UnknownPresentation(f"the data has no presentation {', '.join(unknown)}; it has {known}")
    courses = {code: c for code, c in dataset.courses.items() if not presentations or code in presentations}
    programmes = tuple(mapped.programme(dataset, course, mapping) for course in courses.values())
    cohorts = tuple(
        Cohort(
            course.where,
            cohort_id(course),
            programme.id,
            programme.version,
            mapping.civil(course, 0),
            mapping.civil(course, course.length_days),
            mapping.organisation.id,
        )
        for course, programme in zip(courses.values(), programmes, strict=True)
    )
    submissions: dict[tuple[str, str], list[Submission]] = {}
    for submission in dataset.submissions:
        if dataset.enrolled(submission)[0] in courses:
            submissions.setdefault(dataset.enrolled(submission), []).append(submission)

    enrolments: list[Enrolment] = []
    work: dict[tuple[str, str], tuple[Work, ...]] = {}
    left_out: list[NotTaken] = []
    for (code, student), registration in dataset.registrations.items():
        if code not in courses:
            continue
        learner = _Learner(
            courses[code],
            registration,
            dataset.info[code, student],
            submissions.get((code, student), []),
            mapping,
        )
        enrolment, done, missing = learner.plan()
        left_out += missing
        if enrolment is not None:
            enrolments.append(enrolment)
            work[enrolment.cohort, enrolment.person] = done
    return Plan(
        programmes,
        cohorts,
        tuple(dict.fromkeys(enrolment.person for enrolment in enrolments)),
        tuple(enrolments),
        work,
        tuple(left_out),
        {cohort_id(course): mapping.module(course).credits for course in courses.values()},
    )


@dataclass(frozen=True)
class _Learner:
    """One student on one presentation, from every file."""

    course: Course
    registration: Registration
    info: Info
    submissions: Sequence[Submission]
    mapping: mapped.Mapping

    @property
    def key(self) -> tuple[str, str]:
        return cohort_id(self.course), person_id(self.registration.student)

    def plan(self) -> tuple[Enrolment | None, tuple[Work, ...], list[NotTaken]]:
        if self.registration.registered is None:
            return None, (), self._everything_left_out()
        left_out: list[NotTaken] = []
        unregistered = self.registration.unregistered
        if unregistered is None and self.info.result == "Withdrawn":
            message = "withdrawn, and the register has no date: the enrolment stays as it was"
            left_out.append(self._left_out("withdrawals", self.key, self.info.where, "no-withdrawal-date", message))
        enrolment = Enrolment(
            self.registration.where,
            *self.key,
            self.mapping.civil(self.course, self.registration.registered),
            None if unregistered is None else self.mapping.civil(self.course, unregistered),
        )
        work: list[Work] = []
        for submission in self.submissions:
            if submission.banked and submission.score is None:
                message = "carried over without a score: whether it was a pass is not in the data"
                key = (*self.key, submission.assessment)
                left_out.append(self._left_out("carried-over", key, submission.where, "no-score", message))
            else:
                work.append(self._submitted(submission))
        if self.info.result != "Withdrawn":
            work.append(self._final())
        return enrolment, tuple(sorted(work, key=lambda each: (each.on, each.component))), left_out

    def _submitted(self, submission: Submission) -> Work:
        score = submission.score
        return Work(
            submission.where,
            *self.key,
            submission.assessment,
            self.mapping.civil(self.course, submission.day),
            None if score is None else "passed" if self.mapping.passed(score) else "failed",
            score,
            submission.banked,
        )

    def _final(self) -> Work:
        """The university's own final result, as a component of its own; a distinction is a pass here."""
        ended = self.mapping.civil(self.course, self.course.length_days)
        result: Literal["passed", "failed"] = "failed" if self.info.result == "Fail" else "passed"
        return Work(self.info.where, *self.key, FINAL, ended, result, None)

    def _everything_left_out(self) -> list[NotTaken]:
        """Without a registration date the platform would take today's, and everything would come before it."""
        message = "the register has no registration date, and none is invented"
        where, key = self.registration.where, self.key
        found = [self._left_out("enrolments", key, where, "no-registration-date", message)]
        rests = "rests on an enrolment without a registration date"
        if self.registration.unregistered is not None or self.info.result == "Withdrawn":
            found.append(self._left_out("withdrawals", key, where, "no-enrolment", rests))
        for each in self.submissions:
            category: Category = "carried-over" if each.banked else "results"
            found.append(self._left_out(category, (*key, each.assessment), each.where, "no-enrolment", rests))
        if self.info.result != "Withdrawn":
            found.append(self._left_out("results", (*key, FINAL), self.info.where, "no-enrolment", rests))
        if self.info.result in ("Pass", "Distinction"):
            found.append(self._left_out("awards", key, self.info.where, "no-enrolment", rests))
        return found

    @staticmethod
    def _left_out(category: Category, key: Key, where: str, code: str, message: str) -> NotTaken:
        return NotTaken(category, key, where, code, message)
