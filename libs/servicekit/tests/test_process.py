"""A service process from start to drain."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from eventcore.held import TooManyFaults
from eventcore.record import WrongEpoch
from servicekit.errors import RpcFailure, Unavailable
from servicekit.exits import CannotStart, Exit
from servicekit.process import Background, Dependency, Kit, Process, Service
from servicekit.runtime import POLL_WATCHDOG, watched
from servicekit.runtime import describe as describe_end

from .error_report import describe


@pytest.fixture
def taken_port() -> Any:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


# --- start ---------------------------------------------------------------------------------------------------------


async def test_it_is_alive_but_not_ready_while_a_server_is_away_and_ready_once_it_is_there(
    make_settings: Any, kit: Any, registry: CollectorRegistry
) -> None:
    there = False

    async def probe() -> None:
        if not there:
            raise ConnectionRefusedError("nobody listens")

    prepared = []

    async def prepare() -> None:
        prepared.append(there)

    process = Process(
        "sample",
        kit.build(dependencies=(Dependency("store", probe),), prepare=prepare),
        make_settings(),
        registry,
    )
    task = asyncio.create_task(process.run())
    await kit.wait_until(lambda: "nobody listens" in str(process.health.readiness()))
    assert process.health.liveness().state == "ok"
    assert process.health.readiness().state == "failing"
    assert not process.serving.is_set()
    assert prepared == []
    there = True
    await asyncio.wait_for(process.serving.wait(), 10)
    assert process.health.readiness().state == "ok"
    assert prepared == [True]
    process.stop()
    assert await task is Exit.OK


async def test_a_server_that_never_comes_is_named_and_the_process_gives_up(start: Any, kit: Any) -> None:
    async def refuse() -> None:
        raise ConnectionRefusedError("nobody listens")

    async def answer() -> None:
        return

    dependencies = (Dependency("store", refuse), Dependency("bus", answer))
    with pytest.raises(CannotStart, match=r"store \(ConnectionRefusedError: nobody listens\)") as caught:
        async with start(kit.build(dependencies=dependencies), startup_timeout_seconds=0.5):
            pass
    assert caught.value.code is Exit.SERVERS_AWAY
    assert "bus" not in str(caught.value)


class Away(Exception):
    """What the layers below raise when a server does not answer."""


def as_unavailable(error: Exception) -> RpcFailure | None:
    return Unavailable("the store does not answer") if isinstance(error, Away) else None


async def test_a_server_that_goes_away_while_it_prepares_is_waited_for(start: Any, kit: Any) -> None:
    tried = 0

    async def prepare() -> None:
        nonlocal tried
        tried += 1
        if tried < 3:
            raise Away("gone again")

    async with start(kit.build(prepare=prepare, translate=as_unavailable)):
        assert tried == 3


async def test_a_server_that_stays_away_while_it_prepares_is_no_defect(start: Any, kit: Any) -> None:
    async def prepare() -> None:
        raise Away("gone for good")

    with pytest.raises(CannotStart, match="Away: gone for good") as caught:
        async with start(kit.build(prepare=prepare, translate=as_unavailable), startup_timeout_seconds=0.5):
            pass
    assert caught.value.code is Exit.SERVERS_AWAY


async def test_a_defect_while_it_prepares_ends_it_at_once(start: Any, kit: Any) -> None:
    async def prepare() -> None:
        raise ZeroDivisionError("planted")

    with pytest.raises(ZeroDivisionError):
        async with start(kit.build(prepare=prepare, translate=as_unavailable)):
            pass


@pytest.mark.parametrize("which", ["grpc_port", "http_port"])
async def test_a_taken_port_is_one_clear_sentence(start: Any, taken_port: int, which: str) -> None:
    with pytest.raises(CannotStart) as caught:
        async with start(**{which: taken_port}):
            pass
    assert caught.value.code is Exit.PORT_TAKEN
    assert f"127.0.0.1:{taken_port}" in str(caught.value)
    assert f"CREDENCE_{which.upper()}" in str(caught.value)


async def test_two_processes_cannot_share_a_grpc_port(start: Any) -> None:
    async with start() as running:
        with pytest.raises(CannotStart):
            async with start(grpc_port=running.process.grpc_port):
                pass


async def test_an_rpc_that_names_no_roles_refuses_to_start(start: Any, kit: Any) -> None:
    with pytest.raises(CannotStart, match=r"Careless\.Open"):
        async with start(kit.build(register=kit.register("Careless", "Open"))):
            pass


async def test_a_service_that_hides_its_name_refuses_to_start(start: Any, kit: Any) -> None:
    class Anonymous(grpc.GenericRpcHandler):  # type: ignore[type-arg, misc, unused-ignore]
        def service(self, handler_call_details: Any) -> None:
            return None

    with pytest.raises(CannotStart, match="no service name"):
        async with start(kit.build(register=lambda server: server.add_generic_rpc_handlers((Anonymous(),)))):
            pass


async def test_health_and_reflection_need_no_token_and_reflection_is_for_development(start: Any) -> None:
    reflect = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    for profile, expected in [("development", grpc.StatusCode.OK), ("production", grpc.StatusCode.UNIMPLEMENTED)]:
        async with start(profile=profile) as running:
            health = health_pb2_grpc.HealthStub(running.channel)
            answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            call = running.channel.stream_stream(reflect)(timeout=10)
            await call.done_writing()
            assert await call.code() is expected


# --- while it runs -------------------------------------------------------------------------------------------------


async def test_a_background_task_that_fails_turns_the_process_unready_and_is_named(
    start: Any, issuer: Any, kit: Any
) -> None:
    fail = asyncio.Event()

    async def work() -> None:
        await fail.wait()
        raise ValueError("Sample Learner 01")

    async with start(kit.build(background=(Background("consumer", work),))) as running:
        assert (await running.ready())[0] == 200
        fail.set()

        async def unready() -> bool:
            return bool((await running.ready())[0] == 503)

        await kit.wait_until(unready)
        _, body = await running.ready()
        assert body["checks"]["consumer"]["state"] == "failing"
        assert "ValueError" in body["checks"]["consumer"]["detail"]
        assert "Sample Learner" not in json.dumps(body)
        assert (await running.get("/live"))[0] == 200

        async def told_over_grpc() -> bool:
            stub = health_pb2_grpc.HealthStub(running.channel)
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
            return bool(answer.status == health_pb2.HealthCheckResponse.NOT_SERVING)

        await kit.wait_until(told_over_grpc)
        assert await running.call(token=issuer.token())  # the rest goes on, so that it can be looked at


async def test_background_work_that_tells_is_not_called_well_before_it_does_nor_when_it_falls_silent(
    start: Any, kit: Any
) -> None:
    looked = asyncio.Event()

    async def build(_settings: Any, offered: Kit) -> Service:
        async def work() -> None:
            await looked.wait()
            offered.health.check("held").ok()
            await asyncio.Event().wait()

        return Service(register=kit.register(), background=(Background("held", work, silence_seconds_max=0.5),))

    async with start(build) as running:

        def is_(state: str) -> bool:
            return bool(running.process.health.check("held").report().state == state)

        assert is_("failing")
        looked.set()
        await kit.wait_until(lambda: is_("ok"))
        await kit.wait_until(lambda: is_("failing"))


async def test_what_ended_background_work_is_said_as_the_service_describes_it(start: Any, kit: Any) -> None:
    async def work() -> None:
        raise TooManyFaults("600 of 1000 streams at once")

    build = kit.build(background=(Background("consume", work),), describe=describe_end)
    async with start(build) as running:
        await kit.wait_until(lambda: running.process.health.readiness().state == "failing")
        _, body = await running.ready()
        assert body["checks"]["consume"]["detail"] == "ended by TooManyFaults: 600 of 1000 streams at once; see the log"


def test_an_epoch_is_told_by_its_own_words_and_an_unknown_error_by_none() -> None:
    assert describe_end(WrongEpoch("a is not b")) == "WrongEpoch: a is not b"
    assert describe_end(ValueError("Sample Learner 01")) is None


async def test_a_consumer_that_a_bad_release_ended_does_not_restart_the_process(
    start: Any, kit: Any, issuer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servicekit.runtime.POLL_AGE_SECONDS_MAX", 0.5)
    ended = asyncio.Event()
    watched_at_build: list[str] = []

    async def consume() -> None:
        await ended.wait()
        raise TooManyFaults("600 of 1000 streams at once")

    async def build(settings: Any, offered: Kit) -> Service:
        watched_at_build.extend(offered.health.liveness().checks)
        work = Background("consume", lambda: watched(offered.health, consume))
        return Service(register=kit.register(), background=(work,), describe=describe_end)

    async with start(build) as running:
        health = running.process.health
        assert POLL_WATCHDOG not in watched_at_build
        assert POLL_WATCHDOG in health.liveness().checks
        ended.set()
        await kit.wait_until(lambda: health.readiness().checks["consume"].age_seconds > 1.0)
        health.beat(POLL_WATCHDOG)  # a late poll brings nothing back
        assert POLL_WATCHDOG not in health.liveness().checks
        assert await running.call(token=issuer.token())
        running.process.stop()
        assert await running.task is Exit.OK


async def test_a_consumer_that_no_longer_polls_restarts_the_process(
    make_settings: Any, kit: Any, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servicekit.runtime.POLL_AGE_SECONDS_MAX", 0.5)

    async def stuck() -> None:
        await asyncio.Event().wait()

    async def build(settings: Any, offered: Kit) -> Service:
        return Service(
            register=kit.register(), background=(Background("consume", lambda: watched(offered.health, stuck)),)
        )

    process = Process("sample", build, make_settings(), registry)
    assert await asyncio.wait_for(process.run(), 15) is Exit.INTERNAL


async def test_a_background_task_that_just_ends_turns_the_process_unready(start: Any, kit: Any) -> None:
    async def work() -> None:
        return

    async with start(kit.build(background=(Background("deliverer", work),))) as running:
        await kit.wait_until(lambda: running.process.health.readiness().state == "failing")
        assert "deliverer" in running.process.health.readiness().checks


@pytest.mark.parametrize(("essential", "status", "state"), [(True, 503, "failing"), (False, 200, "degraded")])
async def test_a_server_that_goes_away_is_told_within_five_seconds_and_its_return_too(
    start: Any, kit: Any, essential: bool, status: int, state: str
) -> None:
    there = True

    async def probe() -> None:
        if not there:
            await asyncio.Event().wait()  # the worst kind: it does not even refuse

    async with start(kit.build(dependencies=(Dependency("bus", probe, essential=essential),))) as running:

        async def shows(expected: tuple[int, str]) -> bool:
            code, body = await running.ready()
            return (code, body["status"]) == expected

        there = False
        await kit.wait_until(lambda: shows((status, state)), 5)
        there = True
        await kit.wait_until(lambda: shows((200, "ok")), 5)


async def test_a_stale_watchdog_ends_the_process_with_its_own_exit_code(
    make_settings: Any, kit: Any, registry: CollectorRegistry
) -> None:
    async def build(settings: Any, given: Kit) -> Service:
        given.health.watchdog("consumer-poll", 0.5)
        return Service(register=kit.register())

    process = Process("sample", build, make_settings(), registry)
    assert await asyncio.wait_for(process.run(), 15) is Exit.INTERNAL


# --- drain ---------------------------------------------------------------------------------------------------------


async def test_a_drain_lets_a_call_in_flight_finish_and_takes_no_new_ones(start: Any, issuer: Any, kit: Any) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def handler(request: StringValue, context: Any) -> StringValue:
        entered.set()
        await release.wait()
        return StringValue(value="done")

    async with start(kit.build(register=kit.register(handler=handler))) as running:
        call = asyncio.create_task(running.call(token=issuer.token()))
        await entered.wait()
        running.process.stop()
        await kit.wait_until(lambda: running.process.health.readiness().state == "failing")

        async def closed() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", running.process.grpc_port)
            except ConnectionRefusedError:
                return True
            writer.close()
            return False

        await kit.wait_until(closed)
        status, body = await running.ready()
        assert (status, body["checks"]["process"]["detail"]) == (503, "stopping")
        release.set()
        assert (await call).value == "done"
        assert await running.task is Exit.OK


async def test_a_call_that_will_not_end_is_cut_and_said_to_be(start: Any, issuer: Any, kit: Any) -> None:
    entered = asyncio.Event()

    async def handler(request: StringValue, context: Any) -> StringValue:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError

    build = kit.build(register=kit.register(handler=handler))
    async with start(build, drain_timeout_seconds=1) as running:
        call = asyncio.create_task(running.refused(token=issuer.token()))
        await entered.wait()
        running.process.stop()
        assert describe(await call).code in {"UNAVAILABLE", "CANCELLED"}
        assert await running.task is Exit.INTERNAL


async def test_somebody_watching_the_health_does_not_hold_up_the_drain(start: Any) -> None:
    async with start(drain_timeout_seconds=60) as running:
        watch = health_pb2_grpc.HealthStub(running.channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        running.process.stop()
        assert await asyncio.wait_for(running.task, 5) is Exit.OK


async def test_work_stops_in_reverse_order_after_the_calls_and_before_the_stores(start: Any, kit: Any) -> None:
    seen: list[str] = []

    def background(name: str) -> Background:
        stopped = asyncio.Event()

        async def run() -> None:
            await stopped.wait()
            seen.append(f"{name} ended")

        async def stop() -> None:
            seen.append(f"stop {name}")
            stopped.set()

        return Background(name, run, stop)

    async def close() -> None:
        seen.append("close")

    build = kit.build(background=(background("deliverer"), background("consumer")), close=(close,))
    async with start(build) as running:
        running.process.stop()
        running.process.stop()
        assert await running.task is Exit.OK
    assert seen == ["stop consumer", "consumer ended", "stop deliverer", "deliverer ended", "close"]


async def test_what_does_not_stop_neither_hangs_the_drain_nor_keeps_the_stores_open(start: Any, kit: Any) -> None:
    closed = []

    async def run() -> None:
        await asyncio.Event().wait()

    async def stop() -> None:
        await asyncio.Event().wait()

    async def broken() -> None:
        raise OSError("cannot close")

    async def close() -> None:
        closed.append(True)

    build = kit.build(background=(Background("stubborn", run, stop),), close=(broken, close))
    async with start(build, drain_timeout_seconds=1) as running:
        running.process.stop()
        assert await asyncio.wait_for(running.task, 5) is Exit.INTERNAL
    assert closed == [True]


async def test_a_consumer_being_stopped_is_not_taken_for_a_stuck_one(start: Any, kit: Any) -> None:
    alive: list[str] = []
    stale: list[str] = []

    async def build(settings: Any, given: Kit) -> Service:
        dog = given.health.watchdog("poll", 0.6)
        stopped = asyncio.Event()

        async def run() -> None:
            while not stopped.is_set():
                dog.beat()
                await asyncio.sleep(0.05)

        async def stop() -> None:
            stopped.set()
            await kit.wait_until(lambda: dog.report().state == "failing")
            alive.append(given.health.liveness().state)
            stale.extend(given.health.stale())

        return Service(register=kit.register(), background=(Background("consumer", run, stop),))

    async with start(build) as running:
        running.process.stop()
        assert await running.task is Exit.OK
    assert alive == ["ok"]
    assert stale == []


async def test_a_stop_during_the_start_is_a_clean_one(
    make_settings: Any, kit: Any, registry: CollectorRegistry
) -> None:
    asked = asyncio.Event()

    async def probe() -> None:
        asked.set()
        await asyncio.Event().wait()

    process = Process(
        "sample", kit.build(dependencies=(Dependency("store", probe),)), make_settings(), CollectorRegistry()
    )
    task = asyncio.create_task(process.run())
    await asked.wait()
    process.stop()
    assert await asyncio.wait_for(task, 5) is Exit.OK
    assert not process.serving.is_set()


# --- as a real process ---------------------------------------------------------------------------------------------


@pytest.fixture
def environment(secrets_dir: Path, issuer: Any) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("CREDENCE_")},
        "CREDENCE_SECRETS_DIR": str(secrets_dir),
        "CREDENCE_MONGO_URI": "mongodb://127.0.0.1:1",
        "CREDENCE_MONGO_DATABASE": "sample",
        "CREDENCE_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "CREDENCE_JWKS": str(issuer.jwks),
        "CREDENCE_ISSUER": "https://issuer.test",
    }


@asynccontextmanager
async def launched(environment: dict[str, str], **extra: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).parent / "sample_service.py"),
        env=environment | extra,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def logged(process: asyncio.subprocess.Process, event: str) -> dict[str, Any]:
    assert process.stderr is not None
    async with asyncio.timeout(20):
        async for line in process.stderr:
            entry: dict[str, Any] = json.loads(line)
            if entry["event"] == event:
                return entry
    raise AssertionError(f"the process ended without saying {event}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_exits_0(environment: dict[str, str], number: signal.Signals) -> None:
    async with launched(environment) as process:
        serving = await logged(process, "serving")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{serving['grpc_port']}") as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert (serving["service"], serving["level"]) == ("sample", "info")
        process.send_signal(number)
        process.send_signal(number)
        assert await logged(process, "stopped")
        assert await asyncio.wait_for(process.wait(), 20) == 0


@pytest.mark.parametrize(
    ("extra", "code", "said"),
    [
        ({"CREDENCE_GRPC_PORT": "many", "CREDENCE_PROFILE": "test"}, Exit.SETTINGS, "2 settings are wrong"),
        (
            {"SAMPLE_BACKGROUND": "away", "CREDENCE_STARTUP_TIMEOUT_SECONDS": "1"},
            Exit.SERVERS_AWAY,
            "sample cannot start: no answer within 1 s from",
        ),
        ({"SAMPLE_BACKGROUND": "stuck"}, Exit.INTERNAL, "watchdog-stale"),
        ({"SAMPLE_BACKGROUND": "defect"}, Exit.INTERNAL, "process-failed"),
    ],
)
async def test_each_way_to_end_has_its_exit_code_and_its_words(
    environment: dict[str, str], extra: dict[str, str], code: Exit, said: str
) -> None:
    async with launched(environment, **extra) as process:
        _, stderr = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == code
        assert said in stderr.decode()
        assert "Sample Learner" not in stderr.decode()


async def test_a_taken_port_ends_the_process_with_a_sentence(environment: dict[str, str], taken_port: int) -> None:
    async with launched(environment, CREDENCE_GRPC_PORT=str(taken_port)) as process:
        _, stderr = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == Exit.PORT_TAKEN
    assert f"sample cannot start: cannot listen on 127.0.0.1:{taken_port}" in stderr.decode()
