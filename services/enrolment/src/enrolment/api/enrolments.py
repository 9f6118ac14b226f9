"""EnrolmentService: proto to command, document to proto."""

from __future__ import annotations

from typing import Any

import grpc

from catalogue.ids import join_id
from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import enrolments_pb2, enrolments_pb2_grpc
from enrolment.api import checks
from enrolment.application.enrolments import RequestWish, WithdrawWish, request_enrolments, withdraw_enrolments
from enrolment.application.publishing import day_to_proto
from enrolment.domain.enrolment import Status, enrolment_stream
from enrolment.domain.limits import REFERENCE_CHARS_MAX, REFERENCES_MAX
from enrolment.views.enrolments import ENROLMENTS
from enrolment.views.queries import PLACES, EnrolmentEntry, find_enrolment, list_enrolments
from eventcore.decider import Refusal
from eventcore.personal import Erased
from servicekit.arrivals import result_key
from servicekit.batches import rows
from servicekit.call import current_scope
from servicekit.errors import NotFound
from servicekit.kernel import Kernel, in_time, malformed
from servicekit.pages import page
from servicekit.violations import Violations

_STATUSES: dict[Status, enrolments_pb2.EnrolmentStatus.ValueType] = {
    "requested": enrolments_pb2.ENROLMENT_STATUS_REQUESTED,
    "waiting": enrolments_pb2.ENROLMENT_STATUS_WAITING,
    "placed": enrolments_pb2.ENROLMENT_STATUS_PLACED,
    "withdrawn": enrolments_pb2.ENROLMENT_STATUS_WITHDRAWN,
    "declined": enrolments_pb2.ENROLMENT_STATUS_DECLINED,
}


class EnrolmentApi(enrolments_pb2_grpc.EnrolmentServiceServicer):
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def RequestEnrolments(
        self, request: enrolments_pb2.RequestEnrolmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> outcome_pb2.BatchResponse:
        wishes = [_request(row) for row in rows(request.rows)]
        return self._kernel.answer(await request_enrolments(self._kernel, current_scope(), wishes))

    async def WithdrawEnrolments(
        self, request: enrolments_pb2.WithdrawEnrolmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> outcome_pb2.BatchResponse:
        wishes = [_withdrawal(row) for row in rows(request.rows)]
        return self._kernel.answer(await withdraw_enrolments(self._kernel, current_scope(), wishes))

    async def GetEnrolment(
        self, request: enrolments_pb2.GetEnrolmentRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> enrolments_pb2.Enrolment:
        found = Violations()
        found.id("cohort_id", request.cohort_id)
        found.id("person_id", request.person_id)
        found.raise_if_any()
        await self._kernel.caught_up(request.token, views=[ENROLMENTS])
        entry = await self._entry(request)

        async def decided() -> bool:
            nonlocal entry
            entry = await self._entry(request)
            return _decided(entry)

        if request.token and not _decided(entry):
            # Whoever brings a token wants to know what became of the request: the pool's answer is waited for while
            # there is time; when there is none yet, the status says so.
            own = enrolment_stream(request.cohort_id, request.person_id)
            place = result_key(PLACES, join_id(request.cohort_id, request.person_id))
            with self._kernel.arrivals.of([own, place]) as arrived:
                await in_time(decided, arrived)
        return _enrolment(entry)

    async def ListEnrolments(
        self, request: enrolments_pb2.ListEnrolmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> enrolments_pb2.ListEnrolmentsResponse:
        found = Violations()
        found.id("cohort_id", request.cohort_id, optional=True)
        found.id("person_id", request.person_id, optional=True)
        if not (request.cohort_id or request.person_id):
            found.add("cohort_id", "is missing, and so is person_id: name one of the two, or both")
        found.raise_if_any()
        wanted = page(
            request.page_size,
            request.page_token,
            query=f"enrolments/{request.cohort_id}/{request.person_id}",
        )
        await self._kernel.caught_up(request.token, views=[ENROLMENTS])
        entries, last = await list_enrolments(
            self._kernel,
            current_scope(),
            cohort_id=request.cohort_id,
            person_id=request.person_id,
            after=wanted.after or "",
            limit=wanted.size,
        )
        return enrolments_pb2.ListEnrolmentsResponse(
            enrolments=[_enrolment(entry) for entry in entries], next_page_token=wanted.token(last) if last else ""
        )

    async def _entry(self, request: enrolments_pb2.GetEnrolmentRequest) -> EnrolmentEntry:
        entry = await find_enrolment(self._kernel, current_scope(), request.cohort_id, request.person_id)
        if entry is None:
            raise NotFound("enrolment")
        return entry


def _decided(entry: EnrolmentEntry) -> bool:
    status = entry.enrolment.status
    return status != "requested" and (status != "waiting" or entry.waiting_position > 0)


def _request(row: enrolments_pb2.RequestEnrolment) -> RequestWish | Refusal:
    found = Violations()
    found.command_id(row.command_id)
    found.id("cohort_id", row.cohort_id)
    found.id("person_id", row.person_id)
    found.id("employer_id", row.employer_id, optional=True)
    effective_on = found.date("effective_on", row.effective_on, optional=True)
    if checks.count(found, "references", len(row.references), REFERENCES_MAX):
        providers = [reference.provider_id for reference in row.references]
        for i, reference in enumerate(row.references):
            found.id(f"references[{i}].provider_id", reference.provider_id)
            found.text(f"references[{i}].reference", reference.reference, REFERENCE_CHARS_MAX)
            if reference.provider_id in providers[:i]:
                found.add(f"references[{i}].provider_id", "is named twice: each provider has one word for a learner")
    if found:
        return malformed(found)
    references = tuple((reference.provider_id, reference.reference.strip()) for reference in row.references)
    return RequestWish(row.command_id, row.cohort_id, row.person_id, row.employer_id, references, effective_on)


def _withdrawal(row: enrolments_pb2.WithdrawEnrolment) -> WithdrawWish | Refusal:
    found = Violations()
    found.command_id(row.command_id)
    found.id("cohort_id", row.cohort_id)
    found.id("person_id", row.person_id)
    effective_on = found.date("effective_on", row.effective_on, optional=True)
    found.id("reason_code", row.reason_code)
    if found:
        return malformed(found)
    return WithdrawWish(row.command_id, row.cohort_id, row.person_id, effective_on, row.reason_code)


def _enrolment(entry: EnrolmentEntry) -> enrolments_pb2.Enrolment:
    enrolment = entry.enrolment
    return enrolments_pb2.Enrolment(
        cohort_id=enrolment.cohort_id,
        person_id=enrolment.person_id,
        status=_STATUSES[enrolment.status],
        employer_id=enrolment.employer_id or "",
        programme_id=enrolment.programme_id,
        programme_version=enrolment.programme_version,
        placed_on=day_to_proto(enrolment.placed_on),
        withdrawn_on=day_to_proto(enrolment.withdrawn_on),
        withdrawn_reason_code=enrolment.withdrawn_reason_code or "",
        waiting_position=entry.waiting_position,
        references=[
            enrolments_pb2.LearnerReference(provider_id=provider_id, erased=True)
            if isinstance(reference, Erased)
            else enrolments_pb2.LearnerReference(provider_id=provider_id, reference=reference)
            for provider_id, reference in entry.references
        ],
        version=entry.version,
    )
