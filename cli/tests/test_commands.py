"""Every step of the demo by hand, with `credence` on a real stack: what each command answers, and its exit code."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.tests.running import EXECUTABLE, Home, commands
from credence.enrolment.v1 import people_pb2
from credence_cli.client import Client
from credence_cli.commands import person
from credence_cli.embedded.stack import SERVICES, Stack
from credence_cli.identity import Identity, mint
from tests import readme
from tests.system.platform import settled

pytestmark = pytest.mark.servers

COURSE, CREDIT, PROVIDER, BODY = "r14-commissioners-course", "commissioning-credit", "ipc", "oxford-brookes"
BEGAN_DAYS_AGO = 60  # all six half-days were held
PROGRAMMES = 4


@pytest.fixture(scope="module")
def stack(home: Home) -> Iterator[Home]:
    """One platform for all of these tests, its catalogue loaded."""
    home.with_kafka()
    stack = Stack(home.folder / "stack", port_base=0, owned=True, say=lambda line: None)
    try:
        stack.up()
        home.call("catalogue", "load")
        yield home
    finally:
        stack.down()


TODAY = datetime.now(UTC).date()  # read once: these tests may go on beyond midnight


def ago(days: int) -> str:
    return (TODAY - timedelta(days=days)).isoformat()


def an_id(name: str) -> str:
    """Ids of one test: all of them share one platform."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def codes(doc: Any) -> list[str]:
    """What became of each row, in a word."""
    outcomes = doc["outcomes"] if isinstance(doc, dict) else [answer["outcome"] for answer in doc]
    return [o.get("code") or o["status"].removeprefix("OUTCOME_STATUS_").lower() for o in outcomes]


def course_with(home: Home, *people: str, capacity: int = 6) -> str:
    """A cohort of the commissioners' course that began in the past, with these people on it from its first day."""
    cohort = an_id("com")
    home.call(
        "cohort", "open", cohort, "--programme", COURSE, "--starts-on", ago(BEGAN_DAYS_AGO), "--provider", PROVIDER,
        "--capacity", str(capacity), "--waiting-list",
    )  # fmt: skip
    if people:
        home.call("enrol", cohort, *people, "--on", ago(BEGAN_DAYS_AGO))
    return cohort


def sheet(home: Home, *lines: str) -> str:
    """A file with these lines."""
    file = home.folder / f"{uuid.uuid4().hex}.csv"
    file.write_text("\n".join(lines) + "\n")
    return str(file)


def post(home: Home, *lines: str, exits: int = 0, header: str = "cohort,session,person,state") -> Any:
    return home.ask("attendance", "post", sheet(home, header, *lines), "--provider", PROVIDER, exits=exits)


# The catalogue


def test_the_catalogue_is_checked_loaded_and_listed(stack: Home, tmp_path: Path) -> None:
    assert len(stack.ask("catalogue", "check")["programmes"]) == PROGRAMMES
    assert f"{PROGRAMMES} without a fault, 0 faults" in stack.call("catalogue", "check").out
    assert codes(stack.ask("catalogue", "load")) == ["unchanged"] * PROGRAMMES
    assert codes(stack.ask("catalogue", "load", "--dry-run")) == ["unchanged"] * PROGRAMMES
    assert {p["id"] for p in stack.ask("catalogue", "list")["programmes"]} >= {COURSE, "r7-mentor-plus"}
    assert [p["id"] for p in stack.ask("catalogue", "list", COURSE)["programmes"]] == [COURSE]
    assert "Commissioners' course" in stack.call("catalogue", "list").out

    faulty = tmp_path / "scheme.yaml"
    faulty.write_text("credence: 1\nid: UPPER\nversion: none\n")
    checked = stack.ask("catalogue", "check", str(faulty), exits=1)
    assert all(fault.startswith(f"{faulty}:") for fault in checked["faults"])
    assert len(checked["faults"]) >= 2
    assert "nothing was loaded: mend these faults first" in stack.call("catalogue", "load", str(faulty), exits=2).err
    assert stack.ask("catalogue", "check", str(tmp_path / "absent.yaml"), exits=1)["faults"]


# Cohorts and places


def test_a_cohort_of_two_is_filled_and_the_third_waits_until_one_leaves(stack: Home) -> None:
    first, second, third = an_id("sample-a"), an_id("sample-b"), an_id("sample-c")
    cohort = course_with(stack, capacity=2)
    assert codes(stack.ask("enrol", cohort, first, second)) == ["accepted"] * 2
    assert "waiting at 1" in stack.call("enrol", cohort, third).out
    shown = stack.ask("cohort", "show", cohort)
    assert {e["person_id"]: e["status"] for e in shown["enrolments"]} == {
        first: "ENROLMENT_STATUS_PLACED",
        second: "ENROLMENT_STATUS_PLACED",
        third: "ENROLMENT_STATUS_WAITING",
    }
    assert "2 of 2 places" in stack.call("cohort", "show", cohort).out
    assert codes(stack.ask("withdraw", cohort, first, "--reason", "changed-job")) == ["accepted"]
    assert codes(stack.ask("withdraw", cohort, an_id("nobody"), "--reason", "changed-job", exits=1)) == ["not-enrolled"]


