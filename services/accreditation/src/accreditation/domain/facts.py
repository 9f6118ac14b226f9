"""What a standing rests on: the documents of one learner, each with its history, and the same "as of" an earlier time.

A document keeps every value it was told, with when it was recorded (UTC) and from which civil date it is true. What
was known on a date, and what was true on it, are these documents with fewer values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Literal, TypeAlias, TypeVar

from accreditation.domain import assessment, credit
from accreditation.domain.assessment import ASSESSMENT, Assessments, ResultRevised
from accreditation.domain.civil import DEFAULT_ZONE, civil_date
from accreditation.domain.credit import CREDIT, Frozen, Ledger
from accreditation.domain.rules import AttendanceState
from catalogue.model import Programme
from eventcore.decider import Decider
from eventcore.event import Recorded, StoredEvent
from eventcore.personal import AboutPerson

S = TypeVar("S")
EnrolmentStatus: TypeAlias = Literal["requested", "waiting", "placed", "withdrawn", "declined"]


@dataclass(frozen=True)
class Cut:
    """Up to where facts count: recorded at or before `known_at`, effective on or before `true_at`. None: no bound.

    `zone` is the programme's: its civil date is when a fact without a date of its own is true from.
    """

    known_at: datetime | None = None
    true_at: date | None = None
    zone: str = DEFAULT_ZONE

    def admits(self, recorded: datetime, on: date | None) -> bool:
        """`on` None: the fact has no date of its own, it is true from when it was recorded."""
        if self.known_at is not None and recorded > self.known_at:
            return False
        if self.true_at is None:
            return True
        return (on if on is not None else civil_date(recorded, self.zone)) <= self.true_at

    def knows(self, recorded: datetime) -> bool:
        """For plans (programmes, sessions), which are true whatever the date they speak of."""
        return self.known_at is None or recorded <= self.known_at


# From enrolment


class StatusChange(Frozen):
    """`on`: the civil date from which it counts."""

    version: int
    recorded: datetime
    status: EnrolmentStatus
    on: date


class Unscheduled(Frozen):
    """A unit that its own record created. `record_id` is unique per learner and unit kind.

    `minutes` is its length; None in documents of releases that left it out.
    """

    unit_kind: str
    record_id: str
    on: date
    attributes: tuple[tuple[str, str], ...] = ()
    minutes: int | None = None


class Mark(Frozen):
    """One value of a register: of a session, or of an unscheduled unit. The latest version of a unit is current."""

    version: int
    recorded: datetime
    session_id: str | None
    unscheduled: Unscheduled | None
    state: AttendanceState
    minutes: int | None
    excuse: str | None

    @property
    def unit(self) -> tuple[str, str]:
        if self.unscheduled is not None:
            return self.unscheduled.unit_kind, self.unscheduled.record_id
        return "", self.session_id or ""


def current(marks: Iterable[Mark]) -> Iterable[Mark]:
    """The latest value of each unit: a correction stands in the place of what it replaced."""
    return {mark.unit: mark for mark in marks}.values()


class EnrolmentRecord(Frozen):
    """One learner's enrolment. `programme` is `<programme id>--<version>`."""

    cohort_id: str
    person_id: str
    programme: str
    statuses: tuple[StatusChange, ...]
    marks: tuple[Mark, ...] = ()

    @property
    def status(self) -> EnrolmentStatus:
        return self.statuses[-1].status

    @property
    def placed_on(self) -> date | None:
        """None: never placed."""
        return next((each.on for each in self.statuses if each.status == "placed"), None)

    @property
    def withdrawn_on(self) -> date | None:
        """The first day on which the learner is no longer enrolled."""
        last = self.statuses[-1]
        return last.on if last.status == "withdrawn" else None

    def as_of(self, cut: Cut) -> EnrolmentRecord | None:
        statuses = tuple(each for each in self.statuses if cut.admits(each.recorded, each.on))
        return self.model_copy(update={"statuses": statuses}) if statuses else None

    def on(self, day: date) -> EnrolmentRecord:
        """As it stands on a day: a withdrawal or a place that is still to come is not there yet."""
        return self.as_of(Cut(true_at=day)) or self.model_copy(update={"statuses": self.statuses[:1]})

    def attended_as_of(self, cut: Cut, sessions: Mapping[str, Session]) -> EnrolmentRecord:
        """With the marks that stand, by what is known, of units that lie within the cut.

        What was corrected away never counts again: a record corrected to a day beyond the cut is not within it with
        the day it had before. A mark of a session not known yet has no date yet.
        """
        known = (mark for mark in self.marks if cut.knows(mark.recorded))

        def admitted(mark: Mark) -> bool:
            if mark.unscheduled is not None:
                return cut.admits(mark.recorded, mark.unscheduled.on)
            session = sessions.get(mark.session_id or "")
            return session is None or cut.admits(mark.recorded, session.on)

        return self.model_copy(update={"marks": tuple(mark for mark in current(known) if admitted(mark))})


