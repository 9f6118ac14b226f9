"""Any interleaving and repetition of deliveries ends in the same standings, and the trees say what decided.

The records are those of one person on two cohorts of a programme with a cap, ranks and corrections; every award waits
for a board, because what is confirmed in between is confirmed, whatever comes later.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accreditation.domain import standing as pure
from accreditation.domain.assessment import AssessWork, ReviseResult, SubmitWork
from accreditation.domain.credit import CREDIT
from accreditation.domain.facts import Cut, as_of
from accreditation.domain.looked_up import Circumstances
from accreditation.domain.rules import Explanation
from accreditation.domain.standing import Standing
from accreditation.testing import START, Scene, Told
from accreditation.views.learner_facts import learner_facts, load
from catalogue.model import Programme
from eventcore.decider import Command
from eventcore.record import Record

DAY = START.date()
TODAY = Circumstances(today=DAY, importer=True)
TARGETS = ("spring--p1", "autumn--p1")


def _credit(award: str, credits_: int, rank: int, component: str) -> dict[str, Any]:
    worth = {"credits": credits_, "scheme": "CATS", "level": 7, "ects": str(credits_ / 2), "transferable": True}
    share = {"check": "share-of-sessions", "at_least": "0.5"}
    return {
        "id": award,
        "title": award,
        "kind": "credit",
        "confirmation": "board",
        "credit": worth,
        "rank": rank,
        "rule": {"check": "all-of", "of": [share, {"check": "assessment-passed", "component": component}]},
    }


PROGRAMME = Programme.model_validate(
    {
        "credence": 1,
        "id": "sample",
        "version": 1,
        "title": "Sample programme",
        "owner": {"id": "owner", "title": "Owner"},
        "awarding_body": {"id": "body", "title": "Body"},
        "duration": {"min_months": 1, "max_months": 12},
        "unit_kinds": [{"id": "day", "title": "Day", "kind": "scheduled", "unit": "day", "units": "days"}],
        "timetable": [
            {"id": f"s{n}", "title": f"Day {n}", "unit_kind": "day", "day": n, "start": "09:00", "minutes": 60}
            for n in (1, 2)
        ],
        "assessments": [
            {"id": "essay", "title": "Essay", "kind": "coursework"},
            {"id": "exam", "title": "Exam", "kind": "exam"},
        ],
        "awards": [
            _credit("first", 20, 1, "exam"),
            _credit("second", 20, 2, "essay"),
            _credit("small", 10, 3, "essay"),
            {
                "id": "holder",
                "title": "Holder",
                "kind": "completion",
                "confirmation": "board",
                "rule": {"check": "credits", "at_least": 30},
            },
        ],
        "credit_cap": 30,
    }
)


@dataclass(frozen=True)
class Own:
    """A result recorded here, of one enrolment."""

    cohort: str
    command: Command


Item = Record | Own


def _stream(item: Item) -> str:
    return f"assessment-{item.cohort}--p1" if isinstance(item, Own) else item.key


def _own(cohort: str, component: str, result: Any, revised: Any | None, version: int) -> Iterator[Own]:
    yield Own(
        cohort, SubmitWork(component_id=component, submitted_on=DAY, opt_in=False, max_attempts=1, circumstances=TODAY)
    )
    yield Own(
        cohort,
        AssessWork(
            component_id=component, result=result, mark=None, assessed_on=DAY, pass_mark=None, circumstances=TODAY
        ),
    )
    if revised is not None:
        yield Own(
            cohort,
            ReviseResult(
                component_id=component,
                result=revised,
                mark=None,
                assessed_on=DAY,
                replaces=version + 2,
                reason_code="clerical-error",
                pass_mark=None,
                circumstances=TODAY,
            ),
        )


@st.composite
def histories(draw: st.DrawFn) -> list[Item]:
    """What happened: in each stream's own order, with attendance and results that were corrected or not."""
    told = Told()
    told.programme(PROGRAMME)
    told.person("p1", named=True)
    own: list[Item] = []
    for cohort, starts_on in (("spring", date(2024, 3, 1)), ("autumn", date(2024, 10, 1))):
        told.cohort(cohort, PROGRAMME, starts_on)
        told.placed(cohort, "p1", PROGRAMME, starts_on)
        state = draw(st.sampled_from(["present", "absent"]))
        version = told.attended(cohort, "p1", "s1", state)
        if draw(st.booleans()):
            told.attended(cohort, "p1", "s1", "absent" if state == "present" else "present", replaces=version)
        if draw(st.integers(0, 4)) == 0:
            told.withdrawn(cohort, "p1", starts_on + timedelta(days=draw(st.integers(0, 90))))
        version = 0
        for component in ("essay", "exam"):
            result = draw(st.sampled_from(["passed", "failed"]))
            revised = draw(st.sampled_from([None, "passed", "failed"]))
            steps = [*_own(cohort, component, result, None if revised == result else revised, version)]
            version += len(steps)
            own += steps
    return [*told.records, *own]