def test_a_file_of_people_is_registered_and_enrolled_however_a_spreadsheet_saved_it(stack: Home) -> None:
    first, second = an_id("sample-a"), an_id("sample-b")
    cohort = course_with(stack)
    file = Path(sheet(stack, "Person;Name;Provider;Reference;", f"{first};Zoë Sample;{PROVIDER};'=7;", second))
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    enrol = ("enrol", cohort, "--file", str(file), "--on", ago(BEGAN_DAYS_AGO))
    assert codes(stack.ask(*enrol)) == ["accepted", "accepted"]
    template = stack.ask("attendance", "template", cohort, "--provider", PROVIDER, "--session", "s6")
    assert {r["person_id"]: r.get("learner_reference") for r in template["rows"]} == {first: "=7", second: None}
    assert codes(stack.ask(*enrol)) == ["unchanged", "unchanged"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (("person,emial", "p1,x"), "columns without a meaning here: emial"),
        (("name,email", "Sample Learner,x"), "the first line must name the columns, among them `person`"),
        (("person,name", "p1,Sample,Learner"), "line 2 has more cells than there are columns"),
        (("person,name", 'p1,"Sample'), "in line 2 a quote is opened that is never closed"),
    ],
)
def test_a_file_of_people_that_cannot_be_read_is_a_usage_error(stack: Home, lines: tuple[str, ...], says: str) -> None:
    assert says in stack.call("enrol", "any", "--file", sheet(stack, *lines), exits=2).err


def test_a_person_that_is_none_is_refused_and_nobody_is_enrolled(stack: Home) -> None:
    cohort = course_with(stack)
    assert codes(stack.ask("enrol", cohort, an_id("sample-a"), "Not An Id", exits=1))[1] == "invalid-argument"
    assert stack.ask("cohort", "show", cohort)["enrolments"] == []
    assert "name the people" in stack.call("enrol", cohort, exits=2).err
    assert stack.call("enrol", cohort, *["p"] * 1001, exits=2).told == "1001 people: enrol at most 1000 at once"


def test_everybody_refused_is_told_row_by_row_where_there_is_no_such_cohort(stack: Home) -> None:
    assert codes(stack.ask("enrol", an_id("none"), an_id("sample-a"), exits=1)) == ["cohort-unknown"]


def test_a_session_can_be_cancelled_once(stack: Home) -> None:
    cohort = course_with(stack)
    assert codes(stack.ask("cohort", "cancel-session", cohort, "s2", "--reason", "snow")) == ["accepted"]
    assert codes(stack.ask("cohort", "cancel-session", cohort, "s2", "--reason", "snow")) == ["unchanged"]
    assert codes(stack.ask("cohort", "cancel-session", cohort, "s77", "--reason", "snow", exits=1)) == [
        "session-unknown"
    ]
    assert re.search(r"^s2 .* snow *$", stack.call("cohort", "show", cohort).out, re.MULTILINE)


def test_opening_a_cohort_again_is_harmless_and_otherwise_a_conflict(stack: Home) -> None:
    cohort, programme = an_id("com"), ("--programme", COURSE, "--provider", PROVIDER)
    assert codes(stack.ask("cohort", "open", cohort, *programme, "--starts-on", ago(9))) == ["accepted"]
    assert codes(stack.ask("cohort", "open", cohort, *programme, "--starts-on", ago(9))) == ["unchanged"]
    other = stack.ask("cohort", "open", cohort, *programme, "--starts-on", ago(8), exits=1)
    assert other["outcomes"][0]["status"] == "OUTCOME_STATUS_CONFLICT"
    wrong = stack.call("cohort", "open", cohort, *programme, "--starts-on", "soon", exits=1).out
    assert "starts_on: must be a date" in wrong


# Registers


def test_a_register_goes_out_as_a_template_and_comes_back(stack: Home) -> None:
    learner = an_id("sample-a")
    cohort = course_with(stack)
    file = sheet(stack, "person,provider,reference", f"{learner},{PROVIDER},'-5")
    stack.call("enrol", cohort, "--file", file, "--on", ago(BEGAN_DAYS_AGO))
    out = stack.folder / f"{cohort}.csv"
    said = stack.call("attendance", "template", cohort, "--provider", PROVIDER, "--session", "s1", "--out", str(out))
    assert (said.out, said.told) == ("", f"1 lines written to {out}: fill in `state` and post it.")
    text = out.read_text()
    assert text == stack.call("attendance", "template", cohort, "-p", PROVIDER, "--session", "s1").out
    assert f",{learner},'-5,,," in text

    # By the provider's own word for the learner alone, as it came back from the spreadsheet.
    out.write_text(text.replace(f",{learner},'-5,,", ",,'-5,p,"))
    dry = stack.call("attendance", "post", str(out), "--provider", PROVIDER, "--dry-run")
    assert "1 accepted (dry run: nothing was stored)" in dry.out
    assert codes(stack.ask("attendance", "post", str(out), "--provider", PROVIDER)) == ["accepted"]
    assert codes(stack.ask("attendance", "post", str(out), "--provider", PROVIDER)) == ["unchanged"]
    entries = stack.ask("attendance", "show", cohort, "--provider", PROVIDER)["entries"]
    assert [(e["person_id"], e["current"]["value"]["state"]) for e in entries] == [
        (learner, "ATTENDANCE_STATE_PRESENT")
    ]
    assert stack.ask("attendance", "show", cohort, "--provider", PROVIDER, "--session", "s2") == {}


