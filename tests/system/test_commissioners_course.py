"""R14, the commissioners' course, as its people live it: a register and an assessor's result become 20 credits."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from credence.accreditation.v1 import assessments_pb2 as work
from credence.accreditation.v1 import awards_pb2
from credence.accreditation.v1 import standings_pb2 as pb
from credence.enrolment.v1 import attendance_pb2, enrolments_pb2, people_pb2
from credence_cli.identity import Identity
from tests.system.platform import ADMISSIONS, Platform, Refused, outcomes_of, settled, told
from tests.system.story import ABSENT, BODY, PRESENT, Story

pytestmark = pytest.mark.servers

CREDIT = "commissioning-credit"
PLACED, WAITING = enrolments_pb2.ENROLMENT_STATUS_PLACED, enrolments_pb2.ENROLMENT_STATUS_WAITING


def began(platform: Platform) -> Story:
    """A cohort whose sessions were all held."""
    return Story(platform, "r14-commissioners-course", "ipc", began_days_ago=70)


def explanation(award: pb.AwardStanding) -> dict[str, pb.Explanation]:
    """The nodes of the award's tree, by their title."""
    found: dict[str, pb.Explanation] = {}
    todo = [award.explanation]
    while todo:
        node = todo.pop()
        found[node.title or node.check] = node
        todo += node.children
    return found


def test_four_apply_for_three_places_and_the_fourth_waits_until_one_is_freed(platform: Platform) -> None:
    course = began(platform)
    course.opens(capacity=3)
    people = [course.id(f"sample-{n}") for n in range(4)]

    assert sorted(course.enrols(*people).values()) == sorted([PLACED, PLACED, PLACED, WAITING])
    assert course.enrolment(people[3], token=course.token).waiting_position == 1

    leaving = enrolments_pb2.WithdrawEnrolment(cohort_id=course.cohort, person_id=people[0], reason_code="changed-job")
    course.writes(enrolments_pb2.WithdrawEnrolmentsRequest(rows=[leaving]), ADMISSIONS)
    settled("the freed place goes to who waits", lambda: course.enrolment(people[3]).status == PLACED)


def test_a_register_is_answered_row_by_row(platform: Platform) -> None:
    course = began(platform)
    course.opens(capacity=1)
    learner, waiting = course.id("sample-a"), course.id("sample-b")
    course.enrols(learner)
    course.enrols(waiting)
    rows = [
        course.mark(learner, "s1"),
        course.mark(waiting, "s1"),
        course.mark(course.id("stranger"), "s1"),
        course.mark(learner, "s99"),
        course.mark("Not An Id", "s1"),
        course.mark(learner, "s2", ABSENT),
    ]
    wanted = ["accepted", "waiting", "not-enrolled", "not-found", "invalid-argument", "accepted"]
    assert told(outcomes_of(course.posts(rows))) == wanted

    repeated = course.posts(rows)
    assert told(outcomes_of(repeated))[0] in ("unchanged", "replayed")
    assert repeated.answers[0].current.value.state == PRESENT

    different = course.posts([course.mark(learner, "s1", ABSENT)])
    assert told(outcomes_of(different)) == ["value-differs"]
    assert different.answers[0].current.value.state == PRESENT

    stranger = Identity.of("provider", providers=["another-provider"])
    with_other = course.platform.ask(_as_other(course, learner), stranger)
    assert told(outcomes_of(with_other)) == ["not-found"]


def _as_other(course: Story, learner: str) -> Any:
    return attendance_pb2.PostAttendanceRequest(provider_id="another-provider", rows=[course.mark(learner, "s1")])


