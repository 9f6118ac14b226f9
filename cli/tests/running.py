"""`credence` as a test runs it: the installed command as a process of its own, or its entry point in this process.

A process takes a second to start. What is special to one (pipes, signals, what one invocation leaves for the next) is
tested on processes; what a command says and how it exits is the same entry point either way.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import typer

from credence_cli.client import Client
from credence_cli.embedded.kafka_jars import kafka_jars
from credence_cli.main import app, main

EXECUTABLE = Path(sys.executable).with_name("credence")
ROOT = Path(__file__).parents[2]
_CAMEL_CASE = re.compile(r"[a-z][A-Z]")


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def doc(self) -> Any:
        """Its one JSON document, in the .proto's spelling of names, not in JSON's own."""
        read = json.loads(self.out)
        for name in _names(read):
            assert not _CAMEL_CASE.search(name), f"{' '.join(self.words)}: {name}"
        return read

    @property
    def told(self) -> str:
        """The one line that it says besides its answer."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self
        return lines[0]


@dataclass
class Home:
    """A CREDENCE_HOME. `called` are the commands that ran here, and whether with --json."""

    folder: Path
    called: set[tuple[str, ...]] = field(default_factory=set)

    def with_kafka(self) -> Home:
        """Kafka's jars put into it, fetched once for all homes."""
        jars = kafka_jars()[0].parent
        (self.folder / jars.name).symlink_to(jars)
        return self

    def env(self, **more: str) -> dict[str, str]:
        """This process's environment with this home, and no other word of Credence."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CREDENCE_")}
        return {**kept, "CREDENCE_HOME": str(self.folder), **more}

    def call(self, *words: str, exits: int = 0, **env: str) -> Ran:
        """The entry point, in this process."""
        self.called.add(words)
        out, err = io.StringIO(), io.StringIO()
        code: object = None
        with (
            mock.patch.dict(os.environ, self.env(**env), clear=True),
            mock.patch.object(sys, "argv", ["credence", *words]),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                main()
            except SystemExit as ended:
                code = ended.code
        ran = Ran(words, int(str(code or 0)), out.getvalue(), err.getvalue())
        assert ran.code == exits, ran
        return ran

    def ask(self, *words: str, exits: int = 0, **env: str) -> Any:
        """The entry point with --json: its document."""
        return self.call(*words, "--json", exits=exits, **env).doc

    def run(self, *words: str, exits: int | None = 0, stdin: bytes = b"", **env: str) -> Ran:
        """The installed command, as a process of its own."""
        self.called.add(words)
        ended = subprocess.run([EXECUTABLE, *words], env=self.env(**env), cwd=ROOT, input=stdin, capture_output=True)
        ran = Ran(words, ended.returncode, ended.stdout.decode(), ended.stderr.decode())
        assert exits is None or ran.code == exits, ran
        return ran

    def run_into(self, output: int, *words: str) -> Ran:
        """The installed command with its standard output into this descriptor, which is closed here."""
        with os.fdopen(output, "wb") as stdout:
            ended = subprocess.run(
                [EXECUTABLE, *words], env=self.env(), cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, text=True
            )
        return Ran(words, ended.returncode, "", ended.stderr)

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        """The installed command, to be spoken to while it runs."""
        return subprocess.Popen(
            [EXECUTABLE, *words],
            env=self.env(**env),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def answer_calls(monkeypatch: pytest.MonkeyPatch, answer: Callable[[Any], Any]) -> list[Any]:
    """`answer` stands for every service from here on; gives the requests as they come."""
    asked = list[Any]()

    async def call(_self: Client, _method: Any, request: Any, **_: Any) -> Any:
        asked.append(type(request).FromString(request.SerializeToString()))
        return answer(request)

    monkeypatch.setattr(Client, "call", call)
    return asked


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, by the words that call it."""
    command = command or typer.main.get_command(app)
    children = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name, child in children.items():
        yield from commands(child, (*path, name))


def _names(data: Any) -> set[str]:
    match data:
        case dict():
            return set(data).union(*(_names(value) for value in data.values()))
        case list():
            return set().union(*(_names(value) for value in data))
        case _:
            return set()
