"""What the README names is there: commands with their options, make targets, files, variables and numbers.

Its sequence of commands is run, and its sample of the demo compared, where the platform runs: in `cli/tests`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from credence_cli.main import app
from tests.readme import README, ROOT, blocks, commands, spans

COMMAND: Any = typer.main.get_command(app)
TEXT = README.read_text(encoding="utf-8")
SOURCES = ("*.py", "Makefile", "*.yml", "Dockerfile")


def ids(value: object) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


def test_there_is_something_to_check() -> None:
    assert len(commands("credence")) >= 10
    assert len(commands("make")) >= 4
    assert len(blocks()) >= 4


@pytest.mark.parametrize("words", sorted(set(commands("credence"))), ids=ids)
def test_a_command_is_one_and_takes_what_it_is_given(words: tuple[str, ...]) -> None:
    command, rest, path = COMMAND, list(words), "credence"
    context = None
    while rest and hasattr(command, "commands") and rest[0] in command.commands:
        path += f" {rest[0]}"
        command = command.commands[rest.pop(0)]
    if rest in (["--help"], []) and hasattr(command, "commands"):
        return
    assert not hasattr(command, "commands"), f"{path} has no {rest[0]}"
    # Reads the words as the command itself would, and runs nothing.
    context = command.make_context(path, rest)
    assert context.params is not None


@pytest.mark.parametrize("words", sorted(set(commands("make"))), ids=ids)
def test_a_make_target_is_one(words: tuple[str, ...]) -> None:
    told = subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


def test_every_make_target_is_in_the_list_that_make_shows() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target, *_ in (words for words in commands("make") if words):
        assert re.search(rf"^  make {target} ", listed, re.MULTILINE), target


def test_every_option_it_speaks_of_belongs_to_a_command() -> None:
    options = {option for command in every_command(COMMAND) for param in command.params for option in param.opts}
    named = {span for span in spans() if span.startswith("--")}
    assert named <= options | {"--help"}


def test_every_command_prints_json_but_those_that_it_excepts() -> None:
    said = re.search(r"Each command has `--help`(.*?)`--json`", TEXT)
    assert said is not None
    without = {
        command.name
        for command in every_command(COMMAND)
        if not hasattr(command, "commands") and not any("--json" in param.opts for param in command.params)
    }
    assert without == set(re.findall(r"`(\w+)`", said[1]))


def every_command(command: Any) -> Iterator[Any]:
    yield command
    for child in getattr(command, "commands", {}).values():
        yield from every_command(child)


def test_every_file_it_names_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    paths = [span for span in spans() if re.fullmatch(r"[\w.-]+(/[\w.-]*)+", span)]
    inside = [path for path in (*links, *paths) if not path.startswith(("..", "http"))]
    assert inside
    assert [path for path in inside if not (ROOT / path).exists()] == []


def test_the_map_shows_what_there_is_and_leaves_nothing_out() -> None:
    tree = next(block for block in blocks() if block.heading == "Map")
    shown = {line.split()[0].rstrip("/") for line in tree.lines}
    assert [path for path in shown if not (ROOT / path).is_dir()] == []
    tracked = subprocess.run(["git", "ls-tree", "-d", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    folders = {name for name in tracked.stdout.split() if not name.startswith(".")}
    assert folders - {path.split("/")[0] for path in shown} <= {"scripts"}


def test_every_variable_it_names_is_read_somewhere() -> None:
    for variable in {span for span in spans() if span.startswith("CREDENCE_")}:
        found = subprocess.run(["git", "grep", "--quiet", variable, "--", *SOURCES], cwd=ROOT)
        assert found.returncode == 0, variable


def test_every_decision_it_names_is_written_down() -> None:
    for number in re.findall(r"ADR (\d{4})", TEXT):
        assert list((ROOT / "docs" / "adr").glob(f"{number}-*.md")), number


def test_the_programmes_it_counts_are_those_of_the_catalogue() -> None:
    counted = {"three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
    named = re.search(r"loads (\w+) programmes", TEXT)
    assert named is not None
    assert counted[named[1]] == len(list((ROOT / "catalogue").glob("*.yaml")))
