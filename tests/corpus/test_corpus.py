"""What earlier releases stored and told is read by today's: the same states, documents, results and public events.

Each check is shown red on a planted change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from eventcore.decider import category_of
from eventcore.evaluate import Evaluation, Facts, Verdict
from eventcore.event import Recorded, StoredEvent
from eventcore.fold import View
from eventcore.store import Versioned
from servicekit.runtime import Parts
from tests.corpus.recording import Recording, lines, read, recordings, write_lines
from tests.corpus.replay import (
    PARTS,
    differing,
    evaluated,
    folded,
    foreign_streams,
    outcomes,
    replay,
    told_today,
    with_bytes,
)

RECORDINGS = sorted(map(read, recordings()), key=lambda recording: recording.now)
BY_NAME = {recording.folder.name: recording for recording in RECORDINGS}
FIRST = RECORDINGS[0]
WITHOUT_A_STORY: Mapping[str, str] = {}  # a type of event -> why no story comes to it
UNKNOWN = 99  # a value that no enum has
UNKNOWN_FIELD = bytes([0xC0, 0xA9, 0x07, 0x01])  # number 15000, a varint


async def changes(recording: Recording, services: Mapping[str, Parts] = PARTS) -> list[str]:
    """What comes of a recording otherwise than it did."""
    found = await outcomes(recording, services)
    return [f"{name}: {line}" for name, now in found.items() for line in differing(recording.outcome(name), now)]


@pytest.mark.parametrize("name", BY_NAME)
async def test_what_came_of_a_recording_comes_of_it_today(name: str) -> None:
    assert await changes(BY_NAME[name]) == []


@pytest.mark.parametrize("name", BY_NAME)
async def test_its_evaluations_are_at_rest_today(name: str) -> None:
    for parts in PARTS.values():
        for evaluation in parts.evaluations:
            _, orders = await evaluated(BY_NAME[name], replay(BY_NAME[name], parts), evaluation)
            assert orders == []


@pytest.mark.parametrize("name", BY_NAME)
async def test_fields_that_a_newer_release_added_change_nothing(name: str) -> None:
    found = await changes(with_bytes(BY_NAME[name], UNKNOWN_FIELD))
    assert [line for line in found if ".told: " not in line] == []


@pytest.mark.parametrize("name", BY_NAME)
def test_documents_that_the_releases_before_and_after_wrote_are_read_today(name: str) -> None:
    # While two releases run side by side they fold into the same documents.
    for service, parts in PARTS.items():
        for view in parts.views:
            for path in BY_NAME[name].folder.glob(f"{service}.view-{view.name}.*.jsonl.gz"):
                for _, (version, body) in lines(path)[1:]:
                    view.read(Versioned(version, body))
                    # And what the next release may write beside it.
                    view.read(Versioned(version, {**body, "of_the_next_release": 1} if body else None))


def unrecorded(recordings: Sequence[Recording]) -> set[str]:
    """Types of events, as they are stored and as they are told, that today's releases read and that nothing recorded
    holds."""
    appends = (append for recording in recordings for found in recording.appends.values() for append in found)
    stored = {event.type for append in appends for event in append.events}
    told = {each.headers["ce_type"] for recording in recordings for found in recording.told.values() for each in found}
    read = {name for parts in PARTS.values() for decider in parts.deciders for name in decider.codec.reads}
    heard = {
        message.full_name
        for parts in PARTS.values()
        for contract in parts.listens_to.values()
        for message in contract.DESCRIPTOR.message_types_by_name.values()
    }
    return read - stored | heard - told


def test_every_event_that_is_read_is_recorded() -> None:
    assert unrecorded(RECORDINGS) == WITHOUT_A_STORY.keys()


def test_an_event_that_no_story_comes_to_is_found() -> None:
    person = {"person.registered.v2", "person.erased.v1", "credence.enrolment.v1.PersonErased"}
    assert unrecorded([FIRST]) >= {*person, "enrolment.requested.v2"}


def test_every_recorded_outcome_is_still_looked_at() -> None:
    kinds = {path.name.split(".")[1] for r in RECORDINGS for path in r.folder.glob("*.jsonl.gz")} - {"appends", "topic"}
    views = {f"view-{view.name}" for parts in PARTS.values() for view in parts.views}
    results = {f"result-{evaluation.name}" for parts in PARTS.values() for evaluation in parts.evaluations}
    assert kinds <= {"states", "told"} | views | results


# A value that a newer release added to an enum is none of those that this one knows.


def enums(message: Message) -> Iterator[tuple[Message, FieldDescriptor]]:
    """The enum fields that a message sets, at any depth, each with the message that holds it."""
    for field, value in message.ListFields():
        if field.enum_type is not None and not field.is_repeated:
            yield message, field
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for each in value if field.is_repeated else [value]:
                yield from enums(each)


def with_value(event: Recorded[Any], position: int, value: int) -> Recorded[Any]:
    """The event as if its enum field at `position` had this value."""
    message = type(event.event)()
    message.CopyFrom(event.event)
    holder, field = list(enums(message))[position]
    setattr(holder, field.name, value)
    return replace(event, event=message)


def come_to(view: View[Any], events: list[Recorded[Any]], last: Recorded[Any]) -> str:
    try:
        return repr(folded(view, [*events, last]))
    except Exception as error:  # noqa: BLE001 (whatever a fold raises, it has not misread)
        return f"refused: {type(error).__name__}"


def misread(recording: Recording, parts: Parts) -> tuple[list[str], int]:
    """Enum fields that a view reads and whose unknown values it takes for one it knows; and how many it reads."""
    found, read_by = [], set[tuple[str, str]]()
    streams = foreign_streams(recording, parts)
    for view in parts.views:
        for events in (found_ for stream, found_ in streams.items() if category_of(stream) == view.category):
            for i, event in enumerate(events):
                if not isinstance(event.event, Message):
                    continue
                for position, (_, field) in enumerate(enums(event.event)):
                    assert field.enum_type is not None
                    if (view.name, field.full_name) in read_by:
                        continue
                    values = [value.number for value in field.enum_type.values if value.number]
                    known = {come_to(view, events[:i], with_value(event, position, value)) for value in values}
                    if len(known) < 2:
                        continue  # here the view does not read it
                    read_by.add((view.name, field.full_name))
                    if not come_to(view, events[:i], with_value(event, position, UNKNOWN)).startswith("refused"):
                        found.append(f"{view.name} takes an unknown {field.full_name} for one that it knows")
    return found, len(read_by)


def test_a_value_that_a_newer_release_added_to_an_enum_is_refused_and_not_taken_for_another() -> None:
    looked_at = 0
    for parts in PARTS.values():
        found, read_by = misread(FIRST, parts)
        assert found == []
        looked_at += read_by
    assert looked_at >= 5


# Planted changes.


def among(parts: Parts) -> dict[str, Parts]:
    return {parts.name: parts}


def with_decider(parts: Parts, category: str, **changed: Any) -> Parts:
    deciders = [replace(d, **changed) if d.category == category else d for d in parts.deciders]
    return replace(parts, deciders=deciders)


def with_fold(parts: Parts, name: str, fold: Any) -> Parts:
    return replace(parts, views=[replace(v, fold=fold) if v.name == name else v for v in parts.views])


async def test_a_changed_evolve_is_found() -> None:
    mentoring = PARTS["mentoring"]
    match = next(d for d in mentoring.deciders if d.category == "match")

    def forgetful(state: Any, event: Any, version: int) -> Any:
        return state if event.stored_type == "match.mentor-chosen.v1" else match.evolve(state, event, version)

    found = await changes(FIRST, among(with_decider(mentoring, "match", evolve=forgetful)))
    assert any(line.startswith("mentoring.states") for line in found)


async def test_a_changed_fold_is_found() -> None:
    accreditation = PARTS["accreditation"]
    people = next(v for v in accreditation.views if v.name == "people")

    def forgetful(document: Any, event: Any) -> Any:
        return document if "Named" in type(event.event).__name__ else people.fold(document, event)

    found = await changes(FIRST, among(with_fold(accreditation, "people", forgetful)))
    assert any(line.startswith("accreditation.view-people") for line in found)


async def test_a_changed_evaluation_is_found() -> None:
    enrolment = PARTS["enrolment"]

    def forgetful(evaluation: Evaluation) -> Evaluation:
        def evaluate(target: str, facts: Facts, now: datetime) -> Verdict:
            return evaluation.evaluate(target, {s: f for s, f in facts.items() if category_of(s) != "pool"}, now)

        return replace(evaluation, evaluate=evaluate)

    planted = replace(enrolment, evaluations=[forgetful(each) for each in enrolment.evaluations])
    try:
        found = await changes(FIRST, among(planted))
    except KeyError:
        return  # it missed the pool before a result could differ
    assert any(line.startswith("enrolment.result-places") for line in found)


async def test_a_stored_event_that_is_read_otherwise_is_found() -> None:
    def moved(event: StoredEvent) -> StoredEvent:
        placed = event.type == "enrolment.placed.v1"
        return replace(event, data={**event.data, "placed_on": "2001-01-01"}) if placed else event

    appends = {
        service: tuple(replace(a, events=tuple(moved(e) for e in a.events)) for a in found)
        for service, found in FIRST.appends.items()
    }
    upcast = replace(FIRST, appends=appends)
    assert any(line.startswith("enrolment.states") for line in await changes(upcast, among(PARTS["enrolment"])))


async def test_an_event_that_is_told_otherwise_or_no_more_is_found() -> None:
    mentoring, told = PARTS["mentoring"], FIRST.outcome("mentoring.told")
    assert differing(told, told_today(FIRST, mentoring)) == []
    assert differing(told, told_today(FIRST, replace(mentoring, public=lambda event: None)))
    fewer = replace(FIRST, appends={**FIRST.appends, "mentoring": FIRST.appends["mentoring"][1:]})
    assert differing(told, told_today(fewer, mentoring))


def test_a_message_that_nobody_knows_is_a_fault() -> None:
    told = FIRST.told["enrolment"]
    strange = replace(told[0], headers={**told[0].headers, "ce_type": "credence.enrolment.v1.PersonCloned"})
    with pytest.raises(ValueError, match="PersonCloned"):
        replay(replace(FIRST, told={**FIRST.told, "enrolment": (strange, *told[1:])}), PARTS["accreditation"])


def test_an_enum_that_is_read_with_a_default_is_found() -> None:
    accreditation = PARTS["accreditation"]
    enrolments = next(v for v in accreditation.views if v.name == "enrolments")

    def guessing(document: Any, event: Any) -> Any:
        for holder, field in enums(event.event) if isinstance(event.event, Message) else ():
            if getattr(holder, field.name) == UNKNOWN:
                setattr(holder, field.name, 1)
        return enrolments.fold(document, event)

    found, _ = misread(FIRST, with_fold(accreditation, "enrolments", guessing))
    assert found


def test_nothing_recorded_is_written_over(tmp_path: Path) -> None:
    write_lines(tmp_path / "x.jsonl.gz", [1])
    with pytest.raises(FileExistsError):
        write_lines(tmp_path / "x.jsonl.gz", [2])
