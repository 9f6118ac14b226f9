"""The real schemes, from others' facts to a learner's standing: through the API, the kernel and the evaluations."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from accreditation.api.awards import AwardApi
from accreditation.testing import Scene, schemes
from credence.accreditation.v1 import assessments_pb2, awards_pb2, standings_pb2
from credence.common.v1 import outcome_pb2
from servicekit.errors import NotFound

R1, R7, MENTORS, R14 = (
    schemes()[name]
    for name in ("r1-directors-leadership", "r7-mentor-plus", "r7-mentor-standing", "r14-commissioners-course")
)
STARTS = date(2024, 10, 1)
STATE = standings_pb2.AwardState
TODAY = "2024-12-02"


def row(component: str = "project", person: str = "p1", cohort: str = "autumn") -> assessments_pb2.RecordAssessment:
    return assessments_pb2.RecordAssessment(cohort_id=cohort, person_id=person, component_id=component)


def registered() -> assessments_pb2.RecordAssessment:
    made = row()
    made.register.SetInParent()
    return made


def submitted(on: str = "", component: str = "project") -> assessments_pb2.RecordAssessment:
    made = row(component)
    made.submit.submitted_on = on
    made.submit.SetInParent()
    return made


def assessed(
    result: assessments_pb2.Result.ValueType, on: str = "", mark: str = "", component: str = "project"
) -> assessments_pb2.RecordAssessment:
    made = row(component)
    made.assess.result = result
    made.assess.mark = mark
    made.assess.assessed_on = on
    return made


def revised(result: assessments_pb2.Result.ValueType, replaces: int) -> assessments_pb2.RecordAssessment:
    made = row()
    made.revise.result = result
    made.revise.replaces = replaces
    made.revise.reason_code = "clerical-error"
    return made


def award(standing: standings_pb2.Standing, award_id: str) -> standings_pb2.AwardStanding:
    return next(each for each in standing.awards if each.award_id == award_id)


async def commissioners(*, sessions: int = 4, named: bool = True) -> Scene:
    """The commissioners' course with one learner, who attended some of the six half-days."""
    scene = Scene()
    scene.programme(R14)
    scene.cohort("autumn", R14, STARTS)
    scene.person("p1", named=named)
    scene.placed("autumn", "p1", R14, STARTS)
    for number in range(sessions):
        scene.attended("autumn", "p1", f"s{number + 1}")
    await scene.settle()
    return scene


async def passed_course(*, named: bool = True) -> Scene:
    scene = await commissioners(named=named)
    await scene.record(registered(), submitted(), assessed(assessments_pb2.RESULT_PASSED, mark="64"))
    return scene


async def state_of(scene: Scene, award_id: str = "commissioning-credit") -> str:
    return STATE.Name(award(await scene.standing("autumn", "p1"), award_id).state).removeprefix("AWARD_STATE_")


async def test_attendance_alone_completes_the_course_and_earns_no_credit() -> None:
    scene = await commissioners()
    standing = await scene.standing("autumn", "p1")
    assert await state_of(scene, "completion") == "CONFIRMED"
    assert await state_of(scene) == "NOT_MET"
    assert (standing.credits_provisional, standing.credits_confirmed) == ("0", "0")
    tree = award(standing, "commissioning-credit").explanation
    attendance, project = tree.children
    assert (attendance.have, attendance.need, attendance.unit) == ("4", "3", "half-days")
    assert attendance.facts == [f"enrolment-autumn--p1@{version}" for version in (3, 4, 5, 6)]
    assert not project.satisfied
    assert [each.code for each in project.missing] == ["assessment-not-passed"]


