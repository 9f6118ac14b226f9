"""R1 with R2, the directors' leadership programme: days, coaching and placements complete its modules and the whole."""

from __future__ import annotations

import pytest

from credence.accreditation.v1 import standings_pb2 as pb
from credence.enrolment.v1 import attendance_pb2
from tests.system.platform import Platform, all_stored, outcomes_of, told
from tests.system.story import PRESENT, Story, ago

pytestmark = pytest.mark.servers

BEGAN_DAYS_AGO = 330
MODULES = ("module-risk", "module-partnership", "module-outcomes", "module-political-context")


def began(platform: Platform) -> Story:
    return Story(platform, "r1-directors-leadership", "national-college", BEGAN_DAYS_AGO)


def unscheduled(story: Story, person: str, kind: str, record: str, days_ago: int, **attributes: str) -> object:
    unit = attendance_pb2.UnscheduledUnit(unit_kind=kind, record_id=record, on=ago(days_ago), attributes=attributes)
    return attendance_pb2.AttendanceRow(
        cohort_id=story.cohort, person_id=person, unscheduled=unit, value=attendance_pb2.AttendanceValue(state=PRESENT)
    )


def test_a_directors_year_completes_module_by_module_and_earns_no_credit(platform: Platform) -> None:
    year = began(platform)
    year.opens(capacity=26)
    director = year.id("director")
    year.enrols(director)

    year.attends(director, ["opening-1", "opening-2", "residential-1-1", "residential-1-2"])
    year.award(director, "module-risk", pb.AWARD_STATE_CONFIRMED)
    assert year.award(director, "module-partnership").state == pb.AWARD_STATE_NOT_MET

    year.attends(director, [f"residential-{event}-{day}" for event in (2, 3, 4) for day in (1, 2)])
    for module in MODULES:
        year.award(director, module, pb.AWARD_STATE_CONFIRMED)
    missing = year.award(director, "completion", pb.AWARD_STATE_NOT_MET).explanation
    done = {child.title: child.satisfied for child in missing.children}
    assert done == {
        "Both days of the opening event": True,
        "Eight residential days": True,
        "Six coaching sessions": False,
        "A shadowing placement in each of the three sectors": False,
    }

    coaching = [unscheduled(year, director, "coaching", f"c{n}", 300 - 40 * n) for n in range(6)]
    placements = [
        unscheduled(year, director, "shadowing", sector, 200 - i, sector=sector)
        for i, sector in enumerate(("public", "private"))
    ]
    all_stored(year.posts([*coaching, *placements]))  # type: ignore[list-item]
    completion = year.award(director, "completion", pb.AWARD_STATE_NOT_MET)
    assert completion.explanation.possible

    third = unscheduled(year, director, "shadowing", "third", 100, sector="third")
    all_stored(year.posts([third]))  # type: ignore[list-item]
    completion = year.award(director, "completion", pb.AWARD_STATE_CONFIRMED)
    assert not completion.HasField("credit")
    assert year.standing_at_rest(director).credits_confirmed == "0"


def test_a_placement_in_a_sector_that_is_none_is_refused_and_names_the_field(platform: Platform) -> None:
    year = began(platform)
    year.opens(capacity=26)
    director = year.id("director")
    year.enrols(director)
    answer = year.posts([unscheduled(year, director, "shadowing", "p1", 100, sector="seaside")])  # type: ignore[list-item]
    (outcome,) = outcomes_of(answer)
    assert told([outcome]) == ["invalid-argument"]
    assert any("sector" in violation.field for violation in outcome.violations)
