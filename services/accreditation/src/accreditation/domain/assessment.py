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
from accreditation.domain.looked_up import LOOKED_UP, Circumstances
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
class GivenResult:
    """A result, and the version that set it: what a revision must name. `attempt` 0: carried over, none judged here."""

    version: int
    attempt: int
    result: ResultWord
    mark: Decimal | None
    on: date
    replaces: int | None = None

    @property
    def carried_over(self) -> bool:
        return self.attempt == 0

    def says(self, result: ResultWord, mark: Decimal | None, on: date) -> bool:
        return (self.result, self.mark, self.on) == (result, mark, on)


@dataclass(frozen=True)
class Component:
    """`submissions` are their dates, one an attempt; `results` all that were given, the current one last.

    What is past is kept so that a row sent again is recognised, however late it comes.
    """

    registered: bool = False
    submissions: tuple[date, ...] = ()
    waits: bool = False
    results: tuple[GivenResult, ...] = ()

    @property
    def attempts(self) -> int:
        return len(self.submissions)

    @property
    def waiting(self) -> date | None:
        """The date of the submission that has no result yet."""
        return self.submissions[-1] if self.waits and self.submissions else None

    @property
    def current(self) -> GivenResult | None:
        return self.results[-1] if self.results else None

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
            now = replace(was, submissions=(*was.submissions, event.submitted_on), waits=True)
        case WorkAssessed():
            given = GivenResult(version, was.attempts, event.result, event.mark, event.assessed_on)
            now = replace(was, waits=False, results=(*was.results, given))
        case ResultCarriedOver():
            given = GivenResult(version, 0, event.result, event.mark, event.carried_on)
            now = replace(was, results=(*was.results, given))
        case ResultRevised():
            # A corrected clerical error does not turn a carried-over result into one earned here.
            attempt = was.current.attempt if was.current is not None else was.attempts
            given = GivenResult(version, attempt, event.result, event.mark, event.assessed_on, event.replaces)
            now = replace(was, results=(*was.results, given))
        case _:
            assert_never(event)
    return Assessments({**state.components, event.component_id: now}, state.steps + 1)


# Commands. What the programme says of the component comes in with the command: a loaded version never changes.


# A date that the sender left out stays None in it, so that it is the same command on the day after.


class RegisterAssessment(Command):
    component_id: str
    circumstances: Circumstances = LOOKED_UP


class SubmitWork(Command):
    """`attempt` from 1; None: the first, or the resubmission that a referral asks for.

    `opt_in`: the component is optional, so the learner must have registered for it.
    """

    component_id: str
    attempt: int | None = None
    submitted_on: date | None
    opt_in: bool
    max_attempts: int
    circumstances: Circumstances = LOOKED_UP


class AssessWork(Command):
    """`attempt` is the submission judged, from 1; None: the one that waits."""

    component_id: str
    attempt: int | None = None
    result: ResultWord
    mark: Decimal | None
    assessed_on: date | None
    pass_mark: Decimal | None
    circumstances: Circumstances = LOOKED_UP


class CarryOverResult(Command):
    component_id: str
    result: ResultWord
    mark: Decimal | None
    carried_on: date | None
    from_cohort: str | None
    circumstances: Circumstances = LOOKED_UP


class ReviseResult(Command):
    component_id: str
    result: ResultWord
    mark: Decimal | None
    assessed_on: date | None
    replaces: int
    reason_code: str
    pass_mark: Decimal | None
    circumstances: Circumstances = LOOKED_UP


AssessmentCommand: TypeAlias = RegisterAssessment | SubmitWork | AssessWork | CarryOverResult | ReviseResult


def decide(command: AssessmentCommand, state: Assessments, now: datetime) -> Sequence[AssessmentEvent] | Refusal:
    on = _dated(command)
    if isinstance(on, Refusal):
        return on
    refused = _not_enrolled(command, on)
    if refused is not None:
        return refused
    decision = _decide(command, state.of(command.component_id), on)
    if decision and not isinstance(decision, Refusal) and state.steps >= STEPS_MAX:
        return Refusal("too-many-steps", f"this enrolment holds {STEPS_MAX} assessment steps already: ask an operator")
    return decision


def _dated(command: AssessmentCommand) -> date | Refusal:
    """The step's civil date. Nobody names a day to come; only an importer one that is past."""
    today = command.circumstances.today
    match command:
        case RegisterAssessment():
            return today
        case SubmitWork(submitted_on=on):
            field = "submit.submitted_on"
        case AssessWork(assessed_on=on):
            field = "assess.assessed_on"
        case CarryOverResult(carried_on=on):
            field = "carry_over.carried_on"
        case ReviseResult(assessed_on=on):
            field = "revise.assessed_on"
        case _:
            assert_never(command)
    if on is None or on == today:
        return today
    if on > today:
        return Refusal("date-in-future", f"today is {today}: name it or leave it out", ((field, "is still to come"),))
    if not command.circumstances.importer:
        message = f"only an importer names a past date: leave it out for today, {today}"
        return Refusal("date-in-past", message, ((field, f"must be {today}"),))
    return on


def _not_enrolled(command: AssessmentCommand, on: date) -> Refusal | None:
    """Who never had a place is not assessed; who left submits nothing more.

    An importer records the past as it was, late submissions of people who had left included: they earn nothing.
    """
    if not command.circumstances.placed:
        return Refusal("not-placed", "the learner has no place on this cohort: look at the enrolment")
    left = command.circumstances.withdrawn_on
    own = isinstance(command, RegisterAssessment | SubmitWork)
    if left is not None and on >= left and own and not command.circumstances.importer:
        return Refusal("withdrawn", f"the learner left on {left}: what is submitted from then on does not count")
    return None


