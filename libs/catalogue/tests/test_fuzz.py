"""Whatever stands in a file, `check` answers with faults that have a file and a line, and never with a crash."""

from __future__ import annotations

import copy
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from catalogue import faults
from catalogue.checks import draft_faults
from catalogue.cross_checks import cross_faults
from catalogue.files import check_contents
from catalogue.model import Programme
from catalogue.structure import draft
from catalogue.yaml_source import read

CATALOGUE = Path(__file__).resolve().parents[3] / "catalogue"
FILES = {path.name: path.read_bytes() for path in sorted(CATALOGUE.glob("*.yaml"))}
VALUES = {name: read(content).value for name, content in FILES.items()}

_FRAGMENTS = [
    "", "-", ":", "? ", "[", "]", "{", "}", "&a ", "*a", "!x ", "!!int ", "|", ">", "'", '"', "#", "%YAML 1.1\n",
    "---\n", "...\n", "\t", "<<: ", "~", "yes", "1e400", "0x1F", "-1", "99999999999999999999", ".nan", "2024-01-01",
    "all-of", "check: ", "\x00", "\u2028", "\ud7ff", '"\\ud800"', '"\\x00"', "é", "\r", "null: ", "1: ", "[1]: ",
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A real file with one to four edits: lines taken out, doubled, swapped or indented, fragments and bytes put in."""
    name = draw(st.sampled_from(sorted(FILES)))
    lines = FILES[name].decode().splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 4))):
        i, j = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match draw(st.integers(0, 5)):
            case 0 if len(lines) > 1:
                del lines[i]
            case 1:
                lines.insert(i, lines[j])
            case 2:
                lines[i], lines[j] = lines[j], lines[i]
            case 3:
                lines[i] = " " * draw(st.integers(1, 4)) + lines[i]
            case 4:
                at = draw(st.integers(0, len(lines[i])))
                lines[i] = lines[i][:at] + draw(st.sampled_from(_FRAGMENTS)) + lines[i][at:]
            case _:
                key, colon, _ = lines[i].partition(": ")
                lines[i] = key + colon + draw(st.sampled_from(_FRAGMENTS)) + "\n"
    content = "".join(lines).encode()
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=4)) + content[at:]
    return name, content


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(damaged())
def test_a_damaged_file_gives_faults_with_file_and_line_or_a_sound_programme(file: tuple[str, bytes]) -> None:
    name, content = file
    checked = check_contents({name: content})
    for fault in checked.faults:
        assert fault.file == name
        assert 1 <= fault.line <= content.count(b"\n") + content.count(b"\r") + 3
        assert fault.column >= 1
        assert fault.message
        assert fault.code
        assert str(fault).encode()
    if not checked.faults:
        assert faults(checked.programmes[name]) == []


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2000),
    st.integers(),
    st.sampled_from([Decimal("0.5"), Decimal("NaN"), Decimal("1e999999"), Decimal("-0")]),
    st.text(max_size=8),
    st.sampled_from(["half-day", "risk", "credit", "all-of", "project", "scheduled", "--", "counts"]),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, each in inner for deeper in _paths(each, (*path, key)))]


@st.composite
def twisted(draw: st.DrawFn) -> dict[str, Any]:
    """A real programme with one to three values replaced, removed, or put in from another place."""
    whole = copy.deepcopy(VALUES[draw(st.sampled_from(sorted(VALUES)))])
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_paths(whole)[1:] or [("id",)]))
        holder = whole
        for step in path[:-1]:
            holder = holder[step]
        if draw(st.integers(0, 3)) == 0:
            del holder[path[-1]]
        elif draw(st.booleans()):
            source = VALUES[draw(st.sampled_from(sorted(VALUES)))]
            for step in draw(st.sampled_from(_paths(source))):
                source = source[step]
            holder[path[-1]] = copy.deepcopy(source)
        else:
            holder[path[-1]] = draw(values)
    assert isinstance(whole, dict)
    return whole


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(twisted())
def test_the_shape_of_a_file_is_faulty_exactly_when_the_model_refuses_it(value: dict[str, Any]) -> None:
    programme, found = draft(value)
    assert programme is not None
    draft_faults(programme)
    cross_faults([programme, *map(Programme.model_validate, VALUES.values())], drafts=True)
    try:
        sound = Programme.model_validate(value)
    except ValidationError:
        assert found
    else:
        assert found == []
        assert programme == sound
        assert draft_faults(programme) == faults(sound)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_at_all_give_an_answer(content: bytes) -> None:
    assert check_contents({"any.yaml": content}).faults
