"""Rows with known faults, made from well-formed ones: which field is wrong is known, so it can be asked whether it is
named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_COMMAND_ID = re.compile(r"[A-Za-z0-9._:@-]{1,128}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

_BAD_ID = _TEXT.filter(lambda text: not _ID.fullmatch(text)) | st.sampled_from(["a--b", "-a", "A", "é", "x" * 65])
_BAD_DATE = _TEXT.filter(lambda text: not _DATE.fullmatch(text)) | st.sampled_from(
    ["2024-02-30", "2024-13-01", "31/12/2024", "٢٠٢٤-٠١-٠١", "2024-1-1", "0000-01-01"]
)
_BAD_TEXT = st.sampled_from(["x" * 5_000, "a\x00b", "a\x1bb"])
_BAD_COMMAND_ID = _TEXT.filter(lambda text: not _COMMAND_ID.fullmatch(text)) | st.just("x" * 129)
_BY_NAME: dict[str, st.SearchStrategy[str]] = {
    "command_id": _BAD_COMMAND_ID,
    "start": st.sampled_from(["25:00", "9:30", "noon", "09:60"]),
    "mark": st.sampled_from(["NaN", "1e3", "-1", "Infinity", "seventy", "1_0", "٧٠"]),
    "email": st.sampled_from(["nobody", "@", "a@", "@b"]),
    "background": st.sampled_from(["seaside", "Children"]),
    "sector": st.sampled_from(["fourth", "Public"]),
}
_TOO_MANY = 4_000_000_000


@dataclass(frozen=True)
class Place:
    """A leaf of a row: the way to it, and its path as the contract writes it."""

    steps: tuple[str | int, ...]
    path: str
    bad: st.SearchStrategy[Any]

    def spoil(self, row: Any, value: Any) -> None:
        *way, last = self.steps
        for step in way:
            row = row[step] if isinstance(step, int) else getattr(row, step)
        if isinstance(last, int):
            row[last] = value
        else:
            setattr(row, last, value)


def places(row: Message, steps: tuple[str | int, ...] = (), path: str = "") -> Iterator[Place]:
    """The leaves that a value can be wrong in: all of the row's, and of the messages that are set in it."""
    for field in row.DESCRIPTOR.fields:
        here, named = (*steps, field.name), f"{path}{field.name}"
        value = getattr(row, field.name)
        if field.is_repeated:
            for i, item in enumerate(value if field.message_type is None or not _is_map(field) else ()):
                if field.message_type is not None:
                    yield from places(item, (*here, i), f"{named}[{i}].")
                elif (bad := _bad(field)) is not None:
                    yield Place((*here, i), f"{named}[{i}]", bad)
        elif field.message_type is not None:
            if row.HasField(field.name):
                yield from places(value, here, f"{named}.")
        elif (bad := _bad(field)) is not None:
            yield Place(here, named, bad)


def _is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _bad(field: Any) -> st.SearchStrategy[Any] | None:
    """Values that this field must never take; None where every value of its type is well-formed."""
    if field.type == FieldDescriptor.TYPE_ENUM:
        return st.sampled_from([99, 1_000_000])
    if field.name in ("minutes", "capacity", "programme_version"):
        return st.just(_TOO_MANY)
    if field.type != FieldDescriptor.TYPE_STRING:
        return None
    if field.name in _BY_NAME:
        return _BY_NAME[field.name]
    if field.name == "on" or field.name.endswith("_on"):
        return _BAD_DATE
    if field.name == "unit_kind" or field.name.endswith(("_id", "_ids", "_code")):
        return _BAD_ID
    return _BAD_TEXT


def garbage(message: Any, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """Keyword arguments for any message of this type, of whatever the wire can carry."""
    return st.fixed_dictionaries(
        {}, optional={f.name: _any(f, depth) for f in message.fields if not _too_deep(f, depth)}
    )


def _too_deep(field: FieldDescriptor, depth: int) -> bool:
    return field.message_type is not None and depth > 2


def _any(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if _is_map(field):
        return st.dictionaries(_TEXT, _TEXT, max_size=3)
    single = _any_single(field, depth)
    return st.lists(single, max_size=3) if field.is_repeated else single


def _any_single(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    match field.type:
        case FieldDescriptor.TYPE_MESSAGE:
            assert field.message_type is not None
            return garbage(field.message_type, depth + 1)
        case FieldDescriptor.TYPE_STRING:
            return _TEXT | st.sampled_from(["", "a", "2024-01-01", "20", "x" * 10_000])
        case FieldDescriptor.TYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.TYPE_ENUM | FieldDescriptor.TYPE_INT32:
            return st.integers(-(2**31), 2**31 - 1)
        case FieldDescriptor.TYPE_UINT32:
            return st.integers(0, 2**32 - 1)
        case FieldDescriptor.TYPE_UINT64:
            return st.integers(0, 2**64 - 1)
        case FieldDescriptor.TYPE_INT64:
            return st.integers(-(2**63), 2**63 - 1)
        case _:
            raise AssertionError(f"{field.full_name}: teach this test its type")
