"""A partner's register: lines of a spreadsheet in, rows for the contract out, every fault with its line.

Words and letters for states, British dates, numbers like 90.0 and columns under other names are understood. What is
not is refused by line, alone.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from credence.enrolment.v1 import attendance_pb2 as pb
from credence_cli.contract import UINT32_MAX, UINT64_MAX
from credence_cli.limits import ATTRIBUTES_CHARS_MAX, CELL_CHARS_MAX
from credence_cli.spreadsheet import Line, SheetUnreadable, columns_of, quoted, read_lines, shown, squeezed

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
    "scheduledminutes": "scheduled_minutes",
    "attributes": "attributes",
}  # fmt: skip
# In the template for the eye only.
_FOR_THE_EYE = {"sessiontitle", "current", "currentversion", "name"}
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
    """Reads a register. Raises SheetUnreadable for a file that is none; a bad line spoils itself only."""
    lines = read_lines(content)
    if not lines:
        raise SheetUnreadable("the file is empty: get one to fill in with `credence attendance template`")
    header, *body = lines
    columns = columns_of(header, _ALIASES)
    _check_columns(columns)
    read = [_row(columns, line) for line in body]
    rows = tuple(row for row in read if row is not None)
    ignored = tuple(
        shown(cell) for cell, column in zip(header.cells, columns, strict=True)
        if cell and column is None and squeezed(cell) not in _FOR_THE_EYE
    )  # fmt: skip
    return Register(rows, len(read) - len(rows), ignored)


def write_template(rows: Iterable[pb.TemplateRow]) -> str:
    """The register to fill in, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        current = row.current if row.HasField("current") else None
        writer.writerow(
            # A carriage return ends a line for whoever reads this, and the writer leaves it without quotes.
            quoted(str(cell).replace("\r\n", "\n").replace("\r", "\n"))
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


def _check_columns(columns: Sequence[str | None]) -> None:
    missing = [column for column in ("cohort", "state") if column not in columns]
    if not ("person" in columns or "reference" in columns):
        missing.append("person or reference")
    if not ("session" in columns or {"unit", "record"} <= set(columns)):
        missing.append("session (or unit and record)")
    if missing:
        raise SheetUnreadable(
            f"the first line must name the columns; missing: {', '.join(missing)}. "
            "Get a register to fill in with `credence attendance template`"
        )


def _row(columns: Sequence[str | None], line: Line) -> RegisterRow | None:
    """None for a line that marks nobody."""
    if any(line.cells[len(columns) :]):
        fault = ("line", "has more cells than there are columns")
        return RegisterRow(line.number, f"line {line.number}", None, (fault,))
    cells = _Cells({column: cell for column, cell in zip(columns, line.cells, strict=False) if column})
    if not cells.text("state") and not cells.text("replaces"):
        return None
    row = cells.row()
    label = f"line {line.number}: {cells.label()}"
    return RegisterRow(line.number, label, None if cells.faults else row, tuple(cells.faults))


@dataclass
class _Cells:
    """One line's cells by what their columns mean. Reading one that cannot be understood notes the fault."""

    named: Mapping[str, str]
    faults: list[tuple[str, str]] = field(default_factory=list)

    def row(self) -> pb.AttendanceRow:
        """The line as the contract has it; of no use if there are faults."""
        self._check_lengths()
        row = pb.AttendanceRow(
            cohort_id=self.id("cohort"),
            person_id=self.id("person"),
            learner_reference="" if self.text("person") else self.text("reference"),
            session_id=self.id("session"),
            value=pb.AttendanceValue(
                state=self.state(), minutes=self.whole("minutes", UINT32_MAX), excuse_code=self.id("excuse")
            ),
            replaces=self.whole("replaces", UINT64_MAX),
            reason_code=self.id("reason"),
        )
        if self.text("unit"):
            row.unscheduled.unit_kind = self.id("unit")
            row.unscheduled.record_id = self.id("record")
            row.unscheduled.on = self.day("on")
            row.unscheduled.minutes = self.whole("scheduled_minutes", UINT32_MAX)
            row.unscheduled.attributes.update(self.attributes())
        return row

    def label(self) -> str:
        """ "s1 sample-1 present": what, who, and what was said of them."""
        who = self.text("person") or self.text("reference") or "nobody"
        what = self.text("session") or f"{self.text('unit')} {self.text('record')}".strip() or "no session"
        return " ".join(shown(part) for part in (what, who, self.text("state")) if part)

    def text(self, column: str) -> str:
        return self.named.get(column, "")

    def id(self, column: str) -> str:
        return self.text(column).lower()

    def whole(self, column: str, most: int) -> int:
        text = self.text(column)
        if not text:
            return 0
        # Spreadsheets write 90 as 90.0.
        digits = re.fullmatch(r"(\d{1,20})(\.0+)?", text, re.ASCII)
        if digits is None or int(digits[1]) > most:
            self.faults.append((column, f"'{shown(text)}' is not a whole number from 0 to {most}"))
            return 0
        return int(digits[1])

    def day(self, column: str) -> str:
        text = self.text(column)
        for pattern in _DATES if text else ():
            try:
                return datetime.strptime(text, pattern).date().isoformat()  # noqa: DTZ007 (a civil date)
            except ValueError:
                continue
        if text:
            self.faults.append((column, f"'{shown(text)}' is not a date like {date(2024, 10, 31)}"))
        return ""

    def state(self) -> pb.AttendanceState.ValueType:
        text = self.text("state")
        if text.lower() in _STATES:
            return _STATES[text.lower()]
        self.faults.append(("state", f"'{shown(text)}' is none of {', '.join(STATE_WORDS.values())}"))
        return pb.ATTENDANCE_STATE_UNSPECIFIED

    def attributes(self) -> dict[str, str]:
        """ "sector=public; setting=ward"."""
        pairs = [pair.split("=", 1) for pair in re.split(r"[;,]", self.text("attributes")) if pair.strip()]
        if any(len(pair) != 2 for pair in pairs):
            self.faults.append(("attributes", "write them like sector=public"))
            return {}
        return {name.strip().lower(): value.strip().lower() for name, value in pairs}

    def _check_lengths(self) -> None:
        for column, text in self.named.items():
            most = ATTRIBUTES_CHARS_MAX if column == "attributes" else CELL_CHARS_MAX
            if len(text) > most:
                self.faults.append((column, f"has {len(text)} characters: at most {most} are taken"))
