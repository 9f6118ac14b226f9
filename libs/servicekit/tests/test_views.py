"""A service's views as operators and the health see them, over the kernel's own rig of stores in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from credence.operations.v1 import views_pb2 as pb
from eventcore.generations import Building, Catalogue, State
from eventcore.memory import MemoryAppends, MemoryOperations
from eventcore.rebuild import NoMarks, builder
from eventcore.store import StoreUnavailable
from libs.eventcore.tests.rebuild_rig import Rig
from libs.eventcore.tests.sample import JAR, drop, parse
from libs.eventcore.tests.test_rebuild import adopted, filled
from servicekit import generations as module
from servicekit.call import Call, enter_call
from servicekit.errors import FailedPrecondition, Unavailable
from servicekit.generations import Generations
from servicekit.health import Health
from servicekit.operations.recording import Recording
from servicekit.operations.views import ViewsApi
from servicekit.runtime import _report
from servicekit.scope import Principal, Scope

from .conftest import until
from .test_arrivals import NOON

WAIT_SECONDS = 30.0
WISH = builder.Wish(("heard",), "an-operator", "a test", confirmed="all")
ASKED = pb.RebuildViewsRequest(views=["heard"], reason="a test", confirmed="all")


class Log:
    """The rig's topic, as a reader that is closed."""

    def __init__(self, rig: Rig) -> None:
        self.bounds, self.read = rig.topic.bounds, rig.topic.read

    async def close(self) -> None:
        pass


@pytest.fixture
def of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Rig], Generations]:
    """A service that hears of jars and decides nothing by itself; it looks and gives signs of life all the time."""
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(module, "ALIVE_SECONDS", 0.005)
    monkeypatch.setattr(builder, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(builder, "WATCH_SECONDS", 0.0)

    def made(rig: Rig) -> Generations:
        monkeypatch.setattr(module, "KafkaLog", lambda *_, **__: Log(rig))
        stores: Any = SimpleNamespace(views=rig.rooms, generations=rig.generations, appends=rig.appends, held=rig.held)
        return Generations(
            service="sample",
            views=[rig.heard],
            deciders=[],
            evaluations=[e for e in rig.evaluations if "heard" in e.dependants],
            stores=stores,
            current=rig.views,
            erasing=NoMarks(),
            targets=rig.targets,
            parse=cast(Any, parse),
            topics=("jars.v1",),
            bootstrap="",
            now=lambda: NOON,
            fingerprints={"heard": rig.fingerprints["heard"]},
        )

    return made


async def told(known: Generations, request: pb.RebuildViewsRequest = ASKED) -> list[pb.RebuildViewsResponse]:
    principal = Principal("an-operator", frozenset({"operator"}), None, frozenset(), frozenset())
    enter_call(Call("test", principal, Scope.of(principal, ["operator"]), "test", time.monotonic() + WAIT_SECONDS))
    api = ViewsApi(known, Recording(MemoryOperations(), lambda: NOON))
    return [answer async for answer in api.RebuildViews(request, cast(Any, None))]


@asynccontextmanager
async def watched(known: Generations, report: Callable[[str | None], None] = lambda _problem: None) -> Any:
    watching = asyncio.create_task(known.watch(report))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])


# ---- asked by operators


async def test_a_rebuild_is_told_to_its_end(of: Callable[[Rig], Generations]) -> None:
    rig = await filled(Rig())

    answers = await told(of(rig))

    states = list(dict.fromkeys(a.progress.state for a in answers if a.HasField("progress")))
    assert states == ["building", "verifying", "marking"]
    assert all(a.progress.done <= a.progress.total for a in answers)
    assert answers[-1].done == pb.RebuildDone(generations={"heard": 2}, marked=1)


async def test_another_epoch_is_refused_with_the_way_out_and_accepted_when_it_is_named(
    of: Callable[[Rig], Generations],
) -> None:
    rig = await filled(Rig())
    rig.appends = MemoryAppends(epoch="beef")
    rig.__post_init__()
    await rig.executor.execute(JAR, [drop("jar-1--b", "anew")])
    await rig.own.step()
    await rig.publisher.step()
    rig.topic.records = [
        replace(r, headers={**r.headers, "ce_source": r.headers["ce_source"].replace("jars", "credence/jars")})
        for r in rig.topic.records
    ]

    with pytest.raises(FailedPrecondition, match="--accept-epoch") as refused:
        await told(of(rig))

    assert refused.value.reason == "another-epoch"
    assert "credence/jars=beef" in refused.value.message
    accepting = pb.RebuildViewsRequest()
    accepting.CopyFrom(ASKED)
    accepting.accept_epochs["credence/jars"] = "beef"
    [found] = [a.findings for a in await told(of(rig), accepting) if a.HasField("findings")]
    assert (found.waits, list(found.suspect), dict(found.accepted_epochs)) == (
        True,
        ["heard"],
        {"credence/jars": "beef"},
    )
    confirmed = pb.RebuildViewsRequest(reason="a test", confirmed="all", accept_differences=True)
    assert dict((await told(of(rig), confirmed))[-1].done.generations) == {"heard": 3}, "as the command prints it"