async def _take(scene: Scene, item: Item) -> None:
    if isinstance(item, Own):
        await scene.decide(item.cohort, "p1", item.command)
    else:
        scene.world.log.records.append(item)


async def _standings(scene: Scene) -> dict[str, Standing]:
    found = await scene.world["accreditation"].targets.read("standing", TARGETS)
    return {target: Standing.model_validate(each.result) for target, each in found.items()}


def _content(standings: dict[str, Standing]) -> Any:
    """Without the ledger's versions, which count pairs that cancel."""
    text = json.dumps({target: each.model_dump(mode="json") for target, each in standings.items()}, sort_keys=True)
    return json.loads(re.sub(r"credit-p1@\d+", "credit-p1", text))


async def _clean(history: Sequence[Item]) -> Scene:
    scene = Scene()
    for item in history:
        await _take(scene, item)
    await scene.world.settle()
    return scene


def _interleaved(history: Sequence[Item], order: Sequence[int]) -> list[Item]:
    """The same records in another order of streams; each stream keeps its own."""
    queues: dict[str, list[Item]] = {}
    for item in history:
        queues.setdefault(_stream(item), []).append(item)
    return [queues[_stream(history[i])].pop(0) for i in order]


PATIENT = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
FEWER = settings(PATIENT, max_examples=15)  # each settles after every single record


@PATIENT
@given(histories(), st.data())
def test_any_interleaving_and_repetition_of_deliveries_ends_in_the_same_standings(
    history: list[Item], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(history))))
    after = data.draw(st.lists(st.sampled_from(["", "step", "settle", "repeat"]), min_size=len(history)))

    async def disturbed() -> Scene:
        scene = Scene()
        delivered: list[Item] = []
        for item, then in zip(_interleaved(history, order), after, strict=False):
            await _take(scene, item)
            delivered.append(item)
            if then == "repeat":
                for again in delivered:
                    await _take(scene, again)
            if then == "settle":
                await scene.world.settle()
            elif then:
                await scene.world["accreditation"].step()
        await scene.world.settle()
        return scene

    async def both() -> tuple[Any, Any]:
        return _content(await _standings(await disturbed())), _content(await _standings(await _clean(history)))

    found, clean = asyncio.run(both())
    assert found == clean


@PATIENT
@given(histories())
def test_trees_agree_with_what_was_decided_and_name_facts_that_exist(history: list[Item]) -> None:
    async def check() -> None:
        scene = await _clean(history)
        facts = await load(scene.kernel.reader, TARGETS)
        for target, standing in (await _standings(scene)).items():
            known = {stream: fact.version for stream, fact in facts[target].items()}
            for award in standing.awards:
                assert award.met == award.explanation.satisfied
                assert (award.state in {"provisional", "capped", "held-from-another-cohort"}) == award.met
                for node in _nodes(award.explanation):
                    assert node.satisfied == (node.have >= node.need)
                    assert node.satisfied != bool(node.missing)
                    for fact in node.counted:
                        stream, _, version = fact.partition("@")
                        assert 1 <= int(version) <= known[stream], f"{fact} is no fact of {target}"
        held = (await scene.kernel.executor.states(CREDIT, ["credit-p1"]))["credit-p1"][1]
        assert sum(each.credits for each in held.live()) <= 30

    asyncio.run(check())


def _nodes(tree: Explanation) -> Iterator[Explanation]:
    yield tree
    for child in tree.children:
        yield from _nodes(child)


@FEWER
@given(histories())
def test_what_was_known_at_a_time_is_what_the_standing_was_then(history: list[Item]) -> None:
    async def check() -> None:
        scene = Scene()
        then: list[tuple[datetime, dict[str, Standing]]] = []
        for item in history:
            scene.world.now += timedelta(minutes=1)
            await _take(scene, _retimed(item, scene.world.now))
            await scene.world.settle()
            then.append((scene.world.now, await _standings(scene)))
        facts = {t: learner_facts(t, f) for t, f in (await load(scene.kernel.reader, TARGETS)).items()}
        for known_at, standings in then:
            for target, was in standings.items():
                told = pure.standing(as_of(facts[target], Cut(known_at=known_at)), DAY)
                assert told == was, f"as of {known_at}"
        for target, was in then[-1][1].items():
            now = Cut(scene.world.now, DAY)
            assert pure.standing(as_of(facts[target], now), DAY) == was

    asyncio.run(check())


def _retimed(item: Item, now: datetime) -> Item:
    if isinstance(item, Own):
        return item
    return Record(item.topic, item.key, item.value, {**item.headers, "ce_time": now.isoformat()})
