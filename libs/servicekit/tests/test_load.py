"""How much a process takes on at once: at each limit it serves, beyond it it says what is too much and what to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc

from servicekit import limits
from servicekit.errors import TooMuch
from servicekit.load import Load, calls_of_one

from .error_report import describe


@asynccontextmanager
async def apart(running: Any) -> AsyncIterator[Any]:
    """The same process by another connection: a client's library holds back what is beyond one connection's streams."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.process.grpc_port}", options=options) as channel:
        yield replace(running, channel=channel)


class Held:
    """An RPC that answers when it is told to."""

    def __init__(self) -> None:
        self.came = 0
        self.go = asyncio.Event()

    async def __call__(self, request: StringValue, context: Any) -> StringValue:
        self.came += 1
        await self.go.wait()
        return request


async def test_calls_beyond_the_limit_are_told_to_come_again(start: Any, issuer: Any, kit: Any) -> None:
    held = Held()
    async with start(kit.build(register=kit.register(handler=held)), max_concurrent_rpcs=4) as running:
        tokens = [issuer.token(sub=f"sample-subject-{n}") for n in range(5)]
        async with AsyncExitStack() as connections:
            others = [await connections.enter_async_context(apart(running)) for _ in tokens]
            served = [
                asyncio.create_task(other.call("x", token=token))
                for other, token in zip(others[:4], tokens[:4], strict=True)
            ]
            await kit.wait_until(lambda: held.came == 4)
            report = describe(await others[4].refused("x", token=tokens[4]))
            held.go.set()
            assert [answer.value for answer in await asyncio.gather(*served)] == ["x"] * 4
        assert (report.code, report.reason) == ("RESOURCE_EXHAUSTED", "too-many-calls")
        assert "4 calls are being served" in report.message
        assert report.retry_after_seconds
        assert (await running.call("x", token=tokens[4])).value == "x"


async def test_one_caller_has_a_share_and_leaves_the_rest_to_others(start: Any, issuer: Any, kit: Any) -> None:
    held = Held()
    async with start(kit.build(register=kit.register(handler=held)), max_concurrent_rpcs=8) as running:
        mine, others = issuer.token(sub="sample-subject-01"), issuer.token(sub="sample-subject-02")
        served = [asyncio.create_task(running.call("x", token=mine)) for _ in range(2)]
        await kit.wait_until(lambda: held.came == 2)
        async with apart(running) as other:
            report = describe(await other.refused("x", token=mine))
            assert (report.code, report.reason) == ("RESOURCE_EXHAUSTED", "too-many-calls-of-yours")
            assert "2 calls of yours" in report.message
            served.append(asyncio.create_task(other.call("x", token=others)))
            await kit.wait_until(lambda: held.came == 3)
            held.go.set()
            await asyncio.gather(*served)


