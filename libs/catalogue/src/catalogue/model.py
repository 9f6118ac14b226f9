"""What a scheme file may say: one programme version, as frozen values.

The descriptions are the documentation: `docs/catalogue.md` is generated from them. What ties several fields together
(references, sums, cycles) is in `checks.py`, so that every fault can be reported and not only the first.
"""

from __future__ import annotations

import hashlib
import json
import re
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StringConstraints

from catalogue.ids import ID_PATTERN
from catalogue.limits import ID_MAX_LENGTH

SCHEMA_VERSION: Final = 1

_DECIMAL: Final = re.compile(r"\d{1,4}(\.\d{1,4})?\Z", re.ASCII)


def _exact(value: Any) -> Decimal:
    """A float has already lost the figure that was written, so it is refused, not rounded."""
    match value:
        case bool() | float():
            text = ""
        case int() | str():
            text = str(value) if not isinstance(value, int) or abs(value) < 10_000 else ""
        case Decimal() if value.is_finite() and value.adjusted() < 4:
            text = format(value, "f")
        case _:
            text = ""
    if _DECIMAL.match(text) is None:
        raise ValueError("a decimal is written like 20 or 0.75: at most 4 digits before the point and 4 after it")
    return Decimal(text)


# The same patterns in the dialect of the model's validator, where `$` is the very end and `\Z` is unknown.
FIELD_ID_PATTERN: Final = ID_PATTERN.replace(r"\Z", "$")
CLOCK_PATTERN: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
ONE_LINE_PATTERN: Final = r"^[^\s\p{Cc}]([^\p{Cc}\p{Zl}\p{Zp}]*[^\s\p{Cc}])?$"

Id: TypeAlias = Annotated[str, StringConstraints(pattern=FIELD_ID_PATTERN, max_length=ID_MAX_LENGTH)]
Text: TypeAlias = Annotated[str, StringConstraints(pattern=ONE_LINE_PATTERN, max_length=200)]
Word: TypeAlias = Annotated[str, StringConstraints(pattern=ONE_LINE_PATTERN, max_length=30)]
Clock: TypeAlias = Annotated[str, StringConstraints(pattern=CLOCK_PATTERN)]
Amount: TypeAlias = Annotated[Decimal, BeforeValidator(_exact), Field(gt=0)]
Share: TypeAlias = Annotated[Decimal, BeforeValidator(_exact), Field(gt=0, le=1)]
Mark: TypeAlias = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, le=100)]
Level: TypeAlias = Annotated[StrictInt, Field(ge=1, le=8)]
Count: TypeAlias = Annotated[StrictInt, Field(ge=1, le=1000)]
Months: TypeAlias = Annotated[StrictInt, Field(ge=1, le=120)]
Minutes: TypeAlias = Annotated[StrictInt, Field(ge=1, le=1440)]

LateTreatment: TypeAlias = Literal["counts", "counts-not"]
PartialTreatment: TypeAlias = Literal["proportional", "threshold", "not"]
ExcuseTreatment: TypeAlias = Literal["counts", "leaves-denominator", "absent"]
ExcusedTreatment: TypeAlias = Literal["counts", "leaves-denominator", "absent", "by-code"]
UnitTiming: TypeAlias = Literal["scheduled", "unscheduled"]
AssessmentKind: TypeAlias = Literal[
    "project", "coursework", "exam", "portfolio", "presentation", "computer-marked", "overall"
]
AwardKind: TypeAlias = Literal["completion", "credit"]
ConfirmationMode: TypeAlias = Literal["automatic", "board"]
QualificationClaim: TypeAlias = Literal["contributes", "completed"]


