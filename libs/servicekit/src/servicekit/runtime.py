"""Wires one service to the kernel: its streams, views, evaluations and subscriptions, over MongoDB and Kafka.

A service's `main.py` says what it is made of (`Parts`); everything that is the same in every service is here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import grpc
import structlog
from google.protobuf.message import Message
from prometheus_client import Counter, Gauge

from credence.operations.v1 import (
    held_pb2_grpc,
    log_pb2_grpc,
    operations_pb2_grpc,
    privacy_pb2_grpc,
    status_pb2_grpc,
    views_pb2_grpc,
)
from eventcore.consume import Consumer
from eventcore.decider import Decider
from eventcore.deliver import OwnFold, Publisher
from eventcore.erasure import ErasingMarks, destroy_again
from eventcore.evaluate import Evaluation, Evaluator, Marker, Reader
from eventcore.event import Recorded, StoredByNewer, UnknownEventType
from eventcore.execute import Executor
from eventcore.fold import Folder, View
from eventcore.generations import CurrentViews, Gate
from eventcore.held import TooManyFaults
from eventcore.kafka import KafkaBus, KafkaSource, probe_kafka
from eventcore.loops import Wake, deliver_forever, evaluate_forever
from eventcore.mongo import MongoStores
from eventcore.personal import Keyring, telling_of_erasures
from eventcore.rebuild import Also, NoMarks
from eventcore.record import PublicEvent, WrongEpoch
from eventcore.store import AppendStore, HeldStore, StoreUnavailable
from eventcore.token import Tokens
from eventcore.turns import Turns
from servicekit.arrivals import Arrivals, TellingMarks, TellingTargets
from servicekit.errors import FailedPrecondition, RpcFailure, Unavailable
from servicekit.generations import Generations
from servicekit.health import Health
from servicekit.held import holding_work
from servicekit.kernel import Kernel
from servicekit.limits import WAITING_CALLS_SHARE
from servicekit.load import Room
from servicekit.lookout import Look, Lookout, TargetsBehind, appends_behind, topic_behind
from servicekit.operations.held import HeldApi
from servicekit.operations.log import LogApi
from servicekit.operations.operations import OperationApi
from servicekit.operations.privacy import PrivacyApi
from servicekit.operations.recording import Recording
from servicekit.operations.status import StatusApi
from servicekit.operations.views import ViewsApi
from servicekit.person_data import About, PersonData
from servicekit.process import Background, Dependency, Kit, Service
from servicekit.settings import ServiceSettings
from servicekit.telemetry import span_from, traceparent

LOST_RACE_PAUSE_SECONDS = 0.005
# How long what is stored is left to the instance that stored it, before any other delivers it: longer than a delivery
# takes, shorter than anybody wants to wait for what a killed instance left.
LEFT_SECONDS = 5.0
# Consumers sometimes never rejoin their group after a broker's restart; only a new process brings them back. Well
# above one try at a batch (HANDLING_SECONDS_MAX), which is a sign of life only when it ends.
POLL_WATCHDOG = "consume-poll"
POLL_AGE_SECONDS_MAX = 90.0

_log = structlog.get_logger("servicekit.runtime")


@dataclass(frozen=True)
class Parts:
    """What a service is made of.

    `public` gives the message others may see of a stored event (None: they see only that a version passed);
    `listens_to` maps each foreign topic to the module of messages that may come on it; `register` adds the gRPC
    servicers; `about` names the streams about a person. One of the views tells of erasures: its documents are
    AboutPerson.
    """

    name: str
    topic: str
    deciders: Sequence[Decider[Any, Any, Any]]
    views: Sequence[View[Any]]
    public: Callable[[Recorded[Any]], Message | None]
    register: Callable[[Kernel, grpc.aio.Server], None]
    about: Callable[[Reader, str], Awaitable[About]]
    evaluations: Sequence[Evaluation] = ()
    listens_to: dict[str, ModuleType] = field(default_factory=dict)

    @property
    def people(self) -> View[Any]:
        """The view that tells of erasures. Raises ValueError when there is none: keys would never be destroyed."""
        found = telling_of_erasures(self.views)
        if len(found) != 1:
            raise ValueError(f"{self.name} needs one view whose documents tell of erasures, not {len(found)}")
        return found[0]

    def person_data(self, appends: AppendStore, held: HeldStore, kernel: Kernel) -> PersonData:
        """What this service holds about a person, read from these stores."""
        return PersonData(
            self.about,
            self.views,
            self.evaluations,
            appends,
            kernel.views,
            kernel.targets,
            kernel.keyring,
            held,
            [holding.consumer for holding in kernel.holdings],
        )


def now() -> datetime:
    """The service's clock: UTC, to the millisecond that MongoDB keeps."""
    instant = datetime.now(UTC)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def parser(modules: Iterable[ModuleType]) -> Callable[[str, bytes], Message]:
    """Reads a public event by its message's full name. The parser raises UnknownEventType and DecodeError."""
    classes: dict[str, type[Message]] = {}
    for module in modules:
        for descriptor in module.DESCRIPTOR.message_types_by_name.values():
            classes[descriptor.full_name] = getattr(module, descriptor.name)

    def parse(name: str, data: bytes) -> Message:
        try:
            return classes[name].FromString(data)
        except KeyError:
            raise UnknownEventType(f"{name} is not known to this release") from None

    return parse


