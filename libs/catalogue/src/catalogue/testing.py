"""Hypothesis strategies for programmes and rules, for the tests of every service that reads them.

Needs Hypothesis, which is a development dependency: nothing but tests imports this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from catalogue.limits import ID_MAX_LENGTH
from catalogue.model import (
    AllOf,
    Always,
    AnyOf,
    Assessment,
    AssessmentPassed,
    AtLeast,
    Attended,
    Attribute,
    AttributeValue,
    Award,
    AwardReference,
    CohortDefaults,
    Credit,
    CreditsHeld,
    Duration,
    Event,
    ExcuseCode,
    MeetingsHeld,
    Mentoring,
    Module,
    Organisation,
    Programme,
    Qualification,
    Rule,
    ShareOfSessions,
    TimetableSession,
    Treatment,
    UnitKind,
)

ids: st.SearchStrategy[str] = st.lists(
    st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=5), min_size=1, max_size=4
).map(lambda words: "-".join(words)[:ID_MAX_LENGTH].strip("-"))
texts: st.SearchStrategy[str] = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp", "Cs")), min_size=1, max_size=40
).filter(lambda text: text == text.strip() and text != "")
amounts: st.SearchStrategy[Decimal] = st.decimals("0.5", "500", places=1)
shares: st.SearchStrategy[Decimal] = st.decimals("0.0001", "1", places=4)
levels = st.integers(1, 8)


def _or_none(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def _some(strategy: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=most).map(tuple)


@st.composite
def treatments(draw: st.DrawFn) -> Treatment:
    """Treatments without a fault."""
    partial = draw(st.sampled_from(["proportional", "threshold", "not"]))
    in_minutes = partial == "threshold" and draw(st.booleans())
    return Treatment(
        late=draw(st.sampled_from(["counts", "counts-not"])),
        partial=partial,
        threshold_minutes=draw(st.integers(1, 400)) if in_minutes else None,
        threshold_share=draw(shares) if partial == "threshold" and not in_minutes else None,
        excused=draw(st.sampled_from(["counts", "leaves-denominator", "absent", "by-code"])),
    )


def rules(
    *,
    unit_kinds: Sequence[str] = (),
    modules: Sequence[str] = (),
    components: Sequence[str] = (),
    where: Sequence[AttributeValue] = (),
    references: Sequence[AwardReference] = (),
) -> st.SearchStrategy[Rule]:
    """Rule trees; names come from those given, or are any ids."""
    kind = st.sampled_from(unit_kinds) if unit_kinds else ids
    module = _or_none(st.sampled_from(modules) if modules else ids)
    component = st.sampled_from(components) if components else ids
    value = st.sampled_from(where) if where else st.builds(AttributeValue, attribute=ids, value=ids)
    reference = st.sampled_from(references) if references else st.builds(AwardReference, programme=ids, award=ids)
    named: dict[str, st.SearchStrategy[Any]] = {"id": _or_none(ids), "title": _or_none(texts)}
    count = st.integers(1, 5)
    leaves: st.SearchStrategy[Rule] = st.one_of(
        st.builds(Always, check=st.just("always"), **named),
        st.builds(
            Attended,
            check=st.just("attended"),
            unit_kind=kind,
            module=module,
            where=_some(value, 2),
            at_least=count,
            treatment=treatments(),
            **named,
        ),
        st.builds(
            ShareOfSessions,
            check=st.just("share-of-sessions"),
            unit_kind=_or_none(kind),
            module=module,
            at_least=shares,
            treatment=treatments(),
            **named,
        ),
        st.builds(
            MeetingsHeld,
            check=st.just("meetings-held"),
            at_least=count,
            within_months=_or_none(st.integers(1, 24)),
            **named,
        ),
        st.builds(
            AssessmentPassed,
            check=st.just("assessment-passed"),
            component=component,
            carried_over=st.booleans(),
            **named,
        ),
        _credits_held(reference, named),
    )

    def grow(inner: st.SearchStrategy[Rule]) -> st.SearchStrategy[Rule]:
        of = st.lists(inner, min_size=1, max_size=4).map(tuple)
        return st.one_of(
            st.builds(AllOf, check=st.just("all-of"), of=of, **named),
            st.builds(AnyOf, check=st.just("any-of"), of=of, **named),
            st.builds(AtLeast, check=st.just("at-least"), at_least=count, of=of, **named),
        )

    return st.recursive(leaves, grow, max_leaves=8)


@st.composite
def _credits_held(
    draw: st.DrawFn, reference: st.SearchStrategy[AwardReference], named: dict[str, st.SearchStrategy[Any]]
) -> CreditsHeld:
    at_least = draw(amounts)
    with_level = draw(st.booleans())
    return CreditsHeld(
        check="credits",
        at_least=at_least,
        of_which=min(at_least, draw(amounts)) if with_level else None,
        level=draw(levels) if with_level else None,
        from_awards=draw(_some(reference)),
        **{name: draw(strategy) for name, strategy in named.items()},
    )


def programmes() -> st.SearchStrategy[Programme]:
    """Programmes of the right shape; they may have faults that `faults` finds."""
    titled = {"id": ids, "title": texts}
    minutes = st.integers(1, 1440)
    organisations = st.builds(Organisation, **titled)
    references = st.builds(AwardReference, programme=ids, award=ids)
    attributes = st.builds(Attribute, **titled, values=st.lists(ids, min_size=1, max_size=3).map(tuple))
    credit = st.builds(
        Credit, credits=amounts, scheme=st.just("CATS"), level=levels, ects=amounts, transferable=st.booleans()
    )
    qualification = st.builds(
        Qualification,
        title=texts,
        claim=st.sampled_from(["contributes", "completed"]),
        credits=amounts,
        of_which=amounts,
        level=levels,
    )
    return st.builds(
        Programme,
        credence=st.just(1),
        id=ids,
        version=st.integers(1, 100_000),
        title=texts,
        owner=organisations,
        awarding_body=_or_none(organisations),
        zone=st.sampled_from(["Europe/London", "UTC"]),
        duration=st.builds(Duration, min_months=st.integers(1, 120), max_months=st.integers(1, 120)),
        notional_hours=_or_none(st.integers(1, 100_000)),
        modules=_some(st.builds(Module, **titled)),
        unit_kinds=_some(
            st.builds(
                UnitKind,
                **titled,
                kind=st.sampled_from(["scheduled", "unscheduled"]),
                minutes=_or_none(minutes),
                attributes=_some(attributes, 2),
            )
        ),
        events=_some(st.builds(Event, **titled)),
        timetable=_some(
            st.builds(
                TimetableSession,
                **titled,
                unit_kind=ids,
                event=_or_none(ids),
                module=_or_none(ids),
                day=st.integers(0, 3660),
                start=st.times().map(lambda time: f"{time:%H:%M}"),
                minutes=minutes,
                place=_or_none(texts),
                provider=_or_none(ids),
            )
        ),
        cohort=st.builds(CohortDefaults, capacity=_or_none(st.integers(1, 100_000)), waiting_list=st.booleans()),
        assessments=_some(
            st.builds(
                Assessment,
                **titled,
                kind=st.sampled_from(
                    ["project", "coursework", "exam", "portfolio", "presentation", "computer-marked", "overall"]
                ),
                optional=st.booleans(),
                max_attempts=st.integers(1, 20),
                pass_mark=_or_none(st.decimals("0", "100", places=2)),
            )
        ),
        excuse_codes=_some(
            st.builds(ExcuseCode, **titled, treatment=st.sampled_from(["counts", "leaves-denominator", "absent"]))
        ),
        mentoring=_or_none(
            st.builds(
                Mentoring,
                shortlist=st.integers(1, 9),
                choices=st.integers(1, 9),
                meetings=st.integers(1, 20),
                within_months=st.integers(1, 24),
                mentor_standing=references,
            )
        ),
        awards=st.lists(
            st.builds(
                Award,
                **titled,
                kind=st.sampled_from(["completion", "credit"]),
                rule=rules(),
                confirmation=st.sampled_from(["automatic", "board"]),
                credit=_or_none(credit),
                qualification=_or_none(qualification),
                rank=_or_none(st.integers(1, 1000)),
                certificate=st.booleans(),
            ),
            min_size=1,
            max_size=3,
        ).map(tuple),
        credit_cap=_or_none(amounts),
    )
