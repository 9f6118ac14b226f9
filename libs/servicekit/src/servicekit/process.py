"""One service process from start to drain: `sys.exit(run_service("enrolment", build, EnrolmentSettings))`.

Start: settings, the status server (alive, not ready), the ports, `build`, wait for the servers, `prepare`, background
work, then gRPC; only then ready. A background task that ends by itself turns the process unready and is named in
`/ready`; the process stays, so that it can be looked at, and the rest goes on. A stale watchdog is another matter:
stuck work comes back only with a new process, so the process drains and exits with Exit.INTERNAL.

Drain, on SIGTERM or SIGINT: unready, no new calls, calls in flight finish, background work stops (last started,
first stopped), `close`, exit 0; all within `drain_timeout_seconds`.
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

import grpc
import structlog
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from servicekit.access import AccessUndeclared, check_every_rpc_declares_access
from servicekit.auth import TokenVerifier
from servicekit.errors import RpcFailure, Unavailable
from servicekit.exits import CannotStart, Exit
from servicekit.grpc_health import GrpcHealth
from servicekit.grpc_server import grpc_server
from servicekit.health import TICK_SECONDS, Check, Health, State
from servicekit.health_metrics import HealthMetrics
from servicekit.interceptor import RpcInterceptor, RpcMetrics
from servicekit.keys import SigningKeys
from servicekit.load import Load
from servicekit.settings import ServiceSettings
from servicekit.status_server import StatusServer
from servicekit.telemetry import start_logging, start_tracing

S = TypeVar("S", bound=ServiceSettings)

PROBE_EVERY_SECONDS = 1.0
PROBE_TIMEOUT_SECONDS = 2.0
# A probe that is never asked again must not leave its last answer standing.
PROBE_SILENCE_SECONDS_MAX = 4.5
BACKOFF_SECONDS = (0.1, 2.0)
M_MMAP_THRESHOLD = -3  # of malloc.h

_log = structlog.get_logger("servicekit.process")


@dataclass(frozen=True)
class Dependency:
    """A server this process needs. `probe` raises when it is away; it is awaited at start and asked every second after.

    Away later, an essential one makes the process unready, another one degraded. One that is not `watched` is needed
    at the start only.
    """

    name: str
    probe: Callable[[], Awaitable[object]]
    essential: bool = True
    watched: bool = True


@dataclass(frozen=True)
class Background:
    """Work that goes on as long as the process. `run` returns only after `stop`, or is cancelled when there is none.

    Its check is ok from the start; with `silence_seconds_max` only once it is told, and failing after such a silence.
    """

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    stop: Callable[[], Awaitable[None]] | None = None
    silence_seconds_max: float | None = None


def _translate_nothing(_: Exception) -> RpcFailure | None:
    return None


def _describe_nothing(_: Exception) -> str | None:
    return None


@dataclass(frozen=True)
class Service:
    """What `build` composes. `build` itself contacts no server; `prepare` may (indexes, epoch), all having been up by
    then; it is begun again where one of them went away meanwhile.

    `register` adds the servicers: `add_XServicer_to_server(X(...), server)`. `background` is started in this order
    and stopped in reverse; `close` runs last, in this order. `age_seconds`: how old what queries are answered from may
    be, where it comes from other services (infinite: not known). `describe` says of what background work died, where
    its type alone does not tell: in ids only, since it goes into the log and to whoever asks `/ready`.
    """

    register: Callable[[grpc.aio.Server], None]
    dependencies: tuple[Dependency, ...] = ()
    prepare: Callable[[], Awaitable[None]] | None = None
    background: tuple[Background, ...] = ()
    close: tuple[Callable[[], Awaitable[None]], ...] = ()
    age_seconds: Callable[[], float] | None = None
    translate: Callable[[Exception], RpcFailure | None] = _translate_nothing
    describe: Callable[[Exception], str | None] = _describe_nothing


@dataclass(frozen=True)
class Kit:
    """What the process offers to `build`."""

    health: Health
    registry: CollectorRegistry


Build = Callable[[S, Kit], Awaitable[Service]]


@dataclass
class _Registrations:
    """Stands before the server while servicers register, to learn every service's name: none can slip past access."""

    server: grpc.aio.Server
    names: list[str] = field(default_factory=list)

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        handlers = tuple(handlers)
        for handler in handlers:
            name = handler.service_name() if isinstance(handler, grpc.ServiceRpcHandler) else None
            if name is None:
                raise CannotStart(Exit.INTERNAL, f"{type(handler).__name__} has no service name to check its access by")
            self.names.append(name)
        self.server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service_name: str, handlers: Any) -> None:
        self.names.append(service_name)
        cast(Any, self.server).add_registered_method_handlers(service_name, handlers)


