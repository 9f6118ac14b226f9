"""Nobody reads or writes what is not theirs: every RPC, every role, own, another's and no object, row by row and on
replay. The table is generated from the contracts; an RPC without a case here fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import jwt
import pytest
from google.protobuf import text_format
from google.protobuf.message import Message

from credence.accreditation.v1 import assessments_pb2 as work
from credence.accreditation.v1 import awards_pb2, standings_pb2
from credence.enrolment.v1 import attendance_pb2, catalogue_pb2, cohorts_pb2, enrolments_pb2, people_pb2
from credence.mentoring.v1 import matches_pb2, mentors_pb2
from credence.operations.v1 import held_pb2, log_pb2, operations_pb2, privacy_pb2, status_pb2, views_pb2
from credence_cli.embedded.development_secrets import AUDIENCE
from credence_cli.identity import ROLES, Identity, mint
from tests.system.platform import STORED, Platform, Refused, outcomes_of, told
from tests.system.realms import CREDIT, Names, build, choice, own_programme
from tests.system.rpcs import RPCS, Rpc
from tests.system.sick import Edit, sick
from tests.system.story import PRESENT, ago

pytestmark = pytest.mark.servers

RESTRICTED = ("learner", "mentor", "provider", "assessor", "awarding-body")


@dataclass(frozen=True)
class Ask:
    """Who asks, and for what: `names` is whose object is asked for, `mine` is the caller's own realm."""

    names: Names
    mine: Names
    role: str

    @property
    def id(self) -> str:
        return f"{self.role}-{self.names.cohort}"


Case = Callable[[Ask], Message]


def mark(ask: Ask, cohort: str, session: str) -> attendance_pb2.AttendanceRow:
    return attendance_pb2.AttendanceRow(
        command_id=f"{ask.id}-{session}",
        cohort_id=cohort,
        person_id=ask.mine.person,
        session_id=session,
        value=attendance_pb2.AttendanceValue(state=PRESENT),
    )


def post(ask: Ask) -> Message:
    """The own provider's register, for another's cohort."""
    return attendance_pb2.PostAttendanceRequest(provider_id=ask.mine.provider, rows=[mark(ask, ask.names.cohort, "s5")])


def post_session(ask: Ask) -> Message:
    """A session of one's own, another provider's, and none, all of the own cohort."""
    session = {ask.mine.cohort: "s6"}.get(ask.names.cohort, ask.names.session)
    return attendance_pb2.PostAttendanceRequest(
        provider_id=ask.mine.provider, rows=[mark(ask, ask.mine.cohort, session)]
    )


def post_for(ask: Ask) -> Message:
    """In another provider's name."""
    return attendance_pb2.PostAttendanceRequest(
        provider_id=ask.names.provider, rows=[mark(ask, ask.names.cohort, "s6")]
    )


def template_session(ask: Ask) -> Message:
    session = {ask.mine.cohort: "s5"}.get(ask.names.cohort, ask.names.session)
    return attendance_pb2.GetRegisterTemplateRequest(
        cohort_id=ask.mine.cohort, provider_id=ask.mine.provider, session_ids=[session]
    )


def register_session(ask: Ask) -> Message:
    session = {ask.mine.cohort: "s1"}.get(ask.names.cohort, ask.names.session)
    return attendance_pb2.GetRegisterRequest(
        cohort_id=ask.mine.cohort, provider_id=ask.mine.provider, session_id=session
    )


def record(ask: Ask) -> Message:
    """A learner opts in, an assessor carries a result over."""
    row = work.RecordAssessment(command_id=ask.id, person_id=ask.names.person, component_id="project")
    if ask.role == "learner":
        row.cohort_id = ask.names.registering
        row.register.SetInParent()
    else:
        row.cohort_id = ask.names.carrying
        row.carry_over.result = work.RESULT_PASSED
    return work.RecordAssessmentsRequest(rows=[row])


def record_own(ask: Ask) -> Message:
    """The caller's own person on another's cohort."""
    request: Any = record(ask)
    request.rows[0].person_id = ask.mine.person
    return request  # type: ignore[no-any-return]


