"""The accreditation service, composed."""

from __future__ import annotations

import sys

import grpc

from accreditation.api.assessments import AssessmentApi
from accreditation.api.awards import AwardApi
from accreditation.api.standings import StandingApi
from accreditation.application.confirmation import CONFIRMATION
from accreditation.application.publishing import public
from accreditation.domain.assessment import ASSESSMENT
from accreditation.domain.credit import CREDIT
from accreditation.settings import Settings
from accreditation.views.assessments import ASSESSMENTS
from accreditation.views.cohorts import COHORTS
from accreditation.views.credits import CREDITS
from accreditation.views.enrolments import ENROLMENTS
from accreditation.views.matches import MATCHES
from accreditation.views.people import PEOPLE
from accreditation.views.person_data import about
from accreditation.views.programmes import PROGRAMMES
from accreditation.views.standings import STANDING
from credence.accreditation.v1 import assessments_pb2_grpc, awards_pb2_grpc, standings_pb2_grpc
from credence.enrolment.v1 import events_pb2 as enrolment_events
from credence.mentoring.v1 import events_pb2 as mentoring_events
from servicekit.kernel import Kernel
from servicekit.process import Kit, Service, run_service
from servicekit.runtime import Parts, assemble


def register(kernel: Kernel, server: grpc.aio.Server) -> None:
    assessments_pb2_grpc.add_AssessmentServiceServicer_to_server(AssessmentApi(kernel), server)
    standings_pb2_grpc.add_StandingServiceServicer_to_server(StandingApi(kernel), server)
    awards_pb2_grpc.add_AwardServiceServicer_to_server(AwardApi(kernel), server)


PARTS = Parts(
    name="accreditation",
    topic="credence.accreditation.v1",
    deciders=(ASSESSMENT, CREDIT),
    views=(ASSESSMENTS, CREDITS, ENROLMENTS, COHORTS, PROGRAMMES, PEOPLE, MATCHES),
    public=public,
    register=register,
    about=about,
    evaluations=(STANDING, CONFIRMATION),
    listens_to={
        "credence.enrolment.v1": enrolment_events,
        "credence.mentoring.v1": mentoring_events,
    },
)


async def build(settings: Settings, kit: Kit) -> Service:
    return await assemble(PARTS, settings, kit)


def main() -> int:
    return run_service("accreditation", build, Settings)


if __name__ == "__main__":
    sys.exit(main())
