"""The processes: small loops, as a service and its clients run them, around the kernel's own parts.

Each mirrors what the real loop does (`eventcore.loops`, the bus's subscriber): repeat a step, survive what passes,
stop on what does not. Whatever a process keeps between steps dies with it in a crash; what clients remember
(`world.queues`) and what stores hold does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from eventcore import token
from eventcore.consume import Consumer, Received
from eventcore.decider import category_of
from eventcore.deliver import OwnFold, Publisher, Undelivered
from eventcore.evaluate import Evaluator
from eventcore.execute import Request
from eventcore.fold import View
from eventcore.held import LIMITS, Holding, NotStuckThere
from eventcore.outcome import Outcome, Status
from eventcore.rebuild import Done, Findings, NoMarks, OwnLog, Rebuild, Refused, Stopped, Topics
from eventcore.rebuild import Wish as RebuildWish
from eventcore.store import Head, KeyErased, StoreUnavailable

from . import domain
from .scheduler import Violation, give_way, idle
from .script import NOTE, Wish

if TYPE_CHECKING:
    from .world import Service, World

FACTS = "acc.facts"
FOREIGN = ("enrolments", "cohorts", "persons")
TOKENS = token.Tokens(b"digest key of a simulation")


# ---- clients


async def client(world: World, number: int) -> None:
    """Sends its batches one after the other, each until every command has its answer."""
    queue = world.queues[number]
    while queue:
        if not world.calm and world.r.random() < 0.25:
            world.pause(world.me, world.r.randint(50, 400))  # a person at the other end
            await give_way("think")
        try:
            batch = await _prepare(world, queue[0])
        except StoreUnavailable:
            continue
        queue[0] = [wish for wish, _ in batch]
        for wish in queue[0]:
            world.tries[wish.id] += 1
        if not world.calm and "twins" in world.faults and world.r.random() < 0.1:
            for wish in queue[0]:
                world.tries[wish.id] += 1
            world.spawn("twin", _twin(world, batch))
        queue[0] = await _send(world, batch)
        if not queue[0]:
            queue.pop(0)
        await give_way("next batch")


async def _prepare(world: World, batch: Sequence[Wish]) -> list[tuple[Wish, domain.Wish]]:
    """The commands to send. Of an erased person nothing more can be sealed, so nothing more is asked."""
    keyring = world.keyring(world.service["enr"])
    prepared = []
    for wish in batch:
        sealed = None
        if wish.verb == "place":
            try:
                sealed = await keyring.seal(domain.parts(wish.stream)[0], "note", NOTE)
            except KeyErased:
                continue
        if wish.verb == "correct" and wish.replaces is None:
            found = (await world.service["enr"].views.load("enrolments", [wish.stream])).get(wish.stream)
            document = world.view.enrolment.read(found) if found else None
            row = document.rows.get(wish.args[0]) if document else None
            wish.replaces = row.version if row else 0
        prepared.append((wish, wish.command(sealed)))
    return prepared


async def _twin(world: World, batch: Sequence[tuple[Wish, domain.Wish]]) -> None:
    await _send(world, batch)


async def _send(world: World, batch: Sequence[tuple[Wish, domain.Wish]]) -> list[Wish]:
    """Executes a batch and notes what its caller was told; gives back what has to be sent again."""
    again: list[Wish] = []
    for category in dict.fromkeys(category_of(wish.stream) for wish, _ in batch):
        mine = [(wish, command) for wish, command in batch if category_of(wish.stream) == category]
        now = world.clock()
        requests = [Request(w.stream, w.id, command, "client", now) for w, command in mine]
        executor = world.executor(world.of(mine[0][0].stream))
        outcomes = await executor.execute(world.deciders[category], requests)
        for (wish, _), outcome in zip(mine, outcomes, strict=True):
            _note(world, wish, outcome)
            if outcome.status in (Status.UNKNOWN, Status.ABORTED):
                again.append(wish)
    return again


def _note(world: World, wish: Wish, outcome: Outcome[Any]) -> None:
    world.say("answer", wish.id, outcome.status.value, f"{outcome.stream}@{outcome.version}")
    if outcome.status in (Status.CONFLICT, Status.DROPPED):
        raise Violation("a retry taken for another command", wish.id, outcome.status)
    if outcome.status in (Status.ACCEPTED, Status.REPLAYED):
        place = (outcome.stream, outcome.version)
        if world.acknowledged.setdefault(wish.id, place) != place:
            raise Violation("two answers for one id", wish.id, world.acknowledged[wish.id], place)
        if category_of(wish.stream) in ("enrol", "assess") and world.r.random() < 0.4:
            passed = TOKENS.encode({outcome.stream: outcome.version})
            world.spawn("query", query(world, wish.stream, passed))
    if outcome.status is Status.REFUSED:
        world.refused.add(wish.id)


async def query(world: World, stream: str, passed: str) -> None:
    """Read your own write: waits until the view and the standing have seen it."""
    acc = world.service["acc"]
    target = domain.target_of(*domain.parts(stream))
    versions = TOKENS.decode(passed)
    views: list[View[Any]] = [world.view.enrolment, world.view.assessment]
    while True:
        try:
            behind = await token.missing(acc.views, views, versions)
            met = not behind and not await token.unevaluated(acc.targets, world.evaluation, target, versions)
        except StoreUnavailable:
            continue
        if met:
            basis = acc.targets.targets[world.evaluation.name][target].basis
            if any(basis.get(s, 0) < v for s, v in versions.items()):
                raise Violation("token answered too early", target, versions, dict(basis))
            return
        await idle()


async def eraser(world: World) -> None:
    """Erases person p: the event is all it takes, each service destroys its own key when it folds it."""
    executor = world.executor(world.service["enr"])
    while True:
        request = Request("person-p", "erase-p", domain.Erase(), "privacy-officer", world.clock())
        (outcome,) = await executor.execute(world.deciders["person"], [request])
        if outcome.status not in (Status.UNKNOWN, Status.ABORTED):
            world.say("p is erased")
            return
        await give_way("erase again")


# ---- deliver


def _hints(world: World, service: Service) -> list[str]:
    """What was just stored is looked at first, and now and then whatever waits, as in the real loop."""
    if not service.grown or world.r.random() < 0.5:
        return []
    hints = list(service.grown)
    service.grown.clear()
    return hints


async def own_fold(world: World, service: Service) -> None:
    folder = world.folder(service, service.own)
    name = f"{service.name}.own"
    work = OwnFold(name, service.appends, service.deciders, folder, service.held, world.clock, limit=world.page)
    while True:
        hints = _hints(world, service)
        try:
            done = await work.step(hints)
        except StoreUnavailable:
            await give_way("back-off")
            continue
        if not done and not hints:
            await idle()


async def publisher(world: World, service: Service) -> None:
    work = Publisher(
        service.appends,
        service.deciders,
        domain.public,
        service.bus,
        topic=service.bus.topic,
        source=service.name,
        limit=world.page,
    )
    while True:
        hints = _hints(world, service)
        service.bus.steps[world.me] = service.bus.made
        try:
            done = await work.step(hints)
        except (StoreUnavailable, Undelivered):
            await give_way("back-off")
            continue
        if not done and not hints:
            await idle()


# ---- fold


def _consumer(world: World) -> Consumer:
    acc = world.service["acc"]
    folder = world.folder(acc, [world.view.enrolment, world.view.cohort, world.view.person])
    # A release that cannot read one stream is no bad one, however few come at once; nor is a topic that lost several.
    limits = replace(LIMITS, page=2, batch=2, share=0.5)
    return Consumer(FACTS, folder, acc.views, acc.held, world.parse, world.clock, limits=limits)


async def consumer(world: World, me: int) -> None:
    """Folds enr's topic into acc's views, holding what cannot be folded."""
    bus = world.service["enr"].bus
    consumer = _consumer(world)
    while True:
        generation, ends = world.generation, {}
        batch: list[Received] = []
        for p, log in enumerate(bus.partitions):
            at = world.committed[p]
            got = log[at : at + world.r.randint(1, 4)] if world.owner[p] == me else []
            batch += [Received.of(r, p, at + i) for i, r in enumerate(got)]
            if got:
                ends[p] = at + len(got)
        if not batch:
            await idle()
            continue
        await give_way("poll")

        def commit(generation: int = generation, ends: dict[int, int] = ends) -> None:
            """A zombie's commit is refused; any commit may be lost."""
            if generation == world.generation and not world.strikes("kafka", world.rates.io_p / 4):
                world.say("commit", ends)
                world.changes += 1
                for p, end in ends.items():
                    world.committed[p] = end

        try:
            await consumer.handle(batch)
        except StoreUnavailable:
            continue
        commit()
        await give_way("next poll")


