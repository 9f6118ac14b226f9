"""What a row may say: at each limit it is taken, beyond it it is refused naming the field, and nothing is stored."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from accreditation.domain import limits
from accreditation.testing import Scene, schemes
from credence.accreditation.v1 import assessments_pb2

R14 = schemes()["r14-commissioners-course"]
STARTS = date(2024, 10, 1)


def assessed(mark: str) -> assessments_pb2.RecordAssessment:
    row = assessments_pb2.RecordAssessment(cohort_id="autumn", person_id="p1", component_id="project")
    row.assess.result, row.assess.mark = assessments_pb2.RESULT_PASSED, mark
    return row


def revised(reason: str) -> assessments_pb2.RecordAssessment:
    row = assessments_pb2.RecordAssessment(cohort_id="autumn", person_id="p1", component_id="project")
    row.revise.replaces, row.revise.result = 3, assessments_pb2.RESULT_PASSED
    row.revise.mark, row.revise.reason_code = "1", reason
    return row


TABLE = (
    ("assess.mark", assessed(str(limits.MARK_MAX)), assessed(str(limits.MARK_MAX + Decimal("0.1")))),
    (
        "assess.mark",
        assessed("1." + "1" * limits.MARK_PLACES_MAX),
        assessed("1." + "1" * (limits.MARK_PLACES_MAX + 1)),
    ),
    (
        "revise.reason_code",
        revised("x" * limits.REASON_CODE_CHARS_MAX),
        revised("x" * (limits.REASON_CODE_CHARS_MAX + 1)),
    ),
)


@pytest.mark.parametrize(("field", "at", "beyond"), TABLE, ids=["mark", "places", "reason"])
async def test_a_row_at_the_limit_is_taken_and_one_beyond_it_is_refused_by_name(
    field: str, at: assessments_pb2.RecordAssessment, beyond: assessments_pb2.RecordAssessment
) -> None:
    scene = Scene()
    scene.programme(R14)
    scene.cohort("autumn", R14, STARTS)
    scene.placed("autumn", "p1", R14, STARTS)
    await scene.settle()
    first = [
        assessments_pb2.RecordAssessment(cohort_id="autumn", person_id="p1", component_id="project") for _ in range(2)
    ]
    first[0].register.SetInParent()
    first[1].submit.SetInParent()
    await scene.record(*first, *([assessed("50")] if field.startswith("revise") else []))
    streams = scene.world["accreditation"].appends.streams
    stored = {name: len(slots) for name, slots in streams.items()}
    [refused] = (await scene.record(beyond)).outcomes
    assert refused.code == "invalid-argument"
    assert [violation.field for violation in refused.violations] == [field]
    assert stored == {name: len(slots) for name, slots in streams.items()}
    [taken] = (await scene.record(at)).outcomes
    assert taken.code == "", taken
