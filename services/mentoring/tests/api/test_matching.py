"""From a shortlist to confirmed meetings, through the api, with what the other services would say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.protobuf.message import Message

from catalogue.files import check
from catalogue.proto import programme_to_proto
from credence.accreditation.v1 import events_pb2 as accreditation
from credence.common.v1 import outcome_pb2
from credence.enrolment.v1 import events_pb2 as enrolment
from credence.mentoring.v1 import matches_pb2, mentors_pb2
from eventcore.event import Recorded
from eventcore.record import PublicEvent, encode
from mentoring.api.matches import MatchApi
from mentoring.api.mentors import MentorApi
from mentoring.main import PARTS
from servicekit.errors import NotFound
from servicekit.testing import World

CATALOGUE = Path(__file__).parents[4] / "catalogue"
NOW = datetime(2024, 11, 5, 12, 0, tzinfo=UTC)
MENTORS = ("mentor-a", "mentor-b", "mentor-c", "mentor-d")
ACCEPTED = outcome_pb2.OUTCOME_STATUS_ACCEPTED


class Stage:
    """Mentoring alone: the other services' events are told to it."""

    def __init__(self) -> None:
        self.world = World(PARTS, now=NOW)
        self.mentors = MentorApi(self.world.kernel("mentoring"))
        self.matches = MatchApi(self.world.kernel("mentoring"))
        self._versions: dict[str, int] = {}

    def hear(self, service: str, stream: str, message: Message) -> None:
        version = self._versions[stream] = self._versions.get(stream, 0) + 1
        record = encode(
            Recorded(stream, version, message, NOW),
            PublicEvent(message.DESCRIPTOR.full_name, message.SerializeToString()),
            topic=f"credence.{service}.v1",
            source=f"credence/{service}",
            epoch="another",
        )
        self.world.log.records.append(record)

    async def erase(self, person: str) -> None:
        """Enrolment says so."""
        self.hear("enrolment", f"person-{person}", enrolment.PersonErased(person_id=person))
        await self.world.settle()

    async def set_up(self, placed: bool = True, placed_on: str = "2024-10-01") -> None:
        """Mentor Plus loaded, mentee-1 on cohort m1, four mentors registered, all but mentor-d in standing."""
        plus = next(p for p in check([CATALOGUE]).programmes.values() if p.mentoring is not None)
        assert plus.mentoring is not None
        published = enrolment.ProgrammePublished(programme=programme_to_proto(plus))
        self.hear("enrolment", f"programme-{plus.id}--{plus.version}", published)
        requested = enrolment.EnrolmentRequested(
            cohort_id="m1", person_id="mentee-1", programme_id=plus.id, programme_version=plus.version
        )
        self.hear("enrolment", "enrolment-m1--mentee-1", requested)
        if placed:
            self.hear("enrolment", "enrolment-m1--mentee-1", enrolment.EnrolmentPlaced(placed_on=placed_on))
        wanted = plus.mentoring.mentor_standing
        for mentor in MENTORS[:3]:
            made = accreditation.AwardMade(
                cohort_id="s1", person_id=mentor, award_id=wanted.award, programme_id=wanted.programme
            )
            self.hear("accreditation", f"credit-{mentor}", made)
        await self.world.settle()
        rows = [
            mentors_pb2.RegisterMentor(
                person_id=m, background="children", sector="public", in_post=True, employer_id="e1",
                pen_portrait=f"Sample portrait of {m}",
            )
            for m in MENTORS
        ]  # fmt: skip
        request = mentors_pb2.RegisterMentorsRequest(rows=rows)
        answer = await self.world.call(self.mentors.RegisterMentors, request, roles={"admissions"})
        assert [o.status for o in answer.outcomes] == [ACCEPTED] * 4
        await self.world.settle()

    async def offer(self, *mentors: str, command_id: str = "") -> outcome_pb2.Outcome:
        row = matches_pb2.OfferShortlist(
            command_id=command_id, cohort_id="m1", person_id="mentee-1", mentor_ids=mentors
        )
        request = matches_pb2.OfferShortlistsRequest(rows=[row])
        answer: outcome_pb2.BatchResponse = await self.world.call(
            self.matches.OfferShortlists, request, roles={"admissions"}
        )
        return answer.outcomes[0]

    async def choose(
        self, mentor: str, person: str = "mentee-1", *, role: str = "learner", on: str = "", command_id: str = ""
    ) -> outcome_pb2.Outcome:
        row = matches_pb2.ChooseMentor(
            command_id=command_id, cohort_id="m1", person_id="mentee-1", mentor_id=mentor, matched_on=on
        )
        request = matches_pb2.ChooseMentorsRequest(rows=[row])
        answer: outcome_pb2.BatchResponse = await self.world.call(
            self.matches.ChooseMentors, request, roles={role}, person=person
        )
        return answer.outcomes[0]

    async def meet(self, role: str, person: str, side: matches_pb2.Side.ValueType) -> outcome_pb2.Outcome:
        row = matches_pb2.ConfirmMeeting(
            command_id=f"met-{side}",
            cohort_id="m1",
            person_id="mentee-1",
            meeting_id="first",
            on="2024-10-20",
            side=side,
        )
        request = matches_pb2.ConfirmMeetingsRequest(rows=[row])
        answer: outcome_pb2.BatchResponse = await self.world.call(
            self.matches.ConfirmMeetings, request, roles={role}, person=person
        )
        return answer.outcomes[0]