def withdraw(ask: Ask, person: str) -> Message:
    row = enrolments_pb2.WithdrawEnrolment(
        command_id=ask.id, cohort_id=ask.names.leaving, person_id=person, reason_code="changed-job"
    )
    return enrolments_pb2.WithdrawEnrolmentsRequest(rows=[row])


def meet(ask: Ask) -> Message:
    side = matches_pb2.SIDE_MENTOR if ask.role == "mentor" else matches_pb2.SIDE_MENTEE
    row = matches_pb2.ConfirmMeeting(
        command_id=ask.id, cohort_id=ask.names.plus, person_id=ask.names.person, meeting_id="m1", on=ago(200), side=side
    )
    return matches_pb2.ConfirmMeetingsRequest(rows=[row])


def decide(ask: Ask) -> Message:
    row = awards_pb2.DecideReview(
        command_id=ask.id, cohort_id=ask.names.cohort, person_id=ask.names.reviewed, award_id=CREDIT,
        decision=awards_pb2.REVIEW_DECISION_UPHOLD, reason_code="clerical-error",
        review_id=ask.names.review,
    )  # fmt: skip
    return awards_pb2.DecideReviewsRequest(rows=[row])


def confirm(ask: Ask) -> Message:
    row = awards_pb2.ConfirmAward(
        command_id=ask.id, cohort_id=ask.names.cohort, person_id=ask.names.person, award_id=CREDIT
    )
    return awards_pb2.ConfirmAwardsRequest(rows=[row])


def open_again(ask: Ask) -> Message:
    row = cohorts_pb2.OpenCohort(
        cohort_id=ask.names.cohort, programme_id=ask.names.programme, programme_version=1, starts_on=ago(70)
    )
    return cohorts_pb2.OpenCohortsRequest(rows=[row])


def schedule(ask: Ask) -> Message:
    session = cohorts_pb2.Session(
        session_id="s7", title="Another half-day", unit_kind="half-day", on=ago(10), start="09:30", minutes=180
    )
    row = cohorts_pb2.ScheduleSession(cohort_id=ask.names.cohort, session=session)
    return cohorts_pb2.ScheduleSessionsRequest(rows=[row])


def cancel(ask: Ask) -> Message:
    row = cohorts_pb2.CancelSession(cohort_id=ask.names.cohort, session_id="s7", reason_code="snow")
    return cohorts_pb2.CancelSessionsRequest(rows=[row])


def enrol(ask: Ask) -> Message:
    row = enrolments_pb2.RequestEnrolment(cohort_id=ask.names.cohort, person_id=ask.names.person)
    return enrolments_pb2.RequestEnrolmentsRequest(rows=[row])


def mentor(ask: Ask) -> Message:
    row = mentors_pb2.RegisterMentor(
        person_id=ask.names.mentor, background="children", sector="public", in_post=True, employer_id="sample-council"
    )
    return mentors_pb2.RegisterMentorsRequest(rows=[row])


def offer(ask: Ask) -> Message:
    row = matches_pb2.OfferShortlist(
        cohort_id=ask.names.plus, person_id=ask.names.person, mentor_ids=[ask.names.mentor]
    )
    return matches_pb2.OfferShortlistsRequest(rows=[row])


def discard(ask: Ask) -> Message:
    """Of a stream that is not held: whoever may ask is told so."""
    return held_pb2.DiscardHeldRequest(
        consumer="enrolment.own", stream=f"cohort-{ask.names.cohort}", version=1, reason="a test", dry_run=True
    )


