"""What a call gets, over a real gRPC server and channel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from servicekit.access import AccessUndeclared, check_every_rpc_declares_access
from servicekit.call import current_call, current_scope
from servicekit.errors import (
    Aborted,
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    RpcFailure,
    Unavailable,
)
from servicekit.telemetry import start_tracing, traceparent

from .error_report import ErrorReport, describe


async def test_a_caller_acts_in_the_scope_of_the_roles_the_rpc_names(start: Any, issuer: Any) -> None:
    token = issuer.token(roles=["learner", "importer"], person="person-1", providers=["provider-1"])
    async with start() as running:
        answer = await running.call(token=token)
        assert answer.value == "person-person-1 person-1 [] False"
        other = await running.call(token=issuer.token(roles=["provider"], providers=["provider-9"]))
        assert other.value == "sample-subject-01 None ['provider-9'] False"


async def test_parallel_calls_keep_their_own_scope(start: Any, issuer: Any, kit: Any) -> None:
    async def handler(request: StringValue, context: Any) -> StringValue:
        before = current_scope().person
        await asyncio.sleep(0)
        return StringValue(value=f"{before} {current_scope().person}")

    tokens = {f"person-{n}": issuer.token(roles=["learner"], person=f"person-{n}") for n in range(20)}
    async with start(kit.build(register=kit.register(handler=handler))) as running:
        answers = await asyncio.gather(*(running.call(token=token) for token in tokens.values()))
    assert [a.value for a in answers] == [f"{person} {person}" for person in tokens]


def test_there_is_no_scope_outside_a_call() -> None:
    with pytest.raises(LookupError, match="scope explicitly"):
        current_scope()


async def test_a_call_without_a_token_is_told_how_to_sign_in(start: Any) -> None:
    async with start() as running:
        for metadata in [(), (("authorization", "Basic abc"),), (("authorization", "Bearer "),)]:
            report = describe(await running.refused(metadata=metadata))
            assert (report.code, report.reason) == ("UNAUTHENTICATED", "unauthenticated")
            assert "authorization: Bearer" in report.message


async def test_a_call_with_the_wrong_role_is_told_which_would_do(start: Any, issuer: Any) -> None:
    async with start() as running:
        report = describe(await running.refused(token=issuer.token(roles=["commissioner"])))
    assert (report.code, report.reason) == ("PERMISSION_DENIED", "permission-denied")
    assert "learner, operator, provider" in report.message
    assert "commissioner" in report.message


async def test_strangers_cannot_make_us_parse(start: Any, issuer: Any) -> None:
    async with start() as running:
        assert describe(await running.refused(raw=b"\xff\xff")).code == "UNAUTHENTICATED"
        report = describe(await running.refused(raw=b"\xff\xff", token=issuer.token()))
    assert (report.code, report.violations[0][0]) == ("INVALID_ARGUMENT", "request")


@pytest.mark.parametrize(
    ("service", "said"),
    [("Careless", "Open"), ("Careless", "Nobody"), ("Streaming", "stream of requests"), ("Absent", "pool")],
)
def test_an_rpc_that_breaks_the_rules_of_access_is_named(service: str, said: str) -> None:
    with pytest.raises(AccessUndeclared, match=said):
        check_every_rpc_declares_access([f"credence.testing.v1.{service}"])


async def test_failures_arrive_whole_at_the_client(start: Any, issuer: Any, kit: Any) -> None:
    failures: list[tuple[RpcFailure, ErrorReport]] = [
        (
            InvalidArgument([("rows[0].on", "is missing"), ("rows[1].id", "is malformed")]),
            ErrorReport(
                "INVALID_ARGUMENT",
                "invalid-argument",
                "2 invalid fields: rows[0].on, rows[1].id",
                {},
                (("rows[0].on", "is missing"), ("rows[1].id", "is malformed")),
            ),
        ),
        (NotFound("session"), ErrorReport("NOT_FOUND", "not-found", "no such session")),
        (PermissionDenied("not you"), ErrorReport("PERMISSION_DENIED", "permission-denied", "not you")),
        (
            FailedPrecondition("cohort-full", "the cohort is full: join the waiting list", {"capacity": "26"}),
            ErrorReport(
                "FAILED_PRECONDITION",
                "cohort-full",
                "the cohort is full: join the waiting list",
                {"capacity": "26"},
            ),
        ),
        (
            Conflict("id-reused", "used before", {"id": "command-1"}),
            ErrorReport("ALREADY_EXISTS", "id-reused", "used before", {"id": "command-1"}),
        ),
        (
            Aborted("others won", {"version": "7"}),
            ErrorReport("ABORTED", "contended", "others won", {"version": "7"}, (), 0.1),
        ),
        (
            Unavailable("the store is away", retry_after_seconds=2.5),
            ErrorReport("UNAVAILABLE", "unavailable", "the store is away", {}, (), 2.5),
        ),
    ]

    async def handler(request: StringValue, context: Any) -> StringValue:
        raise failures[int(request.value)][0]

    async with start(kit.build(register=kit.register(handler=handler))) as running:
        for number, (_, expected) in enumerate(failures):
            assert describe(await running.refused(str(number), token=issuer.token())) == expected


async def test_a_thousand_violations_with_long_texts_still_reach_the_client(start: Any, issuer: Any, kit: Any) -> None:
    async def handler(request: StringValue, context: Any) -> StringValue:
        raise InvalidArgument([(f"rows[{n}].période", "é" * 200) for n in range(1000)])

    async with start(kit.build(register=kit.register(handler=handler))) as running:
        report = describe(await running.refused(token=issuer.token()))
    assert report.code == "INVALID_ARGUMENT"
    assert report.violations[0] == ("rows[0].période", "é" * 200)
    assert report.violations[-1][0] == "*"
    assert f"{1000 - len(report.violations) + 1} more" in report.violations[-1][1]


async def test_a_failure_with_too_many_fields_and_too_long_a_message_still_arrives(
    start: Any, issuer: Any, kit: Any
) -> None:
    async def handler(request: StringValue, context: Any) -> StringValue:
        raise FailedPrecondition("too-much", "m" * 9000, {f"field-{n}": "v" * 100 for n in range(200)})

    async with start(kit.build(register=kit.register(handler=handler))) as running:
        report = describe(await running.refused(token=issuer.token()))
    assert (report.code, report.reason) == ("FAILED_PRECONDITION", "too-much")
    assert 0 < len(report.fields) < 200


async def test_a_defect_gives_a_reference_and_leaks_nothing(
    start: Any, issuer: Any, kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(request: StringValue, context: Any) -> StringValue:
        raise ValueError("learner Sample Learner 01 has a secret")

    async with start(kit.build(register=kit.register(handler=handler))) as running:
        report = describe(await running.refused(token=issuer.token()))
        assert report.code == "INTERNAL"
        assert "secret" not in report.message
        assert report.fields["reference"] in report.message
        _, metrics = await running.get("/metrics")
        assert 'credence_rpc_internal_errors_total{method="/credence.testing.v1.Echo/Say"} 1.0' in metrics


async def test_an_exception_of_a_lower_layer_is_translated(start: Any, issuer: Any, kit: Any) -> None:
    async def handler(request: StringValue, context: Any) -> StringValue:
        raise ConnectionError("10.0.0.1 refused")

    def translate(error: Exception) -> RpcFailure | None:
        return Unavailable("the store is away") if isinstance(error, ConnectionError) else None

    async with start(kit.build(register=kit.register(handler=handler), translate=translate)) as running:
        assert describe(await running.refused(token=issuer.token())).message == "the store is away"


async def test_an_answer_that_cannot_be_written_is_a_defect_of_ours(start: Any, issuer: Any, kit: Any) -> None:
    async def handler(request: StringValue, context: Any) -> Any:
        return None

    async with start(kit.build(register=kit.register(handler=handler))) as running:
        assert describe(await running.refused(token=issuer.token())).code == "INTERNAL"


async def test_a_handlers_own_abort_is_kept(start: Any, issuer: Any, kit: Any) -> None:
    async def handler(request: StringValue, context: Any) -> StringValue:
        await context.abort(grpc.StatusCode.OUT_OF_RANGE, "too far")
        raise AssertionError

    async with start(kit.build(register=kit.register(handler=handler))) as running:
        error = await running.refused(token=issuer.token())
        assert (error.code(), error.details()) == (grpc.StatusCode.OUT_OF_RANGE, "too far")

        async def counted() -> bool:  # the client may see the abort before the server has written it down
            return 'code="OUT_OF_RANGE",method="/credence.testing.v1.Echo/Say"' in (await running.get("/metrics"))[1]

        await kit.wait_until(counted)


async def test_a_client_without_a_deadline_gets_one(start: Any, issuer: Any, kit: Any) -> None:
    left = []

    async def handler(request: StringValue, context: Any) -> StringValue:
        left.append(current_call().remaining_seconds())
        await asyncio.Event().wait()
        raise AssertionError

    build = kit.build(register=kit.register(handler=handler))
    async with start(build, default_deadline_seconds=0.3, longest_deadline_seconds=5) as running:
        async with asyncio.timeout(10):
            report = describe(await running.refused(token=issuer.token(), timeout=None))
        assert (report.code, report.reason) == ("DEADLINE_EXCEEDED", "deadline-exceeded")
        assert "0.3 s" in report.message
    assert 0 < left[0] <= 0.3


async def test_a_clients_deadline_is_kept_and_capped(start: Any, issuer: Any, kit: Any) -> None:
    async def handler(request: StringValue, context: Any) -> StringValue:
        return StringValue(value=str(current_call().remaining_seconds()))

    build = kit.build(register=kit.register(handler=handler))
    async with start(build, default_deadline_seconds=1, longest_deadline_seconds=5) as running:
        assert (
            2 < float((await running.call(token=issuer.token(), timeout=4)).value) <= 4.1
        )  # gRPC rounds it on the wire
        assert 4 < float((await running.call(token=issuer.token(), timeout=100)).value) <= 5


async def test_a_handlers_own_timeout_is_no_deadline_of_the_call(start: Any, issuer: Any, kit: Any) -> None:
    async def handler(request: StringValue, context: Any) -> StringValue:
        raise TimeoutError

    async with start(kit.build(register=kit.register(handler=handler))) as running:
        assert describe(await running.refused(token=issuer.token())).code == "INTERNAL"


async def test_one_call_is_one_trace_and_carries_its_request_id(start: Any, issuer: Any, kit: Any) -> None:
    exporter = InMemorySpanExporter()
    start_tracing("sample", [SimpleSpanProcessor(exporter)])
    inside = []

    async def handler(request: StringValue, context: Any) -> StringValue:
        inside.append(traceparent())
        return StringValue()

    trace_id = "0af7651916cd43dd8448eb211c80319c"
    metadata = [("traceparent", f"00-{trace_id}-b7ad6b7169203331-01"), ("x-request-id", "request-1")]
    async with start(kit.build(register=kit.register(handler=handler))) as running:
        rpc = running.channel.unary_unary("/credence.testing.v1.Echo/Say", request_serializer=bytes)
        call = rpc(b"", metadata=[*metadata, ("authorization", f"Bearer {issuer.token()}")], timeout=10)
        await call
        trailing = dict(await call.trailing_metadata())
        odd = describe(await running.refused(metadata=[("traceparent", "nonsense"), ("x-request-id", "not an id")]))
    assert inside[0].split("-")[1] == trace_id
    assert trailing["x-request-id"] == "request-1"
    assert trailing["traceparent"] == inside[0]
    assert odd.code == "UNAUTHENTICATED"
    spans = [s for s in exporter.get_finished_spans() if s.name == "credence.testing.v1.Echo/Say"]
    assert format(spans[0].context.trace_id, "032x") == trace_id
    assert spans[0].parent is not None
    assert (spans[0].attributes or {})["rpc.response.status_code"] == "OK"


async def test_the_rpc_is_logged_with_ids_and_no_payload(
    start: Any, issuer: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    from servicekit.telemetry import start_logging

    start_logging("sample")
    async with start() as running:
        await running.call("Sample Learner 01", token=issuer.token(), metadata=[("x-request-id", "request-7")])
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    line = next(entry for entry in lines if entry["event"] == "rpc")
    assert line["method"] == "/credence.testing.v1.Echo/Say"
    assert (line["code"], line["request_id"], line["actor"]) == ("OK", "request-7", "sample-subject-01")
    assert len(line["trace_id"]) == 32
    assert line["duration_ms"] >= 0
    assert "Sample Learner" not in json.dumps(lines)


async def test_a_cancelled_call_is_counted_as_cancelled(start: Any, issuer: Any, kit: Any) -> None:
    entered = asyncio.Event()

    async def handler(request: StringValue, context: Any) -> StringValue:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with start(kit.build(register=kit.register(handler=handler))) as running:
        task = asyncio.create_task(running.call(token=issuer.token()))
        await entered.wait()
        task.cancel()

        async def counted() -> bool:
            return 'code="CANCELLED"' in (await running.get("/metrics"))[1]

        await kit.wait_until(counted)
        assert "credence_rpcs_in_flight 0.0" in (await running.get("/metrics"))[1]


def test_a_status_cut_by_a_proxy_is_still_read() -> None:
    metadata = grpc.aio.Metadata(("grpc-status-details-bin", b"\xff\xff\xff"))
    error = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, metadata, metadata, "gone", None)
    assert describe(error) == ErrorReport("UNAVAILABLE", "", "gone")


async def counting(request: StringValue, context: Any) -> AsyncIterator[StringValue]:
    for n in range(int(request.value)):
        yield StringValue(value=f"{current_call().principal.subject} {n}")
    raise NotFound("there is no more")


async def whole(answer: Any) -> tuple[list[str], str]:
    """What a stream gave, and how it ended."""
    got: list[str] = []
    try:
        async for part in answer:
            got.append(part.value)  # noqa: PERF401 (kept when it fails)
    except grpc.aio.AioRpcError as error:
        return got, describe(error).code
    return got, "OK"


async def test_an_answer_that_is_a_stream_is_guarded_like_any_other(start: Any, issuer: Any, kit: Any) -> None:
    async with start(kit.build(register=kit.register(method="Count", handler=counting))) as running:
        said = [f"sample-subject-01 {n}" for n in range(3)]
        assert await whole(running.count("3", token=issuer.token(roles=["operator"]))) == (said, "NOT_FOUND")
        provider = issuer.token(roles=["provider"], providers=["provider-1"])
        assert await whole(running.count("3", token=provider)) == ([], "PERMISSION_DENIED")


async def test_a_stream_that_nobody_reads_any_more_ends_with_its_reader(start: Any, issuer: Any, kit: Any) -> None:
    ended = asyncio.Event()

    async def endless(request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        try:
            while True:
                yield StringValue(value="on and on")
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    async with start(kit.build(register=kit.register(method="Count", handler=endless))) as running:
        call = running.count("", token=issuer.token(roles=["operator"]))
        async for _ in call:
            break
        call.cancel()
        await asyncio.wait_for(ended.wait(), 10)


async def test_a_stream_has_a_longest_time(start: Any, issuer: Any, kit: Any) -> None:
    async def silent(request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        yield StringValue(value="first")
        await asyncio.Event().wait()

    build = kit.build(register=kit.register(method="Count", handler=silent))
    async with start(build, longest_stream_seconds=0.3) as running:
        answer = running.count("", token=issuer.token(roles=["operator"]))
        assert await whole(answer) == (["first"], "DEADLINE_EXCEEDED")
