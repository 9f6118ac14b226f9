"""A small training domain, written as every service writes its own: deciders, views, one evaluation.

Two persons, two cohorts. An enrolment collects marks, a cohort cancels sessions, an assessment may be reversed, and
one ledger per person takes awards of CREDITS each under a cap, commanded from two targets. It holds what the design
says a domain must hold: a rule over credits leaves out the award it decides, and under the cap a rank decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from eventcore.decider import Command, Decider, Refusal, category_of
from eventcore.evaluate import Evaluation, Fact, Facts, Order, Reader, Verdict
from eventcore.event import Event, Recorded
from eventcore.fold import View
from eventcore.personal import AboutPerson, Sealed
from eventcore.record import PublicEvent

CREDITS = 20
SESSIONS = (1, 2)
START = datetime(2024, 10, 1, tzinfo=UTC)


def instant(tick: int) -> datetime:
    """A tick of the simulation is a second."""
    return START + timedelta(seconds=tick)


@dataclass(frozen=True)
class Rules:
    """What differs from seed to seed: the cap on credits, whether c2 asks for credits of another award, and the
    instant before which nothing is awarded."""

    cap: int
    chain: bool
    opens: datetime


# ---- streams and targets


def enrol(person: str, cohort: str) -> str:
    return f"enrol-{cohort}--{person}"


def target_of(person: str, cohort: str) -> str:
    return f"{cohort}--{person}"


def parts(name: str) -> tuple[str, str]:
    """Person and cohort, of `enrol-c1--p` or of the target `c1--p`."""
    cohort, _, person = name.rpartition("--")
    return person, cohort.rpartition("-")[2]


def outranked(person: str, cohort: str) -> bool:
    """p's award in c2 stands back behind p's award in c1: a stated rank, never arrival."""
    return (person, cohort) == ("p", "c2")


# ---- events


class Fact_(Event):
    """An event of this domain."""


class Placed(Fact_):
    stored_type: ClassVar[str] = "enrol.placed.v1"
    person: str
    cohort: str
    note: Sealed


class Greeted(Fact_):
    """Nobody else's business: it goes out as a bare marker."""

    stored_type: ClassVar[str] = "enrol.greeted.v1"


class Row(Fact_):
    stored_type: ClassVar[str] = "enrol.row.v1"
    session: int
    state: str


class Cancelled(Fact_):
    stored_type: ClassVar[str] = "cohort.cancelled.v1"
    session: int


class Assessed(Fact_):
    stored_type: ClassVar[str] = "assess.assessed.v1"
    passed: bool


class Awarded(Fact_):
    stored_type: ClassVar[str] = "rcredit.awarded.v1"
    cohort: str


class Revoked(Fact_):
    stored_type: ClassVar[str] = "rcredit.revoked.v1"
    cohort: str


class Erased(Fact_):
    stored_type: ClassVar[str] = "person.erased.v1"


_SHOWN = (Placed, Row, Cancelled, Assessed, Awarded, Revoked, Erased)
PUBLIC: dict[str, type[Fact_]] = {e.stored_type: e for e in _SHOWN}


def public(event: Recorded[Any]) -> PublicEvent | None:
    """An event's public form: its id (so that a simulation can poison one record) and its data."""
    if event.event.stored_type not in PUBLIC:
        return None
    data = event.event.model_dump(mode="json", exclude={"note"})
    if isinstance(event.event, Placed):
        data["note"] = {"person": event.event.person, "field": "", "box": ""}  # no personal data leaves its service
    body = type(event.event).model_validate(data).model_dump_json()
    return PublicEvent(event.event.stored_type, f"{event.id}\n{body}".encode())


def as_published(event: Recorded[Any]) -> Recorded[Any] | None:
    """What a consumer sees of an event; None for a marker."""
    form = public(event)
    if form is None:
        return None
    return Recorded(event.stream, event.version, parse(form.type, form.data), event.recorded)


def parse(kind: str, data: bytes) -> Fact_:
    return PUBLIC[kind].model_validate_json(data.partition(b"\n")[2])


