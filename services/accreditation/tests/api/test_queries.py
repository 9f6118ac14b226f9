"""Queries: history, lists in pages, and nobody's rows but those in the caller's reach."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from accreditation.api.assessments import AssessmentApi
from accreditation.api.awards import AwardApi
from accreditation.api.standings import StandingApi
from accreditation.domain.standing import Standing
from accreditation.testing import BODY, Scene, schemes
from credence.accreditation.v1 import assessments_pb2, awards_pb2, standings_pb2
from eventcore.store import Finding
from servicekit.errors import InvalidArgument, NotFound

R14 = schemes()["r14-commissioners-course"]
STARTS = date(2024, 10, 1)
PEOPLE = ("p1", "p2", "p3")


def steps(person: str) -> list[assessments_pb2.RecordAssessment]:
    rows = [
        assessments_pb2.RecordAssessment(cohort_id="autumn", person_id=person, component_id="project") for _ in range(3)
    ]
    rows[0].register.SetInParent()
    rows[1].submit.SetInParent()
    rows[2].assess.result = assessments_pb2.RESULT_PASSED
    rows[2].assess.mark = "61.5"
    return rows


@pytest.fixture
async def scene() -> Scene:
    """Three learners who attended enough and passed."""
    scene = Scene()
    scene.programme(R14)
    scene.cohort("autumn", R14, STARTS)
    for person in PEOPLE:
        scene.placed("autumn", person, R14, STARTS)
        for session in ("s1", "s2", "s3"):
            scene.attended("autumn", person, session)
    await scene.settle()
    await scene.record(*(row for person in PEOPLE for row in steps(person)))
    return scene


async def ask(scene: Scene, method: Any, request: Any, **caller: Any) -> Any:
    return await scene.world.call(method, request, **(caller or {"roles": ["importer"]}))


async def pages(scene: Scene, method: Any, request: Any, field: str) -> list[list[Any]]:
    """Every page, as lists of rows."""
    found = []
    while True:
        answer = await ask(scene, method, request)
        found.append(list(getattr(answer, field)))
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


async def test_the_history_of_a_component_keeps_every_step(scene: Scene) -> None:
    request = assessments_pb2.GetAssessmentsRequest(cohort_id="autumn", person_id="p1")
    answer = await ask(scene, AssessmentApi(scene.kernel).GetAssessments, request)
    (component,) = answer.components
    assert component.state == assessments_pb2.ASSESSMENT_STATE_PASSED
    assert (component.attempts, component.mark, component.result_version) == (1, "61.5", 3)
    assert [each.step for each in component.history] == ["registered", "submitted", "assessed"]
    with pytest.raises(NotFound):
        await ask(scene, AssessmentApi(scene.kernel).GetAssessments, request, roles=["assessor"], bodies=["other"])
    nobody = assessments_pb2.GetAssessmentsRequest(cohort_id="autumn", person_id="nobody")
    with pytest.raises(NotFound):
        await ask(scene, AssessmentApi(scene.kernel).GetAssessments, nobody)


async def test_a_cohort_is_listed_in_pages_without_gap_or_twin(scene: Scene) -> None:
    assessments = assessments_pb2.ListAssessmentsRequest(cohort_id="autumn", page_size=2)
    listed = await pages(scene, AssessmentApi(scene.kernel).ListAssessments, assessments, "learners")
    assert [each.person_id for page in listed for each in page] == list(PEOPLE)
    standings = standings_pb2.ListStandingsRequest(cohort_id="autumn", page_size=2)
    shown = await pages(scene, StandingApi(scene.kernel).ListStandings, standings, "standings")
    assert [[each.person_id for each in page] for page in shown] == [["p1", "p2"], ["p3"]]
    assert not shown[0][0].awards[0].HasField("explanation"), "trees are for one standing at a time"
    awards = awards_pb2.ListAwardsRequest(cohort_id="autumn", page_size=2)
    held = [each for page in await pages(scene, AwardApi(scene.kernel).ListAwards, awards, "awards") for each in page]
    assert sorted({each.person_id for each in held}) == list(PEOPLE)
    assert len(held) == 6


async def test_a_page_of_assessments_has_no_more_learners_than_its_limit(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accreditation.api.assessments.LEARNERS_PER_PAGE_MAX", 2)
    for size in (0, 3):
        asked = assessments_pb2.ListAssessmentsRequest(cohort_id="autumn", page_size=size)
        listed = await pages(scene, AssessmentApi(scene.kernel).ListAssessments, asked, "learners")
        assert [len(page) for page in listed] == [2, 1]


@pytest.mark.parametrize(("limit", "reads"), [(3, [3]), (2, [2, 1])], ids=["at the limit", "one beyond it"])
async def test_more_standings_than_are_read_at_once_are_read_in_several_goes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, limit: int, reads: list[int]
) -> None:
    monkeypatch.setattr("accreditation.views.standings.TARGETS_AT_ONCE", limit)
    read, asked = scene.kernel.targets.read, []

    async def noted(evaluation: str, targets: Any) -> Any:
        asked.append(len(targets))
        return await read(evaluation, targets)

    monkeypatch.setattr(scene.kernel.targets, "read", noted)
    request = standings_pb2.ListStandingsRequest(cohort_id="autumn")
    answer = await ask(scene, StandingApi(scene.kernel).ListStandings, request)

    assert [each.person_id for each in answer.standings] == list(PEOPLE)
    assert asked == reads


async def test_awards_are_listed_by_state(scene: Scene) -> None:
    request = awards_pb2.ListAwardsRequest(cohort_id="autumn", state=standings_pb2.AWARD_STATE_PROVISIONAL)
    answer = await ask(scene, AwardApi(scene.kernel).ListAwards, request)
    assert {each.award_id for each in answer.awards} == {"commissioning-credit"}
    assert {each.credit.credits for each in answer.awards} == {"20"}
    with pytest.raises(InvalidArgument):
        await ask(
            scene,
            AwardApi(scene.kernel).ListAwards,
            awards_pb2.ListAwardsRequest(state=standings_pb2.AWARD_STATE_CAPPED),
        )


async def test_lists_hold_only_what_is_in_the_callers_reach(scene: Scene) -> None:
    awards, standings = AwardApi(scene.kernel).ListAwards, StandingApi(scene.kernel).ListStandings
    everyone = awards_pb2.ListAwardsRequest()
    cohort = standings_pb2.ListStandingsRequest(cohort_id="autumn")
    learner = {"roles": ["learner"], "person": "p2"}
    assert {each.person_id for each in (await ask(scene, awards, everyone, **learner)).awards} == {"p2"}
    assert [each.person_id for each in (await ask(scene, standings, cohort, **learner)).standings] == ["p2"]
    others = standings_pb2.ListStandingsRequest(person_id="p1")
    assert not (await ask(scene, standings, others, **learner)).standings
    stranger = {"roles": ["awarding-body"], "bodies": ["other"]}
    assert not (await ask(scene, awards, everyone, **stranger)).awards
    assert not (await ask(scene, standings, cohort, **stranger)).standings
    body = {"roles": ["awarding-body"], "bodies": [BODY]}
    assert len((await ask(scene, awards, everyone, **body)).awards) == 6
    assert len((await ask(scene, standings, cohort, **body)).standings) == 3


async def test_a_list_of_standings_names_a_cohort_or_a_person(scene: Scene) -> None:
    with pytest.raises(InvalidArgument):
        await ask(scene, StandingApi(scene.kernel).ListStandings, standings_pb2.ListStandingsRequest())


async def test_a_standing_asked_with_the_token_of_a_result_rests_on_it(scene: Scene) -> None:
    row = assessments_pb2.RecordAssessment(cohort_id="autumn", person_id="p1", component_id="project")
    row.revise.result = assessments_pb2.RESULT_FAILED
    row.revise.replaces = 3
    row.revise.reason_code = "clerical-error"
    answer = await scene.record(row)
    standing = await scene.standing("autumn", "p1", token=answer.token)
    assert standing.basis["assessment-autumn--p1"] == 4
    assert not standing.pending


async def test_a_result_from_before_the_enrolment_arrived_reads_as_not_evaluated_yet() -> None:
    scene = Scene()
    scene.programme(R14)
    scene.cohort("autumn", R14, STARTS)
    scene.placed("autumn", "p1", R14, STARTS)
    await scene.settle()
    targets, unknown = scene.world["accreditation"].targets, Standing(cohort_id="autumn", person_id="p1", whole=False)
    revision = (await targets.read("standing", ["autumn--p1"]))["autumn--p1"].revision
    early = Finding("autumn--p1", revision, unknown.model_dump(mode="json"), {}, None)
    assert await targets.finish("standing", [early]) == [True]
    standing = await scene.standing("autumn", "p1")
    request = standings_pb2.ListStandingsRequest(cohort_id="autumn")
    listed = await ask(scene, StandingApi(scene.kernel).ListStandings, request)
    assert (standing.programme_id, standing.enrolment, standing.pending) == (R14.id, "placed", True)
    assert [each.pending for each in listed.standings] == [True]


async def test_a_standing_as_of_before_the_enrolment_does_not_exist(scene: Scene) -> None:
    with pytest.raises(NotFound):
        await scene.standing("autumn", "p1", true_at="2024-09-30")
