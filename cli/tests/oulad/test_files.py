"""Reading: a good folder whole, a bad one with one error that names file, line and column."""

from __future__ import annotations

import re
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.tests.oulad.samples import SAMPLE, write
from credence_cli.oulad import files
from credence_cli.oulad.files import Dataset, DataUnreadable

PLACE = re.compile(
    r"(" + "|".join(re.escape(name) for name in SAMPLE) + r"), line \d+, column [^\n]+: [^\n]+", re.DOTALL
)


def read(folder: Path, **changed: str | bytes) -> Dataset:
    return files.read(write(folder / "data", **changed))


def test_a_folder_is_read_with_blank_cells_as_nothing_and_decimals_exact(tmp_path: Path) -> None:
    data = read(tmp_path)
    assert data.registrations["AAA-2013J", "5"].registered is None
    assert data.registrations["AAA-2013J", "3"].unregistered == 12
    assert data.assessments["13"].due is None
    assert data.assessments["21"].weight == Decimal("12.5")
    assert [s.score for s in data.submissions if s.assessment == "12"] == [Decimal("39.5"), Decimal(90), None]
    assert data.enrolled(data.submissions[-1]) == ("BBB-2013B", "1")
    assert data.submissions[0].where == "studentAssessment.csv:2"


def test_columns_may_come_in_any_order_with_others_beside_them_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = "\ufeffmodule_presentation_length,region,code_presentation,code_module\n268,x,2013J,AAA\n240,y,2013B,BBB\n"
    assert read(tmp_path, courses=text).courses == {
        "AAA-2013J": files.Course("courses.csv:2", "AAA", "2013J", 268),
        "BBB-2013B": files.Course("courses.csv:3", "BBB", "2013B", 240),
    }


def test_a_quoted_line_break_keeps_the_lines_that_follow_numbered_as_an_editor_numbers_them(tmp_path: Path) -> None:
    text = 'code_module,code_presentation,module_presentation_length,note\nAAA,2013J,268,"two\nlines"\nBBB,2013B,x,\n'
    with pytest.raises(DataUnreadable, match=r"^courses\.csv, line 4, column module_presentation_length: 'x' is not"):
        read(tmp_path, courses=text)