@pytest.mark.parametrize(
    ("state", "message"),
    [(State.VERIFYING, "What was reached is kept: run it again"), (State.MARKING, "The views are switched")],
)
async def test_a_database_that_stays_away_is_told_with_what_that_leaves(
    of: Callable[[Rig], Generations], monkeypatch: pytest.MonkeyPatch, state: State, message: str
) -> None:
    monkeypatch.setattr(builder, "REBUILD_TRIES_MAX", 1)
    rig = await filled(Rig())

    async def away(operation: str) -> None:
        building = rig.generations.catalogue.building
        if building is not None and building.state is state and operation in ("find heard__g2", "mark counts"):
            raise StoreUnavailable("the database did not answer in time")

    rig.rooms.switch = rig.targets.switch = away

    with pytest.raises(Unavailable, match=f"did not answer in time. {message}"):
        await told(of(rig))


async def test_named_or_not_what_was_switched_and_not_marked_is_marked_and_nothing_built(
    of: Callable[[Rig], Generations],
) -> None:
    for request in (ASKED, pb.RebuildViewsRequest(reason="a test")):
        rig = await filled(Rig())
        await left_while_marking(rig)

        answers = await told(of(rig), request)

        assert answers[-1].done == pb.RebuildDone(generations={"heard": 2}, marked=1)
        assert {a.progress.state for a in answers[:-1]} == {"marking"}


async def left_while_marking(rig: Rig) -> None:
    async with aclosing(rig.rebuild().run(WISH, "dead")) as running:
        async for found in running:
            if getattr(found, "state", None) is State.MARKING:
                return


# ---- watched


async def test_a_changed_fold_is_degraded_health_that_names_the_command_until_it_is_rebuilt(
    of: Callable[[Rig], Generations],
) -> None:
    rig = await filled(Rig())
    await adopted(rig, [rig.heard])
    rig.fingerprints["heard"] = "fold-2"
    known = of(rig)
    health = Health(time.monotonic)
    check = health.check("views")

    async with watched(known, _report(health, "views")):
        await until(lambda: check.report().state == "degraded")
        assert check.report().detail == (
            "heard: its fold changed since it was built. Run `credence views rebuild sample`"
        )
        assert (await told(known))[-1].HasField("done")
        await until(lambda: check.report().state == "ok")


async def test_what_a_dead_builder_left_to_mark_is_marked_by_whoever_watches(of: Callable[[Rig], Generations]) -> None:
    rig = await filled(Rig())
    while await rig.evaluate():
        pass
    await left_while_marking(rig)

    async with watched(of(rig)):
        await until(lambda: rig.generations.catalogue.building is None)

    assert rig.targets.targets["counts"]["a"].dirty


@pytest.mark.parametrize("looks_a_sign", [0.25, 3], ids=["often", "seldom, beside load"])
async def test_what_a_living_builder_marks_is_left_to_it_however_long_one_answer_takes(
    of: Callable[[Rig], Generations], monkeypatch: pytest.MonkeyPatch, looks_a_sign: float
) -> None:
    monkeypatch.setattr(module, "ALIVE_SECONDS", looks_a_sign * module.WATCH_SECONDS)
    rig = await filled(Rig())
    await left_while_marking(rig)
    known, looks, forgot = of(rig), 0, 0

    def count(_problem: str | None) -> None:
        nonlocal looks
        looks += 1

    async def forget(_consumer: str, _epoch: str) -> None:
        nonlocal forgot
        forgot += 1

    cast(Any, known.stores).held = SimpleNamespace(discards=rig.held.discards, forget=forget)
    catalogue = rig.generations.catalogue
    retired = catalogue.model_copy(update={"retired": {"jars": ("old",)}})
    assert rig.generations.store(catalogue.revision, retired)
    async with known.rebuild("dead"), watched(known, count):  # it is alive, and waits
        await until(lambda: looks > 3 * module.SILENT_LOOKS)

    assert forgot == 0, "nobody began to finish it"
    assert building_of(rig.generations.catalogue).state is State.MARKING


def building_of(catalogue: Catalogue) -> Building:
    assert catalogue.building is not None
    return catalogue.building
