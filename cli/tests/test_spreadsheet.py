"""Whatever a spreadsheet saves as CSV is read; what is no sheet is refused in one sentence."""

from __future__ import annotations

import csv
import io
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credence_cli import spreadsheet
from credence_cli.limits import SHEET_BYTES_MAX
from credence_cli.spreadsheet import Line, SheetUnreadable, quoted, read_lines, shown, unquoted

SHEET = "person,name\np1,Zoë\np2,Ann\n"
READ = [Line(1, ("person", "name")), Line(2, ("p1", "Zoë")), Line(3, ("p2", "Ann"))]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_spreadsheet_dialect_reads_the_same(encoding: str, delimiter: str, line_end: str) -> None:
    text = SHEET.replace(",", delimiter).replace("\n", line_end)
    assert read_lines(text.encode(encoding)) == READ


def test_utf_16_in_either_byte_order_reads_the_same() -> None:
    assert read_lines(b"\xfe\xff" + SHEET.encode("utf-16-be")) == READ
    assert read_lines(b"\xff\xfe" + SHEET.encode("utf-16-le")) == READ


def test_a_line_is_numbered_where_it_begins_also_after_quoted_cells_over_several_lines_and_blank_ones() -> None:
    text = '\nperson,note\n\np1,"came late,\nleft early\n"\n ,\t\np2,\np3,"one ""quoted"" word"\n'
    assert [(line.number, line.cells) for line in read_lines(text.encode())] == [
        (2, ("person", "note")),
        (4, ("p1", "came late,\nleft early")),
        (8, ("p2", "")),
        (9, ("p3", 'one "quoted" word')),
    ]


def test_the_delimiter_is_the_header_s_whatever_the_cells_hold_and_whatever_it_quotes() -> None:
    text = '"person; or learner, or both";name\np1;Sample, Learner\n'
    assert read_lines(text.encode())[1].cells == ("p1", "Sample, Learner")


def test_a_quote_that_is_never_closed_is_named_where_it_opens_instead_of_swallowing_the_rest() -> None:
    text = 'person,name\np1,Ann\np2,"Bob\np3,Cy\np4,Di\n'
    with pytest.raises(SheetUnreadable, match=r"^in line 3 a quote is opened that is never closed$"):
        read_lines(text.encode())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'person\n"p1"x\n', "line 2 is no CSV"),
        (b"PK\x03\x04\x00\x00", "binary data: save the sheet as CSV"),
        (SHEET.encode("utf-16-le"), "binary data"),  # without its mark it cannot be told from a workbook
        (b"person\np\x81\n", "neither UTF-8 nor Windows-1252"),
        (b"\xff\xfep", "neither UTF-8"),
        (b"person\n" + b"p" * 200_000, "line 2 is no CSV: field larger than field limit"),
    ],
)
def test_what_is_no_sheet_is_refused_in_words(content: bytes, says: str) -> None:
    with pytest.raises(SheetUnreadable, match=says):
        read_lines(content)


def test_an_empty_file_has_no_lines() -> None:
    for content in (b"", b"\n\n", b"\xef\xbb\xbf", b" , ,\n"):
        assert read_lines(content) == []


def test_a_file_beyond_the_limit_is_refused_before_it_is_looked_at() -> None:
    content = bytes(SHEET_BYTES_MAX + 1)
    tracemalloc.start()
    try:
        with pytest.raises(SheetUnreadable, match="more than 32 MiB: split it"):
            read_lines(content)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_file_of_too_many_lines_is_refused_blank_ones_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreadsheet, "SHEET_LINES_MAX", 5)
    assert len(read_lines(b"person\np1\n\n\np2\n")) == 3
    with pytest.raises(SheetUnreadable, match="more than 5 lines: split it"):
        read_lines(b"person\np1\n\n\n\np2\n")


@pytest.mark.parametrize("text", ["=1+1", "+44 20", "-5", "@cmd", "\tx", "\rx", "'=1", "''-5"])
def test_a_cell_that_a_spreadsheet_would_run_is_written_as_text_and_comes_back(text: str) -> None:
    assert quoted(text) == f"'{text}"
    assert unquoted(quoted(text)) == text


@pytest.mark.parametrize("text", ["", "'", "'t Hooft", "''", "O'Brien", "REF-001", "1-2", "'s=1"])
def test_an_ordinary_text_stays_as_it_is_apostrophes_and_all(text: str) -> None:
    assert quoted(text) == text
    assert unquoted(text) == text


@given(st.text(alphabet=st.sampled_from("'=+-@\t\r\n a1é,;\""), max_size=8) | st.text(max_size=8))
def test_quoting_is_undone_exactly_and_leaves_no_formula(text: str) -> None:
    assert unquoted(quoted(text)) == text
    assert quoted(text)[:1] not in tuple("=+-@\t\r\n")


@given(st.lists(st.lists(st.text(max_size=12), min_size=2, max_size=4), max_size=6))
def test_what_csv_writes_is_read_back_cell_by_cell(rows: list[list[str]]) -> None:
    rows = [[cell.replace("\0", "") for cell in row] for row in rows]
    text = io.StringIO()
    csv.writer(text).writerows([["first", "second"], *rows])
    written = [[unquoted(cell.strip()) for cell in row] for row in rows if any(cell.strip() for cell in row)]
    assert [list(line.cells) for line in read_lines(text.getvalue().encode("utf-8"))[1:]] == written


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-16")))
def test_any_bytes_are_lines_or_unreadable(content: bytes) -> None:
    with suppress(SheetUnreadable):
        numbers = [line.number for line in read_lines(content)]
        assert numbers == sorted(set(numbers))


@given(st.text())
def test_what_is_shown_of_a_cell_is_one_short_line_that_no_terminal_obeys(text: str) -> None:
    assert shown(text).isprintable()
    assert len(shown(text)) <= 41


def test_a_cell_that_would_move_the_cursor_is_shown_without_its_power() -> None:
    assert "\x1b" not in shown("\x1b[2J\u202eabsent")
    assert shown("Zoë 参加") == "Zoë 参加"