@pytest.fixture
async def stage() -> Stage:
    stage = Stage()
    await stage.set_up()
    return stage


async def test_three_mentors_in_standing_are_offered_one_is_chosen_and_a_meeting_is_held(stage: Stage) -> None:
    assert (await stage.offer(*MENTORS[:3])).status == ACCEPTED
    assert (await stage.choose("mentor-b", on="2024-10-01")).code == "past-date"
    assert (await stage.choose("mentor-b", role="importer", on="2024-10-01")).status == ACCEPTED
    assert (await stage.meet("learner", "mentee-1", matches_pb2.SIDE_MENTEE)).status == ACCEPTED
    assert (await stage.meet("mentor", "mentor-b", matches_pb2.SIDE_MENTOR)).status == ACCEPTED
    await stage.world.settle()
    request = matches_pb2.GetMatchRequest(cohort_id="m1", person_id="mentee-1")
    match = await stage.world.call(stage.matches.GetMatch, request, roles={"mentor"}, person="mentor-b")
    assert (match.mentor_id, match.window_ends_on) == ("mentor-b", "2025-10-01")
    assert [(m.meeting_id, m.mentee_confirmed, m.mentor_confirmed) for m in match.meetings] == [("first", True, True)]
    types = [r.headers["ce_type"].rpartition(".")[2] for r in stage.world.log.records if "match-" in r.key]
    assert types == ["ShortlistOffered", "MentorChosen", "marker", "marker", "MeetingHeld"]


async def test_a_mentor_without_standing_is_named_with_its_place_in_the_list(stage: Stage) -> None:
    outcome = await stage.offer("mentor-a", "mentor-d", "nobody")
    assert outcome.code == "mentor-not-in-standing"
    assert [v.field for v in outcome.violations] == ["mentor_ids[1]", "mentor_ids[2]"]


async def test_a_mentor_who_lost_the_award_is_offered_no_more(stage: Stage) -> None:
    award = stage.world["mentoring"].views.documents["awards"]["credit-mentor-a"].body
    assert award is not None
    taken = accreditation.AwardTakenBack(cohort_id="s1", award_id=award["held"][0]["award_id"])
    stage.hear("accreditation", "credit-mentor-a", taken)
    await stage.world.settle()
    assert (await stage.offer(*MENTORS[:3])).code == "mentor-not-in-standing"


async def test_a_learner_who_waits_gets_no_shortlist() -> None:
    stage = Stage()
    await stage.set_up(placed=False)
    assert (await stage.offer(*MENTORS[:3])).code == "not-placed"


async def test_a_place_counts_from_its_day_and_until_the_withdrawals_day() -> None:
    early = Stage()
    await early.set_up(placed_on="2024-11-06")
    assert (await early.offer(*MENTORS[:3])).code == "not-placed"
    leaving = Stage()
    await leaving.set_up()
    withdrawn = enrolment.EnrolmentWithdrawn(withdrawn_on="2024-11-06", reason_code="changed-job")
    leaving.hear("enrolment", "enrolment-m1--mentee-1", withdrawn)
    await leaving.world.settle()
    assert (await leaving.offer(*MENTORS[:3])).status == ACCEPTED
    leaving.world.now += timedelta(days=1)
    assert (await leaving.choose("mentor-b")).code == "not-placed"


async def test_an_imported_match_is_judged_by_the_place_of_the_day_it_began(stage: Stage) -> None:
    assert (await stage.offer(*MENTORS[:3])).status == ACCEPTED
    withdrawn = enrolment.EnrolmentWithdrawn(withdrawn_on="2024-11-01", reason_code="changed-job")
    stage.hear("enrolment", "enrolment-m1--mentee-1", withdrawn)
    await stage.world.settle()
    for day in ("2024-09-30", "2024-11-01"):
        refused = await stage.choose("mentor-b", role="importer", on=day)
        assert (refused.code, [v.field for v in refused.violations]) == ("not-placed", ["matched_on"])
        assert day in refused.message
    assert (await stage.choose("mentor-b")).code == "not-placed"
    assert (await stage.choose("mentor-b", role="importer", on="2024-10-31")).status == ACCEPTED


