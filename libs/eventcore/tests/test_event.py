"""The codec: older stored versions are read through their chain, and a faulty chain stops the composition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from eventcore.event import Codec, Event, StoredEvent, UnknownEventType, Upcast
from libs.eventcore.tests.sample import JAR


def in_pence(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"pence": data["pounds"] * 100}


def with_payer(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**data, "payer": "unknown"}


class Paid(Event):
    stored_type: ClassVar[str] = "fee.paid.v3"
    upcasts: ClassVar[Mapping[str, Upcast]] = {"fee.paid.v1": in_pence, "fee.paid.v2": with_payer}
    pence: int
    payer: str


def test_every_older_version_is_read_as_the_newest() -> None:
    codec = Codec([Paid])
    expected = Paid(pence=500, payer="unknown")
    assert codec.decode(StoredEvent("fee.paid.v1", {"pounds": 5})) == expected
    assert codec.decode(StoredEvent("fee.paid.v2", {"pence": 500})) == expected
    assert codec.decode(StoredEvent("fee.paid.v3", {"pence": 500, "payer": "unknown"})) == expected
    assert set(codec.reads) == {"fee.paid.v1", "fee.paid.v2", "fee.paid.v3"}


def test_only_the_newest_version_is_written() -> None:
    assert Codec([Paid]).encode(Paid(pence=1, payer="e1")) == StoredEvent("fee.paid.v3", {"pence": 1, "payer": "e1"})


def test_a_version_beyond_the_newest_is_unknown() -> None:
    with pytest.raises(UnknownEventType, match=r"fee\.paid\.v4"):
        Codec([Paid]).decode(StoredEvent("fee.paid.v4", {}))


def reading(stored: str, *older: str) -> type[Event]:
    """An event class stored as `stored`, with upcasts of `older`."""

    class Some(Event):
        stored_type: ClassVar[str] = stored
        upcasts: ClassVar[Mapping[str, Upcast]] = dict.fromkeys(older, with_payer)

    return Some


def test_the_version_before_may_still_be_a_class_of_its_own() -> None:
    # A release that reads what the next one will write, and does not write it yet.
    codec = Codec([reading("fee.paid.v2", "fee.paid.v1"), reading("fee.paid.v3")])
    assert set(codec.reads) == {"fee.paid.v1", "fee.paid.v2", "fee.paid.v3"}


@pytest.mark.parametrize(
    "classes",
    [
        pytest.param([reading("fee.paid.v3", "fee.paid.v1")], id="hole-before-the-newest"),
        pytest.param([reading("fee.paid.v3", "fee.paid.v2")], id="hole-at-the-start"),
        pytest.param([reading("fee.paid.v2")], id="no-upcast"),
        pytest.param([reading("fee.paid.v2", "fee.refunded.v1")], id="another-name"),
        pytest.param([reading("fee.paid.v1", "fee.paid.v2")], id="a-newer-version"),
        pytest.param([reading("fee.paid.v1"), reading("fee.paid.v1")], id="two-classes-one-type"),
        pytest.param([reading("fee.paid.v1"), reading("fee.paid.v2", "fee.paid.v1")], id="two-claim-one-step"),
        pytest.param([reading("fee.paid")], id="no-version"),
        pytest.param([reading("fee.paid.v0")], id="version-zero"),
    ],
)
def test_a_faulty_chain_is_refused(classes: list[type[Event]]) -> None:
    with pytest.raises(ValueError, match="fee"):
        Codec(classes)


def test_a_decider_with_a_faulty_chain_cannot_be_composed() -> None:
    with pytest.raises(ValueError, match=r"jar\.dropped\.v1"):
        replace(JAR, events=(reading("jar.dropped.v2"),))  # type: ignore[arg-type]