# By RPC: one way, or several, to ask for an object.
CASES: dict[str, Sequence[Case]] = {
    "LoadProgrammes": [lambda a: catalogue_pb2.LoadProgrammesRequest(programmes=[own_programme(a.names)])],
    "ListProgrammes": [lambda a: catalogue_pb2.ListProgrammesRequest(programme_id=a.names.programme)],
    "RegisterPeople": [
        lambda a: people_pb2.RegisterPeopleRequest(rows=[people_pb2.RegisterPerson(person_id=a.names.person)])
    ],
    "NamePeople": [
        lambda a: people_pb2.NamePeopleRequest(
            rows=[people_pb2.NamePerson(person_id=a.names.person, name="Sample Learner 01")]
        )
    ],
    "ErasePeople": [
        # Somebody of their own: the realm's person is needed in one piece.
        lambda a: people_pb2.ErasePeopleRequest(
            rows=[people_pb2.ErasePerson(person_id=f"gone-{a.names.person}", reason_code="person-asked")]
        )
    ],
    "GetPerson": [
        lambda a: people_pb2.GetPersonRequest(person_id=a.names.mentor if a.role == "mentor" else a.names.person)
    ],
    "OpenCohorts": [open_again],
    "ScheduleSessions": [schedule],
    "CancelSessions": [cancel],
    "GetCohort": [lambda a: cohorts_pb2.GetCohortRequest(cohort_id=a.names.cohort)],
    "RequestEnrolments": [enrol],
    "WithdrawEnrolments": [lambda a: withdraw(a, a.names.person), lambda a: withdraw(a, a.mine.person)],
    "GetEnrolment": [
        lambda a: enrolments_pb2.GetEnrolmentRequest(cohort_id=a.names.cohort, person_id=a.names.person),
        lambda a: enrolments_pb2.GetEnrolmentRequest(cohort_id=a.names.cohort, person_id=a.mine.person),
    ],
    "ListEnrolments": [
        lambda a: enrolments_pb2.ListEnrolmentsRequest(cohort_id=a.names.cohort),
        lambda a: enrolments_pb2.ListEnrolmentsRequest(person_id=a.names.person),
        lambda a: enrolments_pb2.ListEnrolmentsRequest(cohort_id=a.names.cohort, person_id=a.names.person),
    ],
    "PostAttendance": [post, post_session, post_for],
    "GetRegisterTemplate": [
        lambda a: attendance_pb2.GetRegisterTemplateRequest(cohort_id=a.names.cohort, provider_id=a.mine.provider),
        lambda a: attendance_pb2.GetRegisterTemplateRequest(cohort_id=a.names.cohort, provider_id=a.names.provider),
        template_session,
    ],
    "GetRegister": [
        lambda a: attendance_pb2.GetRegisterRequest(cohort_id=a.names.cohort, provider_id=a.mine.provider),
        lambda a: attendance_pb2.GetRegisterRequest(cohort_id=a.names.cohort, provider_id=a.names.provider),
        register_session,
    ],
    "ListOutstanding": [
        lambda a: attendance_pb2.ListOutstandingRequest(provider_id=a.names.provider),
        lambda a: attendance_pb2.ListOutstandingRequest(provider_id=a.mine.provider, cohort_id=a.names.cohort),
    ],
    "RecordAssessments": [record, record_own],
    "GetAssessments": [
        lambda a: work.GetAssessmentsRequest(cohort_id=a.names.cohort, person_id=a.names.person),
        lambda a: work.GetAssessmentsRequest(cohort_id=a.names.cohort, person_id=a.mine.person),
    ],
    "ListAssessments": [lambda a: work.ListAssessmentsRequest(cohort_id=a.names.cohort)],
    "GetStanding": [
        lambda a: standings_pb2.GetStandingRequest(cohort_id=a.names.cohort, person_id=a.names.person),
        lambda a: standings_pb2.GetStandingRequest(cohort_id=a.names.cohort, person_id=a.mine.person),
        lambda a: standings_pb2.GetStandingRequest(cohort_id=a.names.cohort, person_id=a.names.person, true_at=ago(1)),
    ],
    "ListStandings": [
        lambda a: standings_pb2.ListStandingsRequest(cohort_id=a.names.cohort),
        lambda a: standings_pb2.ListStandingsRequest(person_id=a.names.person),
    ],
    "ConfirmAwards": [confirm],
    "DecideReviews": [decide],
    "ListAwards": [
        lambda a: awards_pb2.ListAwardsRequest(person_id=a.names.person),
        lambda a: awards_pb2.ListAwardsRequest(cohort_id=a.names.cohort),
        lambda a: awards_pb2.ListAwardsRequest(cohort_id=a.names.cohort, person_id=a.names.person),
    ],
    "RegisterMentors": [mentor],
    "ListMentors": [lambda a: mentors_pb2.ListMentorsRequest(person_id=a.names.mentor)],
    "OfferShortlists": [offer],
    "ChooseMentors": [lambda a: matches_pb2.ChooseMentorsRequest(rows=[choice(a.names)])],
    "ConfirmMeetings": [meet],
    "GetMatch": [lambda a: matches_pb2.GetMatchRequest(cohort_id=a.names.plus, person_id=a.names.person)],
    "GetStatus": [lambda a: status_pb2.GetStatusRequest()],
    "ExportPerson": [lambda a: privacy_pb2.ExportPersonRequest(person_id=a.names.person)],
    "GetErasure": [lambda a: privacy_pb2.GetErasureRequest(person_id=a.names.person)],
    "ListErasures": [lambda a: privacy_pb2.ListErasuresRequest()],
    "Republish": [lambda a: log_pb2.RepublishRequest(streams=[f"cohort-{a.names.cohort}"], dry_run=True)],
    "ListHeld": [lambda a: held_pb2.ListHeldRequest()],
    "GetHeld": [lambda a: held_pb2.GetHeldRequest(consumer="enrolment.own", stream=f"cohort-{a.names.cohort}")],
    "RedriveHeld": [lambda a: held_pb2.RedriveHeldRequest(dry_run=True)],
    "DiscardHeld": [discard],
    "ListOperations": [lambda a: operations_pb2.ListOperationsRequest()],
    "ListViews": [lambda a: views_pb2.ListViewsRequest()],
    # Enrolment's, which the matrix asks.
    "RebuildViews": [
        lambda a: views_pb2.RebuildViewsRequest(views=["pools"], reason="to see who may", confirmed="all")
    ],
    "DropViews": [lambda a: views_pb2.DropViewsRequest(views=["pools"], reason="to see who may")],
}
# What belongs to nobody: every role that may call it sees all there is.
PUBLIC = {"ListProgrammes"}
# Nothing is held on this platform: who may ask is told so (`test_held.py` has streams that are).
NOT_HELD = {("GetHeld", "not-found"), ("DiscardHeld", "not-stuck-there")}