async def test_a_match_to_come_is_told_so_whatever_the_place_will_be_then(stage: Stage) -> None:
    assert (await stage.offer(*MENTORS[:3])).status == ACCEPTED
    withdrawn = enrolment.EnrolmentWithdrawn(withdrawn_on="2024-11-20", reason_code="changed-job")
    stage.hear("enrolment", "enrolment-m1--mentee-1", withdrawn)
    await stage.world.settle()
    assert (await stage.choose("mentor-b", role="importer", on="2024-12-01")).code == "match-in-future"


async def test_a_retry_gets_the_first_answer_after_midnight_and_after_mentor_and_mentee_have_left(stage: Stage) -> None:
    async def everything() -> list[outcome_pb2.Outcome]:
        return [
            await stage.offer(*MENTORS[:3], command_id="offer"),
            await stage.choose("mentor-b", command_id="choose"),
        ]

    first = await everything()
    assert [o.status for o in first] == [ACCEPTED] * 2
    withdrawn = enrolment.EnrolmentWithdrawn(withdrawn_on="2024-11-06", reason_code="changed-job")
    stage.hear("enrolment", "enrolment-m1--mentee-1", withdrawn)
    award = stage.world["mentoring"].views.documents["awards"]["credit-mentor-a"].body
    assert award is not None
    taken = accreditation.AwardTakenBack(cohort_id="s1", award_id=award["held"][0]["award_id"])
    stage.hear("accreditation", "credit-mentor-a", taken)
    stage.world.now += timedelta(days=2)
    await stage.world.settle()
    again = await everything()
    assert [(o.status, o.version) for o in again] == [(outcome_pb2.OUTCOME_STATUS_REPLAYED, o.version) for o in first]


async def test_a_confirmation_sent_again_after_midnight_gets_the_first_answer(stage: Stage) -> None:
    await stage.offer(*MENTORS[:3])
    await stage.choose("mentor-b", role="importer", on="2024-10-01")
    assert (await stage.meet("learner", "mentee-1", matches_pb2.SIDE_MENTEE)).status == ACCEPTED
    stage.world.now += timedelta(days=1)
    again = await stage.meet("learner", "mentee-1", matches_pb2.SIDE_MENTEE)
    assert again.status == outcome_pb2.OUTCOME_STATUS_REPLAYED


async def test_a_mentee_and_admissions_read_the_pen_portraits_of_the_shortlist_and_nobody_else_does(
    stage: Stage,
) -> None:
    await stage.offer(*MENTORS[:3])
    await stage.choose("mentor-b")
    await stage.world.settle()

    async def portraits(role: str, person: str | None = None) -> dict[str, str]:
        request = matches_pb2.GetMatchRequest(cohort_id="m1", person_id="mentee-1")
        match = await stage.world.call(stage.matches.GetMatch, request, roles={role}, person=person)
        return {m.mentor_id: "ERASED" if m.erased else m.pen_portrait for m in match.mentors}

    told = {m: f"Sample portrait of {m}" for m in MENTORS[:3]}
    assert await portraits("learner", "mentee-1") == told
    assert await portraits("admissions") == told
    assert await portraits("mentor", "mentor-b") == {}
    assert await portraits("commissioner") == {}
    with pytest.raises(NotFound):
        await portraits("learner", "stranger")
    await stage.erase("mentor-a")
    assert await portraits("learner", "mentee-1") == {**told, "mentor-a": "ERASED"}


async def test_anothers_match_looks_like_one_that_does_not_exist(stage: Stage) -> None:
    await stage.offer(*MENTORS[:3])
    assert (await stage.choose("mentor-b", person="stranger")).code == "not-found"
    await stage.choose("mentor-b")
    for role, person, side in (
        ("mentor", "mentor-a", matches_pb2.SIDE_MENTOR),
        ("learner", "stranger", matches_pb2.SIDE_MENTEE),
        ("learner", "mentee-1", matches_pb2.SIDE_MENTOR),
        ("mentor", "mentor-b", matches_pb2.SIDE_MENTEE),
    ):
        assert (await stage.meet(role, person, side)).code == "not-found"
    await stage.world.settle()
    for cohort, person in (("m1", "mentee-1"), ("m1", "nobody")):
        request = matches_pb2.GetMatchRequest(cohort_id=cohort, person_id=person)
        with pytest.raises(NotFound):
            await stage.world.call(stage.matches.GetMatch, request, roles={"learner"}, person="stranger")