class Process(Generic[S]):
    """One service in one event loop. `run` is its whole life; `stop` asks it to drain.

    `grpc_port` and `http_port` hold the bound ports (settings may say 0: a free one) once `serving` is set.
    """

    def __init__(self, name: str, build: Build[S], settings: S, registry: CollectorRegistry = REGISTRY) -> None:
        self.name = name
        self.settings = settings
        self.health = Health()
        self.serving = asyncio.Event()
        self.grpc_port = 0
        self.http_port = 0
        self._build = build
        self._registry = registry
        self._stop = asyncio.Event()
        self._exit = Exit.OK
        self._status = StatusServer(name, self.health, registry)
        self._grpc_health = GrpcHealth()
        self._server: grpc.aio.Server | None = None
        self._service: Service | None = None
        self._running: list[tuple[Background, asyncio.Task[None]]] = []
        self._chores: list[asyncio.Task[None]] = []
        registry.register(HealthMetrics(self.health))
        self._loop_late = Gauge("credence_event_loop_late_seconds", "Lateness of the last tick", registry=registry)

    def stop(self) -> None:
        """Asks for a drain. Again is harmless: a terminal and a parent often both send the signal."""
        if not self._stop.is_set():
            _log.info("stopping", drain_timeout_seconds=self.settings.drain_timeout_seconds)
        self.health.stopping()
        self._stop.set()

    async def run(self) -> Exit:
        """Starts, serves until asked to stop, drains. Raises CannotStart."""
        startup = asyncio.create_task(self._start(), name="startup")
        asked = asyncio.create_task(self._stop.wait(), name="stop-asked")
        try:
            await asyncio.wait({startup, asked}, return_when=asyncio.FIRST_COMPLETED)
            if startup.done():
                await startup
                self.serving.set()
                await asked
        finally:
            asked.cancel()
            await _cancel(startup)
            drained = await self._drain()
        return self._exit if drained else Exit.INTERNAL

    async def _start(self) -> None:
        settings = self.settings
        started = time.monotonic()
        startup = self.health.check("startup")
        await self._grpc_health.tell(ready=False)
        self._chores.append(asyncio.create_task(self._tick(), name="tick"))
        self.http_port = await self._listen_http()
        keys = SigningKeys(settings.jwks)
        verifier = TokenVerifier(
            keys,
            issuer=settings.issuer,
            audience=settings.audience,
            development=settings.profile == "development",
            pseudonym_key=settings.digest_key.get_secret_value(),
        )
        self._service = service = await self._build(settings, Kit(self.health, self._registry))
        interceptor_access: dict[str, frozenset[str]] = {}
        self._server = server = self._grpc_server(verifier, interceptor_access, service)
        interceptor_access.update(self._register(server, service))
        self.grpc_port = self._listen_grpc(server)
        # The keys are waited for like a server, and probed no more: `SigningKeys` looks after itself.
        await self._wait_for((Dependency("signing-keys", keys.load, watched=False), *service.dependencies))
        await self._prepare(service)
        for dependency in (d for d in service.dependencies if d.watched):
            chore = self._watch(dependency, self._check_of(dependency))
            self._chores.append(asyncio.create_task(chore, name=f"probe-{dependency.name}"))
        for background in service.background:
            task = asyncio.create_task(self._guard(background), name=background.name)
            self._running.append((background, task))
        await server.start()
        startup.ok()
        await self._tell_grpc_health()
        _log.info(
            "serving",
            grpc_host=settings.grpc_host,
            grpc_port=self.grpc_port,
            http_host=settings.http_host,
            http_port=self.http_port,
            profile=settings.profile,
            seconds=round(time.monotonic() - started, 3),
        )

    async def _listen_http(self) -> int:
        host, port = self.settings.http_host, self.settings.http_port
        try:
            return await self._status.start(host, port)
        except OSError as error:
            raise _port_taken("CREDENCE_HTTP_PORT", host, port) from error

    def _listen_grpc(self, server: grpc.aio.Server) -> int:
        host, port = self.settings.grpc_host, self.settings.grpc_port
        try:
            return server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError as error:
            raise _port_taken("CREDENCE_GRPC_PORT", host, port) from error

    def _grpc_server(
        self, verifier: TokenVerifier, access: dict[str, frozenset[str]], service: Service
    ) -> grpc.aio.Server:
        settings = self.settings
        interceptor = RpcInterceptor(
            verifier=verifier,
            access=access,
            metrics=RpcMetrics(self._registry),
            default_deadline_seconds=settings.default_deadline_seconds,
            longest_deadline_seconds=settings.longest_deadline_seconds,
            longest_stream_seconds=settings.longest_stream_seconds,
            answer_bytes_max=settings.max_message_bytes,
            age_seconds=service.age_seconds,
            translate=service.translate,
            load=Load(settings.max_concurrent_rpcs),
        )
        return grpc_server(settings, interceptor)

    def _register(self, server: grpc.aio.Server, service: Service) -> dict[str, frozenset[str]]:
        registrations = _Registrations(server)
        service.register(cast(grpc.aio.Server, registrations))
        names = list(dict.fromkeys(registrations.names))
        try:
            access = check_every_rpc_declares_access(names)
        except AccessUndeclared as error:
            raise CannotStart(Exit.INTERNAL, f"these RPCs break the rules of access: {error}") from error
        health_pb2_grpc.add_HealthServicer_to_server(self._grpc_health, server)
        if self.settings.profile == "development":
            reflection.enable_server_reflection(
                (*names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME), server
            )
        return access

    async def _wait_for(self, dependencies: tuple[Dependency, ...]) -> None:
        """All of them together, within the start-up time. A pod of services may come up in any order."""
        away = {d.name: "not asked yet" for d in dependencies}

        async def one(dependency: Dependency) -> None:
            check = self._check_of(dependency)
            pauses = _pauses()
            while (problem := await _probe(dependency)) is not None:
                if away[dependency.name] != problem:
                    _log.info("waiting-for", dependency=dependency.name, problem=problem)
                away[dependency.name] = problem
                check.failing(f"waiting for it: {problem}")
                await asyncio.sleep(next(pauses))
            del away[dependency.name]
            check.ok()

        try:
            async with asyncio.timeout(self.settings.startup_timeout_seconds), asyncio.TaskGroup() as group:
                for dependency in dependencies:
                    group.create_task(one(dependency))
        except TimeoutError:
            listed = "; ".join(f"{name} ({problem})" for name, problem in sorted(away.items()))
            raise CannotStart(
                Exit.SERVERS_AWAY,
                f"no answer within {self.settings.startup_timeout_seconds:g} s from {listed}: start them, or look at "
                "their addresses in the settings",
            ) from None

    async def _prepare(self, service: Service) -> None:
        """Begun again where a server goes away in the midst of it, within the start-up time: that is no defect."""
        away = "no answer"
        pauses = _pauses()
        try:
            async with asyncio.timeout(self.settings.startup_timeout_seconds):
                while service.prepare is not None:
                    try:
                        return await service.prepare()
                    except Exception as error:
                        failure = service.translate(error)
                        if not isinstance(failure, Unavailable):
                            raise
                        away = f"{type(error).__name__}: {error}"
                    _log.info("waiting-for", dependency="preparation", problem=away)
                    await asyncio.sleep(next(pauses))
        except TimeoutError:
            raise CannotStart(
                Exit.SERVERS_AWAY,
                f"what it needs could not be prepared within {self.settings.startup_timeout_seconds:g} s ({away}): a "
                "server went away meanwhile; start the service again once it is back",
            ) from None

    def _check_of(self, dependency: Dependency) -> Check:
        silence = PROBE_SILENCE_SECONDS_MAX if dependency.watched else None
        return self.health.check(dependency.name, max_age_seconds=silence, dependency=True)

    async def _watch(self, dependency: Dependency, check: Check) -> None:
        """Keeps the check of one dependency true: told within 3 s of a change."""
        tell_away = check.failing if dependency.essential else check.degraded
        away = False
        while True:
            problem = await _probe(dependency)
            if problem is None:
                check.ok()
            else:
                tell_away(problem)
            if away != (problem is not None):
                away = not away
                _log.warning("dependency-away" if away else "dependency-back", dependency=dependency.name)
            await asyncio.sleep(PROBE_EVERY_SECONDS)

    async def _guard(self, background: Background) -> None:
        check = self.health.check(background.name, max_age_seconds=background.silence_seconds_max)
        if background.silence_seconds_max is None:
            check.ok()
        try:
            await background.run()
        except Exception as error:  # noqa: BLE001 - told in the log and in /ready, never swallowed
            described = self._service.describe(error) if self._service is not None else None
            problem = f"ended by {described or type(error).__name__}"
            check.failing(f"{problem}; see the log")
            _log.critical("background-failed", background=background.name, problem=problem, exc_info=error)
        else:
            if not self._stop.is_set():
                check.failing("ended by itself, which it never should")
                _log.critical("background-ended", background=background.name)

    async def _tick(self) -> None:
        """Keeps the running clock, the gRPC health and the watchdogs."""
        while True:
            self._loop_late.set(self.health.tick())
            await self._tell_grpc_health()
            stale = self.health.stale()
            if stale:
                _log.critical("watchdog-stale", watchdogs=stale)
                self._exit = Exit.INTERNAL
                self.stop()
            await asyncio.sleep(TICK_SECONDS)

    async def _tell_grpc_health(self) -> None:
        await self._grpc_health.tell(ready=self.health.readiness().state is not State.FAILING)

    async def _drain(self) -> bool:
        """Whether everything stopped by itself in time. Whatever happens here, it ends within the drain time."""
        self.health.stopping()
        total = self.settings.drain_timeout_seconds
        end = time.monotonic() + total
        late: list[str] = []
        await self._grpc_health.end()
        if self._server is not None:
            # Calls get the first half: what they commanded, the deliverer and consumers stopped after them still see.
            began = time.monotonic()
            await self._server.stop(total / 2)
            if time.monotonic() - began >= total / 2:
                late.append("calls in flight")
        for background, task in reversed(self._running):
            # A tenth of the time is kept for closing the stores.
            if not await _stop_background(background, task, end - total / 10 - time.monotonic()):
                late.append(background.name)
        for chore in self._chores:
            await _cancel(chore)
        closing = self._service.close if self._service is not None else ()
        closed = [await _in_time(close(), end - time.monotonic(), "close-failed") for close in closing]
        if not all(closed):
            late.append("closing")
        await self._status.close()
        if late:
            _log.error("drain-incomplete", late=late)
        else:
            _log.info("stopped", seconds=round(total - (end - time.monotonic()), 3))
        return not late


