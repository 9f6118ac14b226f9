"""Decide: many commands at a time, one append per stream at a time, one answer per command."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from eventcore.decider import Command, Decider, Refusal
from eventcore.event import Event, StoredByNewer, StoredEvent
from eventcore.fold import told
from eventcore.limits import APPEND_BYTES_MAX, COMMAND_ATTEMPTS_MAX, COMMAND_BYTES_MAX, EVENT_BYTES_MAX
from eventcore.outcome import Outcome, Status
from eventcore.store import Append, AppendStore, Insert, Mark, Step, StoreUnavailable

S = TypeVar("S")
C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request(Generic[C]):
    """One command for one stream.

    `id` is scoped to the stream: the same id again is answered from what is stored. `now` (UTC) is the instant the
    decision is made at. With `expected`, the command is dropped unless the stream is at that version.
    """

    stream: str
    id: str
    command: C
    actor: str
    now: datetime
    expected: int | None = None
    correlation: str = ""
    causation: str = ""
    traceparent: str = ""


@dataclass(frozen=True)
class Limits:
    """Bounds of one execution. Sizes are bytes of JSON; the broker's limit stands above `event_bytes`."""

    attempts: int = COMMAND_ATTEMPTS_MAX
    event_bytes: int = EVENT_BYTES_MAX
    command_bytes: int = COMMAND_BYTES_MAX
    append_bytes: int = APPEND_BYTES_MAX


@dataclass
class _Stream(Generic[S]):
    """One stream within one round: as stored, then moving on with each decision."""

    stored: int  # the version in the store
    version: int
    state: S
    steps: dict[str, Step]
    recorded: datetime | None  # of the newest stored append
    # What this round would append, and the answers that are true only once it is stored.
    size: int = 0
    new_steps: list[Step] = field(default_factory=list)
    new_events: list[StoredEvent] = field(default_factory=list)
    answers: dict[int, Outcome[S]] = field(default_factory=dict)


@dataclass
class _Execution(Generic[S, C, E]):
    """One call of `execute`: what is asked, and by position what became of it so far."""

    decider: Decider[S, C, E]
    requests: Sequence[Request[C]]
    digests: Sequence[str]
    losses: list[int]
    answers: dict[int, Outcome[S]] = field(default_factory=dict)
    # The slot of a request's last write that got no answer. Until that slot is seen taken the write may still land,
    # so "refused" or "unchanged" would not be the truth yet.
    unsure: dict[int, int] = field(default_factory=dict)

    @property
    def todo(self) -> list[int]:
        return [i for i in range(len(self.requests)) if i not in self.answers]

    def by_stream(self) -> dict[str, list[int]]:
        """What is to do, in order within each stream."""
        grouped: dict[str, list[int]] = {}
        for i in self.todo:
            grouped.setdefault(self.requests[i].stream, []).append(i)
        return grouped


async def _at_once(_attempt: int) -> None:
    return None


def _beside_all(_streams: Collection[str], _lost: Collection[str]) -> AbstractAsyncContextManager[None]:
    return nullcontext()


