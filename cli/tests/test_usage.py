"""A command line that is wrong is told as one, with exit code 2, and never ends in a traceback."""

from __future__ import annotations

from typing import Any

import pytest

from cli.tests.running import Home, answer_calls, commands
from credence_cli.command import fail

NOT_UTF8 = "Zo\udceb"  # as Python reads a byte that is no UTF-8


def numbers() -> list[tuple[str, Any]]:
    """Every option and argument that is a whole number."""
    return [
        (f"{' '.join(path)} {parameter.name}", parameter)
        for path, command in commands()
        for parameter in command.params
        if parameter.type_descriptor.annotation is int
    ]


def test_there_are_numbers_to_check() -> None:
    assert len(numbers()) >= 10


@pytest.mark.parametrize("parameter", [parameter for _, parameter in numbers()], ids=[words for words, _ in numbers()])
def test_a_number_has_a_least_and_a_most(parameter: Any) -> None:
    assert parameter.min is not None
    assert parameter.max is not None


OPEN = ("cohort", "open", "com-1", "--programme", "p", "--starts-on", "2026-10-05", "--provider", "ipc")
REVISE = ("assess", "revise", "com-1", "sample-1", "project", "passed", "--body", "b", "--reason", "clerical-error")


@pytest.mark.parametrize(
    "words",
    [
        (*OPEN, "--capacity", "-1"),
        (*OPEN, "--capacity", str(2**32)),
        (*OPEN, "--version", "-1"),
        (*REVISE, "--replaces", "-1"),
        (*REVISE, "--replaces", str(2**64)),
        ("held", "discard", "accreditation.facts", "s", str(2**64), "--reason", "x"),
        ("stack", "up", "--port", "65535"),
        ("stack", "logs", "--lines", "-1"),
        ("topics", "create", "--replication-factor", "0"),
        ("topics", "create", "--wait", "-1"),
        ("standing", "show", "com-1", "sample-1", "--known-at", "9999-12-31T23:59:59-14:00"),
        (*OPEN, "--capacity", "9" * 5000),
    ],
    ids=lambda words: " ".join(words)[:60],
)
def test_a_number_or_an_instant_beyond_what_can_be_sent_is_a_usage_error(
    home: Home, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    asked = answer_calls(monkeypatch, lambda request: pytest.fail(f"asked: {request}"))
    ran = home.call(*words, exits=2)
    assert (ran.out, asked) == ("", [])
    assert "Traceback" not in ran.err
    assert ran.err.strip()


@pytest.mark.parametrize(
    "words",
    [
        ("enrol", "com-1", NOT_UTF8),
        ("cohort", "show", NOT_UTF8),
        ("standing", "show", "com-1", NOT_UTF8),
        ("mentor", "register", "sample-1", "--background", NOT_UTF8),
        ("person", "export", NOT_UTF8),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_an_argument_that_is_no_text_is_named_whatever_the_command(
    home: Home, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    answer_calls(monkeypatch, lambda request: pytest.fail(f"asked: {request}"))
    ran = home.call(*words, exits=2)
    assert ran.told == "'Zo\N{REPLACEMENT CHARACTER}' is not written in UTF-8: type it anew, at a terminal set to UTF-8"


def test_bytes_that_are_no_utf8_end_a_process_with_one_line(home: Home) -> None:
    ran = home.run("enrol", "com-1", "\udcff", exits=2)
    assert (ran.out, ran.told[-60:]) == ("", "is not written in UTF-8: type it anew, at a terminal set to UTF-8"[-60:])


def test_output_that_has_no_letter_for_something_is_no_wrong_argument(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnicodeEncodeError) as raised:
        "✓".encode("ascii")
    assert fail(raised.value) == 7
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "redrive"])
def test_a_service_that_the_consumer_is_not_of_is_a_usage_error(
    home: Home, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    asked = answer_calls(monkeypatch, lambda request: pytest.fail(f"asked: {request}"))
    ran = home.call("held", command, "--service", "enrolment", "--consumer", "mentoring.facts", exits=2)
    assert "--consumer mentoring.facts is one of mentoring, not of enrolment: leave --service out" in " ".join(
        ran.err.split()
    )
    assert asked == []