def replaced(name: str, old: str, new: str) -> dict[str, str]:
    assert old in SAMPLE[f"{name}.csv"]
    return {name: SAMPLE[f"{name}.csv"].replace(old, new, 1)}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            replaced("courses", "AAA,2013J,268", "AAA,2013J,long"),
            "courses.csv, line 2, column module_presentation_length",
        ),
        (
            replaced("courses", "AAA,2013J,268", "AAA,2013J,0"),
            "line 2, column module_presentation_length: 0 is not from 1",
        ),
        (replaced("courses", "AAA,2013J", "A A,2013J"), "courses.csv, line 2, column code_module: 'A A' is not a code"),
        (
            replaced("courses", "module_presentation_length", "length"),
            "line 1, column module_presentation_length: there is",
        ),
        (replaced("courses", "BBB,2013B,240", "AAA,2013J,240"), "line 3, column code_module: said already in line 2"),
        (
            replaced("assessments", "TMA,19,40", "Essay,19,40"),
            "assessments.csv, line 2, column assessment_type: 'Essay'",
        ),
        (
            replaced("assessments", "TMA,19,40", "TMA,19,1e2"),
            "assessments.csv, line 2, column weight: '1e2' is not a dec",
        ),
        (
            replaced("assessments", "TMA,19,40", "TMA,19,101"),
            "assessments.csv, line 2, column weight: 101 is above 100",
        ),
        (
            replaced("assessments", "BBB,2013B,21", "CCC,2013B,21"),
            "line 5, column code_presentation: there is no presen",
        ),
        (replaced("studentInfo", ",60,Fail", ",60,Failed"), "studentInfo.csv, line 3, column final_result: 'Failed'"),
        (replaced("studentInfo", "AAA,2013J,6,0,60,Fail\n", ""), "studentRegistration.csv, line 7, column id_student"),
        (
            replaced("studentInfo", "AAA,2013J,6", "AAA,2013J,7"),
            "studentInfo.csv, line 7, column id_student: not in stu",
        ),
        (replaced("studentRegistration", "-159", "-15.9"), "studentRegistration.csv, line 2, column date_registration"),
        (replaced("studentRegistration", "-159", "-99999"), "column date_registration: -99999 is not from -5000"),
        (replaced("studentRegistration", ",12\n", ",٣\n"), "line 4, column date_unregistration: '٣' is not a whole"),
        (replaced("studentAssessment", "18,0,78", "18,2,78"), "studentAssessment.csv, line 2, column is_banked: '2'"),
        (
            replaced("studentAssessment", "18,0,78", "18,0,78.00001"),
            "line 2, column score: '78.00001' is not a decimal",
        ),
        (
            replaced("studentAssessment", "11,1,18", "99,1,18"),
            "line 2, column id_assessment: there is no assessment 99",
        ),
        (replaced("studentAssessment", "21,1,19", "21,2,19"), "line 12, column id_student: not in studentRegistration"),
        (replaced("studentAssessment", "12,1,54", "11,1,54"), "line 3, column id_student: said already in line 2"),
        (replaced("studentAssessment", "18,0,78", ",0,78"), "line 2, column date_submitted: '' is not a whole number"),
        (replaced("studentAssessment", "18,0,78", "18,0"), "line 2, column is_banked: the line ends after 4 columns"),
        (replaced("studentAssessment", "18,0,78", "18,0,78,9"), "line 2, column score: the line ends after 6 columns"),
        ({"courses": ""}, "courses.csv, line 1, column code_module: there is no such column"),
        ({"courses": b"\n\x80"}, "courses.csv, line 2, column 1: a byte that is not UTF-8"),
        (
            {"courses": SAMPLE["courses.csv"].encode().replace(b"BBB", b"B\xe9B")},
            "courses.csv, line 3, column code_module",
        ),
        (
            {"courses": 'code_module,code_presentation,module_presentation_length\n"AAA,2013J,268'},
            "courses.csv, line 2",
        ),
    ],
)
def test_a_fault_names_its_file_line_and_column(tmp_path: Path, changed: dict[str, str | bytes], message: str) -> None:
    with pytest.raises(DataUnreadable) as caught:
        read(tmp_path, **changed)
    assert message in str(caught.value)
    assert PLACE.fullmatch(str(caught.value))


def test_a_missing_file_is_named_with_its_folder(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "studentInfo.csv").unlink()
    with pytest.raises(DataUnreadable, match=r"studentInfo\.csv cannot be read in .*: No such file"):
        files.read(folder)


NAMES = st.sampled_from(sorted(name.removesuffix(".csv") for name in SAMPLE))


def read_or_place(changed: dict[str, bytes]) -> None:
    """Whatever the bytes: either the folder is read, or one error says where it is wrong."""
    said = ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            files.read(write(Path(folder), **changed))
        except DataUnreadable as error:
            said = str(error)
    assert not said or PLACE.fullmatch(said), said


@given(NAMES, st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_bytes_in_any_file_are_read_or_refused_with_their_place(name: str, content: bytes) -> None:
    read_or_place({name: content})


@given(NAMES, st.data())
@settings(max_examples=250, deadline=None)
def test_any_cell_turned_into_anything_is_read_or_refused_with_its_place(name: str, data: st.DataObject) -> None:
    lines = SAMPLE[f"{name}.csv"].encode().splitlines()
    line = data.draw(st.integers(0, len(lines) - 1))
    cells = lines[line].split(b",")
    cell = data.draw(st.integers(0, len(cells) - 1))
    odd = st.sampled_from([b"", b"-1", b"1e9", b"NaN", b"\x00", b'"', b"\xff", b"99999999999", "٣".encode(), b"a,b"])
    cells[cell] = data.draw(odd | st.binary(max_size=8) | st.text(max_size=8).map(str.encode))
    lines[line] = b",".join(cells)
    read_or_place({name: b"\n".join(lines)})
