"""What the import adds to the data, from a file that says so, and the programmes that come of both."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import catalogue
from catalogue.model import Amount, AssessmentKind, Id, Level, Mark, Months, Organisation, Programme, Text
from credence_cli.oulad.files import AssessmentType, Course, Dataset

FINAL: Final = "final"
AWARD: Final = "module-credit"

_KINDS: Final[dict[AssessmentType, AssessmentKind]] = {"TMA": "coursework", "CMA": "computer-marked", "Exam": "exam"}
_TITLES: Final[dict[AssessmentType, str]] = {
    "TMA": "Tutor-marked assessment",
    "CMA": "Computer-marked assessment",
    "Exam": "Exam",
}


class MappingFault(Exception):
    """The mapping file cannot be used, or does not cover the data; the message says where."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Presentation(_Part):
    version: int = Field(ge=1, le=100_000, strict=True)
    starts_on: date


class Module(_Part):
    programme: Id
    title: Text
    credits: Amount
    level: Level


class Duration(_Part):
    min: Months
    max: Months


class Mapping(_Part):
    """What the mapping file says; `source` is the reader's warning that none of it is data."""

    source: Literal["invented for the import"]
    presentations: dict[str, Presentation]
    months: Duration
    pass_mark: Mark
    organisation: Organisation
    # A board would need somebody to sit on it: the import has nobody.
    confirmation: Literal["automatic"]
    scheme: Literal["CATS"]
    transferable: bool
    modules: dict[str, Module]

    def module(self, course: Course) -> Module:
        """Raises MappingFault."""
        if course.module not in self.modules:
            raise MappingFault(f"modules: {course.module} is in the data ({course.where}) and not in the mapping")
        return self.modules[course.module]

    def presentation(self, course: Course) -> Presentation:
        """Raises MappingFault."""
        if course.presentation not in self.presentations:
            raise MappingFault(
                f"presentations: {course.presentation} is in the data ({course.where}) and not in the mapping"
            )
        return self.presentations[course.presentation]

    def civil(self, course: Course, day: int) -> date:
        """The civil date of a day of a presentation."""
        return self.presentation(course).starts_on + timedelta(days=day)

    def passed(self, score: Decimal) -> bool:
        return score >= self.pass_mark


def load(path: Path | None = None) -> Mapping:
    """The mapping in `path`, else the one that comes with the command. Raises MappingFault."""
    name = str(path) if path else "mapping.yaml"
    try:
        text = path.read_text("utf-8") if path else files(__package__).joinpath("mapping.yaml").read_text("utf-8")
        return Mapping.model_validate(yaml.safe_load(text))
    except OSError as error:
        raise MappingFault(f"{name} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"]) or "the file"
        raise MappingFault(f"{name}: {place}: {first['msg']}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise MappingFault(f"{name} is no YAML: {str(error).splitlines()[0]}") from error


def cohort_id(course: Course) -> str:
    """ "aaa-2013j"."""
    return f"{course.module}-{course.presentation}".lower()


def person_id(student: str) -> str:
    """ "s11391": the data's own pseudonym. There are no names in it."""
    return f"s{student}"


def programme(dataset: Dataset, course: Course, mapping: Mapping) -> Programme:
    """The programme version of one presentation: its assessments, and the final result that earns the credit.

    Weights and due dates are left out, because the platform's rule rests on the university's own final result.
    Raises MappingFault where the programme would have faults.
    """
    module, presentation = mapping.module(course), mapping.presentation(course)
    code = f"{course.module}-{course.presentation}"
    components = [
        {
            "id": each.id,
            "title": f"{_TITLES[each.type]} {each.id}",
            "kind": _KINDS[each.type],
            "pass_mark": mapping.pass_mark,
        }
        for each in dataset.assessments.values()
        if each.course == code
    ]
    final = {"id": FINAL, "title": f"Final result of {code}", "kind": "overall"}
    award = {
        "id": AWARD,
        "title": module.title,
        "kind": "credit",
        "confirmation": mapping.confirmation,
        # Due on every award and blocked on every one: the data has no names.
        "certificate": True,
        "credit": {
            "credits": module.credits,
            "scheme": mapping.scheme,
            "level": module.level,
            "ects": module.credits / 2,
            "transferable": mapping.transferable,
        },
        "rule": {"check": "assessment-passed", "id": FINAL, "title": "The module passed", "component": FINAL},
    }
    try:
        built = Programme.model_validate(
            {
                "credence": 1,
                "id": module.programme,
                "version": presentation.version,
                "title": f"{module.title}, {course.presentation}",
                "owner": mapping.organisation,
                "awarding_body": mapping.organisation,
                "duration": {"min_months": mapping.months.min, "max_months": mapping.months.max},
                "notional_hours": int(module.credits * 10),
                "assessments": [*components, final],
                "awards": [award],
            }
        )
    except ValidationError as error:
        raise MappingFault(f"{code}: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from error
    if found := catalogue.faults(built):
        raise MappingFault(f"{code}: {'.'.join(map(str, found[0].path))}: {found[0].message}")
    return built
