"""The wire: a record says which event it is, and what cannot be read is poison where it stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore.fold import MARKER, Undecodable
from eventcore.limits import VERSION_MAX
from eventcore.record import CONTENT_TYPE, MARKER_TYPE, Malformed, PublicEvent, Record, decode, encode, origin
from eventcore.testing import NOON

from .sample import Dropped, dropped, parse

JAR_1 = "jar-1--a"


THREE = PublicEvent("sample.Dropped", b"3")


def sent(public: PublicEvent | None = THREE) -> Record:
    return encode(dropped(JAR_1, 7), public, topic="jars.v1", source="sample", epoch="e1")


def test_an_event_goes_out_as_a_cloudevent_in_binary_mode() -> None:
    record = sent()

    assert (record.topic, record.key, record.value) == ("jars.v1", JAR_1, b"3")
    assert record.headers == {
        "ce_specversion": "1.0",
        "ce_id": f"{JAR_1}@7",
        "ce_type": "sample.Dropped",
        "ce_source": "sample?epoch=e1",
        "ce_time": "2024-10-01T12:00:00+00:00",
        "ce_subject": JAR_1,
        "ce_sequence": "7",
        "ce_partitionkey": JAR_1,
        "content-type": CONTENT_TYPE,
    }


def test_what_went_out_comes_in_as_the_same_event() -> None:
    record = sent()

    where = origin(record.headers)
    event = decode(where, record.value, parse)

    assert (where.source, where.epoch) == ("sample", "e1")
    assert (event.id, event.recorded, event.event) == (f"{JAR_1}@7", NOON, Dropped(coins=3))


def test_an_event_without_a_public_form_goes_as_a_marker() -> None:
    record = sent(None)

    assert (record.headers["ce_type"], record.value) == (MARKER_TYPE, b"")
    assert decode(origin(record.headers), record.value, parse).event is MARKER


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("ce_id", "jar-1--a@8"),
        ("ce_sequence", "8"),
        ("ce_sequence", "seven"),
        ("ce_sequence", "0"),
        ("ce_sequence", "-1"),
        ("ce_subject", "jar-2--a"),
        ("ce_source", "sample"),
        ("ce_time", "noon"),
    ],
)
def test_headers_that_disagree_are_malformed(header: str, value: str) -> None:
    with pytest.raises(Malformed):
        origin({**sent().headers, header: value})


@pytest.mark.parametrize("sequence", ["0", str(VERSION_MAX + 1), str(2**63), "9" * 5000], ids=len)
def test_a_version_that_no_store_can_hold_is_malformed_though_the_headers_agree(sequence: str) -> None:
    with pytest.raises(Malformed):
        origin({**sent().headers, "ce_id": f"{JAR_1}@{sequence}", "ce_sequence": sequence})


def test_the_highest_version_is_one() -> None:
    headers = {**sent().headers, "ce_id": f"{JAR_1}@{VERSION_MAX}", "ce_sequence": str(VERSION_MAX)}

    assert origin(headers).version == VERSION_MAX


@pytest.mark.parametrize("header", ["ce_id", "ce_sequence", "ce_subject", "ce_source", "ce_time", "ce_type"])
def test_a_missing_header_is_malformed_and_named(header: str) -> None:
    with pytest.raises(Malformed, match=header):
        origin({k: v for k, v in sent().headers.items() if k != header})


@pytest.mark.parametrize(
    ("kind", "value"), [("sample.Unknown", b"3"), ("sample.Dropped", b"three"), ("sample.Dropped", None)]
)
def test_a_record_that_cannot_be_read_stands_as_undecodable(kind: str, value: bytes | None) -> None:
    where = origin({**sent().headers, "ce_type": kind})

    event = decode(where, value, parse)

    assert event.version == 7
    assert isinstance(event.event, Undecodable)


def test_a_tombstone_is_no_marker() -> None:
    assert isinstance(decode(origin(sent(None).headers), None, parse).event, Undecodable)


@given(st.dictionaries(st.sampled_from(sorted(sent().headers)), st.text()))
def test_any_headers_give_an_origin_or_are_malformed(headers: dict[str, str]) -> None:
    try:
        where = origin({**sent().headers, **headers})
    except Malformed:
        return
    assert where.version >= 1
    assert where.epoch