def test_only_problems_are_shown_on_request_with_what_stands_and_the_way_to_correct_it(stack: Home) -> None:
    first, second = an_id("sample-a"), an_id("sample-b")
    cohort = course_with(stack, first, second)
    post(stack, f"{cohort},s1,{first},partial,90", header="cohort,session,person,state,minutes")
    again = sheet(
        stack, "cohort,session,person,state,Mood", f"{cohort},s1,{first},absent,", f"{cohort},s1,{second},late,good",
        f"{cohort},s1,{second},,", f"{cohort},s1,{second},perhaps,",
    )  # fmt: skip
    shown = stack.call("attendance", "post", again, "--provider", PROVIDER, "--problems", exits=1)
    assert "partial 90 min stands at version" in shown.out
    assert "line 3" not in shown.out
    assert "line 5: s1" in shown.out
    assert "state: 'perhaps' is none of present, late, partial, excused, absent" in shown.out
    assert "1 conflict, 1 accepted, 1 refused" in shown.out
    assert shown.err.splitlines() == [
        "Columns without a meaning here were passed over: Mood",
        "1 lines mark nobody and were not posted.",
    ]
    stands = stack.ask("attendance", "show", cohort, "-p", PROVIDER, "--session", "s1")["entries"]
    version = next(e["current"]["version"] for e in stands if e["person_id"] == first)
    header = "cohort,session,person,state,replaces,reason"
    assert codes(post(stack, f"{cohort},s1,{first},absent,{version},wrong-learner", header=header)) == ["accepted"]
    assert "partial 90 min (version" in stack.call("attendance", "show", cohort, "--provider", PROVIDER).out


def test_who_was_not_marked_yet_is_outstanding(stack: Home) -> None:
    learner = an_id("sample-a")
    cohort = course_with(stack, learner)
    post(stack, f"{cohort},s1,{learner},present")
    until = ago(BEGAN_DAYS_AGO - 7)
    sessions = stack.ask("attendance", "outstanding", "-p", PROVIDER, "--cohort", cohort, "--until", until)["sessions"]
    assert [(s["session_id"], s["unmarked_person_ids"]) for s in sessions] == [("s2", [learner])]
    assert learner in stack.call("attendance", "outstanding", "--provider", PROVIDER, "--cohort", cohort).out


