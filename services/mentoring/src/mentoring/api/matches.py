"""MatchService: proto to command, document to proto."""

from __future__ import annotations

from datetime import date
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from credence.common.v1 import outcome_pb2
from credence.mentoring.v1 import matches_pb2, matches_pb2_grpc
from eventcore.decider import Refusal
from eventcore.personal import Erased
from mentoring.application.matches import (
    ChooseWish,
    MeetingWish,
    OfferWish,
    choose_mentors,
    confirm_meetings,
    offer_shortlists,
)
from mentoring.domain.limits import MENTORS_MAX
from mentoring.domain.match import Side
from mentoring.views.awards import AWARDS
from mentoring.views.enrolments import ENROLMENTS
from mentoring.views.matches import MATCHES, MeetingDocument
from mentoring.views.mentors import MENTORS
from mentoring.views.programmes import PROGRAMMES
from mentoring.views.queries import FoundMatch, MentorProfile, find_match
from servicekit.batches import rows
from servicekit.call import current_scope
from servicekit.errors import NotFound
from servicekit.kernel import Kernel, malformed
from servicekit.violations import Violations

_SIDES: dict[int, Side] = {matches_pb2.SIDE_MENTEE: "mentee", matches_pb2.SIDE_MENTOR: "mentor"}


class MatchApi(matches_pb2_grpc.MatchServiceServicer):
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def OfferShortlists(
        self, request: matches_pb2.OfferShortlistsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> outcome_pb2.BatchResponse:
        wishes = [_offer(row) for row in rows(request.rows)]
        await self._kernel.caught_up(request.token, views=[ENROLMENTS, PROGRAMMES, AWARDS])
        return self._kernel.answer(await offer_shortlists(self._kernel, current_scope(), wishes))

    async def ChooseMentors(
        self, request: matches_pb2.ChooseMentorsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> outcome_pb2.BatchResponse:
        wishes = [_choice(row) for row in rows(request.rows)]
        return self._kernel.answer(await choose_mentors(self._kernel, current_scope(), wishes))

    async def ConfirmMeetings(
        self, request: matches_pb2.ConfirmMeetingsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> outcome_pb2.BatchResponse:
        wishes = [_meeting_wish(row) for row in rows(request.rows)]
        return self._kernel.answer(await confirm_meetings(self._kernel, current_scope(), wishes))

    async def GetMatch(
        self, request: matches_pb2.GetMatchRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> matches_pb2.Match:
        found = Violations()
        _names(found, request.cohort_id, request.person_id)
        found.raise_if_any()
        await self._kernel.caught_up(request.token, views=[MATCHES, MENTORS])
        match = await find_match(self._kernel, current_scope(), request.cohort_id, request.person_id)
        if match is None:
            raise NotFound("match")
        return _match(match)


def _names(found: Violations, cohort_id: str, person_id: str, command_id: str = "") -> None:
    found.command_id(command_id)
    found.id("cohort_id", cohort_id)
    found.id("person_id", person_id)


def _offer(row: matches_pb2.OfferShortlist) -> OfferWish | Refusal:
    found = Violations()
    _names(found, row.cohort_id, row.person_id, row.command_id)
    if len(row.mentor_ids) > MENTORS_MAX:
        found.add("mentor_ids", f"names {len(row.mentor_ids)} mentors; at most {MENTORS_MAX} are read")
    else:
        for i, mentor_id in enumerate(row.mentor_ids):
            found.id(f"mentor_ids[{i}]", mentor_id)
    if found:
        return malformed(found)
    return OfferWish(row.command_id, row.cohort_id, row.person_id, tuple(row.mentor_ids))


def _choice(row: matches_pb2.ChooseMentor) -> ChooseWish | Refusal:
    found = Violations()
    _names(found, row.cohort_id, row.person_id, row.command_id)
    found.id("mentor_id", row.mentor_id)
    matched_on = found.date("matched_on", row.matched_on, optional=True)
    if found:
        return malformed(found)
    return ChooseWish(row.command_id, row.cohort_id, row.person_id, row.mentor_id, matched_on)


def _meeting_wish(row: matches_pb2.ConfirmMeeting) -> MeetingWish | Refusal:
    found = Violations()
    _names(found, row.cohort_id, row.person_id, row.command_id)
    found.id("meeting_id", row.meeting_id)
    on = found.date("on", row.on)
    side = found.enum("side", row.side, _SIDES)
    if found or on is None or side is None:
        return malformed(found)
    return MeetingWish(row.command_id, row.cohort_id, row.person_id, row.meeting_id, on, _SIDES[side])


def _match(found: FoundMatch) -> matches_pb2.Match:
    document = found.document
    matched = document.mentor_id is not None
    return matches_pb2.Match(
        cohort_id=document.cohort_id,
        person_id=document.person_id,
        state=matches_pb2.MATCH_STATE_MATCHED if matched else matches_pb2.MATCH_STATE_OFFERED,
        shortlist=document.shortlist,
        mentor_id=document.mentor_id or "",
        matched_on=_day(document.matched_on),
        window_ends_on=_day(document.window_ends_on),
        meetings=[_meeting(m) for m in document.meetings],
        version=found.version,
        mentors=[_shortlisted(each) for each in found.mentors],
    )


def _shortlisted(found: MentorProfile) -> matches_pb2.ShortlistedMentor:
    profile = found.document.profile
    return matches_pb2.ShortlistedMentor(
        mentor_id=found.document.person_id,
        background=profile.background,
        sector=profile.sector,
        in_post=profile.in_post,
        corporate_experience=profile.corporate_experience,
        pen_portrait="" if isinstance(found.pen_portrait, Erased) else found.pen_portrait,
        erased=isinstance(found.pen_portrait, Erased),
    )


def _meeting(meeting: MeetingDocument) -> matches_pb2.Meeting:
    message = matches_pb2.Meeting(
        meeting_id=meeting.meeting_id,
        on=_day(meeting.on),
        mentee_confirmed="mentee" in meeting.confirmed_by,
        mentor_confirmed="mentor" in meeting.confirmed_by,
    )
    if meeting.held_recorded_at is not None:
        recorded = Timestamp()
        recorded.FromDatetime(meeting.held_recorded_at)
        message.held_recorded_at.CopyFrom(recorded)
    return message


def _day(day: date | None) -> str:
    return day.isoformat() if day else ""
