"""The enrolment service, composed."""

from __future__ import annotations

import sys

import grpc

from credence.enrolment.v1 import (
    attendance_pb2_grpc,
    catalogue_pb2_grpc,
    cohorts_pb2_grpc,
    enrolments_pb2_grpc,
    people_pb2_grpc,
)
from enrolment.api.attendance import AttendanceApi
from enrolment.api.catalogue import CatalogueApi
from enrolment.api.cohorts import CohortApi
from enrolment.api.enrolments import EnrolmentApi
from enrolment.api.people import PeopleApi
from enrolment.application.places import PLACES
from enrolment.application.publishing import public
from enrolment.domain.cohort import COHORT
from enrolment.domain.enrolment import ENROLMENT
from enrolment.domain.person import PERSON
from enrolment.domain.pool import POOL
from enrolment.domain.programme import PROGRAMME
from enrolment.settings import Settings
from enrolment.views.cohorts import COHORTS
from enrolment.views.enrolments import ENROLMENTS
from enrolment.views.people import PEOPLE
from enrolment.views.person_data import about
from enrolment.views.pools import POOLS
from enrolment.views.programmes import PROGRAMMES
from servicekit.kernel import Kernel
from servicekit.process import Kit, Service, run_service
from servicekit.runtime import Parts, assemble


def register(kernel: Kernel, server: grpc.aio.Server) -> None:
    catalogue_pb2_grpc.add_CatalogueServiceServicer_to_server(CatalogueApi(kernel), server)
    people_pb2_grpc.add_PeopleServiceServicer_to_server(PeopleApi(kernel), server)
    cohorts_pb2_grpc.add_CohortServiceServicer_to_server(CohortApi(kernel), server)
    enrolments_pb2_grpc.add_EnrolmentServiceServicer_to_server(EnrolmentApi(kernel), server)
    attendance_pb2_grpc.add_AttendanceServiceServicer_to_server(AttendanceApi(kernel), server)


PARTS = Parts(
    name="enrolment",
    topic="credence.enrolment.v1",
    deciders=(PERSON, PROGRAMME, COHORT, POOL, ENROLMENT),
    views=(PEOPLE, PROGRAMMES, COHORTS, POOLS, ENROLMENTS),
    public=public,
    register=register,
    about=about,
    evaluations=(PLACES,),
)


async def build(settings: Settings, kit: Kit) -> Service:
    return await assemble(PARTS, settings, kit)


def main() -> int:
    return run_service("enrolment", build, Settings)


if __name__ == "__main__":
    sys.exit(main())