async def sweeper(world: World) -> None:
    """Tries again what is held: all of it at the start, gaps and what was left behind ever after."""
    holding = _consumer(world).holding
    everything = True
    while True:
        try:
            await holding.sweep(everything=everything)
        except StoreUnavailable:
            await give_way("back-off")
            continue
        everything = False
        await idle()


async def operator(world: World) -> None:
    """Ships the fix of a poison and redrives what it held, or goes on without it; publishes everything again for no
    good reason; and repairs a topic that lost records."""
    enr = world.service["enr"]
    holding = _consumer(world).holding
    while True:
        if world.bad and world.now > world.fix_at:
            if not world.fixed and not world.discards:
                world.fixed = True
                world.changes += 1
                world.say("the fix ships")
            await _redrive(world, holding)
        if world.republish_at is not None and world.now > world.republish_at:
            world.say("REPUBLICATION")
            await _republish(world, enr)
            world.republish_at = None
        if enr.bus.lost and (world.calm or world.now > world.repair_at):
            if world.recreates:
                await _recreate_topic(world, enr)
            else:
                await _fill_topic(world, enr)
            world.repair_at = world.now + 300
        await idle()


async def _redrive(world: World, holding: Holding) -> None:
    """Looks at what is listed as poison, and does something about it."""
    held = world.service["acc"].held
    for head in await _listed(held):
        world.say("discard" if world.discards else "redrive", head.stream, head.version)
        try:
            if world.discards:
                name = f"{head.stream}@{head.version}"
                if name in world.bad:  # else an entry is left at a place where nothing is stuck any more
                    world.discarded.add(name)
                    await holding.discard(head.stream, head.version, reason="not needed", actor="operator")
            await holding.redrive([head.stream])
        except NotStuckThere:
            continue  # somebody was faster
        except StoreUnavailable:
            world.wake_all()
            return


