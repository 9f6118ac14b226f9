"""A match: a shortlist is offered, the mentee chooses one mentor, and both confirm each meeting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import ClassVar, Literal, TypeAlias, assert_never

from catalogue.periods import last_day
from eventcore.decider import Command, Decider, Refusal
from eventcore.event import Event
from mentoring.domain.limits import MATCH_EVENTS_MAX, MEETINGS_MAX
from mentoring.domain.values import LOOKED_UP

CATEGORY = "match"

Side: TypeAlias = Literal["mentee", "mentor"]


# Events


class ShortlistOffered(Event):
    stored_type: ClassVar[str] = "match.shortlist-offered.v1"
    mentor_ids: tuple[str, ...]


class MentorChosen(Event):
    """`window_ends_on` is the last day on which a meeting counts."""

    stored_type: ClassVar[str] = "match.mentor-chosen.v1"
    mentor_id: str
    matched_on: date
    window_ends_on: date


class MeetingConfirmed(Event):
    """One side's word that they met on that day."""

    stored_type: ClassVar[str] = "match.meeting-confirmed.v1"
    meeting_id: str
    on: date
    side: Side


class MeetingHeld(Event):
    """Both sides have said so: now it counts."""

    stored_type: ClassVar[str] = "match.meeting-held.v1"
    meeting_id: str
    on: date


MatchEvent: TypeAlias = ShortlistOffered | MentorChosen | MeetingConfirmed | MeetingHeld


# State


@dataclass(frozen=True)
class Meeting:
    on: date
    confirmed_by: frozenset[Side] = frozenset()


@dataclass(frozen=True)
class Match:
    shortlist: tuple[str, ...] = ()
    mentor_id: str | None = None
    matched_on: date = date.min
    window_ends_on: date = date.min
    meetings: dict[str, Meeting] = field(default_factory=dict)


def evolve(state: Match, event: MatchEvent, version: int) -> Match:
    match event:
        case ShortlistOffered():
            return replace(state, shortlist=event.mentor_ids)
        case MentorChosen():
            return replace(
                state, mentor_id=event.mentor_id, matched_on=event.matched_on, window_ends_on=event.window_ends_on
            )
        case MeetingConfirmed():
            said = state.meetings.get(event.meeting_id, Meeting(event.on))
            meeting = replace(said, confirmed_by=said.confirmed_by | {event.side})
            return replace(state, meetings={**state.meetings, event.meeting_id: meeting})
        case MeetingHeld():
            return state
        case _:
            assert_never(event)


# Commands


class OfferShortlist(Command):
    """`size` is what the programme asks for, exactly; `objection` what mentee's place or mentors' standing has against
    it."""

    mentee_id: str
    mentor_ids: tuple[str, ...]
    size: int = LOOKED_UP
    objection: Refusal | None = LOOKED_UP


class ChooseMentor(Command):
    """`matched_on` None: today. `within_months` is the programme's window; `today` the civil date in its zone."""

    mentor_id: str
    matched_on: date | None
    within_months: int = LOOKED_UP
    today: date = LOOKED_UP
    may_backdate: bool = LOOKED_UP
    objection: Refusal | None = LOOKED_UP


class ConfirmMeeting(Command):
    meeting_id: str
    on: date
    side: Side
    today: date = LOOKED_UP


MatchCommand: TypeAlias = OfferShortlist | ChooseMentor | ConfirmMeeting


def decide(command: MatchCommand, state: Match, now: datetime) -> Sequence[MatchEvent] | Refusal:
    match command:
        case OfferShortlist():
            return _offer(command, state)
        case ChooseMentor():
            return _choose(command, state)
        case ConfirmMeeting():
            return _confirm(command, state)
        case _:
            assert_never(command)


