"""The data set's files, read and checked whole before the first row is sent: half an import of a bad file helps nobody.

Source: Open University Learning Analytics Dataset (Kuzilek, Hlosta, Zdrahal, Scientific Data 4:170171, 2017, CC BY
4.0). Days count from the presentation's first day, which is day 0, and may be negative. Columns that are not named
here are passed over; an empty cell means that the university had no value.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal, NoReturn, TypeVar, cast, get_args

from credence_cli.limits import DATA_SET_BYTES_MAX, DATA_SET_DAYS_MAX

FinalResult = Literal["Pass", "Distinction", "Fail", "Withdrawn"]
AssessmentType = Literal["TMA", "CMA", "Exam"]

COURSES: Final = "courses.csv"
ASSESSMENTS: Final = "assessments.csv"
INFO: Final = "studentInfo.csv"
REGISTRATIONS: Final = "studentRegistration.csv"
SUBMISSIONS: Final = "studentAssessment.csv"


_INTEGER = re.compile(r"-?\d{1,9}", re.ASCII)
_DECIMAL = re.compile(r"\d{1,3}(\.\d{1,4})?", re.ASCII)
_CODE = re.compile(r"[A-Za-z0-9]{1,10}", re.ASCII)
_ID = re.compile(r"\d{1,12}", re.ASCII)


class DataUnreadable(Exception):
    """The first fault of the files: which file, which line, which column, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Course:
    """One presentation of a module. `length_days` is also the number of its last day."""

    where: str
    module: str
    presentation: str
    length_days: int


@dataclass(frozen=True, slots=True)
class Assessment:
    """`due` is a day; exams often have none. `weight` is in per cent."""

    where: str
    id: str
    course: str
    type: AssessmentType
    due: int | None
    weight: Decimal


@dataclass(frozen=True, slots=True)
class Info:
    """How a student ended on a presentation."""

    where: str
    course: str
    student: str
    previous_attempts: int
    result: FinalResult


@dataclass(frozen=True, slots=True)
class Registration:
    """Days on which a student registered and unregistered; None where the cell is empty."""

    where: str
    course: str
    student: str
    registered: int | None
    unregistered: int | None


@dataclass(frozen=True, slots=True)
class Submission:
    """`score` is of 100, None where there is none. `banked`: the result comes from an earlier presentation."""

    where: str
    assessment: str
    student: str
    day: int
    banked: bool
    score: Decimal | None


Enrolled = tuple[str, str]  # course code ("AAA-2013J"), student


@dataclass(frozen=True)
class Dataset:
    """Everything in the folder, tied together: every row's course, assessment and registration exist."""

    courses: Mapping[str, Course]
    assessments: Mapping[str, Assessment]
    info: Mapping[Enrolled, Info]
    registrations: Mapping[Enrolled, Registration]
    submissions: tuple[Submission, ...]

    def enrolled(self, submission: Submission) -> Enrolled:
        """Whose registration a submission belongs to."""
        return self.assessments[submission.assessment].course, submission.student


def read(folder: Path) -> Dataset:
    """The data set in `folder`. Raises DataUnreadable for the first fault."""
    courses = _by("code_module", ((r.course(), _course(r)) for r in _records(folder / COURSES, _COURSE_COLUMNS)))
    assessments = _by(
        "id_assessment",
        ((r.id("id_assessment"), _assessment(r, courses)) for r in _records(folder / ASSESSMENTS, _ASSESSMENT_COLUMNS)),
    )
    registrations = _by(
        "id_student",
        ((r.enrolled(courses), _registration(r)) for r in _records(folder / REGISTRATIONS, _REGISTRATION_COLUMNS)),
    )
    info = _by(
        "id_student", ((r.enrolled(courses), _info(r, registrations)) for r in _records(folder / INFO, _INFO_COLUMNS))
    )
    for enrolled, registration in registrations.items():
        if enrolled not in info:
            raise DataUnreadable(f"{_said(registration.where)}, column id_student: not in {INFO} for this presentation")
    submissions = _by(
        "id_student",
        (
            ((r.id("id_assessment"), r.id("id_student")), _submission(r, assessments, registrations))
            for r in _records(folder / SUBMISSIONS, _SUBMISSION_COLUMNS)
        ),
    )
    return Dataset(courses, assessments, info, registrations, tuple(submissions.values()))


