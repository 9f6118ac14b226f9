"""A partner's register, however messy, becomes the rows that were meant; what is not understood is refused by line."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credence.enrolment.v1 import attendance_pb2 as pb
from credence_cli.limits import ATTRIBUTES_CHARS_MAX, CELL_CHARS_MAX, MESSAGE_BYTES_MAX, ROWS_MAX
from credence_cli.registers import (
    COLUMNS,
    STATE_WORDS,
    Register,
    RegisterRow,
    read_register,
    value_words,
    write_template,
)
from credence_cli.spreadsheet import SheetUnreadable

EVERY_COLUMN = (
    "cohort", "session", "person", "reference", "state", "minutes", "excuse", "replaces", "reason",
    "unit", "record", "on", "scheduled_minutes", "attributes",
)  # fmt: skip
IDS = st.from_regex(r"[a-z0-9]{1,6}(-[a-z0-9]{1,6}){0,2}", fullmatch=True)


def register(*lines: str, header: str = "cohort,session,person,state,minutes,excuse,replaces,reason") -> Register:
    return read_register("\n".join((header, *lines)).encode())


def only(read: Register) -> RegisterRow:
    assert len(read.rows) == 1
    return read.rows[0]


def understood(*lines: str, header: str | None = None) -> pb.AttendanceRow:
    """The one row that these lines are."""
    row = only(register(*lines, header=header) if header else register(*lines))
    assert row.row is not None, row.faults
    return row.row


def faults(line: str, header: str | None = None) -> dict[str, str]:
    """What is wrong with this line, by column."""
    row = only(register(line, header=header) if header else register(line))
    assert row.row is None
    return dict(row.faults)


# What is understood


@pytest.mark.parametrize(
    ("written", "state"),
    [
        ("present", "present"), ("P", "present"), ("Yes", "present"), ("y", "present"), ("1", "present"),
        ("Attended", "present"), ("LATE", "late"), ("l", "late"), ("Partial", "partial"), ("part", "partial"),
        ("excused", "excused"), ("E", "excused"), ("absent", "absent"), ("A", "absent"), ("no", "absent"),
        ("N", "absent"), ("0", "absent"), ("  present ", "present"),
    ],
)  # fmt: skip
def test_words_and_letters_for_a_state_are_understood(written: str, state: str) -> None:
    assert STATE_WORDS[understood(f"c1,s1,p1,{written},,,,").value.state] == state


@pytest.mark.parametrize(("written", "minutes"), [("90", 90), ("90.0", 90), (" 90 ", 90), ("090", 90), ("", 0)])
def test_minutes_are_read_as_spreadsheets_write_them(written: str, minutes: int) -> None:
    assert understood(f"c1,s1,p1,partial,{written},,,").value.minutes == minutes


@pytest.mark.parametrize(
    "written", ["2024-10-31", "31/10/2024", "31.10.2024", "31-10-2024", "31 Oct 2024", "31 October 2024"]
)
def test_a_date_is_read_as_the_british_write_it(written: str) -> None:
    row = understood(f"c1,p1,present,coaching,k1,{written}", header="cohort,person,state,unit,record,on")
    assert row.unscheduled.on == "2024-10-31"


def test_the_day_comes_first_in_a_date_with_slashes() -> None:
    row = understood("c1,p1,present,coaching,k1,03/04/2024", header="cohort,person,state,unit,record,on")
    assert date.fromisoformat(row.unscheduled.on) == date(2024, 4, 3)


def test_ids_are_lowercased_and_a_reference_is_left_as_the_provider_writes_it() -> None:
    row = understood("C1,S1,,Ref-007,present", header="cohort,session,person,reference,state")
    assert (row.cohort_id, row.session_id, row.person_id, row.learner_reference) == ("c1", "s1", "", "Ref-007")


def test_a_person_s_id_goes_before_the_reference_since_one_of_the_two_names_the_learner() -> None:
    row = understood("c1,s1,p1,REF-1,present", header="cohort,session,person,reference,state")
    assert (row.person_id, row.learner_reference) == ("p1", "")


@pytest.mark.parametrize(
    "header",
    [
        "Cohort ID;Session-ID;Learner;Attendance",
        "course;session;PERSON_ID;Mark",
        '"Cohort";" session id ";"Learner ID";"Status"',
    ],
)
def test_columns_go_by_the_names_that_partners_give_them(header: str) -> None:
    row = understood("c1;s1;p1;p", header=header)
    assert (row.cohort_id, row.session_id, row.person_id) == ("c1", "s1", "p1")


def test_a_unit_that_the_row_creates_has_its_day_length_and_attributes() -> None:
    row = understood(
        'c1,p1,present,Shadowing,R1,2024-10-31,"Sector=Public; setting=ward",60.0',
        header="cohort,person,state,unit,record,on,attributes,scheduled_minutes",
    )
    assert row.unscheduled == pb.UnscheduledUnit(
        unit_kind="shadowing",
        record_id="r1",
        on="2024-10-31",
        attributes={"sector": "public", "setting": "ward"},
        minutes=60,
    )
    assert row.session_id == ""


def test_a_correction_names_what_it_replaces_and_why() -> None:
    row = understood("c1,s1,p1,absent,,,7.0,Wrong-Learner")
    assert (row.replaces, row.reason_code) == (7, "wrong-learner")


def test_missing_cells_at_the_end_of_a_line_are_empty_ones() -> None:
    assert understood("c1,s1,p1,present") == understood("c1,s1,p1,present,,,,")


def test_blank_cells_beyond_the_last_column_do_no_harm() -> None:
    assert understood("c1,s1,p1,present,,,,,, ,") == understood("c1,s1,p1,present,,,,")


# What marks nobody


def test_unmarked_is_never_posted_and_not_absent() -> None:
    read = register("c1,s1,p1,,,,,", "c1,s1,p2,  ,90,illness,,", ",,,,,,,", "c1,s1,p3,present,,,,", "")
    assert [row.row.person_id for row in read.rows if row.row] == ["p3"]
    assert read.blank == 2


def test_a_correction_without_a_state_is_not_passed_over_as_unmarked() -> None:
    assert "state" in faults("c1,s1,p1,,,,3,wrong-learner")


# What is refused, each line alone


def test_a_bad_line_spoils_no_other_and_is_told_with_its_own_number() -> None:
    read = register(
        'c1,s1,p1,present,,"one\nof three\nlines",,',
        "c1,s1,p2,maybe,,,,",
        "",
        "c1,s1,p3,present,,,,",
        "c1,s1,p4,partial,ninety,,soon,",
        "c1,s1,p5,present,,,,,,one too many",
    )
    assert [(row.line, row.row is not None) for row in read.rows] == [
        (2, True),
        (5, False),
        (7, True),
        (8, False),
        (9, False),
    ]
    assert [dict(row.faults).keys() for row in read.rows if row.faults] == [
        {"state"},
        {"minutes", "replaces"},
        {"line"},
    ]
    assert read.rows[1].label == "line 5: s1 p2 maybe"


@pytest.mark.parametrize("written", ["-5", "1.5", "1e3", "ninety", "9 0", "٩٠", "1,000", str(2**32), "9" * 30])
def test_minutes_that_are_no_whole_number_are_refused(written: str) -> None:
    assert "is not a whole number from 0" in faults(f'c1,s1,p1,partial,"{written}",,,')["minutes"]


@pytest.mark.parametrize("written", ["31/31/2024", "30 Feb 2024", "10/31/2024", "today", "2024-10", "45596"])
def test_a_day_that_does_not_exist_is_refused(written: str) -> None:
    header = "cohort,person,state,unit,record,on"
    assert "is not a date like 2024-10-31" in faults(f"c1,p1,present,coaching,k1,{written}", header)["on"]


def test_attributes_without_a_value_are_refused() -> None:
    header = "cohort,person,state,unit,record,attributes"
    assert faults("c1,p1,present,shadowing,k1,public", header) == {"attributes": "write them like sector=public"}


def test_every_fault_of_a_line_is_told_at_once() -> None:
    header = ",".join(EVERY_COLUMN)
    found = faults("c1,,p1,,maybe,x,,y,,coaching,k1,z,w,v", header)
    assert found.keys() == {"state", "minutes", "replaces", "on", "scheduled_minutes", "attributes"}


def test_a_cell_that_is_too_long_spoils_its_line_and_not_the_batch_that_carries_it() -> None:
    read = register(f"c1,s1,p1,present,,{'x' * (CELL_CHARS_MAX + 1)},,", "c1,s1,p2,present,,,,")
    assert dict(read.rows[0].faults) == {"excuse": "has 101 characters: at most 100 are taken"}
    assert read.rows[1].row is not None


def test_a_full_batch_of_the_longest_cells_fits_into_one_message() -> None:
    longest = dict.fromkeys(EVERY_COLUMN, "\N{GRINNING FACE}" * CELL_CHARS_MAX)
    longest |= {
        "state": "partial", "minutes": str(2**32 - 1), "replaces": str(2**64 - 1), "on": "2024-10-31",
        "scheduled_minutes": str(2**32 - 1), "attributes": "a=" + "\N{GRINNING FACE}" * (ATTRIBUTES_CHARS_MAX - 2),
    }  # fmt: skip
    row = understood(",".join(longest[column] for column in EVERY_COLUMN), header=",".join(EVERY_COLUMN))
    request = pb.PostAttendanceRequest(provider_id="x" * 64, rows=[row] * ROWS_MAX)
    assert request.ByteSize() < MESSAGE_BYTES_MAX


def test_a_label_is_one_short_line_that_no_terminal_obeys() -> None:
    label = only(register(f'c1,"s\x1b[2J",{"p" * 90},maybe,,,,')).label
    assert label.isprintable()
    assert len(label) < 100


# The file as a whole


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("cohort,session,person", "missing: state"),
        ("session,person,state", "missing: cohort"),
        ("cohort,session,state", "missing: person or reference"),
        ("cohort,person,state", r"missing: session \(or unit and record\)"),
        ("cohort,person,state,unit", r"missing: session \(or unit and record\)"),
        ("one,two", "missing: cohort, state, person or reference, session"),
        ("cohort,session,person,Learner ID,state", "two columns mean person"),
        ("cohort,session,person,state,status,mark,minutes,mins", "two columns mean minutes, state"),
    ],
)
def test_a_header_without_the_columns_it_needs_once_each_is_refused_naming_them(header: str, says: str) -> None:
    with pytest.raises(SheetUnreadable, match=says):
        read_register(f"{header}\nx,y,z\n".encode())


def test_an_empty_file_says_where_to_get_a_register() -> None:
    with pytest.raises(SheetUnreadable, match=r"the file is empty: get one .* `credence attendance template`"):
        read_register(b"\n")


def test_columns_without_a_meaning_are_named_and_passed_over_those_for_the_eye_are_not_named() -> None:
    header = "cohort,session,session_title,person,name,state,Mood,参加,,current,current_version"
    read = register("c1,s1,Day one,p1,Sample Learner,present,good,?,,absent,3", header=header)
    assert read.ignored_columns == ("Mood", "参加")
    row = only(read).row
    assert row is not None
    assert row.replaces == 0


# The template and the way back


def template_row(reference: str = "", current: pb.StandingValue | None = None) -> pb.TemplateRow:
    return pb.TemplateRow(
        cohort_id="c1",
        session_id="s1",
        person_id="p1",
        on="2024-10-31",
        minutes=180,
        learner_reference=reference,
        current=current,
    )


def filled_in(text: str, state: str) -> bytes:
    """The template as it comes back: every line marked, saved by a spreadsheet."""
    header, *lines = list(csv.reader(io.StringIO(text, newline="")))
    at = header.index("state")
    back = io.StringIO()
    writer = csv.writer(back, delimiter=";", lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([*line[:at], state, *line[at + 1 :]] for line in lines)
    return back.getvalue().encode("utf-8-sig")


def test_the_template_as_it_is_marks_nobody() -> None:
    current = pb.StandingValue(value=pb.AttendanceValue(state=pb.ATTENDANCE_STATE_LATE), version=4)
    read = read_register(write_template([template_row(), template_row(current=current)]).encode())
    assert (read.rows, read.blank, read.ignored_columns) == ((), 2, ())


def test_a_line_break_of_any_kind_in_a_title_breaks_no_line_of_the_template() -> None:
    rows = [pb.TemplateRow(cohort_id="c1", session_id="s1", person_id="p1", session_title="Day\rone\r\ntwo\nthree")]
    posted = only(read_register(filled_in(write_template(rows), "present"))).row
    assert posted is not None
    assert (posted.session_id, posted.person_id) == ("s1", "p1")


def test_the_template_shows_what_stands_and_its_version() -> None:
    value = pb.AttendanceValue(state=pb.ATTENDANCE_STATE_PARTIAL, minutes=90)
    text = write_template([template_row(current=pb.StandingValue(value=value, version=4))])
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert text.splitlines()[1].endswith(",partial 90 min,4")


@pytest.mark.parametrize("reference", ["=1+1", "-5", "+44", "@x", "'=1", "'t Hooft", "007", 'a"b', "a;b,c", "Zoë"])
def test_a_provider_s_reference_survives_template_and_spreadsheet_and_runs_in_none(reference: str) -> None:
    text = write_template([template_row(reference)]).replace(",p1,", ",,")
    assert ",=" not in text
    assert ",-" not in text
    row = only(read_register(filled_in(text, "present"))).row
    assert row is not None
    assert row.learner_reference == reference


@given(
    st.lists(st.tuples(IDS, IDS, IDS, st.text(max_size=20).map(str.strip).filter(lambda t: "\0" not in t)), max_size=6),
    st.sampled_from(list(STATE_WORDS.values())),
)
def test_a_filled_template_posts_the_ids_it_was_written_with(rows: list[tuple[str, str, str, str]], state: str) -> None:
    template = [
        pb.TemplateRow(cohort_id=c, session_id=s, person_id=p, session_title=title, learner_reference=title)
        for c, s, p, title in rows
    ]
    read = read_register(filled_in(write_template(template), state))
    posted = [row.row for row in read.rows if row.row is not None]
    assert [(row.cohort_id, row.session_id, row.person_id) for row in posted] == [row[:3] for row in rows]
    assert all(STATE_WORDS[row.value.state] == state for row in posted)


# Whatever comes


CELLS = st.text(max_size=15) | st.sampled_from(
    ["present", "p", "90.0", "31/10/2024", "=1", "sector=public", "a=b=c;,", "-1", "1e9", "", "s1", "p1", "'", '"']
)


@given(
    st.permutations(EVERY_COLUMN),
    st.lists(st.lists(CELLS, max_size=len(EVERY_COLUMN) + 2), max_size=5),
    st.sampled_from([",", ";", "\t"]),
)
def test_any_cells_are_rows_or_faults_that_name_a_column(
    columns: list[str], rows: list[list[str]], delimiter: str
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(columns)
    writer.writerows([[cell.replace("\0", "") for cell in row] for row in rows])
    read = read_register(text.getvalue().encode())
    for row in read.rows:
        assert (row.row is None) == bool(row.faults)
        assert {column for column, _ in row.faults} <= {*EVERY_COLUMN, "line"}
        assert row.label.isprintable()
        if row.row is not None:
            assert row.row.value.state or row.row.replaces
            assert pb.AttendanceRow.FromString(row.row.SerializeToString()) == row.row


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"cohort,session,person,state\n" + rest))
def test_any_bytes_are_a_register_or_unreadable(content: bytes) -> None:
    with suppress(SheetUnreadable):
        assert isinstance(read_register(content), Register)


def test_a_value_is_told_in_words() -> None:
    excused = pb.AttendanceValue(state=pb.ATTENDANCE_STATE_EXCUSED, excuse_code="illness")
    assert value_words(excused) == "excused (illness)"
    assert value_words(pb.AttendanceValue()) == "nothing"
