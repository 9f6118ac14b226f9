"""A partner's register as a file: messy CSV in, rows for the contract out, every fault with its line.

What spreadsheets do to a CSV is read without complaint: byte-order marks, semicolons or tabs, quotes, blank lines,
Windows-1252, words and letters for states, British dates. What is not understood is refused by line, alone.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from credence.enrolment.v1 import attendance_pb2 as pb

COLUMNS = (
    "cohort",
    "session",
    "session_title",
    "on",
    "scheduled_minutes",
    "person",
    "reference",
    "state",
    "minutes",
    "excuse",
    "replaces",
    "reason",
    "current",
    "current_version",
)
BYTES_MAX = 32 * 1024 * 1024
LINES_MAX = 200_000

# Column names as partners write them, without case, spaces and punctuation.
_ALIASES = {
    "cohort": "cohort", "cohortid": "cohort", "course": "cohort",
    "session": "session", "sessionid": "session",
    "person": "person", "personid": "person", "learner": "person", "learnerid": "person",
    "reference": "reference", "ref": "reference", "learnerreference": "reference", "yourreference": "reference",
    "state": "state", "status": "state", "attendance": "state", "mark": "state",
    "minutes": "minutes", "mins": "minutes", "minutesattended": "minutes",
    "excuse": "excuse", "excusecode": "excuse",
    "replaces": "replaces",
    "reason": "reason", "reasoncode": "reason",
    "unit": "unit", "unitkind": "unit",
    "record": "record", "recordid": "record",
    "on": "on", "date": "on",
    "attributes": "attributes",
}  # fmt: skip
# Of the template, for the eye only; and the length of a unit that the row creates.
_SHOWN = {"sessiontitle", "scheduledminutes", "current", "currentversion", "name"}
_STATES = {
    "present": pb.ATTENDANCE_STATE_PRESENT, "p": pb.ATTENDANCE_STATE_PRESENT, "yes": pb.ATTENDANCE_STATE_PRESENT,
    "y": pb.ATTENDANCE_STATE_PRESENT, "attended": pb.ATTENDANCE_STATE_PRESENT, "1": pb.ATTENDANCE_STATE_PRESENT,
    "late": pb.ATTENDANCE_STATE_LATE, "l": pb.ATTENDANCE_STATE_LATE,
    "partial": pb.ATTENDANCE_STATE_PARTIAL, "part": pb.ATTENDANCE_STATE_PARTIAL,
    "excused": pb.ATTENDANCE_STATE_EXCUSED, "e": pb.ATTENDANCE_STATE_EXCUSED,
    "absent": pb.ATTENDANCE_STATE_ABSENT, "a": pb.ATTENDANCE_STATE_ABSENT, "no": pb.ATTENDANCE_STATE_ABSENT,
    "n": pb.ATTENDANCE_STATE_ABSENT, "0": pb.ATTENDANCE_STATE_ABSENT,
}  # fmt: skip
STATE_WORDS = {
    pb.ATTENDANCE_STATE_PRESENT: "present",
    pb.ATTENDANCE_STATE_LATE: "late",
    pb.ATTENDANCE_STATE_PARTIAL: "partial",
    pb.ATTENDANCE_STATE_EXCUSED: "excused",
    pb.ATTENDANCE_STATE_ABSENT: "absent",
}
_DATES = ("%Y-%m-%d", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d %b %Y", "%d %B %Y")
_UINT64_MAX = 2**64 - 1
_UINT32_MAX = 2**32 - 1


class RegisterUnreadable(ValueError):
    """The file as a whole is no register; the message says what to mend."""


@dataclass(frozen=True)
class RegisterRow:
    """A line as understood: a row to post, or the faults (column, what is wrong) that keep it from being posted."""

    line: int
    label: str
    row: pb.AttendanceRow | None
    faults: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Register:
    """`blank` counts lines that mark nobody: unmarked is not absent, so they are not posted."""

    rows: tuple[RegisterRow, ...]
    blank: int
    ignored_columns: tuple[str, ...]


def read_register(content: bytes) -> Register:
    """Reads a register. Raises RegisterUnreadable for a file that is none; a bad line spoils itself only."""
    if len(content) > BYTES_MAX:
        raise RegisterUnreadable(f"the file has {len(content)} bytes; at most {BYTES_MAX} are read: split it")
    lines = list(_lines(_text(content)))
    if not lines:
        raise RegisterUnreadable("the file is empty: get one to fill in with `credence attendance template`")
    header = [_squeeze(name) for name in lines[0][1]]
    columns = [_ALIASES.get(name) for name in header]
    known = [c for c in columns if c is not None]
    if twice := sorted({c for c in known if known.count(c) > 1}):
        raise RegisterUnreadable(f"two columns mean {', '.join(twice)}: leave one of them")
    missing = [c for c in ("cohort", "state") if c not in known]
    if not {"person", "reference"} & set(known):
        missing.append("person or reference")
    if not ({"session"} & set(known) or {"unit", "record"} <= set(known)):
        missing.append("session (or unit and record)")
    if missing:
        raise RegisterUnreadable(
            f"the first line must name the columns; missing: {', '.join(missing)}. "
            "Get a register to fill in with `credence attendance template`"
        )
    rows, blank = list[RegisterRow](), 0
    for line, cells in lines[1:]:
        row = _row(line, columns, cells)
        if row is None:
            blank += 1
        else:
            rows.append(row)
    ignored = tuple(
        name.strip() for name, squeezed in zip(lines[0][1], header, strict=True)
        if squeezed not in _ALIASES and squeezed not in _SHOWN and squeezed
    )  # fmt: skip
    return Register(tuple(rows), blank, ignored)


def write_template(rows: Iterable[pb.TemplateRow]) -> str:
    """The register to fill in, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        current = row.current if row.HasField("current") else None
        writer.writerow(
            _harmless(cell)
            for cell in (
                row.cohort_id, row.session_id, row.session_title, row.on, row.minutes, row.person_id,
                row.learner_reference, "", "", "", "", "",
                value_words(current.value) if current else "", current.version if current else "",
            )
        )  # fmt: skip
    return text.getvalue()


