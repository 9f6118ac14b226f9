"""MentorService: proto to command, document to proto."""

from __future__ import annotations

from typing import Any, cast

import grpc

from credence.common.v1 import outcome_pb2
from credence.mentoring.v1 import mentors_pb2, mentors_pb2_grpc
from eventcore.decider import Refusal
from eventcore.personal import Erased
from mentoring.application.mentors import MentorWish, register_mentors
from mentoring.domain.limits import PORTRAIT_CHARS_MAX
from mentoring.domain.mentor import BACKGROUNDS, SECTORS
from mentoring.views.awards import AWARDS
from mentoring.views.mentors import MENTORS
from mentoring.views.programmes import PROGRAMMES
from mentoring.views.queries import MentorEntry, list_mentors
from servicekit.batches import rows
from servicekit.call import current_scope
from servicekit.kernel import Kernel, malformed
from servicekit.pages import page
from servicekit.violations import Violations


class MentorApi(mentors_pb2_grpc.MentorServiceServicer):
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def RegisterMentors(
        self, request: mentors_pb2.RegisterMentorsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> outcome_pb2.BatchResponse:
        wishes = [_wish(row) for row in rows(request.rows)]
        return self._kernel.answer(await register_mentors(self._kernel, current_scope(), wishes))

    async def ListMentors(
        self, request: mentors_pb2.ListMentorsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> mentors_pb2.ListMentorsResponse:
        wanted = page(
            request.page_size,
            request.page_token,
            query=f"mentors/{request.person_id}/{request.in_standing_only}",
        )
        await self._kernel.caught_up(request.token, views=[MENTORS, AWARDS, PROGRAMMES])
        found, more = await list_mentors(
            self._kernel,
            current_scope(),
            person_id=request.person_id,
            in_standing_only=request.in_standing_only,
            after=wanted.after or "",
            limit=wanted.size,
        )
        return mentors_pb2.ListMentorsResponse(
            mentors=[_mentor(entry) for entry in found],
            next_page_token=wanted.token(more) if more else "",
        )


def _wish(row: mentors_pb2.RegisterMentor) -> MentorWish | Refusal:
    found = Violations()
    found.command_id(row.command_id)
    found.id("person_id", row.person_id)
    found.one_of("background", row.background, BACKGROUNDS)
    found.one_of("sector", row.sector, SECTORS)
    found.id("employer_id", row.employer_id, optional=not row.in_post)
    found.text("pen_portrait", row.pen_portrait, PORTRAIT_CHARS_MAX, optional=True)
    if found:
        return malformed(found)
    return MentorWish(
        command_id=row.command_id,
        person_id=row.person_id,
        background=cast(Any, row.background),
        sector=cast(Any, row.sector),
        in_post=row.in_post,
        corporate_experience=row.corporate_experience,
        employer_id=row.employer_id,
        pen_portrait=row.pen_portrait,
    )


def _mentor(entry: MentorEntry) -> mentors_pb2.Mentor:
    profile = entry.document.profile
    return mentors_pb2.Mentor(
        person_id=entry.document.person_id,
        background=profile.background,
        sector=profile.sector,
        in_post=profile.in_post,
        corporate_experience=profile.corporate_experience,
        employer_id=profile.employer_id,
        pen_portrait="" if isinstance(entry.pen_portrait, Erased) else entry.pen_portrait,
        erased=isinstance(entry.pen_portrait, Erased),
        awards=[f"{a.programme_id}/{a.award_id}" for a in entry.awards],
    )