async def test_a_malformed_row_names_every_field_and_spoils_no_other(stage: Stage) -> None:
    rows = [
        matches_pb2.ConfirmMeeting(cohort_id="M 1", person_id="", meeting_id="x--y", on="31/10/2024"),
        matches_pb2.ConfirmMeeting(
            cohort_id="m1", person_id="mentee-1", meeting_id="m", on="2024-10-20", side=matches_pb2.SIDE_MENTEE
        ),
    ]
    request = matches_pb2.ConfirmMeetingsRequest(rows=rows)
    answer = await stage.world.call(stage.matches.ConfirmMeetings, request, roles={"learner"}, person="mentee-1")
    bad, good = answer.outcomes
    assert bad.code == "invalid-argument"
    assert [v.field for v in bad.violations] == ["cohort_id", "person_id", "meeting_id", "on", "side"]
    assert good.code == "not-matched"


async def test_mentors_are_listed_with_what_they_stand_by_and_a_mentor_sees_itself_only(stage: Stage) -> None:
    async def listed(role: str, person: str | None, **filters: object) -> list[mentors_pb2.Mentor]:
        request = mentors_pb2.ListMentorsRequest(**filters)  # type: ignore[arg-type]
        answer = await stage.world.call(stage.mentors.ListMentors, request, roles={role}, person=person)
        return list(answer.mentors)

    everybody = await listed("admissions", None)
    assert [(m.person_id, bool(m.awards)) for m in everybody] == [(m, m != "mentor-d") for m in MENTORS]
    assert everybody[0].pen_portrait == "Sample portrait of mentor-a"
    assert [m.person_id for m in await listed("admissions", None, in_standing_only=True)] == list(MENTORS[:3])
    assert [m.person_id for m in await listed("mentor", "mentor-b")] == ["mentor-b"]
    assert await listed("mentor", "mentor-b", person_id="mentor-a") == []
    assert await listed("mentor", "nobody") == []


async def test_an_award_that_no_programme_asks_of_its_mentors_is_no_standing(stage: Stage) -> None:
    other = accreditation.AwardMade(cohort_id="c1", person_id="mentor-d", award_id="done", programme_id="course")
    stage.hear("accreditation", "credit-mentor-d", other)
    await stage.world.settle()
    request = mentors_pb2.ListMentorsRequest(in_standing_only=True)
    answer = await stage.world.call(stage.mentors.ListMentors, request, roles={"admissions"})
    assert [m.person_id for m in answer.mentors] == list(MENTORS[:3])
    request = mentors_pb2.ListMentorsRequest(person_id="mentor-d")
    answer = await stage.world.call(stage.mentors.ListMentors, request, roles={"admissions"})
    assert list(answer.mentors[0].awards) == ["course/done"]


async def test_a_mentors_token_that_names_nobody_lists_nobody(stage: Stage) -> None:
    answer = await stage.world.call(stage.mentors.ListMentors, mentors_pb2.ListMentorsRequest(), roles={"mentor"})
    assert list(answer.mentors) == []


async def test_an_erased_person_is_not_registered_as_a_mentor_with_or_without_a_portrait(stage: Stage) -> None:
    async def registered(person: str, portrait: str = "") -> str:
        row = mentors_pb2.RegisterMentor(
            command_id=person, person_id=person, background="health", sector="third", pen_portrait=portrait
        )
        request = mentors_pb2.RegisterMentorsRequest(rows=[row])
        answer = await stage.world.call(stage.mentors.RegisterMentors, request, roles={"admissions"})
        return answer.outcomes[0].code or outcome_pb2.OutcomeStatus.Name(answer.outcomes[0].status)

    assert await registered("late") == "OUTCOME_STATUS_ACCEPTED"
    for person in ("gone", "late", "mentor-a"):
        await stage.erase(person)
    assert await registered("gone") == await registered("gone", "A portrait") == "person-erased"
    assert await registered("mentor-a") == "person-erased"
    assert await registered("late") == "OUTCOME_STATUS_REPLAYED"
    assert await registered("somebody-else") == "OUTCOME_STATUS_ACCEPTED"


async def test_a_pen_portrait_is_stored_nowhere_in_the_clear(stage: Stage) -> None:
    running = stage.world["mentoring"]
    assert "Sample portrait" not in repr((running.appends, running.views, stage.world.log))