async def _listed(held: Any) -> list[Head]:
    try:
        found: list[Head] = await held.find(kind="poison", limit=10)
    except StoreUnavailable:
        return []
    return found


async def _fill_topic(world: World, service: Service) -> None:
    """Publishes streams again of which the topic lost records, until it has all of them: a record that comes late
    fills its gap, and what is held behind it is released."""
    for stream in sorted(service.bus.lost):
        last = max(a.last for a in service.appends.streams[stream].values())
        log = service.bus.partitions[service.bus.partition(stream)]
        there = {int(r.headers["ce_sequence"]) for r in log if r.headers["ce_subject"] == stream}
        if there == {*range(1, last + 1)}:
            service.bus.lost.discard(stream)
        else:
            world.say("what the topic LOST is published again", stream)
            await _republish(world, service, stream)


async def _republish(world: World, service: Service, only: str = "") -> None:
    """Asks for a stream, or for all there are, to be published again. What is stored meanwhile goes out as ever."""
    asked, after = f"republication at {world.now}", ("", 0)
    streams = [only] if only else []
    while not only:
        try:
            page = await service.appends.slots(after=after, limit=5)
        except StoreUnavailable:
            continue
        if not page:
            break
        streams += [stream for stream, first, _ in page if first == 1]
        after = page[-1][:2]
    for stream in streams:
        while True:
            try:
                await service.appends.ask_again([stream], asked)
                break
            except StoreUnavailable:
                await give_way("ask again")
    world.wake_all()


async def _recreate_topic(world: World, service: Service) -> None:
    """The topic is gone, and made anew from the store beside live publishers and consumers: first every stream is asked
    for, and only then is there a topic that takes anything. It is read from its start; what was folded is a duplicate.

    A crash of the operator begins it again.
    """
    world.say("the topic is GONE")
    service.bus.missing = True
    await _republish(world, service)
    world.say("the topic is made ANEW")
    service.bus.create()
    world.generation += 1
    world.committed = [0] * len(world.committed)
    service.bus.lost.clear()
    world.wake_all()


# ---- rebuild


