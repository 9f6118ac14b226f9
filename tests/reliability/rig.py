"""Everything that is put to the test, as real processes: the servers, several instances of each service, a proxy
between each instance and each server, and somebody who starts again whatever ended.

That somebody stands for an orchestrator: a process that ends, by a kill or by itself, is started again at once unless
it is meant to be down. Nothing else ever helps the platform back on its feet.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
from kafka.admin import KafkaAdminClient
from pymongo import MongoClient

from catalogue.files import check
from catalogue.proto import programme_to_proto
from credence.enrolment.v1 import catalogue_pb2
from credence_cli import topics
from credence_cli.embedded.development_secrets import DevelopmentSecrets, ensure_development_secrets
from credence_cli.embedded.errors import EmbeddedError
from credence_cli.embedded.home import topics_file
from credence_cli.embedded.kafka import Behind, EmbeddedKafka
from credence_cli.embedded.mongo import EmbeddedMongo
from credence_cli.embedded.ports import LOOPBACK, free_port
from credence_cli.embedded.processes import ManagedProcess
from credence_cli.embedded.service import READY_SECONDS, ServiceProcess, service_spec
from credence_cli.identity import Identity, mint
from tests.reliability.proxy import Mode, Proxies, Way
from tests.system.platform import CALL_SECONDS, OPERATOR, all_stored, answer, answers, open_channel, settled

SERVICES = ("enrolment", "accreditation", "mentoring")
ROOT = Path(__file__).parents[2]
LOOK_SECONDS = 0.05
TOKEN_SECONDS = 300.0
DRAIN_SECONDS_MAX = 20.0
STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Ended:
    """A process that ended although nobody had touched it."""

    name: str
    exit_code: int | None
    said: str


class Rig:
    """Servers, proxies and services in one folder. `instances`: of each service."""

    def __init__(
        self,
        folder: Path,
        *,
        services: Sequence[str] = SERVICES,
        instances: int = 2,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.folder = folder
        self.instances = {f"{service}-{n}": service for service in services for n in range(1, instances + 1)}
        self.secrets = DevelopmentSecrets(folder / "secrets")
        self.ended: list[Ended] = []
        self.kills = 0
        self._say = say
        self.mongo = EmbeddedMongo(folder / "mongo", free_port())
        to_mongo = {f"{name}/mongo": Way(free_port(), self.mongo.port) for name in self.instances}
        # A listener of the broker for each, that sends its clients back to their own proxy.
        to_kafka = {f"{name}/kafka": Way(free_port(), free_port()) for name in self.instances}
        behind = [Behind(way.target, advertised=way.listen) for way in to_kafka.values()]
        self.kafka = EmbeddedKafka(folder / "kafka", free_port(), behind=behind)
        self._links = {**to_mongo, **to_kafka}
        self.services = {name: self._service(name, service) for name, service in self.instances.items()}
        self._parts: dict[str, EmbeddedKafka | EmbeddedMongo | ServiceProcess] = {
            "kafka": self.kafka,
            "mongo": self.mongo,
            **self.services,
        }
        self._proxies: Proxies | None = None
        self._channels: dict[str, grpc.Channel] = {}
        self._tokens: dict[Identity, tuple[float, str]] = {}
        self._meant_down = set(self._parts)
        self._touched: set[str] = set()
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    # ---- from start to end

    def start(self, *, path: Sequence[Path] = ()) -> None:
        """Returns when all is ready and the catalogue is loaded. Nothing is left running when it raises."""
        self.start_servers()
        try:
            self.start_services(path=path)
        except BaseException:
            self.close()
            raise

    def start_servers(self) -> None:
        try:
            self.kafka.launch()
            self.mongo.launch()
            self._proxies = Proxies(self._links)
            ensure_development_secrets(self.secrets.folder)
            self.kafka.await_ready()
            self.mongo.await_ready()
            topics.create(self.kafka.bootstrap, topics_file(), replication_factor=1)
            self._meant_down -= {"kafka", "mongo"}
            self._keeper.start()
        except BaseException:
            self.close()
            raise

    def start_services(self, *names: str, path: Sequence[Path] = ()) -> None:
        """These instances, all unless named. `path`: folders of packages that come before the project's own in these
        processes, until they are released anew or started again from here (planted bugs, an earlier release)."""
        started = names or tuple(self.services)
        for name in started:
            self._runs_from(name, path)
            self.services[name].launch()
        for name in started:
            self.services[name].await_ready()
        self._say(f"{self.software}; {', '.join(started)}")
        if "enrolment" in {self.instances[name] for name in started}:
            programmes = [programme_to_proto(p) for p in check([ROOT / "catalogue"]).programmes.values()]
            request = catalogue_pb2.LoadProgrammesRequest(programmes=programmes)
            all_stored(self.ask("enrolment-1", request, OPERATOR))
        with self._lock:
            self._meant_down -= set(started)

    def release(self, name: str, path: Sequence[Path], *beside: str, ready: bool = True) -> None:
        """Another release of one instance, or of several at once: stopped, started from there, and ready on return; or,
        where a bug may keep it from that, answering."""
        with self.down(name, *beside):
            for each in (name, *beside):
                self._runs_from(each, path)
        up = self.ready if ready else lambda *names: all(map(self.health, names))
        settled(f"{name} is up", lambda: up(name, *beside), seconds=READY_SECONDS)

    def _runs_from(self, name: str, path: Sequence[Path]) -> None:
        service = self.services[name]
        # An empty path is no path: what came before the project's own until now is gone.
        first = {"PYTHONPATH": os.pathsep.join(map(str, path))}
        service.spec = replace(service.spec, env={**service.spec.env, **first})

    def stop_services(self) -> None:
        """Stopped, and meant to stay down. Asked first: a consumer that is killed holds its group up for a while."""
        self.mend()
        with self._lock:
            self._meant_down |= set(self.services)
            running = [service.process for service in self.services.values() if service.process.alive()]
            for process in running:
                process.terminate()
            for process in running:
                process.stop(STOP_SECONDS)
            # A channel that has seen its service go waits a while before it looks again.
            for channel in self._channels.values():
                channel.close()
            self._channels.clear()

    def empty(self) -> None:
        """Servers as at the start, with nothing in them. No service may run."""
        with MongoClient[Any](self.mongo.uri) as client:
            for name in SERVICES:
                client.drop_database(f"credence_{name}")
        with closing(KafkaAdminClient(bootstrap_servers=self.kafka.bootstrap)) as admin:
            admin.delete_topics([topic.name for topic in topics.describe(self.kafka.bootstrap)])

        def made() -> bool:
            # Deleted topics linger for a moment, and look as if they were there.
            try:
                created = topics.create(self.kafka.bootstrap, topics_file(), replication_factor=1)
                return all(topic.created for topic in created)
            except topics.TopicsError:
                return False

        settled("the topics are there again", made)

    def close(self) -> None:
        """Stops everything, whatever state it is in."""
        self._over.set()
        if self._keeper.ident is not None:
            self._keeper.join()
        for channel in self._channels.values():
            channel.close()
        for part in self._parts.values():
            part.process.signal(signal.SIGCONT)
            part.process.signal(signal.SIGKILL if isinstance(part, ServiceProcess) else signal.SIGTERM)
        for part in self._parts.values():
            part.process.stop(10.0)
        if self._proxies is not None:
            self._proxies.close()

    @property
    def software(self) -> str:
        return f"{self.kafka.software}, {self.mongo.software}"

    def of(self, service: str) -> list[str]:
        """The instances of a service."""
        return [name for name, served in self.instances.items() if served == service]

    # ---- clients

    def ask(self, instance: str, request: Any, who: Identity, *, seconds: float = CALL_SECONDS) -> Any:
        """The answer of one instance. Raises Refused."""
        return answer(self._channel(instance), request, self._token(who), seconds)

    def told(self, instance: str, request: Any, who: Identity, *, seconds: float) -> Iterator[Any]:
        """What a streaming call of one instance says, as it comes. Raises Refused."""
        return answers(self._channel(instance), request, self._token(who), seconds)

    def page(self, name: str, path: str) -> bytes:
        """What an instance says over HTTP; empty when it says nothing."""
        connection = http.client.HTTPConnection(LOOPBACK, self.services[name].spec.ports[1], timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return b""
        finally:
            connection.close()

    def _channel(self, instance: str) -> grpc.Channel:
        with self._lock:
            if instance not in self._channels:
                self._channels[instance] = open_channel(self.services[instance].address)
            return self._channels[instance]

    def _token(self, who: Identity) -> str:
        with self._lock:
            made, token = self._tokens.get(who, (0.0, ""))
            if not token or time.monotonic() - made > TOKEN_SECONDS:
                token = mint(who, self.secrets.folder)
                self._tokens[who] = (time.monotonic(), token)
            return token

    # ---- health

    def ready(self, *names: str, states: Collection[str] = ("ok", "degraded")) -> bool:
        """Whether these (all unless named) are ready. Degraded is ready: under load views are behind now and then."""
        return all(self.health(name).get("status") in states for name in names or self.services)

    def health(self, name: str) -> Mapping[str, Any]:
        """What `/ready` of an instance says; empty when it says nothing."""
        try:
            found: Mapping[str, Any] = json.loads(self.page(name, "/ready"))
        except ValueError:
            return {}
        return found

    # ---- faults

    def kill(self, name: str) -> None:
        """kill -9; it is started again."""
        with self._lock:
            process = self._process(name).identity
            self._touched.add(name)
            if process is not None:
                process.signal(signal.SIGKILL)
                self.kills += name in self.services

    def pause(self, name: str) -> None:
        self._process(name).signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._process(name).signal(signal.SIGCONT)

    @contextmanager
    def down(self, *names: str) -> Iterator[None]:
        """SIGTERM to these, all at once; they stay down within. Raises AssertionError when one does not drain (P11).

        A service is asked once it says anything: one that has hardly begun has nothing to drain and no handler yet.
        """
        for name in names:
            if name in self.services:
                settled(f"{name} answers", lambda n=name: bool(self.health(n)), seconds=READY_SECONDS)  # type: ignore[misc]
        with self._lock:
            self._meant_down |= set(names)
            self._touched |= set(names)
        began = time.monotonic()
        try:
            for name in names:
                self._process(name).terminate()
            for name in names:
                process = self._process(name)
                ended = process.wait(DRAIN_SECONDS_MAX - (time.monotonic() - began))
                drained = ended and process.exit_code == 0
                if name in self.services and not drained:
                    how = f"ended with {process.exit_code}" if ended else "still runs"
                    raise AssertionError(f"{name} {how} {time.monotonic() - began:.1f} s after SIGTERM")
            yield
        finally:
            with self._lock:
                self._meant_down -= set(names)

    def disturb(self, link: str, mode: Mode, amount: float = 0.0) -> None:
        """`link` is `<instance>/<server>`."""
        assert self._proxies is not None
        self._proxies.set(link, mode, amount)

    def mend(self) -> None:
        """No link is disturbed any more and nobody is paused."""
        for link in self._links:
            self.disturb(link, "pass")
        for part in self._parts.values():
            part.process.signal(signal.SIGCONT)

    def _process(self, name: str) -> ManagedProcess:
        return self._parts[name].process

    def _keep(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            for name, part in self._parts.items():
                with self._lock:
                    if part.process.alive() or name in self._meant_down or self._over.is_set():
                        continue
                    if name not in self._touched:
                        self.ended.append(Ended(name, part.process.exit_code, part.process.output()))
                    self._touched.discard(name)
                    # A port may be held for a moment by what was just killed: the next look starts it.
                    with suppress(EmbeddedError):
                        part.launch()

    # ---- how an instance is run

    def _service(self, name: str, service: str) -> ServiceProcess:
        kafka, mongo = self._links[f"{name}/kafka"], self._links[f"{name}/mongo"]
        spec = service_spec(
            service,
            mongo_uri=self.mongo.uri.replace(f":{self.mongo.port}/", f":{mongo.listen}/"),
            kafka_bootstrap=f"{LOOPBACK}:{kafka.listen}",
            grpc_port=free_port(),
            http_port=free_port(),
            secrets=self.secrets,
        )
        return ServiceProcess(replace(spec, name=name), self.folder / name, owned=True)