async def test_a_project_referred_resubmitted_and_passed_earns_twenty_provisional_credits_that_a_board_confirms() -> (
    None
):
    scene = await commissioners()
    await scene.record(registered(), submitted(), assessed(assessments_pb2.RESULT_REFERRED, mark="45"))
    assert await state_of(scene) == "NOT_MET"
    scene.pass_days(30)
    await scene.record(submitted(), assessed(assessments_pb2.RESULT_PASSED, mark="61"))
    standing = await scene.standing("autumn", "p1")
    credit = award(standing, "commissioning-credit")
    assert credit.state == standings_pb2.AWARD_STATE_PROVISIONAL
    assert (credit.credit.credits, credit.credit.level, credit.credit.ects) == ("20", 7, "10")
    assert (standing.credits_provisional, standing.credits_confirmed) == ("20", "0")
    assert credit.certificate.reason_code == "not-confirmed"
    assert not standing.pending
    confirmed = await scene.confirm("autumn", "p1", "commissioning-credit")
    assert confirmed.status == outcome_pb2.OUTCOME_STATUS_ACCEPTED
    standing = await scene.standing("autumn", "p1")
    assert (standing.credits_provisional, standing.credits_confirmed) == ("0", "20")
    assert award(standing, "commissioning-credit").certificate.state == standings_pb2.CERTIFICATE_STATE_DUE


async def test_a_certificate_is_never_due_without_a_name() -> None:
    scene = await passed_course(named=False)
    await scene.confirm("autumn", "p1", "commissioning-credit")
    certificate = award(await scene.standing("autumn", "p1"), "commissioning-credit").certificate
    assert (certificate.state, certificate.reason_code) == (standings_pb2.CERTIFICATE_STATE_BLOCKED, "no-name")


async def test_a_correction_takes_back_provisional_credit_and_another_restores_it() -> None:
    scene = await passed_course()
    assert await state_of(scene) == "PROVISIONAL"
    await scene.record(revised(assessments_pb2.RESULT_FAILED, replaces=3))
    assert await state_of(scene) == "NOT_MET"
    await scene.record(revised(assessments_pb2.RESULT_PASSED, replaces=4))
    assert await state_of(scene) == "PROVISIONAL"


async def test_an_attendance_correction_takes_back_provisional_credit_too() -> None:
    scene = await passed_course()
    for version in (3, 4):
        scene.attended("autumn", "p1", f"s{version - 2}", "absent", replaces=version)
    await scene.settle()
    assert await state_of(scene) == "NOT_MET"


async def test_a_correction_of_confirmed_credit_opens_a_review_which_closes_when_the_facts_come_back() -> None:
    scene = await passed_course()
    await scene.confirm("autumn", "p1", "commissioning-credit")
    await scene.record(revised(assessments_pb2.RESULT_REFERRED, replaces=3))
    standing = await scene.standing("autumn", "p1")
    reviewed = award(standing, "commissioning-credit")
    assert reviewed.state == standings_pb2.AWARD_STATE_UNDER_REVIEW
    assert reviewed.review_id
    assert standing.credits_confirmed == "20", "it stands until the body has decided"
    assert reviewed.certificate.reason_code == "under-review"
    await scene.record(revised(assessments_pb2.RESULT_PASSED, replaces=4))
    assert await state_of(scene) == "CONFIRMED"


@pytest.mark.parametrize(
    ("decision", "state"),
    [(awards_pb2.REVIEW_DECISION_UPHOLD, "CONFIRMED"), (awards_pb2.REVIEW_DECISION_REVOKE, "REVOKED")],
)
async def test_the_awarding_body_decides_a_review(decision: awards_pb2.ReviewDecision.ValueType, state: str) -> None:
    scene = await passed_course()
    await scene.confirm("autumn", "p1", "commissioning-credit")
    await scene.record(revised(assessments_pb2.RESULT_FAILED, replaces=3))
    await scene.review("autumn", "p1", "commissioning-credit", decision)
    assert await state_of(scene) == state