class Session(Frozen):
    session_id: str
    unit_kind: str
    module: str | None
    on: date
    minutes: int
    cancelled: bool = False


class SessionChange(Frozen):
    """A session scheduled, moved (`session` whole) or cancelled (`session` None)."""

    version: int
    recorded: datetime
    session_id: str
    session: Session | None


class CohortRecord(Frozen):
    cohort_id: str
    recorded: datetime
    starts_on: date
    changes: tuple[SessionChange, ...]

    def as_of(self, cut: Cut) -> CohortRecord | None:
        if not cut.knows(self.recorded):
            return None
        return self.model_copy(update={"changes": tuple(each for each in self.changes if cut.knows(each.recorded))})

    def sessions(self) -> dict[str, Session]:
        """The sessions as they stand, cancelled ones included."""
        found: dict[str, Session] = {}
        for change in self.changes:
            if change.session is not None:
                found[change.session_id] = change.session
            elif change.session_id in found:
                found[change.session_id] = found[change.session_id].model_copy(update={"cancelled": True})
        return found


class ProgrammeRecord(Frozen):
    programme: Programme
    recorded: datetime


class NameChange(Frozen):
    recorded: datetime
    named: bool
    erased: bool = False


class PersonRecord(Frozen, AboutPerson):
    """Whether a name is on file: a certificate is never issued without one. The name itself never comes here."""

    names: tuple[NameChange, ...]

    @classmethod
    def of(cls, names: tuple[NameChange, ...]) -> PersonRecord:
        return cls(names=names, erased=any(each.erased for each in names))

    @property
    def named(self) -> bool:
        return bool(self.names) and self.names[-1].named

    def as_of(self, cut: Cut) -> PersonRecord:
        return PersonRecord.of(tuple(each for each in self.names if cut.admits(each.recorded, None)))


# From mentoring


class MeetingHeld(Frozen):
    version: int
    recorded: datetime
    meeting_id: str
    on: date


class MatchRecord(Frozen):
    """`matched_on` None: a shortlist is offered and no mentor chosen yet."""

    matched_on: date | None = None
    matched_recorded: datetime | None = None
    meetings: tuple[MeetingHeld, ...] = ()

    def as_of(self, cut: Cut) -> MatchRecord:
        matched = self.matched_recorded is not None and cut.admits(self.matched_recorded, self.matched_on)
        return MatchRecord(
            matched_on=self.matched_on if matched else None,
            matched_recorded=self.matched_recorded if matched else None,
            meetings=tuple(each for each in self.meetings if cut.admits(each.recorded, each.on)),
        )


# Our own


class Kept(Frozen):
    """One event of our own stream, as stored."""

    version: int
    recorded: datetime
    type: str
    data: dict[str, Any]


def keep(event: Recorded[Any], decider: Decider[Any, Any, Any]) -> Kept:
    stored = decider.codec.encode(event.event)
    return Kept(version=event.version, recorded=event.recorded, type=stored.type, data=dict(stored.data))


