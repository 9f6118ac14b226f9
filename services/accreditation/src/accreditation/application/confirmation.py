"""Automatic confirmation: irrevocable, so it is a decision of its own, on facts that hold the award already.

The evaluation that made the award may have looked at old facts; its next look takes the award back. Only an award
that is in the ledger, and still met in a look of its own, is confirmed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from accreditation.domain import standing as pure
from accreditation.domain.civil import civil_date
from accreditation.domain.credit import CREDIT, ConfirmAwards
from accreditation.views.credits import CREDITS, stream_of
from accreditation.views.learner_facts import DEPENDANTS, learner_facts, load, rests_on
from accreditation.views.standings import zone_of
from catalogue.ids import split_id
from eventcore.evaluate import Dependants, Evaluation, Facts, Order, Reader, Verdict


class Confirmable(BaseModel):
    """The awards that this look found ready to be confirmed."""

    award_ids: tuple[str, ...]


def evaluate(target: str, documents: Facts, now: datetime) -> Verdict:
    facts = learner_facts(target, documents)
    today = civil_date(now, zone_of(facts))
    award_ids = pure.confirmable(facts, pure.standing(facts, today))
    result = Confirmable(award_ids=award_ids)
    if not award_ids:
        return Verdict(result)
    ledger = stream_of(facts.person_id)
    command = ConfirmAwards(
        cohort_id=facts.cohort_id,
        award_ids=award_ids,
        by="automatic",
        decided_on=today,
        today=today,
        objection=None,
    )
    return Verdict(result, (Order(CREDIT, ledger, command, documents[ledger].version),))


async def _waiting(reader: Reader, targets: Collection[str]) -> Collection[str]:
    """Those that hold a provisional award. Most never do; nothing is missed, since an award marks its target itself."""
    ledgers = await reader.get(CREDITS, [stream_of(split_id(target)[1]) for target in targets])

    def waits(target: str) -> bool:
        cohort_id, person_id = split_id(target)
        record = ledgers[stream_of(person_id)].document
        awards: Sequence[Any] = record.ledger.awards if record is not None else ()
        return any(each.terms.cohort_id == cohort_id and each.state == "provisional" for each in awards)

    return [target for target in targets if waits(target)]


def _only_waiting(dependants: Dependants) -> Dependants:
    async def narrowed(reader: Reader, documents: Mapping[str, Any]) -> Collection[str]:
        return await _waiting(reader, await dependants(reader, documents))

    return narrowed


CONFIRMATION = Evaluation(
    name="confirmation",
    dependants={view: _only_waiting(dependants) for view, dependants in DEPENDANTS.items()},
    facts=load,
    evaluate=evaluate,
    rests_on=rests_on,
)
