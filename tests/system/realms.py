"""Two whole sets of objects that belong to different people, and a third that does not exist: who sees whose?"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from catalogue.files import check
from catalogue.proto import programme_to_proto
from credence.accreditation.v1 import assessments_pb2 as work
from credence.accreditation.v1 import standings_pb2 as pb
from credence.common.v1 import programme_pb2
from credence.enrolment.v1 import catalogue_pb2, cohorts_pb2, enrolments_pb2, people_pb2
from credence.mentoring.v1 import matches_pb2
from credence_cli.identity import Identity
from tests.system.platform import ADMISSIONS, OPERATOR, Platform, all_stored, suffix
from tests.system.story import ABSENT, Story, ago
from tests.system.test_mentor_plus import bring_to_standing

CATALOGUE = Path(__file__).parents[2] / "catalogue"
CREDIT = "commissioning-credit"
BEGAN_DAYS_AGO = 70
# Half of seven: another provider holds the seventh.
SESSIONS = ("s1", "s2", "s3", "s4")


@dataclass(frozen=True)
class Names:
    """The ids of one realm. Everything named belongs to its person, its provider, its body or its mentor.

    `reviewed` is a learner whose confirmed award is under review; `leaving`, `registering` and `carrying` are cohorts
    of the person's for one use each; `foreign_session` is a session of another provider in this realm's own cohort.
    """

    programme: str
    body: str
    provider: str
    cohort: str
    person: str
    reviewed: str
    leaving: str
    registering: str
    carrying: str
    session: str
    plus: str
    mentor: str
    review: str

    @classmethod
    def of(cls, run: str) -> Names:
        return cls(**{name: f"{name}-{run}"[:30] for name in cls.__dataclass_fields__})

    def hidden_in(self, text: str) -> str:
        """The text with every id of this realm replaced by what it names."""
        for name, value in sorted(asdict(self).items(), key=lambda pair: -len(pair[1])):
            text = text.replace(value, f"<{name}>")
        return text

    def identity(self, role: str) -> Identity:
        """Who holds this realm's objects in that role."""
        return Identity(
            (role,),
            f"{role}-of-{self.cohort}",
            {"learner": self.person, "mentor": self.mentor}.get(role),
            (self.provider,) if role == "provider" else (),
            (self.body,) if role in ("assessor", "awarding-body") else (),
        )


def own_programme(names: Names) -> programme_pb2.Programme:
    """The commissioners' course, of an awarding body of this realm's own."""
    (course,) = check([CATALOGUE / "r14-commissioners-course.yaml"]).programmes.values()
    made = programme_to_proto(course)
    made.id, made.awarding_body.id = names.programme, names.body
    return made


def build(platform: Platform) -> Names:
    """A realm with something in every place where a caller could reach for it."""
    run = suffix()
    names = Names.of(run)
    all_stored(platform.ask(catalogue_pb2.LoadProgrammesRequest(programmes=[own_programme(names)]), OPERATOR))
    course = Story(platform, names.programme, names.provider, BEGAN_DAYS_AGO, run=run, body=names.body)
    assert course.cohort == names.cohort
    course.opens()
    _more_cohorts(course, names)
    course.enrols(names.person, names.reviewed)
    naming = people_pb2.NamePerson(person_id=names.person, name="Sample Learner 01")
    course.writes(people_pb2.NamePeopleRequest(rows=[naming]), ADMISSIONS)
    review = _earn_credit(course, names)
    _be_mentored(platform, names)
    return replace(names, review=review)


def _more_cohorts(course: Story, names: Names) -> None:
    extra = (names.leaving, names.registering, names.carrying)
    rows = [
        cohorts_pb2.OpenCohort(
            cohort_id=cohort,
            programme_id=names.programme,
            programme_version=1,
            starts_on=ago(BEGAN_DAYS_AGO),
            provider_id=names.provider,
        )
        for cohort in extra
    ]
    course.writes(cohorts_pb2.OpenCohortsRequest(rows=rows), ADMISSIONS)
    session = cohorts_pb2.Session(
        session_id=names.session, title="Another provider's", unit_kind="half-day", on=ago(60), start="09:30",
        minutes=180, provider_id="another-provider",
    )  # fmt: skip
    moved = cohorts_pb2.ScheduleSession(cohort_id=names.cohort, session=session)
    course.writes(cohorts_pb2.ScheduleSessionsRequest(rows=[moved]), ADMISSIONS)
    people = [people_pb2.RegisterPerson(person_id=names.person)]
    course.writes(people_pb2.RegisterPeopleRequest(rows=people), ADMISSIONS)
    asked = [
        enrolments_pb2.RequestEnrolment(cohort_id=c, person_id=names.person, effective_on=ago(BEGAN_DAYS_AGO))
        for c in extra
    ]
    course.writes(enrolments_pb2.RequestEnrolmentsRequest(rows=asked), Identity.of("importer"))


def _earn_credit(course: Story, names: Names) -> str:
    """The person holds provisional credit; the other learner's is confirmed, then a mark is corrected: the review."""
    for person in (names.person, names.reviewed):
        course.attends(person, SESSIONS)
        opting_in = work.RecordAssessment.Register()
        course.records(person, "project", Identity.of("learner", person=person), register=opting_in)
        course.submits(person, "project")
        course.assesses(person, "project", work.RESULT_PASSED)
    for person in (names.person, names.reviewed):
        course.award(person, CREDIT, pb.AWARD_STATE_PROVISIONAL)
    assert course.confirms(names.reviewed, CREDIT) == ["accepted"]
    course.corrects(names.reviewed, "s3", ABSENT)
    return course.award(names.reviewed, CREDIT, pb.AWARD_STATE_UNDER_REVIEW).review_id


def _be_mentored(platform: Platform, names: Names) -> None:
    """The person has chosen this realm's mentor."""
    mentors = [names.mentor, f"second-{names.mentor}", f"third-{names.mentor}"]
    story = bring_to_standing(platform, mentors)
    cohort = cohorts_pb2.OpenCohort(
        cohort_id=names.plus,
        programme_id="r7-mentor-plus",
        programme_version=1,
        starts_on=ago(300),
        provider_id=names.provider,
    )
    story.writes(cohorts_pb2.OpenCohortsRequest(rows=[cohort]), ADMISSIONS)
    wish = enrolments_pb2.RequestEnrolment(cohort_id=names.plus, person_id=names.person, effective_on=ago(300))
    story.writes(enrolments_pb2.RequestEnrolmentsRequest(rows=[wish]), Identity.of("importer"))
    offer = matches_pb2.OfferShortlist(cohort_id=names.plus, person_id=names.person, mentor_ids=mentors)
    story.writes(matches_pb2.OfferShortlistsRequest(rows=[offer], token=story.token), ADMISSIONS)
    story.writes(matches_pb2.ChooseMentorsRequest(rows=[choice(names)]), Identity.of("importer"))


def choice(names: Names) -> matches_pb2.ChooseMentor:
    return matches_pb2.ChooseMentor(
        command_id=f"choose-{names.plus}",
        cohort_id=names.plus,
        person_id=names.person,
        mentor_id=names.mentor,
        matched_on=ago(300),
    )
