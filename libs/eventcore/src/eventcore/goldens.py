"""Golden files of stored events: what today's release writes and reads, pinned for the decades it will be read.

    GOLDENS = Goldens(folder, deciders, {"full": [...], "required": [...]}, older={"person.registered.v1.full": ...})

A file is `<stored type>.<variant>.json`: added once, never edited. Samples say every optional thing in one variant
and leave it out in another, so that neither can change unseen; other variants show what excludes one another.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from eventcore.decider import Decider
from eventcore.event import Codec, Event, StoredEvent

ADDING = "CREDENCE_GOLDENS"
"""Set to `add`, missing golden files are written; see `make goldens`."""


@dataclass(frozen=True)
class Goldens:
    """The golden files of a service's stored events in `folder`.

    `today` gives samples by variant; `older` what the file of an older version, by its name without `.json`, is read
    as today.
    """

    folder: Path
    deciders: Sequence[Decider[Any, Any, Any]]
    today: Mapping[str, Sequence[Event]]
    older: Mapping[str, Event] = field(default_factory=dict)

    @property
    def samples(self) -> dict[str, Event]:
        """Today's samples by the name of their file."""
        return {f"{e.stored_type}.{variant}": e for variant, events in self.today.items() for e in events}

    @property
    def _codec(self) -> Codec:
        return Codec([event for decider in self.deciders for event in decider.events])

    def check(self, name: str, event: Event) -> None:
        """Asserts that `event` is written exactly as its file says, and read from it; or only read, being older."""
        codec, path = self._codec, self.folder / f"{name}.json"
        written = json.loads(json.dumps(codec.encode(event).data))
        if name in self.samples:
            assert codec.decode(StoredEvent(event.stored_type, written)) == event
            add_or_fail(path, written)
            assert written == json.loads(path.read_text()), f"{event.stored_type} changed its shape: name a new version"
        data = json.loads(path.read_text())
        assert codec.decode(StoredEvent(name.rpartition(".")[0], data)) == event
        assert data == json.loads(path.read_text()), "an upcast changed its argument"

    def faults(self) -> list[str]:
        """What is not covered: types without samples, files without a sample, fields never set or never left out."""
        codec = self._codec
        known = [*self.samples, *self.older]
        found = [f"{t}: no full sample" for t in codec.reads if f"{t}.full" not in known]
        found += [f"{path.name}: no sample" for path in sorted(self.folder.glob("*.json")) if path.stem not in known]
        older = {name.rpartition(".")[0] for name in self.older}
        # Today's required samples follow from the model; of an older version no model is left to ask.
        found += [f"{t}: no required sample" for t in sorted(older) if f"{t}.required" not in self.older]
        found += [f"{name} is still written" for name in older & {e.stored_type for e in self.samples.values()}]
        for cls in (event for decider in self.deciders for event in decider.events):
            found += unseen(cls, [event for event in self.samples.values() if type(event) is cls])
        return found


def add_or_fail(path: Path, content: object) -> None:
    """Writes a missing golden file where that is asked for, else fails for it."""
    if path.exists():
        return
    assert os.environ.get(ADDING) == "add", f"{path.name} is missing: run `make goldens`, look at it and commit it"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def unseen(cls: type[BaseModel], samples: Sequence[BaseModel]) -> list[str]:
    """The fields of a model, and of every model it may hold, that no sample sets, or that every sample sets although
    they may be left out."""
    set_, left_out = set[tuple[type[BaseModel], str]](), set[tuple[type[BaseModel], str]]()
    for sample in samples:
        for holder in _held(sample):
            for name, info in type(holder).model_fields.items():
                (set_ if _says(getattr(holder, name), info) else left_out).add((type(holder), name))
    found = []
    for model in _reachable(cls, {}):
        for name, info in model.model_fields.items():
            if (model, name) not in set_:
                found.append(f"{cls.__name__}: no sample sets {model.__name__}.{name}")
            if _optional(info) and (model, name) not in left_out:
                found.append(f"{cls.__name__}: no sample leaves out {model.__name__}.{name}")
    return found


def _says(value: object, info: FieldInfo) -> bool:
    empty = value is None or (isinstance(value, Collection) and not isinstance(value, str) and not value)
    return not empty and (info.is_required() or value != info.get_default(call_default_factory=True))


def _optional(info: FieldInfo) -> bool:
    if any(getattr(rule, "min_length", 0) for rule in info.metadata):
        return False
    return not info.is_required() or type(None) in get_args(info.annotation)


def _held(value: object) -> Iterator[BaseModel]:
    """The models in a value, itself included."""
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from _held(getattr(value, name))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _held(each)
    elif isinstance(value, Collection) and not isinstance(value, str | bytes):
        for each in value:
            yield from _held(each)


def _reachable(annotation: Any, seen: dict[type[BaseModel], None]) -> list[type[BaseModel]]:
    """The models that a value of this type may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
        seen[annotation] = None
        for info in annotation.model_fields.values():
            _reachable(info.annotation, seen)
    for part in get_args(annotation):
        _reachable(part, seen)
    return list(seen)
