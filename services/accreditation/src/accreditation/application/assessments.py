"""What recording assessments needs: the enrolment and its programme as known here, the caller's reach, the dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TypeAlias, assert_never

from accreditation.domain import assessment
from accreditation.domain.assessment import (
    ASSESSMENT,
    AssessmentCommand,
    Assessments,
    AssessWork,
    CarryOverResult,
    RegisterAssessment,
    ResultWord,
    ReviseResult,
    SubmitWork,
)
from accreditation.domain.civil import civil_date
from accreditation.domain.facts import EnrolmentRecord
from accreditation.domain.looked_up import Circumstances
from accreditation.domain.standing import body_of
from accreditation.views.enrolments import ENROLMENTS
from accreditation.views.programmes import PROGRAMMES
from catalogue.ids import join_id
from catalogue.model import Assessment, Programme
from eventcore.decider import Refusal
from eventcore.execute import Request
from eventcore.outcome import Outcome
from servicekit.kernel import NOT_FOUND, Kernel
from servicekit.scope import Scope

NOT_READY = Refusal("not-ready", "the programme of this enrolment has not arrived here yet: send it again")


@dataclass(frozen=True)
class Register:
    """The learner opts in."""


@dataclass(frozen=True)
class Submit:
    """`on` None: today. `attempt` None: the first, or the resubmission that a referral asks for."""

    on: date | None
    attempt: int | None = None


@dataclass(frozen=True)
class Assess:
    """`attempt` None: the submission that waits."""

    result: ResultWord
    mark: Decimal | None
    on: date | None
    attempt: int | None = None


@dataclass(frozen=True)
class CarryOver:
    result: ResultWord
    mark: Decimal | None
    on: date | None
    from_cohort: str | None


@dataclass(frozen=True)
class Revise:
    result: ResultWord
    mark: Decimal | None
    on: date | None
    replaces: int
    reason_code: str


Step: TypeAlias = Register | Submit | Assess | CarryOver | Revise


@dataclass(frozen=True)
class Wish:
    """One row of a batch."""

    command_id: str
    cohort_id: str
    person_id: str
    component_id: str
    step: Step


async def record_assessments(
    kernel: Kernel, scope: Scope, wishes: Sequence[Wish | Refusal]
) -> list[Outcome[Assessments]]:
    """One outcome a row; the rows of one learner are decided in their order, as one append."""
    known = [w for w in wishes if isinstance(w, Wish)]
    streams = [f"{ENROLMENTS.category}-{join_id(w.cohort_id, w.person_id)}" for w in known]
    enrolments = await kernel.reader.get(ENROLMENTS, streams)
    named = {f.document.programme for f in enrolments.values() if f.document is not None}
    found = await kernel.reader.get(PROGRAMMES, [f"{PROGRAMMES.category}-{name}" for name in named])
    programmes = {
        stream.removeprefix(f"{PROGRAMMES.category}-"): fact.document.programme
        for stream, fact in found.items()
        if fact.document is not None
    }

    def request(wish: Wish) -> Request[AssessmentCommand] | Refusal:
        target = join_id(wish.cohort_id, wish.person_id)
        enrolment = enrolments[f"{ENROLMENTS.category}-{target}"].document
        command = _command(kernel, scope, wish, enrolment, programmes)
        if isinstance(command, Refusal):
            return command
        return kernel.request(f"{assessment.CATEGORY}-{target}", command, wish.command_id)

    return await kernel.execute(ASSESSMENT, [w if isinstance(w, Refusal) else request(w) for w in wishes])


def _command(
    kernel: Kernel,
    scope: Scope,
    wish: Wish,
    enrolment: EnrolmentRecord | None,
    programmes: Mapping[str, Programme],
) -> AssessmentCommand | Refusal:
    programme = programmes.get(enrolment.programme) if enrolment is not None else None
    if enrolment is None or not _may(scope, wish, programme):
        return NOT_FOUND
    if programme is None:
        return NOT_READY
    component = programme.assessment(wish.component_id)
    if component is None:
        wrong = ("component_id", f"must be one of {', '.join(each.id for each in programme.assessments) or 'none'}")
        return Refusal("unknown-component", f"{programme.id} has no such component", (wrong,))
    circumstances = Circumstances(
        today=civil_date(kernel.clock(), programme.zone),
        importer=scope.unrestricted,
        placed=enrolment.placed_on is not None,
        withdrawn_on=enrolment.withdrawn_on,
    )
    return _to_command(wish.step, component, circumstances)


def _may(scope: Scope, wish: Wish, programme: Programme | None) -> bool:
    """An importer records anything, an assessor what its body answers for, a learner its own wish to be assessed."""
    if scope.unrestricted or (programme is not None and scope.sees_body(body_of(programme))):
        return True
    return scope.sees_person(wish.person_id) and isinstance(wish.step, Register | Submit)


def _to_command(step: Step, component: Assessment, circumstances: Circumstances) -> AssessmentCommand:
    match step:
        case Register():
            return RegisterAssessment(component_id=component.id, circumstances=circumstances)
        case Submit():
            return SubmitWork(
                component_id=component.id,
                attempt=step.attempt,
                submitted_on=step.on,
                circumstances=circumstances,
                opt_in=component.optional,
                max_attempts=component.max_attempts,
            )
        case Assess():
            return AssessWork(
                component_id=component.id,
                attempt=step.attempt,
                result=step.result,
                mark=step.mark,
                assessed_on=step.on,
                circumstances=circumstances,
                pass_mark=component.pass_mark,
            )
        case CarryOver():
            return CarryOverResult(
                component_id=component.id,
                result=step.result,
                mark=step.mark,
                carried_on=step.on,
                circumstances=circumstances,
                from_cohort=step.from_cohort,
            )
        case Revise():
            return ReviseResult(
                component_id=component.id,
                result=step.result,
                mark=step.mark,
                assessed_on=step.on,
                circumstances=circumstances,
                replaces=step.replaces,
                reason_code=step.reason_code,
                pass_mark=component.pass_mark,
            )
        case _:
            assert_never(step)
