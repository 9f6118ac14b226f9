"""AttendanceService: proto to command, document to proto."""

from __future__ import annotations

from datetime import date
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from credence.enrolment.v1 import attendance_pb2, attendance_pb2_grpc
from enrolment.api import checks
from enrolment.application.attendance import RegisterAnswer, RegisterRow, post_attendance
from enrolment.application.publishing import STATES, unscheduled_to_proto, value_to_proto
from enrolment.domain.attendance import Attended, Mark, Unscheduled
from enrolment.domain.limits import ANSWER_BYTES_MAX, ATTRIBUTES_MAX, MINUTES_MAX, REFERENCE_CHARS_MAX, SESSIONS_MAX
from enrolment.views.cohorts import COHORTS
from enrolment.views.enrolments import ENROLMENTS
from enrolment.views.registers import Line, Marked, outstanding, references_of, register, template
from eventcore.decider import Refusal
from eventcore.personal import Erased
from servicekit.batches import decided, rows
from servicekit.call import current_scope
from servicekit.errors import FailedPrecondition, InvalidArgument
from servicekit.kernel import Kernel, malformed
from servicekit.scope import Scope
from servicekit.violations import Violations

M = TypeVar("M", bound=Message)
_STATES = {number: state for state, number in STATES.items()}


class AttendanceApi(attendance_pb2_grpc.AttendanceServiceServicer):
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def PostAttendance(
        self, request: attendance_pb2.PostAttendanceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> attendance_pb2.PostAttendanceResponse:
        scope = current_scope()
        provider_id = _one_provider(scope, request.provider_id)
        given = [_row(row) for row in rows(request.rows)]
        answers = await post_attendance(self._kernel, scope, provider_id, given, dry_run=request.dry_run)
        return attendance_pb2.PostAttendanceResponse(
            answers=[_answer(i, answer) for i, answer in enumerate(answers)],
            # After a rehearsal it would name versions that were never stored.
            token="" if request.dry_run else self._kernel.token_of([answer.outcome for answer in answers]),
        )

    async def GetRegisterTemplate(
        self, request: attendance_pb2.GetRegisterTemplateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> attendance_pb2.GetRegisterTemplateResponse:
        scope = current_scope()
        provider_id = _one_provider(scope, request.provider_id)
        found = Violations()
        found.id("cohort_id", request.cohort_id)
        if checks.count(found, "session_ids", len(request.session_ids), SESSIONS_MAX):
            for i, session_id in enumerate(request.session_ids):
                found.id(f"session_ids[{i}]", session_id)
        found.raise_if_any()
        await self._kernel.caught_up(request.token, views=[COHORTS, ENROLMENTS])
        lines = await template(
            self._kernel,
            scope,
            cohort_id=request.cohort_id,
            provider_id=provider_id,
            session_ids=set(request.session_ids),
        )
        references = await references_of(self._kernel, [line.enrolment for line in lines], provider_id)
        return _bounded(
            attendance_pb2.GetRegisterTemplateResponse(
                rows=[_template_row(line, references.get(line.enrolment.person_id, "")) for line in lines],
                provider_id=provider_id,
            )
        )

    async def GetRegister(
        self, request: attendance_pb2.GetRegisterRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> attendance_pb2.GetRegisterResponse:
        scope = current_scope()
        provider_id = _provider(scope, request.provider_id)
        found = Violations()
        found.id("cohort_id", request.cohort_id)
        found.id("session_id", request.session_id, optional=True)
        found.raise_if_any()
        await self._kernel.caught_up(request.token, views=[COHORTS, ENROLMENTS])
        entries = await register(
            self._kernel,
            scope,
            cohort_id=request.cohort_id,
            provider_id=provider_id,
            session_id=request.session_id,
        )
        references = await references_of(self._kernel, [entry.enrolment for entry in entries], provider_id)
        return _bounded(
            attendance_pb2.GetRegisterResponse(
                entries=[_entry(entry, references.get(entry.enrolment.person_id, "")) for entry in entries]
            )
        )

    async def ListOutstanding(
        self, request: attendance_pb2.ListOutstandingRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> attendance_pb2.ListOutstandingResponse:
        scope = current_scope()
        provider_id = (
            _provider(scope, request.provider_id) if request.cohort_id else _one_provider(scope, request.provider_id)
        )
        found = Violations()
        found.id("cohort_id", request.cohort_id, optional=True)
        until = found.date("until", request.until, optional=True)
        found.raise_if_any()
        await self._kernel.caught_up(request.token, views=[COHORTS, ENROLMENTS])
        sessions = await outstanding(
            self._kernel, scope, cohort_id=request.cohort_id, provider_id=provider_id, until=until
        )
        return _bounded(
            attendance_pb2.ListOutstandingResponse(
                sessions=[
                    attendance_pb2.OutstandingSession(
                        cohort_id=each.cohort_id,
                        session_id=each.session.session_id,
                        title=each.session.title,
                        on=each.session.on.isoformat(),
                        expected=each.expected,
                        marked=each.expected - len(each.unmarked_person_ids),
                        unmarked_person_ids=each.unmarked_person_ids,
                    )
                    for each in sessions
                ]
            )
        )


def _bounded(answer: M) -> M:
    if (size := answer.ByteSize()) > ANSWER_BYTES_MAX:
        message = f"the answer has {size} bytes, over {ANSWER_BYTES_MAX}: ask for one cohort, or for single sessions"
        raise FailedPrecondition("too-many-rows", message)
    return answer


def _one_provider(scope: Scope, named: str) -> str:
    """Whose register this is: the one named, or the only one the caller speaks for. Raises InvalidArgument."""
    provider_id = _provider(scope, named)
    if not provider_id:
        raise InvalidArgument([("provider_id", "is missing: name the provider whose register this is")])
    return provider_id


def _provider(scope: Scope, named: str) -> str:
    """As `_one_provider`; empty, for every provider, when a caller without limits names none."""
    found = Violations()
    found.id("provider_id", named, optional=True)
    if not named and len(scope.providers) > 1:
        speaks_for = ", ".join(sorted(scope.providers))
        found.add("provider_id", f"is missing, and you speak for several: name one of {speaks_for}")
    found.raise_if_any()
    return named or next(iter(scope.providers), "")


def _row(row: attendance_pb2.AttendanceRow) -> RegisterRow | Refusal:
    found = Violations()
    found.command_id(row.command_id)
    found.id("cohort_id", row.cohort_id)
    found.id("person_id", row.person_id, optional=True)
    found.text("learner_reference", row.learner_reference, REFERENCE_CHARS_MAX, optional=True)
    if bool(row.person_id) == bool(row.learner_reference.strip()):
        found.add("person_id", "name the learner by either person_id or learner_reference")
    found.id("session_id", row.session_id, optional=True)
    if bool(row.session_id) == row.HasField("unscheduled"):
        found.add("session_id", "name the unit by either session_id or unscheduled")
    record = _unscheduled(found, row.unscheduled) if row.HasField("unscheduled") else None
    state = found.enum("value.state", row.value.state, _STATES)
    found.integer("value.minutes", row.value.minutes, minimum=0, maximum=MINUTES_MAX)
    found.id("value.excuse_code", row.value.excuse_code, optional=True)
    found.id("reason_code", row.reason_code, optional=not row.replaces)
    if row.reason_code and not row.replaces:
        found.add("replaces", "is missing: a reason goes with the version of the value that is corrected")
    if found or state is None:
        return malformed(found)
    return RegisterRow(
        command_id=row.command_id,
        cohort_id=row.cohort_id,
        person_id=row.person_id or None,
        learner_reference=row.learner_reference.strip() or None,
        session_id=row.session_id or None,
        unscheduled=record,
        value=Attended(
            state=_STATES[row.value.state],
            minutes=row.value.minutes,
            excuse_code=row.value.excuse_code or None,
        ),
        replaces=row.replaces or None,
        reason_code=row.reason_code or None,
    )


def _unscheduled(found: Violations, row: attendance_pb2.UnscheduledUnit) -> Unscheduled:
    """The record; of no use when it added a violation."""
    found.id("unscheduled.unit_kind", row.unit_kind)
    found.id("unscheduled.record_id", row.record_id)
    on = found.date("unscheduled.on", row.on)
    found.integer("unscheduled.minutes", row.minutes, minimum=0, maximum=MINUTES_MAX)
    if checks.count(found, "unscheduled.attributes", len(row.attributes), ATTRIBUTES_MAX):
        for name, value in sorted(row.attributes.items()):
            found.id("unscheduled.attributes", name)
            found.id(f"unscheduled.attributes.{name}", value)
    return Unscheduled(
        unit_kind=row.unit_kind,
        record_id=row.record_id,
        on=on or date.min,
        attributes=dict(sorted(row.attributes.items())),
        minutes=row.minutes,
    )


def _answer(i: int, answer: RegisterAnswer) -> attendance_pb2.AttendanceAnswer:
    return attendance_pb2.AttendanceAnswer(outcome=decided(i, answer.outcome), current=_standing(answer.current))


def _template_row(line: Line, reference: str | Erased) -> attendance_pb2.TemplateRow:
    return attendance_pb2.TemplateRow(
        cohort_id=line.enrolment.cohort_id,
        session_id=line.session.session_id,
        session_title=line.session.title,
        on=line.session.on.isoformat(),
        minutes=line.session.minutes,
        person_id=line.enrolment.person_id,
        learner_reference="" if isinstance(reference, Erased) else reference,
        reference_erased=isinstance(reference, Erased),
        current=_standing(line.current),
    )


def _entry(entry: Marked, reference: str | Erased) -> attendance_pb2.RegisterEntry:
    *older, current = entry.values
    return attendance_pb2.RegisterEntry(
        cohort_id=entry.enrolment.cohort_id,
        person_id=entry.enrolment.person_id,
        learner_reference="" if isinstance(reference, Erased) else reference,
        reference_erased=isinstance(reference, Erased),
        session_id=current.unit.session_id or "",
        unscheduled=unscheduled_to_proto(current.unit.unscheduled),
        current=_standing(current),
        history=[value for mark in older if (value := _standing(mark)) is not None],
    )


def _standing(mark: Mark | None) -> attendance_pb2.StandingValue | None:
    if mark is None:
        return None
    recorded_at = Timestamp()
    recorded_at.FromDatetime(mark.at)
    return attendance_pb2.StandingValue(
        value=value_to_proto(mark.value),
        version=mark.version,
        recorded_at=recorded_at,
        recorded_by=mark.by,
        replaces=mark.replaces or 0,
        reason_code=mark.reason_code or "",
    )
