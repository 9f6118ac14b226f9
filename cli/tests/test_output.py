"""What commands print: answers row by row, words for every state of the contracts, and nothing that a cell could do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.tests.running import Home, commands
from credence.accreditation.v1 import assessments_pb2, standings_pb2
from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import attendance_pb2, enrolments_pb2
from credence_cli import outcomes, registers
from credence_cli.command import fail
from credence_cli.commands import assessments, enrolments, standing
from credence_cli.embedded.errors import EmbeddedError
from credence_cli.exits import CommandFailed, Exit
from credence_cli.output import OutputClosed, show, table
from credence_cli.topics import TopicsError

REFUSED = outcome_pb2.Outcome(
    status=outcome_pb2.OUTCOME_STATUS_REFUSED,
    code="invalid-argument",
    message="mend it [bold]",
    violations=[outcome_pb2.FieldViolation(field="on", description="is no [date]")],
)


def of(*statuses: str) -> list[outcome_pb2.Outcome]:
    return [outcome_pb2.Outcome(status=outcome_pb2.OutcomeStatus.Value(f"OUTCOME_STATUS_{s}")) for s in statuses]


# Outcomes


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ((), Exit.OK),
        (("ACCEPTED", "UNCHANGED", "REPLAYED"), Exit.OK),
        (("ACCEPTED", "REFUSED"), Exit.SOME_REFUSED),
        (("CONFLICT",), Exit.SOME_REFUSED),
        (("ACCEPTED", "UNKNOWN", "REFUSED"), Exit.UNAVAILABLE),
        (("ABORTED",), Exit.UNAVAILABLE),
    ],
)
def test_a_batch_that_wants_repeating_goes_before_one_that_wants_mending(statuses: tuple[str, ...], code: Exit) -> None:
    assert outcomes.exit_of(of(*statuses)) is code


def test_a_batch_is_summed_up_by_what_became_of_its_rows() -> None:
    assert outcomes.summary(of("ACCEPTED", "REFUSED", "ACCEPTED")) == "2 accepted, 1 refused"
    assert outcomes.summary([]) == "no rows"


def test_a_refused_row_is_told_with_its_reason_and_its_fields_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes.line(REFUSED, "line 3: [s1]", "; nothing stands")
    assert capsys.readouterr().out.splitlines() == [
        "  refused    line 3: [s1] invalid-argument: mend it [bold]; nothing stands",
        "             on: is no [date]",
    ]


# Words


@pytest.mark.parametrize(
    ("enum", "words"),
    [
        (attendance_pb2.AttendanceState, registers.STATE_WORDS),
        (enrolments_pb2.EnrolmentStatus, enrolments.STATUS_WORDS),
        (assessments_pb2.AssessmentState, assessments.STATES),
        (standings_pb2.AwardState, assessments.AWARD_STATES),
        (standings_pb2.CertificateState, standing.CERTIFICATES),
        (assessments_pb2.Result, {number: word for word, number in assessments.RESULTS.items()}),
    ],
)
def test_every_state_of_the_contracts_has_a_word_of_its_own(enum: Any, words: dict[int, str]) -> None:
    assert set(words) == set(enum.values()) - {0}
    assert len(set(words.values())) == len(words)


def test_every_outcome_has_a_word() -> None:
    assert all(outcomes.word(status) for status in outcome_pb2.OutcomeStatus.values() if status)


# JSON and text


def test_json_is_one_document_in_the_proto_s_spelling(capsys: pytest.CaptureFixture[str]) -> None:
    answer = attendance_pb2.AttendanceAnswer(outcome=REFUSED)
    answer.current.recorded_by = "Zoë"
    show([{"line": 3, "answer": answer}, (1, None)], True, lambda: pytest.fail("rendered as text"))
    printed = capsys.readouterr().out
    assert "Zoë" in printed
    assert json.loads(printed)[0]["answer"]["current"] == {"recorded_by": "Zoë"}


def test_a_cell_is_shown_as_it_is_and_never_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    table("", ("name",), [("[red]Zoë[/]",), ("[/]",)])
    assert "[red]Zoë[/]" in capsys.readouterr().out


def test_a_standing_tells_when_and_why_an_award_was_revoked_and_what_its_confirmation_waits_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    revocation = standings_pb2.Revocation(reason_code="appeal", revoked_on="2024-12-04")
    waits_for = [standings_pb2.Missing(code="credits-not-confirmed", message="20 [credits]")]
    revoked = standings_pb2.AwardStanding(title="One", state=standings_pb2.AWARD_STATE_REVOKED, revocation=revocation)
    again = standings_pb2.AwardStanding(
        title="Two", state=standings_pb2.AWARD_STATE_PROVISIONAL, revocation=revocation, waits_for=waits_for
    )
    standing.render_trees(standings_pb2.Standing(awards=[revoked, again]))
    told = capsys.readouterr().out
    assert "One: revoked (2024-12-04: appeal)" in told
    assert "Two: provisional (revoked 2024-12-04: appeal)" in told
    assert "waits for: 20 [credits]" in told


def test_a_long_line_is_not_broken_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes.line(of("ACCEPTED")[0], "x" * 150 + " " + "y" * 100)
    assert len(capsys.readouterr().out.splitlines()) == 1


# Failures


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (CommandFailed(Exit.NOT_FOUND, "no such [cohort]"), 3, "no such [cohort]"),
        (EmbeddedError("Port 1 is held."), 6, "Port 1 is held."),
        (TopicsError("Kafka did not answer."), 6, "Kafka did not answer."),
        (OSError(28, "No space left on device"), 6, "The disk is full: free some space and run it again; "
         "what was acknowledged is kept."),
    ],
)  # fmt: skip
def test_a_failure_is_one_sentence_and_its_exit_code(
    error: Exception, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail(error) == code
    assert capsys.readouterr().err == f"{says}\n"


def test_details_are_told_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(CommandFailed(Exit.USAGE, "mend these", ("a: [x]", "b: y"))) == 2
    assert capsys.readouterr().err == "mend these\n  a: [x]\n  b: y\n"


def test_a_defect_shows_its_trace_and_is_no_refusal_of_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(ZeroDivisionError("a defect")) == 7
    assert "ZeroDivisionError: a defect" in capsys.readouterr().err


def test_nobody_reading_is_no_failure_to_talk_about(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(OutputClosed()) == 141
    assert capsys.readouterr().err == ""


# Help


@pytest.mark.parametrize("words", [path for path, _ in commands()], ids=" ".join)
def test_every_command_explains_itself(home: Home, words: tuple[str, ...]) -> None:
    shown = home.call(*words, "--help").out
    assert f"credence {' '.join(words)} " in shown
    assert home.call(*words, "-h").out == shown


@pytest.mark.parametrize("group", ["", "attendance", "stack", "import"])
def test_a_group_without_a_command_shows_what_it_has(home: Home, group: str) -> None:
    ran = home.call(*group.split(), exits=2)
    assert "Usage" in ran.out + ran.err
