"""The checker of golden files is seen to go red on what it must find."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from eventcore.decider import Command, Decider
from eventcore.event import Event, Upcast
from eventcore.goldens import ADDING, Goldens


class Payer(BaseModel):
    name: str
    note: str | None


class Paid(Event):
    stored_type: ClassVar[str] = "fee.paid.v1"
    pence: int
    payer: Payer | None = None


class PaidLater(Event):
    """As a later release may have it."""

    stored_type: ClassVar[str] = "fee.paid.v2"
    upcasts: ClassVar[Mapping[str, Upcast]] = {"fee.paid.v1": lambda data: {"pence": data["pence"], "by": "unknown"}}
    pence: int
    by: str


def spoiling(data: Any) -> Mapping[str, Any]:
    data["by"] = "unknown"
    data.pop("payer")
    return {**data}


class PaidSpoilt(PaidLater):
    upcasts: ClassVar[Mapping[str, Upcast]] = {"fee.paid.v1": spoiling}


class PaidMisread(PaidLater):
    upcasts: ClassVar[Mapping[str, Upcast]] = {
        "fee.paid.v1": lambda data: {"pence": data["pence"] + 1, "by": "unknown"}
    }


class PaidInPounds(Event):
    """A shape changed without a new version."""

    stored_type: ClassVar[str] = "fee.paid.v1"
    pence: int
    payer: Payer | None = None
    pounds: int = 0


def decide(command: Command, state: int, now: datetime) -> Sequence[Event]:
    return []


def fees(*events: type[Event]) -> Decider[int, Command, Event]:
    return Decider("fee", events, 0, lambda state, event, version: state, decide)


FULL = Paid(pence=5, payer=Payer(name="a", note="b"))
BARE = Paid(pence=5)
HALF = Paid(pence=5, payer=Payer(name="a", note=None))


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Goldens:
    """Three golden files, as a first release committed them."""
    goldens = Goldens(tmp_path / "golden", (fees(Paid),), {"full": [FULL], "required": [BARE], "half": [HALF]})
    monkeypatch.setenv(ADDING, "add")
    for name, event in goldens.samples.items():
        goldens.check(name, event)
    monkeypatch.delenv(ADDING)
    return goldens


def test_what_is_pinned_holds(pinned: Goldens) -> None:
    for name, event in pinned.samples.items():
        pinned.check(name, event)
    assert pinned.faults() == []
    assert json.loads((pinned.folder / "fee.paid.v1.required.json").read_text()) == {"pence": 5, "payer": None}


def test_a_missing_file_is_written_only_when_that_is_asked_for(pinned: Goldens) -> None:
    with pytest.raises(AssertionError, match="make goldens"):
        replace(pinned, today={"more": [BARE]}).check("fee.paid.v1.more", BARE)
    assert not (pinned.folder / "fee.paid.v1.more.json").exists()


@pytest.mark.parametrize("adding", ["", "add"])
def test_a_shape_changed_in_place_is_found_and_never_overwritten(
    pinned: Goldens, adding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDING, adding)
    changed = PaidInPounds(pence=5)
    goldens = replace(pinned, deciders=(fees(PaidInPounds),), today={"required": [changed]})
    before = (pinned.folder / "fee.paid.v1.required.json").read_text()

    with pytest.raises(AssertionError, match="new version"):
        goldens.check("fee.paid.v1.required", changed)

    assert (pinned.folder / "fee.paid.v1.required.json").read_text() == before


def later(pinned: Goldens, cls: type[PaidLater]) -> Goldens:
    read = {f"fee.paid.v1.{variant}": cls(pence=5, by="unknown") for variant in ("full", "required", "half")}
    return replace(pinned, deciders=(fees(cls),), today={"full": [cls(pence=1, by="a")]}, older=read)


def test_the_files_of_an_older_version_are_read_as_todays_event(pinned: Goldens) -> None:
    goldens = later(pinned, PaidLater)
    for name, event in goldens.older.items():
        goldens.check(name, event)


@pytest.mark.parametrize("planted", [PaidMisread, PaidSpoilt])
def test_an_upcast_that_is_wrong_or_changes_its_argument_is_found(pinned: Goldens, planted: type[PaidLater]) -> None:
    goldens = later(pinned, planted)
    with pytest.raises(AssertionError):
        goldens.check("fee.paid.v1.full", goldens.older["fee.paid.v1.full"])


def test_what_is_not_covered_is_named(pinned: Goldens) -> None:
    assert replace(pinned, today={"full": [FULL]}).faults() == [
        "fee.paid.v1.half.json: no sample",
        "fee.paid.v1.required.json: no sample",
        "Paid: no sample leaves out Paid.payer",
        "Paid: no sample leaves out Payer.note",
    ]
    assert replace(pinned, today={"required": [BARE]}).faults()[:1] == ["fee.paid.v1: no full sample"]
    assert "Paid: no sample sets Paid.payer" in replace(pinned, today={"full": [BARE]}).faults()


def test_an_older_version_without_its_file_and_one_still_written_are_named(pinned: Goldens) -> None:
    assert "fee.paid.v1: no full sample" in replace(later(pinned, PaidLater), older={}).faults()
    goldens = later(pinned, PaidLater)
    fuller = {name: event for name, event in goldens.older.items() if not name.endswith(".required")}
    assert "fee.paid.v1: no required sample" in replace(goldens, older=fuller).faults()
    assert not [fault for fault in goldens.faults() if fault.startswith("fee.paid.v1")]
    still = replace(pinned, older={"fee.paid.v1.full": FULL})
    assert "fee.paid.v1 is still written" in still.faults()
