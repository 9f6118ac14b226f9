"""Shape of a file against the model: every unknown key, missing key and wrong value, each with its path.

Pydantic alone would name them too, but then there is no programme to run the other checks on. Here each field stands
for itself, and what is sound becomes a draft: a programme that lacks the faulty attributes and nothing else.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from catalogue.fault import Fault, Path
from catalogue.limits import ID_MAX_LENGTH
from catalogue.model import CLOCK_PATTERN, FIELD_ID_PATTERN, ONE_LINE_PATTERN, Part, Programme

_MISSING: Final = object()
_PATTERNS: Final = {
    FIELD_ID_PATTERN: f"lower-case letters and digits joined by single hyphens, at most {ID_MAX_LENGTH} characters",
    CLOCK_PATTERN: "a time of day, HH:MM",
    ONE_LINE_PATTERN: "one line of text with no space at its ends",
}


def draft(value: Any) -> tuple[Programme | None, list[Fault]]:
    """The programme as far as it is sound, and every fault of its shape; None when the file is no mapping at all.

    With no fault the draft is the programme.
    """
    if not isinstance(value, dict):
        return None, [Fault((), "a catalogue file is a mapping: credence, id, version, title, ...", "wrong-type")]
    found: list[Fault] = []
    part = _part(Programme, value, (), found)
    assert isinstance(part, Programme)
    return part, found


def _part(model: type[Part], raw: dict[Any, Any], path: Path, found: list[Fault]) -> Part:
    fields = model.model_fields
    for key in raw:
        if key not in fields:
            hint = _did_you_mean(key, fields)
            found.append(Fault((*path, key), f"unknown key {key!a}{hint}", "unknown-key"))
    part = model.model_construct()
    for name, field in fields.items():
        if name not in raw:
            if field.is_required():
                about = (field.description or "").rstrip(".")
                found.append(Fault(path, f"the key {name!r} is missing ({about})", "missing-key"))
            continue
        value = _field(model, name, raw[name], (*path, name), found)
        # Past the frozen model on purpose: what is faulty must be missing, not defaulted, or checks would read it.
        if value is _MISSING:
            part.__dict__.pop(name, None)
        else:
            part.__dict__[name] = value
    return part


def _field(model: type[Part], name: str, raw: Any, path: Path, found: list[Fault]) -> Any:
    try:
        return _adapter(model, name).validate_python(raw)
    except ValidationError as error:
        errors = [each for each in error.errors(include_url=False, include_context=True) if not _is_echo(each)]
    shape, many = _shape(model.model_fields[name].annotation)
    if not shape:
        found.extend(_fault((*path, *each["loc"]), each) for each in errors)
        return _MISSING
    # What is wrong with the field as such; what is wrong inside it is found by going into it.
    found.extend(_fault(path, each) for each in errors if not each["loc"])
    if many:
        if not isinstance(raw, list):
            return _MISSING
        return tuple(_item(shape, item, (*path, i), found) for i, item in enumerate(raw))
    if not isinstance(raw, dict):
        return _MISSING
    return _item(shape, raw, path, found, said=any(not each["loc"] for each in errors))


def _is_echo(error: ErrorDetails) -> bool:
    """Whether a list is called too short only because its items have faults, which are named themselves."""
    return error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]


def _item(shape: tuple[type[Part], ...], raw: Any, path: Path, found: list[Fault], *, said: bool = False) -> Any:
    """A nested part, or where there is none an empty one, so that positions in the list stay as they are."""
    model = shape[0]
    if not isinstance(raw, dict):
        found.append(Fault(path, f"a mapping is due here, not {_shown(raw)}", "wrong-type"))
        return _empty(model)
    if len(shape) > 1:
        checks = {_check_of(each): each for each in shape}
        check = raw.get("check")
        if not isinstance(check, str) or check not in checks:
            if not said:
                found.append(_unknown_check(raw, path, checks))
            return _empty(model)
        model = checks[check]
    return _part(model, raw, path, found)


def _unknown_check(raw: dict[Any, Any], path: Path, checks: Iterable[str]) -> Fault:
    known = ", ".join(checks)
    if "check" not in raw:
        return Fault(path, f"the key 'check' is missing: one of {known}", "missing-key")
    hint = _did_you_mean(raw["check"], checks)
    return Fault(
        (*path, "check"), f"no check is called {_shown(raw['check'])}{hint or f'; one of {known}'}", "wrong-value"
    )


def _empty(model: type[Part]) -> Part:
    """A part with nothing in it: a check that touches it is passed over."""
    part = model.model_construct()
    part.__dict__.clear()
    return part


def _check_of(model: type[Part]) -> str:
    check: str = get_args(model.model_fields["check"].annotation)[0]
    return check


@cache
def _adapter(model: type[Part], name: str) -> TypeAdapter[Any]:
    field = model.model_fields[name]
    annotated: Any = Annotated[field.annotation, field]
    return TypeAdapter(annotated)


def _shape(annotation: Any) -> tuple[tuple[type[Part], ...], bool]:
    """The parts a field may hold, and whether it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return (annotation,), False
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _shape(args[0])
    if origin is tuple:
        return _shape(args[0])[0], True
    if origin in (Union, types.UnionType):
        return tuple(part for each in args for part in _shape(each)[0]), False
    return (), False


def _fault(path: Path, error: ErrorDetails) -> Fault:
    given, context = error["input"], error.get("ctx", {})
    match error["type"]:
        case "literal_error":
            expected: str = context["expected"]
            choices = [each.strip("' ") for each in expected.replace(" or ", ",").split(",")]
            message = f"{_shown(given)} is not one of {', '.join(choices)}{_did_you_mean(given, choices)}"
            return Fault(path, message, "wrong-value")
        case "string_pattern_mismatch":
            return Fault(path, f"{_shown(given)} is not {_PATTERNS[context['pattern']]}", "wrong-value")
        case "value_error":
            return Fault(path, str(context["error"]), "wrong-value")
        case "union_tag_not_found":
            return Fault(path, "the key 'check' is missing", "missing-key")
        case "union_tag_invalid":
            hint = _did_you_mean(context["tag"], [each.strip("' ") for each in context["expected_tags"].split(",")])
            message = f"no check is called {_shown(context['tag'])}{hint or '; one of ' + context['expected_tags']}"
            return Fault((*path, "check"), message, "wrong-value")
        case "string_type":
            quoted = isinstance(given, int | bool) or (given is not None and not isinstance(given, dict | list))
            hint = " (write it in quotes)" if quoted else ""
            return Fault(path, f"text is due here, not {_shown(given)}{hint}", "wrong-type")
        case kind:
            message = (
                error["msg"]
                .replace("Input should be ", "it should be ")
                .replace("Tuple", "List")
                .replace("tuple", "list")
            )
            is_range = kind.startswith(("greater_than", "less_than", "too_", "string_too"))
            return Fault(path, f"{message}, not {_shown(given)}", "out-of-range" if is_range else "wrong-type")


def _shown(value: Any) -> str:
    match value:
        case dict():
            return "a mapping"
        case list():
            return f"a list of {len(value)}"
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return ascii(value if len(value) <= 60 else value[:57] + "...")
        case _:
            return str(value)


def _did_you_mean(given: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(given)[:60], list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
