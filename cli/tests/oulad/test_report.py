"""What is said of an import: the report of rows not taken, the summary, plain progress, and the command's exits."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from cli.tests.oulad.in_memory import Platform, imported, planned, reconciled
from cli.tests.oulad.samples import SAMPLE, write
from credence_cli.commands import imports
from credence_cli.commands.imports import app
from credence_cli.exits import CommandFailed, Exit
from credence_cli.oulad import files, oddities, report
from credence_cli.oulad.importer import Imported
from credence_cli.progress import Meter, Report


async def test_the_report_lists_every_row_not_taken_with_its_line_and_why(tmp_path: Path) -> None:
    made = planned(write(tmp_path / "data"))
    done = await imported(Platform(), made)
    path = tmp_path / "report.csv"
    count = report.write(path, made.left_out, done.refused, None)
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert count == len(rows) == len(made.left_out)
    assert {
        "category": "withdrawals",
        "row": "studentInfo.csv:5 aaa-2013j/s4",
        "code": "no-withdrawal-date",
        "message": "withdrawn, and the register has no date: the enrolment stays as it was",
    } in rows


async def test_the_report_lists_a_conflict_and_the_difference_it_leaves(tmp_path: Path) -> None:
    platform = Platform()
    await imported(platform, planned(write(tmp_path / "data")))
    scores = SAMPLE["studentAssessment.csv"].replace("11,2,22,0,40", "11,2,22,0,41")
    other = planned(write(tmp_path / "other", studentAssessment=scores))
    done = await imported(platform, other)
    compared = await reconciled(platform, other, done)
    path = tmp_path / "report.csv"
    report.write(path, (), done.refused, compared)
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [(row["category"], row["row"], row["code"]) for row in csv.DictReader(stream)]
    assert rows == [
        ("results", "studentAssessment.csv:5 aaa-2013j/s2/11", "id-reused"),
        ("results", "aaa-2013j/s2/11", "unexplained"),
    ]


def test_a_report_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="cannot be written: No such file") as caught:
        report.write(tmp_path / "nowhere" / "report.csv", (), (), None)
    assert caught.value.exit_code is Exit.USAGE


async def test_the_json_summary_counts_by_category_and_code(tmp_path: Path) -> None:
    data = files.read(write(tmp_path))
    made, platform = planned(tmp_path), Platform()
    done = await imported(platform, made)
    compared = await reconciled(platform, made, done)
    summary = json.loads(json.dumps(report.as_data(done, made.left_out, oddities.count(data), compared)))
    assert summary["rows"]["enrolments"]["stored"] == 6
    assert summary["left_out"]["results"] == {"no-enrolment": 3}
    assert summary["oddities"]["registrations-without-date"] == 1
    by_name = {each["category"]: each for each in summary["reconciled"]["categories"]}
    assert by_name["withdrawals"]["not_taken"] == {"no-withdrawal-date": 1}
    assert summary["reconciled"]["unexplained"] == 0


def test_progress_where_there_is_no_terminal_is_one_plain_line_at_the_end() -> None:
    text = io.StringIO()
    with Report(Console(file=text)).meter("results", 3) as meter:
        meter.advance(2)
        meter.advance(1, already=1)
    (line,) = text.getvalue().splitlines()
    assert line.startswith("results: 3/3, ")
    assert "/s, 1 there already, " in line


def test_progress_at_a_terminal_draws_a_bar() -> None:
    text = io.StringIO()
    with Report(Console(file=text, force_terminal=True, width=120)).meter("results", 3) as meter:
        meter.advance(3)
    assert "3/3" in text.getvalue()


def test_a_meter_says_why_it_waits_until_it_moves_again() -> None:
    drawn: list[str] = []
    meter = Meter("results", 10, lambda m: drawn.append(m.text))
    meter.note("waiting: the service does not answer")
    meter.advance(10)
    assert "(waiting: the service does not answer)" in drawn[0]
    assert "waiting" not in drawn[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{folder}/nowhere"], "courses.csv cannot be read in"),
        (["{folder}", "--presentation", "CCC-2014J"], "the data has no presentation CCC-2014J; it has AAA-2013J"),
        (["{folder}", "--mapping", "{folder}/none.yaml"], "none.yaml cannot be read"),
    ],
)
def test_a_wrong_folder_presentation_or_mapping_is_a_usage_error_before_anything_is_sent(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    write(tmp_path)
    result = CliRunner().invoke(app, ["oulad", *(each.format(folder=tmp_path) for each in arguments)])
    assert isinstance(result.exception, CommandFailed)
    assert result.exception.exit_code is Exit.USAGE
    assert message in str(result.exception)


@dataclass
class Sending:
    """Stands for the importer; fails, or is done, once it has sent something."""

    failure: BaseException | None = None
    meanwhile: Callable[[], None] = lambda: None
    sent: int = 0
    result: Imported = field(default_factory=Imported)

    def __call__(self, *_: object) -> Sending:
        return self

    async def run(self, _: object) -> Imported:
        self.sent += 1
        self.meanwhile()
        if self.failure is not None:
            raise self.failure
        return self.result


def test_a_report_that_could_not_be_written_is_told_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "Importer", sending := Sending())
    data, report_file = write(tmp_path / "data"), tmp_path / "nowhere" / "report.csv"
    result = CliRunner().invoke(app, ["oulad", str(data), "--report", str(report_file)])
    assert isinstance(result.exception, CommandFailed)
    assert result.exception.exit_code is Exit.USAGE
    assert "report.csv cannot be written: No such file" in str(result.exception)
    assert sending.sent == 0


def test_what_an_earlier_report_says_stays_until_there_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_file = tmp_path / "report.csv"
    report_file.write_text("an earlier one")
    before = list[str]()
    monkeypatch.setattr(imports, "Importer", Sending(meanwhile=lambda: before.append(report_file.read_text())))
    CliRunner().invoke(app, ["oulad", str(write(tmp_path / "data")), "--report", str(report_file)])
    assert before == ["an earlier one"]
    assert report_file.read_text().startswith("category,row,code,message\n")


def test_a_report_that_cannot_be_written_in_the_end_costs_neither_the_summary_nor_the_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, folder = write(tmp_path / "data"), tmp_path / "reports"
    words = ["oulad", str(data), "--report", str(folder / "report.csv")]

    def ended(failure: BaseException | None) -> Result:
        folder.mkdir(exist_ok=True)
        monkeypatch.setattr(imports, "Importer", Sending(failure, lambda: shutil.rmtree(folder)))
        return CliRunner().invoke(app, words)

    done = ended(None)
    assert done.exit_code == int(Exit.USAGE)
    assert "Odd in the data" in done.stdout
    assert "report.csv cannot be written: No such file" in done.stderr

    failed = ended(CommandFailed(Exit.UNAVAILABLE, "enrolment stays away"))
    assert str(failed.exception) == "enrolment stays away"
    assert "report.csv cannot be written: No such file" in failed.stderr


def test_a_folder_above_the_data_set_is_as_good(tmp_path: Path) -> None:
    write(tmp_path / "oulad")
    result = CliRunner().invoke(app, ["oulad", str(tmp_path), "--presentation", "CCC-2014J"])
    assert "the data has no presentation CCC-2014J" in str(result.exception)
