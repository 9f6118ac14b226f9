"""Catalogue files: reads them all, never stops at the first fault, and says of each in which line it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from catalogue import fault as faulty
from catalogue.checks import draft_faults
from catalogue.cross_checks import cross_faults
from catalogue.limits import FILE_BYTES_MAX
from catalogue.model import Programme
from catalogue.structure import draft
from catalogue.yaml_source import Source, read

SUFFIXES: Final = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, order=True)
class FileFault:
    """One fault of one file; line and column count from 1; `path` is like `awards[0].rule.of[1].unit_kind`."""

    file: str
    line: int
    column: int
    path: str
    message: str
    code: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}:{self.column}: {where}{self.message} [{self.code}]"


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a check: the programmes of the files without a fault, by file, and every fault, in file order."""

    programmes: Mapping[str, Programme]
    faults: tuple[FileFault, ...]
    files: int


def check(paths: Iterable[Path]) -> Checked:
    """Reads every file named, and every .yaml and .yml file of every folder named (not deeper), as one catalogue."""
    contents: dict[str, bytes] = {}
    unread: list[FileFault] = []
    for path in paths:
        try:
            found = _files(path)
        except OSError as error:
            unread.append(_unread(path, error.strerror or type(error).__name__))
            continue
        if not found:
            unread.append(_unread(path, "no catalogue file (.yaml) is here"))
        for file in found:
            try:
                with file.open("rb") as stream:
                    # One byte more than is allowed: enough to see that it is too large, however large it is.
                    contents[str(file)] = stream.read(FILE_BYTES_MAX + 1)
            except OSError as error:
                unread.append(_unread(file, error.strerror or type(error).__name__))
    return check_contents(contents, unread)


def check_contents(contents: Mapping[str, bytes], unread: Iterable[FileFault] = ()) -> Checked:
    """As `check`, for files already read, by name. Never raises, whatever the bytes."""
    found = list(unread)
    complete = not found
    drafts: list[tuple[str, Source, Programme]] = []
    for name, content in contents.items():
        source = read(content)
        found.extend(FileFault(name, each.line, each.column, "", each.message, each.code) for each in source.faults)
        programme: Programme | None = None
        if source.readable:
            programme, shape = draft(source.value)
            beyond = [] if programme is None else draft_faults(programme)
            found.extend(_at(name, source, each) for each in (*shape, *beyond))
        if programme is not None:
            drafts.append((name, source, programme))
        # A file whose id cannot be told may be the very one that another file names.
        complete = complete and programme is not None and hasattr(programme, "id") and hasattr(programme, "awards")
    for position, fault in cross_faults([each for _, _, each in drafts], complete=complete, drafts=True):
        name, source, _ = drafts[position]
        found.append(_at(name, source, fault))
    with_faults = {fault.file for fault in found}
    return Checked(
        programmes={
            name: Programme.model_validate(source.value) for name, source, _ in drafts if name not in with_faults
        },
        faults=tuple(sorted(set(found))),
        files=len(contents),
    )


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    return [path]


def _unread(path: Path, why: str) -> FileFault:
    return FileFault(str(path), 1, 1, "", f"cannot be read: {why}", "unreadable")


def _at(name: str, source: Source, fault: faulty.Fault) -> FileFault:
    line, column = source.position(fault.path)
    return FileFault(name, line, column, dotted(fault.path), fault.message, fault.code)


def dotted(path: faulty.Path) -> str:
    """`("awards", 0, "rule")` as `awards[0].rule`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if step.isidentifier() else f".{step!a}"
    return text.removeprefix(".")
