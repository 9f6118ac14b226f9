"""What is asked of a service beside the rebuild of its views (P8): the mentors' seminars, which nobody touches once the
run was prepared. Whatever generation serves, it has them whole.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from credence.accreditation.v1 import standings_pb2
from credence.enrolment.v1 import enrolments_pb2
from credence.mentoring.v1 import mentors_pb2
from credence_cli.identity import Identity
from tests.reliability.clients import AGAIN
from tests.reliability.freshness import READ_EVERY_SECONDS, READ_SECONDS
from tests.reliability.rig import Rig
from tests.reliability.writers import MENTORS, seminars
from tests.system.platform import ADMISSIONS, IMPORTER, Refused


@dataclass
class Reads:
    """How many answers were right, and what each was that was not. None at all is no failure: who is away is known."""

    right: int = 0
    failed: list[str] = field(default_factory=list)


# Service -> how many it lists; each of them has a view of its own at the bottom of it.
LISTED: Mapping[str, Callable[[Rig, str, str], int]] = {
    "enrolment": lambda rig, instance, run: len(
        _asked(rig, instance, enrolments_pb2.ListEnrolmentsRequest(cohort_id=seminars(run)), IMPORTER).enrolments
    ),
    "accreditation": lambda rig, instance, run: len(
        _asked(rig, instance, standings_pb2.ListStandingsRequest(cohort_id=seminars(run)), IMPORTER).standings
    ),
    "mentoring": lambda rig, instance, run: len(
        _asked(rig, instance, mentors_pb2.ListMentorsRequest(in_standing_only=True), ADMISSIONS).mentors
    ),
}


@contextmanager
def reading(rig: Rig, service: str, run: str) -> Iterator[Reads]:
    """Asks every instance of the service again and again meanwhile."""
    reads, over = Reads(), threading.Event()

    def read() -> None:
        while not over.wait(READ_EVERY_SECONDS):
            for instance in rig.of(service):
                look(rig, service, instance, run, reads)

    thread = threading.Thread(target=read, name=f"reads of {service}", daemon=True)
    thread.start()
    try:
        yield reads
    finally:
        over.set()
        thread.join()


def look(rig: Rig, service: str, instance: str, run: str, reads: Reads) -> None:
    """One question, and what came of it."""
    try:
        listed = LISTED[service](rig, instance, run)
    except Refused as refused:
        if refused.status not in AGAIN:
            reads.failed.append(f"{instance}: {refused}")
    except Exception as error:  # noqa: BLE001 - told in the report; the reading goes on
        reads.failed.append(f"{instance}: {type(error).__name__}: {error}")
    else:
        if listed == MENTORS:
            reads.right += 1
        else:
            reads.failed.append(f"{instance} listed {listed} of the {MENTORS} mentors")


def _asked(rig: Rig, instance: str, request: Any, who: Identity) -> Any:
    return rig.ask(instance, request, who, seconds=READ_SECONDS)
