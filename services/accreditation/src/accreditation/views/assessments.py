"""Assessed work of one enrolment: its stream as it is, so that any earlier state can be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accreditation.domain.assessment import ASSESSMENT, CATEGORY
from accreditation.domain.facts import AssessmentRecord, keep
from accreditation.domain.standing import body_of
from accreditation.views.enrolments import ENROLMENTS
from accreditation.views.programmes import PROGRAMMES
from catalogue.ids import join_id, split_id
from eventcore.event import Recorded
from eventcore.fold import View
from servicekit.kernel import Kernel
from servicekit.pages import Page
from servicekit.scope import Scope


def fold(document: AssessmentRecord | None, event: Recorded[Any]) -> AssessmentRecord:
    cohort_id, person_id = split_id(event.stream.removeprefix(f"{CATEGORY}-"))
    known = document or AssessmentRecord(cohort_id=cohort_id, person_id=person_id)
    return known.model_copy(update={"kept": (*known.kept, keep(event, ASSESSMENT))})


ASSESSMENTS = View(
    name="assessments", category=CATEGORY, document=AssessmentRecord, fold=fold, indexes=(("cohort_id",),)
)


async def get_assessments(kernel: Kernel, scope: Scope, cohort_id: str, person_id: str) -> AssessmentRecord | None:
    """One enrolment's, bare where nothing was done yet; None where there is no such enrolment in the caller's reach."""
    target = join_id(cohort_id, person_id)
    bodies = await _bodies(kernel, [target])
    if target not in bodies or not (scope.sees_person(person_id) or scope.sees_body(bodies[target])):
        return None
    stream = f"{CATEGORY}-{target}"
    found = (await kernel.reader.get(ASSESSMENTS, [stream]))[stream].document
    return found or AssessmentRecord(cohort_id=cohort_id, person_id=person_id)


async def list_assessments(
    kernel: Kernel, scope: Scope, page: Page, cohort_id: str
) -> tuple[list[AssessmentRecord], str]:
    """A cohort's, by person, and the next page's token (empty on the last)."""
    found = await kernel.views.find(ASSESSMENTS.name, {"cohort_id": cohort_id}, after=page.after or "", limit=page.size)
    records = {stream.removeprefix(f"{CATEGORY}-"): ASSESSMENTS.read(stored) for stream, stored in found}
    bodies = await _bodies(kernel, list(records))
    shown = [r for target, r in records.items() if r is not None and scope.sees_body(bodies.get(target))]
    return shown, page.token(found[-1][0]) if len(found) == page.size else ""


async def _bodies(kernel: Kernel, targets: Sequence[str]) -> dict[str, str | None]:
    """Who answers for each enrolment that is known here; None while its programme is not."""
    enrolments = await kernel.reader.get(ENROLMENTS, [f"{ENROLMENTS.category}-{target}" for target in targets])
    named = {
        stream.removeprefix(f"{ENROLMENTS.category}-"): f"{PROGRAMMES.category}-{fact.document.programme}"
        for stream, fact in enrolments.items()
        if fact.document is not None
    }
    programmes = await kernel.reader.get(PROGRAMMES, list(named.values()))
    found = {stream: fact.document for stream, fact in programmes.items()}
    return {t: body_of(p.programme) if (p := found[stream]) is not None else None for t, stream in named.items()}