@pytest.fixture(scope="module")
def mine(platform: Platform) -> Names:
    return build(platform)


@pytest.fixture(scope="module")
def theirs(platform: Platform) -> Names:
    return build(platform)


@pytest.fixture(scope="module")
def missing() -> Names:
    """Ids that look like the others and name nothing."""
    return Names.of("nothing0")


def answered(platform: Platform, request: Message, who: Identity) -> str:
    """What the caller gets, as text: an answer, or a status with its reason and message."""
    try:
        return text_format.MessageToString(platform.ask(request, who))
    except Refused as refused:
        return f"{refused.status.name} {refused.reason} {refused.message} {refused.fields}"


def test_what_is_for_operators_every_service_serves_and_to_them_alone(platform: Platform, mine: Names) -> None:
    """The matrix below asks one service; the door is the same in all, and here each is seen to have it."""
    for rpc in RPCS:
        for service in rpc.services[1:]:
            for role in sorted(set(RESTRICTED) - rpc.roles):
                with pytest.raises(Refused) as refused:
                    platform.ask(CASES[rpc.name][0](Ask(mine, mine, role)), mine.identity(role), service=service)
                assert refused.value.status == grpc.StatusCode.PERMISSION_DENIED


def matrix(*, named: bool, roles: Sequence[str] = ROLES, batch: bool | None = None) -> list[Any]:
    """(RPC, role), for the roles that it names or does not."""
    return [
        pytest.param(rpc, role, id=f"{rpc.name}-{role}")
        for rpc in RPCS
        for role in roles
        if (role in rpc.roles) == named and batch in (None, bool(rpc.batch_field))
    ]


def test_every_rpc_has_a_case_and_no_case_is_without_its_rpc() -> None:
    assert {rpc.name for rpc in RPCS} == CASES.keys()


