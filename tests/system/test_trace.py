"""One command is one trace through the call, its append, its record on Kafka and another service's fold, and on through
what is decided there (P15): read where it is kept, with the plain drivers. That every span hangs on another is shown in
one process (`tests/services/test_trace.py`): nothing of a service's exports its spans.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from credence.enrolment.v1 import attendance_pb2
from tests.system.evidence import records
from tests.system.platform import Platform, all_stored, settled, suffix
from tests.system.rpcs import BY_REQUEST
from tests.system.sick import sick
from tests.system.story import Story

pytestmark = pytest.mark.servers

PARENT = "b7ad6b7169203331"
# Sampled, whatever else its flags say.
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f][13579bdf]")


@dataclass(frozen=True)
class Hop:
    """Where a trace context is kept. `carried`: it is the one before, handed on; else that of a span of its own."""

    place: str
    traceparent: str
    carried: bool


def breaks(flow: Sequence[Hop]) -> list[str]:
    """Where the flow is not connected."""
    found, seen = [], set[str]()
    for before, hop in zip([None, *flow], flow, strict=False):
        match = TRACEPARENT.fullmatch(hop.traceparent)
        if match is None:
            found.append(f"{hop.place}: no trace")
        elif match[1] not in flow[0].traceparent:
            found.append(f"{hop.place}: another trace")
        elif hop.carried and before is not None and hop.traceparent != before.traceparent:
            found.append(f"{hop.place}: not the span before it")
        elif not hop.carried and match[2] in seen:
            found.append(f"{hop.place}: no span of its own")
        seen |= {match[2]} if match else set()
    return found


@pytest.fixture(scope="module")
def databases(platform: Platform) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](platform.stack.addresses.mongo_uri, tz_aware=True) as client:
        yield client


def earned(platform: Platform) -> tuple[Story, str]:
    """A learner who is one half-day short of completion."""
    course = Story(platform, "r14-commissioners-course", "ipc", began_days_ago=70)
    course.opens()
    learner = course.id("traced")
    course.enrols(learner)
    course.attends(learner, ["s1", "s2"])
    # Else what is still under way of all that could be what moved last.
    course.standing_at_rest(learner)
    return course, learner


def post(platform: Platform, course: Story, learner: str, traceparent: str) -> tuple[Any, str]:
    """The half-day that completes it: what became of it, and the trace context that the answer names."""
    request = attendance_pb2.PostAttendanceRequest(provider_id="ipc", rows=[course.mark(learner, "s3")])
    rpc = BY_REQUEST[type(request)]
    method: Any = platform.channel("enrolment").unary_unary(
        rpc.path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=rpc.response.FromString,
    )
    metadata = (("authorization", f"Bearer {platform.token(course.as_provider)}"), ("traceparent", traceparent))
    answer, call = method.with_call(request, timeout=15, metadata=metadata)
    outcome = all_stored(answer).answers[0].outcome
    return outcome, str(dict(call.trailing_metadata())["traceparent"])


async def flow_of(platform: Platform, databases: MongoClient[dict[str, Any]]) -> list[Hop]:
    """A mark's whole way, from its client to the award it earned and what mentoring knows of that."""
    course, learner = earned(platform)
    sent = f"00-{suffix() * 4}-{PARENT}-01"
    mark, answered = post(platform, course, learner, sent)
    award = f"credit-{learner}"
    settled(f"{award} is stored", lambda: steps(databases["credence_accreditation"], award))
    return [
        Hop("the client", sent, False),
        Hop("the call", answered, False),
        *await stored(platform, databases, "enrolment", mark.stream, mark.version, "accreditation", "enrolments"),
        *await stored(platform, databases, "accreditation", award, 1, "mentoring", "awards"),
    ]


async def stored(
    platform: Platform,
    databases: MongoClient[dict[str, Any]],
    service: str,
    stream: str,
    version: int,
    listener: str,
    view: str,
) -> list[Hop]:
    """An event's way from its append over its topic into another service's view of its stream."""
    reached = platform.stack.addresses.kafka_bootstrap
    own, other = databases[f"credence_{service}"], databases[f"credence_{listener}"]
    told = settled(f"{listener} has folded {stream}", lambda: folded(other, view, stream, version))
    kept = steps(own, stream)
    [header] = {
        dict(record.headers).get("traceparent", b"").decode()
        for record in await records(reached, f"credence.{service}.v1")
        if dict(record.headers)["ce_id"].decode() == f"{stream}@{version}"
    }
    # A document keeps what the last event folded into it carried: there may be a later one by now.
    last = kept[told["version"]] == told.get("trace", "")
    return [
        Hop(f"the append in {service}", kept[version], service == "enrolment"),
        Hop(f"the record on credence.{service}.v1", header, True),
        Hop(f"the view {view} in {listener}", header if last else told.get("trace", ""), True),
    ]


def steps(database: Any, stream: str) -> Mapping[int, str]:
    """The trace context of each version."""
    appends = database["appends"].find({"stream": stream})
    return {v: s["traceparent"] for a in appends for s in a["steps"] for v in range(s["first"], s["last"] + 1)}


def folded(database: Any, view: str, stream: str, version: int) -> Mapping[str, Any] | None:
    """The stream's document in whichever generation of the view has it, once it is at this version."""
    rooms = [name for name in database.list_collection_names() if re.fullmatch(rf"view_{view}(__g\d+)?", name)]
    found = [database[room].find_one({"_id": stream}) for room in rooms]
    return next((each for each in found if each is not None and each["version"] >= version), None)


async def test_a_mark_and_the_award_it_earns_are_one_flow_over_kafka(
    platform: Platform, databases: MongoClient[dict[str, Any]]
) -> None:
    flow = await flow_of(platform, databases)
    assert breaks(flow) == []
    assert len(flow) == 8


# ---- the checker is checked


async def test_the_checker_turns_red_on_a_service_that_stores_no_trace(
    platform: Platform, databases: MongoClient[dict[str, Any]], tmp_path: Path
) -> None:
    bare = ("servicekit/kernel.py", "traceparent=traceparent(),", "")
    with sick(platform, "enrolment", tmp_path, bare) as forgetful:
        assert "the append in enrolment: no trace" in breaks(await flow_of(forgetful, databases))


@pytest.mark.parametrize("place", range(1, 8))
@pytest.mark.parametrize("broken", ["", f"00-{'1' * 32}-{PARENT}-01", "00-{trace}-b7ad6b7169203331-01"])
def test_the_checker_turns_red_wherever_the_flow_is_broken(place: int, broken: str) -> None:
    trace, spans = "a" * 32, [f"{n:016x}" for n in (1, 2, 2, 2, 2, 3, 3, 3)]
    carried = (False, False, True, True, True, False, True, True)
    flow = [
        Hop(str(n), f"00-{trace}-{span}-01", each) for n, (span, each) in enumerate(zip(spans, carried, strict=True))
    ]
    assert breaks(flow) == []
    flow[0] = replace(flow[0], traceparent=f"00-{trace}-{PARENT}-01")
    flow[place] = replace(flow[place], traceparent=broken.format(trace=trace))
    assert f"{place}:" in " ".join(breaks(flow))
