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
from tests.system.platform import IMPORTER, Refused, settled
from tests.system.story import PRESENT

RESTS_SECONDS = 60.0
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
    """One learner of each kind a round; the first round is the clean one."""

    rig: Rig
    clean: list[str] = field(default_factory=list)
    rounds: list[str] = field(default_factory=list)

    def begin(self, client: Client, name: str) -> None:
        """Before the faults. Raises AssertionError when the kinds do not differ: then they would prove nothing."""
        tokens = self._round(client, name)
        self.clean = [self._standing(name, kind, *tokens) for kind in range(len(KINDS))]
        assert len(set(self.clean)) == len(KINDS), self.clean

    def alike(self, client: Client, name: str) -> None:
        """A round: one learner of each kind, from the enrolment to the last result."""
        self._round(client, name)

    def _round(self, client: Client, name: str) -> tuple[str, ...]:
        """Gives the tokens of what was written last."""
        cohort, people = f"c-{name}", [_person(name, kind) for kind in range(len(KINDS))]
        opens(client, cohort, COURSE, "ipc", BEGAN)
        registers(client, people)
        token = enrols(client, cohort, people).token
        marks = [mark(cohort, p, s, PRESENT) for p, (sessions, _) in zip(people, KINDS, strict=True) for s in sessions]
        posted = stored(client, attendance_pb2.PostAttendanceRequest(provider_id="ipc", rows=marks), IMPORTER)
        steps = [s for p, (_, results) in zip(people, KINDS, strict=True) for s in taken(cohort, p, results)]
        recorded = stored(client, work.RecordAssessmentsRequest(rows=steps, token=token), IMPORTER)
        self.rounds.append(name)
        return posted.token, recorded.token

    def served(self) -> Iterator[tuple[str, Sequence[str]]]:
        """Every other round, with its learners' standings, once nothing moves any more."""
        for name in self.rounds[1:]:
            yield name, [self._standing(name, kind) for kind in range(len(KINDS))]

    def _standing(self, name: str, kind: int, *tokens: str) -> str:
        """A standing once it rests and has seen what these tokens name, as text, without the learner's own ids and
        versions (a ledger may differ by pairs that cancel)."""
        request = standings_pb2.GetStandingRequest(cohort_id=f"c-{name}", person_id=_person(name, kind))

        def look() -> standings_pb2.Standing | None:
            try:
                for request.token in tokens:
                    self.rig.ask("accreditation-1", request, IMPORTER)
                found: standings_pb2.Standing = self.rig.ask("accreditation-1", request, IMPORTER)
            except Refused:
                return None
            moving = any(award.state == standings_pb2.AWARD_STATE_PENDING for award in found.awards)
            return None if found.pending or moving else found

        found = settled(f"the standing of {request.person_id} rests", look, seconds=RESTS_SECONDS)
        found.basis.clear()
        return (
            text_format.MessageToString(found).replace(f"p{kind}-{name}", "<person>").replace(f"c-{name}", "<cohort>")
        )


def _person(name: str, kind: int) -> str:
    return f"p{kind}-{name}"
