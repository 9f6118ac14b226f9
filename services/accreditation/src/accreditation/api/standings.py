"""StandingService: a standing as the learner sees it, tree and all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import grpc

from accreditation.api.rows import check_names
from accreditation.application.publishing import KINDS, credit_message
from accreditation.domain.credit import Revocation
from accreditation.domain.facts import Cut
from accreditation.domain.rules import Explanation, Missing
from accreditation.domain.standing import AwardStanding, Certificate, CertificateState, StandingState
from accreditation.views.enrolments import ENROLMENTS
from accreditation.views.standings import STANDING, Answer, get_standing, list_standings
from catalogue.ids import join_id, split_id
from credence.accreditation.v1 import standings_pb2 as pb
from credence.accreditation.v1 import standings_pb2_grpc
from servicekit.call import current_scope
from servicekit.errors import NotFound
from servicekit.kernel import Kernel
from servicekit.pages import page
from servicekit.violations import Violations

STATES: dict[StandingState, pb.AwardState.ValueType] = {
    "not-met": pb.AWARD_STATE_NOT_MET,
    "pending": pb.AWARD_STATE_PENDING,
    "provisional": pb.AWARD_STATE_PROVISIONAL,
    "confirmed": pb.AWARD_STATE_CONFIRMED,
    "under-review": pb.AWARD_STATE_UNDER_REVIEW,
    "capped": pb.AWARD_STATE_CAPPED,
    "revoked": pb.AWARD_STATE_REVOKED,
    "held-from-another-cohort": pb.AWARD_STATE_HELD_FROM_ANOTHER_COHORT,
}
_CERTIFICATES: dict[CertificateState, pb.CertificateState.ValueType] = {
    "not-due": pb.CERTIFICATE_STATE_NOT_DUE,
    "due": pb.CERTIFICATE_STATE_DUE,
    "blocked": pb.CERTIFICATE_STATE_BLOCKED,
}


class StandingApi(standings_pb2_grpc.StandingServiceServicer):
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def GetStanding(
        self, request: pb.GetStandingRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Standing:
        found = Violations()
        check_names(found, "", cohort_id=request.cohort_id, person_id=request.person_id)
        true_at = found.date("true_at", request.true_at, optional=True)
        known_at = _instant(found, request) if request.HasField("known_at") else None
        found.raise_if_any()
        cut = Cut(known_at, true_at) if known_at is not None or true_at is not None else None
        target = join_id(request.cohort_id, request.person_id)
        await self._kernel.caught_up(request.token, views=[ENROLMENTS], results=[(STANDING, target)])
        answer = await get_standing(self._kernel, current_scope(), request.cohort_id, request.person_id, cut)
        if answer is None:
            raise NotFound("enrolment")
        return _standing(answer, trees=True)

    async def ListStandings(
        self, request: pb.ListStandingsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListStandingsResponse:
        found = Violations()
        found.id("cohort_id", request.cohort_id, optional=True)
        found.id("person_id", request.person_id, optional=True)
        if not request.cohort_id and not request.person_id:
            found.add("cohort_id", "is missing: name a cohort, a person, or both")
        found.raise_if_any()
        wanted = page(
            request.page_size,
            request.page_token,
            query=f"standings/{request.cohort_id}/{request.person_id}",
        )
        await self._kernel.caught_up(request.token, views=[ENROLMENTS])
        answers, next_token = await list_standings(
            self._kernel, current_scope(), wanted, cohort_id=request.cohort_id, person_id=request.person_id
        )
        standings = [_standing(each, trees=False) for each in answers]
        return pb.ListStandingsResponse(standings=standings, next_page_token=next_token)


def _instant(found: Violations, request: pb.GetStandingRequest) -> datetime | None:
    try:
        return request.known_at.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        found.add("known_at", "must be an instant between the years 1 and 9999")
        return None


def _standing(answer: Answer, *, trees: bool) -> pb.Standing:
    standing = answer.standing
    programme_id, version = split_id(standing.programme)
    return pb.Standing(
        cohort_id=standing.cohort_id,
        person_id=standing.person_id,
        programme_id=programme_id,
        programme_version=int(version),
        enrolment=standing.enrolment or "",
        awards=[_award(each, trees=trees) for each in standing.awards],
        credits_provisional=_plain(standing.credits_provisional),
        credits_confirmed=_plain(standing.credits_confirmed),
        pending=answer.pending,
        basis=answer.basis,
    )


def _award(award: AwardStanding, *, trees: bool) -> pb.AwardStanding:
    return pb.AwardStanding(
        award_id=award.award_id,
        title=award.title,
        kind=KINDS[award.kind],
        state=STATES[award.state],
        credit=credit_message(award.credit),
        explanation=_explanation(award.explanation) if trees else None,
        certificate=_certificate(award.certificate),
        review_id=award.review_id or "",
        held_from_cohort_id=award.held_from or "",
        waits_for=_missing(award.waits_for),
        revocation=revocation_message(award.revocation),
    )


def revocation_message(revocation: Revocation | None) -> pb.Revocation | None:
    if revocation is None:
        return None
    on = revocation.on
    return pb.Revocation(reason_code=revocation.reason_code, revoked_on=on.isoformat() if on is not None else "")


def _explanation(node: Explanation) -> pb.Explanation:
    return pb.Explanation(
        check=node.check,
        title=node.title,
        satisfied=node.satisfied,
        have=_plain(node.have),
        need=_plain(node.need),
        unit=node.unit,
        facts=node.counted,
        missing=_missing(node.missing),
        possible=node.possible,
        children=[_explanation(child) for child in node.children],
    )


def _missing(missing: Sequence[Missing]) -> list[pb.Missing]:
    return [pb.Missing(code=each.code, message=each.text) for each in missing]


def _certificate(certificate: Certificate) -> pb.Certificate:
    return pb.Certificate(
        state=_CERTIFICATES[certificate.state], reason_code=certificate.reason_code, reason=certificate.reason
    )


def _plain(value: Decimal) -> str:
    return format(value, "f")
