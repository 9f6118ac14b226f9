"""Golden files are added and never changed: held to the committed list, and the list to the history where there is one.

Each check is shown red on a planted fault.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from credence.mentoring.v1 import events_pb2
from eventcore.event import Recorded
from eventcore.goldens import ADDING
from scripts.goldens import LIST, ROOT, faults, listed, present
from servicekit.goldens import PublicGoldens
from services.mentoring.tests.application.test_public_events import GOLDENS

MENTOR = "credence.mentoring.v1.MentorRegistered.full"


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def history() -> list[str]:
    """Every text that the list ever had; none where this tree has not the whole of its history."""
    if not (ROOT / ".git").exists() or git("rev-parse", "--is-shallow-repository").strip() == "true":
        return []
    return [git("show", f"{commit}:{LIST}") for commit in git("log", "--format=%H", "--", LIST).split()]


def rewritten(now: str, texts: list[str]) -> list[str]:
    """Lines that the list once had and no longer has."""
    return sorted({line for text in texts for line in text.splitlines()} - set(now.splitlines()))


def test_every_golden_file_is_listed_and_as_it_was() -> None:
    known, found = listed((ROOT / LIST).read_text()), present(ROOT)
    assert len(known) > 100
    assert faults(known, found) == []
    assert sorted(found.keys() - known) == []


def test_no_line_of_the_list_was_ever_changed() -> None:
    texts = history()
    if not texts:
        assert not os.environ.get("CI"), "the check needs the whole history (fetch-depth: 0)"
        pytest.skip("not the whole history is here: the list alone vouches for the golden files")
    assert rewritten((ROOT / LIST).read_text(), texts) == []


def test_a_changed_a_deleted_and_an_unlisted_file_are_found() -> None:
    known = {"a": "1", "b": "2", "c": "3"}
    assert faults(known, {"a": "1", "b": "4", "d": "5"}) == [
        "b was changed: give its content back and add a new version beside it",
        "c is gone: give it back, what was stored under it is still read",
    ]


def test_a_list_that_was_rewritten_with_its_file_is_found() -> None:
    assert rewritten("1  a\n4  b\n", ["1  a\n2  b\n", "1  a\n"]) == ["2  b"]


@pytest.fixture
def copied(tmp_path: Path) -> PublicGoldens:
    shutil.copytree(GOLDENS.folder, tmp_path / "golden")
    return replace(GOLDENS, folder=tmp_path / "golden")


def telling(goldens: PublicGoldens, **said: Any) -> PublicGoldens:
    """As if the service told this of a mentor."""

    def public(recorded: Recorded[Any]) -> Message | None:
        told = goldens.parts.public(recorded)
        return events_pb2.MentorRegistered(**said) if isinstance(told, events_pb2.MentorRegistered) else told

    return replace(goldens, parts=replace(goldens.parts, public=public))


@pytest.mark.parametrize("adding", ["", "add"])
def test_an_event_that_is_told_otherwise_is_found(
    copied: PublicGoldens, adding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDING, adding)
    wrong = telling(copied, person_id="somebody-else")
    with pytest.raises(AssertionError, match=r"mentor-a|told otherwise"):
        wrong.check_told(MENTOR, wrong.messages()[MENTOR])
    assert len(copied.files()) == len(GOLDENS.files())


def test_an_event_that_says_more_gets_a_file_beside_the_old_one(
    copied: PublicGoldens, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = copied.folder / f"{MENTOR}.1.json"
    first.write_text(json.dumps({"fields": {}, "hex": ""}))  # as if the first release had told less
    with pytest.raises(AssertionError, match="make goldens"):
        copied.check_told(MENTOR, copied.messages()[MENTOR])
    monkeypatch.setenv(ADDING, "add")
    copied.check_told(MENTOR, copied.messages()[MENTOR])
    assert json.loads(first.read_text()) == {"fields": {}, "hex": ""}
    assert json.loads((copied.folder / f"{MENTOR}.2.json").read_text())["fields"] == {"person_id": "mentor-a"}
    copied.check_read(first)


def test_bytes_that_are_read_otherwise_today_are_found(copied: PublicGoldens) -> None:
    path = copied.folder / f"{MENTOR}.1.json"
    pinned = json.loads(path.read_text())
    # The field under another number, as after a change that `buf breaking` refuses.
    path.write_text(json.dumps({**pinned, "hex": "12" + pinned["hex"][2:]}))
    with pytest.raises(AssertionError):
        copied.check_read(path)


def test_a_message_without_a_sample_and_a_file_without_one_are_found(copied: PublicGoldens) -> None:
    without = replace(
        copied, samples={n: e for n, e in copied.samples.items() if not n.startswith("mentor.registered")}
    )
    assert "MentorRegistered: no full sample" in without.faults()
    assert f"{MENTOR}.1.json: no sample" in without.faults()
    empty = telling(copied)
    assert "MentorRegistered: no sample sets credence.mentoring.v1.MentorRegistered.person_id" in empty.faults()


def test_a_field_that_was_withdrawn_is_told_no_more_and_what_was_told_is_still_read(
    copied: PublicGoldens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDING, "add")
    person = "credence.mentoring.v1.MentorRegistered.person_id"
    withdrawn = replace(telling(copied), withdrawn=frozenset({person}))
    withdrawn.check_told(MENTOR, withdrawn.messages()[MENTOR])
    assert json.loads((copied.folder / f"{MENTOR}.2.json").read_text())["fields"] == {}
    withdrawn.check_read(copied.folder / f"{MENTOR}.1.json")
    assert withdrawn.faults() == []
    assert f"MentorRegistered: {person} is told" in replace(copied, withdrawn=frozenset({person})).faults()