_COURSE = ("code_module", "code_presentation")
_COURSE_COLUMNS: Final = (*_COURSE, "module_presentation_length")
_ASSESSMENT_COLUMNS: Final = (*_COURSE, "id_assessment", "assessment_type", "date", "weight")
_INFO_COLUMNS: Final = (*_COURSE, "id_student", "num_of_prev_attempts", "final_result")
_REGISTRATION_COLUMNS: Final = (*_COURSE, "id_student", "date_registration", "date_unregistration")
_SUBMISSION_COLUMNS: Final = ("id_assessment", "id_student", "date_submitted", "is_banked", "score")


@dataclass(frozen=True, slots=True)
class _Record:
    """One line, by column."""

    file: str
    line: int
    cells: Mapping[str, str]

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"

    def wrong(self, column: str, text: str) -> NoReturn:
        raise DataUnreadable(f"{_said(self.where)}, column {column}: {text}")

    def _matching(self, column: str, pattern: re.Pattern[str], must_be: str) -> str:
        cell = self.cells[column]
        if not pattern.fullmatch(cell):
            self.wrong(column, f"{cell[:40]!r} is not {must_be}")
        return cell

    def id(self, column: str) -> str:
        return self._matching(column, _ID, "a number of up to 12 digits")

    def integer(self, column: str, minimum: int, maximum: int) -> int:
        number = int(self._matching(column, _INTEGER, "a whole number"))
        if not minimum <= number <= maximum:
            self.wrong(column, f"{number} is not from {minimum} to {maximum}")
        return number

    def day(self, column: str) -> int | None:
        return self.integer(column, -DATA_SET_DAYS_MAX, DATA_SET_DAYS_MAX) if self.cells[column] else None

    def percentage(self, column: str) -> Decimal:
        number = Decimal(self._matching(column, _DECIMAL, "a decimal like 72 or 12.5"))
        if number > 100:
            self.wrong(column, f"{number} is above 100")
        return number

    def one_of(self, column: str, words: tuple[str, ...]) -> str:
        if self.cells[column] not in words:
            self.wrong(column, f"{self.cells[column][:40]!r} is not one of {', '.join(words)}")
        return self.cells[column]

    def course(self) -> str:
        module, presentation = (self._matching(column, _CODE, "a code of letters and digits") for column in _COURSE)
        return f"{module}-{presentation}"

    def known_course(self, courses: Mapping[str, Course]) -> str:
        if (code := self.course()) not in courses:
            self.wrong("code_presentation", f"there is no presentation {code} in {COURSES}")
        return code

    def enrolled(self, courses: Mapping[str, Course]) -> Enrolled:
        return self.known_course(courses), self.id("id_student")


def _course(record: _Record) -> Course:
    module, presentation = (record.cells[column] for column in _COURSE)
    length = record.integer("module_presentation_length", 1, DATA_SET_DAYS_MAX)
    return Course(record.where, module, presentation, length)


def _assessment(record: _Record, courses: Mapping[str, Course]) -> Assessment:
    return Assessment(
        record.where,
        record.id("id_assessment"),
        record.known_course(courses),
        cast(AssessmentType, record.one_of("assessment_type", get_args(AssessmentType))),
        record.day("date"),
        record.percentage("weight"),
    )


def _registration(record: _Record) -> Registration:
    days = record.day("date_registration"), record.day("date_unregistration")
    return Registration(record.where, record.course(), record.id("id_student"), *days)


