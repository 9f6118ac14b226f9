"""What spreadsheets save as CSV, read without complaint, and what is safe to give to one.

Byte-order marks, UTF-16, Windows-1252, semicolons and tabs, quoted cells over several lines, blank lines: all of that
is a file that somebody filled in honestly. What cannot be read as a sheet at all is refused whole, before anything of
it is understood wrongly: after a quote that is never closed, every later line would look like part of one cell.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from credence_cli.limits import SHEET_BYTES_MAX, SHEET_LINES_MAX, SHOWN_CHARS_MAX

_DELIMITERS = ",;\t"
# A spreadsheet runs a cell that begins so. An apostrophe before it says that it is text; one more says so of a text
# that itself begins with apostrophes before such a sign.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_QUOTED_FORMULA = re.compile(r"'+[=+\-@\t\r\n]")


class SheetUnreadable(ValueError):
    """The file as a whole is of no use; the message says what to mend."""


@dataclass(frozen=True)
class Line:
    """A line that is not blank. `number` counts from 1, as an editor does, to where it begins; cells are stripped."""

    number: int
    cells: tuple[str, ...]


def read_lines(content: bytes) -> list[Line]:
    """The lines of a CSV file, without blank ones. Raises SheetUnreadable."""
    if len(content) > SHEET_BYTES_MAX:
        raise SheetUnreadable(f"the file has more than {SHEET_BYTES_MAX >> 20} MiB: split it")
    text = _decoded(content)
    if "\0" in text:
        raise SheetUnreadable("the file holds binary data: save the sheet as CSV, not as a workbook")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    found, begins = list[Line](), 1
    try:
        for cells in reader:
            if reader.line_num > SHEET_LINES_MAX:
                raise SheetUnreadable(f"the file has more than {SHEET_LINES_MAX} lines: split it")
            if any(cell.strip() for cell in cells):
                found.append(Line(begins, tuple(unquoted(cell.strip()) for cell in cells)))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise SheetUnreadable(_not_csv(begins, str(error))) from error
    return found


def squeezed(name: str) -> str:
    """A column's name as people write it, without case, spaces and punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def columns_of(header: Line, names: Mapping[str, str]) -> tuple[str | None, ...]:
    """What each column means, None where that is nothing; `names` are known ones, squeezed.

    Raises SheetUnreadable where two mean the same.
    """
    columns = tuple(names.get(squeezed(cell)) for cell in header.cells)
    times = Counter(column for column in columns if column)
    if twice := sorted(column for column, found in times.items() if found > 1):
        raise SheetUnreadable(f"two columns mean {', '.join(twice)}: leave one of them")
    return columns


def quoted(cell: object) -> str:
    """The cell as a text that no spreadsheet runs as a formula (CSV injection); `unquoted` gives it back."""
    text = str(cell)
    return f"'{text}" if _FORMULA.match(text) else text


def unquoted(text: str) -> str:
    """What `quoted` was given."""
    return text[1:] if _QUOTED_FORMULA.match(text) else text


def shown(text: str) -> str:
    """A cell as part of a message: short, on one line, without what a terminal would obey."""
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:SHOWN_CHARS_MAX])
    return f"{visible}…" if len(text) > SHOWN_CHARS_MAX else visible


def _decoded(content: bytes) -> str:
    encodings = ["utf-16"] if content.startswith((b"\xff\xfe", b"\xfe\xff")) else ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise SheetUnreadable("the file is neither UTF-8 nor Windows-1252 text: save it as CSV (UTF-8)")


def _delimiter(text: str) -> str:
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    outside_quotes = re.sub(r'"[^"]*"?', "", first)
    return max(_DELIMITERS, key=outside_quotes.count)


def _not_csv(line: int, error: str) -> str:
    if "unexpected end" in error:
        return f"in line {line} a quote is opened that is never closed"
    return f"line {line} is no CSV: {error}"
