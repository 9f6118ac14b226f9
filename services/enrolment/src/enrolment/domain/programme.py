"""A programme version: stream `programme-<id>--<version>`. Once loaded it never changes; a change is a new version.

Whether a programme holds together is the catalogue library's to say, before the command is made; here it is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Final

from catalogue.ids import join_id
from catalogue.model import Programme
from enrolment.domain.values import Value
from eventcore.decider import Command, Decider, Refusal
from eventcore.event import Event

CATEGORY: Final = "programme"


def programme_stream(programme_id: str, version: int) -> str:
    return f"{CATEGORY}-{join_id(programme_id, str(version))}"


class ProgrammeLoaded(Event):
    stored_type: ClassVar[str] = "programme.loaded.v1"
    programme: Programme


class ProgrammeVersion(Value):
    """None until it is loaded."""

    programme: Programme | None = None


def evolve(state: ProgrammeVersion, event: ProgrammeLoaded, version: int) -> ProgrammeVersion:
    return ProgrammeVersion(programme=event.programme)


class LoadProgramme(Command):
    programme: Programme


def decide(command: LoadProgramme, state: ProgrammeVersion, now: datetime) -> Sequence[ProgrammeLoaded] | Refusal:
    wanted, loaded = command.programme, state.programme
    if loaded is None:
        return [ProgrammeLoaded(programme=wanted)]
    if loaded == wanted:
        return []
    differing = [name for name in type(wanted).model_fields if getattr(wanted, name) != getattr(loaded, name)]
    return Refusal(
        "version-immutable",
        f"version {loaded.version} of {loaded.id} is loaded with other content: load the change as a new version",
        tuple((name, "differs from what is loaded") for name in differing),
        conflict=True,
    )


PROGRAMME: Decider[ProgrammeVersion, LoadProgramme, ProgrammeLoaded] = Decider(
    category=CATEGORY,
    events=(ProgrammeLoaded,),
    initial=ProgrammeVersion(),
    evolve=evolve,
    decide=decide,
)