def published(public: Callable[[Recorded[Any]], Message | None]) -> Callable[[Recorded[Any]], PublicEvent | None]:
    """`public`, serialised."""

    def to_wire(event: Recorded[Any]) -> PublicEvent | None:
        message = public(event)
        if message is None:
            return None
        # An event told twice (a second deliverer, a republication) is the same bytes: maps keep one order.
        return PublicEvent(message.DESCRIPTOR.full_name, message.SerializeToString(deterministic=True))

    return to_wire


@contextmanager
def span(name: str, parent: str) -> Iterator[str]:
    """The kernel's way to go on with a trace: a span of `parent`'s trace, and its own traceparent."""
    with span_from(parent, name):
        yield traceparent()


async def assemble(parts: Parts, settings: ServiceSettings, kit: Kit) -> Service:
    """The service as a process runs it."""
    stores = MongoStores(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    wake_fold, wake_publish = Wake(), Wake()
    wake_evaluate = {e.name: Wake() for e in parts.evaluations}

    def stored(streams: Sequence[str]) -> None:
        wake_fold(streams)
        wake_publish(streams)

    def marked(evaluation: str) -> None:
        wake_evaluate[evaluation]()

    async def pause(attempt: int) -> None:
        await asyncio.sleep(LOST_RACE_PAUSE_SECONDS * attempt)

    views = CurrentViews(stores.views, stores.generations, time.monotonic)
    digest_key = settings.digest_key.get_secret_value()
    executor = Executor(stores.appends, digest_key, pause=pause, turns=Turns().take, stored=stored)
    arrivals = Arrivals(Room(max(1, int(settings.max_concurrent_rpcs * WAITING_CALLS_SHARE))))
    keyring = Keyring(stores.keys, settings.master_key.get_secret_value(), time.monotonic)
    marks = Marker(parts.evaluations, views, stores.targets, marked)
    marker = TellingMarks(ErasingMarks(marks, keyring, now), arrivals)
    targets = TellingTargets(stores.targets, arrivals)
    deciders = {d.category: d for d in parts.deciders}
    generations = Generations(
        service=parts.name,
        views=parts.views,
        deciders=parts.deciders,
        evaluations=parts.evaluations,
        stores=stores,
        current=views,
        erasing=ErasingMarks(NoMarks(), keyring, now),
        targets=targets,
        parse=parser(parts.listens_to.values()),
        topics=tuple(parts.listens_to),
        bootstrap=settings.kafka_bootstrap,
        now=now,
        fingerprints=Generations.fingerprints_of(parts.views),
    )
    also = Also(generations.own, views, stores.generations, stores.appends, deciders)
    own = Folder(generations.own, views, marker, also=also)
    gate = Gate(stores.generations, [v.name for v in generations.foreign], time.monotonic)
    foreign = Folder(generations.foreign, views, marker, gate=gate)
    bus = KafkaBus(settings.kafka_bootstrap, client_id=parts.name)

    def left_before() -> datetime:
        return now() - timedelta(seconds=LEFT_SECONDS)

    fold = OwnFold(f"{parts.name}.own", stores.appends, deciders, own, stores.held, now, left_before=left_before)
    facts = f"{parts.name}.facts"
    consumer = Consumer(facts, foreign, views, stores.held, generations.parse, now, span=span)
    holdings = [fold.holding, consumer.holding] if parts.listens_to else [fold.holding]
    publish = Publisher(
        stores.appends,
        deciders,
        published(parts.public),
        bus,
        topic=parts.topic,
        source=f"credence/{parts.name}",
        span=span,
        left_before=left_before,
    )
    kernel = Kernel(
        executor,
        views,
        stores.targets,
        keyring,
        now,
        Tokens(digest_key),
        Recording(stores.operations, now),
        arrivals,
        holdings,
    )

    kept = {
        "fold-hints": lambda: len(wake_fold.streams),
        "publish-hints": lambda: len(wake_publish.streams),
        "keys": lambda: len(keyring),
        "waiting-calls": lambda: arrivals.room.taken,
    }
    in_memory = Gauge(
        "credence_in_memory_items", "What is kept in memory, each below its limit", ["kind"], registry=kit.registry
    )
    for kind, count in kept.items():
        in_memory.labels(kind).set_function(count)
    work = Counter("credence_work", "Appends folded and published, targets evaluated", ["loop"], registry=kit.registry)

    def delivering(name: str, step: OwnFold | Publisher, wake: Wake) -> Background:
        report, done = _report(kit.health, name), work.labels(name).inc
        return Background(name, lambda: deliver_forever(step, wake, report=report, done=done))

    def evaluating(evaluation: Evaluation) -> Background:
        name, wake = f"evaluate-{evaluation.name}", wake_evaluate[evaluation.name]
        report, done = _report(kit.health, name), work.labels(name).inc
        actor = f"{parts.name}/{evaluation.name}"
        evaluator = Evaluator(evaluation, views, targets, executor, now, actor=actor, span=span)
        return Background(name, lambda: evaluate_forever(evaluator, wake, report=report, done=done))

    looks: dict[str, Look] = {
        "fold": appends_behind(stores.appends, "unfolded", now),
        "publish": appends_behind(stores.appends, "unpublished", now),
        **{f"evaluate-{e.name}": TargetsBehind(stores.targets, e.name, now) for e in parts.evaluations},
    }
    age_seconds: Callable[[], float] | None = None
    background = [Background("views", lambda: generations.watch(_report(kit.health, "views")))]
    background += [delivering("fold", fold, wake_fold), delivering("publish", publish, wake_publish)]
    background += [evaluating(evaluation) for evaluation in parts.evaluations]
    background += holding_work(holdings, kit.health, lambda name: _report(kit.health, name))
    if parts.listens_to:
        source = KafkaSource(
            settings.kafka_bootstrap,
            topics=tuple(parts.listens_to),
            group=facts,
            handle=consumer.handle,
            report=_report(kit.health, "consume"),
            polled=lambda: kit.health.beat(POLL_WATCHDOG),
        )
        looks |= {topic: topic_behind(source, topic) for topic in parts.listens_to}
        age_seconds = source.age_seconds
        background.append(Background("consume", lambda: watched(kit.health, source.run), stop=source.stop))

    background.append(Background("lookout", Lookout(kit.health, looks).run))

    def register(server: grpc.aio.Server) -> None:
        status_pb2_grpc.add_StatusServiceServicer_to_server(StatusApi(parts.name, stores.appends, kit.health), server)
        operations_pb2_grpc.add_OperationServiceServicer_to_server(OperationApi(stores.operations), server)
        data = parts.person_data(stores.appends, stores.held, kernel)
        # What waits to be published is known here; a view that was never built knows nothing.
        folding = ["views", *(f"{name}-lag" for name in looks if name != "publish")]
        privacy = PrivacyApi(data, parts.people, stores.keys, kernel.recording, lambda: kit.health.problems(folding))
        privacy_pb2_grpc.add_PrivacyServiceServicer_to_server(privacy, server)
        log_pb2_grpc.add_LogServiceServicer_to_server(
            LogApi(
                stores.appends,
                stores.appends,
                deciders,
                kernel.recording,
                wake=wake_publish,
                problem=lambda: kit.health.check("publish").report().detail,
            ),
            server,
        )
        held_pb2_grpc.add_HeldServiceServicer_to_server(HeldApi(stores.held, holdings, kernel.recording), server)
        views_pb2_grpc.add_ViewsServiceServicer_to_server(ViewsApi(generations, kernel.recording), server)
        parts.register(kernel, server)

    async def prepare() -> None:
        # First of all: a view that is not noted yet counts as built, and would be folded into.
        await generations.adopt()
        await stores.prepare(parts.views, [e.name for e in parts.evaluations])
        await destroy_again(parts.people, views, keyring, now())

    return Service(
        register=register,
        dependencies=(
            Dependency("mongo", stores.ping),
            Dependency(
                "kafka",
                lambda: probe_kafka(settings.kafka_bootstrap, (parts.topic, *parts.listens_to)),
                essential=False,
            ),
        ),
        prepare=prepare,
        background=tuple(background),
        close=(bus.close, stores.close),
        age_seconds=age_seconds,
        translate=_translate,
        describe=describe,
    )


async def watched(health: Health, consume: Callable[[], Awaitable[None]]) -> None:
    """Consumes under the watchdog of polls, for as long as it lasts.

    Not before: the start may wait for its servers longer than a poll may. And not after: a consumer that a bad
    release ended would be restarted for ever, to meet the same records, and take the commands down with it.
    """
    health.watchdog(POLL_WATCHDOG, POLL_AGE_SECONDS_MAX)
    try:
        await consume()
    finally:
        health.drop_watchdog(POLL_WATCHDOG)


def describe(error: Exception) -> str | None:
    """What ended the work, where its type alone does not tell. None of these quotes a record."""
    match error:
        case WrongEpoch() | TooManyFaults():
            return f"{type(error).__name__}: {error}"
        case _:
            return None


def _translate(error: Exception) -> RpcFailure | None:
    """What the kernel raises below a handler, in gRPC's words."""
    match error:
        case StoreUnavailable():
            return Unavailable("the database does not answer: send it again with the same id")
        case WrongEpoch():
            return FailedPrecondition("wrong-epoch", str(error))
        case TooManyFaults():
            return FailedPrecondition("too-many-faults", str(error))
        case StoredByNewer():
            return Unavailable(
                f"{error}; send it again with the same id, an instance of that release answers it",
                reason="newer-release",
            )
        case _:
            return None


def _report(health: Health, name: str) -> Callable[[str | None], None]:
    """Turns a loop's report into its check: held up is degraded, and it is said once, not on every try."""
    last: list[str | None] = [None]

    def report(problem: str | None) -> None:
        check = health.check(name)
        if problem is None:
            check.ok()
        else:
            check.degraded(problem)
        if problem != last[0]:
            last[0] = problem
            _log.warning("held-up" if problem else "moving-again", loop=name, problem=problem)

    return report
