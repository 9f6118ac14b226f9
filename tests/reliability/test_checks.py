"""Each checker goes red on evidence with one thing wrong in it, and is green without."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import people_pb2
from enrolment.domain.attendance import Attended, Unit
from enrolment.domain.cohort import CohortOpened
from enrolment.domain.enrolment import AttendanceCorrected, AttendanceRecorded, EnrolmentPlaced, EnrolmentRequested
from enrolment.domain.pool import PlaceTaken
from eventcore.decider import category_of
from eventcore.event import Event
from tests.reliability.checks import (
    CHECKS,
    Case,
    p6_like_the_clean,
    p8_views_are_rebuilt,
    p9_only_its_own_stream,
    p10_redriven_is_whole,
    p17_views_are_fresh,
    p19_erased_is_gone,
    verdicts,
)
from tests.reliability.clean import expected
from tests.reliability.clients import Pace
from tests.reliability.elsewhere import PAGE, judged, proofs
from tests.reliability.elsewhere import PROMISES as ELSEWHERE
from tests.reliability.evidence import Documents, Found, Place, stored
from tests.reliability.faults import AWAY_SECONDS, Fault, schedule
from tests.reliability.freshness import Served
from tests.reliability.history import History
from tests.reliability.operators import Poisoned, Rebuilt
from tests.reliability.report import PROMISES, write
from tests.reliability.rig import Ended
from tests.reliability.storm import CALM_ROWS_A_SECOND, Outcome, Plan, Strike, crashes
from tests.system.evidence import SERVICES
from tests.system.platform import ACCEPTED, REFUSED, REPLAYED

DAY, INSTANT = date(2025, 3, 3), datetime(2025, 3, 4, 12, tzinfo=UTC)
MARKED = "enrolment-c1--p1"
HALF_DAY = Unit(session_id="s1")


def append(stream: str, first: int, command: str, *events: Event) -> dict[str, Any]:
    codec = next(d.codec for s in SERVICES.values() for d in s.deciders if d.category == category_of(stream))
    encoded = [codec.encode(event) for event in events]
    return {
        "_id": f"{stream}@{first}",
        "stream": stream,
        "first": first,
        "last": first + len(events) - 1,
        "steps": [{"id": command, "first": first, "last": first + len(events) - 1}],
        "events": [{"type": e.type, "data": e.data} for e in encoded],
        "recorded": INSTANT,
    }


def mark(state: Any) -> dict[str, Any]:
    return {"unit": HALF_DAY, "value": Attended(state=state), "provider_id": "ipc", "by": "sample", "at": INSTANT}


def appends() -> list[dict[str, Any]]:
    opened = CohortOpened(
        cohort_id="c1", programme_id="sample", programme_version=1, zone="Europe/London", starts_on=DAY, ends_on=DAY,
        capacity=2, waiting_list=True, provider_id="ipc", sessions=(),
    )  # fmt: skip
    asked = EnrolmentRequested(
        cohort_id="c1", person_id="p1", programme_id="sample", programme_version=1, employer_id=None, references=(),
        effective_on=DAY, limited=True,
    )  # fmt: skip
    return [
        append("cohort-c1", 1, "open", opened),
        append(MARKED, 1, "enrol", asked, EnrolmentPlaced(placed_on=DAY)),
        append(MARKED, 3, "mark", AttendanceRecorded(**mark("present"))),
        append(MARKED, 4, "correct", AttendanceCorrected(**mark("late"), replaces=3, reason_code="wrong-learner")),
        append("pool-c1", 1, "take", PlaceTaken(person_id="p1", request=1, on=DAY, freed_on=None)),
    ]


def answered(history: History, *answers: tuple[str, int, str, int]) -> None:
    for command, status, stream, version in answers:
        rows = [people_pb2.RegisterPerson(command_id=command)]
        history.sent("enrolment", rows)
        told = outcome_pb2.Outcome(status=outcome_pb2.OutcomeStatus.ValueType(status), stream=stream, version=version)
        history.answered("enrolment", rows, [told])


def found_of(enrolment: list[dict[str, Any]]) -> Found:
    """What is there when everything went well."""
    slots: dict[str, list[dict[str, Any]]] = {"enrolment": enrolment, "accreditation": [], "mentoring": []}
    in_store = {name: stored(name, each) for name, each in slots.items()}
    topics = {
        name: [(Place(SERVICES[name].topic, 0, n), event) for n, event in enumerate(each.events)]
        for name, each in in_store.items()
    }
    nothing = {
        name: Documents({v.name: {} for v in parts.views}, {e.name: {} for e in parts.evaluations})
        for name, parts in SERVICES.items()
    }
    bare = Found(slots, in_store, topics, nothing)
    return Found(slots, in_store, topics, {name: documents(name, bare) for name in SERVICES})


def documents(service: str, bare: Found) -> Documents:
    want = expected(service, bare, INSTANT)
    targets = {
        name: {target: {"_id": target, "revision": 7, "result": result} for target, result in results.items()}
        for name, results in want.results.items()
    }
    return Documents(copy.deepcopy({n: dict(v) for n, v in want.views.items()}), targets)


def a_case() -> Case:
    history = History()
    answered(history, ("open", ACCEPTED, "cohort-c1", 1), ("enrol", ACCEPTED, MARKED, 2), ("mark", ACCEPTED, MARKED, 3))
    answered(history, ("correct", ACCEPTED, MARKED, 4), ("correct", REPLAYED, MARKED, 4))
    answered(history, ("nonsense", REFUSED, MARKED, 4))
    return Case(history, found_of(appends()))


def doctored(case: Case, change: Callable[[list[dict[str, Any]]], None]) -> Case:
    """The same clients, topics and documents over changed appends."""
    slots = copy.deepcopy(list(case.found.appends["enrolment"]))
    change(slots)  # type: ignore[arg-type]
    found = case.found
    appends_ = {**found.appends, "enrolment": slots}
    in_store = {**found.stored, "enrolment": stored("enrolment", slots)}
    return Case(case.history, Found(appends_, in_store, found.topics, found.documents))


def records(case: Case) -> list[Any]:
    topic = case.found.topics["enrolment"]
    assert isinstance(topic, list)
    return topic


def on_topic(case: Case, version: int) -> int:
    return next(n for n, (_, e) in enumerate(records(case)) if (e.stream, e.version) == (MARKED, version))


def test_all_is_green_when_all_went_well() -> None:
    case = a_case()
    assert len(case.found.documents["accreditation"].views["enrolments"]) == 1
    assert case.found.documents["accreditation"].targets["standing"].keys() == {"c1--p1"}
    assert case.found.documents["enrolment"].targets["places"].keys() == {"c1--p1"}
    assert not any(verdicts(case).values())


def test_p1_an_acknowledged_command_that_is_not_stored() -> None:
    def lose(slots: list[dict[str, Any]]) -> None:
        slots[3]["steps"][0]["id"] = "somebody-else"

    assert len(CHECKS["P1"](doctored(a_case(), lose))) == 1


def test_p1_a_command_that_is_stored_elsewhere_than_it_was_said() -> None:
    case = a_case()
    answered(case.history, ("take", ACCEPTED, "pool-c1", 2))
    assert len(CHECKS["P1"](case)) == 1


def test_p1_a_refused_command_that_is_stored() -> None:
    case = a_case()
    answered(case.history, ("take", REFUSED, "pool-c1", 0))
    assert len(CHECKS["P1"](case)) == 1


def test_p1_takes_no_offence_at_a_stored_command_one_call_of_which_was_never_answered() -> None:
    case = a_case()
    case.history.sent("enrolment", [people_pb2.RegisterPerson(command_id="take")])
    answered(case.history, ("take", REFUSED, "pool-c1", 0))
    assert CHECKS["P1"](case) == []


def test_p2_a_missing_version_and_a_twin() -> None:
    def lose(slots: list[dict[str, Any]]) -> None:
        del slots[2]

    def twin(slots: list[dict[str, Any]]) -> None:
        slots.insert(3, slots[2] | {"_id": "another"})

    for change in (lose, twin):
        assert len(CHECKS["P2"](doctored(a_case(), change))) == 1


def test_p2_two_winners_of_one_version() -> None:
    case = a_case()
    answered(case.history, ("rival", ACCEPTED, MARKED, 3))
    assert len(CHECKS["P2"](case)) == 1


def test_p2_a_step_that_does_not_cover_its_append() -> None:
    def shorten(slots: list[dict[str, Any]]) -> None:
        slots[1]["steps"][0]["last"] = 1

    assert len(CHECKS["P2"](doctored(a_case(), shorten))) == 1


def test_p3_a_record_that_never_left() -> None:
    case = a_case()
    del records(case)[on_topic(case, 4)]
    assert CHECKS["P3"](case) == [f"enrolment: {MARKED}@4"]


def test_p4_a_record_that_was_never_stored() -> None:
    case = a_case()
    at = on_topic(case, 4)
    place, event = records(case)[at]
    records(case)[at] = (place, type(event)(event.stream, event.version, event.type, b"else"))
    assert CHECKS["P4"](case) == [f"enrolment: {MARKED}@4"]
    assert CHECKS["P3"](case) == [f"enrolment: {MARKED}@4"]


def test_p5_two_records_swapped() -> None:
    case = a_case()
    one, other = on_topic(case, 3), on_topic(case, 4)
    records(case)[one], records(case)[other] = records(case)[other], records(case)[one]
    assert len(CHECKS["P5"](case)) == 1


def test_p5_repetitions_are_no_inversion() -> None:
    case = a_case()
    records(case).extend(list(records(case)))
    assert CHECKS["P5"](case) == []


def test_p5_a_stream_in_two_partitions() -> None:
    case = a_case()
    at = on_topic(case, 4)
    place, event = records(case)[at]
    records(case)[at] = (Place(place.topic, 1, 0), event)
    assert len(CHECKS["P5"](case)) == 1


Doctor = Callable[[Documents], None]


def _twice_folded(found: Documents) -> None:
    _, body = found.views["enrolments"][MARKED]
    body["marks"]["session/s1"].append(body["marks"]["session/s1"][-1])


def _behind(found: Documents) -> None:
    views: Any = found.views
    version, body = views["enrolments"][MARKED]
    views["enrolments"][MARKED] = (version - 1, body)


def _missing(found: Documents) -> None:
    views: Any = found.views
    del views["enrolments"][MARKED]


def _never_evaluated(found: Documents) -> None:
    targets: Any = found.targets
    del targets["places"]["c1--p1"]


def _stale(found: Documents) -> None:
    targets: Any = found.targets
    targets["places"]["c1--p1"]["result"]["status"] = "requested"


@pytest.mark.parametrize("doctor", [_twice_folded, _behind, _missing, _never_evaluated, _stale])
def test_p6_a_document_or_a_result_that_is_not_the_fold_of_what_is_stored(doctor: Doctor) -> None:
    case = a_case()
    doctor(case.found.documents["enrolment"])
    assert len(CHECKS["P6"](case)) == 1


def test_p6_a_foreign_view_that_missed_an_event() -> None:
    case = a_case()
    _behind(case.found.documents["accreditation"])
    assert len(CHECKS["P6"](case)) == 1


def test_p6_a_place_that_was_taken_and_never_given() -> None:
    def never_placed(slots: list[dict[str, Any]]) -> None:
        del slots[2:4]
        slots[1]["events"].pop()
        slots[1]["last"] = slots[1]["steps"][0]["last"] = 1

    case = doctored(a_case(), never_placed)
    assert any("still has something to command" in wrong for wrong in CHECKS["P6"](case))


def test_p6_a_standing_that_counts_an_event_twice() -> None:
    clean = ['have: "3"', 'have: "1"']
    assert p6_like_the_clean("x", clean, clean) == []
    [wrong] = p6_like_the_clean("x", ['have: "4"', 'have: "1"'], clean)
    assert "kind 0" in wrong
    assert """['- have: "3"', '+ have: "4"']""" in wrong


def test_p7_two_answers_to_one_id() -> None:
    case = a_case()
    answered(case.history, ("mark", REPLAYED, MARKED, 4))
    assert len(CHECKS["P7"](case)) == 1


def test_p7_a_stored_command_that_is_refused_when_it_is_sent_again() -> None:
    case = a_case()
    answered(case.history, ("mark", REFUSED, MARKED, 4))
    assert len(CHECKS["P7"](case)) == 1


def test_p7_a_command_that_took_effect_twice() -> None:
    def again(slots: list[dict[str, Any]]) -> None:
        slots[3]["steps"][0]["id"] = "mark"

    assert len(CHECKS["P7"](doctored(a_case(), again))) == 1


def ages(*counted: tuple[int, float]) -> Sequence[float]:
    return [age for count, age in counted for _ in range(count)]


def test_p17_old_answers() -> None:
    assert p17_views_are_fresh(ages((991, 0.1), (9, 5.0))) == []
    assert len(p17_views_are_fresh(ages((985, 0.1), (15, 5.0)))) == 1
    assert len(p17_views_are_fresh(ages((998, 0.1), (2, 15.0)))) == 1
    assert p17_views_are_fresh([]), "what was never measured is not promised"


def rebuilt(**more: Any) -> Rebuilt:
    before, after = {"enrolments": 1, "cohorts": 3}, {"enrolments": 2, "cohorts": 4}
    return replace(Rebuilt("accreditation", 2, True, "", before, after, 40, []), **more)


def test_p8_a_rebuild_without_an_end_a_view_that_did_not_move_and_a_read_that_failed() -> None:
    assert p8_views_are_rebuilt([rebuilt()], []) == []
    assert p8_views_are_rebuilt([rebuilt(done=False, said="away")], []) == [
        "accreditation was not rebuilt in 2 tries: away"
    ]
    assert p8_views_are_rebuilt([rebuilt(after={"enrolments": 2, "cohorts": 3})], []) == [
        "accreditation was rebuilt, and cohorts did not move on"
    ]
    assert p8_views_are_rebuilt([rebuilt()], ["accreditation-1: NOT_FOUND"]) == [
        "a read failed: accreditation-1: NOT_FOUND"
    ]
    assert p8_views_are_rebuilt([rebuilt(failed=["accreditation-2 listed 1 of the 3 mentors"])], []) == [
        "a read beside the rebuild of accreditation failed: accreditation-2 listed 1 of the 3 mentors"
    ]


def poisoned(**more: Any) -> Poisoned:
    came = [
        SimpleNamespace(
            topic="t", partition=0, offset=n, key=b"k", value=b"v", headers=[("ce_sequence", str(n).encode())]
        )
        for n in (1, 2, 3)
    ]
    held = [
        {"stream": MARKED, "version": n, "topic": "t", "partition": 0, "offset": n, "key": b"k", "value": b"v"}
        | {"headers": [["ce_sequence", str(n).encode()]]}
        for n in (2, 3)
    ]
    return replace(Poisoned(MARKED, held, came, flowed=True, redriven=2, left=[]), **more)


def test_p9_what_is_held_in_part_otherwise_than_it_came_or_holds_others_up() -> None:
    good = poisoned()
    assert p9_only_its_own_stream([good]) == []
    assert p9_only_its_own_stream([poisoned(came=[*good.came, *good.came])]) == [], "repetitions are no fault"
    wrong = [
        poisoned(held=[]),
        poisoned(held=good.held[:1]),
        poisoned(held=[{**good.held[0], "value": b"else"}, good.held[1]]),
        poisoned(held=[*good.held, {**good.held[0], "stream": "cohort-c1"}]),
        poisoned(flowed=False),
    ]
    assert [len(p9_only_its_own_stream([each])) for each in wrong] == [1, 1, 1, 1, 1]


def test_p10_a_record_that_is_still_held_after_the_redrive() -> None:
    assert p10_redriven_is_whole([poisoned()]) == []
    assert len(p10_redriven_is_whole([poisoned(left=poisoned().held)])) == 1


def test_p19_a_key_that_is_left_or_came_back_or_was_never_buried_and_a_word_that_stands_somewhere() -> None:
    gone: dict[str, Any] = {"_id": "p1", "erased": INSTANT}
    assert p19_erased_is_gone(["p1"], {"enrolment": {"p1": gone}}, []) == []
    for key in ({"_id": "p1", "wrapped": b"k"}, {**gone, "wrapped": b"k"}, None):
        assert len(p19_erased_is_gone(["p1"], {"enrolment": {"p1": key} if key else {}}, [])) == 1
    assert p19_erased_is_gone(["p1"], {"enrolment": {"p1": gone}}, ["the name in a log"]) == ["the name in a log"]


def test_a_process_that_ends_by_itself_is_no_crash_only_with_the_words_of_an_expected_end() -> None:
    expected_ = [Ended("a", 70, "x\nwatchdog-stale\nstopped"), Ended("a", 75, "a cannot start: no answer within 60 s")]
    crashed = [Ended("a", 70, "process-failed"), Ended("a", 75, "else"), Ended("a", -11, ""), Ended("a", None, "")]
    assert crashes(expected_) == []
    assert len(crashes([*expected_, *crashed])) == len(crashed)


def test_a_run_that_was_too_short_is_not_enough() -> None:
    outcome = Outcome(1, "none", kills=3, duplicated=0)
    outcome.wanted = Plan([], kills=3, commands=4, seconds=1, kills_between=0, calm=0)
    outcome.strikes = [Strike(Fault("duplicate", "enrolment"), 0, 0, None)]
    answered(outcome.history, ("open", ACCEPTED, "cohort-c1", 1))
    assert outcome.short == [
        "1 of 4 acknowledged commands",
        "0 of 1 refused commands",
        "0 of 1 records sent again",
        "0 of 1 erased people",
        "0 of 1 rounds of learners treated alike",
    ]


def test_only_what_is_served_in_the_calms_says_how_fresh_views_are() -> None:
    outcome = Outcome(1, "none")
    outcome.calms = [(1, 3), (10, 12)]
    outcome.served = [Served(at, "a-1", age=at) for at in (2, 4, 6, 9, 11)]
    assert outcome.calm_ages == [2, 11]


def test_a_run_that_broke_off_is_reported_as_not_checked(tmp_path: Path) -> None:
    outcome = Outcome(1, "none")
    outcome.wrong("The harness failed", "OSError: no space left")
    page = write(outcome, "broken", "make again", folder=tmp_path).read_text()
    assert "The harness failed: OSError: no space left" in page
    assert page.count("| not checked |") == len(PROMISES)


def test_a_run_that_clients_had_to_go_easy_on_says_so(tmp_path: Path) -> None:
    words = (
        f"2 times something was not there after 60 s, and clients asked for no more than {CALM_ROWS_A_SECOND:g} rows"
    )
    assert words in write(Outcome(1, "none", eased=2), "eased", "make again", folder=tmp_path).read_text()
    assert "asked for no more" not in write(Outcome(1, "none"), "plain", "make again", folder=tmp_path).read_text()


def test_pace_is_as_it_was_once_it_is_no_longer_eased() -> None:
    pace = Pace(1_000.0, 1_000)
    with pace.eased(0.1):
        with pace.eased(0.5):
            pass
        before = pace.take(1)
        assert pace.take(1) - before > 9
    before = pace.take(1)
    assert pace.take(1) - before < 1


def test_pace_is_eased_only_once_something_takes_long() -> None:
    pace = Pace(1_000.0, 1_000)
    with pace.eased(0.1, after=60):
        before = pace.take(1)
        assert pace.take(1) - before < 1
    with pace.eased(0.1, after=-60):
        before = pace.take(1)
        assert pace.take(1) - before > 9


def test_a_schedule_reaches_every_link_and_every_long_absence_and_a_seed_is_the_same_one_again() -> None:
    instances = {f"{service}-{n}": service for service in SERVICES for n in (1, 2)}
    faults = list(islice(schedule(7, instances), 150))
    assert {f.kind for f in faults} >= {
        "kill",
        "kill one",
        "terminate",
        "duplicate",
        "offset reset",
        "rebuild",
        "poison",
    }
    linked = {(instances[name], server) for f in faults for name, _, server in [f.what.partition("/")] if server}
    assert linked == {(service, server) for service in SERVICES for server in ("kafka", "mongo")}
    assert {f.kind for f in faults if f.seconds == AWAY_SECONDS} == {"away", "zombie", "half-open", "refuse"}
    assert list(islice(schedule(7, instances), 150)) == faults
    assert list(islice(schedule(8, instances), 150)) != faults


WANTED = {"P14": ("a backup restores", ("tests/test_a.py", "bench/a.py")), "P15": ("one trace", ("tests/test_b.py",))}
RESULTS = """<testsuites><testsuite>
<testcase file="tests/test_a.py" name="one"/><testcase file="tests/test_a.py" name="two">{}</testcase>
<testcase file="tests/test_b.py" name="three">{}</testcase></testsuite></testsuites>"""


def test_what_other_tests_prove_is_counted_and_what_failed_or_never_ran_is_told() -> None:
    good = judged(WANTED, RESULTS.format("", ""))
    assert [(p.tests, p.failed, p.left) for p in good.values()] == [(2, [], ["bench/a.py"]), (1, [], [])]
    bad = judged(WANTED, RESULTS.format("<failure/>", "<skipped/>"))
    assert [p.failed for p in bad.values()] == [["tests/test_a.py::two"], ["tests/test_b.py: no test of it ran"]]


def test_the_page_of_promises_names_tests_for_all_that_are_proved_elsewhere() -> None:
    found = proofs(PAGE.read_text())
    assert list(found) == list(ELSEWHERE)
    assert all(files for _, files in found.values())
