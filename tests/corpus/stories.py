"""What the system's stories leave out, so that a recording holds every kind of stored event."""

from __future__ import annotations

from credence.accreditation.v1 import assessments_pb2 as work
from credence.enrolment.v1 import cohorts_pb2, enrolments_pb2, people_pb2
from credence.mentoring.v1 import mentors_pb2
from credence_cli.identity import Identity
from tests.system.platform import ADMISSIONS, IMPORTER, Platform, settled
from tests.system.story import Story, ago


def course_of(platform: Platform) -> Story:
    return Story(platform, "r14-commissioners-course", "ipc", began_days_ago=70)


def who_waits_leaves_and_a_full_cohort_without_a_list_declines(platform: Platform) -> None:
    listed, full = course_of(platform), course_of(platform)
    listed.opens(capacity=1)
    placed, waiting = listed.id("sample-a"), listed.id("sample-b")
    listed.enrols(placed)
    listed.enrols(waiting)
    leaving = enrolments_pb2.WithdrawEnrolment(cohort_id=listed.cohort, person_id=waiting, reason_code="changed-job")
    listed.writes(enrolments_pb2.WithdrawEnrolmentsRequest(rows=[leaving]), ADMISSIONS)

    row = cohorts_pb2.OpenCohort(
        cohort_id=full.cohort,
        programme_id=full.programme,
        programme_version=1,
        starts_on=ago(70),
        provider_id=full.provider,
        capacity=1,
        waiting_list=False,
    )
    full.writes(cohorts_pb2.OpenCohortsRequest(rows=[row]), ADMISSIONS)
    first, second = full.id("sample-a"), full.id("sample-b")
    full.enrols(first)
    full.enrols(second)
    declined = enrolments_pb2.ENROLMENT_STATUS_DECLINED
    settled("the second is declined", lambda: full.enrolment(second).status == declined)


def a_session_is_added_and_cancelled(platform: Platform) -> None:
    course = course_of(platform)
    course.opens()
    session = cohorts_pb2.Session(
        session_id="extra",
        title="An extra half-day",
        unit_kind="half-day",
        on=ago(-3),
        start="09:30",
        minutes=180,
        place="online",
        provider_id=course.provider,
    )
    added = cohorts_pb2.ScheduleSession(cohort_id=course.cohort, session=session)
    course.writes(cohorts_pb2.ScheduleSessionsRequest(rows=[added]), ADMISSIONS)
    cancelled = cohorts_pb2.CancelSession(cohort_id=course.cohort, session_id="extra", reason_code="snow")
    course.writes(cohorts_pb2.CancelSessionsRequest(rows=[cancelled]), ADMISSIONS)


def a_result_is_carried_over_and_one_is_revised(platform: Platform) -> None:
    course = course_of(platform)
    course.opens()
    carried, revised = course.id("sample-a"), course.id("sample-b")
    course.enrols(carried, revised)
    over = work.RecordAssessment.CarryOver(result=work.RESULT_PASSED, from_cohort_id="earlier")
    course.records(carried, "project", IMPORTER, carry_over=over)
    course.records(revised, "project", IMPORTER, register=work.RecordAssessment.Register())
    course.submits(revised, "project", IMPORTER)
    course.assesses(revised, "project", work.RESULT_REFERRED, IMPORTER)
    again = work.RecordAssessment.Revise(
        result=work.RESULT_PASSED, mark="62.5", replaces=3, reason_code="marking-error"
    )
    course.records(revised, "project", IMPORTER, revise=again)


def a_mentor_goes_into_retirement(platform: Platform) -> None:
    story = course_of(platform)
    mentor = story.id("mentor")
    story.writes(people_pb2.RegisterPeopleRequest(rows=[people_pb2.RegisterPerson(person_id=mentor)]), IMPORTER)
    for in_post in (True, False):
        row = mentors_pb2.RegisterMentor(
            person_id=mentor,
            background="children",
            sector="public",
            in_post=in_post,
            employer_id="sample-council",
            pen_portrait="A sample pen portrait.",
        )
        story.writes(mentors_pb2.RegisterMentorsRequest(rows=[row]), ADMISSIONS)


def somebody_with_a_name_and_somebody_whom_nobody_knows_are_erased(platform: Platform) -> None:
    course = course_of(platform)
    course.opens()
    person, stranger = course.id("sample-a"), course.id("stranger")
    named = people_pb2.RegisterPerson(person_id=person, name="Sample Learner", email="sample.learner@example.org")
    course.writes(people_pb2.RegisterPeopleRequest(rows=[named]), IMPORTER)
    wish = enrolments_pb2.RequestEnrolment(
        cohort_id=course.cohort,
        person_id=person,
        effective_on=ago(course.began_days_ago),
        references=[enrolments_pb2.LearnerReference(provider_id=course.provider, reference="a provider's word")],
    )
    course.writes(enrolments_pb2.RequestEnrolmentsRequest(rows=[wish]), IMPORTER)
    course.attends(person, ["s1"])
    erasing = [people_pb2.ErasePerson(person_id=each, reason_code="person-asked") for each in (person, stranger)]
    course.writes(people_pb2.ErasePeopleRequest(rows=erasing), Identity.of("privacy-officer"))
    course.attends(person, ["s2"])  # what was earned stays, and goes on