def test_twenty_credits_from_register_to_certificate(platform: Platform) -> None:
    course = began(platform)
    course.opens(capacity=3)
    learner = course.id("sample-a")
    course.enrols(learner)

    # Before: nothing attended, and the tree says what is missing.
    before = explanation(course.award(learner, CREDIT, pb.AWARD_STATE_NOT_MET))
    assert not before["At least half of the half-days"].satisfied
    assert before["The work-based project passed"].missing

    course.attends(learner, ["s1", "s2", "s3"])
    halfway = explanation(course.award(learner, CREDIT, pb.AWARD_STATE_NOT_MET))
    assert halfway["At least half of the half-days"].satisfied
    assert len(halfway["At least half of the half-days"].facts) == 3
    assert not halfway["The work-based project passed"].satisfied

    # The project: registered, submitted, referred, resubmitted, passed.
    course.records(
        learner, "project", Identity.of("learner", person=learner), register=work.RecordAssessment.Register()
    )
    course.submits(learner, "project")
    course.assesses(learner, "project", work.RESULT_REFERRED)
    assert course.award(learner, CREDIT).state == pb.AWARD_STATE_NOT_MET
    course.submits(learner, "project")
    course.assesses(learner, "project", work.RESULT_PASSED)

    award = course.award(learner, CREDIT, pb.AWARD_STATE_PROVISIONAL)
    assert (award.credit.credits, award.credit.ects, award.credit.level) == ("20", "10", 7)
    assert award.credit.transferable
    assert course.standing_at_rest(learner).credits_provisional == "20"
    assert award.certificate.state == pb.CERTIFICATE_STATE_NOT_DUE

    # A correction takes provisional credit back by itself, and one restores it; what was known stays askable.
    known = datetime.now(UTC)
    course.corrects(learner, "s3", ABSENT)
    course.award(learner, CREDIT, pb.AWARD_STATE_NOT_MET)
    assert course.standing_at_rest(learner).credits_provisional == "0"
    request = pb.GetStandingRequest(cohort_id=course.cohort, person_id=learner)
    request.known_at.FromDatetime(known)
    then = platform.ask(request, Identity.of("learner", person=learner))
    assert then.credits_provisional == "20"
    course.corrects(learner, "s3", PRESENT)
    course.award(learner, CREDIT, pb.AWARD_STATE_PROVISIONAL)
    history = course.register("s3")[0].history
    assert [value.value.state for value in history] == [PRESENT, ABSENT]

    # The board confirms; the certificate waits for a name.
    assert course.confirms(learner, CREDIT) == ["accepted"]
    award = course.award(learner, CREDIT, pb.AWARD_STATE_CONFIRMED)
    assert course.standing_at_rest(learner).credits_confirmed == "20"
    assert (award.certificate.state, award.certificate.reason_code) == (pb.CERTIFICATE_STATE_BLOCKED, "no-name")
    naming = people_pb2.NamePerson(person_id=learner, name="Sample Learner 01")
    course.writes(people_pb2.NamePeopleRequest(rows=[naming]), ADMISSIONS)
    certificate = course.award(learner, CREDIT, pb.AWARD_STATE_CONFIRMED).certificate
    assert certificate.state == pb.CERTIFICATE_STATE_DUE

    # Too late to take back: a correction now opens a review, which the awarding body decides.
    course.corrects(learner, "s3", ABSENT)
    award = course.award(learner, CREDIT, pb.AWARD_STATE_UNDER_REVIEW)
    assert award.review_id
    assert award.certificate.state != pb.CERTIFICATE_STATE_DUE
    body = Identity.of("awarding-body", bodies=[BODY])
    upheld = awards_pb2.DecideReview(
        cohort_id=course.cohort, person_id=learner, award_id=CREDIT, decision=awards_pb2.REVIEW_DECISION_UPHOLD,
        reason_code="clerical-error", review_id=award.review_id,
    )  # fmt: skip
    course.writes(awards_pb2.DecideReviewsRequest(rows=[upheld]), body)
    course.award(learner, CREDIT, pb.AWARD_STATE_CONFIRMED)


def test_credit_needs_the_project_however_much_was_attended(platform: Platform) -> None:
    course = began(platform)
    course.opens()
    learner = course.id("sample-a")
    course.enrols(learner)
    course.attends(learner, [f"s{n}" for n in range(1, 7)])
    course.award(learner, "completion", pb.AWARD_STATE_CONFIRMED)
    assert course.award(learner, CREDIT).state == pb.AWARD_STATE_NOT_MET
    assert course.standing_at_rest(learner).credits_provisional == "0"
    assert course.confirms(learner, CREDIT) == ["not-found"]


def test_a_learner_sees_no_other_learner(platform: Platform) -> None:
    course = began(platform)
    course.opens()
    learner, other = course.id("sample-a"), course.id("sample-b")
    course.enrols(learner, other)
    request = pb.GetStandingRequest(cohort_id=course.cohort, person_id=other)
    with pytest.raises(Refused) as refused:
        platform.ask(request, Identity.of("learner", person=learner))
    assert refused.value.reason == "not-found"


def test_the_same_by_hand_with_the_command(platform: Platform) -> None:
    course = began(platform)
    course.opens()
    cohort, learner = course.cohort, course.id("sample-a")
    course.enrols(learner)
    template, filled = platform.home / f"{cohort}.csv", platform.home / f"{cohort}-filled.csv"
    platform.command("attendance", "template", cohort, "--provider", "ipc", "--session", "s1", "--out", str(template))
    header, line = template.read_text().splitlines()
    filled.write_text(f"{header}\n{line.replace(f'ref-{learner},', f'ref-{learner},present', 1)}\n")
    posted = platform.command("attendance", "post", str(filled), "--provider", "ipc")
    assert [a["outcome"]["status"] for a in posted] == ["OUTCOME_STATUS_ACCEPTED"]
    standing = platform.command("standing", "explain", cohort, learner)
    assert posted[0]["outcome"]["stream"] + "@" in json.dumps(standing["awards"])
    assert platform.run("standing", "show", cohort, course.id("nobody")).returncode == 3