@pytest.mark.parametrize(("rpc", "role"), matrix(named=False))
def test_a_role_that_is_not_named_is_denied_its_own_object_too(
    platform: Platform, mine: Names, rpc: Rpc, role: str
) -> None:
    for case in CASES[rpc.name]:
        with pytest.raises(Refused) as refused:
            platform.ask(case(Ask(mine, mine, role)), mine.identity(role))
        assert refused.value.status == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(("rpc", "role"), matrix(named=True, roles=[r for r in ROLES if r not in RESTRICTED]))
def test_a_role_without_limits_reaches_the_object(platform: Platform, mine: Names, rpc: Rpc, role: str) -> None:
    for case in CASES[rpc.name]:
        try:
            answer = platform.ask(case(Ask(mine, mine, role)), mine.identity(role))
        except Refused as refused:
            if (rpc.name, refused.reason) not in NOT_HELD:
                raise
            continue
        if rpc.batch_field:
            assert "not-found" not in told(outcomes_of(answer))


@pytest.mark.parametrize(("rpc", "role"), matrix(named=True, roles=RESTRICTED, batch=False))
def test_anothers_object_is_answered_exactly_like_one_that_does_not_exist(
    platform: Platform, mine: Names, theirs: Names, missing: Names, rpc: Rpc, role: str
) -> None:
    who = mine.identity(role)
    for case in CASES[rpc.name]:
        own, other, none = (answered(platform, case(Ask(names, mine, role)), who) for names in (mine, theirs, missing))
        assert own, "a query that finds nothing of one's own proves nothing"
        assert "not-found" not in own
        if rpc.name not in PUBLIC:
            assert theirs.hidden_in(other) == missing.hidden_in(none)
            assert theirs.hidden_in(other) != mine.hidden_in(own)


@pytest.mark.parametrize(("rpc", "role"), matrix(named=True, roles=RESTRICTED, batch=True))
def test_row_by_row_and_on_replay_another_gets_what_nobody_would_get(
    platform: Platform, mine: Names, theirs: Names, missing: Names, rpc: Rpc, role: str
) -> None:
    who = mine.identity(role)
    for case in CASES[rpc.name]:
        own = case(Ask(mine, mine, role))
        # One batch with a row of each, as long as a batch speaks for one provider only.
        rows = [case(Ask(names, mine, role)) for names in (mine, theirs, missing)]
        if case is post_for:
            answers = [outcomes_of(platform.ask(row, who))[0] for row in rows]
        else:
            batch = type(own)()
            for row in rows:
                batch.MergeFrom(row)
            if isinstance(batch, attendance_pb2.PostAttendanceRequest):
                batch.provider_id = mine.provider
            answers = outcomes_of(platform.ask(batch, who))
        first, other, none = answers
        assert first.status in STORED, f"a row that is refused proves nothing: {first}"
        assert told([other]) == ["not-found"]
        other.row, none.row = 0, 0
        assert theirs.hidden_in(str(other)) == missing.hidden_in(str(none))
        # The very same command, sent by who may not: not the first answer, but the same one as for no object.
        (replay,) = outcomes_of(platform.ask(own, theirs.identity(role)))
        replay.row = 0
        assert mine.hidden_in(str(replay)) == missing.hidden_in(str(none))


@pytest.mark.parametrize(
    ("rpc", "role"),
    [p for p in matrix(named=True, roles=RESTRICTED, batch=False) if p.values[0].name.startswith("List")],
)
def test_a_list_of_everything_holds_nothing_of_anothers(
    platform: Platform, mine: Names, theirs: Names, rpc: Rpc, role: str
) -> None:
    if rpc.name not in PUBLIC:
        text = answered(platform, rpc.request(), mine.identity(role))
        assert theirs.hidden_in(text) == text


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
def test_without_a_token_that_holds_nothing_is_answered(platform: Platform, mine: Names, rpc: Rpc) -> None:
    role = sorted(rpc.roles)[0]
    who, request = mine.identity(role), CASES[rpc.name][0](Ask(mine, mine, role))
    for token in (
        "",
        "no-token",
        mint(who, platform.stack.secrets.folder, lifetime_seconds=-120),
        elsewhere(platform, who),
    ):
        with pytest.raises(Refused) as refused:
            platform.ask(request, None, token=token)
        assert refused.value.status == grpc.StatusCode.UNAUTHENTICATED


