"""Checks between awards and between programmes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TypeAlias

from catalogue.fault import Check, Fault, Path, ids, items, known, run, walk
from catalogue.model import Award, CreditsHeld, Programme, Rule

_Key: TypeAlias = tuple[str, str]


def cycles(programmes: Sequence[Programme], programme: Programme) -> Iterator[Fault]:
    """Credit that counts towards itself, by way of other awards or not, would never settle."""
    feeds = _feeds(programmes)
    for i, award in enumerate(programme.awards):
        key = (programme.id, getattr(award, "id", ""))
        if key in feeds and key in _reach(feeds, key):
            through = sorted(
                f"{p}/{a}" for p, a in _reach(feeds, key) if (p, a) != key and key in _reach(feeds, (p, a))
            )
            by_way = f", by way of {', '.join(through)}" if through else ""
            message = f"the credits of this award count towards themselves{by_way}: name other from_awards"
            yield Fault(("awards", i, "rule"), message, "award-cycle")


def _feeds(programmes: Sequence[Programme]) -> dict[_Key, set[_Key]]:
    """For each award that gives credit, of any version: the awards whose credits its rule counts."""
    rules: dict[_Key, list[Rule]] = {}
    for programme in programmes:
        for award in getattr(programme, "awards", ()):
            if hasattr(programme, "id") and hasattr(award, "id") and getattr(award, "kind", None) == "credit":
                rules.setdefault((programme.id, award.id), []).extend([award.rule] if hasattr(award, "rule") else [])
    return {
        key: {
            other
            for rule in of
            for _, node in walk((), rule)
            if isinstance(node, CreditsHeld)
            for other in rules
            if _counts(node, key, other)
        }
        for key, of in rules.items()
    }


def _counts(node: CreditsHeld, deciding: _Key, gives: _Key) -> bool:
    """Whether `node`, in the rule of `deciding`, counts the credits of `gives`; it counts its own only when named."""
    named = [
        (getattr(reference, "programme", ""), getattr(reference, "award", ""))
        for reference in getattr(node, "from_awards", ())
    ]
    return gives in named if named else deciding != gives


def _reach(feeds: dict[_Key, set[_Key]], start: _Key) -> set[_Key]:
    reached: set[_Key] = set()
    todo = list(feeds[start])
    while todo:
        other = todo.pop()
        if other not in reached:
            reached.add(other)
            todo.extend(feeds[other])
    return reached


def cross_faults(
    programmes: Sequence[Programme], *, complete: bool = True, drafts: bool = False
) -> list[tuple[int, Fault]]:
    """Every fault between programmes, each with the position of the programme it is in.

    `complete=False` when a programme could not be read: then nobody can say that an id is unknown.
    `drafts=True` when some have faults of their own and lack what is faulty.
    """
    return [
        (position, fault)
        for position, programme in enumerate(programmes)
        for fault in run(_cross_checks(programmes, position, programme, complete=complete), drafts=drafts)
    ]


def _cross_checks(
    programmes: Sequence[Programme], position: int, programme: Programme, *, complete: bool
) -> Iterator[Check]:
    yield partial(_duplicate_version, programmes, position, programme)
    if complete:
        yield partial(_mentor_standing, programmes, programme)
        for i, award in items(programme, "awards"):
            assert isinstance(award, Award)
            if hasattr(award, "rule"):
                for at, node in walk(("awards", i, "rule"), award.rule):
                    if isinstance(node, CreditsHeld):
                        yield partial(_credit_awards, programmes, programme, at, node)
    yield partial(_cycles_between, programmes, programme)


def _cycles_between(programmes: Sequence[Programme], programme: Programme) -> Iterator[Fault]:
    # A cycle inside the programme is said by its own check; say here only what other programmes add.
    within = {fault.path for fault in cycles([programme], programme)}
    yield from (fault for fault in cycles(programmes, programme) if fault.path not in within)


def _duplicate_version(programmes: Sequence[Programme], position: int, programme: Programme) -> Iterator[Fault]:
    this = (programme.id, programme.version)
    if any((getattr(p, "id", None), getattr(p, "version", None)) == this for p in programmes[:position]):
        message = (
            f"version {programme.version} of {programme.id!r} is in another file already; a change is a new version"
        )
        yield Fault(("version",), message, "duplicate-version")


def _mentor_standing(programmes: Sequence[Programme], programme: Programme) -> Iterator[Fault]:
    if programme.mentoring is not None:
        standing = programme.mentoring.mentor_standing
        yield from _award_known(("mentoring", "mentor_standing"), programmes, standing.programme, standing.award)


def _credit_awards(
    programmes: Sequence[Programme], programme: Programme, path: Path, node: CreditsHeld
) -> Iterator[Fault]:
    for i, reference in enumerate(node.from_awards):
        at = (*path, "from_awards", i)
        if reference.programme != programme.id:
            yield from _award_known(at, programmes, reference.programme, reference.award)
        named = [
            award.kind
            for each in programmes
            if getattr(each, "id", None) == reference.programme
            for award in each.awards
            if getattr(award, "id", None) == reference.award
        ]
        if named and "credit" not in named:
            message = f"{reference.award!r} carries no credit, so it can add none here"
            yield Fault((*at, "award"), message, "award-without-credit")


def _award_known(path: Path, programmes: Sequence[Programme], programme_id: str, award_id: str) -> Iterator[Fault]:
    versions = [each for each in programmes if getattr(each, "id", None) == programme_id]
    yield from known((*path, "programme"), programme_id, ids(programmes), "programme", "unknown-programme")
    if versions:
        awards = set[str]().union(*(ids(each.awards) for each in versions))
        yield from known((*path, "award"), award_id, awards, "award", "unknown-award")
