"""Every fault of every file, with file and line: each sort is planted into a real file and must be found."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from catalogue.files import FileFault, check, check_contents
from catalogue.limits import FILE_BYTES_MAX, YAML_DEPTH_MAX
from catalogue.model import AssessmentPassed, Attended, children

CATALOGUE = Path(__file__).resolve().parents[3] / "catalogue"
R1, R14, R7, R7S = (
    "r1-directors-leadership.yaml",
    "r14-commissioners-course.yaml",
    "r7-mentor-plus.yaml",
    "r7-mentor-standing.yaml",
)


def real_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(CATALOGUE.glob("*.yaml"))}


def planted(file: str, *edits: tuple[str, str]) -> tuple[dict[str, bytes], tuple[FileFault, ...]]:
    contents = real_files()
    text = contents[file].decode()
    for old, new in edits:
        assert old in text, f"{old!r} is not in {file}"
        text = text.replace(old, new, 1)
    contents[file] = text.encode()
    return contents, check_contents(contents).faults


def test_the_real_catalogue_has_no_fault() -> None:
    checked = check([CATALOGUE])
    assert [str(fault) for fault in checked.faults] == []
    assert len(checked.programmes) == checked.files >= 4


COUNTING = "\n        - {{check: credits, at_least: 20, from_awards: [{{programme: {}, award: {}}}]}}"

# The file, what is replaced, by what, the code, and text on the line that must be named (else: the replacement's).
PLANTED = [
    (R14, "title: Commissioners' course\n", "titel: Commissioners' course\n", "unknown-key", "titel:"),
    (R14, "title: Commissioners' course\n", "titel: Commissioners' course\n", "missing-key", "# The commissioners"),
    (R14, "version: 1", "version: one", "wrong-type", None),
    (R14, "version: 1", "version: 0", "out-of-range", None),
    (R14, "version: 1", "version: true", "wrong-type", None),
    (R14, "credence: 1", "credence: 2", "wrong-value", None),
    (R14, "credence: 1\n", "", "missing-key", "# The commissioners"),
    (R14, "id: r14-commissioners-course", "id: R14", "wrong-value", None),
    (R14, "id: r14-commissioners-course", "id: r14--commissioners", "wrong-value", None),
    (R14, "id: r14-commissioners-course", "id: " + "a" * 31, "out-of-range", None),
    (R14, "id: r14-commissioners-course", "id: 14", "wrong-type", None),
    (R14, "zone: Europe/London", "zone: Europe/Londres", "unknown-zone", None),
    (R14, "kind: project", "kind: projekt", "wrong-value", None),
    (R14, 'start: "09:30"', 'start: "24:30"', "wrong-value", "{id: s1"),
    (R14, "check: assessment-passed", "check: assesment-passed", "wrong-value", None),
    (R14, "check: assessment-passed", "id: again", "missing-key", None),
    (R14, "credits: 20", "credits: 1e9", "wrong-value", None),
    (R14, "credits: 20", "credits: .inf", "wrong-value", None),
    (
        R14,
        "unit_kind: half-day, event: october, day: 7",
        "unit_kind: half, event: october, day: 7",
        "unknown-unit-kind",
        None,
    ),
    (R14, "event: october, day: 7", "event: december, day: 7", "unknown-event", None),
    (R1, "module: partnership\n", "module: partner\n", "unknown-module", None),
    (R14, "component: project", "component: exam", "unknown-component", None),
    (R1, "attribute: sector", "attribute: sektor", "unknown-attribute", None),
    (R1, "value: private", "value: charity", "unknown-value", None),
    (R14, "id: s2", "id: s1", "duplicate-id", "Half-day 2"),
    (R1, "values: [public, private, third]", "values: [public, private, third, public]", "duplicate-id", None),
    (
        R1,
        "id: coaching\n          title: Six",
        "id: opening\n          title: Six",
        "duplicate-id",
        "id: opening\n          title: Both",
    ),
    (R14, "version: 1\n", "version: 1\nversion: 2\n", "duplicate-key", "version: 2"),
    (R7S, "id: r7-mentor-standing\n", "id: r7-mentor-plus\n", "duplicate-version", "version: 1"),
    (R14, "ects: 10", "ects: 20", "ects-mismatch", None),
    (R14, "level: 7, ects", "level: 9, ects", "out-of-range", None),
    (R14, "notional_hours: 200", "notional_hours: 150", "notional-hours", "credit: {credits: 20"),
    (
        R14,
        "awarding_body: {id: oxford-brookes, title: Oxford Brookes University}\n",
        "",
        "awarding-body-missing",
        "kind: credit",
    ),
    (R14, "claim: contributes", "claim: completed", "qualification-not-earned", None),
    (R14, "of_which: 40", "of_which: 61", "impossible-threshold", None),
    (R14, "kind: credit\n", "kind: completion\n", "credit-not-allowed", "credit: {credits: 20"),
    (R1, "kind: completion", "kind: credit", "credit-missing", None),
    (R1, "kind: completion", "kind: credit", "credit-without-assessment", "    rule:"),
    (R14, "check: all-of", "check: any-of", "credit-without-assessment", "rule:\n      check: any-of"),
    (R1, "at_least: 8\n", "at_least: 9\n", "impossible-threshold", None),
    (
        R14,
        "      unit_kind: half-day\n      at_least: 0.5",
        "      unit_kind: half-day\n      at_least: 1.5",
        "out-of-range",
        "at_least: 1.5",
    ),
    (
        R1,
        "id: module\n      title: Both days of the module\n      unit_kind: residential-day",
        "unit_kind: coaching",
        "share-of-unscheduled",
        "unit_kind: coaching\n      module",
    ),
    (
        R1,
        "unit_kind: opening-day, event: opening, day: 0",
        "unit_kind: coaching, event: opening, day: 0",
        "unscheduled-in-timetable",
        None,
    ),
    (
        R1,
        "unit_kind: coaching\n          at_least: 6",
        "unit_kind: coaching\n          module: risk\n          at_least: 6",
        "module-of-unscheduled",
        "module: risk\n          at_least: 6",
    ),
    (R1, "day: 49", "day: 400", "session-after-end", None),
    (R1, "    minutes: 120\n", "", "unit-minutes-missing", "unit_kind: coaching"),
    (R1, "kind: scheduled, unit: day", "kind: scheduled, minutes: 60, unit: day", "not-for-scheduled-units", None),
    (R14, "min_months: 2", "min_months: 13", "duration-reversed", None),
    (R14, "partial: threshold, threshold_share: 0.5", "partial: threshold", "threshold-missing", None),
    (R14, "partial: threshold, threshold_share: 0.5", "partial: not, threshold_share: 0.5", "threshold-unused", None),
    (R7S, "partial: not, excused: absent", "partial: not, excused: leaves-denominator", "no-denominator", None),
    (R7, "award: mentor-standing", "award: mentor", "unknown-award", None),
    (R7, "programme: r7-mentor-standing", "programme: r7-standing", "unknown-programme", None),
    (R7, "choices: 1", "choices: 4", "impossible-threshold", None),
    (R7, "      at_least: 8", "      at_least: 9", "impossible-threshold", None),
    (R1, "check: attended", "check: meetings-held", "no-mentoring", None),
    (R14, "notional_hours: 200", "notional_hours: 200\ncredit_cap: 10", "above-credit-cap", "credit: {credits: 20"),
    (R14, "notional_hours: 200", "notional_hours: 200\ncredit_cap: 60", "rank-missing", "kind: credit"),
    (
        R14,
        "carried_over: true",
        "carried_over: true\n        - {check: credits, at_least: 20, of_which: 30, level: 7}",
        "impossible-threshold",
        "of_which: 30",
    ),
    (
        R14,
        "carried_over: true",
        "carried_over: true\n        - {check: credits, at_least: 20, level: 7}",
        "of-which-without-level",
        "at_least: 20, level",
    ),
    (
        R14,
        "carried_over: true",
        "carried_over: true\n        - {check: at-least, at_least: 2, of: [{check: always}]}",
        "impossible-threshold",
        "at_least: 2, of",
    ),
    (
        R14,
        "carried_over: true",
        "carried_over: true" + COUNTING.format("r14-commissioners-course", "commissioning-credit"),
        "award-cycle",
        "    rule:\n      check: all-of",
    ),
    (
        R14,
        "carried_over: true",
        "carried_over: true" + COUNTING.format("r7-mentor-plus", "completion"),
        "award-without-credit",
        "from_awards",
    ),
    (R14, "credence: 1", "credence: &one 1\nnotional_hours: *one", "yaml-alias", "*one"),
    (R14, "credence: 1", "credence: !number 1", "yaml-tag", None),
    (R14, "credence: 1", "credence: [1", "yaml-syntax", "id: r14"),
]


@pytest.mark.parametrize(
    ("file", "old", "new", "code", "on"), PLANTED, ids=[f"{p[3]}-{i}" for i, p in enumerate(PLANTED)]
)
def test_a_planted_fault_is_found_in_its_line(file: str, old: str, new: str, code: str, on: str | None) -> None:
    contents, found = planted(file, (old, new))
    text = contents[file].decode()
    line = text[: text.index(on if on is not None else new.lstrip("\n"))].count("\n") + 1
    told = [fault for fault in found if fault.file == file and fault.code == code]
    assert any(fault.line == line for fault in told), f"line {line} expected; found: {[str(each) for each in found]}"


def test_a_misspelt_key_gets_its_right_name_as_a_hint() -> None:
    _, found = planted(R14, ("zone: Europe", "zon: Europe"))
    assert [fault.message for fault in found] == ["unknown key 'zon'; did you mean zone?"]


def test_one_bad_file_reports_all_its_faults_and_those_of_the_others_too() -> None:
    contents, _ = planted(
        R14,
        ("version: 1", "version: none"),
        ("event: october, day: 7", "event: december, day: 7"),
        ("ects: 10", "ects: 9"),
        ("component: project", "component: exam"),
        ("minutes: 180, place: online", "minutes: 180, plaice: online"),
    )
    contents[R1] = contents[R1].replace(b"at_least: 6", b"at_least: six").replace(b"value: third", b"value: fourth")
    contents["broken.yaml"] = b"a: [1\n"
    contents["empty.yaml"] = b""
    contents["latin.yaml"] = b"title: caf\xe9\n"
    found = {(fault.file, fault.code) for fault in check_contents(contents).faults}
    assert found == {
        (R14, "wrong-type"),
        (R14, "unknown-event"),
        (R14, "ects-mismatch"),
        (R14, "unknown-component"),
        (R14, "unknown-key"),
        (R1, "wrong-type"),
        (R1, "unknown-value"),
        ("broken.yaml", "yaml-syntax"),
        ("empty.yaml", "empty-file"),
        ("latin.yaml", "yaml-syntax"),
    }


def test_a_file_that_cannot_be_read_makes_no_other_file_faulty() -> None:
    contents = real_files()
    contents[R7S] = b"- not a mapping\n"
    assert {fault.file for fault in check_contents(contents).faults} == {R7S}


def test_two_credit_awards_that_count_each_other_are_a_cycle_between_files() -> None:
    contents, _ = planted(R14, ("carried_over: true", "carried_over: true\n        - {check: credits, at_least: 20}"))
    assert check_contents(contents).faults == ()
    twin = contents[R14].replace(b"id: r14-commissioners-course", b"id: r14-twin")
    found = check_contents({**contents, "twin.yaml": twin}).faults
    assert {(fault.file, fault.code) for fault in found} == {(R14, "award-cycle"), ("twin.yaml", "award-cycle")}
    assert any("r14-twin/commissioning-credit" in fault.message for fault in found)


def test_two_versions_of_a_programme_stand_side_by_side() -> None:
    contents = real_files()
    contents["second.yaml"] = contents[R14].replace(b"version: 1", b"version: 2")
    assert check_contents(contents).faults == ()


def test_a_number_with_a_point_is_exact_and_never_a_float() -> None:
    contents, found = planted(R14, ("credits: 20,", "credits: 0.3,"), ("ects: 10", 'ects: "0.15"'))
    assert found == ()
    credit = check_contents(contents).programmes[R14].awards[1].credit
    assert credit is not None
    assert (credit.credits, credit.ects) == (Decimal("0.3"), Decimal("0.15"))


def test_what_is_not_there_is_a_fault_and_not_a_crash(tmp_path: Path) -> None:
    found = check([tmp_path / "nowhere", tmp_path, CATALOGUE]).faults
    assert [(fault.file, fault.code) for fault in found] == [
        (str(tmp_path), "unreadable"),
        (str(tmp_path / "nowhere"), "unreadable"),
    ]


def test_a_huge_file_is_refused_unread() -> None:
    def codes(size: int) -> list[str]:
        return [fault.code for fault in check_contents({"a.yaml": b"#" * size}).faults]

    assert codes(FILE_BYTES_MAX + 1) == ["file-too-large"]
    assert "file-too-large" not in codes(FILE_BYTES_MAX)


def test_a_file_is_nested_as_deep_as_the_limit_and_no_deeper() -> None:
    def codes(depth: int) -> list[str]:
        return [
            fault.code for fault in check_contents({"a.yaml": b"a: " + b"[" * (depth - 1) + b"]" * (depth - 1)}).faults
        ]

    assert codes(YAML_DEPTH_MAX + 1) == ["too-deep"]
    assert "too-deep" not in codes(YAML_DEPTH_MAX)


@pytest.mark.parametrize("bracket", [b"[", b"{a: ", b"- "])
def test_a_file_nested_without_end_is_a_fault_and_not_a_crash(bracket: bytes) -> None:
    found = check_contents({"deep.yaml": b"awards: " + bracket * 20_000}).faults
    assert found
    assert all(fault.line >= 1 for fault in found)


# The schemes as the sources tell them


def test_only_the_commissioners_course_carries_credit_and_it_is_20_at_masters_level() -> None:
    awards = [award for programme in check([CATALOGUE]).programmes.values() for award in programme.awards]
    (award,) = [award for award in awards if award.kind == "credit"]
    assert award.credit is not None
    assert award.qualification is not None
    assert (award.credit.credits, award.credit.level, award.credit.ects) == (Decimal(20), 7, Decimal(10))
    assert award.credit.transferable
    assert (award.confirmation, award.certificate) == ("board", True)
    assert (award.qualification.claim, award.qualification.credits) == ("contributes", Decimal(60))
    assert any(isinstance(node, AssessmentPassed) for node in children(award.rule))


def test_the_leadership_programme_has_the_numbers_of_its_source() -> None:
    programme = check([CATALOGUE / R1]).programmes[str(CATALOGUE / R1)]
    assert (programme.cohort.capacity, programme.cohort.waiting_list) == (26, True)
    residential = [session for session in programme.timetable if session.unit_kind == "residential-day"]
    assert (len(residential), len({session.event for session in residential})) == (8, 4)
    assert len([session for session in programme.timetable if session.event == "opening"]) == 2
    assert len(programme.modules) == 4
    rule = programme.awards[0].rule
    needed = {leaf.id: leaf.at_least for leaf in children(rule) if isinstance(leaf, Attended)}
    assert needed == {"opening": 2, "residentials": 8, "coaching": 6}
    assert len(children(children(rule)[3])) == 3
    assert all(award.kind == "completion" for award in programme.awards)


def test_mentor_plus_has_the_numbers_of_its_source() -> None:
    found = check([CATALOGUE])
    plus = found.programmes[str(CATALOGUE / R7)]
    assert plus.mentoring is not None
    assert (plus.mentoring.shortlist, plus.mentoring.choices) == (3, 1)
    assert (plus.mentoring.meetings, plus.mentoring.within_months) == (8, 12)
    standing = found.programmes[str(CATALOGUE / R7S)].award(plus.mentoring.mentor_standing.award)
    assert standing is not None
    assert [node.id for node in children(standing.rule)] == ["accreditation", "induction", "support"]
