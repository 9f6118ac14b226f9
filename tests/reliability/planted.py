"""Bugs for real processes: a copy of a package with one line changed stands before the project's own on their path.

The same idea as the simulation's `bugs.py`, and the same rule: an edit whose line is not there exactly once is an
error, so that a planted bug cannot quietly stop being planted when the code moves on.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_HOMES = {path.name: path.parent for home in ("libs", "services") for path in ROOT.glob(f"{home}/*/src/*")}


@dataclass(frozen=True)
class Edit:
    """`file` from its package on: `eventcore/deliver.py`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Bug:
    """`red`: the promises whose checkers must notice, and words that must stand in what they find: what a slow machine
    alone could bring about has others."""

    what: str
    red: Mapping[str, str]
    edits: tuple[Edit, ...]


def _bug(what: str, red: str, *edits: tuple[str, str, str], words: str = "") -> Bug:
    return Bug(what, dict.fromkeys(red.split(), words), tuple(Edit(*edit) for edit in edits))


_LATER = '__import__("asyncio").get_running_loop().call_later({}, __import__("asyncio").ensure_future, {})'


def unreadable(stream: str, until: Path | None = None) -> Bug:
    """A release that cannot read the records of one stream, until that file is there: a fault, no planted bug."""
    mended = f'__import__("os").path.exists({str(until)!r})' if until else "False"
    return _bug(
        f"{stream} cannot be read",
        "",
        (
            "eventcore/record.py",
            "event = parse(where.type, value)",
            f'event = parse(where.type, value if where.stream != "{stream}" or {mended} else b"\\xff")',
        ),
    )


BUGS: dict[str, Bug] = {
    "default_acknowledgement": _bug(
        "the framework's default acknowledgement: committed when fetched",
        "P6",
        (
            "eventcore/kafka.py",
            "ack_policy=AckPolicy.MANUAL,\n            no_reply",
            "ack_policy=AckPolicy.ACK_FIRST,\n            no_reply",
        ),
    ),
    "committed_before_marks": _bug(
        "offsets are committed before the marks",
        "P6",
        ("eventcore/fold.py", "await self._marks.mark(", "_later(self._marks.mark, "),
        (
            "eventcore/fold.py",
            "class _Marker:",
            "def _later(do, *a): " + _LATER.format(3600, "do(*a)") + "\n\n\nclass _Marker:",
        ),
    ),
    "answered_before_append": _bug(
        "a command is acknowledged before it is stored",
        "P1",
        (
            "eventcore/execute.py",
            "inserted = await self._store.insert(appends)",
            "inserted = [Insert.STORED for _ in appends]; " + _LATER.format(1, "self._store.insert(appends)"),
        ),
    ),
    "published_before_append": _bug(
        "published before appended",
        "P4",
        (
            "eventcore/execute.py",
            "inserted = await self._store.insert(appends)",
            "await self.early(appends); inserted = await self._store.insert(appends)",
        ),
        (
            "servicekit/runtime.py",
            "    kernel = Kernel(\n",
            "    from eventcore.deliver import own_events\n"
            "    executor.early = lambda appends: bus.send("
            "[publish._record(e) for a in appends for e in own_events(deciders, a)])\n"
            "    kernel = Kernel(\n",
        ),
    ),
    "no_unique_id": _bug(
        "the unique index on a stream's slots is dropped",
        "P2",
        ("eventcore/mongo/appends.py", '"_id": append.id,', '"_id": f"{append.id}/{secrets.token_hex(4)}",'),
    ),
    "no_replay": _bug(
        "the own step in the stream is not looked for",
        "P7",
        ("eventcore/execute.py", "steps.update({step.id: step for step in append.steps})", "pass"),
    ),
    "cleared_before_acknowledgement": _bug(
        "the deliverer clears its mark before the broker acknowledged",
        "P3",
        (
            "eventcore/deliver.py",
            "acknowledged = await self._bus.send(",
            'await self._store.clear("unpublished", [a for _, behind in heads.values() for a in behind]); '
            "acknowledged = await self._bus.send(",
        ),
    ),
    "sends_ahead": _bug(
        "the deliverer sends ahead of a record that is not acknowledged",
        "P5",
        ("eventcore/deliver.py", "if queue and stream not in failed}", "if queue}"),
    ),
    "retry_breaks_order": _bug(
        "what waits for its retry is sent again the newest first",
        "P5",
        (
            "eventcore/deliver.py",
            "        for append, events in found:\n",
            "        for append, events in reversed(found):\n",
        ),
    ),
    "two_topics": _bug(
        "a stream is spread over two topics",
        "P3 P4 P5",
        (
            "eventcore/record.py",
            "return Record(topic, event.stream,",
            'return Record((topic, "credence.mentoring.v1")[event.version % 2], event.stream,',
        ),
    ),
    "no_version_check": _bug(
        "a fold without the version check",
        "P6",
        (
            "eventcore/fold.py",
            'version, document, trace = seen.version, view.read(seen), ""',
            'version, document, trace = min(seen.version, max(r.version for r in waiting) - 1), view.read(seen), ""',
        ),
        ("eventcore/fold.py", "if folded.version == folded.seen.version:", "if not folded.version:"),
    ),
    "no_evaluation_guard": _bug(
        "an evaluation's result is written without its guard, by an evaluator that takes its time",
        "P6",
        (
            "eventcore/mongo/targets.py",
            '{"_id": finding.target, "revision": finding.revision}',
            '{"_id": finding.target}',
        ),
        (
            "eventcore/evaluate.py",
            "        written = await self._targets.finish(",
            '        await __import__("asyncio").sleep(2)\n        written = await self._targets.finish(',
        ),
    ),
    "held_in_part": _bug(
        "of a stream that stands aside only the record at fault is held, not what is behind it",
        "P9",
        ("eventcore/held.py", "if r.version >= fault.version]", "if r.version == fault.version]"),
        words="enrolment-c1--p7",
    ),
    "one_stops_all": _bug(
        "one record that cannot be folded stops its consumer",
        "P9",
        ("eventcore/held.py", "if held + len(fresh) <= limits.streams and", "if False and"),
        words="TooManyFaults",
    ),
    "dropped_unfolded": _bug(
        "what is held is dropped when it is tried, folded or not",
        "P9 P10",
        (
            "eventcore/held.py",
            "done = [e for e in page if fault is None or e.version < fault.version]",
            "done = list(page)",
        ),
        words="enrolment-c1--p7",
    ),
    "gives_up": _bug(
        "the publisher ends with the first send that fails",
        "P12",
        ("eventcore/loops.py", "except (StoreUnavailable, Undelivered) as error:", "except StoreUnavailable as error:"),
        words="ended by",
    ),
    "dawdles": _bug(
        "a consumer waits for seconds before it folds",
        "P17",
        (
            "eventcore/kafka.py",
            "        if not await self._handled(batch):",
            "        await asyncio.sleep(3)\n        if not await self._handled(batch):",
        ),
    ),
    "no_drain": _bug(
        "a service that is asked to end does not end well",
        "P11",
        ("servicekit/process.py", "return self._exit if drained else Exit.INTERNAL", "return Exit.INTERNAL"),
    ),
}

