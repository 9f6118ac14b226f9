"""Golden files of public events: the messages that today's release puts on the topic, field by field and byte by byte.

A file is `<message's full name>.<variant>.<n>.json`: added once, never edited. A message may gain fields, and then its
next `n` is added, beside the old file; whoever listens today must still read what was told before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from eventcore.event import Event, Recorded
from eventcore.goldens import ADDING, add_or_fail
from eventcore.testing import NOON
from servicekit.runtime import Parts, parser, published

VERSION = 4  # of the sample in its stream


@dataclass(frozen=True)
class PublicGoldens:
    """The golden files in `folder` of what a service tells of `samples` (named `<stored type>.<variant>`).

    `streams` gives a sample stream for each category. `untold` names messages of the contract that nothing tells yet;
    `withdrawn` fields, by their full names, that are told no more: they stay in the contract, for what was told before.
    """

    folder: Path
    parts: Parts
    contract: ModuleType
    samples: Mapping[str, Event]
    streams: Mapping[str, str]
    untold: tuple[str, ...] = ()
    withdrawn: frozenset[str] = frozenset()

    def messages(self) -> dict[str, Message]:
        """What today's release tells, by message and variant. Events that go out as bare markers are left out."""
        found: dict[str, Message] = {}
        for name, event in self.samples.items():
            stream = self.streams[name.partition(".")[0]]
            told = published(self.parts.public)(Recorded(stream, VERSION, event, NOON))
            if told is not None:
                found[f"{told.type}.{name.rpartition('.')[2]}"] = parser([self.contract])(told.type, told.data)
        return found

    def check_told(self, name: str, message: Message) -> None:
        """Asserts that the message is told exactly as its newest file says."""
        told = content(message)
        newest = self._newest(name)
        path = self.folder / f"{name}.{max(newest, 1)}.json"
        if newest and json.loads(path.read_text()) != told and os.environ.get(ADDING) == "add":
            before = content(self._still_told(path))["fields"]
            assert extends(told["fields"], before), f"{name} no longer tells what it told: {before}"
            path = self.folder / f"{name}.{newest + 1}.json"
        add_or_fail(path, told)
        assert json.loads(path.read_text()) == told, f"{name} is told otherwise: if it gained fields, `make goldens`"

    def check_read(self, path: Path) -> None:
        """Asserts that what was told once is read today, by all who listen, as it was meant."""
        assert content(self._read(path))["fields"] == json.loads(path.read_text())["fields"]

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.json"))

    def faults(self) -> list[str]:
        """What is not covered: messages nothing tells, files of no sample, fields that no sample sets."""
        told = self.messages()
        found = [f"{path.name}: no sample" for path in self.files() if path.name.rsplit(".", 2)[0] not in told]
        for descriptor in self.contract.DESCRIPTOR.message_types_by_name.values():
            samples = [m for name, m in told.items() if name.rpartition(".")[0] == descriptor.full_name]
            if f"{descriptor.full_name}.full" not in told:
                found += [f"{descriptor.name}: no full sample"] if descriptor.name not in self.untold else []
                continue
            set_ = self.withdrawn | {field for sample in samples for field in _set(sample)}
            found += [
                f"{descriptor.name}: {field} is told" for s in samples for field in _set(s) if field in self.withdrawn
            ]
            found += [
                f"{descriptor.name}: no sample sets {field}" for field in _fields(descriptor, {}) if field not in set_
            ]
        return found

    def _read(self, path: Path) -> Message:
        name = path.name.removesuffix(".json").rsplit(".", 2)[0]
        return parser([self.contract])(name, bytes.fromhex(json.loads(path.read_text())["hex"]))

    def _still_told(self, path: Path) -> Message:
        """What a file tells, without what was withdrawn since."""
        message = self._read(path)
        for each in _messages(message):
            for field, _ in each.ListFields():
                if field.full_name in self.withdrawn:
                    each.ClearField(field.name)
        return message

    def _newest(self, name: str) -> int:
        numbers = [path.name.removesuffix(".json").rpartition(".") for path in self.folder.glob(f"{name}.*.json")]
        return max((int(number) for rest, _, number in numbers if rest == name), default=0)


def content(message: Message) -> dict[str, Any]:
    """What a file holds: the fields that are set, and the bytes."""
    return {
        "fields": MessageToDict(message, preserving_proto_field_name=True),
        "hex": message.SerializeToString(deterministic=True).hex(),
    }


def extends(more: object, less: object) -> bool:
    """Whether `more` says all that `less` says."""
    if isinstance(less, Mapping):
        return isinstance(more, Mapping) and all(key in more and extends(more[key], less[key]) for key in less)
    if isinstance(less, list):
        return isinstance(more, list) and len(more) == len(less) and all(map(extends, more, less))
    return more == less


def _fields(descriptor: Descriptor, seen: dict[str, list[str]]) -> list[str]:
    """Full names of the fields of a message and of every message in it."""
    if descriptor.full_name in seen:
        return []
    seen[descriptor.full_name] = [field.full_name for field in descriptor.fields]
    for field in descriptor.fields:
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            _fields(field.message_type, seen)
    return [name for names in seen.values() for name in names]


def _messages(message: Message) -> Iterator[Message]:
    """The message and every message in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in [value] if isinstance(value, Message) else value:
            yield from _messages(each)


def _set(message: Message) -> Iterator[str]:
    for each in _messages(message):
        yield from (field.full_name for field, _ in each.ListFields())