def value_words(value: pb.AttendanceValue) -> str:
    """ "partial 90 min", "excused (illness)"."""
    words = STATE_WORDS.get(value.state, "nothing")
    if value.minutes:
        words += f" {value.minutes} min"
    return words + (f" ({value.excuse_code})" if value.excuse_code else "")


def _harmless(cell: object) -> str:
    """A text that a spreadsheet would run as a formula is quoted as text (CSV injection)."""
    text = str(cell)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text


def _text(content: bytes) -> str:
    encodings = ["utf-16"] if content.startswith((b"\xff\xfe", b"\xfe\xff")) else ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise RegisterUnreadable("the file is neither UTF-8 nor Windows-1252 text: save it as CSV (UTF-8)")


def _lines(text: str) -> Iterable[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not blank."""
    if "\0" in text:
        raise RegisterUnreadable("the file holds binary data: save the sheet as CSV, not as a workbook")
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for cells in reader:
            if reader.line_num > LINES_MAX:
                raise RegisterUnreadable(f"the file has more than {LINES_MAX} lines: split it")
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise RegisterUnreadable(f"line {reader.line_num} is no CSV: {error}") from error


def _squeeze(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@dataclass
class _Line:
    cells: Mapping[str, str]
    faults: list[tuple[str, str]] = field(default_factory=list)

    def get(self, column: str) -> str:
        # What `_harmless` wrote comes back as it was.
        return self.cells.get(column, "").removeprefix("'")

    def id(self, column: str) -> str:
        return self.get(column).lower()

    def whole(self, column: str, maximum: int) -> int:
        text = self.get(column)
        if not text:
            return 0
        # Spreadsheets write 90 as 90.0.
        digits = re.fullmatch(r"(\d{1,20})(\.0+)?", text, re.ASCII)
        if digits is None or int(digits[1]) > maximum:
            self.faults.append((column, f"{text[:20]!r} is not a whole number"))
            return 0
        return int(digits[1])

    def day(self, column: str) -> str:
        text = self.get(column)
        for pattern in _DATES if text else ():
            try:
                return datetime.strptime(text, pattern).date().isoformat()  # noqa: DTZ007 (a civil date)
            except ValueError:
                continue
        if text:
            self.faults.append((column, f"{text[:20]!r} is not a date like {date(2024, 10, 31)}"))
        return ""

    def state(self) -> pb.AttendanceState.ValueType:
        text = self.get("state").lower()
        if text in _STATES:
            return _STATES[text]
        words = ", ".join(STATE_WORDS.values())
        self.faults.append(("state", f"{text[:20]!r} is none of {words}"))
        return pb.ATTENDANCE_STATE_UNSPECIFIED

    def attributes(self) -> dict[str, str]:
        """ "sector=public; setting=ward"."""
        pairs = [p.split("=", 1) for p in re.split(r"[;,]", self.get("attributes")) if p.strip()]
        if any(len(p) != 2 for p in pairs):
            self.faults.append(("attributes", "write them like sector=public"))
            return {}
        return {name.strip().lower(): value.strip().lower() for name, value in pairs}


def _row(line: int, columns: Sequence[str | None], cells: Sequence[str]) -> RegisterRow | None:
    if len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
        extra = len(cells) - len(columns)
        return RegisterRow(line, f"line {line}", None, (("line", f"has {extra} cells more than there are columns"),))
    named = {column: cell.strip() for column, cell in zip(columns, cells, strict=False) if column}
    read = _Line(named)
    if not read.get("state") and not read.get("replaces"):
        return None
    who = read.get("person") or read.get("reference") or "nobody"
    what = read.get("session") or f"{read.get('unit')} {read.get('record')}".strip() or "no session"
    label = f"line {line}: {what} {who} {read.get('state')}".rstrip()
    row = pb.AttendanceRow(
        cohort_id=read.id("cohort"),
        person_id=read.id("person"),
        learner_reference="" if read.get("person") else read.get("reference"),
        session_id=read.id("session"),
        value=pb.AttendanceValue(
            state=read.state(), minutes=read.whole("minutes", _UINT32_MAX), excuse_code=read.id("excuse")
        ),
        replaces=read.whole("replaces", _UINT64_MAX),
        reason_code=read.id("reason"),
    )
    if read.get("unit"):
        row.unscheduled.unit_kind = read.id("unit")
        row.unscheduled.record_id = read.id("record")
        row.unscheduled.on = read.day("on")
        row.unscheduled.attributes.update(read.attributes())
    if read.faults:
        return RegisterRow(line, label, None, tuple(read.faults))
    return RegisterRow(line, label, row)
