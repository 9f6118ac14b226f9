"""The README as its readers use it: the code blocks, and the commands in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


@dataclass(frozen=True)
class Block:
    """A fenced code block and the heading above it."""

    heading: str
    lines: tuple[str, ...]


def blocks() -> list[Block]:
    """Every code block, in order."""
    found, heading, inside = list[Block](), "", None
    for line in README.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            if inside is None:
                inside = list[str]()
            else:
                found.append(Block(heading, tuple(inside)))
                inside = None
        elif inside is not None:
            inside.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    assert inside is None, "a code block of the README is not closed"
    return found


def spans() -> list[str]:
    """What is written as code within the text, outside the blocks."""
    text = re.sub(r"^```.*?^```", "", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`]+)`", text)


def commands(program: str) -> list[tuple[str, ...]]:
    """The words after `program` wherever the README shows it called, without what is said about it."""
    shown = [line for block in blocks() for line in block.lines]
    shown = [line.strip().removeprefix("$ ") for line in shown] + spans()
    called = [shlex.split(line, comments=True) for line in shown if re.match(rf"{program}( |$)", line)]
    return [tuple(words[1:]) for words in called]