class Executor:
    """Executes commands against a store.

    `digest_key` (secret) keys the digest by which a repeated id is recognised; `pause(attempt)` is awaited after a
    lost race; `turns(streams, lost)` is held for a try, so that writers of this process need not race (see `Turns`);
    `stored(streams)` is told which streams grew, so that delivery need not wait for its poll.
    """

    def __init__(
        self,
        store: AppendStore,
        digest_key: bytes,
        *,
        limits: Limits = Limits(),
        pause: Callable[[int], Awaitable[None]] = _at_once,
        turns: Callable[[Collection[str], Collection[str]], AbstractAsyncContextManager[None]] = _beside_all,
        stored: Callable[[Sequence[str]], None] = lambda _streams: None,
    ) -> None:
        self._store = store
        self._digest_key = digest_key
        self._limits = limits
        self._pause = pause
        self._turns = turns
        self._stored = stored

    def rehearsing(self) -> Executor:
        """An executor that answers as this one would and stores nothing."""
        return Executor(Rehearsal(self._store), self._digest_key, limits=self._limits)

    async def states(self, decider: Decider[S, C, E], streams: Sequence[str]) -> dict[str, tuple[int, S]]:
        """Version and state of each stream, in one read (0 and the initial state where there is none).

        Raises StoreUnavailable, StoredByNewer.
        """
        wanted = list(dict.fromkeys(streams))
        appends = await self._store.load(wanted)
        replayed = {s: _replay(decider, appends.get(s, [])) for s in wanted}
        return {s: (stream.version, stream.state) for s, stream in replayed.items()}

    async def execute(self, decider: Decider[S, C, E], requests: Sequence[Request[C]]) -> list[Outcome[S]]:
        """One outcome per request, in their order. Does not raise for the database: that is the outcome UNKNOWN.

        Events with values the store cannot hold at all do raise.
        """
        run = _Execution(decider, requests, [self._digest(r.command) for r in requests], [0] * len(requests))
        while todo := run.todo:
            lost = {requests[i].stream for i in todo if run.losses[i]}
            async with self._turns({requests[i].stream for i in todo}, lost):
                await self._try(run)
            if worst := max((run.losses[i] for i in run.todo), default=0):
                await self._pause(worst)
        return [run.answers[i] for i in range(len(requests))]

    async def _try(self, run: _Execution[S, C, E]) -> None:
        """Loads, decides and appends once; answers what is settled by it, or was lost too often."""
        grouped = run.by_stream()
        try:
            appends = await self._store.load(list(grouped))
        except StoreUnavailable:
            run.answers.update({i: Outcome(Status.UNKNOWN, run.requests[i].stream, 0) for i in run.todo})
            return
        round_: list[_Stream[S]] = []
        for name, members in grouped.items():
            try:
                stream = _replay(run.decider, appends.get(name, []))
            except StoredByNewer as error:
                # Perhaps one of these commands stored it, through an instance of that release: who can read it
                # answers the same id.
                run.answers.update({i: Outcome(Status.UNKNOWN, name, 0, None, _left(error)) for i in members})
                continue
            except Exception as error:  # noqa: BLE001 - told; one stream must not spoil a batch of others
                # Unknown, as one of these commands may be what it holds.
                _log.error("stream-unreadable", extra={"stream": name, "error": told(error)})
                run.answers.update({i: Outcome(Status.UNKNOWN, name, 0, None, _unreadable(name)) for i in members})
                continue
            self._decide(run, stream, members)
            if stream.new_events:
                round_.append(stream)
            else:
                run.answers.update(stream.answers)
        await self._append(run, round_)
        for i in [i for i in run.todo if run.losses[i] >= self._limits.attempts]:
            name = run.requests[i].stream
            found = appends.get(name)
            status = Status.UNKNOWN if i in run.unsure else Status.ABORTED
            run.answers[i] = Outcome(status, name, found[-1].last if found else 0)

    def _decide(self, run: _Execution[S, C, E], stream: _Stream[S], members: Sequence[int]) -> None:
        """Decides one stream's commands in order, each on the state its predecessors left."""
        decider = run.decider
        for i in members:
            request, digest = run.requests[i], run.digests[i]
            step = stream.steps.get(request.id)
            if step is not None:
                # After a lost or unanswered write of our own, finding the step is the first answer, not a replay.
                first_answer = run.losses[i] and step.last <= stream.stored
                if first_answer:
                    self._stored([request.stream])  # nobody said that it was stored, so nobody was told either
                same = Status.ACCEPTED if first_answer else Status.REPLAYED
                status = same if step.digest == digest else Status.CONFLICT
                stream.answers[i] = Outcome(status, request.stream, step.last, stream.state)
                continue
            open_slot = run.unsure.get(i, 0) > stream.stored
            if request.expected is not None and request.expected != stream.version:
                status, decision = Status.DROPPED, None
            else:
                decision = self._checked(
                    decider, stream.version, decider.decide(request.command, stream.state, request.now)
                )
                status = Status.REFUSED if isinstance(decision, Refusal) else Status.UNCHANGED
            if not decision or isinstance(decision, Refusal):
                status = Status.UNKNOWN if open_slot else status
                refusal = decision if isinstance(decision, Refusal) and not open_slot else None
                stream.answers[i] = Outcome(status, request.stream, stream.version, stream.state, refusal)
                continue
            size = sum(size for _, _, size in decision)
            if stream.new_events and stream.size + size > self._limits.append_bytes:
                return  # the append is full: this command and what follows it wait for the next round
            first = stream.version + 1
            for event, stored, _ in decision:
                stream.version += 1
                stream.state = decider.evolve(stream.state, event, stream.version)
                stream.new_events.append(stored)
            stream.size += size
            step = Step(
                request.id, digest, request.actor, request.correlation, request.causation, request.traceparent,
                first, stream.version,
            )  # fmt: skip
            stream.steps[request.id] = step
            stream.new_steps.append(step)
            stream.answers[i] = Outcome(Status.ACCEPTED, request.stream, stream.version, stream.state)

    def _checked(
        self, decider: Decider[S, C, E], version: int, decision: Sequence[E] | Refusal
    ) -> list[tuple[E, StoredEvent, int]] | Refusal:
        """The events with their stored form and size, or the refusal of what is too large to publish or to keep."""
        if isinstance(decision, Refusal):
            return decision
        if version + len(decision) > decider.events_max and not all(event.ends for event in decision):
            return Refusal(
                "history-full",
                f"this {decider.category} has a history of {version} events, and {decider.events_max} is the most that "
                "is kept: go on with another one",
            )
        checked = []
        for event in decision:
            stored = decider.codec.encode(event)
            size = len(json.dumps(stored.data))
            if size > self._limits.event_bytes:
                return _too_large(size, self._limits.event_bytes)
            checked.append((event, stored, size))
        if (total := sum(size for _, _, size in checked)) > self._limits.command_bytes:
            return _too_large(total, self._limits.command_bytes)
        return checked

    async def _append(self, run: _Execution[S, C, E], round_: Sequence[_Stream[S]]) -> None:
        """Inserts one append per stream; answers what is now true, counts what was lost."""
        appends = []
        for stream in round_:
            accepted = [i for i, o in stream.answers.items() if o.status is Status.ACCEPTED]
            now = max(run.requests[i].now for i in accepted)
            # Never earlier than its predecessor, whatever the clocks of two processes say.
            recorded = max(now, stream.recorded or now)
            name = run.requests[accepted[0]].stream
            appends.append(Append(name, stream.stored + 1, tuple(stream.new_steps), tuple(stream.new_events), recorded))
        if not appends:
            return
        inserted = await self._store.insert(appends)
        grown = []
        for stream, append, result in zip(round_, appends, inserted, strict=True):
            if result is Insert.STORED:
                run.answers.update(stream.answers)
                grown.append(append.stream)
                continue
            mine = {step.id for step in append.steps}
            for i in stream.answers:
                run.losses[i] += 1
                if result is Insert.UNKNOWN and run.requests[i].id in mine:
                    run.unsure[i] = append.first
        if grown:
            self._stored(grown)

    def _digest(self, command: Command) -> str:
        canonical = json.dumps(command.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        text = f"{type(command).__name__}:{canonical}".encode()
        return hmac.new(self._digest_key, text, hashlib.sha256).hexdigest()


def _left(error: StoredByNewer) -> Refusal:
    return Refusal("newer-release", f"{error}; send it again with the same id, an instance of that release answers it")


def _unreadable(stream: str) -> Refusal:
    return Refusal(
        "unreadable",
        f"what is stored of {stream} cannot be read: send it again with the same id once the operators have mended it; "
        "the service's log says what is wrong with it",
    )


def _too_large(size: int, limit: int) -> Refusal:
    return Refusal("event-too-large", f"{size} bytes would be stored; the limit is {limit}: send less at once")


def _replay(decider: Decider[S, C, E], appends: Sequence[Append]) -> _Stream[S]:
    state, version = decider.initial, 0
    steps: dict[str, Step] = {}
    for append in appends:
        for stored in append.events:
            version += 1
            state = decider.evolve(state, decider.codec.decode(stored), version)  # type: ignore[arg-type]
        steps.update({step.id: step for step in append.steps})
    return _Stream(version, version, state, steps, appends[-1].recorded if appends else None)


class Rehearsal:
    """An AppendStore that stores nothing: it answers as if, on top of the real one. For dry runs."""

    def __init__(self, store: AppendStore) -> None:
        self._store = store
        self._imagined: dict[str, list[Append]] = {}

    @property
    def epoch(self) -> str:
        return self._store.epoch

    async def load(self, streams: Sequence[str]) -> dict[str, list[Append]]:
        stored = await self._store.load(streams)
        both = {s: stored.get(s, []) + self._imagined.get(s, []) for s in streams}
        return {s: appends for s, appends in both.items() if appends}

    async def insert(self, appends: Sequence[Append]) -> list[Insert]:
        for append in appends:
            self._imagined.setdefault(append.stream, []).append(append)
        return [Insert.STORED] * len(appends)

    async def waiting(
        self, mark: Mark, *, limit: int, without: Collection[str] = (), before: datetime | None = None
    ) -> list[str]:
        return []

    async def pending(self, mark: Mark, *, streams: Sequence[str] | None = None, limit: int) -> list[Append]:
        return []

    async def clear(self, mark: Mark, appends: Sequence[Append]) -> None:
        return None
