"""The last lines of logs, of any size, and what comes after them."""

import tracemalloc
from pathlib import Path

import pytest

from credence_cli.embedded.stack import Stack

MEBIBYTE = 2**20


def log_of(folder: Path, content: bytes) -> Path:
    log = folder / "enrolment" / "output.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(content)
    return log


def last(folder: Path, lines: int) -> list[str]:
    return [line for _, line in Stack(folder).logs(["enrolment"], lines=lines)]


@pytest.mark.parametrize(
    ("content", "lines", "shown"),
    [
        (b"one\ntwo\nthree\n", 2, ["two", "three"]),
        (b"one\ntwo\n", 2, ["one", "two"]),
        (b"one\ntwo\n", 5, ["one", "two"]),
        (b"one\ntwo\n", 0, []),
        (b"one\nnot yet who", 5, ["one"]),
        (b"", 5, []),
        (b"\n\n", 1, [""]),
        ("Zoë\n".encode() + b"\xff\n", 2, ["Zoë", "\ufffd"]),
    ],
)
def test_the_last_whole_lines_are_shown(folder: Path, content: bytes, lines: int, shown: list[str]) -> None:
    log_of(folder, content)
    assert last(folder, lines) == shown


def test_lines_that_are_longer_than_what_is_read_at_once_are_whole(folder: Path) -> None:
    long = ["x" * 200_000, "y" * 65_536, "z" * 65_535]
    log_of(folder, "\n".join(["before", *long, ""]).encode())
    assert last(folder, 3) == long
    assert last(folder, 9) == ["before", *long]


def test_a_log_of_any_size_takes_the_memory_of_its_last_lines(folder: Path) -> None:
    log = log_of(folder, b"")
    with log.open("wb") as stream:
        stream.seek(64 * MEBIBYTE)  # a hole: it takes no room on the disk
        stream.write(b"\none\ntwo\n")
    tracemalloc.start()
    try:
        assert last(folder, 2) == ["one", "two"]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 * MEBIBYTE


def test_what_is_followed_begins_where_the_last_lines_end(folder: Path) -> None:
    log = log_of(folder, b"one\ntwo\nthr")
    following = Stack(folder).logs(["enrolment"], lines=1, follow=True)
    assert next(following) == ("enrolment", "two")
    with log.open("ab") as stream:
        stream.write(b"ee\nfour\n")
    assert [next(following), next(following)] == [("enrolment", "three"), ("enrolment", "four")]