async def test_calls_that_wait_beyond_the_limit_are_turned_away_at_once_and_served_when_they_come_again(
    start: Any, issuer: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(request: StringValue, context: Any) -> StringValue:
        time.sleep(0.02)  # noqa: ASYNC251 - the process looks at nothing else meanwhile, so that calls wait for it
        return request

    monkeypatch.setattr("servicekit.limits.PENDING_CALLS_MAX", 20)
    async with (
        start(kit.build(register=kit.register(handler=busy)), max_concurrent_rpcs=1_024) as running,
        AsyncExitStack() as connections,
    ):
        token = issuer.token()
        others = [await connections.enter_async_context(apart(running)) for _ in range(4)]
        calls = [other.call("x", token=token) for other in others for _ in range(50)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        turned_away = [end for end in ends if isinstance(end, grpc.aio.AioRpcError)]
        assert 0 < len(turned_away) < len(ends)
        assert {end.code().name for end in turned_away} == {"CANCELLED"}
        assert (await running.call("x", token=token)).value == "x"


@pytest.mark.parametrize(("much", "refused"), [(limits.METADATA_BYTES_MAX // 2, False), (20_000, True)])
async def test_metadata_beyond_the_limit_is_refused(start: Any, issuer: Any, much: int, refused: bool) -> None:
    async with start() as running:
        extra = [("x-filler", "x" * much)]
        if not refused:
            assert await running.call("x", token=issuer.token(), metadata=extra)
            return
        error = await running.refused("x", token=issuer.token(), metadata=extra)
        assert error.code().name == "RESOURCE_EXHAUSTED"
        assert "metadata" in (error.details() or "")


async def test_a_request_at_the_message_limit_is_served_and_one_byte_more_is_not(
    start: Any, issuer: Any, kit: Any
) -> None:
    async def size(request: StringValue, context: Any) -> StringValue:
        return StringValue(value=str(request.ByteSize()))

    async with start(kit.build(register=kit.register(handler=size)), max_message_bytes=65_536) as running:
        most = 65_536 - len(StringValue(value="x" * 65_000).SerializeToString()) + 65_000
        assert (await running.call("x" * most, token=issuer.token())).value == "65536"
        error = await running.refused("x" * (most + 1), token=issuer.token())
        assert error.code().name == "RESOURCE_EXHAUSTED"
        assert "larger than max (65537 vs. 65536)" in (error.details() or "")


async def test_an_answer_beyond_the_message_limit_is_refused_in_words(start: Any, issuer: Any, kit: Any) -> None:
    async def long(request: StringValue, context: Any) -> StringValue:
        return StringValue(value="x" * int(request.value))

    async with start(kit.build(register=kit.register(handler=long)), max_message_bytes=65_536) as running:
        assert len((await running.call("65000", token=issuer.token())).value) == 65_000
        report = describe(await running.refused("66000", token=issuer.token()))
    assert (report.code, report.reason) == ("FAILED_PRECONDITION", "answer-too-large")
    assert "over 65536: ask for less at once" in report.message


async def test_calls_of_rpcs_that_do_not_exist_make_no_series_of_metrics(start: Any, issuer: Any) -> None:
    async with start() as running:
        for n in range(20):
            error = await running.refused(token=issuer.token(), method=f"Invented{n}")
            assert error.code().name == "UNIMPLEMENTED"
        _, metrics = await running.get("/metrics")
    assert "Invented" not in metrics


async def test_a_watch_too_many_is_refused_and_the_others_go_on(start: Any, kit: Any) -> None:
    async with start(max_concurrent_rpcs=512) as running:
        stub = health_pb2_grpc.HealthStub(running.channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(limits.STRANGERS_MAX)]
        for watch in watches:
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        one_more = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
        with pytest.raises(Exception, match="without a token"):
            await one_more
        watches[0].cancel()

        async def asked() -> bool:
            try:
                await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
            except Exception:  # noqa: BLE001 - until there is room
                return False
            return True

        await kit.wait_until(asked)
        for watch in watches[1:]:
            watch.cancel()


def test_bytes_at_the_limit_are_held_and_one_more_is_not() -> None:
    load = Load(256)
    mine = int(limits.BYTES_AT_ONCE_MAX * limits.CALLS_SHARE_OF_ONE_CALLER)
    with load.caller("sample-01") as share:
        with share.holding(mine), pytest.raises(TooMuch, match="your calls") as refusal, share.holding(1):
            pass
        assert refusal.value.reason == "too-many-bytes-of-yours"
        with share.holding(mine):
            pass


def test_all_callers_together_hold_no_more_than_the_limit() -> None:
    load = Load(256)
    share_of_one = int(limits.BYTES_AT_ONCE_MAX * limits.CALLS_SHARE_OF_ONE_CALLER)
    with load.caller("a") as a, load.caller("b") as b, load.caller("c") as c, load.caller("d") as d:
        with a.holding(share_of_one), b.holding(share_of_one), c.holding(share_of_one), d.holding(share_of_one):
            with load.caller("e") as e, pytest.raises(TooMuch, match="all calls") as refusal, e.holding(1):
                pass
    assert refusal.value.reason == "too-many-bytes"
    assert (load.bytes.taken, load.calls.taken) == (0, 0)


def test_what_one_caller_may_have_is_never_nothing() -> None:
    assert [calls_of_one(calls) for calls in (1, 4, 256)] == [1, 1, 64]


def test_nothing_is_kept_of_callers_that_left() -> None:
    load = Load(4)
    for n in range(100):
        with load.caller(f"sample-{n}"), pytest.raises(TooMuch), load.caller(f"sample-{n}"):
            pass
    assert load._shares == {}
