"""Every `credence` command explains itself, and its exit codes are the ones that are told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from credence_cli.exits import Exit
from credence_cli.main import app

COMMAND: Any = typer.main.get_command(app)


def commands(command: Any = COMMAND, path: tuple[str, ...] = ("credence",)) -> Iterator[tuple[str, Any]]:
    """Every command and every group, by the words that call it."""
    yield " ".join(path), command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


@pytest.mark.parametrize(("words", "command"), list(commands()), ids=[words for words, _ in commands()])
def test_a_command_says_what_it_does_and_what_it_takes(words: str, command: Any) -> None:
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{words}: {parameter.name} is not explained"


def test_every_exit_code_is_told_and_no_other() -> None:
    assert {int(code) for code in re.findall(r"\d+", COMMAND.epilog)} == {int(code) for code in Exit}
