"""R7, Mentor Plus: mentors come to stand, three are offered, one is chosen, eight meetings are held by both's word."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from credence.accreditation.v1 import assessments_pb2 as work
from credence.accreditation.v1 import standings_pb2 as pb
from credence.mentoring.v1 import matches_pb2, mentors_pb2
from credence_cli.identity import Identity
from tests.system.platform import ADMISSIONS, IMPORTER, Platform, all_stored, outcomes_of, settled, told
from tests.system.story import Story, ago

pytestmark = pytest.mark.servers

SEMINARS = ("induction", "support-1", "support-2")


def bring_to_standing(platform: Platform, mentors: Sequence[str]) -> Story:
    """Mentors through accreditation, one induction and two support seminars; the story's token names the last fact."""
    seminars = Story(platform, "r7-mentor-standing", "national-college", began_days_ago=300)
    seminars.opens()
    seminars.enrols(*mentors)
    for mentor in mentors:
        seminars.attends(mentor, SEMINARS)
        seminars.submits(mentor, "accreditation", IMPORTER)
        seminars.assesses(mentor, "accreditation", work.RESULT_PASSED, IMPORTER)
    for mentor in mentors:
        seminars.award(mentor, "mentor-standing", pb.AWARD_STATE_CONFIRMED)
    register(seminars, mentors)
    for mentor in mentors:
        settled(f"mentoring has heard that {mentor} stands", partial(stands, platform, mentor))
    return seminars


def stands(platform: Platform, mentor: str) -> bool:
    request = mentors_pb2.ListMentorsRequest(person_id=mentor, in_standing_only=True)
    return len(platform.ask(request, ADMISSIONS).mentors) == 1


def register(story: Story, mentors: Sequence[str]) -> None:
    rows = [
        mentors_pb2.RegisterMentor(
            person_id=mentor, background="children", sector="public", in_post=True, employer_id="sample-council",
            pen_portrait="A sample pen portrait.",
        )
        for mentor in mentors
    ]  # fmt: skip
    story.writes(mentors_pb2.RegisterMentorsRequest(rows=rows), ADMISSIONS)


def offer(story: Story, mentee: str, mentors: Sequence[str]) -> list[str]:
    row = matches_pb2.OfferShortlist(cohort_id=story.cohort, person_id=mentee, mentor_ids=mentors)
    request = matches_pb2.OfferShortlistsRequest(rows=[row], token=story.token)
    return told(outcomes_of(story.asks(request, ADMISSIONS)))


def meets(story: Story, mentee: str, meetings: Sequence[tuple[str, str]], side: int, who: Identity) -> list[str]:
    rows = [
        matches_pb2.ConfirmMeeting(
            cohort_id=story.cohort,
            person_id=mentee,
            meeting_id=meeting,
            on=on,
            side=matches_pb2.Side.ValueType(side),
        )
        for meeting, on in meetings
    ]
    answer = story.asks(matches_pb2.ConfirmMeetingsRequest(rows=rows), who)
    story.token = answer.token or story.token
    return told(outcomes_of(answer))


def test_from_the_mentors_seminars_to_the_mentees_completion(platform: Platform) -> None:
    plus = Story(platform, "r7-mentor-plus", "national-college", began_days_ago=300)
    mentors = [plus.id(f"mentor-{letter}") for letter in "abc"]
    seminars = bring_to_standing(platform, mentors)
    outsider = plus.id("outsider")
    register(seminars, [outsider])
    plus.opens()
    mentee = plus.id("mentee")
    plus.enrols(mentee)

    # A shortlist of exactly three, all of them in standing; one choice.
    assert offer(plus, mentee, [*mentors[:2], outsider]) == ["mentor-not-in-standing"]
    assert offer(plus, mentee, mentors[:2])[0] not in ("accepted", "not-found")
    assert offer(plus, mentee, mentors) == ["accepted"]
    choice = matches_pb2.ChooseMentor(
        cohort_id=plus.cohort, person_id=mentee, mentor_id=mentors[1], matched_on=ago(300)
    )
    as_mentee = Identity.of("learner", person=mentee)
    dated_back = plus.asks(matches_pb2.ChooseMentorsRequest(rows=[choice]), as_mentee)
    assert told(outcomes_of(dated_back)) == ["past-date"]
    all_stored(plus.asks(matches_pb2.ChooseMentorsRequest(rows=[choice]), IMPORTER))
    second = matches_pb2.ChooseMentor(cohort_id=plus.cohort, person_id=mentee, mentor_id=mentors[0])
    changed = plus.asks(matches_pb2.ChooseMentorsRequest(rows=[second]), as_mentee)
    assert told(outcomes_of(changed))[0] not in ("accepted", "not-found")

    # A meeting counts once both have said so, each for their own side.
    meetings = [(f"m{n}", ago(300 - 30 * n)) for n in range(1, 9)]
    as_mentor = Identity.of("mentor", person=mentors[1])
    assert set(meets(plus, mentee, meetings, matches_pb2.SIDE_MENTEE, as_mentee)) == {"accepted"}
    assert meets(plus, mentee, meetings[:1], matches_pb2.SIDE_MENTOR, as_mentee) == ["not-found"]
    assert plus.award(mentee, "completion", pb.AWARD_STATE_NOT_MET).explanation.have == "0"
    assert set(meets(plus, mentee, meetings[:7], matches_pb2.SIDE_MENTOR, as_mentor)) == {"accepted"}
    assert plus.award(mentee, "completion", pb.AWARD_STATE_NOT_MET).explanation.have == "7"
    assert meets(plus, mentee, meetings[7:], matches_pb2.SIDE_MENTOR, as_mentor) == ["accepted"]
    completion = plus.award(mentee, "completion", pb.AWARD_STATE_CONFIRMED)
    assert not completion.HasField("credit")


def test_a_mentor_without_the_second_support_seminar_does_not_stand(platform: Platform) -> None:
    seminars = Story(platform, "r7-mentor-standing", "national-college", began_days_ago=300)
    seminars.opens()
    mentor = seminars.id("mentor")
    seminars.enrols(mentor)
    seminars.attends(mentor, SEMINARS[:2])
    seminars.submits(mentor, "accreditation")
    seminars.assesses(mentor, "accreditation", work.RESULT_PASSED, IMPORTER)
    standing = seminars.award(mentor, "mentor-standing", pb.AWARD_STATE_NOT_MET)
    support = next(c for c in standing.explanation.children if c.title == "Two support seminars")
    assert (support.have, support.need) == ("1", "2")
