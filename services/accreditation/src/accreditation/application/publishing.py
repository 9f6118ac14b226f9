"""Stored event -> public event: the only place that says what others may see. Ids and closed codes, no mark."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from accreditation.domain import assessment, credit
from accreditation.domain.assessment import ResultWord
from accreditation.views.credits import stream_of
from credence.accreditation.v1 import assessments_pb2, events_pb2
from credence.common.v1 import programme_pb2
from eventcore.event import Recorded

RESULTS: dict[ResultWord, assessments_pb2.Result.ValueType] = {
    "passed": assessments_pb2.RESULT_PASSED,
    "referred": assessments_pb2.RESULT_REFERRED,
    "failed": assessments_pb2.RESULT_FAILED,
}
KINDS: dict[str, programme_pb2.AwardKind.ValueType] = {
    "completion": programme_pb2.AWARD_KIND_COMPLETION,
    "credit": programme_pb2.AWARD_KIND_CREDIT,
}


def public(event: Recorded[Any]) -> Message | None:
    """The message of an event. Raises ValueError for one that is not this service's."""
    match event.event:
        case assessment.AssessmentRegistered() as e:
            return events_pb2.AssessmentRegistered(component_id=e.component_id)
        case assessment.WorkSubmitted() as e:
            return events_pb2.WorkSubmitted(
                component_id=e.component_id, attempt=e.attempt, submitted_on=e.submitted_on.isoformat()
            )
        case assessment.WorkAssessed() as e:
            return events_pb2.WorkAssessed(
                component_id=e.component_id, result=RESULTS[e.result], assessed_on=e.assessed_on.isoformat()
            )
        case assessment.ResultCarriedOver() as e:
            return events_pb2.ResultCarriedOver(
                component_id=e.component_id, result=RESULTS[e.result], carried_on=e.carried_on.isoformat()
            )
        case assessment.ResultRevised() as e:
            return events_pb2.ResultRevised(
                component_id=e.component_id,
                result=RESULTS[e.result],
                assessed_on=e.assessed_on.isoformat(),
                replaces=e.replaces,
                reason_code=e.reason_code,
            )
        case credit.AwardMade() as e:
            return _made(event.stream, e.terms)
        case credit.AwardConfirmed() as e:
            return events_pb2.AwardConfirmed(cohort_id=e.cohort_id, award_id=e.award_id)
        case credit.AwardTakenBack() as e:
            return events_pb2.AwardTakenBack(cohort_id=e.cohort_id, award_id=e.award_id)
        case credit.ReviewOpened() as e:
            return events_pb2.ReviewOpened(cohort_id=e.cohort_id, award_id=e.award_id, review_id=e.review_id)
        case credit.ReviewClosed() as e:
            return events_pb2.ReviewClosed(
                cohort_id=e.cohort_id,
                award_id=e.award_id,
                review_id=e.review_id,
                revoked=e.outcome == "revoked",
                reason_code=e.reason_code,
            )
        case other:
            raise ValueError(f"{event.id} holds {type(other).__name__}, which nobody decided how to publish")


def _made(stream: str, terms: credit.AwardTerms) -> events_pb2.AwardMade:
    return events_pb2.AwardMade(
        cohort_id=terms.cohort_id,
        person_id=stream.removeprefix(stream_of("")),
        award_id=terms.award_id,
        programme_id=terms.programme_id,
        programme_version=terms.programme_version,
        kind=KINDS[terms.kind],
        credit=credit_message(terms.credit),
    )


def credit_message(worth: credit.Credit | None) -> programme_pb2.Credit | None:
    """Credits on the wire: decimals as plain strings."""
    if worth is None:
        return None
    return programme_pb2.Credit(
        credits=format(worth.credits, "f"),
        scheme=programme_pb2.CREDIT_SCHEME_CATS,
        level=worth.level,
        ects=format(worth.ects, "f"),
        transferable=worth.transferable,
    )