async def test_a_revoked_award_is_shown_with_reason_and_date_as_long_as_the_board_has_not_confirmed_it_again() -> None:
    scene = await passed_course()
    await scene.confirm("autumn", "p1", "commissioning-credit")
    scene.pass_days(1)
    await scene.record(revised(assessments_pb2.RESULT_FAILED, replaces=3))
    standing = await scene.standing("autumn", "p1")
    assert not award(standing, "commissioning-credit").HasField("revocation")
    scene.pass_days(1)
    await scene.review("autumn", "p1", "commissioning-credit", awards_pb2.REVIEW_DECISION_REVOKE)

    async def shown() -> tuple[standings_pb2.AwardStanding, awards_pb2.LedgerAward]:
        request = awards_pb2.ListAwardsRequest(person_id="p1")
        listed = await scene.world.call(AwardApi(scene.kernel).ListAwards, request, roles=["importer"])
        held = next(each for each in listed.awards if each.award_id == "commissioning-credit")
        return award(await scene.standing("autumn", "p1"), "commissioning-credit"), held

    revoked = standings_pb2.Revocation(reason_code="board-minutes", revoked_on="2024-12-04")
    told, held = await shown()
    assert (told.revocation, held.revocation) == (revoked, revoked)
    assert (told.certificate.state, told.certificate.reason_code) == (
        standings_pb2.CERTIFICATE_STATE_NOT_DUE,
        "revoked",
    )
    assert told.certificate.reason == "the awarding body revoked the award on 2024-12-04: board-minutes"
    await scene.record(revised(assessments_pb2.RESULT_PASSED, replaces=4))
    told, held = await shown()
    assert told.state == standings_pb2.AWARD_STATE_PROVISIONAL
    assert (told.revocation, held.revocation) == (revoked, revoked)
    await scene.confirm("autumn", "p1", "commissioning-credit")
    told, held = await shown()
    assert not told.HasField("revocation")
    assert not held.HasField("revocation")


async def test_an_automatic_award_that_was_revoked_waits_for_the_board_however_often_it_comes_back() -> None:
    scene = await commissioners(sessions=3)
    version = 5  # of the third session's mark
    assert await state_of(scene, "completion") == "CONFIRMED"

    async def corrected(state: str) -> None:
        nonlocal version
        version = scene.attended("autumn", "p1", "s3", state, replaces=version)
        await scene.settle()

    await corrected("absent")
    await scene.review("autumn", "p1", "completion", awards_pb2.REVIEW_DECISION_REVOKE)
    for _ in range(2):
        assert await state_of(scene, "completion") == "REVOKED"
        await corrected("present")
        assert await state_of(scene, "completion") == "PROVISIONAL"
        await corrected("absent")
    await corrected("present")
    await scene.confirm("autumn", "p1", "completion")
    assert await state_of(scene, "completion") == "CONFIRMED"


async def test_a_board_confirms_nothing_that_is_not_met_or_not_its_own() -> None:
    scene = await commissioners()
    assert (await scene.confirm("autumn", "p1", "commissioning-credit")).code == "not-found"
    await scene.record(registered(), submitted(), assessed(assessments_pb2.RESULT_PASSED))
    assert (await scene.confirm("autumn", "p1", "commissioning-credit", body="another")).code == "not-found"
    assert (await scene.confirm("autumn", "nobody", "commissioning-credit")).code == "not-found"


async def test_a_board_waits_while_a_fact_is_being_looked_at() -> None:
    scene = await passed_course()
    scene.attended("autumn", "p1", "s1", "absent", replaces=3)
    await scene.world["accreditation"].targets.mark("standing", ["autumn--p1"])
    api_answer = await scene.confirm("autumn", "p1", "commissioning-credit")
    assert api_answer.code == "standing-pending"


async def test_a_standing_as_of_a_date_shows_what_was_true_and_what_was_known() -> None:
    scene = await commissioners()
    scene.pass_days(10)
    await scene.record(registered(), submitted(), assessed(assessments_pb2.RESULT_PASSED))
    early = await scene.standing("autumn", "p1", true_at="2024-10-10")
    assert award(early, "completion").explanation.have == "2"
    before = standings_pb2.GetStandingRequest().known_at
    before.FromDatetime(scene.now.replace(tzinfo=None) - timedelta(days=1))
    known = await scene.standing("autumn", "p1", known_at=before)
    assert award(known, "commissioning-credit").state == standings_pb2.AWARD_STATE_NOT_MET
    now = await scene.standing("autumn", "p1")
    assert award(now, "commissioning-credit").state == standings_pb2.AWARD_STATE_PROVISIONAL