def events(kept: tuple[Kept, ...], decider: Decider[Any, Any, Any]) -> list[tuple[Kept, Any]]:
    """The events themselves, each beside how it is kept."""
    return [(each, decider.codec.decode(StoredEvent(each.type, each.data))) for each in kept]


def _replay(
    kept: tuple[Kept, ...], decider: Decider[S, Any, Any], effective_on: Mapping[int, date], cut: Cut
) -> tuple[tuple[Kept, ...], S]:
    """What a cut leaves of a stream whose versions are true from `effective_on`, and the state it comes to."""
    state, left = decider.initial, []
    for each, event in events(kept, decider):
        if cut.admits(each.recorded, effective_on[each.version]):
            left.append(each)
            state = decider.evolve(state, event, each.version)
    return tuple(left), state


class AssessmentRecord(Frozen):
    """The assessment stream of one enrolment."""

    cohort_id: str
    person_id: str
    kept: tuple[Kept, ...] = ()

    def state(self) -> Assessments:
        return _replay(self.kept, ASSESSMENT, self._effective_on(), Cut())[1]

    def as_of(self, cut: Cut) -> AssessmentRecord:
        left, _ = _replay(self.kept, ASSESSMENT, self._effective_on(), cut)
        return self.model_copy(update={"kept": left})

    def _effective_on(self) -> dict[int, date]:
        """By version. A revised result was never another: it is true from the date of the one it replaces."""
        days: dict[int, date] = {}
        for each, event in events(self.kept, ASSESSMENT):
            own = assessment.effective_on(event)
            days[each.version] = days.get(event.replaces, own) if isinstance(event, ResultRevised) else own
        return days


class CreditRecord(Frozen):
    """The credit stream of one person, without the trees, and the ledger it comes to."""

    person_id: str
    kept: tuple[Kept, ...] = ()
    ledger: Ledger = Ledger()

    def as_of(self, cut: Cut) -> CreditRecord:
        days = {each.version: credit.effective_on(event) for each, event in events(self.kept, CREDIT)}
        left, ledger = _replay(self.kept, CREDIT, days, cut)
        return self.model_copy(update={"kept": left, "ledger": ledger})


# All of one learner


@dataclass(frozen=True)
class LearnerFacts:
    """Every document that one enrolment's standing rests on. None: not known here (yet)."""

    cohort_id: str
    person_id: str
    enrolment: EnrolmentRecord | None = None
    cohort: CohortRecord | None = None
    programme: ProgrammeRecord | None = None
    assessment: AssessmentRecord | None = None
    match: MatchRecord | None = None
    person: PersonRecord | None = None
    credit: CreditRecord | None = None

    @property
    def ledger(self) -> Ledger:
        return self.credit.ledger if self.credit is not None else Ledger()


def as_of(facts: LearnerFacts, cut: Cut) -> LearnerFacts:
    """The same facts as far as they were known, and true, at the cut."""
    plans = replace(
        facts,
        enrolment=facts.enrolment.as_of(cut) if facts.enrolment is not None else None,
        cohort=facts.cohort.as_of(cut) if facts.cohort is not None else None,
        programme=facts.programme if facts.programme is not None and cut.knows(facts.programme.recorded) else None,
        person=facts.person.as_of(cut) if facts.person is not None else None,
        credit=facts.credit.as_of(cut) if facts.credit is not None else None,
    )
    return evidence_as_of(plans, cut)


def evidence_as_of(facts: LearnerFacts, cut: Cut) -> LearnerFacts:
    """The same facts with fewer of those that earn: attendance, assessed work, meetings."""
    sessions = facts.cohort.sessions() if facts.cohort is not None else {}
    return replace(
        facts,
        enrolment=facts.enrolment.attended_as_of(cut, sessions) if facts.enrolment is not None else None,
        assessment=facts.assessment.as_of(cut) if facts.assessment is not None else None,
        match=facts.match.as_of(cut) if facts.match is not None else None,
    )
