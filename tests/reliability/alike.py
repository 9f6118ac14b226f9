"""Learners of a few kinds, all of a kind treated alike: what one of them had before anything befell the platform, the
others must have in the end (P6). Unlike the fold of what is stored, this knows nothing of the services' own functions,
and is read where clients read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from google.protobuf import text_format

from credence.accreditation.v1 import assessments_pb2 as work
from credence.accreditation.v1 import standings_pb2
from credence.enrolment.v1 import attendance_pb2
from tests.reliability.clients import Client
from tests.reliability.rig import Rig
from tests.reliability.writers import BEGAN, COURSE, enrols, mark, opens, registers, stored, taken
from tests.system.platform import IMPORTER
from tests.system.story import PRESENT

PASSED, REFERRED = work.RESULT_PASSED, work.RESULT_REFERRED
# What becomes of a learner, by kind: sessions attended, and the project's results.
KINDS: tuple[tuple[tuple[str, ...], tuple[work.Result.ValueType, ...]], ...] = (
    (("s1", "s2", "s3"), (PASSED,)),
    (("s1", "s2", "s3"), ()),
    (("s1",), (PASSED,)),
    ((), ()),
    (("s1", "s2", "s3"), (REFERRED, PASSED)),
)


@dataclass
class Alike:
    """One learner of each kind a round; the first round is the clean one, before the faults. Standings are read when
    nothing moves any more: an award that is met is made, and then confirmed, in looks of their own."""

    rig: Rig
    clean: Sequence[str] = ()
    rounds: list[str] = field(default_factory=list)

    def look_at_the_clean(self) -> None:
        """Raises AssertionError when the kinds do not differ: then they would prove nothing."""
        self.clean = self._standings(self.rounds[0])
        assert len(set(self.clean)) == len(KINDS), self.clean

    def alike(self, client: Client, name: str) -> None:
        """A round: one learner of each kind, from the enrolment to the last result."""
        cohort, people = f"c-{name}", [_person(name, kind) for kind in range(len(KINDS))]
        opens(client, cohort, COURSE, "ipc", BEGAN)
        registers(client, people)
        token = enrols(client, cohort, people).token
        marks = [mark(cohort, p, s, PRESENT) for p, (sessions, _) in zip(people, KINDS, strict=True) for s in sessions]
        stored(client, attendance_pb2.PostAttendanceRequest(provider_id="ipc", rows=marks), IMPORTER)
        steps = [s for p, (_, results) in zip(people, KINDS, strict=True) for s in taken(cohort, p, results)]
        stored(client, work.RecordAssessmentsRequest(rows=steps, token=token), IMPORTER)
        self.rounds.append(name)

    def served(self) -> Iterator[tuple[str, Sequence[str]]]:
        """Every other round, with its learners' standings."""
        for name in self.rounds[1:]:
            yield name, self._standings(name)

    def _standings(self, name: str) -> list[str]:
        """As text, a kind each, without the learner's own ids and versions, which differ by pairs that cancel."""
        told = []
        for kind in range(len(KINDS)):
            request = standings_pb2.GetStandingRequest(cohort_id=f"c-{name}", person_id=_person(name, kind))
            found = self.rig.ask("accreditation-1", request, IMPORTER)
            found.basis.clear()
            text = text_format.MessageToString(found)
            told.append(text.replace(_person(name, kind), "<person>").replace(f"c-{name}", "<cohort>"))
        return told


def _person(name: str, kind: int) -> str:
    return f"p{kind}-{name}"