def _offer(command: OfferShortlist, state: Match) -> Sequence[MatchEvent] | Refusal:
    # Before the first offer the shortlist is empty, and an empty one is not what stands then.
    if state.shortlist and command.mentor_ids == state.shortlist:
        return []
    if command.objection is not None:
        return command.objection
    wrong: list[tuple[str, str]] = []
    if len(command.mentor_ids) != command.size:
        wrong.append(("mentor_ids", f"has {len(command.mentor_ids)}; the programme offers exactly {command.size}"))
    if len(set(command.mentor_ids)) != len(command.mentor_ids):
        wrong.append(("mentor_ids", "names a mentor twice"))
    if command.mentee_id in command.mentor_ids:
        wrong.append(("mentor_ids", "names the mentee"))
    if wrong:
        return Refusal("bad-shortlist", f"offer exactly {command.size} different mentors", tuple(wrong))
    if state.mentor_id is not None:
        return Refusal(
            "already-chosen", f"the mentee has chosen {state.mentor_id}: the shortlist is closed", conflict=True
        )
    return [ShortlistOffered(mentor_ids=command.mentor_ids)]


def _choose(command: ChooseMentor, state: Match) -> Sequence[MatchEvent] | Refusal:
    if state.mentor_id is not None:
        return _chosen(command, state, state.mentor_id)
    if command.objection is not None:
        return command.objection
    if not state.shortlist:
        return Refusal("no-shortlist", "no shortlist was offered yet: offer one first")
    if command.mentor_id not in state.shortlist:
        offered = ", ".join(state.shortlist)
        return Refusal("not-on-shortlist", f"choose one of {offered}", (("mentor_id", "is not on the shortlist"),))
    matched_on = command.matched_on or command.today
    if matched_on > command.today:
        return Refusal("match-in-future", "a match begins today or earlier", (("matched_on", "lies in the future"),))
    if matched_on < command.today and not command.may_backdate:
        return Refusal(
            "past-date",
            "only an importer may name a past date: leave it out or ask for an import",
            (("matched_on", f"must not be before today, {command.today}"),),
        )
    window_ends_on = last_day(matched_on, command.within_months)
    return [MentorChosen(mentor_id=command.mentor_id, matched_on=matched_on, window_ends_on=window_ends_on)]


def _chosen(command: ChooseMentor, state: Match, mentor_id: str) -> Sequence[MatchEvent] | Refusal:
    """The answer to a choice where one was made already."""
    wrong: list[tuple[str, str]] = []
    if command.mentor_id != mentor_id:
        wrong.append(("mentor_id", f"{mentor_id} was chosen"))
    if command.matched_on not in (None, state.matched_on):
        wrong.append(("matched_on", f"the match began on {state.matched_on}"))
    if not wrong:
        return []
    message = f"{mentor_id} was chosen, from {state.matched_on}: a mentee has one choice"
    return Refusal("already-chosen", message, tuple(wrong), conflict=True)


def _confirm(command: ConfirmMeeting, state: Match) -> Sequence[MatchEvent] | Refusal:
    if state.mentor_id is None:
        return Refusal("not-matched", "no mentor was chosen yet: choose one first")
    said = state.meetings.get(command.meeting_id)
    if said is not None and said.on != command.on:
        message = f"the other word for {command.meeting_id} is {said.on}: agree on the day, or use another meeting id"
        return Refusal("meeting-date-differs", message, (("on", f"differs from {said.on}"),), conflict=True)
    if said is not None and command.side in said.confirmed_by:
        return []
    if not state.matched_on <= command.on <= state.window_ends_on:
        message = f"meetings count from {state.matched_on} to {state.window_ends_on}"
        return Refusal("outside-window", message, (("on", "lies outside the months of the match"),))
    if command.on > command.today:
        return Refusal("meeting-not-held", "confirm a meeting after it was held", (("on", "lies in the future"),))
    if said is None and len(state.meetings) >= MEETINGS_MAX:
        return Refusal("too-many-meetings", f"a match keeps at most {MEETINGS_MAX} meetings")
    confirmed = MeetingConfirmed(meeting_id=command.meeting_id, on=command.on, side=command.side)
    if said is None:
        return [confirmed]
    return [confirmed, MeetingHeld(meeting_id=command.meeting_id, on=command.on)]


MATCH: Decider[Match, MatchCommand, MatchEvent] = Decider(
    category=CATEGORY,
    events=(ShortlistOffered, MentorChosen, MeetingConfirmed, MeetingHeld),
    initial=Match(),
    evolve=evolve,
    decide=decide,
    events_max=MATCH_EVENTS_MAX,
)