# ---- commands


class Wish(Command):
    """With a deadline, a command after it is refused."""

    deadline: datetime | None = None


class Place(Wish):
    person: str
    cohort: str
    note: Sealed


class Mark(Wish):
    session: int
    state: str


class Correct(Wish):
    session: int
    state: str
    replaces: int


class Cancel(Wish):
    session: int


class Assess(Wish):
    passed: bool


class Award(Wish):
    cohort: str


class Revoke(Wish):
    cohort: str


class Erase(Wish):
    pass


# ---- enrolment


@dataclass(frozen=True)
class Enrolment:
    placed: bool
    rows: Mapping[int, tuple[str, int]]  # session -> state, version of the row that says so


def evolve_enrolment(state: Enrolment, event: Fact_, version: int) -> Enrolment:
    match event:
        case Placed():
            return Enrolment(True, state.rows)
        case Row():
            return Enrolment(state.placed, {**state.rows, event.session: (event.state, version)})
        case _:
            return state


def decide_enrolment(command: Wish, state: Enrolment, now: datetime) -> Sequence[Fact_] | Refusal:
    if command.deadline is not None and now > command.deadline:
        return Refusal("too-late", "the deadline has passed")
    if isinstance(command, Place):
        if state.placed:
            return []
        return [Placed(person=command.person, cohort=command.cohort, note=command.note), Greeted()]
    if not state.placed:
        return Refusal("not-placed", "nobody is enrolled")
    if isinstance(command, Mark):
        current = state.rows.get(command.session)
        if current is None:
            return [Row(session=command.session, state=command.state)]
        return [] if current[0] == command.state else Refusal("differs", "send a correction", conflict=True)
    assert isinstance(command, Correct)
    current = state.rows.get(command.session)
    if current is None or current[1] != command.replaces:
        return Refusal("not-current", "that is not the current value", conflict=True)
    return [Row(session=command.session, state=command.state)]


# ---- cohort, assessment, person


def evolve_cohort(state: frozenset[int], event: Fact_, version: int) -> frozenset[int]:
    return state | {event.session} if isinstance(event, Cancelled) else state


def decide_cohort(command: Wish, state: frozenset[int], now: datetime) -> Sequence[Fact_] | Refusal:
    assert isinstance(command, Cancel)
    if command.deadline is not None and now > command.deadline:
        return Refusal("too-late", "the deadline has passed")
    return [] if command.session in state else [Cancelled(session=command.session)]


def evolve_assessment(state: bool | None, event: Fact_, version: int) -> bool | None:
    return event.passed if isinstance(event, Assessed) else state


def decide_assessment(command: Wish, state: bool | None, now: datetime) -> Sequence[Fact_] | Refusal:
    assert isinstance(command, Assess)
    if command.deadline is not None and now > command.deadline:
        return Refusal("too-late", "the deadline has passed")
    return [Assessed(passed=command.passed)]  # each one counts: twice the same is two judgements


def evolve_person(state: bool, event: Fact_, version: int) -> bool:
    return True


def decide_person(command: Wish, state: bool, now: datetime) -> Sequence[Fact_] | Refusal:
    return [] if state else [Erased()]


# ---- ledger


def evolve_ledger(state: Mapping[str, int], event: Fact_, version: int) -> Mapping[str, int]:
    if isinstance(event, Awarded):
        return {**state, event.cohort: version}
    assert isinstance(event, Revoked)
    return {c: v for c, v in state.items() if c != event.cohort}


def decide_ledger(rules: Rules, command: Wish, state: Mapping[str, int], now: datetime) -> Sequence[Fact_] | Refusal:
    if isinstance(command, Revoke):
        return [Revoked(cohort=command.cohort)] if command.cohort in state else []
    assert isinstance(command, Award)
    if command.cohort in state:
        return []
    if now < rules.opens:
        return Refusal("too-early", "no award before the opening")
    if (len(state) + 1) * CREDITS > rules.cap:
        return Refusal("cap-reached", "the cap is reached")
    return [Awarded(cohort=command.cohort)]


