"""All that a service holds about a person: what its streams say, what it makes of them, what is held of them.

Which streams are about somebody, each service says itself (`Parts.about`); everything else is the same in all.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from eventcore.decider import category_of
from eventcore.evaluate import Evaluation, Reader
from eventcore.fold import View
from eventcore.limits import HELD_PAGE_MAX
from eventcore.personal import Erased, Keyring, Sealed
from eventcore.store import Append, AppendStore, Entry, HeldStore, TargetStore, ViewStore

Kind: TypeAlias = Literal["event", "step", "document", "result", "held"]
_SEALED = set(Sealed.model_fields)
# What a step is kept for besides: to know a repeated command again, and to follow it. Neither says anything of anybody.
_STEP_FIELDS = ("id", "actor", "correlation", "causation", "first", "last")


@dataclass(frozen=True)
class About:
    """Streams about a person: those that are theirs as a `whole`, and those of which only what `names` them is."""

    whole: Collection[str]
    names: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """See `credence.operations.v1.ExportPersonResponse`; `content` is JSON-shaped."""

    kind: Kind
    stream: str
    version: int
    name: str
    recorded: datetime | None
    content: Any


@dataclass(frozen=True)
class PersonData:
    """Reads one service's stores. `about(reader, person)` names the streams, its own and those it listens to."""

    about: Callable[[Reader, str], Awaitable[About]]
    views: Sequence[View[Any]]
    evaluations: Sequence[Evaluation]
    appends: AppendStore
    documents: ViewStore
    targets: TargetStore
    keyring: Keyring
    held: HeldStore
    consumers: Sequence[str]  # that may hold something

    async def of(self, person: str) -> AsyncIterator[Item]:
        """Every item, stream by stream. Raises StoreUnavailable, and then it was not all."""
        reader = Reader(self.documents)
        about = await self.about(reader, person)
        about = About({*about.whole, *await self._held_streams(person)}, about.names)
        targets: dict[str, set[str]] = {}
        for stream in sorted({*about.whole, *about.names}):
            stored = (await self.appends.load([stream])).get(stream, [])
            items = [item for append in stored for item in _appended(append)]
            if stream in about.whole:
                items += await self._documents(reader, stream, targets)
                items += [item async for item in self._held(stream)]
            else:
                named = {item.version for item in items if item.kind == "event" and names(item.content, person)}
                items = [item for item in items if item.version in named]
            for item in await self._opened(person, items):
                yield item
        for evaluation, found in sorted(targets.items()):
            mine = sorted(target for target in found if is_of(target, person))
            for target, result in sorted((await self.targets.read(evaluation, mine)).items()):
                content = {"result": result.result, "basis": dict(result.basis)}
                yield Item("result", target, 0, evaluation, None, content)

    async def _documents(self, reader: Reader, stream: str, targets: dict[str, set[str]]) -> list[Item]:
        """What the views make of a stream; and, into `targets`, what evaluations rest on it."""
        items = []
        for view in self.views:
            if view.category != category_of(stream):
                continue
            fact = (await reader.get(view, [stream]))[stream]
            if fact.document is None:
                continue
            items.append(Item("document", stream, fact.version, view.name, None, fact.document.model_dump(mode="json")))
            for evaluation in self.evaluations:
                if dependants := evaluation.dependants.get(view.name):
                    found = await dependants(reader, {stream: fact.document})
                    targets.setdefault(evaluation.name, set()).update(found)
        return items

    async def _held_streams(self, person: str) -> set[str]:
        """Streams of theirs that are held: of one that is since its first event no view tells."""
        found, after = set[str](), ("", "")
        while heads := await self.held.find(after=after, limit=HELD_PAGE_MAX):
            after = (heads[-1].consumer, heads[-1].stream)
            found |= {head.stream for head in heads if is_of(head.stream.partition("-")[2], person)}
        return found

    async def _held(self, stream: str) -> AsyncIterator[Item]:
        """The records of a stream that wait until it can be folded again, as they came."""
        for consumer in self.consumers:
            for head in (await self.held.heads(consumer, [stream])).values():
                after = 0
                while entries := await self.held.entries(
                    consumer, head.epoch, stream, after=after, limit=HELD_PAGE_MAX
                ):
                    after = entries[-1].version
                    for entry in entries:
                        yield Item("held", stream, entry.version, entry.topic, entry.at, _record(entry))

    async def _opened(self, person: str, items: Sequence[Item]) -> list[Item]:
        sealed = list({value for item in items for value in _sealed(item.content) if value.person == person})
        opened = dict(zip(sealed, await self.keyring.open_all(sealed), strict=True))
        return [Item(i.kind, i.stream, i.version, i.name, i.recorded, _with_opened(i.content, opened)) for i in items]


def _record(entry: Entry) -> dict[str, Any]:
    return {
        "headers": {name: (value or b"").decode(errors="replace") for name, value in entry.headers},
        "value_base64": base64.b64encode(entry.value or b"").decode(),
    }


def is_of(name: str, person: str) -> bool:
    """Whether a target is the person, or joined with them: `p1`, `autumn--p1`."""
    return name == person or name.endswith(f"--{person}")


def names(content: Any, person: str) -> bool:
    """Whether a value in there is the person's id, or joined with it."""
    match content:
        case str():
            return content == person or content.endswith(f"--{person}") or content.startswith(f"{person}--")
        case Mapping():
            return any(names(each, person) for pair in content.items() for each in pair)
        case list() | tuple():
            return any(names(each, person) for each in content)
        case _:
            return False


def _appended(append: Append) -> Iterator[Item]:
    for version, event in enumerate(append.events, start=append.first):
        yield Item("event", append.stream, version, event.type, append.recorded, dict(event.data))
    for step in append.steps:
        content = {name: getattr(step, name) for name in _STEP_FIELDS}
        yield Item("step", append.stream, step.last, "command", append.recorded, content)


def _sealed(content: Any) -> Iterator[Sealed]:
    match content:
        case Mapping():
            if content.keys() == _SEALED:
                yield Sealed.model_validate(content)
                return
            for each in content.values():
                yield from _sealed(each)
        case list() | tuple():
            for each in content:
                yield from _sealed(each)


def _with_opened(content: Any, opened: Mapping[Sealed, str | Erased]) -> Any:
    """The same with each sealed value opened; another person's stays away."""
    match content:
        case Mapping() if content.keys() == _SEALED:
            value = opened.get(Sealed.model_validate(content))
            if isinstance(value, str):
                return value
            return {"erased": True} if value is not None else {"of_another": True}
        case Mapping():
            return {name: _with_opened(each, opened) for name, each in content.items()}
        case list() | tuple():
            return [_with_opened(each, opened) for each in content]
        case _:
            return content