def _info(record: _Record, registrations: Mapping[Enrolled, Registration]) -> Info:
    course, student = record.course(), record.id("id_student")
    if (course, student) not in registrations:
        record.wrong("id_student", f"not in {REGISTRATIONS} for this presentation")
    result = cast(FinalResult, record.one_of("final_result", get_args(FinalResult)))
    return Info(record.where, course, student, record.integer("num_of_prev_attempts", 0, 100), result)


def _submission(
    record: _Record, assessments: Mapping[str, Assessment], registrations: Mapping[Enrolled, Registration]
) -> Submission:
    assessment, student = record.id("id_assessment"), record.id("id_student")
    if assessment not in assessments:
        record.wrong("id_assessment", f"there is no assessment {assessment} in {ASSESSMENTS}")
    if (assessments[assessment].course, student) not in registrations:
        record.wrong("id_student", f"not in {REGISTRATIONS} for the assessment's presentation")
    day = record.integer("date_submitted", -DATA_SET_DAYS_MAX, DATA_SET_DAYS_MAX)
    banked = record.one_of("is_banked", ("0", "1")) == "1"
    score = record.percentage("score") if record.cells["score"] else None
    return Submission(record.where, assessment, student, day, banked, score)


_Key = TypeVar("_Key")
_Row = TypeVar("_Row", Course, Assessment, Info, Registration, Submission)


def _by(column: str, rows: Iterator[tuple[_Key, _Row]]) -> dict[_Key, _Row]:
    found: dict[_Key, _Row] = {}
    for key, row in rows:
        if key in found:
            raise DataUnreadable(f"{_said(row.where)}, column {column}: said already in line {_line(found[key].where)}")
        found[key] = row
    return found


def _records(path: Path, columns: tuple[str, ...]) -> Iterator[_Record]:
    """The lines of one file. `csv` counts lines as an editor does, also within quotes."""
    text = _text(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        if missing := [column for column in columns if column not in header]:
            raise DataUnreadable(f"{path.name}, line 1, column {missing[0]}: there is no such column")
        if twice := next((column for column in columns if header.count(column) > 1), None):
            raise DataUnreadable(f"{path.name}, line 1, column {twice}: it is there twice")
        for cells in reader:
            if not cells:
                continue  # an empty line at the end of a file is no row
            if len(cells) != len(header):
                column = _column(header, min(len(cells), len(header)) - 1)
                message = f"the line ends after {len(cells)} columns, not {len(header)}"
                raise DataUnreadable(f"{path.name}, line {reader.line_num}, column {column}: {message}")
            yield _Record(path.name, reader.line_num, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DataUnreadable(f"{path.name}, line {reader.line_num}, column {columns[0]}: no CSV ({error})") from error


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(DATA_SET_BYTES_MAX + 1)
    except OSError as error:
        raise DataUnreadable(f"{path.name} cannot be read in {path.parent}: {error.strerror}") from error
    if len(data) > DATA_SET_BYTES_MAX:
        raise DataUnreadable(f"{path.name} has more than {DATA_SET_BYTES_MAX // 2**20} MiB: that is not the data set")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Its position counts from after a byte order mark; the line does not change.
        before = data[: error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)]
        line, cell = before.count(b"\n") + 1, before.rpartition(b"\n")[2].count(b",")
        header = data.partition(b"\n")[0].decode("utf-8-sig", "replace").strip().split(",")
        column = _column(header, min(cell, len(header) - 1))
        raise DataUnreadable(f"{path.name}, line {line}, column {column}: a byte that is not UTF-8") from error


def _column(header: Sequence[str], position: int) -> str:
    """A column's name, or its number from 1 where the header does not give a name that can be shown."""
    return header[position] if re.fullmatch(r"\w{1,40}", header[position]) else str(position + 1)


def _said(where: str) -> str:
    file, _, line = where.rpartition(":")
    return f"{file}, line {line}"


def _line(where: str) -> str:
    return where.rpartition(":")[2]
