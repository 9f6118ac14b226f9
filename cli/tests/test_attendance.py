"""`credence attendance`: registers too long for one batch, and files that are there already."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli.tests.running import Home, answer_calls
from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import attendance_pb2 as pb
from credence_cli.commands import attendance
from credence_cli.exits import INTERRUPTED, CommandFailed, Exit
from credence_cli.progress import Phases, Report

ACCEPTED = pb.AttendanceAnswer(outcome=outcome_pb2.Outcome(status=outcome_pb2.OUTCOME_STATUS_ACCEPTED))
AWAY = CommandFailed(Exit.UNAVAILABLE, "the service does not answer: is it running?")
POSTED = ("attendance", "post", "--provider", "ipc")


@pytest.fixture(autouse=True)
def batches_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendance, "ROWS_MAX", 2)


@pytest.fixture
def register(tmp_path: Path) -> str:
    """Seven lines: the second cannot be understood, so six are sent, in three batches."""
    file = tmp_path / "register.csv"
    states = ["present", "perhaps", *["present"] * 5]
    lines = [f"com-1,s1,sample-{n},{state}" for n, state in enumerate(states, start=1)]
    file.write_text("\n".join(["cohort,session,person,state", *lines]))
    return str(file)


def breaking_off(failure: BaseException, *, at: int) -> Callable[[Any], Any]:
    """Takes all rows of every batch but this one."""
    batches = 0

    def answer(request: pb.PostAttendanceRequest) -> pb.PostAttendanceResponse:
        nonlocal batches
        batches += 1
        if batches == at:
            raise failure
        return pb.PostAttendanceResponse(answers=[ACCEPTED] * len(request.rows))

    return answer


# Posting


def test_a_register_that_breaks_off_shows_what_was_answered_and_says_how_many_lines_were_not_sent(
    home: Home, monkeypatch: pytest.MonkeyPatch, register: str
) -> None:
    asked = answer_calls(monkeypatch, breaking_off(AWAY, at=2))
    ran = home.call(*POSTED, register, exits=6)
    assert len(asked) == 2
    assert [line.split(" s1")[0].strip() for line in ran.out.splitlines() if " line " in line] == [
        "accepted   line 2:",
        "refused    line 3:",
        "accepted   line 4:",
    ]
    assert "2 accepted, 1 refused" in ran.out
    assert ran.err.splitlines()[-3:] == [
        "the service does not answer: is it running?",
        "  Of 7 lines 3 are answered, 2 have no answer, 2 were not sent.",
        "  Post the same file again: what is recorded stays as it is, and no line counts twice.",
    ]


def test_a_program_is_given_the_answers_that_there_are_and_the_exit_code_of_the_failure(
    home: Home, monkeypatch: pytest.MonkeyPatch, register: str
) -> None:
    answer_calls(monkeypatch, breaking_off(CommandFailed(Exit.NOT_ALLOWED, "the token has expired"), at=3))
    answers = home.ask(*POSTED, register, exits=5)
    assert [answer["line"] for answer in answers] == [2, 3, 4, 5, 6]


def test_where_nothing_was_answered_nothing_is_shown_but_why(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "register.csv"
    file.write_text("cohort,session,person,state\ncom-1,s1,sample-1,present\n")
    answer_calls(monkeypatch, breaking_off(AWAY, at=1))
    ran = home.call(*POSTED, str(file), exits=6)
    assert ran.out == ""
    assert "Of 1 lines 0 are answered, 1 have no answer, 0 were not sent" in ran.err


def test_an_interrupted_register_shows_what_was_answered(
    home: Home, monkeypatch: pytest.MonkeyPatch, register: str
) -> None:
    answer_calls(monkeypatch, breaking_off(KeyboardInterrupt(), at=2))
    ran = home.call(*POSTED, register, exits=130)
    assert "2 accepted, 1 refused" in ran.out
    assert ran.err.splitlines()[-1] == INTERRUPTED


def test_a_register_of_several_batches_says_how_far_it_is_and_one_of_a_single_batch_does_not(
    home: Home, monkeypatch: pytest.MonkeyPatch, register: str
) -> None:
    terminal = io.StringIO()
    drawn = Report(Console(file=terminal, force_terminal=True, width=120))
    monkeypatch.setattr(attendance, "Phases", lambda: Phases(drawn))
    answer_calls(monkeypatch, breaking_off(AWAY, at=0))
    assert "7/7" not in home.call(*POSTED, register, exits=1).out
    assert "7/7" in terminal.getvalue()

    terminal.truncate(0)
    monkeypatch.setattr(attendance, "ROWS_MAX", 7)
    home.call(*POSTED, register, exits=1)
    assert terminal.getvalue() == ""


# The template


def filled_in(folder: Path) -> Path:
    file = folder / "register.csv"
    file.write_text("cohort,session,person,state\ncom-1,s1,sample-1,present\n")
    return file


def template(home: Home, file: Path, *more: str, exits: int = 0) -> str:
    return home.call("attendance", "template", "com-1", "-p", "ipc", "--out", str(file), *more, exits=exits).told


def test_a_register_that_is_there_is_not_written_over_unasked(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = answer_calls(monkeypatch, lambda _: pb.GetRegisterTemplateResponse())
    file = filled_in(tmp_path)
    before = file.read_text()
    assert template(home, file, exits=2) == (
        f"{file} is there already, and may be filled in: name another file, or write over it with --force"
    )
    assert (file.read_text(), asked) == (before, [])


def test_a_register_is_written_over_on_request_and_where_there_is_none(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer_calls(monkeypatch, lambda _: pb.GetRegisterTemplateResponse(rows=[pb.TemplateRow(person_id="sample-2")]))
    file = filled_in(tmp_path)
    template(home, file, "--force")
    assert "sample-2" in file.read_text()
    template(home, tmp_path / "another.csv")
    assert "sample-2" in (tmp_path / "another.csv").read_text()


def test_what_is_no_file_holds_nobody_s_work(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_calls(monkeypatch, lambda _: pb.GetRegisterTemplateResponse())
    assert template(home, Path("/dev/null"))