async def test_a_withdrawn_learner_earns_nothing_from_then_on_and_keeps_what_was_met_before() -> None:
    scene = await commissioners()
    scene.withdrawn("autumn", "p1", date(2024, 11, 30))
    await scene.settle()
    await scene.record(registered(), submitted(), assessed(assessments_pb2.RESULT_PASSED))
    assert await state_of(scene) == "NOT_MET"
    assert await state_of(scene, "completion") == "CONFIRMED"


async def test_results_of_the_days_before_the_withdrawal_count_however_late_they_arrive() -> None:
    scene = await commissioners()
    scene.withdrawn("autumn", "p1", date(2024, 11, 30))
    await scene.settle()
    await scene.record(registered(), submitted("2024-11-01"), assessed(assessments_pb2.RESULT_PASSED, on="2024-11-20"))
    assert await state_of(scene) == "PROVISIONAL"


async def test_a_learner_who_waits_is_shown_that_a_place_is_missing() -> None:
    scene = Scene()
    scene.programme(R14)
    scene.cohort("autumn", R14, STARTS)
    scene.requested("autumn", "p1", R14, STARTS)
    await scene.settle()
    standing = await scene.standing("autumn", "p1")
    assert standing.enrolment == "requested"
    assert [each.explanation.missing[0].code for each in standing.awards] == ["not-placed", "not-placed"]
    assert (await scene.record(registered())).outcomes[0].code == "not-placed"


async def test_a_standing_waits_for_the_facts_that_have_not_come_and_decides_when_they_do() -> None:
    scene = Scene()
    scene.placed("autumn", "p1", R14, STARTS)
    for number in range(4):
        scene.attended("autumn", "p1", f"s{number + 1}")
    await scene.settle()
    standing = await scene.standing("autumn", "p1")
    assert standing.pending
    assert not standing.awards
    scene.cohort("autumn", R14, STARTS)
    await scene.settle()
    scene.programme(R14)
    await scene.settle()
    assert await state_of(scene, "completion") == "CONFIRMED"


# Directors' leadership


async def test_a_director_completes_module_by_module_and_then_the_programme() -> None:
    scene = Scene()
    scene.programme(R1)
    scene.cohort("spring", R1, date(2024, 1, 10))
    scene.placed("spring", "p1", R1, date(2024, 1, 10))
    for session in R1.timetable:
        scene.attended("spring", "p1", session.id)
        if session.id == "residential-1-2":
            await scene.settle()
            standing = await scene.standing("spring", "p1")
            done = {each.award_id for each in standing.awards if each.state == standings_pb2.AWARD_STATE_CONFIRMED}
            assert done == {"module-risk"}
    for number in range(6):
        scene.unit("spring", "p1", "coaching", f"c{number}", date(2024, 2, 1) + timedelta(days=30 * number))
    for sector in ("public", "private"):
        scene.unit("spring", "p1", "shadowing", sector, date(2024, 5, 1), sector=sector)
    await scene.settle()
    standing = await scene.standing("spring", "p1")
    assert award(standing, "completion").state == standings_pb2.AWARD_STATE_NOT_MET
    shadowing = award(standing, "completion").explanation.children[3]
    assert [child.satisfied for child in shadowing.children] == [True, True, False]
    scene.unit("spring", "p1", "shadowing", "third", date(2024, 6, 1), sector="third")
    await scene.settle()
    standing = await scene.standing("spring", "p1")
    assert {each.state for each in standing.awards} == {standings_pb2.AWARD_STATE_CONFIRMED}
    assert award(standing, "completion").certificate.reason_code == "no-name"
    assert (standing.credits_provisional, standing.credits_confirmed) == ("0", "0")