# What a release may not do while the one before still runs.
BAD_RELEASES: dict[str, Bug] = {
    "another_digest": _bug(
        "a command has a new field, so that it no longer counts as the one that the other release was sent",
        "P7",
        (
            "enrolment/domain/person.py",
            "    email: Sealed | None\n\n\nclass NamePerson(Command):",
            '    email: Sealed | None\n    title: str = ""\n\n\nclass NamePerson(Command):',
        ),
    ),
    "another_fold": _bug(
        "a view is folded otherwise, under its old name",
        "P6",
        (
            "enrolment/views/people.py",
            "return PERSON.evolve(document or PERSON.initial, event.event, event.version)",
            "return PERSON.evolve(document or PERSON.initial, event.event, event.version)"
            '.model_copy(update={"registered_name": None})',
        ),
    ),
    "written_at_once": _bug(
        "a new version of a stored event is written by the first release that can read it",
        "P13",
        (
            "enrolment/domain/person.py",
            '    stored_type: ClassVar[str] = "person.named.v1"\n',
            '    stored_type: ClassVar[str] = "person.named.v2"\n'
            '    upcasts: ClassVar[Mapping[str, Upcast]] = {"person.named.v1": dict}\n',
        ),
    ),
}


def overlay(folder: Path, *bugs: Bug) -> Path:
    """A folder for PYTHONPATH with the packages that the bugs are in. Raises LookupError where the code moved away."""
    edits = [edit for bug in bugs for edit in bug.edits]
    for package in sorted({edit.file.partition("/")[0] for edit in edits}):
        # With what is compiled already: it is taken for files that were not touched since, and only for them.
        shutil.copytree(_HOMES[package] / package, folder / package)
    for edit in edits:
        file = folder / edit.file
        source = file.read_text()
        if source.count(edit.old) != 1:
            times = source.count(edit.old)
            raise LookupError(f"{edit.file} has {edit.old!r} {times} times, not once: mend the planted bug")
        changed = source.replace(edit.old, edit.new)
        compile(changed, str(file), "exec")
        file.write_text(changed)
    return folder