async def builder(world: World) -> None:
    """Rebuilds some of acc's views, one after the other, drops what is left over, and finishes what it left undone when
    it was killed. Now and then a document is spoilt first, so that there is something to mend."""
    acc = world.service["acc"]
    runs = 0
    while True:
        rebuild = _rebuild(world)
        try:
            async for _ in rebuild.finish():
                pass
            building = (await acc.generations.read()).building
            if building is None and world.rebuilds <= 0 and not world.spoilt:
                await idle()
                continue
            if building is None and not world.spoilt and world.r.random() < 0.5:
                _spoil(world)
            names = sorted(building.views) if building is not None else sorted(world.spoilt) or _some_views(world)
            runs += 1
            accept = False
            for _ in range(2):
                wish = RebuildWish(tuple(names), "operator", "simulated", confirmed="all", accept_differences=accept)
                told = [t async for t in rebuild.run(wish, f"builder-{world.now}-{runs}")]
                found = next((t for t in told if isinstance(t, Findings)), None)
                if found is None:
                    break  # it had been switched to, and was only to be marked
                behind = any(comparison.behind for comparison in found.comparisons)
                accept = bool(found.suspect) and bool(world.spoilt) and not behind
                if not accept:
                    break
            if isinstance(told[-1], Done):
                world.rebuilds -= 1
                world.spoilt -= set(names)
                world.say("SWITCHED to", told[-1].generations)
            else:
                # A topic that lost a record: it is repaired, or the rebuild is given up.
                assert found is not None
                world.say("SUSPECT", found.suspect)
                if "loss" not in world.faults and "poison" not in world.faults:
                    raise Violation("a difference out of nothing", [c.shown for c in found.comparisons])
                if world.spoilt:
                    # It must not be given up: in a topic that was filled, what was lost may stand behind what follows
                    # it, and then every rebuild begun anew finds as little, for ever. Who runs it again is promised
                    # that it reads all once more, into what it has.
                    await give_way("run it again")
                    continue
                world.rebuilds -= 1
                await rebuild.drop(names)
                await give_way("give up")
            if world.r.random() < 0.5:
                await rebuild.drop(names)
        except (StoreUnavailable, Stopped, Refused) as held_up:
            world.say("held up:", held_up)
            await give_way("back-off")


def _spoil(world: World) -> None:
    """A register's row says another thing in the store than it did in the event, and the standing rests on it."""
    acc = world.service["acc"]
    room = acc.rooms.documents.get(acc.generations.catalogue.room("enrolments"), {})
    stream = next((s for s, v in sorted(room.items()) if v.body is not None and v.body["rows"]), None)
    if stream is None:
        return
    body = dict(room[stream].body or {})
    body["rows"] = {k: {**row, "state": "A" if row["state"] == "P" else "P"} for k, row in body["rows"].items()}
    room[stream] = replace(room[stream], body=body)
    acc.targets.dirty_now(world.evaluation.name, domain.target_of(*domain.parts(stream)))
    world.spoilt.add("enrolments")
    world.changes += 1
    world.say("SPOILT", stream)


def _some_views(world: World) -> list[str]:
    acc = world.service["acc"]
    own = [v.name for v in acc.own]
    return sorted(world.r.choice((FOREIGN, own, [*FOREIGN, *own], [world.r.choice([*FOREIGN, *own])])))


def _rebuild(world: World) -> Rebuild:
    acc, enr = world.service["acc"], world.service["enr"]

    async def pause(seconds: float) -> None:
        world.pause(world.me, round(seconds * world.ticks_a_second))
        await give_way("pause")

    return Rebuild(
        name="acc",
        views=[*acc.own, world.view.enrolment, world.view.cohort, world.view.person],
        own=acc.own,
        fingerprints=dict.fromkeys([*FOREIGN, *(v.name for v in acc.own)], "fold"),
        rooms=acc.rooms,
        store=acc.views,
        generations=acc.generations,
        log=OwnLog(acc.appends, acc.deciders, page=world.r.choice((1, 2, 50))),
        topics=Topics(enr.bus, world.parse),
        evaluations=[world.evaluation],
        targets=acc.targets,
        erasing=NoMarks(),
        discards=acc.held.discards,
        forget=partial(acc.held.forget, FACTS),
        now=world.clock,
        clock=lambda: world.ticks() / world.ticks_a_second,
        pause=pause,
    )


# ---- evaluate


async def evaluator(world: World) -> None:
    acc = world.service["acc"]
    work = Evaluator(
        world.evaluation,
        acc.views,
        acc.targets,
        world.executor(acc),
        world.clock,
        actor="service",
        limit=world.page,
    )
    while True:
        try:
            look = await work.look()
        except StoreUnavailable:
            await give_way("back-off")
            continue
        if look.failed:
            raise Violation("an evaluation raised", look.failed)
        if look.unsettled:
            await give_way("back-off")
        if not look.evaluated:
            await idle()