def _port_taken(variable: str, host: str, port: int) -> CannotStart:
    return CannotStart(
        Exit.PORT_TAKEN,
        f"cannot listen on {host}:{port}, which another process holds or this host lacks: stop it, or set {variable}",
    )


def _pauses() -> Iterator[float]:
    """Seconds to wait between tries, each twice the last."""
    pause, longest = BACKOFF_SECONDS
    while True:
        yield pause
        pause = min(pause * 2, longest)


async def _probe(dependency: Dependency) -> str | None:
    """None when it answers; else what is wrong, in a few words."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            await dependency.probe()
    except TimeoutError:
        return f"no answer within {PROBE_TIMEOUT_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001 - whatever a client library raises, it means away; told to the caller
        return f"{type(error).__name__}: {error}"[:200]
    return None


async def _cancel(task: asyncio.Task[Any]) -> None:
    """Cancels and waits a moment; a task that resists is left to the end of the loop."""
    task.cancel()
    await asyncio.wait({task}, timeout=1.0)


async def _in_time(work: Awaitable[None], seconds: float, failed_event: str) -> bool:
    try:
        async with asyncio.timeout(max(0.05, seconds)):
            await work
    except Exception as error:  # noqa: BLE001 - told in the log; the drain goes on with the rest
        _log.error(failed_event, exc_info=error)
        return False
    return True


async def _stop_background(background: Background, task: asyncio.Task[None], seconds: float) -> bool:
    end = time.monotonic() + max(0.05, seconds)
    clean = True
    if background.stop is not None and not task.done():
        clean = await _in_time(background.stop(), end - time.monotonic(), "background-stop-failed")
        if clean:
            await asyncio.wait({task}, timeout=max(0.05, end - time.monotonic()))
            clean = task.done()
    await _cancel(task)
    return clean and task.done()


def _log_loop_exception(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Instead of the default handler, whose text quotes the exception and with it whatever that quotes."""
    _log.error("event-loop-exception", detail=context.get("message", ""), exc_info=context.get("exception"))


async def _main(name: str, build: Build[S], settings: S) -> Exit:
    process = Process(name, build, settings)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_loop_exception)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, process.stop)
    return await process.run()


def _give_back_large_blocks() -> None:
    """Has the allocator return blocks of 256 KiB and more to the system as they are freed.

    By itself glibc learns from the first large message that such blocks come again, and from then on keeps them: a
    burst of large calls would hold its memory for the life of the process. Other C libraries have no such setting.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 256 * 1024)


def run_service(name: str, build: Build[S], settings: type[S]) -> int:
    """Runs a service until SIGTERM or SIGINT and returns the exit code (`Exit`).

    `settings` is the class: it is loaded here, so that wrong settings end in one readable message and Exit.SETTINGS.
    """
    try:
        _give_back_large_blocks()
        loaded = settings.load()
        start_logging(name, loaded.log_level)
        start_tracing(name)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return int(runner.run(_main(name, build, loaded)))
    except CannotStart as refusal:
        print(f"{name} cannot start: {refusal}", file=sys.stderr)
        return int(refusal.code)
    except Exception as error:  # noqa: BLE001 - the last resort of the process: told, and an exit code
        _log.critical("process-failed", exc_info=error)
        return int(Exit.INTERNAL)
