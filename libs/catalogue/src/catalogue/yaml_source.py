"""YAML to plain values with the line of every key and item, so that each fault can be shown where it is.

Only the plain part of YAML is a catalogue file: no aliases (a small file could unfold into a huge one), no tags, no
key twice. A number with a point becomes a Decimal from its own digits; it never is a float.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from catalogue.fault import Path
from catalogue.limits import FILE_BYTES_MAX, YAML_DEPTH_MAX

_TAG: Final = "tag:yaml.org,2002:"
# What YAML would read as a date or a merge key is plain text here.
_AS_TEXT: Final = frozenset(_TAG + name for name in ("str", "timestamp", "merge", "value"))
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}\Z")
_FIRST: Final = (1, 1)


@dataclass(frozen=True, slots=True)
class SourceFault:
    """A fault of the YAML itself; line and column count from 1."""

    line: int
    column: int
    message: str
    code: str


@dataclass(slots=True)
class Source:
    """A file as plain values: dict, list, str, int, bool, None, Decimal."""

    value: Any = None
    readable: bool = False
    faults: list[SourceFault] = field(default_factory=list)
    positions: dict[Path, tuple[int, int]] = field(default_factory=lambda: {(): _FIRST})

    def position(self, path: Path) -> tuple[int, int]:
        """Line and column of the nearest part of `path` that is written in the file."""
        while path not in self.positions:
            path = path[:-1]
        return self.positions[path]


def read(content: bytes) -> Source:
    """The file's value, the position of every key and item, and the faults of the YAML itself. Never raises."""
    source = Source()
    try:
        _compose(_decode(content), source)
    except _Unreadable as unreadable:
        source.faults.append(unreadable.fault)
    return source


class _Unreadable(Exception):
    def __init__(self, message: str, position: tuple[int, int] = _FIRST, code: str = "yaml-syntax") -> None:
        super().__init__(message)
        self.fault = SourceFault(*position, message, code)


def _decode(content: bytes) -> str:
    if len(content) > FILE_BYTES_MAX:
        raise _Unreadable(f"a catalogue file has at most {FILE_BYTES_MAX} bytes", code="file-too-large")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _Unreadable("not UTF-8 text", (line, 1)) from None


def _compose(text: str, source: Source) -> None:
    yaml = YAML(typ="safe", pure=True)
    try:
        depth = 0
        for event in yaml.parse(io.StringIO(text)):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            # Here and not after: the parser itself takes minutes over ten thousand open brackets.
            if depth > YAML_DEPTH_MAX:
                raise _Unreadable("nested too deeply", _at(event.start_mark), "too-deep")
            if isinstance(event, AliasEvent):
                message = "aliases are not used in the catalogue: write it out"
                source.faults.append(SourceFault(*_at(event.start_mark), message, "yaml-alias"))
        root = YAML(typ="safe", pure=True).compose(io.StringIO(text))
    except MarkedYAMLError as error:
        words = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise _Unreadable(words, _at(error.problem_mark or error.context_mark)) from None
    except ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise _Unreadable("a character that YAML does not allow", (line, 1)) from None
    except YAMLError as error:
        raise _Unreadable(str(error).splitlines()[0]) from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, NotImplementedError) as error:
        # The parser stumbles over some malformed input (a directive, an escape) instead of naming it.
        raise _Unreadable(f"not YAML that can be read ({type(error).__name__})") from None
    if root is None:
        raise _Unreadable("the file is empty", code="empty-file")
    source.value = _value(root, (), source, seen=set())
    source.readable = True


def _at(mark: StreamMark | None) -> tuple[int, int]:
    return _FIRST if mark is None else (mark.line + 1, mark.column + 1)


def _value(node: Node, path: Path, source: Source, seen: set[int]) -> Any:
    if id(node) in seen:
        return None  # an alias, a fault already: not unfolded, so that a file cannot grow in memory
    seen.add(id(node))
    match node:
        case MappingNode() if node.tag == f"{_TAG}map":
            return dict(_entries(node, path, source, seen))
        case SequenceNode() if node.tag == f"{_TAG}seq":
            for i, item in enumerate(node.value):
                source.positions[*path, i] = _at(item.start_mark)
            return [_value(item, (*path, i), source, seen) for i, item in enumerate(node.value)]
        case ScalarNode() if (node.tag or "").startswith(_TAG):
            return _scalar(node, source)
        case _:
            return _foreign(node, source)


def _entries(node: MappingNode, path: Path, source: Source, seen: set[int]) -> Iterator[tuple[str, Any]]:
    written: set[str] = set()
    for key, value in node.value:
        position = _at(key.start_mark)
        if not isinstance(key, ScalarNode):
            source.faults.append(SourceFault(*position, "a key is plain text", "wrong-type"))
        elif key.value in written:
            source.faults.append(SourceFault(*position, f"the key {key.value!a} is written twice", "duplicate-key"))
        else:
            written.add(key.value)
            source.positions[*path, key.value] = position
            yield key.value, _value(value, (*path, key.value), source, seen)


def _scalar(node: ScalarNode, source: Source) -> Any:
    text: str = node.value
    if node.tag in _AS_TEXT:
        return text
    match str(node.tag).removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return text.lower() in ("true", "yes", "on")
        case "int":
            # Other forms (hexadecimal, a thousand digits) stay text and are refused as such where a number is due.
            return int(text) if _INT.match(text) else text
        case "float":
            try:
                return Decimal(text)
            except InvalidOperation:
                return text
        case _:
            return _foreign(node, source)


def _foreign(node: Node, source: Source) -> None:
    message = f"the tag {str(node.tag)!a} is not used in the catalogue: leave it out"
    source.faults.append(SourceFault(*_at(node.start_mark), message, "yaml-tag"))