async def test_half_of_a_coaching_session_is_a_half_however_long_the_session_was() -> None:
    scene = Scene()
    scene.programme(R1)
    scene.cohort("spring", R1, date(2024, 1, 10))
    scene.placed("spring", "p1", R1, date(2024, 1, 10))
    for number, length in enumerate((300, 120, 60)):
        scene.unit("spring", "p1", "coaching", f"c{number}", date(2024, 2, 1), minutes=length, attended=length // 2)
    await scene.settle()
    completion = award(await scene.standing("spring", "p1"), "completion").explanation
    assert [node.have for node in completion.children if node.title == "Six coaching sessions"] == ["1.5"]


# Mentor Plus


async def test_eight_meetings_within_twelve_months_complete_mentor_plus() -> None:
    scene = Scene()
    scene.programme(R7)
    scene.cohort("year", R7, date(2024, 1, 10))
    scene.placed("year", "p1", R7, date(2024, 1, 10))
    scene.matched("year", "p1", date(2024, 2, 1), date(2025, 2, 1))
    for number in range(7):
        scene.met("year", "p1", f"m{number}", date(2024, 2, 1) + timedelta(days=28 * number))
    scene.met("year", "p1", "too-late", date(2025, 2, 2))
    await scene.settle()
    standing = await scene.standing("year", "p1")
    assert award(standing, "completion").state == standings_pb2.AWARD_STATE_NOT_MET
    assert award(standing, "completion").explanation.have == "7"
    scene.met("year", "p1", "last", date(2025, 2, 1))
    await scene.settle()
    standing = await scene.standing("year", "p1")
    assert award(standing, "completion").state == standings_pb2.AWARD_STATE_CONFIRMED


async def test_mentor_standing_needs_accreditation_and_one_induction_and_two_support_seminars() -> None:
    scene = Scene()
    scene.programme(MENTORS)
    scene.cohort("autumn", MENTORS, STARTS)
    scene.placed("autumn", "p1", MENTORS, STARTS)
    for session in ("induction", "support-1", "support-2"):
        scene.attended("autumn", "p1", session)
    await scene.settle()
    assert await state_of(scene, "mentor-standing") == "NOT_MET"
    await scene.record(
        submitted(component="accreditation"),
        assessed(assessments_pb2.RESULT_PASSED, component="accreditation"),
    )
    assert await state_of(scene, "mentor-standing") == "CONFIRMED"


# Who may do what


async def test_a_learner_registers_and_submits_its_own_work_and_nothing_else() -> None:
    scene = await commissioners()
    mine = await scene.record(registered(), submitted(), roles=["learner"], person="p1")
    assert [each.code for each in mine.outcomes] == ["", ""]
    judged = await scene.record(assessed(assessments_pb2.RESULT_PASSED), roles=["learner"], person="p1")
    assert judged.outcomes[0].code == "not-found"
    others = await scene.record(registered(), roles=["learner"], person="p2")
    nobodys = await scene.record(row_of("nobody"), roles=["learner"], person="p2")
    assert others.outcomes[0] == nobodys.outcomes[0], "another's object answers exactly like none"


def row_of(person: str) -> assessments_pb2.RecordAssessment:
    made = row(person=person)
    made.register.SetInParent()
    return made


async def test_an_assessor_sees_the_programmes_of_its_own_body_only() -> None:
    scene = await commissioners()
    await scene.record(registered(), submitted())
    stranger = await scene.record(assessed(assessments_pb2.RESULT_PASSED), roles=["assessor"], bodies=["other"])
    assert stranger.outcomes[0].code == "not-found"
    own = await scene.record(assessed(assessments_pb2.RESULT_PASSED), roles=["assessor"], bodies=["oxford-brookes"])
    assert own.outcomes[0].status == outcome_pb2.OUTCOME_STATUS_ACCEPTED
    with pytest.raises(NotFound):
        await scene.standing("autumn", "p1", roles=["assessor"], bodies=["other"])
    with pytest.raises(NotFound):
        await scene.standing("autumn", "p1", roles=["learner"], person="p2")
    assert (await scene.standing("autumn", "p1", roles=["learner"], person="p1")).awards


async def test_only_an_importer_names_a_past_date_and_nobody_a_future_one() -> None:
    scene = await commissioners()
    past = await scene.record(registered(), submitted("2024-11-01"), roles=["learner"], person="p1")
    assert past.outcomes[1].code == "date-in-past"
    assert past.outcomes[1].violations[0].field == "submit.submitted_on"
    future = await scene.record(submitted("2025-01-01"))
    assert future.outcomes[0].code == "date-in-future"


async def test_a_bad_row_names_every_field_and_never_spoils_the_others() -> None:
    scene = await commissioners()
    bad = assessments_pb2.RecordAssessment(command_id="not an id!", cohort_id="Autumn", component_id="project")
    bad.assess.mark = "101"
    answer = await scene.record(registered(), bad, submitted())
    assert [each.code for each in answer.outcomes] == ["", "invalid-argument", ""]
    fields = {each.field for each in answer.outcomes[1].violations}
    assert fields == {"command_id", "cohort_id", "person_id", "assess.result", "assess.mark"}


async def test_unknown_components_and_learners_are_refused_by_code() -> None:
    scene = await commissioners()
    wrong = row("essay")
    wrong.register.SetInParent()
    answer = await scene.record(wrong, row_of("nobody"))
    assert [each.code for each in answer.outcomes] == ["unknown-component", "not-found"]


async def test_a_command_sent_again_a_day_later_and_after_a_withdrawal_gets_the_first_answer() -> None:
    scene = await commissioners()
    batch = [registered(), submitted(TODAY), assessed(assessments_pb2.RESULT_PASSED, mark="64")]
    for number, each in enumerate(batch):
        each.command_id = f"step-{number}"
    caller = {"roles": ["assessor"], "bodies": ["oxford-brookes"]}
    first = await scene.record(*batch, **caller)
    assert {each.status for each in first.outcomes} == {outcome_pb2.OUTCOME_STATUS_ACCEPTED}
    scene.pass_days(1)
    scene.withdrawn("autumn", "p1", date(2024, 12, 1))
    await scene.settle()
    again = await scene.record(*batch, **caller)
    assert [each.status for each in again.outcomes] == [outcome_pb2.OUTCOME_STATUS_REPLAYED] * 3
    assert [each.version for each in again.outcomes] == [each.version for each in first.outcomes]


async def test_a_boards_decision_sent_again_a_day_later_gets_the_first_answer() -> None:
    scene = await passed_course()
    row = awards_pb2.ConfirmAward(
        command_id="minutes-1", cohort_id="autumn", person_id="p1", award_id="commissioning-credit"
    )
    request = awards_pb2.ConfirmAwardsRequest(rows=[row])

    async def send() -> outcome_pb2.OutcomeStatus.ValueType:
        answer = await scene.world.call(
            AwardApi(scene.kernel).ConfirmAwards, request, roles=["awarding-body"], bodies=["oxford-brookes"]
        )
        await scene.settle()
        status: outcome_pb2.OutcomeStatus.ValueType = answer.outcomes[0].status
        return status

    assert await send() == outcome_pb2.OUTCOME_STATUS_ACCEPTED
    scene.pass_days(1)
    await scene.record(revised(assessments_pb2.RESULT_FAILED, replaces=3))
    assert await send() == outcome_pb2.OUTCOME_STATUS_REPLAYED


async def test_a_repeated_batch_is_harmless() -> None:
    scene = await commissioners()
    batch = (registered(), submitted(), assessed(assessments_pb2.RESULT_PASSED, mark="64.0"))
    await scene.record(*batch)
    again = await scene.record(*batch)
    assert {each.status for each in again.outcomes} == {outcome_pb2.OUTCOME_STATUS_UNCHANGED}
    assert again.outcomes[-1].version == 3
