"""What is done to the platform: a schedule drawn from a seed, and each fault on the running processes.

A fault ends by itself or is ended here; how long the platform then takes to be whole again is measured by the storm.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count, repeat
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from credence_cli import topics
from tests.reliability.operators import Operators
from tests.reliability.proxy import Mode
from tests.reliability.rig import Rig
from tests.system.evidence import SERVICES, records
from tests.system.platform import settled

SESSION_TIMEOUT_SECONDS = 10.0  # eventcore.kafka.SourceSettings.session_timeout_ms
DUPLICATED_MAX = 3_000
SERVERS = ("kafka", "mongo")
CUT_OFF = ("half-open", "refuse")
ALL = "all"  # the topics of every service
T = TypeVar("T")
Lasted = Callable[[], bool]
AWAY_SECONDS = 60.0  # the longest that the fault model has
REBUILT_EVERY = 3  # rounds of all other faults


@dataclass(frozen=True)
class Fault:
    """One entry of a schedule. `what` is an instance, a service, a server, or a link, as `kind` has it; `beside` is
    struck while it lasts."""

    kind: str
    what: str
    seconds: float = 0.0
    amount: float = 0.0
    beside: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        more = [f"{self.amount:g}"] if self.amount else []
        lasts = [f"{self.seconds:.1f} s"] if self.seconds else []
        return " ".join([self.kind, self.what, *more, *lasts, *(f"with {each}" for each in self.beside)])


class Struck:
    """Strikes faults on a rig. `meanwhile(spared, over)` spends the time of one that only lasts, and may do to others
    what it likes, but not to those spared; `duplicated` counts the records that were sent again."""

    def __init__(self, rig: Rig, operators: Operators, meanwhile: Callable[[Sequence[str], Lasted], None]) -> None:
        self._rig = rig
        self._operators = operators
        self._meanwhile = meanwhile
        self.duplicated = 0
        self._kinds: Mapping[str, Callable[[Fault], None]] = {
            # A burst of the first is not waited for; of the second it is seen how long the platform takes.
            **dict.fromkeys(("kill", "kill one"), self._kill),
            "kill both": self._kill_both,
            "zombie": self._zombie,
            "terminate": self._terminate,
            "rolling restart": self._rolling,
            **dict.fromkeys(("come and go", "away"), self._come_and_go),
            "duplicate": self._duplicate,
            "offset reset": self._reset,
            "rebuild": self._rebuild,
            "poison": lambda fault: operators.poison(fault.what),
            **dict.fromkeys(("delay", "slow", "half-open", "refuse", "cut"), self._link),
        }

    def strike(self, fault: Fault) -> None:
        """Returns when the fault is over. Raises AssertionError where it shows at once what must not be (P11)."""
        self._kinds[fault.kind](fault)

    def _kill(self, fault: Fault) -> None:
        self._rig.kill(fault.what)

    def _kill_both(self, fault: Fault) -> None:
        for instance in self._rig.of(fault.what):
            self._rig.kill(instance)

    def _zombie(self, fault: Fault) -> None:
        self._rig.pause(fault.what)
        try:
            self._lasts(fault)
        finally:
            self._rig.resume(fault.what)

    def _terminate(self, fault: Fault) -> None:
        with self._rig.down(fault.what):
            pass

    def _rolling(self, fault: Fault) -> None:
        for instance in self._rig.of(fault.what):
            with self._rig.down(instance):
                pass
            settled(f"{instance} is ready again", lambda i=instance: self._rig.ready(i), seconds=90)  # type: ignore[misc]

    def _come_and_go(self, fault: Fault) -> None:
        with self._rig.down(fault.what):
            self._lasts(fault)

    def _link(self, fault: Fault) -> None:
        mode: Mode = fault.kind  # type: ignore[assignment]
        self._rig.disturb(fault.what, mode, fault.amount)
        if mode != "cut":
            self._lasts(fault)
            self._rig.disturb(fault.what, "pass")

    def _lasts(self, fault: Fault) -> None:
        end = time.monotonic() + fault.seconds
        for each in fault.beside:
            self.strike(each)
        self._meanwhile([fault.what.partition("/")[0]], lambda: time.monotonic() > end)

    def _rebuild(self, fault: Fault) -> None:
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(self._operators.rebuild, fault.what, int(fault.amount))
            # Its own service is the operator's to kill: a builder that is killed all the time never ends.
            self._meanwhile(self._rig.of(self._rig.instances[fault.what]), done.done)
            done.result()

    def _duplicate(self, fault: Fault) -> None:
        for service in SERVICES if fault.what == ALL else (fault.what,):
            with suppress(KafkaError):  # Kafka may be coming back from the fault before
                self.duplicated += asyncio.run(thrice(self._rig.kafka.bootstrap, SERVICES[service].topic))

    def _reset(self, fault: Fault) -> None:
        with self._rig.down(*self._rig.of(fault.what)):
            group = f"{fault.what}.facts"
            bootstrap = self._rig.kafka.bootstrap
            settled(f"{group} is empty", lambda: topics.lag(bootstrap, [group])[0].members == 0, seconds=30)
            asyncio.run(rewound(bootstrap, group, tuple(SERVICES[fault.what].listens_to)))


async def thrice(bootstrap: str, topic: str, chosen: Callable[[Sequence[Any]], Sequence[Any]] = list) -> int:
    """Every record of the topic, or those chosen, two times more, byte for byte, in its partition; the newest when
    there are many."""
    found = chosen(await records(bootstrap, topic))[-DUPLICATED_MAX:]
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
    await producer.start()
    try:
        sent = [
            await producer.send(topic, value=r.value, key=r.key, headers=list(r.headers), partition=r.partition)
            for r in chain.from_iterable(repeat(record, 2) for record in found)
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()
    return len(found)


async def rewound(bootstrap: str, group: str, names: tuple[str, ...]) -> None:
    """The group, which must be empty, starts from the first record again."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        await consumer._client.force_metadata_update()
        partitions = [TopicPartition(name, n) for name in names for n in consumer.partitions_for_topic(name) or ()]
        consumer.assign(partitions)
        await consumer.commit(dict.fromkeys(partitions, 0))
    finally:
        await consumer.stop()