def test_another_provider_s_cohort_is_not_found(stack: Home) -> None:
    cohort = course_with(stack)
    theirs = stack.call("attendance", "show", cohort, "--provider", "skills-agency", exits=3)
    nobody_s = stack.call("attendance", "show", an_id("none"), "--provider", "skills-agency", exits=3)
    assert theirs.told == nobody_s.told


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "the file is empty"), (b"a,b\n1,2\n", "missing: cohort"), (b"\x00\x01", "binary data")]
)
def test_a_file_that_is_no_register_is_a_usage_error(stack: Home, tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "register.csv"
    file.write_bytes(content)
    assert says in stack.call("attendance", "post", str(file), "--provider", PROVIDER, exits=2).told


def test_files_that_cannot_be_read_or_written_are_usage_errors(stack: Home, tmp_path: Path) -> None:
    absent = stack.call("attendance", "post", str(tmp_path / "absent.csv"), "--provider", PROVIDER, exits=2)
    assert absent.told.endswith("absent.csv cannot be read: No such file or directory")
    cohort = course_with(stack)
    out = str(tmp_path / "no folder" / "register.csv")
    refused = stack.call("attendance", "template", cohort, "--provider", PROVIDER, "--out", out, exits=2)
    assert refused.told == f"{out} cannot be written: No such file or directory"


# Assessed work, awards, standings


def test_the_commissioners_course_by_hand_to_twenty_confirmed_credits_and_the_review(stack: Home) -> None:
    learner = an_id("sample-a")
    cohort = course_with(stack, learner)
    post(stack, *(f"{cohort},s{n},{learner},present" for n in (1, 2, 3)))
    for step in ("register", "submit"):
        assert codes(stack.ask("assess", step, cohort, learner, "project")) == ["accepted"]
    mark = ("assess", "mark", cohort, learner, "project")
    assert codes(stack.ask(*mark, "referred", "--body", BODY, "--mark", "41")) == ["accepted"]
    assert codes(stack.ask(*mark, "passed", "--body", BODY, exits=1)) == ["result-stands"]
    stack.call("assess", "submit", cohort, learner, "project")
    assert codes(stack.ask(*mark, "passed", "--body", BODY, "--mark", "62")) == ["accepted"]
    before = datetime.now(UTC).isoformat()
    component = stack.ask("assess", "show", cohort, learner, "--body", BODY)["components"][0]
    assert (component["state"], component["attempts"], component["mark"]) == ("ASSESSMENT_STATE_PASSED", 2, "62")
    assert "registered" in stack.call("assess", "show", cohort, learner, "--body", BODY).out

    until_it_is(stack, cohort, learner, "AWARD_STATE_PROVISIONAL")
    explained = stack.call("standing", "explain", cohort, learner).out
    assert "20 CATS, level 7, 10 ECTS, transferable" in explained
    assert f"counted: enrolment-{cohort}--{learner} @" in explained
    assert stack.ask("standing", "explain", cohort, learner)["awards"][1]["explanation"]["satisfied"] is True

    revise = ("assess", "revise", cohort, learner, "project", "passed", "--body", BODY, "--reason", "clerical-error")
    assert codes(stack.ask(*revise, "--mark", "64", "--replaces", component["result_version"])) == ["accepted"]
    assert stack.ask(*revise, "--mark", "65", "--replaces", component["result_version"], exits=1)["outcomes"][0][
        "status"
    ] in ("OUTCOME_STATUS_CONFLICT", "OUTCOME_STATUS_REFUSED")

    confirm = ("board", "confirm", cohort, learner, CREDIT, "--body", BODY)
    until_it_is(stack, cohort, learner, "AWARD_STATE_PROVISIONAL")
    assert codes(stack.ask(*confirm)) == ["accepted"]
    until_it_is(stack, cohort, learner, "AWARD_STATE_CONFIRMED")
    assert "blocked: " in stack.call("standing", "show", cohort, learner).out
    assert codes(stack.ask("name", learner, "Sample Learner 01")) == ["accepted"]
    until_it_is(stack, cohort, learner, "AWARD_STATE_CONFIRMED", certificate="CERTIFICATE_STATE_DUE")
    assert any(a["person_id"] == learner for a in stack.ask("board", "awards", "--body", BODY)["awards"])
    assert learner in stack.call("board", "awards", "--body", BODY).out

    known = stack.ask("standing", "show", cohort, learner, "--known-at", before)
    assert award_of(known)["state"] != "AWARD_STATE_CONFIRMED"
    true = stack.ask("standing", "show", cohort, learner, "--true-at", ago(BEGAN_DAYS_AGO))
    assert award_of(true)["state"] == "AWARD_STATE_NOT_MET"

    stands = stack.ask("attendance", "show", cohort, "-p", PROVIDER, "--session", "s3")["entries"][0]["current"]
    header = "cohort,session,person,state,replaces,reason"
    post(stack, f"{cohort},s3,{learner},absent,{stands['version']},wrong-learner", header=header)
    until_it_is(stack, cohort, learner, "AWARD_STATE_UNDER_REVIEW")
    reviews = stack.ask("board", "reviews", "--body", BODY)["awards"]
    # Completion rests on the same half-day, and has a review of its own.
    review = next(a["review_id"] for a in reviews if (a["person_id"], a["award_id"]) == (learner, CREDIT))
    assert review in stack.call("board", "reviews", "--body", BODY).out
    decide = ("board", "decide", cohort, learner, CREDIT, "uphold", "--body", BODY, "--reason", "clerical-error")
    assert stack.ask(*decide, "--review", "another", exits=1)
    assert codes(stack.ask(*decide, "--review", review)) == ["accepted"]
    until_it_is(stack, cohort, learner, "AWARD_STATE_CONFIRMED")


def award_of(standing: Any, award: str = CREDIT) -> Any:
    return next(a for a in standing["awards"] if a["award_id"] == award)


def until_it_is(home: Home, cohort: str, person: str, state: str, award: str = CREDIT, certificate: str = "") -> None:
    """Looks until the award stands so: it comes back to the standing as a fact, and what it caused with it."""
    deadline = datetime.now(UTC) + timedelta(seconds=30)
    while True:
        found = award_of(standing := home.ask("standing", "show", cohort, person), award)
        settled = not standing.get("pending") and found["state"] == state
        if settled and (not certificate or found["certificate"]["state"] == certificate):
            return
        assert datetime.now(UTC) < deadline, (state, certificate, standing)


@pytest.mark.parametrize(
    "words",
    [
        ("assess", "mark", "c", "p", "project", "splendid", "--body", BODY),
        ("board", "decide", "c", "p", "a", "shrug", "--body", BODY, "--review", "r", "--reason", "x"),
        ("standing", "show", "c", "p", "--known-at", "yesterday"),
        ("standing", "show", "c", "p", "--known-at", "2024-10-31T12:00:00"),
        ("standing", "show", "c", "p", "--true-at", "yesterday"),
        ("token", "--role", "king"),
        ("attendance", "template", "c"),
        ("no-such-command",),
        ("cohort", "open", "c", "--capacity", "many"),
    ],
)
def test_a_wrong_word_is_a_usage_error(stack: Home, words: tuple[str, ...]) -> None:
    ran = stack.call(*words, exits=2)
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert ran.err.strip()


def test_nobody_s_standing_assessment_or_award_is_not_found(stack: Home) -> None:
    nobody = an_id("nobody")
    assert stack.call("standing", "show", an_id("none"), nobody, exits=3).told
    assert stack.call("assess", "show", an_id("none"), nobody, "--body", BODY, exits=3).told
    assert stack.call("cohort", "show", an_id("none"), exits=3).told
    assert codes(stack.ask("board", "confirm", an_id("none"), nobody, CREDIT, "--body", BODY, exits=1)) == ["not-found"]


# Mentoring


def test_mentor_plus_by_hand(stack: Home) -> None:
    mentors = [an_id(f"mentor-{letter}") for letter in "abc"]
    mentee = an_id("sample-mentee")
    provider, began = "staff-college", 300
    standing_cohort, cohort = an_id("men"), an_id("plus")
    for opened, programme in ((standing_cohort, "r7-mentor-standing"), (cohort, "r7-mentor-plus")):
        options = ("--programme", programme, "--starts-on", ago(began), "--provider", provider, "--capacity", "0")
        stack.call("cohort", "open", opened, *options)
    stack.call("enrol", standing_cohort, *mentors, "--on", ago(began))
    stack.call("enrol", cohort, mentee, "--on", ago(began))
    seminars = ("induction", "support-1", "support-2")
    lines = [f"{standing_cohort},{seminar},{mentor},present" for mentor in mentors for seminar in seminars]
    stack.call("attendance", "post", sheet(stack, "cohort,session,person,state", *lines), "--provider", provider)
    profile = ("--background", "children", "--employer", "sample-council", "--portrait", "A sample portrait.")
    for mentor in mentors:
        stack.call("assess", "submit", standing_cohort, mentor, "accreditation")
        stack.call("assess", "mark", standing_cohort, mentor, "accreditation", "passed", "--body", "national-college")
        assert codes(stack.ask("mentor", "register", mentor, *profile)) == ["accepted"]
        until_it_is(stack, standing_cohort, mentor, "AWARD_STATE_CONFIRMED", "mentor-standing")
    outsider = an_id("mentor-d")
    assert codes(stack.ask("mentor", "offer", cohort, mentee, *mentors[:2], outsider, exits=1)) == [
        "mentor-not-in-standing"
    ]
    until_they_stand(stack, mentors)
    assert mentors[0] in stack.call("mentor", "list", "--in-standing").out

    assert codes(stack.ask("mentor", "offer", cohort, mentee, *mentors)) == ["accepted"]
    assert codes(stack.ask("mentor", "choose", cohort, mentee, mentors[1], "--on", ago(began))) == ["accepted"]
    for number in range(1, 9):
        meeting = ("mentor", "meet", cohort, mentee, f"m{number}", "--on", ago(began - 30 * number))
        assert codes(stack.ask(*meeting)) == ["accepted"]
        assert codes(stack.ask(*meeting, "--as-mentor", mentors[1])) == ["accepted"]
    match = stack.ask("mentor", "show", cohort, mentee)
    assert len(match["meetings"]) == 8
    assert [m["pen_portrait"] for m in match["mentors"]] == ["A sample portrait."] * 3
    shown = stack.call("mentor", "show", cohort, mentee).out
    assert f"chosen {mentors[1]}" in shown
    assert "portrait" in shown
    until_it_is(stack, cohort, mentee, "AWARD_STATE_CONFIRMED", "completion")
    assert stack.call("mentor", "show", cohort, an_id("nobody"), exits=3).told


def until_they_stand(home: Home, mentors: list[str]) -> None:
    deadline = datetime.now(UTC) + timedelta(seconds=30)
    while True:
        listed = home.ask("mentor", "list", "--in-standing").get("mentors", [])
        if {m["person_id"] for m in listed} >= set(mentors):
            return
        assert datetime.now(UTC) < deadline, listed


# For whoever runs it


def test_the_stack_says_how_it_is_and_what_its_parts_say(stack: Home) -> None:
    status = stack.ask("stack", "status")
    assert {part["name"]: part["state"] for part in status} == dict.fromkeys(("kafka", "mongo", *SERVICES), "ready")
    assert "ready" in stack.call("stack", "status").out
    logged = stack.call("stack", "logs", "enrolment", "--lines", "3").out.splitlines()
    assert len(logged) == 3
    assert all(line.startswith("enrolment ") for line in logged)
    line = stack.call("stack", "logs", "enrolment", "--lines", "1", "--json").out
    assert json.loads(line)["part"] == "enrolment"
    assert "no part named billing" in stack.call("stack", "logs", "billing", exits=2).told


def test_a_stack_that_runs_is_left_as_it_is_by_another_up(stack: Home) -> None:
    before = stack.ask("stack", "status")
    assert stack.ask("stack", "up") == before


def test_status_tells_every_service_and_each_of_its_consumers(stack: Home) -> None:
    settled("everything has caught up", lambda: stack.run("status", "--json", exits=None).code == 0)
    told = stack.ask("status")
    assert {name: answer["state"] for name, answer in told.items()} == dict.fromkeys(told, "ok")
    consumers = {name: {c["name"] for c in answer["consumers"]} for name, answer in told.items()}
    assert consumers["accreditation"] == {
        *("fold", "publish", "evaluate-standing", "evaluate-confirmation"),
        *("credence.enrolment.v1", "credence.mentoring.v1", "accreditation.own", "accreditation.facts"),
    }
    assert len({answer["epoch"] for answer in told.values()}) == 3
    shown = stack.call("status", "--service", "enrolment").out
    assert "publish" in shown
    assert "mentoring" not in shown
    wrong = stack.call("status", "--service", "billing", exits=2)
    assert "choose one of enrolment, accreditation, mentoring" in wrong.err


def test_operations_list_what_was_done_and_nothing_where_nothing_was(stack: Home) -> None:
    assert set(stack.ask("operations")) == {"enrolment", "accreditation", "mentoring"}
    assert "because" in stack.call("operations", "--service", "mentoring", "--limit", "5").out


def test_a_log_is_published_again_whole_or_in_part_and_the_reason_is_kept(stack: Home) -> None:
    everything = stack.ask("republish", "--service", "enrolment", "--dry-run")
    assert everything["streams"] > 0
    assert everything["events"] >= everything["streams"]
    part = ("republish", "--service", "enrolment", "--category", "programme")
    told = stack.ask(*part, "--reason", "a lost record")
    assert 0 < told["streams"] < everything["streams"]
    assert "would go out; nothing was changed" in stack.call(*part, "--dry-run").out
    done = stack.ask("operations", "--service", "enrolment")["enrolment"][0]
    assert (done["action"], done["subject"], done["reason"]) == ("republish", "programme", "a lost record")
    assert "--reason" in stack.call("republish", "--service", "enrolment", exits=2).err


def test_nothing_is_held_and_what_is_not_held_is_told_as_such(stack: Home) -> None:
    """What is held is shown and mended in `tests/system/test_held.py`."""
    assert stack.ask("held", "list") == {"enrolment": {}, "accreditation": {}, "mentoring": {}}
    assert "Nothing is held." in stack.call("held", "list").out
    assert stack.ask("held", "redrive", "--service", "mentoring") == {"mentoring": []}
    show = ("held", "show", "accreditation.facts", "enrolment-c1--p1", "--json")
    assert "no such held stream" in stack.call(*show, exits=3).told
    discard = ("held", "discard", "accreditation.facts", "enrolment-c1--p1", "1", "--reason", "a test", "--json")
    assert "it is not held" in stack.call(*discard, exits=4).err
    wrong = stack.call("held", "list", "--consumer", "enrolment.facts", exits=2)
    assert "is none of this service's: enrolment.own" in wrong.err


def test_topics_are_there_already_and_lag_is_told_by_group(stack: Home) -> None:
    created = stack.ask("topics", "create")
    assert [topic["created"] for topic in created] == [False] * len(created)
    assert "there already" in stack.call("topics", "create", "--replication-factor", "1").out
    assert {topic["name"] for topic in stack.ask("topics", "describe")} == {f"credence.{name}.v1" for name in SERVICES}
    assert "cleanup.policy" in stack.call("topics", "describe").out
    lag = stack.ask("lag")
    assert {"accreditation", "mentoring"} <= {group["group"].partition(".")[0] for group in lag}
    assert {group["state"] for group in lag} == {"Stable"}
    assert "credence.enrolment.v1" in stack.call("lag").out
    nowhere = ("--bootstrap", "127.0.0.1:1")
    assert "is it started there?" in stack.call("topics", "create", *nowhere, "--wait", "0", exits=6).told


def test_secrets_are_made_once(stack: Home, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    made = stack.ask("secrets", str(folder))
    content = {name: (folder / name).read_bytes() for name in made["files"]}
    assert "master.key" in stack.call("secrets", str(folder)).out
    assert {name: (folder / name).read_bytes() for name in made["files"]} == content


# Who speaks


def test_a_token_speaks_for_whom_it_names_and_for_nothing_else(stack: Home) -> None:
    learner = an_id("sample-a")
    cohort = course_with(stack, learner)
    token = stack.call("token", "--role", "learner", "--person", learner).out.strip()
    assert stack.ask("token", "--role", "learner", "--person", learner)["token"].count(".") == 2
    shown = stack.ask("standing", "show", cohort, learner, CREDENCE_TOKEN=token)
    assert shown["person_id"] == learner
    denied = stack.call("name", learner, "Sample Learner", exits=5, CREDENCE_TOKEN=token)
    assert denied.out == ""
    assert denied.told
    other = an_id("sample-b")
    stack.call("enrol", cohort, other)
    assert stack.call("standing", "show", cohort, other, exits=3, CREDENCE_TOKEN=token).told


def test_a_token_of_somebody_else_or_of_an_hour_ago_is_not_taken(stack: Home, tmp_path: Path) -> None:
    expired = mint(Identity.of("operator"), stack.folder / "stack" / "secrets", lifetime_seconds=-3600)
    stack.call("secrets", str(tmp_path / "other"))
    foreign = stack.call(
        "token", "--role", "operator", CREDENCE_DEVELOPMENT_SECRETS=str(tmp_path / "other")
    ).out.strip()
    for token in ("nonsense", foreign, expired):
        assert stack.call("catalogue", "list", exits=5, CREDENCE_TOKEN=token).told


def test_the_readme_s_commands_by_hand_work_in_their_order(
    stack: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # they write a register
    by_hand = next(block for block in readme.blocks() if block.heading == "By hand")
    for line in by_hand.lines:
        program, *words = shlex.split(line, comments=True)
        assert program == "credence"
        if words != ["stack", "down"]:
            stack.call(*words)


# What one invocation leaves for the next, as processes of their own


def test_each_process_sees_what_the_one_before_it_wrote(stack: Home) -> None:
    learner = an_id("sample-a")
    cohort = course_with(stack, learner)
    assert stack.run("cohort", "show", cohort, "--json").doc["enrolments"][0]["person_id"] == learner
    register = f"cohort,session,person,state\n{cohort},s1,{learner},present\n".encode()
    posted = stack.run("attendance", "post", "-", "--provider", PROVIDER, "--json", stdin=register).doc
    version, stream = posted[0]["outcome"]["version"], posted[0]["outcome"]["stream"]
    explained = stack.run("standing", "explain", cohort, learner, "--json")
    # Another service's answer, right away, rests on what this one has just stored.
    assert f"{stream}@{version}" in explained.out
    shown = stack.run("attendance", "show", cohort, "--provider", PROVIDER, "--json").doc
    assert [entry["session_id"] for entry in shown["entries"]] == ["s1"]


def test_the_last_write_s_token_is_not_taken_to_another_platform(stack: Home) -> None:
    kept = stack.folder / "last-token.json"
    course_with(stack)
    assert kept.is_file()
    elsewhere = stack.call("catalogue", "list", exits=6, CREDENCE_ENROLMENT="127.0.0.1:1")
    assert elsewhere.told.startswith("enrolment at 127.0.0.1:1 does not answer: is it running there?")
    kept.write_text("torn")
    assert stack.ask("catalogue", "list")["programmes"]


def test_a_reader_that_stops_reading_is_no_error_of_rows(stack: Home) -> None:
    for words in (("catalogue", "list", "--json"), ("catalogue", "list")):
        read, write = os.pipe()
        os.close(read)
        ran = stack.run_into(write, *words)
        assert (ran.code, ran.err) == (141, ""), ran


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_behind_the_output_is_told_in_one_sentence(stack: Home) -> None:
    for words in (("catalogue", "list", "--json"), ("catalogue", "list")):
        ran = stack.run_into(os.open("/dev/full", os.O_WRONLY), *words)
        assert ran.code == 6
        assert ran.told.startswith("The disk is full: free some space and run it again")


# People


def test_what_is_held_about_a_person_is_written_for_one_pair_of_eyes(stack: Home) -> None:
    learner = an_id("sample-e")
    course_with(stack, learner)
    stack.call("name", learner, "Sample Learner Ex")
    shown = stack.call("person", "export", learner).out
    assert "Sample Learner Ex" in shown
    document = json.loads(shown)
    assert (document["person_id"], document["complete"], document["missing"]) == (learner, True, {})
    assert {item["kind"] for item in document["services"]["enrolment"]} >= {"event", "step", "document"}
    file = stack.folder / "export.json"
    file.write_text("")
    file.chmod(0o644)
    told = stack.ask("person", "export", learner, "--out", str(file))
    assert told["items"].keys() == set(SERVICES)
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["services"] == document["services"]
    partly = stack.call("person", "export", learner, exits=6, CREDENCE_MENTORING="127.0.0.1:1")
    assert json.loads(partly.out)["complete"] is False
    assert list(json.loads(partly.out)["missing"]) == ["mentoring"]
    assert partly.told.startswith("NOT COMPLETE: mentoring: ")
    assert stack.call("person", "export", learner, "--out", str(stack.folder / "no" / "file"), exits=2).told
    assert stack.call("person", "export", "Not An Id", exits=2).err


def test_an_erasure_is_seen_through_in_every_service_and_again_is_harmless(stack: Home) -> None:
    learner, stranger = an_id("sample-f"), an_id("stranger")
    course_with(stack, learner)
    stack.call("name", learner, "Sample Learner Ff")
    erase = ("person", "erase", learner, stranger, "--reason", "person-asked")
    unasked = stack.run(*erase, exits=2)
    assert "--yes" in unasked.err
    assert "Sample Learner Ff" in stack.call("person", "export", learner).out, "nothing is erased unasked"
    done = stack.ask(*erase, "--yes")
    assert done["outcomes"] == {learner: "accepted", stranger: "accepted"}
    assert (done["destroyed"], done["waiting_for"]) == (dict.fromkeys(SERVICES, True), {})
    again = stack.call(*erase, "--yes")
    assert f"{learner}: was erased already" in again.err
    assert "Erased" in again.out
    exported = stack.call("person", "export", learner).out
    assert "Sample Learner Ff" not in exported
    assert json.loads(exported)["complete"]
    erased = stack.ask("person", "erasures")["erased"]
    assert erased[learner].keys() == erased[stranger].keys() == set(SERVICES)
    assert learner in stack.call("person", "erasures").out
    named = stack.ask("name", learner, "Sample Learner Ff", exits=1)
    assert codes(named) == ["person-erased"]
    assert "person-asked" in stack.call("operations").out
    wrong = stack.ask("person", "erase", "Not An Id", "--reason", "person-asked", "--yes", exits=1)
    assert wrong == {"outcomes": {"Not An Id": "refused"}}
    stack.call("person", "erase", learner, "--reason", "person-asked", "--yes", exits=5, CREDENCE_TOKEN=operator(stack))


def test_more_people_than_one_batch_takes_are_erased_in_several(stack: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    batches, call = list[int](), Client.call

    async def counted(self: Client, method: Any, request: Any, **more: Any) -> Any:
        batches.extend([len(request.rows)] if isinstance(request, people_pb2.ErasePeopleRequest) else [])
        return await call(self, method, request, **more)

    monkeypatch.setattr(Client, "call", counted)
    monkeypatch.setattr(person, "ROWS_MAX", 2)
    people = [an_id(f"many{n}") for n in range(3)]
    done = stack.ask("person", "erase", *people, "--reason", "person-asked", "--yes")
    assert done["outcomes"] == dict.fromkeys(people, "accepted")
    assert batches == [2, 1]


def test_an_erasure_that_a_service_is_away_for_says_so_and_is_seen_through_later(stack: Home) -> None:
    learner = an_id("sample-g")
    erase = ("person", "erase", learner, "--reason", "person-asked", "--yes", "--wait", "1")
    away = stack.ask(*erase, exits=6, CREDENCE_MENTORING="127.0.0.1:1")
    assert list(away["waiting_for"]) == ["mentoring"]
    assert "does not answer" in away["waiting_for"]["mentoring"]
    assert away["destroyed"] == {"enrolment": True, "accreditation": True, "mentoring": False}
    assert stack.ask(*erase[:-1], "60")["waiting_for"] == {}
    assert stack.call("person", "erasures", exits=6, CREDENCE_MENTORING="127.0.0.1:1").told


@pytest.mark.parametrize(("typed", "exits"), [("somebody-else", 4), ("", 0)], ids=["another id", "the id"])
def test_a_terminal_asks_for_the_id_again(stack: Home, typed: str, exits: int) -> None:
    learner = an_id("sample-h")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "rb") as terminal, os.fdopen(ours, "wb", buffering=0) as keyboard:
        keyboard.write(f"{typed or learner}\n".encode())
        words = [str(EXECUTABLE), "person", "erase", learner, "--reason", "person-asked"]
        ended = subprocess.run(words, env=stack.env(), stdin=terminal, capture_output=True, text=True)
    assert ended.returncode == exits, ended
    assert (learner in stack.ask("person", "erasures")["erased"]) == (exits == 0)


def operator(stack: Home) -> str:
    return stack.call("token", "--role", "operator").out.strip()


def test_views_are_listed_rebuilt_and_dropped(stack: Home) -> None:
    listed = {v["name"]: v for v in stack.ask("views", "list", "--service", "mentoring")["mentoring"]["views"]}
    assert {name: (v["generation"], v.get("wants", "")) for name, v in listed.items()} == dict.fromkeys(listed, (1, ""))
    assert "own log" in stack.call("views", "list").out

    told = stack.call("views", "rebuild", "mentoring", "mentors", "--reason", "a test").err
    assert "mentoring serves mentors generation 2" in told
    lines = stack.call("views", "rebuild", "mentoring", "--foreign", "--reason", "a test", "--yes", "--json").out
    assert "generations" in json.loads(lines.splitlines()[-1])["done"]

    dropped = stack.ask("views", "drop", "mentoring", "mentors", "--reason", "a test")
    assert dropped.get("dropped", []) in ([], ["mentors"]), "an empty collection is none"
    assert [o["action"] for o in reversed(stack.ask("operations", "--service", "mentoring")["mentoring"])][-3:] == [
        "rebuild",
        "rebuild",
        "drop-views",
    ]


def test_a_rebuild_of_what_is_not_there_says_what_is(stack: Home) -> None:
    assert (
        "mentoring has no view nowhere: it has awards"
        in stack.call("views", "rebuild", "mentoring", "nowhere", exits=4).err
    )
    assert "no such service" in stack.call("views", "rebuild", "nowhere", exits=2).err
    assert "every view stands" in stack.call("views", "rebuild", "mentoring", exits=4).err
    wrong = stack.call("views", "rebuild", "mentoring", "--foreign", "--accept-epoch", "credence/enrolment", exits=2)
    assert "SOURCE=EPOCH" in wrong.err


# All of them, at the end: what is tested by itself is on a stack of its own, or on the data it imports
ELSEWHERE = {("demo",), ("stack", "down"), ("import", "oulad")}


def test_every_command_was_run_here_and_its_json_read_where_it_has_any(
    stack: Home, request: pytest.FixtureRequest
) -> None:
    chosen = {item.name.partition("[")[0] for item in request.session.items if item.path == request.path}
    if chosen != {name for name in globals() if name.startswith("test_")}:
        pytest.skip("only some of this module's tests were chosen")
    missing = [
        " ".join(path)
        for path, command in commands()
        if path not in ELSEWHERE
        and not any(
            words[: len(path)] == path and ("--json" in words or not has_json(command)) for words in stack.called
        )
    ]
    assert missing == []
    # A demonstration is for eyes; everything else can be read by a program.
    assert [path for path, command in commands() if not has_json(command)] == [("demo",)]


def has_json(command: Any) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)
