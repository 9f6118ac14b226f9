"""What the platform answers about the cohorts of an import, once it has come to rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from credence.accreditation.v1 import (
    assessments_pb2,
    assessments_pb2_grpc,
    awards_pb2_grpc,
    standings_pb2,
    standings_pb2_grpc,
)
from credence.accreditation.v1.assessments_pb2 import ListAssessmentsRequest
from credence.accreditation.v1.awards_pb2 import ListAwardsRequest
from credence.enrolment.v1 import enrolments_pb2_grpc
from credence.enrolment.v1.enrolments_pb2 import ListEnrolmentsRequest
from credence_cli.client import PA, PQ, A, CallFailed, Client, Method, Q, pages
from credence_cli.exits import Exit
from credence_cli.oulad.plan import Key
from credence_cli.oulad.reconcile import Answers, Award, Result, Standing
from credence_cli.progress import Report

# Nothing has moved for this long: what is still pending then stays pending, and is told as it is.
STILL_SECONDS: Final = 120.0
# A server that is away is asked again for this long.
AWAY_SECONDS: Final = 150.0
_LOOK_AGAIN_SECONDS: Final = 0.5
_LOOK_AGAIN_SECONDS_MAX: Final = 20.0
# Looking is work for the very service that is waited for: the pause is so many times as long as the look.
_REST_TO_LOOK: Final = 4
_PAGE: Final = 500

_STATES: Final[Mapping[int, str]] = {
    assessments_pb2.ASSESSMENT_STATE_REGISTERED: "registered",
    assessments_pb2.ASSESSMENT_STATE_SUBMITTED: "submitted",
    assessments_pb2.ASSESSMENT_STATE_REFERRED: "referred",
    assessments_pb2.ASSESSMENT_STATE_PASSED: "passed",
    assessments_pb2.ASSESSMENT_STATE_FAILED: "failed",
}
_AWARDS: Final[Mapping[int, str]] = {
    value.number: value.name.removeprefix("AWARD_STATE_").replace("_", "-").lower()
    for value in standings_pb2.AwardState.DESCRIPTOR.values
}
# On their way to "confirmed": these programmes confirm by themselves.
_ON_THE_WAY: Final = {standings_pb2.AWARD_STATE_PENDING, standings_pb2.AWARD_STATE_PROVISIONAL}


@dataclass
class Reader:
    """Reads back as the client's identity, asking again where a server is away or behind."""

    client: Client
    report: Report
    still_seconds: float = STILL_SECONDS
    away_seconds: float = AWAY_SECONDS

    async def settled(self, tokens: Mapping[str, Sequence[str]]) -> bool:
        """Waits until everything the tokens name, by cohort, has arrived, and until the standings rest.

        False when they do not come to rest: then nothing has moved for `still_seconds`.
        """
        stub = self.client.stub(assessments_pb2_grpc.AssessmentServiceStub, "accreditation")
        with self.report.meter("arriving", sum(map(len, tokens.values()))) as meter:
            for cohort, of_cohort in tokens.items():
                for token in of_cohort:
                    request = ListAssessmentsRequest(cohort_id=cohort, token=token, page_size=1)
                    await self._asked(stub.ListAssessments, request)
                    meter.advance(1)
        return await self._rested(list(tokens))

    async def _rested(self, cohorts: Sequence[str]) -> bool:
        looking = time.monotonic()
        standings = {cohort: await self._standings(cohort) for cohort in cohorts}
        looked = time.monotonic() - looking
        with self.report.meter("standings at rest", sum(map(len, standings.values()))) as meter:
            moved = time.monotonic()
            while True:
                resting = sum(_rests(each) for of_cohort in standings.values() for each in of_cohort)
                if resting > meter.done:
                    meter.advance(resting - meter.done)
                    moved = time.monotonic()
                restless = [c for c, of_cohort in standings.items() if not all(map(_rests, of_cohort))]
                if not restless:
                    return True
                if time.monotonic() - moved > self.still_seconds:
                    return False
                pause = max(_LOOK_AGAIN_SECONDS, _REST_TO_LOOK * looked)
                await asyncio.sleep(min(pause, _LOOK_AGAIN_SECONDS_MAX))
                looking = time.monotonic()
                for cohort in restless:
                    standings[cohort] = await self._standings(cohort)
                looked = time.monotonic() - looking

    async def answers(self, cohorts: Sequence[str]) -> Answers:
        """Everything the platform holds of these cohorts."""
        enrolments: dict[Key, str] = {}
        withdrawals: dict[Key, str] = {}
        results: dict[Key, Result] = {}
        carried_over: dict[Key, Result] = {}
        awards: dict[Key, Award] = {}
        standings: dict[Key, Standing] = {}
        enrolled = self.client.stub(enrolments_pb2_grpc.EnrolmentServiceStub, "enrolment")
        assessed = self.client.stub(assessments_pb2_grpc.AssessmentServiceStub, "accreditation")
        awarded = self.client.stub(awards_pb2_grpc.AwardServiceStub, "accreditation")
        with self.report.meter("reading back", len(cohorts)) as meter:
            for cohort in cohorts:
                async for page in self._pages(enrolled.ListEnrolments, ListEnrolmentsRequest(cohort_id=cohort)):
                    for enrolment in page.enrolments:
                        key = (cohort, enrolment.person_id)
                        enrolments[key] = enrolment.placed_on or "not placed"
                        if enrolment.withdrawn_on:
                            withdrawals[key] = enrolment.withdrawn_on
                async for learners in self._pages(assessed.ListAssessments, ListAssessmentsRequest(cohort_id=cohort)):
                    for learner in learners.learners:
                        for component in learner.components:
                            into = carried_over if component.carried_over else results
                            into[cohort, learner.person_id, component.component_id] = _result(component)
                async for ledger in self._pages(awarded.ListAwards, ListAwardsRequest(cohort_id=cohort)):
                    for award in ledger.awards:
                        awards[cohort, award.person_id] = Award(
                            _AWARDS[award.state], Decimal(award.credit.credits or 0)
                        )
                for standing in await self._standings(cohort):
                    standings[cohort, standing.person_id] = Standing(standing.enrolment, _credits(standing))
                meter.advance(1)
        return Answers(enrolments, withdrawals, results, carried_over, awards, standings)

    # -- asking -------------------------------------------------------------------------------------------------------

    async def _standings(self, cohort: str) -> list[standings_pb2.Standing]:
        stub = self.client.stub(standings_pb2_grpc.StandingServiceStub, "accreditation")
        request = standings_pb2.ListStandingsRequest(cohort_id=cohort, page_size=_PAGE)
        return [each async for page in self._pages(stub.ListStandings, request) for each in page.standings]

    def _pages(self, method: Method[PQ, PA], request: PQ) -> AsyncIterator[PA]:
        """Every page of a query, each asked for as `_asked` does."""
        return pages(lambda asked: self._asked(method, asked), request)

    async def _asked(self, method: Method[Q, A], request: Q) -> A:
        """One query, asked again while a server is away or has not caught up, within `away_seconds`."""
        started = time.monotonic()
        while True:
            try:
                return await self.client.call(method, request)
            except CallFailed as failure:
                if failure.exit_code is not Exit.UNAVAILABLE or time.monotonic() - started > self.away_seconds:
                    raise
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)


def _rests(standing: standings_pb2.Standing) -> bool:
    return not standing.pending and not any(award.state in _ON_THE_WAY for award in standing.awards)


def _credits(standing: standings_pb2.Standing) -> Decimal:
    """Confirmed on this cohort. The standing's own sum is the programme's: it also holds what a retake has earned."""
    confirmed = (a for a in standing.awards if a.state == standings_pb2.AWARD_STATE_CONFIRMED)
    return sum((Decimal(award.credit.credits or 0) for award in confirmed), Decimal(0))


def _result(component: assessments_pb2.ComponentAssessment) -> Result:
    """What stands, dated by the component's own history."""
    submitted = [step.on for step in component.history if step.step == "submitted"]
    decided = [step.on for step in component.history if step.step in ("assessed", "carried-over", "revised")]
    return Result(
        _STATES.get(component.state, "unknown"),
        Decimal(component.mark) if component.mark else None,
        date.fromisoformat(submitted[-1]) if submitted else None,
        date.fromisoformat(decided[-1]) if decided else None,
    )
