"""What a match's commands need: the programme's numbers, the mentee's place, the mentors' standing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from catalogue.ids import join_id
from catalogue.model import Mentoring
from eventcore.decider import Refusal
from eventcore.execute import Request
from eventcore.outcome import Outcome
from mentoring.domain import match
from mentoring.domain.match import MATCH, ChooseMentor, ConfirmMeeting, Match, MatchCommand, OfferShortlist, Side
from mentoring.domain.mentor import CATEGORY as MENTOR_CATEGORY
from mentoring.domain.mentor import MENTOR
from mentoring.views import awards, enrolments, programmes
from mentoring.views.awards import AWARDS
from mentoring.views.enrolments import ENROLMENTS, EnrolmentDocument
from mentoring.views.programmes import PROGRAMMES
from servicekit.kernel import NOT_FOUND, Kernel
from servicekit.scope import Scope

NOT_MENTORED = Refusal("no-mentoring", "the programme has no mentoring: look at its catalogue file")
NOT_PLACED = Refusal("not-placed", "the learner has no place on this cohort (any more): enrol it first")


@dataclass(frozen=True)
class OfferWish:
    command_id: str
    cohort_id: str
    person_id: str
    mentor_ids: tuple[str, ...]


@dataclass(frozen=True)
class ChooseWish:
    """`matched_on` None: today."""

    command_id: str
    cohort_id: str
    person_id: str
    mentor_id: str
    matched_on: date | None


@dataclass(frozen=True)
class MeetingWish:
    command_id: str
    cohort_id: str
    person_id: str
    meeting_id: str
    on: date
    side: Side


@dataclass(frozen=True)
class Pairing:
    """What is known of one mentee's place on a cohort; `today` is the civil date of the programme's zone."""

    enrolment: EnrolmentDocument
    mentoring: Mentoring | None
    today: date

    def no_place(self, matched_on: date | None = None) -> Refusal | None:
        """That the mentee has no place, or had none on the day on which a match began that is dated back."""
        if matched_on is None or matched_on >= self.today:
            return None if self.enrolment.placed(self.today) else NOT_PLACED
        if self.enrolment.placed(matched_on):
            return None
        message = f"the learner had no place on this cohort on {matched_on}: name a day on which it had one"
        return Refusal("not-placed", message, (("matched_on", "is no day of the learner's place"),))


def match_stream(cohort_id: str, person_id: str) -> str:
    return f"{match.CATEGORY}-{join_id(cohort_id, person_id)}"


async def offer_shortlists(kernel: Kernel, scope: Scope, wishes: Sequence[OfferWish | Refusal]) -> list[Outcome[Match]]:
    understood = [w for w in wishes if isinstance(w, OfferWish)]
    pairings = await _pairings(kernel, [(w.cohort_id, w.person_id) for w in understood])
    mentors = sorted({m for w in understood for m in w.mentor_ids})
    registered = await kernel.executor.states(MENTOR, [f"{MENTOR_CATEGORY}-{m}" for m in mentors])
    held = await kernel.reader.get(AWARDS, [f"{awards.CATEGORY}-{m}" for m in mentors])

    def standing(mentor_id: str, mentoring: Mentoring) -> bool:
        wanted = mentoring.mentor_standing
        _, profile = registered[f"{MENTOR_CATEGORY}-{mentor_id}"]
        document = held[f"{awards.CATEGORY}-{mentor_id}"].document
        return profile is not None and document is not None and document.holds(wanted.programme, wanted.award)

    def fallen(wish: OfferWish, mentoring: Mentoring) -> Refusal | None:
        """Which of the offered mentors may not be, None when all may."""
        without = [(i, mentor) for i, mentor in enumerate(wish.mentor_ids) if not standing(mentor, mentoring)]
        if not without:
            return None
        wrong = tuple((f"mentor_ids[{i}]", f"{mentor} is not in standing") for i, mentor in without)
        wanted = mentoring.mentor_standing
        message = f"offer mentors who are registered and hold {wanted.award} of {wanted.programme}"
        return Refusal("mentor-not-in-standing", message, wrong)

    def request(wish: OfferWish) -> Request[MatchCommand] | Refusal:
        pairing = pairings[wish.cohort_id, wish.person_id]
        if pairing is None or not scope.sees_person(wish.person_id):
            return NOT_FOUND
        if pairing.mentoring is None:
            return NOT_MENTORED
        command = OfferShortlist(
            mentee_id=wish.person_id,
            mentor_ids=wish.mentor_ids,
            size=pairing.mentoring.shortlist,
            objection=pairing.no_place() or fallen(wish, pairing.mentoring),
        )
        return kernel.request(match_stream(wish.cohort_id, wish.person_id), command, wish.command_id)

    return await kernel.execute(MATCH, [w if isinstance(w, Refusal) else request(w) for w in wishes])


async def choose_mentors(kernel: Kernel, scope: Scope, wishes: Sequence[ChooseWish | Refusal]) -> list[Outcome[Match]]:
    pairings = await _pairings(kernel, [(w.cohort_id, w.person_id) for w in wishes if isinstance(w, ChooseWish)])

    def request(wish: ChooseWish) -> Request[MatchCommand] | Refusal:
        pairing = pairings[wish.cohort_id, wish.person_id]
        if pairing is None or not scope.sees_person(wish.person_id):
            return NOT_FOUND
        if pairing.mentoring is None:
            return NOT_MENTORED
        command = ChooseMentor(
            mentor_id=wish.mentor_id,
            matched_on=wish.matched_on,
            within_months=pairing.mentoring.within_months,
            today=pairing.today,
            may_backdate="importer" in scope.roles,
            objection=pairing.no_place(wish.matched_on),
        )
        return kernel.request(match_stream(wish.cohort_id, wish.person_id), command, wish.command_id)

    return await kernel.execute(MATCH, [w if isinstance(w, Refusal) else request(w) for w in wishes])


async def confirm_meetings(
    kernel: Kernel, scope: Scope, wishes: Sequence[MeetingWish | Refusal]
) -> list[Outcome[Match]]:
    pairs = [(w.cohort_id, w.person_id) for w in wishes if isinstance(w, MeetingWish)]
    pairings = await _pairings(kernel, pairs)
    matches = await kernel.executor.states(MATCH, [match_stream(*pair) for pair in pairs])

    def request(wish: MeetingWish) -> Request[MatchCommand] | Refusal:
        stream = match_stream(wish.cohort_id, wish.person_id)
        pairing, (_, state) = pairings[wish.cohort_id, wish.person_id], matches[stream]
        if pairing is None or not _speaks_for(scope, wish, state):
            return NOT_FOUND
        command = ConfirmMeeting(meeting_id=wish.meeting_id, on=wish.on, side=wish.side, today=pairing.today)
        return kernel.request(stream, command, wish.command_id)

    return await kernel.execute(MATCH, [w if isinstance(w, Refusal) else request(w) for w in wishes])


def _speaks_for(scope: Scope, wish: MeetingWish, state: Match) -> bool:
    """A mentee speaks for its own side, a match's mentor for the other; nobody for both."""
    if wish.side == "mentee":
        return "learner" in scope.roles and scope.person == wish.person_id
    return "mentor" in scope.roles and scope.person is not None and scope.person == state.mentor_id


async def _pairings(kernel: Kernel, pairs: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Pairing | None]:
    """By (cohort, mentee); None where this service knows of no such enrolment."""
    now = kernel.clock()
    streams = {pair: f"{enrolments.CATEGORY}-{join_id(*pair)}" for pair in pairs}
    enrolled = await kernel.reader.get(ENROLMENTS, list(streams.values()))
    documents = {pair: enrolled[stream].document for pair, stream in streams.items()}
    versions = {
        pair: f"{programmes.CATEGORY}-{join_id(document.programme_id, str(document.programme_version))}"
        for pair, document in documents.items()
        if document is not None
    }
    known = await kernel.reader.get(PROGRAMMES, list(versions.values()))

    def pairing(pair: tuple[str, str]) -> Pairing | None:
        document = documents[pair]
        programme = known[versions[pair]].document if document is not None else None
        if document is None or programme is None:
            return None
        today = now.astimezone(ZoneInfo(programme.zone)).date()
        return Pairing(document, programme.mentoring, today)

    return {pair: pairing(pair) for pair in pairs}