class Part(BaseModel):
    """A frozen piece of a programme; an unknown key is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Organisation(Part):
    """A body that owns, provides or awards."""

    id: Id = Field(description="The body's id, as in the tokens of its staff.")
    title: Text = Field(description="The body's name, as certificates show it.")


class Duration(Part):
    """How long an enrolment lasts, in calendar months with the last day included."""

    min_months: Months = Field(description="Shortest.")
    max_months: Months = Field(description="Longest: the window in which attendance and meetings count.")


class Module(Part):
    """A part of the programme with a subject of its own."""

    id: Id = Field(description="Unique among the programme's modules.")
    title: Text = Field(description="For people.")


class Attribute(Part):
    """A property that every record of the kind states, such as the sector of a placement."""

    id: Id = Field(description="Unique within its unit kind.")
    title: Text = Field(description="For people.")
    values: tuple[Id, ...] = Field(min_length=1, max_length=50, description="The closed list of values.")


class UnitKind(Part):
    """What a register marks: a half-day, a residential day, a coaching session, a placement."""

    id: Id = Field(description="Unique among the programme's unit kinds.")
    title: Text = Field(description="For people.")
    kind: UnitTiming = Field(
        description="`scheduled`: sessions exist before they are attended. `unscheduled`: the record creates the unit."
    )
    unit: Word = Field(default="unit", description="The word for one unit, as in '1 day'.")
    units: Word = Field(default="units", description="The word for several, as in '2 days'.")
    minutes: Minutes | None = Field(
        default=None,
        description="Usual length of one unscheduled unit: what a partial record is measured against where it states "
        "none of its own. Unscheduled kinds only.",
    )
    attributes: tuple[Attribute, ...] = Field(
        default=(), max_length=20, description="What each record of an unscheduled kind states."
    )


class Event(Part):
    """Groups sessions: a residential, a launch."""

    id: Id = Field(description="Unique among the programme's events.")
    title: Text = Field(description="For people.")


class TimetableSession(Part):
    """One session of a cohort, by days from the cohort's start: the smallest thing a register marks."""

    id: Id = Field(description="Unique in the timetable.")
    title: Text = Field(description="For people.")
    unit_kind: Id = Field(description="A scheduled unit kind.")
    event: Id | None = Field(default=None, description="The event it belongs to.")
    module: Id | None = Field(default=None, description="The module it belongs to.")
    day: Annotated[StrictInt, Field(ge=0, le=3660)] = Field(description="Days from the cohort's start; 0 is the first.")
    start: Clock = Field(description="Local time in the programme's zone, `HH:MM`.")
    minutes: Minutes = Field(description="Scheduled length: what a partial attendance is measured against.")
    place: Text | None = Field(default=None, description="Where, or `online`.")
    provider: Id | None = Field(default=None, description="Who posts this register; left out: the cohort's provider.")


class CohortDefaults(Part):
    """What a cohort is opened with unless its opening says otherwise."""

    capacity: Annotated[StrictInt, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="Most places; left out: no limit."
    )
    waiting_list: StrictBool = Field(default=False, description="True: requests beyond the capacity wait in order.")


class Assessment(Part):
    """A component that assessors judge."""

    id: Id = Field(description="Unique among the programme's assessments.")
    title: Text = Field(description="For people.")
    kind: AssessmentKind = Field(description="What is judged; `overall` is the result of the whole.")
    optional: StrictBool = Field(default=False, description="True: a learner opts in by registering for it.")
    max_attempts: Annotated[StrictInt, Field(ge=1, le=20)] = Field(
        default=1, description="The first submission and the resubmissions together."
    )
    pass_mark: Mark | None = Field(default=None, description="Of 100; left out: the assessor says passed or not.")


class ExcuseCode(Part):
    """A reason for an excused absence, from a closed list."""

    id: Id = Field(description="Unique among the programme's excuse codes; what a register carries.")
    title: Text = Field(description="For people.")
    treatment: ExcuseTreatment = Field(
        description="What it is worth where a rule says `by-code`: `counts` as attended, `leaves-denominator` as if "
        "the session were not there, `absent`."
    )


class AwardReference(Part):
    """An award of any version of a programme."""

    programme: Id = Field(description="Id of a programme of the catalogue.")
    award: Id = Field(description="Id of one of its awards.")


class Mentoring(Part):
    """How mentors and mentees meet."""

    shortlist: Count = Field(description="Mentors offered, exactly.")
    choices: Count = Field(description="Mentors chosen from them.")
    meetings: Count = Field(description="Meetings foreseen; both sides confirm each.")
    within_months: Months = Field(description="Calendar months from the match, the last day included.")
    mentor_standing: AwardReference = Field(description="The award a mentor must hold.")


class Treatment(Part):
    """What each state of attendance is worth to one rule. Present counts, absent does not, unmarked is neither."""

    late: LateTreatment = Field(default="counts", description="Whether late counts as present.")
    partial: PartialTreatment = Field(
        default="proportional",
        description="`proportional`: minutes attended over minutes scheduled. `threshold`: a whole unit from the "
        "threshold on, nothing below. `not`: nothing.",
    )
    threshold_minutes: Minutes | None = Field(
        default=None, description="With `threshold`: minutes needed; or the share."
    )
    threshold_share: Share | None = Field(
        default=None, description="With `threshold`: share of the unit's minutes needed."
    )
    excused: ExcusedTreatment = Field(
        default="by-code",
        description="As for an excuse code, for every code alike; or `by-code`. A count of units has no denominator: "
        "there, what leaves it counts nothing and the need stays.",
    )


