from datetime import date
from typing import Any

import pytest

from catalogue.model import (
    Always,
    Attribute,
    Award,
    Duration,
    ExcuseCode,
    Organisation,
    Programme,
    UnitKind,
)
from enrolment.domain.attendance import Attended, Unit, Unscheduled
from enrolment.domain.cohort import Cohort, Planned, Session
from enrolment.domain.register import Judged, record_of, session_of

PROGRAMME = Programme(
    credence=1,
    id="course",
    version=1,
    title="Course",
    owner=Organisation(id="owner", title="Owner"),
    duration=Duration(min_months=1, max_months=3),
    unit_kinds=(
        UnitKind(id="half-day", title="Half-day", kind="scheduled"),
        UnitKind(
            id="shadowing",
            title="Placement",
            kind="unscheduled",
            unit="placement",
            minutes=420,
            attributes=(Attribute(id="sector", title="Sector", values=("public", "private", "third")),),
        ),
    ),
    excuse_codes=(ExcuseCode(id="illness", title="Illness", treatment="absent"),),
    awards=(Award(id="done", title="Done", kind="completion", rule=Always(check="always"), confirmation="automatic"),),
)
SESSION = Session(
    session_id="s1",
    title="Half-day",
    unit_kind="half-day",
    event_id=None,
    module_id=None,
    on=date(2024, 10, 1),
    start="09:30",
    minutes=180,
    place=None,
    provider_id="provider-a",
)
COHORT = Cohort(
    cohort_id="c1",
    programme_id="course",
    programme_version=1,
    zone="Europe/London",
    starts_on=date(2024, 9, 1),
    ends_on=date(2024, 12, 1),
    capacity=None,
    waiting_list=False,
    provider_id="provider-a",
    sessions={"s1": Planned(session=SESSION)},
    provider_ids=("provider-a",),
    opening="",
)
PLANNED = Planned(session=SESSION)
TODAY = date(2024, 10, 1)
PRESENT = Attended(state="present")


def on_session(value: Attended, planned: Planned = PLANNED, today: date = TODAY) -> Judged:
    return session_of(planned, PROGRAMME, value, today)


def on_record(value: Attended = PRESENT, today: date = TODAY, **other: Any) -> Judged:
    said: dict[str, Any] = {"unit_kind": "shadowing", "record_id": "r1", "on": date(2024, 9, 20), "minutes": 0}
    record = Unscheduled(**(said | {"attributes": {"sector": "public"}} | other))
    return record_of(COHORT, PROGRAMME, record, value, today)


def fields_of(judged: Judged) -> list[str]:
    assert judged.objection is not None
    assert judged.objection.code == "invalid-argument"
    return [name for name, _ in judged.objection.fields]


def code_of(judged: Judged) -> str:
    return judged.objection.code if judged.objection else ""


@pytest.mark.parametrize(
    "value",
    [
        PRESENT,
        Attended(state="late"),
        Attended(state="absent"),
        Attended(state="partial", minutes=1),
        Attended(state="partial", minutes=179),
        Attended(state="excused", excuse_code="illness"),
    ],
)
def test_every_state_can_be_said_of_a_session_on_its_day(value: Attended) -> None:
    assert on_session(value) == Judged(Unit(session_id="s1"), date(2024, 10, 1), None)


def test_a_session_to_come_takes_no_marks() -> None:
    assert code_of(on_session(PRESENT, today=date(2024, 9, 30))) == "session-not-held"


def test_a_cancelled_session_takes_no_marks() -> None:
    assert code_of(on_session(PRESENT, Planned(session=SESSION, cancelled="snow"))) == "session-cancelled"


@pytest.mark.parametrize("minutes", [0, 180, 181])
def test_partial_needs_minutes_within_the_session(minutes: int) -> None:
    assert fields_of(on_session(Attended(state="partial", minutes=minutes))) == ["value.minutes"]


@pytest.mark.parametrize("code", [None, "holiday"])
def test_excused_needs_a_code_of_the_programme(code: str | None) -> None:
    assert fields_of(on_session(Attended(state="excused", excuse_code=code))) == ["value.excuse_code"]


def test_minutes_and_excuses_that_do_not_belong_are_all_named() -> None:
    wrong = Attended(state="present", minutes=20, excuse_code="illness")
    assert fields_of(on_session(wrong)) == ["value.minutes", "value.excuse_code"]


def test_a_record_creates_its_unit_with_its_kinds_usual_length() -> None:
    unscheduled = Unscheduled(
        unit_kind="shadowing", record_id="r1", on=date(2024, 9, 20), attributes={"sector": "public"}, minutes=420
    )
    assert on_record() == Judged(Unit(unscheduled=unscheduled), date(2024, 9, 20), None)


def test_a_record_of_a_day_to_come_is_refused() -> None:
    assert code_of(on_record(on=date(2024, 10, 2))) == "session-not-held"


@pytest.mark.parametrize("kind", ["half-day", "unheard-of"])
def test_a_record_needs_an_unscheduled_kind_of_the_programme(kind: str) -> None:
    assert "unscheduled.unit_kind" in fields_of(on_record(unit_kind=kind))


def test_a_record_is_not_before_the_cohorts_first_day() -> None:
    assert fields_of(on_record(on=date(2024, 8, 31))) == ["unscheduled.on"]
    assert on_record(on=date(2024, 9, 1)).objection is None


def test_a_record_after_the_cohorts_last_day_is_for_the_learners_own_months_to_judge() -> None:
    assert on_record(on=date(2024, 12, 2), today=date(2024, 12, 2)).objection is None


def test_a_record_states_what_its_kind_asks_for_and_nothing_else() -> None:
    assert fields_of(on_record(attributes={})) == ["unscheduled.attributes.sector"]
    assert fields_of(on_record(attributes={"sector": "fourth"})) == ["unscheduled.attributes.sector"]
    assert fields_of(on_record(attributes={"sector": "third", "mood": "good"})) == ["unscheduled.attributes.mood"]


def test_a_partial_record_is_measured_against_its_own_length() -> None:
    partial = Attended(state="partial", minutes=90)
    assert fields_of(on_record(partial, minutes=60)) == ["value.minutes"]
    assert on_record(partial, minutes=120).objection is None
