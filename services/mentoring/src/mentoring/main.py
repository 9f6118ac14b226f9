"""The mentoring service, composed."""

from __future__ import annotations

import sys

import grpc

from credence.accreditation.v1 import events_pb2 as accreditation_events
from credence.enrolment.v1 import events_pb2 as enrolment_events
from credence.mentoring.v1 import matches_pb2_grpc, mentors_pb2_grpc
from mentoring.api.matches import MatchApi
from mentoring.api.mentors import MentorApi
from mentoring.application.publishing import public
from mentoring.domain.match import MATCH
from mentoring.domain.mentor import MENTOR
from mentoring.settings import Settings
from mentoring.views.awards import AWARDS
from mentoring.views.enrolments import ENROLMENTS
from mentoring.views.matches import MATCHES
from mentoring.views.mentors import MENTORS
from mentoring.views.people import PEOPLE
from mentoring.views.person_data import about
from mentoring.views.programmes import PROGRAMMES
from servicekit.kernel import Kernel
from servicekit.process import Kit, Service, run_service
from servicekit.runtime import Parts, assemble


def register(kernel: Kernel, server: grpc.aio.Server) -> None:
    mentors_pb2_grpc.add_MentorServiceServicer_to_server(MentorApi(kernel), server)
    matches_pb2_grpc.add_MatchServiceServicer_to_server(MatchApi(kernel), server)


PARTS = Parts(
    name="mentoring",
    topic="credence.mentoring.v1",
    deciders=(MENTOR, MATCH),
    views=(MENTORS, MATCHES, AWARDS, ENROLMENTS, PROGRAMMES, PEOPLE),
    public=public,
    register=register,
    about=about,
    listens_to={
        "credence.enrolment.v1": enrolment_events,
        "credence.accreditation.v1": accreditation_events,
    },
)


async def build(settings: Settings, kit: Kit) -> Service:
    return await assemble(PARTS, settings, kit)


def main() -> int:
    return run_service("mentoring", build, Settings)


if __name__ == "__main__":
    sys.exit(main())