class Node(Part):
    """What every node of a rule tree may carry for the learner."""

    id: Id | None = Field(default=None, description="Unique within the award's rule.")
    title: Text | None = Field(default=None, description="What the learner reads instead of the general words.")


class AllOf(Node):
    """Every condition holds."""

    check: Literal["all-of"]
    of: tuple[Rule, ...] = Field(min_length=1, max_length=50, description="The conditions.")


class AnyOf(Node):
    """At least one condition holds."""

    check: Literal["any-of"]
    of: tuple[Rule, ...] = Field(min_length=1, max_length=50, description="The conditions.")


class AtLeast(Node):
    """At least so many of the conditions hold."""

    check: Literal["at-least"]
    at_least: Count = Field(description="How many.")
    of: tuple[Rule, ...] = Field(min_length=1, max_length=50, description="The conditions.")


class AttributeValue(Part):
    """An attribute of the unit kind and the value it must have."""

    attribute: Id = Field(description="An attribute of the unit kind.")
    value: Id = Field(description="One of its values.")


class Attended(Node):
    """Units of one kind attended, counted."""

    check: Literal["attended"]
    unit_kind: Id = Field(description="The unit kind.")
    module: Id | None = Field(default=None, description="Only sessions of this module; of a scheduled kind.")
    where: tuple[AttributeValue, ...] = Field(
        default=(), max_length=20, description="Only records with these attribute values."
    )
    at_least: Count = Field(description="Units needed.")
    treatment: Treatment = Field(default=Treatment(), description="What late, partial and excused are worth.")


class ShareOfSessions(Node):
    """A share of the cohort's sessions attended; cancelled ones leave the denominator."""

    check: Literal["share-of-sessions"]
    unit_kind: Id | None = Field(default=None, description="Only sessions of this scheduled kind.")
    module: Id | None = Field(default=None, description="Only sessions of this module.")
    at_least: Share = Field(description="Share needed, above 0 and at most 1.")
    treatment: Treatment = Field(default=Treatment(), description="What late, partial and excused are worth.")


class MeetingsHeld(Node):
    """Mentoring meetings held, each confirmed by both."""

    check: Literal["meetings-held"]
    at_least: Count = Field(description="Meetings needed.")
    within_months: Months | None = Field(
        default=None,
        description="Calendar months from the match, the last day included; left out: the enrolment's own window.",
    )


class AssessmentPassed(Node):
    """A component passed."""

    check: Literal["assessment-passed"]
    component: Id = Field(description="An assessment of the programme.")
    carried_over: StrictBool = Field(
        default=False, description="True: a pass carried over from an earlier presentation counts as well."
    )


class CreditsHeld(Node):
    """Credits the person holds, the award being decided left out."""

    check: Literal["credits"]
    at_least: Amount = Field(description="Credits needed.")
    of_which: Amount | None = Field(default=None, description="How many of them at `level` or above; with `level`.")
    level: Level | None = Field(default=None, description="With `of_which`.")
    from_awards: tuple[AwardReference, ...] = Field(
        default=(), max_length=100, description="Only credits of these awards; left out: of any award."
    )


class Always(Node):
    """No condition: 'no attendance threshold' is a legal rule."""

    check: Literal["always"]


Rule: TypeAlias = Annotated[
    AllOf | AnyOf | AtLeast | Attended | ShareOfSessions | MeetingsHeld | AssessmentPassed | CreditsHeld | Always,
    Field(discriminator="check"),
]
for _group in (AllOf, AnyOf, AtLeast):
    _group.model_rebuild()  # they name Rule before it is


class Credit(Part):
    """What a credit award is worth."""

    credits: Amount = Field(description="Credits: one is ten notional hours.")
    scheme: Literal["CATS"] = Field(description="The credit scheme.")
    level: Level = Field(description="1 to 8 (FHEQ); 7 is master's level.")
    ects: Amount = Field(description="ECTS credits: half the CATS credits.")
    transferable: StrictBool = Field(description="Whether other bodies may recognise it.")


