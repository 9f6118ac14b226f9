"""Assessed work of one enrolment, all its components in one stream: registered, submitted, assessed, resubmitted.

One stream per enrolment, not per component, so that a batch of one learner's results is one append, and a standing
reads one document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import ClassVar, Literal, TypeAlias, assert_never

from accreditation.domain.limits import STEPS_MAX
from eventcore.decider import Command, Decider, Refusal
from eventcore.event import Event

CATEGORY = "assessment"

ResultWord: TypeAlias = Literal["passed", "referred", "failed"]


# Events


class AssessmentRegistered(Event):
    """The learner opted in."""

    stored_type: ClassVar[str] = "assessment.registered.v1"
    component_id: str
    registered_on: date


class WorkSubmitted(Event):
    """`attempt` counts from 1; from 2 on it is a resubmission."""

    stored_type: ClassVar[str] = "assessment.submitted.v1"
    component_id: str
    attempt: int
    submitted_on: date


class WorkAssessed(Event):
    stored_type: ClassVar[str] = "assessment.assessed.v1"
    component_id: str
    result: ResultWord
    mark: Decimal | None
    assessed_on: date


class ResultCarriedOver(Event):
    """A result earned in an earlier presentation, by the learner, of the same component."""

    stored_type: ClassVar[str] = "assessment.carried-over.v1"
    component_id: str
    result: ResultWord
    mark: Decimal | None
    carried_on: date
    from_cohort: str | None


class ResultRevised(Event):
    """Another result in place of that of version `replaces`, which stays in the stream."""

    stored_type: ClassVar[str] = "assessment.revised.v1"
    component_id: str
    result: ResultWord
    mark: Decimal | None
    assessed_on: date
    replaces: int
    reason_code: str


AssessmentEvent: TypeAlias = AssessmentRegistered | WorkSubmitted | WorkAssessed | ResultCarriedOver | ResultRevised


def effective_on(event: AssessmentEvent) -> date:
    """The civil date from which an event is true, whenever it was recorded."""
    match event:
        case AssessmentRegistered():
            return event.registered_on
        case WorkSubmitted():
            return event.submitted_on
        case WorkAssessed() | ResultRevised():
            return event.assessed_on
        case ResultCarriedOver():
            return event.carried_on
        case _:
            assert_never(event)


# State


@dataclass(frozen=True)
class CurrentResult:
    """The result that stands, and the version that set it: what a revision must name."""

    version: int
    result: ResultWord
    mark: Decimal | None
    on: date
    carried_over: bool = False
    replaces: int | None = None

    def says(self, result: ResultWord, mark: Decimal | None, on: date) -> bool:
        return (self.result, self.mark, self.on) == (result, mark, on)


@dataclass(frozen=True)
class Component:
    """`waiting` is the date of the submission that has no result yet."""

    registered: bool = False
    attempts: int = 0
    waiting: date | None = None
    current: CurrentResult | None = None

    def exhausted(self, max_attempts: int) -> bool:
        """Whether no pass can come any more, unless a result is revised."""
        if self.current is None or self.waiting is not None:
            return False
        return self.current.result == "failed" or (self.current.result == "referred" and self.attempts >= max_attempts)


@dataclass(frozen=True)
class Assessments:
    components: Mapping[str, Component] = field(default_factory=dict)
    steps: int = 0

    def of(self, component_id: str) -> Component:
        return self.components.get(component_id, Component())


def evolve(state: Assessments, event: AssessmentEvent, version: int) -> Assessments:
    was = state.of(event.component_id)
    match event:
        case AssessmentRegistered():
            now = replace(was, registered=True)
        case WorkSubmitted():
            now = replace(was, attempts=event.attempt, waiting=event.submitted_on)
        case WorkAssessed():
            now = replace(
                was, waiting=None, current=CurrentResult(version, event.result, event.mark, event.assessed_on)
            )
        case ResultCarriedOver():
            carried = CurrentResult(version, event.result, event.mark, event.carried_on, carried_over=True)
            now = replace(was, current=carried)
        case ResultRevised():
            revised = CurrentResult(
                version,
                event.result,
                event.mark,
                event.assessed_on,
                # A corrected clerical error does not turn a carried-over result into one earned here.
                carried_over=was.current is not None and was.current.carried_over,
                replaces=event.replaces,
            )
            now = replace(was, current=revised)
        case _:
            assert_never(event)
    return Assessments({**state.components, event.component_id: now}, state.steps + 1)


# Commands. What the programme says of the component comes in with the command: a loaded version never changes.


class RegisterAssessment(Command):
    component_id: str
    registered_on: date


class SubmitWork(Command):
    """`opt_in`: the component is optional, so the learner must have registered for it."""

    component_id: str
    submitted_on: date
    opt_in: bool
    max_attempts: int


class AssessWork(Command):
    component_id: str
    result: ResultWord
    mark: Decimal | None
    assessed_on: date
    pass_mark: Decimal | None


class CarryOverResult(Command):
    component_id: str
    result: ResultWord
    mark: Decimal | None
    carried_on: date
    from_cohort: str | None


class ReviseResult(Command):
    component_id: str
    result: ResultWord
    mark: Decimal | None
    assessed_on: date
    replaces: int
    reason_code: str
    pass_mark: Decimal | None


AssessmentCommand: TypeAlias = RegisterAssessment | SubmitWork | AssessWork | CarryOverResult | ReviseResult


def decide(command: AssessmentCommand, state: Assessments, now: datetime) -> Sequence[AssessmentEvent] | Refusal:
    decision = _decide(command, state.of(command.component_id))
    if decision and not isinstance(decision, Refusal) and state.steps >= STEPS_MAX:
        return Refusal("too-many-steps", f"this enrolment holds {STEPS_MAX} assessment steps already: ask an operator")
    return decision


def _decide(command: AssessmentCommand, component: Component) -> Sequence[AssessmentEvent] | Refusal:
    match command:
        case RegisterAssessment():
            return _register(command, component)
        case SubmitWork():
            return _submit(command, component)
        case AssessWork():
            return _assess(command, component)
        case CarryOverResult():
            return _carry_over(command, component)
        case ReviseResult():
            return _revise(command, component)
        case _:
            assert_never(command)


def _register(command: RegisterAssessment, component: Component) -> Sequence[AssessmentEvent] | Refusal:
    if component.registered:
        return []
    return [AssessmentRegistered(component_id=command.component_id, registered_on=command.registered_on)]


def _submit(command: SubmitWork, component: Component) -> Sequence[AssessmentEvent] | Refusal:
    if component.waiting is not None:
        if component.waiting == command.submitted_on:
            return []
        return Refusal(
            "already-submitted",
            f"a submission of {component.waiting} waits for its result: have it assessed first",
            (("submit.submitted_on", f"{component.waiting} stands"),),
            conflict=True,
        )
    current = component.current
    if current is None and command.opt_in and not component.registered:
        return Refusal("not-registered", "this component is optional: register for it, then submit")
    if current is not None and current.result != "referred":
        return Refusal(f"already-{current.result}", f"the result is {current.result}: only a referral is resubmitted")
    if component.attempts >= command.max_attempts:
        return Refusal("no-attempt-left", f"all {command.max_attempts} attempts are used: ask the awarding body")
    attempt = component.attempts + 1
    return [WorkSubmitted(component_id=command.component_id, attempt=attempt, submitted_on=command.submitted_on)]


def _assess(command: AssessWork, component: Component) -> Sequence[AssessmentEvent] | Refusal:
    if component.waiting is None:
        current = component.current
        if current is None:
            return Refusal("nothing-submitted", "no submission waits for a result: submit the work first")
        if current.says(command.result, command.mark, command.assessed_on):
            return []
        return _stands("result-stands", current, "to change it, revise it and name this version in `replaces`")
    if command.assessed_on < component.waiting:
        return Refusal(
            "assessed-before-submitted",
            f"the work was submitted on {component.waiting}: give a later date",
            (("assess.assessed_on", f"must not be before {component.waiting}"),),
        )
    if (wrong := _below_pass_mark("assess", command)) is not None:
        return wrong
    return [
        WorkAssessed(
            component_id=command.component_id,
            result=command.result,
            mark=command.mark,
            assessed_on=command.assessed_on,
        )
    ]


def _carry_over(command: CarryOverResult, component: Component) -> Sequence[AssessmentEvent] | Refusal:
    current = component.current
    if current is not None:
        if current.carried_over and current.says(command.result, command.mark, command.carried_on):
            return []
        return _stands("result-stands", current, "a result is carried over only where there is none")
    if component.waiting is not None:
        return Refusal("submission-waits", f"a submission of {component.waiting} waits: have it assessed instead")
    return [
        ResultCarriedOver(
            component_id=command.component_id,
            result=command.result,
            mark=command.mark,
            carried_on=command.carried_on,
            from_cohort=command.from_cohort,
        )
    ]


def _revise(command: ReviseResult, component: Component) -> Sequence[AssessmentEvent] | Refusal:
    current = component.current
    if current is None:
        return Refusal("nothing-assessed", "there is no result to revise yet: assess the work")
    same = current.says(command.result, command.mark, command.assessed_on)
    if same and command.replaces in (current.version, current.replaces):
        return []
    if command.replaces != current.version:
        return _stands("replaces-not-current", current, "look at it, and name this version if it is still wrong")
    if component.waiting is not None:
        # Two results would stand for one submission: the revised one, and the one the assessor is about to give.
        return Refusal("submission-waits", "a resubmission waits for its result: assess it instead")
    if (wrong := _below_pass_mark("revise", command)) is not None:
        return wrong
    return [
        ResultRevised(
            component_id=command.component_id,
            result=command.result,
            mark=command.mark,
            assessed_on=command.assessed_on,
            replaces=command.replaces,
            reason_code=command.reason_code,
        )
    ]


def _stands(code: str, current: CurrentResult, next_step: str) -> Refusal:
    mark = "" if current.mark is None else f" ({current.mark})"
    stands = f"{current.result}{mark} of {current.on}, version {current.version}, stands"
    return Refusal(code, f"{stands}: {next_step}", (("result", stands),), conflict=True)


def _below_pass_mark(step: str, command: AssessWork | ReviseResult) -> Refusal | None:
    if command.result != "passed" or command.mark is None or command.pass_mark is None:
        return None
    if command.mark >= command.pass_mark:
        return None
    return Refusal(
        "mark-below-pass",
        f"the pass mark is {command.pass_mark}: mend the mark or the result",
        ((f"{step}.mark", f"{command.mark} is no pass"),),
    )


ASSESSMENT: Decider[Assessments, AssessmentCommand, AssessmentEvent] = Decider(
    category=CATEGORY,
    events=(AssessmentRegistered, WorkSubmitted, WorkAssessed, ResultCarriedOver, ResultRevised),
    initial=Assessments(),
    evolve=evolve,
    decide=decide,
)
