"""Standings: the evaluation that keeps one per enrolment, and its queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from accreditation.domain import standing as pure
from accreditation.domain.civil import DEFAULT_ZONE, civil_date, start_of
from accreditation.domain.credit import CREDIT
from accreditation.domain.facts import Cut, LearnerFacts, as_of
from accreditation.domain.limits import TARGETS_AT_ONCE
from accreditation.domain.standing import Standing
from accreditation.views.credits import stream_of
from accreditation.views.enrolments import ENROLMENTS
from accreditation.views.learner_facts import DEPENDANTS, learner_facts, load, rests_on
from catalogue.ids import join_id
from eventcore.evaluate import Evaluation, Facts, Order, Verdict
from eventcore.parts import parts
from eventcore.store import Target
from servicekit.kernel import Kernel
from servicekit.pages import Page
from servicekit.scope import Scope


def zone_of(facts: LearnerFacts) -> str:
    return facts.programme.programme.zone if facts.programme is not None else DEFAULT_ZONE


def evaluate(target: str, documents: Facts, now: datetime) -> Verdict:
    """The standing, what the ledger is told of it, and when time alone will change it."""
    facts = learner_facts(target, documents)
    zone = zone_of(facts)
    today = civil_date(now, zone)
    found = pure.standing(facts, today)
    command = pure.settlement(facts, found, today)
    ledger = stream_of(facts.person_id)
    orders = (Order(CREDIT, ledger, command, documents[ledger].version),) if command is not None else ()
    again_on = pure.look_again_on(facts, today)
    return Verdict(found, orders, start_of(again_on, zone) if again_on is not None else None)


STANDING = Evaluation(name="standing", dependants=DEPENDANTS, facts=load, evaluate=evaluate, rests_on=rests_on)


@dataclass(frozen=True)
class Answer:
    """A standing as it is told. `pending`: a fact has moved on from what `basis` names, and is being looked at."""

    standing: Standing
    pending: bool
    basis: dict[str, int]


async def get_standing(
    kernel: Kernel, scope: Scope, cohort_id: str, person_id: str, cut: Cut | None = None
) -> Answer | None:
    """The standing now, or as of `cut`; None where there is no such enrolment in the caller's reach."""
    target = join_id(cohort_id, person_id)
    found = await current(kernel, [target])
    answer = found.get(target)
    if answer is None or not _sees(scope, answer.standing):
        return None
    if cut is None:
        return answer
    documents = (await load(kernel.reader, [target]))[target]
    facts = learner_facts(target, documents)
    zone = zone_of(facts)
    cut = replace(cut, zone=zone)
    today = cut.true_at or civil_date(cut.known_at or kernel.clock(), zone)
    then = pure.standing(as_of(facts, cut), today)
    if then.enrolment is None:
        return None  # there was no such enrolment yet
    return Answer(then, False, {stream: fact.version for stream, fact in documents.items() if fact.version})


async def list_standings(
    kernel: Kernel, scope: Scope, page: Page, *, cohort_id: str, person_id: str
) -> tuple[list[Answer], str]:
    """Standings in the caller's reach, and the next page's token (empty on the last). A page may be short."""
    where = {k: v for k, v in (("cohort_id", cohort_id), ("person_id", person_id)) if v}
    if not scope.unrestricted and not scope.bodies:
        if person_id not in ("", scope.person):
            return [], ""
        where["person_id"] = scope.person or ""
    enrolments = await kernel.views.find(ENROLMENTS.name, where, after=page.after or "", limit=page.size)
    targets = [stream.removeprefix(f"{ENROLMENTS.category}-") for stream, _ in enrolments]
    found = await current(kernel, targets)
    shown = [found[t] for t in targets if t in found and _sees(scope, found[t].standing)]
    return shown, page.token(enrolments[-1][0]) if len(enrolments) == page.size else ""


async def current(kernel: Kernel, targets: Sequence[str]) -> dict[str, Answer]:
    """The standing of each target whose enrolment is known here. One not evaluated yet is told bare, and pending."""
    answers: dict[str, Answer] = {}
    for chunk in parts(targets, TARGETS_AT_ONCE):
        # The results before the facts: a fact that moves in between shows as pending, never as settled.
        results = await kernel.targets.read(STANDING.name, chunk)
        documents = await load(kernel.reader, chunk)
        for target in chunk:
            facts = learner_facts(target, documents[target])
            if facts.enrolment is not None:
                answers[target] = _answer(facts, results.get(target), documents[target])
    return answers


def _answer(facts: LearnerFacts, result: Target | None, documents: Facts) -> Answer:
    found = Standing.model_validate(result.result) if result is not None and result.result is not None else None
    # A result without a programme is of a time when another fact was here and the enrolment was not: no standing yet.
    if result is None or found is None or not found.programme:
        enrolled = facts.enrolment
        assert enrolled is not None
        bare = Standing(cohort_id=facts.cohort_id, person_id=facts.person_id, whole=False, programme=enrolled.programme)
        body = pure.body_of(facts.programme.programme) if facts.programme is not None else ""
        return Answer(bare.model_copy(update={"body": body, "enrolment": enrolled.status}), True, {})
    behind = any(fact.version > result.basis.get(stream, 0) for stream, fact in documents.items())
    return Answer(found, result.dirty or behind or not found.whole, dict(result.basis))


def _sees(scope: Scope, found: Standing) -> bool:
    return scope.sees_person(found.person_id) or (found.body != "" and scope.sees_body(found.body))
