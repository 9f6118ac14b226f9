"""R7, Mentor Plus: mentors come to stand, three are offered, one is chosen, eight meetings are held."""

from __future__ import annotations

from credence.accreditation.v1 import assessments_pb2, standings_pb2
from credence.mentoring.v1 import matches_pb2, mentors_pb2
from credence_cli.commands.mentor import match_stub, mentor_stub
from credence_cli.commands.standing import render_lines
from credence_cli.demo.stage import ADMISSIONS, IMPORTER, Stage
from credence_cli.identity import Identity

STANDING = "r7-mentor-standing"
PROGRAMME = "r7-mentor-plus"
ACCREDITOR = "national-college"
STARTED_DAYS_AGO = 300
MEETINGS = 8


async def play(stage: Stage) -> None:
    """From the mentors' seminars to the mentee's completion."""
    stage.scene("R7: Mentor Plus")
    mentors = [stage.id(f"mentor-{letter}") for letter in "abc"]
    outsider = stage.id("mentor-d")
    await _mentors_stand(stage, mentors, outsider)
    cohort, mentee = stage.id("plus"), stage.id("sample-mentee")
    await _matched(stage, cohort, mentee, mentors, outsider)
    await _meetings(stage, cohort, mentee, mentors[1])


async def _mentors_stand(stage: Stage, mentors: list[str], outsider: str) -> None:
    cohort, started = stage.id("men"), stage.ago(STARTED_DAYS_AGO)
    stage.step("Mentor standing is a programme too: accreditation, one induction and two support seminars.")
    provider = await _provider_of(stage, cohort)
    await stage.enrol(cohort, [*mentors, outsider], started)
    rows = await stage.template(cohort, provider, [])
    lines = ["cohort,session,person,state"]
    lines += [
        f"{cohort},{r.session_id},{r.person_id},{'absent' if r.person_id == outsider else 'present'}" for r in rows
    ]
    await stage.post(provider, stage.save("mentors.csv", "\n".join(lines) + "\n"), quiet=True)
    for mentor in (*mentors, outsider):
        for step in _accreditation():
            await stage.assess(cohort, mentor, step, f"{mentor}: accreditation {step.WhichOneof('step')}", ACCREDITOR)
    for mentor in mentors:
        await stage.award(cohort, mentor, "mentor-standing", standings_pb2.AWARD_STATE_CONFIRMED)
    people = [
        mentors_pb2.RegisterMentor(
            person_id=mentor, background="children", sector="public", in_post=True, employer_id="sample-council",
            pen_portrait="A sample pen portrait.",
        )
        for mentor in (*mentors, outsider)
    ]  # fmt: skip
    request = mentors_pb2.RegisterMentorsRequest(rows=people)
    answer = await stage.client.call(mentor_stub(stage.client).RegisterMentors, request, identity=ADMISSIONS)
    stage.report(answer, [f"mentor {p.person_id}" for p in people])


async def _provider_of(stage: Stage, cohort: str) -> str:
    provider = "staff-college"
    await stage.open_cohort(cohort, STANDING, stage.ago(STARTED_DAYS_AGO), provider)
    return provider


def _accreditation() -> list[assessments_pb2.RecordAssessment]:
    submit = assessments_pb2.RecordAssessment.Submit()
    passed = assessments_pb2.RecordAssessment.Assess(result=assessments_pb2.RESULT_PASSED)
    return [
        assessments_pb2.RecordAssessment(component_id="accreditation", submit=submit),
        assessments_pb2.RecordAssessment(component_id="accreditation", assess=passed),
    ]


async def _matched(stage: Stage, cohort: str, mentee: str, mentors: list[str], outsider: str) -> None:
    await stage.open_cohort(cohort, PROGRAMME, stage.ago(STARTED_DAYS_AGO), "staff-college")
    await stage.enrol(cohort, [mentee], stage.ago(STARTED_DAYS_AGO))
    matches = match_stub(stage.client)

    stage.step("A shortlist with a mentor who does not stand is refused; one of three who do is offered.",
               f"mentor offer {cohort} {mentee} {' '.join(mentors)}")  # fmt: skip
    for offered, refused in ([*mentors[:2], outsider], True), (mentors, False):
        row = matches_pb2.OfferShortlist(cohort_id=cohort, person_id=mentee, mentor_ids=offered)
        request = matches_pb2.OfferShortlistsRequest(rows=[row], token=stage.token)
        answer = await stage.client.call(matches.OfferShortlists, request, identity=ADMISSIONS)
        stage.report(answer, [", ".join(offered)], refused=refused)

    # As an importer would bring it in: nobody else may date a match back, and its months are to have begun already.
    began = stage.ago(STARTED_DAYS_AGO).isoformat()
    stage.step("The mentee chooses one.", f"mentor choose {cohort} {mentee} {mentors[1]} --on {began}")
    choice = matches_pb2.ChooseMentor(cohort_id=cohort, person_id=mentee, mentor_id=mentors[1], matched_on=began)
    choosing = matches_pb2.ChooseMentorsRequest(rows=[choice])
    stage.report(await stage.client.call(matches.ChooseMentors, choosing, identity=IMPORTER), [mentors[1]])


async def _meetings(stage: Stage, cohort: str, mentee: str, mentor: str) -> None:
    stage.step(f"{MEETINGS} meetings, each confirmed by both sides.", f"mentor meet {cohort} {mentee} m1 --on DATE")
    matches = match_stub(stage.client)
    for role, person, side in (
        ("learner", mentee, matches_pb2.SIDE_MENTEE),
        ("mentor", mentor, matches_pb2.SIDE_MENTOR),
    ):
        rows = [
            matches_pb2.ConfirmMeeting(
                cohort_id=cohort, person_id=mentee, meeting_id=f"m{n}",
                on=stage.ago(STARTED_DAYS_AGO - 30 * n).isoformat(), side=side,
            )
            for n in range(1, MEETINGS + 1)
        ]  # fmt: skip
        request = matches_pb2.ConfirmMeetingsRequest(rows=rows)
        answer = await stage.client.call(matches.ConfirmMeetings, request, identity=Identity.of(role, person=person))
        stage.report(answer, [f"{row.meeting_id} on {row.on}, says the {role}" for row in rows])
    await stage.award(cohort, mentee, "completion", standings_pb2.AWARD_STATE_CONFIRMED)
    render_lines(await stage.standing(cohort, mentee))