# ---- views


class Document(BaseModel):
    """`folded` counts events, so that one folded twice or left out shows whatever it says."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    folded: int = 0


class RowDocument(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    state: str
    version: int


class EnrolmentDocument(Document):
    person: str
    cohort: str
    note: Sealed | str | None = None
    rows: dict[int, RowDocument] = {}


class CohortDocument(Document):
    cancelled: list[int] = []


class AssessmentDocument(Document):
    passed: bool = False


class LedgerDocument(Document):
    awards: dict[str, int] = {}


class PersonDocument(Document, AboutPerson):
    pass


def fold_enrolment(document: EnrolmentDocument | None, record: Recorded[Any]) -> EnrolmentDocument:
    event = record.event
    person, cohort = parts(record.stream)
    document = document or EnrolmentDocument(person=person, cohort=cohort)
    change: dict[str, Any] = {"folded": document.folded + 1}
    if isinstance(event, Placed):
        change["note"] = event.note
    elif isinstance(event, Row):
        change["rows"] = {**document.rows, event.session: RowDocument(state=event.state, version=record.version)}
    elif not isinstance(event, Greeted):
        raise TypeError(event)
    return document.model_copy(update=change)


def fold_cohort(document: CohortDocument | None, record: Recorded[Any]) -> CohortDocument:
    document = document or CohortDocument()
    cancelled = sorted({*document.cancelled, record.event.session})
    return CohortDocument(folded=document.folded + 1, cancelled=cancelled)


def fold_assessment(document: AssessmentDocument | None, record: Recorded[Any]) -> AssessmentDocument:
    document = document or AssessmentDocument()
    return AssessmentDocument(folded=document.folded + 1, passed=record.event.passed)


def fold_ledger(document: LedgerDocument | None, record: Recorded[Any]) -> LedgerDocument:
    document = document or LedgerDocument()
    awards = dict(evolve_ledger(document.awards, record.event, record.version))
    return LedgerDocument(folded=document.folded + 1, awards=awards)


def fold_person(document: PersonDocument | None, record: Recorded[Any]) -> PersonDocument:
    return PersonDocument(folded=1 + (document.folded if document else 0), erased=True)


@dataclass(frozen=True)
class Views:
    """Made for each world, so that a fold with a planted bug is picked up."""

    enrolment: View[EnrolmentDocument]
    cohort: View[CohortDocument]
    assessment: View[AssessmentDocument]
    ledger: View[LedgerDocument]
    person: View[PersonDocument]


def make_views() -> Views:
    return Views(
        View("enrolments", "enrol", EnrolmentDocument, fold_enrolment),
        View("cohorts", "cohort", CohortDocument, fold_cohort),
        View("assessments", "assess", AssessmentDocument, fold_assessment),
        View("ledgers", "rcredit", LedgerDocument, fold_ledger),
        View("persons", "person", PersonDocument, fold_person),
    )


def make_deciders(rules: Rules) -> dict[str, Decider[Any, Any, Any]]:
    """By category. `enrol`, `cohort` and `person` are service enr's; `assess` and `rcredit` are acc's."""
    return {
        "enrol": Decider("enrol", (Placed, Greeted, Row), Enrolment(False, {}), evolve_enrolment, decide_enrolment),
        "cohort": Decider("cohort", (Cancelled,), frozenset(), evolve_cohort, decide_cohort),
        "person": Decider("person", (Erased,), False, evolve_person, decide_person),
        "assess": Decider("assess", (Assessed,), None, evolve_assessment, decide_assessment),
        "rcredit": Decider("rcredit", (Awarded, Revoked), {}, evolve_ledger, partial(decide_ledger, rules)),
    }


# ---- evaluation


class Standing(BaseModel):
    model_config = ConfigDict(frozen=True)
    outcome: str


def fact_streams(target: str) -> list[str]:
    person, cohort = parts(target)
    streams = [f"enrol-{target}", f"cohort-{cohort}", f"assess-{target}", f"rcredit-{person}"]
    if outranked(person, cohort):  # it reads what the higher rank rests on
        streams += ["enrol-c1--p", "cohort-c1", "assess-c1--p"]
    return streams


def met(facts: Facts, person: str, cohort: str) -> bool:
    """Every session that was not cancelled attended, and the assessment passed."""
    enrolment = facts[enrol(person, cohort)].document
    calendar = facts[f"cohort-{cohort}"].document
    assessment = facts[f"assess-{cohort}--{person}"].document
    if enrolment is None or assessment is None or not assessment.passed:
        return False
    cancelled = calendar.cancelled if calendar else []
    return all(s in cancelled or (s in enrolment.rows and enrolment.rows[s].state == "P") for s in SESSIONS)


def standing(rules: Rules, target: str, facts: Facts, now: datetime) -> tuple[str, Command | None, datetime | None]:
    """Pure: what is found, what to command on the ledger, and when to look again."""
    person, cohort = parts(target)
    ledger = facts[f"rcredit-{person}"].document
    awards: Mapping[str, int] = ledger.awards if ledger else {}
    others = [c for c in awards if c != cohort]  # the award it decides is left out
    ok = met(facts, person, cohort)
    if rules.chain and cohort == "c2":
        ok = ok and len(others) > 0
    taken = len([c for c in awards if c != cohort])
    if outranked(person, cohort) and "c1" not in awards and met(facts, "p", "c1"):
        taken += 1  # room kept for the higher rank
    room = (taken + 1) * CREDITS <= rules.cap
    if cohort in awards:
        return ("awarded", None, None) if ok and room else ("taking-back", Revoke(cohort=cohort), None)
    if not ok:
        return "no", None, None
    if not room:
        return "capped", None, None
    if now < rules.opens:
        return "pending", None, rules.opens
    return "pending", Award(cohort=cohort), None


Shuffle = Callable[[list[Any]], None]


def make_evaluation(
    rules: Rules, views: Views, ledger: Decider[Any, Any, Any], shuffle: Shuffle, told: Callable[..., None]
) -> Evaluation:
    """The standing of a person in a cohort. `shuffle` settles the order in which its facts are read."""

    async def by_name(_reader: Reader, documents: Mapping[str, Any]) -> Collection[str]:
        found = {target_of(*parts(stream)) for stream in documents}
        return found | ({"c2--p"} if "c1--p" in found else set())

    def by_field(name: str) -> Callable[[Reader, Mapping[str, Any]], Awaitable[Collection[str]]]:
        async def dependants(reader: Reader, documents: Mapping[str, Any]) -> Collection[str]:
            keys = sorted(stream.partition("-")[2] for stream in documents)
            enrolments = await reader.find(views.enrolment, {name: keys})
            return await by_name(reader, enrolments)

        return dependants

    async def read(reader: Reader, targets: Sequence[str]) -> dict[str, Facts]:
        wanted = sorted({stream for target in targets for stream in fact_streams(target)})
        kinds: list[View[Any]] = [views.enrolment, views.cohort, views.assessment, views.ledger]
        shuffle(kinds)
        found: dict[str, Fact[Any]] = {}
        for view in kinds:
            found.update(await reader.get(view, [s for s in wanted if category_of(s) == view.category]))
        return {target: {s: found[s] for s in fact_streams(target)} for target in targets}

    def evaluate(target: str, facts: Facts, now: datetime) -> Verdict:
        outcome, command, at = standing(rules, target, facts, now)
        stream = f"rcredit-{parts(target)[0]}"
        orders = (Order(ledger, stream, command, facts[stream].version),) if command else ()
        told(target, outcome, command, {s: f.version for s, f in facts.items()})
        return Verdict(Standing(outcome=outcome), orders, at)

    return Evaluation(
        "standings",
        {
            views.enrolment.name: by_name,
            views.assessment.name: by_name,
            views.cohort.name: by_field("cohort"),
            views.ledger.name: by_field("person"),
        },
        read,
        evaluate,
        fact_streams,
    )