def _decide(command: AssessmentCommand, component: Component, on: date) -> Sequence[AssessmentEvent] | Refusal:
    match command:
        case RegisterAssessment():
            return _register(command, component, on)
        case SubmitWork():
            return _submit(command, component, on)
        case AssessWork():
            return _assess(command, component, on)
        case CarryOverResult():
            return _carry_over(command, component, on)
        case ReviseResult():
            return _revise(command, component, on)
        case _:
            assert_never(command)


def _register(command: RegisterAssessment, component: Component, on: date) -> Sequence[AssessmentEvent] | Refusal:
    if component.registered:
        return []
    return [AssessmentRegistered(component_id=command.component_id, registered_on=on)]


def _submit(command: SubmitWork, component: Component, on: date) -> Sequence[AssessmentEvent] | Refusal:
    current, waiting = component.current, component.waiting
    if on in component.submissions and not _new_attempt(command, component, on):
        return []
    if waiting is not None:
        return Refusal(
            "already-submitted",
            f"a submission of {waiting} waits for its result: have it assessed first",
            (("submit.submitted_on", f"{waiting} stands"),),
            conflict=True,
        )
    if current is None and command.opt_in and not component.registered:
        return Refusal("not-registered", "this component is optional: register for it, then submit")
    if current is not None and current.result != "referred":
        return Refusal(f"already-{current.result}", f"the result is {current.result}: only a referral is resubmitted")
    if component.attempts >= command.max_attempts:
        return Refusal("no-attempt-left", f"all {command.max_attempts} attempts are used: ask the awarding body")
    attempt = component.attempts + 1
    if command.attempt not in (None, attempt):
        wrong = (("submit.attempt", f"must be {attempt}"),)
        return Refusal("wrong-attempt", f"the next submission is attempt {attempt}: name it", wrong, conflict=True)
    if current is not None and on < current.on:
        return Refusal(
            "submitted-before-referral",
            f"the referral is of {current.on}: what is submitted again is dated then or later",
            (("submit.submitted_on", f"must not be before {current.on}"),),
        )
    return [WorkSubmitted(component_id=command.component_id, attempt=attempt, submitted_on=on)]


def _new_attempt(command: SubmitWork, component: Component, on: date) -> bool:
    """Whether a row dated like an earlier submission is another one all the same, not the earlier one sent again.

    Within a day only the attempt's number tells them apart; without it, a referral of that day asks for another.
    """
    if command.attempt is not None:
        return command.attempt > component.attempts
    current = component.current
    referred = current is not None and current.result == "referred" and component.waiting is None
    return referred and current is not None and on >= current.on


def _assess(command: AssessWork, component: Component, on: date) -> Sequence[AssessmentEvent] | Refusal:
    current, waiting = component.current, component.waiting
    if _said_before(command, component, on):
        return []
    if waiting is None or command.attempt not in (None, component.attempts):
        if current is None or (command.attempt is not None and command.attempt > component.attempts):
            return Refusal("nothing-submitted", "no submission waits for a result: submit the work first")
        return _stands("result-stands", current, "to change it, revise it and name this version in `replaces`")
    if on < waiting:
        return Refusal(
            "assessed-before-submitted",
            f"the work was submitted on {waiting}: give a later date",
            (("assess.assessed_on", f"must not be before {waiting}"),),
        )
    if (wrong := _below_pass_mark("assess", command)) is not None:
        return wrong
    return [
        WorkAssessed(
            component_id=command.component_id,
            result=command.result,
            mark=command.mark,
            assessed_on=on,
        )
    ]


def _said_before(command: AssessWork, component: Component, on: date) -> bool:
    """Whether an earlier submission was given this very result, and the row is not about the one that waits."""
    waiting = component.waiting
    if waiting is not None and command.attempt in (None, component.attempts) and on >= waiting:
        return False
    return any(
        each.says(command.result, command.mark, on)
        for each in component.results
        if not each.carried_over and each.replaces is None and command.attempt in (None, each.attempt)
    )


def _carry_over(command: CarryOverResult, component: Component, on: date) -> Sequence[AssessmentEvent] | Refusal:
    carried = [each for each in component.results if each.carried_over and each.replaces is None]
    if any(each.says(command.result, command.mark, on) for each in carried):
        return []
    if component.current is not None:
        return _stands("result-stands", component.current, "a result is carried over only where there is none")
    if component.waiting is not None:
        return Refusal("submission-waits", f"a submission of {component.waiting} waits: have it assessed instead")
    return [
        ResultCarriedOver(
            component_id=command.component_id,
            result=command.result,
            mark=command.mark,
            carried_on=on,
            from_cohort=command.from_cohort,
        )
    ]


def _revise(command: ReviseResult, component: Component, on: date) -> Sequence[AssessmentEvent] | Refusal:
    current = component.current
    if current is None:
        return Refusal("nothing-assessed", "there is no result to revise yet: assess the work")
    same = [each for each in component.results if each.says(command.result, command.mark, on)]
    if any(each.replaces == command.replaces for each in same) or (
        command.replaces == current.version and current in same
    ):
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
            assessed_on=on,
            replaces=command.replaces,
            reason_code=command.reason_code,
        )
    ]


def _stands(code: str, current: GivenResult, next_step: str) -> Refusal:
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
