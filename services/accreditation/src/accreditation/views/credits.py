"""The ledger of each person: the awards that stand, found by cohort and body, and the stream they come from."""

from __future__ import annotations

from typing import Any

from accreditation.domain.credit import CATEGORY, CREDIT, AwardMade, AwardState, LedgerAward, ReviewOpened, evolve
from accreditation.domain.facts import CreditRecord, keep
from eventcore.event import Recorded
from eventcore.fold import View
from servicekit.kernel import Kernel
from servicekit.pages import Page
from servicekit.scope import Scope


def stream_of(person_id: str) -> str:
    return f"{CATEGORY}-{person_id}"


def fold(document: CreditRecord | None, event: Recorded[Any]) -> CreditRecord:
    known = document or CreditRecord(person_id=event.stream.removeprefix(f"{CATEGORY}-"))
    ledger = evolve(known.ledger, event.event, event.version)
    return known.model_copy(update={"kept": (*known.kept, keep(_without_tree(event), CREDIT)), "ledger": ledger})


def _without_tree(event: Recorded[Any]) -> Recorded[Any]:
    """The tree stays in the stream; copied into every document it would outgrow the ledger itself."""
    if not isinstance(event.event, AwardMade | ReviewOpened):
        return event
    return Recorded(event.stream, event.version, event.event.model_copy(update={"tree": ""}), event.recorded)


CREDITS = View(
    name="credits",
    category=CATEGORY,
    document=CreditRecord,
    fold=fold,
    indexes=(("person_id",), ("ledger.awards.terms.cohort_id",), ("ledger.awards.terms.body",)),
)


async def list_awards(
    kernel: Kernel, scope: Scope, page: Page, *, person_id: str, cohort_id: str, state: AwardState | None
) -> tuple[list[tuple[str, LedgerAward]], str]:
    """(person, award) in the caller's reach, and the next page's token (empty on the last).

    A page ends with a person's last award, so it may hold a few more than its size.
    """
    where: dict[str, Any] = {}
    if person_id:
        where["person_id"] = person_id
    elif not scope.unrestricted and not scope.bodies:
        where["person_id"] = scope.person or ""
    if cohort_id:
        where["ledger.awards.terms.cohort_id"] = cohort_id
    if not scope.unrestricted and not scope.person:
        where["ledger.awards.terms.body"] = sorted(scope.bodies)

    def shown(person: str, award: LedgerAward) -> bool:
        mine = scope.sees_person(person) or scope.sees_body(award.terms.body)
        return mine and cohort_id in ("", award.terms.cohort_id) and state in (None, award.state)

    found: list[tuple[str, LedgerAward]] = []
    people = await kernel.views.find(CREDITS.name, where, after=page.after or "", limit=page.size)
    for stream, stored in people:
        record = CREDITS.read(stored)
        if record is not None:
            found += [(record.person_id, a) for a in record.ledger.awards if shown(record.person_id, a)]
        if len(found) >= page.size:
            return found, page.token(stream)
    return found, page.token(people[-1][0]) if len(people) == page.size else ""
