"""From a programme's timetable, in days from the start, to a cohort's sessions on civil dates; and what is wrong with
sessions that somebody wrote by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from catalogue.model import Programme
from enrolment.domain.cohort import Session


def from_programme(programme: Programme, starts_on: date, provider_id: str) -> tuple[Session, ...]:
    """The sessions a cohort opens with; `provider_id` posts the registers of those that name nobody else."""
    return tuple(
        Session(
            session_id=each.id,
            title=each.title,
            unit_kind=each.unit_kind,
            event_id=each.event,
            module_id=each.module,
            on=starts_on + timedelta(days=each.day),
            start=each.start,
            minutes=each.minutes,
            place=each.place,
            provider_id=each.provider or provider_id,
        )
        for each in programme.timetable
    )


def faults(session: Session, programme: Programme) -> Iterator[tuple[str, str]]:
    """What the programme does not know of a session, as (field, what is wrong and what to do)."""
    scheduled = sorted(kind.id for kind in programme.unit_kinds if kind.kind == "scheduled")
    if session.unit_kind not in scheduled:
        yield "unit_kind", f"must be a scheduled unit kind of the programme: {', '.join(scheduled) or 'it has none'}"
    events = sorted(event.id for event in programme.events)
    if session.event_id is not None and session.event_id not in events:
        yield "event_id", f"must be an event of the programme: {', '.join(events) or 'it has none'}"
    modules = sorted(module.id for module in programme.modules)
    if session.module_id is not None and session.module_id not in modules:
        yield "module_id", f"must be a module of the programme: {', '.join(modules) or 'it has none'}"
    if not session.provider_id:
        yield "provider_id", "is missing, and the cohort names no provider: state who posts this register"
