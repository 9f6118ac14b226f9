"""The schema's page, written from the model, so that no field is undocumented and no page is out of date.

`python -m catalogue.schema_page docs/catalogue.md` writes it; a test compares.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from catalogue.limits import ID_MAX_LENGTH, RULE_DEPTH_MAX, RULE_NODES_MAX
from catalogue.model import CLOCK_PATTERN, FIELD_ID_PATTERN, ONE_LINE_PATTERN, SCHEMA_VERSION, Part, Programme

_PATTERNS: Final = {FIELD_ID_PATTERN: "id", CLOCK_PATTERN: "`HH:MM`", ONE_LINE_PATTERN: "text"}

_HEAD: Final = f"""\
# The catalogue

<!-- Written by `python -m catalogue.schema_page docs/catalogue.md` from the model; a test compares the two. -->

One YAML file in `catalogue/` is one version of one programme. A new scheme is a new file, never code.
`credence catalogue check` reads every file to its end and reports every fault with its file and line: YAML, unknown
keys, types, ranges, references, duplicates, sums, thresholds nobody can reach, credit without assessment, credit that
counts towards itself. `credence catalogue load` takes none that has a fault.

## Versions
- **Of a programme.** `id` and `version` name a file's content for good: once loaded a version never changes, and
  learners stay on theirs. A change, however small, is a copy of the file with the next `version`; both files stay.
  An award's rule version is a digest of its rule, so that versions which leave a rule as it is share it.
- **Of the schema.** `credence: {SCHEMA_VERSION}` is required. A key that may be left out is added within a version:
  files written before it mean what they meant. Whatever would change the meaning of a file already written (a key
  taken away, renamed or newly required, another default) is a new schema version; a program reads the versions it
  knows and refuses others in the line where they stand.

## Values
- *id*: lower-case letters and digits joined by single hyphens, at most {ID_MAX_LENGTH} characters (`risk`,
  `residential-1-2`). Composite ids join them with `--`, which an id never contains. Purely numeric ids need quotes.
- *text*: one line, 1 to 200 characters (words for units: 30), with no space at its ends.
- *decimal*: digits as they stand (`20`, `0.75`), at most 4 before and 4 after the point, with or without quotes;
  never a float.
- Only plain YAML: no anchors' aliases, no tags, no key twice, UTF-8, at most 256 KiB.
"""

_RULES: Final = f"""
## Rules
A rule is a tree. Each node names its `check`, and may carry an `id` (unique in the rule) and a `title` that the
learner reads instead of the general words. At most {RULE_DEPTH_MAX} levels and {RULE_NODES_MAX} nodes. The learner sees
the same tree with, at each node, how much of how much, the facts that count, what is missing and whether it is still
possible.

What attendance is worth is the rule's to say, in its `treatment`. Present is one unit and absent none. Unmarked is
neither: it may still be marked. A cancelled session leaves the denominator. What is dated outside the enrolment's
window does not count.
"""


def page() -> str:
    """The whole page, ending in a newline."""
    schema = Programme.model_json_schema()
    parts: dict[str, dict[str, Any]] = {"Programme": schema, **schema["$defs"]}
    rules = [name for name, part in parts.items() if "check" in part["properties"]]
    others = [name for name in _in_order(Programme) if name not in (*rules, "Treatment", "AttributeValue")]
    text = _HEAD
    for name in others:
        text += _section(name, parts[name], "##")
    text += _RULES
    for name in sorted(rules, key=lambda each: _ORDER.index(parts[each]["properties"]["check"]["const"])):
        text += _section(parts[name]["properties"]["check"]["const"], parts[name], "###", skip=("check", "id", "title"))
    for name in ("AttributeValue", "Treatment"):
        text += _section(name, parts[name], "###")
    return text


_ORDER: Final = (
    "all-of",
    "any-of",
    "at-least",
    "attended",
    "share-of-sessions",
    "meetings-held",
    "assessment-passed",
    "credits",
    "always",
)


def _in_order(model: type[Part]) -> list[str]:
    """Names of the model and of the parts it is made of, each where it is first used."""
    names: list[str] = []

    def visit(schema: dict[str, Any], name: str, definitions: dict[str, Any]) -> None:
        if name in names:
            return
        names.append(name)
        for each in schema["properties"].values():
            for reference in _references(each):
                visit(definitions[reference], reference, definitions)

    whole = model.model_json_schema()
    visit(whole, model.__name__, whole["$defs"])
    return names


def _references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else []
        return own + [name for key, each in schema.items() if key != "discriminator" for name in _references(each)]
    if isinstance(schema, list):
        return [name for each in schema for name in _references(each)]
    return []


def _section(title: str, schema: dict[str, Any], marks: str, skip: tuple[str, ...] = ()) -> str:
    text = f"\n{marks} {title}\n{schema['description']}\n"
    rows = [(name, each) for name, each in schema["properties"].items() if name not in skip]
    if rows:
        text += "\n| key | value | left out | meaning |\n|---|---|---|---|\n"
    for name, each in rows:
        default = "required" if name in schema.get("required", ()) else _default(each.get("default"))
        text += f"| `{name}` | {_kind(each)} | {default} | {each['description']} |\n"
    return text


def _default(value: Any) -> str:
    match value:
        case None | []:
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case dict():
            return "its defaults"
        case _:
            return f"`{value}`"


def _kind(schema: dict[str, Any]) -> str:
    match schema:
        case {"$ref": reference}:
            return f"[{reference.rsplit('/', 1)[1]}](#{reference.rsplit('/', 1)[1].lower()})"
        case {"discriminator": _}:
            return "a rule"
        case {"const": value}:
            return f"`{value}`"
        case {"enum": choices}:
            return ", ".join(f"`{each}`" for each in choices)
        case {"type": "array", "items": items}:
            least = f"{schema['minItems']} or more, " if "minItems" in schema else ""
            return f"list of {_kind(items).replace('a rule', 'rules')}, {least}at most {schema['maxItems']}"
        case {"type": "integer"}:
            return f"integer, {schema['minimum']} to {schema['maximum']}"
        case {"type": "boolean"}:
            return "`true`, `false`"
        case {"type": "string", "pattern": pattern} if pattern in _PATTERNS:
            return _PATTERNS[pattern]
        case {"anyOf": [{"type": "number"}, {"type": "string"}]}:
            low = "above 0" if "gt" in schema else f"{schema['ge']} or more"
            return f"decimal, {low}" + (f", at most {schema['le']}" if "le" in schema else "")
        case {"anyOf": [value, {"type": "null"}]}:
            return _kind(value)
        case _:
            raise ValueError(f"the page has no words for {schema}")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