class Qualification(Part):
    """What may be claimed of a qualification: apart from the award's title and from its credits."""

    title: Text = Field(description="The qualification's name.")
    claim: QualificationClaim = Field(description="`contributes`: a part of it and no more. `completed`: the whole.")
    credits: Amount = Field(description="Credits of the whole qualification.")
    of_which: Amount = Field(description="How many of them at `level` or above.")
    level: Level = Field(description="The qualification's level.")


class Award(Part):
    """What a learner can earn. Completion is not credit."""

    id: Id = Field(description="Unique among the programme's awards.")
    title: Text = Field(description="The award's title.")
    kind: AwardKind = Field(description="`credit` carries credits and needs a passed assessment; `completion` neither.")
    rule: Rule = Field(description="The rule tree that earns it; see Rules.")
    confirmation: ConfirmationMode = Field(
        description="`automatic`: confirmed once it is earned. `board`: provisional until the awarding body decides."
    )
    credit: Credit | None = Field(default=None, description="With `kind: credit`, and only then.")
    qualification: Qualification | None = Field(default=None, description="What may be claimed of a qualification.")
    rank: Count | None = Field(
        default=None,
        description="Under `credit_cap` the lowest rank is awarded first; then every credit award has its own.",
    )
    certificate: StrictBool = Field(
        default=False, description="True: a certificate is due once the award is confirmed."
    )


class Programme(Part):
    """One version of a programme. Once loaded it never changes: a change is a new version."""

    credence: Literal[1] = Field(description="Version of this schema.")
    id: Id = Field(description="The programme's id, the same in all its versions.")
    version: Annotated[StrictInt, Field(ge=1, le=100_000)] = Field(description="This version, from 1.")
    title: Text = Field(description="For people.")
    owner: Organisation = Field(description="Who owns the scheme in this version.")
    awarding_body: Organisation | None = Field(
        default=None, description="Who confirms and certifies; needed for credit and for a board."
    )
    zone: Text = Field(default="Europe/London", description="IANA time zone of the programme's dates and times.")
    duration: Duration = Field(description="How long an enrolment lasts.")
    notional_hours: Annotated[StrictInt, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="Hours of learning of all kinds; at least ten for every credit."
    )
    modules: tuple[Module, ...] = Field(default=(), max_length=100, description="Its modules.")
    unit_kinds: tuple[UnitKind, ...] = Field(default=(), max_length=50, description="What its registers mark.")
    events: tuple[Event, ...] = Field(default=(), max_length=200, description="What groups its sessions.")
    timetable: tuple[TimetableSession, ...] = Field(
        default=(), max_length=500, description="The sessions a cohort opens with."
    )
    cohort: CohortDefaults = Field(default=CohortDefaults(), description="What a cohort opens with.")
    assessments: tuple[Assessment, ...] = Field(default=(), max_length=100, description="Its assessed components.")
    excuse_codes: tuple[ExcuseCode, ...] = Field(default=(), max_length=50, description="Reasons a register may give.")
    mentoring: Mentoring | None = Field(default=None, description="Left out: no mentoring.")
    awards: tuple[Award, ...] = Field(min_length=1, max_length=50, description="What can be earned.")
    credit_cap: Amount | None = Field(
        default=None, description="Most credits one person may get from this programme; left out: no cap."
    )

    def unit_kind(self, unit_kind_id: str) -> UnitKind | None:
        return next((kind for kind in self.unit_kinds if kind.id == unit_kind_id), None)

    def assessment(self, component: str) -> Assessment | None:
        return next((assessment for assessment in self.assessments if assessment.id == component), None)

    def award(self, award_id: str) -> Award | None:
        return next((award for award in self.awards if award.id == award_id), None)

    def excuse(self, code: str) -> ExcuseCode | None:
        return next((excuse for excuse in self.excuse_codes if excuse.id == code), None)


def children(rule: Rule) -> tuple[Rule, ...]:
    """The conditions of a node; none for a leaf."""
    return rule.of if isinstance(rule, AllOf | AnyOf | AtLeast) else ()


def rule_version(award: Award) -> str:
    """Names the rule an award is decided on: 16 hex digits of the SHA-256 of its canonical JSON.

    Two programme versions that leave a rule as it is share its rule version. Defaults are left out of it, so that a
    key added to the schema later does not rename every rule written before.
    """
    rule = award.rule.model_dump(mode="json", exclude_defaults=True)
    canonical = json.dumps(rule, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
