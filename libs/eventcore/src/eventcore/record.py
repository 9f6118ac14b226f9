"""The wire: one Kafka record per event, CloudEvents 1.0 in binary mode.

Source: CloudEvents 1.0.2, Kafka protocol binding 1.0.2 (headers `ce_*`, UTF-8; the value is the event's data).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from eventcore.decider import is_stream_name
from eventcore.event import Recorded
from eventcore.fold import MARKER, Undecodable, told
from eventcore.limits import TYPE_CHARS_MAX, VERSION_MAX

MARKER_TYPE = "credence.marker"
CONTENT_TYPE = "application/protobuf"


@dataclass(frozen=True, slots=True)
class PublicEvent:
    """What others may see of an event: its type (a protobuf message's full name) and its bytes."""

    type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """A Kafka record. `key` is the stream, so one stream stays in one partition, in order."""

    topic: str
    key: str
    value: bytes
    headers: Mapping[str, str]

    @property
    def raw_headers(self) -> tuple[tuple[str, bytes], ...]:
        """As Kafka carries them."""
        return tuple((name, text.encode()) for name, text in self.headers.items())


class WrongEpoch(Exception):
    """A log of another history: its versions say nothing about the documents folded so far."""


class Malformed(Exception):
    """A record whose headers do not say which event it is."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record's event stands."""

    source: str
    epoch: str
    stream: str
    version: int
    recorded: datetime
    type: str
    trace: str


def encode(event: Recorded[Any], public: PublicEvent | None, *, topic: str, source: str, epoch: str) -> Record:
    """An event on its way out; without a public form it goes as a bare marker, so that versions stay dense."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": event.id,
        "ce_type": public.type if public else MARKER_TYPE,
        "ce_source": f"{source}?epoch={epoch}",
        "ce_time": event.recorded.isoformat(),
        "ce_subject": event.stream,
        "ce_sequence": str(event.version),
        "ce_partitionkey": event.stream,
        "content-type": CONTENT_TYPE,
    }
    if event.trace:
        headers["traceparent"] = event.trace
    return Record(topic, event.stream, public.data if public else b"", headers)


def origin(headers: Mapping[str, str]) -> Origin:
    """Reads a record's headers. Raises Malformed naming what is missing or wrong."""
    try:
        source, _, epoch = headers["ce_source"].partition("?epoch=")
        stream, version = headers["ce_subject"], int(headers["ce_sequence"])
        if headers["ce_id"] != f"{stream}@{version}" or not 1 <= version <= VERSION_MAX or not epoch:
            raise Malformed("not a CloudEvent of ours: ce_id, ce_subject, ce_sequence and ce_source disagree")
        if not is_stream_name(stream):
            raise Malformed("not a CloudEvent of ours: ce_subject is no name of a stream")
        return Origin(
            source,
            epoch,
            stream,
            version,
            datetime.fromisoformat(headers["ce_time"]),
            headers["ce_type"],
            headers.get("traceparent", ""),
        )
    except (KeyError, ValueError) as error:
        what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else "ce_sequence or ce_time is none"
        raise Malformed(f"not a CloudEvent of ours: {what}") from error


def decode(where: Origin, value: bytes | None, parse: Callable[[str, bytes], Any]) -> Recorded[Any]:
    """The event of a record; one that cannot be read stands there as Undecodable."""
    event: Any = MARKER
    if value is None:
        # No bytes are a valid message of every protobuf type: a tombstone would read as an event of empty fields.
        event = Undecodable("a tombstone, which nobody of ours writes")
    elif where.type != MARKER_TYPE:
        try:
            event = parse(where.type, value)
        except Exception as error:  # noqa: BLE001 (whatever the parser raises, the record is the poison)
            event = Undecodable(f"{where.type[:TYPE_CHARS_MAX]} cannot be read: {told(error)}")
    return Recorded(where.stream, where.version, event, where.recorded, where.trace)