def elsewhere(platform: Platform, who: Identity) -> str:
    """What `who` would be let in with, signed with the right key, for another audience."""
    secrets = platform.stack.secrets
    right = mint(who, secrets.folder)
    claims = jwt.decode(right, options={"verify_signature": False}) | {"aud": f"not-{AUDIENCE}"}
    headers = {"kid": jwt.get_unverified_header(right)["kid"]}
    return jwt.encode(claims, secrets.signing_key.read_text(), algorithm="EdDSA", headers=headers)


# ---- the checkers are checked

RPC_NAMED = {rpc.name: rpc for rpc in RPCS}
Realms = tuple[Names, Names, Names]  # mine, theirs, missing
Found = Callable[[Platform, Realms], None]
_alike = test_anothers_object_is_answered_exactly_like_one_that_does_not_exist
_row_by_row = test_row_by_row_and_on_replay_another_gets_what_nobody_would_get
_denied = test_a_role_that_is_not_named_is_denied_its_own_object_too
_unanswered = test_without_a_token_that_holds_nothing_is_answered

# By what is wrong: the edit that makes it so, and the checker that must find it.
LEAKS: dict[str, tuple[Edit, Found]] = {
    "a query forgets whose the object is": (
        (
            "enrolment/views/queries.py",
            "if not scope.sees_person(person_id) and not await _posts_for(kernel.reader, scope, cohort_id):",
            "if False:",
        ),
        lambda platform, realms: _alike(platform, *realms, RPC_NAMED["GetEnrolment"], "learner"),
    ),
    "a list is not narrowed to the caller's own": (
        (
            "enrolment/views/queries.py",
            "if scope.unrestricted or (scope.person is not None and scope.person == person_id):",
            "if wanted:",
        ),
        lambda platform, realms: _alike(platform, *realms, RPC_NAMED["ListEnrolments"], "learner"),
    ),
    "rows are taken in another's name": (
        (
            "enrolment/application/attendance.py",
            "mine = given if scope.sees_provider(provider_id) else []",
            "mine = given",
        ),
        lambda platform, realms: _row_by_row(platform, *realms, RPC_NAMED["PostAttendance"], "provider"),
    ),
    "a command sent again is answered before its sender is looked at": (
        (
            "enrolment/application/enrolments.py",
            "if cohort is None or not scope.sees_person(wish.person_id):",
            "done = asked.get(enrolment_stream(wish.cohort_id, wish.person_id), (0, None))[1]\n"
            "        done = done is not None and done.status == 'withdrawn'\n"
            "        if cohort is None or not (done or scope.sees_person(wish.person_id)):",
        ),
        lambda platform, realms: _row_by_row(platform, *realms, RPC_NAMED["WithdrawEnrolments"], "learner"),
    ),
    "the door asks for no role": (
        ("servicekit/interceptor.py", "if not scope.roles:", "if False:"),
        lambda platform, realms: _denied(platform, realms[0], RPC_NAMED["GetPerson"], "assessor"),
    ),
    "a token for another audience is taken": (
        ("servicekit/auth.py", "audience=self._audience,", "audience=[self._audience, f'not-{self._audience}'],"),
        lambda platform, realms: _unanswered(platform, realms[0], RPC_NAMED["GetCohort"]),
    ),
}


@pytest.fixture(scope="module")
def leaking(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Enrolment with all of these leaks: each is in the way of another call."""
    edits = [edit for edit, _ in LEAKS.values()]
    with sick(platform, "enrolment", tmp_path_factory.mktemp("leaking"), *edits) as running:
        yield running


@pytest.mark.parametrize("leak", LEAKS)
def test_the_checker_turns_red_when(leaking: Platform, mine: Names, theirs: Names, missing: Names, leak: str) -> None:
    _, found = LEAKS[leak]
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        found(leaking, (mine, theirs, missing))
