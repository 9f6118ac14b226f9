"""AssessmentService: proto to wish, document to proto."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, assert_never

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from accreditation.api.rows import check_names, mark, reason_code
from accreditation.application.assessments import (
    Assess,
    CarryOver,
    Register,
    Revise,
    Step,
    Submit,
    Wish,
    record_assessments,
)
from accreditation.application.publishing import RESULTS
from accreditation.domain import assessment
from accreditation.domain.assessment import ASSESSMENT, AssessmentEvent, Component, ResultWord
from accreditation.domain.facts import AssessmentRecord, Kept, events
from accreditation.domain.limits import LEARNERS_PER_PAGE_MAX
from accreditation.views.assessments import ASSESSMENTS, get_assessments, list_assessments
from accreditation.views.enrolments import ENROLMENTS
from accreditation.views.programmes import PROGRAMMES
from credence.accreditation.v1 import assessments_pb2 as pb
from credence.accreditation.v1 import assessments_pb2_grpc
from credence.common.v1 import outcome_pb2
from eventcore.decider import Refusal
from servicekit.batches import rows
from servicekit.call import current_scope
from servicekit.errors import NotFound
from servicekit.kernel import Kernel, malformed
from servicekit.pages import page
from servicekit.violations import Violations

_RESULTS: dict[int, ResultWord] = {code: word for word, code in RESULTS.items()}
_STATES: dict[ResultWord, pb.AssessmentState.ValueType] = {
    "passed": pb.ASSESSMENT_STATE_PASSED,
    "referred": pb.ASSESSMENT_STATE_REFERRED,
    "failed": pb.ASSESSMENT_STATE_FAILED,
}


class AssessmentApi(assessments_pb2_grpc.AssessmentServiceServicer):
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def RecordAssessments(
        self, request: pb.RecordAssessmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> outcome_pb2.BatchResponse:
        wishes = [_wish(row) for row in rows(request.rows)]
        await self._kernel.caught_up(request.token, views=[ENROLMENTS, PROGRAMMES])
        return self._kernel.answer(await record_assessments(self._kernel, current_scope(), wishes))

    async def GetAssessments(
        self, request: pb.GetAssessmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetAssessmentsResponse:
        found = Violations()
        check_names(found, "", cohort_id=request.cohort_id, person_id=request.person_id)
        found.raise_if_any()
        await self._kernel.caught_up(request.token, views=[ENROLMENTS, PROGRAMMES, ASSESSMENTS])
        record = await get_assessments(self._kernel, current_scope(), request.cohort_id, request.person_id)
        if record is None:
            raise NotFound("enrolment")
        return pb.GetAssessmentsResponse(components=_components(record))

    async def ListAssessments(
        self, request: pb.ListAssessmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListAssessmentsResponse:
        found = Violations()
        check_names(found, "", cohort_id=request.cohort_id)
        found.raise_if_any()
        size = min(request.page_size or LEARNERS_PER_PAGE_MAX, LEARNERS_PER_PAGE_MAX)
        wanted = page(size, request.page_token, query=f"assessments/{request.cohort_id}")
        await self._kernel.caught_up(request.token, views=[ENROLMENTS, PROGRAMMES, ASSESSMENTS])
        records, next_token = await list_assessments(self._kernel, current_scope(), wanted, request.cohort_id)
        learners = [pb.LearnerAssessments(person_id=r.person_id, components=_components(r)) for r in records]
        return pb.ListAssessmentsResponse(learners=learners, next_page_token=next_token)


def _wish(row: pb.RecordAssessment) -> Wish | Refusal:
    found = Violations()
    check_names(found, row.command_id, cohort_id=row.cohort_id, person_id=row.person_id, component_id=row.component_id)
    step = _step(found, row)
    if found or step is None:
        return malformed(found)
    return Wish(row.command_id, row.cohort_id, row.person_id, row.component_id, step)


def _step(found: Violations, row: pb.RecordAssessment) -> Step | None:
    match row.WhichOneof("step"):
        case "register":
            return Register()
        case "submit":
            on = found.date("submit.submitted_on", row.submit.submitted_on, optional=True)
            return Submit(on, row.submit.attempt or None)
        case "assess":
            result = _result(found, "assess.result", row.assess.result)
            given = mark(found, "assess.mark", row.assess.mark)
            on = found.date("assess.assessed_on", row.assess.assessed_on, optional=True)
            return Assess(result, given, on, row.assess.attempt or None) if result is not None else None
        case "carry_over":
            over = row.carry_over
            result = _result(found, "carry_over.result", over.result)
            given = mark(found, "carry_over.mark", over.mark)
            on = found.date("carry_over.carried_on", over.carried_on, optional=True)
            earlier = found.id("carry_over.from_cohort_id", over.from_cohort_id, optional=True)
            return CarryOver(result, given, on, earlier) if result is not None else None
        case "revise":
            result = _result(found, "revise.result", row.revise.result)
            given = mark(found, "revise.mark", row.revise.mark)
            on = found.date("revise.assessed_on", row.revise.assessed_on, optional=True)
            code = reason_code(found, "revise.reason_code", row.revise.reason_code)
            if not row.revise.replaces:
                found.add("revise.replaces", "is missing: name the version of the result it replaces")
            return Revise(result, given, on, row.revise.replaces, code) if result is not None else None
        case None:
            found.add("step", "is missing: register, submit, assess, carry over or revise")
            return None
        case unknown:
            assert_never(unknown)


def _result(found: Violations, field: str, value: int) -> ResultWord | None:
    code = found.enum(field, value, _RESULTS)
    return None if code is None else _RESULTS[code]


def _components(record: AssessmentRecord) -> list[pb.ComponentAssessment]:
    steps: dict[str, list[pb.AssessmentStep]] = {}
    for kept, event in events(record.kept, ASSESSMENT):
        steps.setdefault(event.component_id, []).append(_history(kept, event))
    state = record.state()
    return [_component(name, state.components[name], history) for name, history in sorted(steps.items())]


def _component(name: str, component: Component, history: list[pb.AssessmentStep]) -> pb.ComponentAssessment:
    current = component.current
    if component.waiting is not None:
        state = pb.ASSESSMENT_STATE_SUBMITTED
    elif current is not None:
        state = _STATES[current.result]
    else:
        state = pb.ASSESSMENT_STATE_REGISTERED
    return pb.ComponentAssessment(
        component_id=name,
        state=state,
        attempts=component.attempts,
        mark=_mark(current.mark) if current is not None else "",
        carried_over=current is not None and current.carried_over,
        result_version=current.version if current is not None else 0,
        history=history,
    )


def _history(kept: Kept, event: AssessmentEvent) -> pb.AssessmentStep:
    step = pb.AssessmentStep(version=kept.version, on=_day(assessment.effective_on(event)))
    recorded = Timestamp()
    recorded.FromDatetime(kept.recorded)
    step.recorded_at.CopyFrom(recorded)
    match event:
        case assessment.AssessmentRegistered():
            step.step = "registered"
        case assessment.WorkSubmitted():
            step.step = "submitted"
        case assessment.WorkAssessed():
            step.step, step.result, step.mark = "assessed", RESULTS[event.result], _mark(event.mark)
        case assessment.ResultCarriedOver():
            step.step, step.result, step.mark = "carried-over", RESULTS[event.result], _mark(event.mark)
        case assessment.ResultRevised():
            step.step, step.result, step.mark = "revised", RESULTS[event.result], _mark(event.mark)
            step.reason_code = event.reason_code
        case _:
            assert_never(event)
    return step


def _mark(value: Decimal | None) -> str:
    return "" if value is None else format(value, "f")


def _day(day: date) -> str:
    return day.isoformat()