def schedule(seed: int, instances: Mapping[str, str]) -> Iterator[Fault]:
    """Faults without an end: rounds that hold every kind, in an order and with particulars of their own.

    Views are rebuilt in every third round: each rebuild reads all that was ever written, and would come to be most of
    a long run.
    """
    rng = random.Random(f"{seed}/faults")
    names, services = sorted(instances), sorted(set(instances.values()))
    listening = [service for service in services if SERVICES[service].listens_to]
    hearing = [service for service in services if SERVICES["enrolment"].topic in SERVICES[service].listens_to]
    of = {service: [name for name in names if instances[name] == service] for service in services}
    links = _without_end(rng, [(service, server) for service in services for server in SERVERS])

    def link() -> str:
        service, server = next(links)
        return f"{rng.choice(of[service])}/{server}"

    # Once a round one thing is away for as long as the fault model has it: another one each time.
    longest = _without_end(
        rng,
        [
            *(Fault("away", server, AWAY_SECONDS) for server in SERVERS),
            Fault("zombie", rng.choice(names), AWAY_SECONDS),
            *(Fault(kind, f"{rng.choice(names)}/{server}", AWAY_SECONDS) for kind in CUT_OFF for server in SERVERS),
        ],
    )
    builders = _without_end(rng, services)
    for number in count():
        faults = [
            *(Fault(how, server) for how in ("kill", "terminate") for server in SERVERS),
            Fault("kill one", rng.choice(names)),
            Fault("kill both", rng.choice(services)),
            Fault("zombie", rng.choice(names), SESSION_TIMEOUT_SECONDS + rng.uniform(1, 5)),
            Fault("delay", link(), rng.uniform(3, 8), rng.choice((0.05, 0.3, 1.0))),
            Fault("slow", link(), rng.uniform(3, 8), rng.choice((5_000.0, 50_000.0))),
            Fault("half-open", link(), rng.uniform(3, 15)),
            Fault("refuse", link(), rng.uniform(2, 10)),
            Fault("cut", link()),
            Fault("duplicate", rng.choice(services)),
            Fault("offset reset", rng.choice(listening)),
            Fault("come and go", rng.choice(names), rng.uniform(1, 5)),
            Fault("rolling restart", rng.choice(services)),
            Fault("poison", rng.choice(hearing)),
            next(longest),
        ]
        if number % REBUILT_EVERY == 0:
            faults.append(Fault("rebuild", rng.choice(of[next(builders)]), amount=rng.randrange(3)))
        rng.shuffle(faults)
        yield from faults


def _without_end(rng: random.Random, every: Sequence[T]) -> Iterator[T]:
    """Each of these before any comes again."""
    while True:
        yield from rng.sample(every, len(every))
