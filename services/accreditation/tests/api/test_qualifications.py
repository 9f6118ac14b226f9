"""A qualification completed by credits: confirmed by itself, and never before the credits that it counts."""

from __future__ import annotations

from datetime import date
from typing import Any

from accreditation.testing import Scene
from catalogue.model import Programme
from credence.accreditation.v1 import assessments_pb2, standings_pb2

STARTS = date(2024, 10, 1)


def credit(award: str, worth: int, component: str) -> dict[str, Any]:
    return {
        "id": award,
        "title": f"{worth} credits",
        "kind": "credit",
        "confirmation": "board",
        "credit": {"credits": worth, "scheme": "CATS", "level": 7, "ects": worth // 2, "transferable": True},
        "rule": {"check": "assessment-passed", "component": component},
    }


def programme(confirmation: str, needs: int) -> Programme:
    """Forty credits by a dissertation, twenty by an essay, and the certificate that needs so many of them."""
    return Programme.model_validate(
        {
            "credence": 1,
            "id": "sample",
            "version": 1,
            "title": "Sample programme",
            "owner": {"id": "owner", "title": "Owner"},
            "awarding_body": {"id": "body", "title": "Body"},
            "duration": {"min_months": 12, "max_months": 12},
            "assessments": [
                {"id": "dissertation", "title": "Dissertation", "kind": "project"},
                {"id": "essay", "title": "Essay", "kind": "coursework"},
            ],
            "awards": [
                credit("forty", 40, "dissertation"),
                credit("twenty", 20, "essay"),
                {
                    "id": "certificate",
                    "title": "Postgraduate Certificate",
                    "kind": "completion",
                    "confirmation": confirmation,
                    "certificate": True,
                    "qualification": {
                        "title": "Postgraduate Certificate",
                        "claim": "completed",
                        "credits": needs,
                        "of_which": 40,
                        "level": 7,
                    },
                    "rule": {"check": "credits", "at_least": needs, "of_which": 40, "level": 7},
                },
            ],
        }
    )


async def passed(confirmation: str, needs: int = 60) -> Scene:
    """One learner who passed both, of which the board has confirmed the forty."""
    scene, sample = Scene(), programme(confirmation, needs)
    scene.programme(sample)
    scene.cohort("autumn", sample, STARTS)
    scene.person("p1", named=True)
    scene.placed("autumn", "p1", sample, STARTS)
    await scene.settle()
    rows = []
    for component in ("dissertation", "essay"):
        named: Any = {"cohort_id": "autumn", "person_id": "p1", "component_id": component}
        submitted, assessed = (assessments_pb2.RecordAssessment(**named) for _ in range(2))
        submitted.submit.SetInParent()
        assessed.assess.result = assessments_pb2.RESULT_PASSED
        rows += [submitted, assessed]
    await scene.record(*rows)
    await scene.confirm("autumn", "p1", "forty", "body")
    return scene


async def certificate_of(scene: Scene) -> standings_pb2.AwardStanding:
    standing = await scene.standing("autumn", "p1")
    return next(each for each in standing.awards if each.award_id == "certificate")


async def test_a_qualification_waits_until_the_last_of_its_credits_is_confirmed() -> None:
    scene = await passed("automatic")
    waiting = await certificate_of(scene)
    assert waiting.explanation.satisfied
    assert waiting.state == standings_pb2.AWARD_STATE_PROVISIONAL
    assert [each.code for each in waiting.waits_for] == ["credits-not-confirmed"]
    assert [each.message for each in waiting.waits_for] == ["credits that count and are not confirmed yet: 20"]
    assert waiting.certificate.state == standings_pb2.CERTIFICATE_STATE_NOT_DUE
    await scene.confirm("autumn", "p1", "twenty", "body")
    whole = await certificate_of(scene)
    assert (whole.state, list(whole.waits_for)) == (standings_pb2.AWARD_STATE_CONFIRMED, [])
    assert whole.certificate.state == standings_pb2.CERTIFICATE_STATE_DUE


async def test_credits_that_it_could_do_without_keep_no_qualification_waiting() -> None:
    assert (await certificate_of(await passed("automatic", needs=40))).state == standings_pb2.AWARD_STATE_CONFIRMED


async def test_a_board_confirms_no_qualification_before_its_credits_either() -> None:
    scene = await passed("board")
    assert (await scene.confirm("autumn", "p1", "certificate", "body")).code == "credits-not-confirmed"
    await scene.confirm("autumn", "p1", "twenty", "body")
    assert (await certificate_of(scene)).state == standings_pb2.AWARD_STATE_PROVISIONAL
    assert (await scene.confirm("autumn", "p1", "certificate", "body")).code == ""
    assert (await certificate_of(scene)).state == standings_pb2.AWARD_STATE_CONFIRMED
